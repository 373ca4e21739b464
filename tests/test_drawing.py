"""What is drawn: read from matplotlib's figures, before they are shown."""

import re

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


# Grids of images


def test_images_fill_the_grid_by_rows_with_their_classes_below(tiny):
    images = tiny.data.test.images[:7]
    tiny.plot_images(images, cls_true=range(7), cls_pred=[9, 8, 7, 6, 5, 4, 3])
    axes = pictures()
    assert len(plt.gcf().axes) == len(axes) == 7 and rows_and_columns(axes) == (3, 3)
    for i, ax in enumerate(axes):
        assert np.array_equal(shown(ax), images[i].reshape(28, 28))
        assert ax.get_xlabel() == f'True: {i}\nPred: {9 - i}'
        assert ax.images[0].get_clim() == (0, 1) and ax.images[0].origin == 'upper'
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


def test_errors_and_matrix_are_drawn_if_wanted_for_the_models_own_predictions(tiny, capsys):
    tiny.optimize(30)
    y_pred, cls = tiny.model(tiny.data.test.images).numpy(), tiny.data.test.cls
    predicted = np.argmax(y_pred, axis=1)
    plt.close('all')
    tiny.print_test_accuracy()
    assert not plt.get_fignums()
    tiny.print_test_accuracy(show_example_errors=True)
    assert len(plt.get_fignums()) == 1 and capsys.readouterr().out.endswith('\nExample errors:\n')
    for i, ax in zip(np.flatnonzero(predicted != cls)[:9], pictures(), strict=True):
        assert np.array_equal(shown(ax).ravel(), tiny.data.test.images[i])
        percent = f'{100 * y_pred[i, predicted[i]]:.0f}%'
        assert ax.get_xlabel() == f'True: {cls[i]}\nPred: {predicted[i]} ({percent})'
    tiny.print_test_accuracy(show_confusion_matrix=True)
    assert len(plt.get_fignums()) == 2 and '\nConfusion Matrix:\n[[' in capsys.readouterr().out
    assert np.array_equal(shown(pictures()[0]), confusions(cls, predicted, 10))


@pytest.mark.parametrize('errors', [0, 1])
def test_no_errors_and_one_error_are_drawn_too(tiny, errors):
    tiny.data.test.cls = tiny.predict_cls(tiny.data.test.images)
    tiny.data.test.cls[7:8] = (tiny.data.test.cls[7:8] + errors) % 10
    plt.close('all')
    tiny.print_test_accuracy(show_example_errors=True, show_confusion_matrix=True)
    assert len(plt.get_fignums()) == 1 + errors
    assert np.sum(shown(pictures()[0]) * (1 - np.eye(10))) == errors
    if errors:
        plt.figure(plt.get_fignums()[0])
        assert np.array_equal(shown(pictures()[0]).ravel(), tiny.data.test.images[7])


# The confusion matrix


def confusions(cls_true, cls_pred, num_classes):
    """Return how often each true class, in rows, was predicted as each class, in columns."""
    matrix = np.zeros((num_classes, num_classes), dtype=int)
    np.add.at(matrix, (cls_true, cls_pred), 1)
    return matrix


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
        ([1000, 0, 0], 0.9),
        ([40] * 26, 0.9),
    ],
)
def test_the_confusion_matrix_has_true_classes_in_rows_and_all_its_numbers_can_be_read(
    tiny, capsys, images_of_each_class, share_right
):
    """Classes that do not occur have their place, and errors have a color."""
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
    assert re.findall(r'\d+', capsys.readouterr().out) == [str(number) for number in matrix.flat]
    assert np.array_equal(shown(ax), matrix) and len(ax.texts) == matrix.size
    assert ax.get_xlabel() == 'Predicted' and ax.get_ylabel() == 'True'
    for text in ax.texts:
        column, row = text.get_position()
        assert text.get_text() == str(matrix[row, column])
        assert contrast(text, ax.images[0], matrix[row, column]) >= 4.4
        assert text.get_fontsize() >= 9
    most_errors = np.max(matrix * (1 - np.eye(tiny.num_classes)))
    assert min(color_of(ax.images[0], 0)) > 0.85
    assert share_right == 1 or 0.1 < min(color_of(ax.images[0], most_errors)) < 0.5
    for axis in (ax.xaxis, ax.yaxis):
        labels = axis.get_ticklabels()
        assert axis.get_ticklocs().tolist() == list(range(len(matrix)))
        assert [label.get_text() for label in labels] == [str(i) for i in range(len(matrix))]
        assert boxes_apart(label.get_window_extent() for label in labels)
    assert boxes_apart(text.get_window_extent() for text in ax.texts)


# The learning curve


def test_the_learning_curve_shows_errors_over_iterations(tiny):
    tiny.accuracies.train = {1: 0.125, 101: 0.75, 201: 1.0}
    tiny.accuracies.test = {0: 0.1, 100: 0.8, 1000: 0.96, 10000: 0.985}
    run_cell(tiny, 'curve-code')
    (ax,) = plt.gcf().axes
    ax.figure.canvas.draw()
    expected = {'training batch': tiny.accuracies.train, 'test-set': tiny.accuracies.test}
    for line, (label, accuracies) in zip(ax.lines, expected.items(), strict=True):
        points = [(iteration, 1 - accuracy) for iteration, accuracy in accuracies.items()]
        assert line.get_label() == label
        assert line.get_xydata() == pytest.approx(np.array(points))
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
        assert min(picture_size(ax)) > 0.6
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


def test_filters_of_one_channel_are_drawn_on_one_scale_with_white_at_zero(tiny):
    weights = np.random.default_rng(1).normal(0.5, 1, size=(3, 4, 6, 5))
    tiny.plot_conv_weights(weights, input_channel=2)
    filters = np.moveaxis(weights[:, :, 2], -1, 0)
    check_filters(filters, np.abs(weights).max(), 'weight, input channel 2')
    assert rows_and_columns(pictures()[:5]) == (2, 3)


@pytest.mark.filterwarnings('error::RuntimeWarning')
def test_weights_that_are_all_zero_are_white(tiny):
    tiny.plot_conv_weights(np.zeros((5, 5, 1, 2)))
    check_filters(np.zeros((2, 5, 5)), 1, 'weight, input channel 0')


def test_the_cells_draw_filters_and_their_change_and_print_the_correlations(full, capsys):
    weights, changes, printed = {}, {}, ''
    for name, end in [('layer_conv1', 2), ('layer_conv2', 3)]:
        layer = full.model.get_layer(name)
        initial, biases = layer.get_weights()
        change = initial.std() * np.linspace(-1, end, initial.size).reshape(initial.shape)
        layer.set_weights([initial + change, biases])
        weights[name] = layer.kernel.numpy()
        changes[name] = weights[name] - initial
        correlation = np.corrcoef(initial.ravel(), weights[name].ravel())[0, 1]
        assert 0.5 < correlation < 0.95
        printed += f'Correlation: {correlation:.2f}\n'
    for cell_id, drawn, channel, label in [
        ('weights-conv1-code', weights['layer_conv1'], 0, 'weight'),
        ('weights-change-code', changes['layer_conv1'], 0, 'change'),
        ('weights-conv2-code', weights['layer_conv2'], 0, 'weight'),
        ('weights-conv2-1-code', weights['layer_conv2'], 1, 'weight'),
    ]:
        plt.close('all')
        run_cell(full, cell_id)
        filters = np.moveaxis(drawn[:, :, channel], -1, 0)
        check_filters(filters, np.abs(drawn).max(), f'{label}, input channel {channel}')
    assert capsys.readouterr().out == printed


# The images between the layers


@pytest.mark.parametrize(
    ('cell_id', 'num_channels', 'at_the_start'),
    [
        ('output-conv1-code', 16, False),
        ('output-edge-code', 16, True),
        ('output-conv2-code', 36, False),
        ('output-start-code', 36, True),
    ],
)
def test_the_output_of_a_layer_is_drawn_for_the_first_test_image(
    full, cell_id, num_channels, at_the_start
):
    """Without an activation function, so negative values have to be told from zero."""
    run_cell(full, 'model', replace_text(CODE['model'], "'relu'", 'None'))
    weights = full.model.get_weights()
    full.model.set_weights([1.5 * array + 0.1 * (array.ndim == 1) for array in weights])
    for needed in ['weights-conv1-code', 'weights-change-code', 'output-conv1-code', cell_id]:
        run_cell(full, needed)
    found = []
    for arrays in [full.model.get_weights(), weights]:
        full.model.set_weights(arrays)
        output = full.data.test.images[:1]
        for layer in full.model.layers:
            output = layer(output)
            if output.shape[-1] == num_channels and 'conv' in layer.name:
                break
        found.append(np.moveaxis(np.array(output)[0], -1, 0))
    channels = found[at_the_start]
    limits = pytest.approx((found[0].min(), found[0].max()), abs=1e-4)
    axes = pictures()[: len(channels)]
    assert len(plt.gcf().axes) == len(channels) + 1
    for ax, channel in zip(axes, channels, strict=True):
        assert np.allclose(shown(ax), channel, atol=1e-4)
        assert ax.images[0].get_clim() == limits
    assert channels.min() < -0.1
    (bar,) = [ax for ax in plt.gcf().axes if ax.get_ylabel()]
    assert bar.get_ylabel() == 'output'
    assert color_of(axes[0].images[0], found[0].min()) == to_rgb('white')


def test_images_are_moved_and_swapped_and_all_are_classified(tiny, capsys):
    tiny.optimize(30)
    capsys.readouterr()
    run_cell(tiny, 'place-code')
    image = tiny.data.test.images[3].reshape(28, 28)
    right, up = np.zeros((2, 28, 28))
    right[:, 4:], up[:-4] = image[:, :-4], image[4:]
    moved = [image, right, up, 1 - image]
    for ax, expected in zip(pictures(), moved, strict=True):
        assert np.array_equal(shown(ax), expected)
        y_pred = tiny.model(expected.reshape(1, 784)).numpy()[0]
        answer = f'{y_pred.argmax()} ({y_pred.max():.0%})'
        assert ax.get_xlabel() == f'True: {tiny.data.test.cls[3]}\nPred: {answer}'
    run_cell(tiny, 'place-all-code')
    lines = []
    for name, expected in zip(['as they are', 'right', 'up', 'swapped'], moved, strict=True):
        images = tiny.ways[name]
        assert np.array_equal(images[3].reshape(28, 28), expected)
        share_right = tiny.accuracy(images, tiny.data.test.labels)
        certainty = np.max(tiny.model(images[:1000]), axis=1).mean()
        lines.append(f'{name:11} {share_right:.1%}, certainty {certainty:.0%}\n')
    assert capsys.readouterr().out == ''.join(lines)


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
