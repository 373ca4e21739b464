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
def cls_pred(tiny):
    """Return predictions, not the model's, that are wrong for 12 test images: 5, 15, 25 and so on."""
    predicted = tiny.data.test.cls.copy()
    predicted[5:125:10] = (predicted[5:125:10] + np.arange(12) % 3 + 1) % 10
    return predicted


# Grids of images


def test_images_fill_the_grid_by_rows_with_their_classes_below(tiny):
    images = tiny.data.test.images[:7]
    tiny.plot_images(images, cls_true=range(7), cls_pred=[9, 8, 7, 6, 5, 4, 3])
    axes = pictures()
    assert len(plt.gcf().axes) == len(axes) == 7 and rows_and_columns(axes) == (3, 3)
    for i, ax in enumerate(axes):
        assert np.array_equal(shown(ax), images[i].reshape(28, 28))
        assert ax.get_xlabel() == f'True: {i}\nPred: {9 - i}'
        assert ax.images[0].get_clim() == (0, 1)
        assert not ax.get_xticks().size and not ax.get_yticks().size
    assert color_of(axes[0].images[0], 1) == to_rgb('black')
    assert color_of(axes[0].images[0], 0) == to_rgb('white')


def test_the_first_plot_shows_the_first_nine_test_images(tiny):
    run_cell(tiny, 'plot-few-code')
    axes = pictures()
    assert len(axes) == 9
    for i, ax in enumerate(axes):
        assert np.array_equal(shown(ax).ravel(), tiny.data.test.images[i])
        assert ax.get_xlabel() == f'True: {tiny.data.test.cls[i]}'


def test_images_are_not_turned_where_height_and_width_differ(tiny):
    images = np.arange(2 * 3 * 5).reshape(2, 3, 5)
    tiny.plot_grid(images)
    assert [shown(ax).tolist() for ax in pictures()] == images.tolist()
    assert {ax.images[0].origin for ax in plt.gcf().axes} == {'upper'}


def test_64_images_are_as_large_as_nine_and_their_texts_do_not_overlap(tiny):
    sizes = []
    for number in (9, 64):
        images = tiny.data.test.images[:number]
        tiny.plot_images(images, cls_true=[8] * number, cls_pred=['8 (100%)'] * number)
        axes = pictures()
        assert rows_and_columns(axes) == (number**0.5, number**0.5)
        sizes.append(np.min([picture_size(ax) for ax in axes], axis=0))
    assert np.all(sizes[1] > 0.95 * sizes[0]) and np.all(sizes[0] > 1)
    captions = [ax.xaxis.label.get_window_extent() for ax in axes]
    assert boxes_apart(captions + [ax.get_window_extent() for ax in axes])


# Example errors


def test_example_errors_are_the_first_nine_with_their_classes_and_probabilities(tiny, cls_pred):
    tiny.optimize(30)
    tiny.plot_example_errors(cls_pred=cls_pred, correct=cls_pred == tiny.data.test.cls)
    axes = pictures()
    y_pred = tiny.model(tiny.data.test.images).numpy()
    for i, ax in zip(range(5, 95, 10), axes, strict=True):
        assert np.array_equal(shown(ax).ravel(), tiny.data.test.images[i])
        percent = f'{100 * y_pred[i, cls_pred[i]]:.0f}%'
        assert ax.get_xlabel() == f'True: {tiny.data.test.cls[i]}\nPred: {cls_pred[i]} ({percent})'
    assert len({ax.get_xlabel().split('(')[1] for ax in axes}) > 3


@pytest.mark.parametrize('errors', [0, 1])
def test_no_errors_and_one_error_are_drawn_too(tiny, errors, capsys):
    predicted = np.argmax(tiny.model(tiny.data.test.images), axis=1)
    tiny.data.test.cls = predicted.copy()
    tiny.data.test.cls[7:8] = (predicted[7] + errors) % 10
    tiny.print_test_accuracy(show_example_errors=True, show_confusion_matrix=True)
    printed = capsys.readouterr().out
    assert f'({999 - errors} / 999)' in printed
    assert printed.index('Example errors:') < printed.index('Confusion Matrix:\n[[')
    assert len(plt.get_fignums()) == 1 + errors
    assert np.sum(shown(pictures()[0]) * (1 - np.eye(10))) == errors
    if errors:
        plt.figure(plt.get_fignums()[0])
        assert np.array_equal(shown(pictures()[0]).ravel(), tiny.data.test.images[7])


def test_errors_and_matrix_are_drawn_if_wanted_for_the_models_own_predictions(tiny):
    predicted = np.argmax(tiny.model(tiny.data.test.images), axis=1)
    tiny.print_test_accuracy()
    assert not plt.get_fignums()
    tiny.print_test_accuracy(show_example_errors=True)
    assert len(plt.get_fignums()) == 1
    wrong = np.flatnonzero(predicted != tiny.data.test.cls)
    for i, ax in zip(wrong[:9], pictures(), strict=True):
        assert np.array_equal(shown(ax).ravel(), tiny.data.test.images[i])
        assert f'Pred: {predicted[i]} (' in ax.get_xlabel()
    tiny.print_test_accuracy(show_confusion_matrix=True)
    assert len(plt.get_fignums()) == 2
    expected = confusions(tiny.data.test.cls, predicted, 10)
    assert np.array_equal(shown(pictures()[0]), expected)


# The confusion matrix


def confusions(cls_true, cls_pred, num_classes):
    """Return how often each true class, in rows, was predicted as each class, in columns."""
    matrix = np.zeros((num_classes, num_classes), dtype=int)
    np.add.at(matrix, (cls_true, cls_pred), 1)
    return matrix


def test_the_confusion_matrix_has_true_classes_in_rows_and_colors_for_the_errors(
    tiny, cls_pred, capsys
):
    tiny.plot_confusion_matrix(cls_pred=cls_pred)
    matrix = confusions(tiny.data.test.cls, cls_pred, 10)
    assert not np.array_equal(matrix, matrix.T)
    numbers = capsys.readouterr().out.replace('[', ' ').replace(']', ' ').split()
    assert np.array_equal(np.reshape([int(number) for number in numbers], (10, 10)), matrix)
    (ax,) = pictures()
    assert ax.get_xlabel() == 'Predicted' and ax.get_ylabel() == 'True'
    (image,) = ax.images
    assert np.array_equal(image.get_array(), matrix)
    assert image.origin == 'upper' and image.get_extent() == [-0.5, 9.5, 9.5, -0.5]
    largest = np.max(matrix * (1 - np.eye(10)))
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


@pytest.mark.parametrize(
    ('images_of_each_class', 'share_right'),
    [
        *(([100] * 10, share) for share in (1, 0.988, 0.86, 0.64, 0.61, 0.58, 0.5)),
        *(([2500, 2500], share) for share in (0.97, 0.5)),
        ([1000, 300, 120], 0.9),
        ([40] * 26, 0.9),
    ],
)
def test_all_numbers_in_the_confusion_matrix_can_be_read(tiny, images_of_each_class, share_right):
    tiny.num_classes = len(images_of_each_class)
    cls = np.repeat(np.arange(tiny.num_classes), images_of_each_class)
    random = np.random.default_rng(1)
    wrong = random.choice(len(cls), round((1 - share_right) * len(cls)), replace=False)
    cls_pred = cls.copy()
    cls_pred[wrong] = (cls[wrong] + 1) % tiny.num_classes
    tiny.data.test.cls = cls
    tiny.plot_confusion_matrix(cls_pred=cls_pred)
    (ax,) = pictures()
    matrix = confusions(cls, cls_pred, tiny.num_classes)
    assert np.array_equal(shown(ax), matrix) and len(ax.texts) == matrix.size
    for text in ax.texts:
        column, row = text.get_position()
        assert text.get_text() == str(matrix[row, column])
        assert contrast(text, ax.images[0], matrix[row, column]) >= 4.4
        assert text.get_fontsize() >= 9
    for axis in (ax.xaxis, ax.yaxis):
        labels = axis.get_ticklabels()
        assert axis.get_ticklocs().tolist() == list(range(len(matrix)))
        assert [label.get_text() for label in labels] == [str(i) for i in range(len(matrix))]
        assert boxes_apart(label.get_window_extent() for label in labels)
    assert boxes_apart(text.get_window_extent() for text in ax.texts)


def test_classes_that_do_not_occur_have_their_place_in_the_confusion_matrix(tiny, capsys):
    tiny.data.test.cls = np.array([3, 3, 5])
    tiny.plot_confusion_matrix(cls_pred=np.array([3, 4, 5]))
    assert shown(pictures()[0])[3, 4] == 1
    assert capsys.readouterr().out.count('\n') == 10


# The learning curve


def test_the_learning_curve_shows_errors_over_iterations(tiny):
    tiny.accuracies.train = {1: 0.125, 101: 0.75, 201: 1.0}
    tiny.accuracies.test = {0: 0.1, 100: 0.8, 1000: 0.96, 10000: 0.985}
    run_cell(tiny, 'curve-code')
    (ax,) = plt.gcf().axes
    ax.figure.canvas.draw()
    lines = {line.get_label(): line for line in ax.lines}
    expected = {'training batch': tiny.accuracies.train, 'test-set': tiny.accuracies.test}
    assert lines.keys() == expected.keys()
    for label, accuracies in expected.items():
        points = [(iteration, 1 - accuracy) for iteration, accuracy in accuracies.items()]
        assert lines[label].get_xydata() == pytest.approx(np.array(points))
    assert ax.get_xlabel() == 'iteration' and ax.get_ylabel() == 'error'
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


@pytest.mark.parametrize(('number', 'grid'), [(5, (2, 3)), (36, (6, 6))])
def test_filters_of_one_channel_are_drawn_on_one_scale_with_white_at_zero(tiny, number, grid):
    weights = np.random.default_rng(1).normal(0.5, 1, size=(3, 4, 6, number))
    tiny.plot_conv_weights(weights, input_channel=2)
    filters = [weights[:, :, 2, i] for i in range(number)]
    check_filters(filters, np.abs(weights).max(), 'weight, input channel 2')
    assert rows_and_columns(pictures()[:number]) == grid
    assert np.min([picture_size(ax) for ax in pictures()[:number]]) > 0.6


@pytest.mark.filterwarnings('error::RuntimeWarning')
def test_weights_that_are_all_zero_are_white(tiny):
    tiny.plot_conv_weights(np.zeros((5, 5, 1, 2)))
    check_filters(np.zeros((2, 5, 5)), 1, 'weight, input channel 0')


@pytest.mark.parametrize(
    ('cell_id', 'layer', 'channel'),
    [
        ('weights-conv1-code', 'layer_conv1', 0),
        ('weights-conv2-code', 'layer_conv2', 0),
        ('weights-conv2-1-code', 'layer_conv2', 1),
    ],
)
def test_the_cells_draw_the_weights_of_the_layers(full, cell_id, layer, channel):
    run_cell(full, 'weights-conv2-code')
    plt.close('all')
    run_cell(full, cell_id)
    weights = full.model.get_layer(layer).kernel.numpy()
    filters = np.moveaxis(weights[:, :, channel], -1, 0)
    check_filters(filters, np.abs(weights).max(), f'weight, input channel {channel}')


def change_weights(layer, change):
    """Add a change to a layer's weights; return their correlation with those before, as text."""
    start, biases = layer.get_weights()
    layer.set_weights([start + change, biases])
    return f'{np.corrcoef(start.ravel(), (start + change).ravel())[0, 1]:.2f}'


def test_the_change_of_the_weights_is_the_present_ones_minus_the_first(full, capsys):
    change = np.linspace(-0.3, 0.7, 400, dtype=np.float32).reshape(5, 5, 1, 16)
    correlation = change_weights(full.model.get_layer('layer_conv1'), change)
    run_cell(full, 'weights-conv1-code')
    capsys.readouterr()
    run_cell(full, 'weights-change-code')
    assert capsys.readouterr().out == f'Correlation: {correlation}\n'
    filters = np.moveaxis(change[:, :, 0], -1, 0)
    assert np.allclose([shown(ax) for ax in pictures()[:16]], filters, atol=1e-6)
    check_filters([shown(ax) for ax in pictures()[:16]], 0.7, 'change, input channel 0')


def test_the_correlation_is_printed_for_the_second_layer_too(full, capsys):
    change = np.linspace(-0.1, 0.1, 14_400, dtype=np.float32).reshape(5, 5, 16, 36)
    correlation = change_weights(full.model.get_layer('layer_conv2'), change)
    run_cell(full, 'weights-conv2-code')
    assert capsys.readouterr().out == f'Correlation: {correlation}\n'
    assert 0.5 < float(correlation) < 0.95


# The images between the layers


@pytest.mark.parametrize(
    ('cell_id', 'name'),
    [('output-conv1-code', 'layer_conv1'), ('output-conv2-code', 'layer_conv2')],
)
def test_the_output_of_a_layer_is_drawn_for_the_image_that_is_shown(full, cell_id, name):
    """Without an activation function, so negative values have to be told from zero."""
    run_cell(full, 'model', replace_text(CODE['model'], "'relu'", 'None'))
    run_cell(full, 'output-image-code')
    (ax,) = pictures()
    assert np.array_equal(shown(ax).ravel(), full.data.test.images[0])
    assert ax.get_xlabel() == f'True: {full.data.test.cls[0]}'
    run_cell(full, cell_id)
    output = full.data.test.images[0].reshape(1, 28, 28, 1)
    for layer in full.model.layers[1:]:
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


# The flowchart


class OldImage(Image):
    """A picture as IPython 7 takes it, the version in Colab."""

    def __init__(self, data=None, url=None, filename=None, format=None, embed=None, width=None):
        super().__init__(data, url, filename, format, embed, width)


def test_the_flowchart_is_shown_where_it_is(tiny, monkeypatch, tmp_path):
    displayed = []
    monkeypatch.setattr('IPython.display.Image', OldImage)
    monkeypatch.setattr('IPython.display.display', lambda image, **_: displayed.append(image))
    for folder in (ROOT / 'notebooks', ROOT):
        run_cell(tiny, 'flowchart-code', folder=folder)
    stored = (ROOT / 'images/network_flowchart.png').read_bytes()
    assert [image.data for image in displayed] == [stored, stored]
    run_cell(tiny, 'flowchart-code', folder=tmp_path)
    assert len(displayed) == 2
