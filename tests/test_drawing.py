"""What is drawn: read from matplotlib's figures, before they are shown."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from IPython.display import Image
from matplotlib.colors import to_rgb

from tests.lesson import CODE, ROOT, replace_text, run_cell


def pictures():
    """Return the axes of the current figure that have an image, row by row from the left."""
    axes = [ax for ax in plt.gcf().axes if ax.images]
    if plt.gcf().stale:
        plt.gcf().canvas.draw()
    return sorted(axes, key=lambda ax: (-round(ax.get_position().y0, 2), ax.get_position().x0))


def shown(ax):
    """Return the values that an image draws."""
    return np.squeeze(ax.images[0].get_array())


def color_of(image, value):
    """Return red, green and blue of a value in an image."""
    return image.cmap(image.norm(value))[:3]


def rows_and_columns(axes):
    """Return in how many rows and columns axes stand."""
    places = [ax.get_position() for ax in axes]
    return len({round(p.y0, 2) for p in places}), len({round(p.x0, 2) for p in places})


def boxes_apart(boxes):
    """Tell whether no two of these boxes, in pixels, have a place in common."""
    boxes = list(boxes)
    return not any(
        one.x0 < other.x1 and other.x0 < one.x1 and one.y0 < other.y1 and other.y0 < one.y1
        for i, one in enumerate(boxes)
        for other in boxes[:i]
    )


def picture_size(ax):
    """Return the width and height of an image in inches."""
    box = ax.get_window_extent()
    return box.width / ax.figure.dpi, box.height / ax.figure.dpi


@pytest.fixture
def errors(nb):
    """Return predictions that differ from the true class for 12 test images, 5, 15, 25 and so on.

    They are not the model's own.
    """
    cls_pred = nb.data.test.cls.copy()
    cls_pred[5:125:10] = (cls_pred[5:125:10] + np.arange(12) % 3 + 1) % 10
    return cls_pred


# Grids of images


def test_images_fill_the_grid_by_rows_with_their_classes_below(nb):
    images = nb.data.test.images[:7]
    nb.plot_images(images, cls_true=range(7), cls_pred=[9, 8, 7, 6, 5, 4, 3])
    axes = pictures()
    assert len(plt.gcf().axes) == len(axes) == 7 and rows_and_columns(axes) == (3, 3)
    for i, ax in enumerate(axes):
        assert np.array_equal(shown(ax), images[i].reshape(28, 28))
        assert ax.get_xlabel() == f'True: {i}\nPred: {9 - i}'
        assert ax.images[0].get_clim() == (0, 1)
        assert not ax.get_xticks().size and not ax.get_yticks().size
    assert color_of(axes[0].images[0], 1) == to_rgb('black')
    assert color_of(axes[0].images[0], 0) == to_rgb('white')


def test_three_images_stand_in_two_rows_with_their_true_class_below(nb):
    nb.plot_images(nb.data.test.images[:3], cls_true=nb.data.test.cls[:3])
    axes = pictures()
    assert rows_and_columns(axes) == (2, 2) and len(plt.gcf().axes) == 3
    assert [ax.get_xlabel() for ax in axes] == ['True: 7', 'True: 2', 'True: 1']


def test_the_first_plot_shows_the_first_nine_test_images(nb):
    run_cell(nb, 'plot-few-code')
    axes = pictures()
    assert len(axes) == 9
    for i, ax in enumerate(axes):
        assert np.array_equal(shown(ax).ravel(), nb.data.test.images[i])
        assert ax.get_xlabel() == f'True: {nb.data.test.cls[i]}'


def test_images_are_not_turned_where_height_and_width_differ(nb):
    images = np.arange(2 * 3 * 5).reshape(2, 3, 5)
    nb.plot_grid(images)
    assert [shown(ax).tolist() for ax in pictures()] == images.tolist()
    assert {ax.images[0].origin for ax in plt.gcf().axes} == {'upper'}


@pytest.mark.parametrize('number', [36, 100])
def test_many_images_are_as_large_as_a_few_and_their_texts_do_not_overlap(nb, number):
    sizes = []
    for some in (9, number):
        nb.plot_images(
            nb.data.test.images[:some], cls_true=[8] * some, cls_pred=['8 (100%)'] * some
        )
        axes = pictures()
        assert len(axes) == some
        sizes.append(np.min([picture_size(ax) for ax in axes], axis=0))
    assert np.all(sizes[1] > 0.95 * sizes[0]) and np.all(sizes[0] > 1)
    texts = [ax.xaxis.label.get_window_extent() for ax in axes]
    assert boxes_apart(texts + [ax.get_window_extent() for ax in axes])
    assert rows_and_columns(axes) == (number**0.5, number**0.5)


# Example errors


def test_example_errors_are_the_first_nine_with_their_classes_and_probabilities(nb, errors):
    nb.optimize(30)
    nb.plot_example_errors(cls_pred=errors, correct=errors == nb.data.test.cls)
    axes = pictures()
    wrong = range(5, 95, 10)
    assert len(axes) == 9
    y_pred = nb.model(nb.data.test.images).numpy()
    for i, ax in zip(wrong, axes, strict=True):
        assert np.array_equal(shown(ax).ravel(), nb.data.test.images[i])
        true, predicted = nb.data.test.cls[i], errors[i]
        percent = f'{100 * y_pred[i, predicted]:.0f}%'
        assert ax.get_xlabel() == f'True: {true}\nPred: {predicted} ({percent})'
    assert len({ax.get_xlabel().split('(')[1] for ax in axes}) > 3


@pytest.mark.parametrize('number', [0, 1])
def test_no_errors_and_one_error_are_drawn_too(nb, number, capsys):
    predicted = np.argmax(nb.model(nb.data.test.images), axis=1)
    nb.data.test.cls = predicted.copy()
    nb.data.test.cls[7:8] = (predicted[7] + number) % 10
    nb.print_test_accuracy(show_example_errors=True, show_confusion_matrix=True)
    printed = capsys.readouterr().out
    assert f'({999 - number} / 999)' in printed
    assert printed.index('Example errors:') < printed.index('Confusion Matrix:\n[[')
    assert len(plt.get_fignums()) == 1 + number
    plt.gcf().canvas.draw()
    plt.figure(plt.get_fignums()[0])
    if number:
        assert np.array_equal(shown(pictures()[0]).ravel(), nb.data.test.images[7])


def test_plots_are_shown_if_wanted_for_the_models_own_predictions(nb, monkeypatch):
    calls = {}
    monkeypatch.setattr(nb, 'plot_example_errors', lambda **given: calls.update(errors=given))
    monkeypatch.setattr(nb, 'plot_confusion_matrix', lambda **given: calls.update(matrix=given))
    predicted = np.argmax(nb.model(nb.data.test.images), axis=1)
    nb.print_test_accuracy()
    assert not calls
    nb.print_test_accuracy(show_example_errors=True)
    assert calls.keys() == {'errors'}
    nb.print_test_accuracy(show_confusion_matrix=True)
    assert calls.keys() == {'errors', 'matrix'}
    assert np.array_equal(calls['errors']['cls_pred'], predicted)
    assert np.array_equal(calls['errors']['correct'], predicted == nb.data.test.cls)
    assert np.array_equal(calls['matrix']['cls_pred'], predicted)


# The confusion matrix


def counts(cls_true, cls_pred, num_classes):
    """Return how often each true class, in rows, was predicted as each class, in columns."""
    matrix = np.zeros((num_classes, num_classes), dtype=int)
    for true, predicted in zip(cls_true, cls_pred, strict=True):
        matrix[true, predicted] += 1
    return matrix


def test_the_confusion_matrix_has_true_classes_in_rows_and_colors_for_the_errors(
    nb, errors, capsys
):
    nb.plot_confusion_matrix(cls_pred=errors)
    matrix = counts(nb.data.test.cls, errors, 10)
    assert not np.array_equal(matrix, matrix.T)
    numbers = capsys.readouterr().out.replace('[', ' ').replace(']', ' ').split()
    assert np.array_equal(np.reshape([int(number) for number in numbers], (10, 10)), matrix)
    (ax,) = plt.gcf().axes
    ax.figure.canvas.draw()
    assert ax.get_xlabel() == 'Predicted' and ax.get_ylabel() == 'True'
    for axis in (ax.xaxis, ax.yaxis):
        assert axis.get_ticklocs().tolist() == list(range(10))
        assert [label.get_text() for label in axis.get_ticklabels()] == list('0123456789')
    (image,) = ax.images
    assert np.array_equal(image.get_array(), matrix)
    largest = np.max(matrix * (1 - np.eye(10)))
    assert image.get_clim() == (0, 2 * largest)
    assert image.origin == 'upper' and image.get_extent() == [-0.5, 9.5, 9.5, -0.5]
    assert len(ax.texts) == 100
    for text in ax.texts:
        column, row = text.get_position()
        assert text.get_text() == str(matrix[row, column])
        assert contrast(text, image, matrix[row, column]) > 2.5
    pale, error, deep = (color_of(image, value) for value in (0, largest, matrix.max()))
    assert min(pale) > 0.85 and 0.1 < min(error) < 0.5 and max(deep) < 0.6


def brightness(color):
    """Return the relative luminance of red, green and blue."""
    color = np.array(to_rgb(color))
    linear = np.where(color <= 0.04045, color / 12.92, ((color + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


def contrast(text, image, value):
    """Return the contrast of a text with the color of a value, 1 to 21."""
    low, high = sorted([brightness(text.get_color()), brightness(color_of(image, value))])
    return (high + 0.05) / (low + 0.05)


def test_a_confusion_matrix_without_errors_can_be_read(nb):
    nb.plot_confusion_matrix(cls_pred=nb.data.test.cls)
    (ax,) = plt.gcf().axes
    ax.figure.canvas.draw()
    (image,) = ax.images
    for text in ax.texts:
        column, row = text.get_position()
        assert contrast(text, image, image.get_array()[row, column]) > 2.5
    assert max(color_of(image, image.get_array()[3, 3])) < 0.6


def test_the_confusion_matrix_grows_with_the_number_of_classes(nb):
    sizes = []
    for num_classes in (10, 26):
        nb.num_classes = num_classes
        nb.data.test.cls = np.arange(999) % num_classes
        nb.plot_confusion_matrix(cls_pred=nb.data.test.cls[::-1])
        (ax,) = plt.gcf().axes
        ax.figure.canvas.draw()
        assert ax.images[0].get_array().shape == (num_classes, num_classes)
        sizes.append(ax.get_window_extent().width / num_classes)
        for axis in (ax.xaxis, ax.yaxis):
            assert len(axis.get_ticklabels()) == num_classes
            assert boxes_apart(label.get_window_extent() for label in axis.get_ticklabels())
        assert boxes_apart(text.get_window_extent() for text in ax.texts)
    assert sizes[1] > 0.95 * sizes[0]


def test_classes_that_do_not_occur_have_their_place_in_the_confusion_matrix(nb, capsys):
    nb.data.test.cls = np.array([3, 3, 5])
    nb.plot_confusion_matrix(cls_pred=np.array([3, 4, 5]))
    assert plt.gcf().axes[0].images[0].get_array()[3, 4] == 1
    assert capsys.readouterr().out.count('\n') == 10


# The learning curve


def test_the_learning_curve_shows_errors_over_iterations(nb):
    nb.accuracies.train = {1: 0.125, 101: 0.75, 201: 1.0}
    nb.accuracies.test = {0: 0.1, 100: 0.8, 1000: 0.96, 10000: 0.985}
    run_cell(nb, 'curve-code')
    (ax,) = plt.gcf().axes
    ax.figure.canvas.draw()
    lines = {line.get_label(): line for line in ax.lines}
    expected = {'training batch': nb.accuracies.train, 'test-set': nb.accuracies.test}
    assert lines.keys() == expected.keys()
    for label, accuracies in expected.items():
        points = [(iteration, 1 - accuracy) for iteration, accuracy in accuracies.items()]
        assert lines[label].get_xydata() == pytest.approx(np.array(points))
    assert lines['training batch'].get_linestyle() == 'None'
    assert lines['training batch'].get_marker() == '.'
    assert lines['test-set'].get_linestyle() == '-'
    assert ax.get_xlabel() == 'iteration' and ax.get_ylabel() == 'error'
    assert ax.get_xscale() == ax.get_yscale() == 'symlog'
    assert [text.get_text() for text in ax.get_legend().get_texts()] == list(expected)
    ticks = [label.get_text() for axis in (ax.xaxis, ax.yaxis) for label in axis.get_ticklabels()]
    assert {'0', '100', '10,000', '0%', '1%', '10%'} <= set(ticks)
    (low, high), (left, right) = ax.get_ylim(), ax.get_xlim()
    assert low <= 0 and high >= 0.9 and left <= 0 and right >= 10_000


# Filters


def check_filters(filters, limit, label):
    """Check that the current figure shows filters, on a scale from -limit to limit."""
    axes = pictures()[: len(filters)]
    for ax, expected in zip(axes, filters, strict=True):
        assert np.allclose(shown(ax), expected)
        assert ax.images[0].get_clim() == pytest.approx((-limit, limit))
        assert not ax.get_xticks().size and not ax.get_yticks().size
    image = axes[0].images[0]
    assert min(color_of(image, 0)) > 0.95
    red, _, blue = color_of(image, 0.8 * limit)
    assert red > 0.6 and blue < 0.4
    red, _, blue = color_of(image, -0.8 * limit)
    assert blue > 0.6 and red < 0.4
    (bar,) = [ax for ax in plt.gcf().axes if ax.get_ylabel()]
    assert bar.get_ylabel() == label
    assert bar.get_ylim() == pytest.approx((-limit, limit))
    assert len(plt.gcf().axes) == len(filters) + 1  # No empty boxes.


@pytest.mark.parametrize(('number', 'grid'), [(5, (2, 3)), (9, (3, 3)), (16, (4, 4)), (36, (6, 6))])
def test_filters_of_one_channel_are_drawn_on_one_scale_with_white_at_zero(nb, number, grid):
    weights = np.random.normal(0.5, 1, size=(3, 4, 6, number))
    nb.plot_conv_weights(weights, input_channel=2)
    filters = [weights[:, :, 2, i] for i in range(number)]
    check_filters(filters, np.abs(weights).max(), 'weight, input channel 2')
    assert rows_and_columns(pictures()[:number]) == grid
    assert np.min([picture_size(ax) for ax in pictures()[:number]]) > 0.6


def test_the_first_channel_is_drawn_unless_told_and_variables_are_as_good_as_arrays(nb):
    weights = np.random.normal(size=(5, 5, 3, 4)).astype(np.float32)
    limit = np.abs(weights).max()
    filters = [weights[:, :, 0, i] for i in range(4)]
    for given in (weights, nb.tf.Variable(weights), nb.keras.Variable(weights)):
        nb.plot_conv_weights(given)
        check_filters(filters, limit, 'weight, input channel 0')
        nb.plot_conv_weights(weights=given, label='change')
        check_filters(filters, limit, 'change, input channel 0')


@pytest.mark.filterwarnings('error::RuntimeWarning')
def test_weights_that_are_all_zero_are_white(nb):
    nb.plot_conv_weights(np.zeros((5, 5, 1, 2)))
    for ax in pictures()[:2]:
        image = ax.images[0]
        assert min(color_of(image, shown(ax)[0, 0])) > 0.95


@pytest.mark.parametrize(
    ('cell_id', 'layer', 'channel'),
    [
        ('weights-conv1-code', 'layer_conv1', 0),
        ('weights-conv2-code', 'layer_conv2', 0),
        ('weights-conv2-1-code', 'layer_conv2', 1),
    ],
)
def test_the_cells_draw_the_weights_of_the_layers(ours, cell_id, layer, channel):
    run_cell(ours, 'weights-conv2-code')
    plt.close('all')
    run_cell(ours, cell_id)
    weights = ours.model.get_layer(layer).kernel.numpy()
    filters = list(np.moveaxis(weights[:, :, channel], -1, 0))
    check_filters(filters, np.abs(weights).max(), f'weight, input channel {channel}')


def test_the_change_of_the_weights_is_the_present_ones_minus_the_first(ours, capsys):
    layer = ours.model.get_layer('layer_conv1')
    start, biases = layer.get_weights()
    change = np.linspace(-0.3, 0.7, start.size, dtype=np.float32).reshape(start.shape)
    layer.set_weights([start + change, biases])
    run_cell(ours, 'weights-conv1-code')
    capsys.readouterr()
    run_cell(ours, 'weights-change-code')
    filters = list(np.moveaxis(change[:, :, 0], -1, 0))
    axes = pictures()[:16]
    assert np.allclose([shown(ax) for ax in axes], filters, atol=1e-6)
    check_filters([shown(ax) for ax in axes], 0.7, 'change, input channel 0')
    expected = np.corrcoef(start.ravel(), (start + change).ravel())[0, 1]
    assert capsys.readouterr().out == f'Correlation: {expected:.2f}\n'


@pytest.mark.filterwarnings('ignore:invalid value:RuntimeWarning')
def test_weights_that_do_not_change_from_zero_are_white_and_have_no_correlation(ours, capsys):
    layer = ours.model.get_layer('layer_conv1')
    layer.set_weights([np.zeros_like(weight) for weight in layer.get_weights()])
    ours.weights_start = {'layer_conv1': layer.get_weights()}
    run_cell(ours, 'weights-conv1-code')
    capsys.readouterr()
    run_cell(ours, 'weights-change-code')
    assert capsys.readouterr().out == 'Correlation: nan\n'
    image = pictures()[0].images[0]
    assert min(color_of(image, 0)) > 0.95


# The images between the layers


@pytest.mark.parametrize('name', ['layer_conv1', 'layer_conv2'])
def test_the_output_of_a_layer_is_drawn_for_an_image(ours, name):
    """Without an activation function, so negative values have to be told from zero."""
    run_cell(ours, 'model', replace_text(CODE['model'], "'relu'", 'None'))
    image = ours.data.test.images[3]
    ours.plot_conv_output(name, image)
    output = image.reshape(1, 28, 28, 1)
    for layer in ours.model.layers[1:]:
        output = layer(output)
        if layer.name == name:
            break
    channels = np.moveaxis(np.array(output)[0], -1, 0)
    axes = pictures()[: len(channels)]
    assert len(plt.gcf().axes) == len(channels) + 1
    for ax, channel in zip(axes, channels, strict=True):
        assert np.allclose(shown(ax), channel, atol=1e-5)
        limits = (channels.min(), channels.max())
        assert ax.images[0].get_clim() == pytest.approx(limits, abs=1e-5)
    assert channels.min() < -0.1
    (bar,) = [ax for ax in plt.gcf().axes if ax.get_ylabel()]
    assert bar.get_ylabel() == 'output'
    assert color_of(axes[0].images[0], channels.min()) == to_rgb('white')


@pytest.mark.parametrize(
    ('cell_id', 'number'), [('output-conv1-code', 16), ('output-conv2-code', 36)]
)
def test_the_cells_draw_the_outputs_for_the_image_that_is_shown(ours, cell_id, number):
    run_cell(ours, 'output-image-code')
    (ax,) = plt.gcf().axes
    image = shown(ax).ravel()
    assert np.array_equal(image, ours.data.test.images[0])
    assert ax.get_xlabel() == f'True: {ours.data.test.cls[0]}'
    run_cell(ours, cell_id)
    drawn = [shown(ax) for ax in pictures()[:number]]
    plt.close('all')
    ours.plot_conv_output(cell_id.replace('output-', 'layer_').replace('-code', ''), image)
    assert np.array_equal(drawn, [shown(ax) for ax in pictures()[:number]])
    assert len(plt.gcf().axes) == number + 1


# The flowchart


class OldImage(Image):
    """A picture as IPython 7 takes it, the version in Colab."""

    def __init__(self, data=None, url=None, filename=None, format=None, embed=None, width=None):
        super().__init__(data, url, filename, format, embed, width)


def test_the_flowchart_is_shown_where_it_is(nb, monkeypatch, tmp_path):
    for folder in (ROOT / 'notebooks', ROOT, tmp_path):
        displayed = show_flowchart(nb, monkeypatch, folder)
        if folder == tmp_path:
            assert not displayed
        else:
            ((image, metadata),) = displayed
            assert image.data == (ROOT / 'images/network_flowchart.png').read_bytes()
            assert metadata['image/png']['alt'].startswith('Flowchart')


def show_flowchart(nb, monkeypatch, folder):
    """Run the flowchart's cell in a folder and return what it displays."""
    displayed = []

    def display(image, metadata):
        displayed.append((image, metadata))

    monkeypatch.setattr('IPython.display.display', display)
    monkeypatch.setattr('IPython.display.Image', OldImage)
    run_cell(nb, 'flowchart-code', folder=folder)
    return displayed
