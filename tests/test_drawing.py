"""What is drawn: read from matplotlib's figures, before they are shown."""

import re
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
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
    """Tell whether no two of these boxes have a place in common."""
    boxes = list(boxes)
    return not any(box.count_overlaps(boxes[:i]) for i, box in enumerate(boxes))


def size_in_inches(ax):
    """Return the width and height of an image."""
    return ax.get_window_extent().size / ax.figure.dpi


def check_digits(images, captions):
    """Check that the current figure shows images [n, img_size_flat], with captions below."""
    axes = pictures()
    assert np.array_equal([shown(ax).ravel() for ax in axes], images)
    assert [ax.get_xlabel() for ax in axes] == captions


def check_channels(images, low, high, label):
    """Check that the current figure shows images on one scale, a color bar and no empty boxes."""
    axes = pictures()
    for ax, expected in zip(axes, images, strict=True):
        assert np.allclose(shown(ax), expected, atol=1e-4)
        assert ax.images[0].get_clim() == pytest.approx((low, high), abs=1e-4)
        assert not ax.get_xticks().size and not ax.get_yticks().size
        assert min(size_in_inches(ax)) > 0.6
    (bar,) = {*plt.gcf().axes} - {*axes}
    assert bar.get_ylabel() == label
    assert bar.get_ylim() == pytest.approx((low, high), abs=1e-4)


# Grids of images


def test_images_fill_the_grid_by_rows_with_their_classes_below(tiny):
    images = tiny.data.test.images[:7]
    tiny.plot_images(images, cls_true=range(7), cls_pred=[9, 8, 7, 6, 5, 4, 3])
    check_digits(images, [f'True: {i}\nPred: {9 - i}' for i in range(7)])
    axes = pictures()
    assert len(plt.gcf().axes) == 7 and rows_and_columns(axes) == (3, 3)
    for ax in axes:
        assert ax.images[0].get_clim() == (0, 1) and ax.images[0].origin == 'upper'
    assert color_of(axes[0].images[0], 1) == to_rgb('black')
    assert color_of(axes[0].images[0], 0) == to_rgb('white')


def test_the_first_plot_shows_the_first_nine_test_images(tiny):
    run_cell(tiny, 'plot-few-code')
    check_digits(tiny.data.test.images[:9], [f'True: {cls}' for cls in tiny.data.test.cls[:9]])


def test_64_images_are_as_large_as_nine_and_their_texts_do_not_overlap(tiny):
    sizes = []
    for number in (9, 64):
        images = tiny.data.test.images[:number]
        tiny.plot_images(images, cls_true=[8] * number, cls_pred=['8 (100%)'] * number)
        axes = pictures()
        assert rows_and_columns(axes) == (number**0.5, number**0.5)
        sizes.append(np.min([size_in_inches(ax) for ax in axes], axis=0))
    assert np.all(sizes[1] > 0.95 * sizes[0]) and np.all(sizes[0] > 1)
    captions = [ax.xaxis.label.get_window_extent() for ax in axes]
    assert boxes_apart(captions + [ax.get_window_extent() for ax in axes])


# Example errors


def test_errors_and_matrix_are_drawn_if_wanted_for_the_models_own_predictions(tiny, capsys):
    tiny.optimize(30)
    y_pred, cls = tiny.model(tiny.data.test.images).numpy(), tiny.data.test.cls
    predicted = np.argmax(y_pred, axis=1)
    tiny.print_test_accuracy()
    assert not plt.get_fignums()
    tiny.print_test_accuracy(True)
    assert len(plt.get_fignums()) == 1 and capsys.readouterr().out.endswith('\nExample errors:\n')
    errors = np.flatnonzero(predicted != cls)[:9]
    captions = [f'True: {cls[i]}\nPred: {predicted[i]} ({y_pred[i].max():.0%})' for i in errors]
    check_digits(tiny.data.test.images[errors], captions)
    tiny.print_test_accuracy(show_confusion_matrix=True)
    assert len(plt.get_fignums()) == 2 and '\nConfusion Matrix:\n[[' in capsys.readouterr().out
    assert np.array_equal(shown(pictures()[0]).sum(axis=0), np.bincount(predicted, minlength=10))


@pytest.mark.parametrize('errors', [0, 1])
def test_no_errors_and_one_error_are_drawn_too(tiny, errors):
    tiny.data.test.cls = tiny.predict_cls(tiny.data.test.images)
    tiny.data.test.cls[7] = (tiny.data.test.cls[7] + errors) % 10
    tiny.print_test_accuracy(show_example_errors=True)
    assert len(plt.get_fignums()) == errors
    assert not errors or np.array_equal(shown(pictures()[0]).ravel(), tiny.data.test.images[7])


# The confusion matrix


def contrast(*colors):
    """Return the contrast of two colors, 1 to 21."""
    values = np.array([to_rgb(color) for color in colors])
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    low, high = sorted(linear @ [0.2126, 0.7152, 0.0722])
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize(
    'matrix',
    [
        np.diag([100] * 10),
        np.diag([100] * 10) + np.eye(10, k=9, dtype=int),
        np.diag([60] * 10) + 4,
        np.array([[980, 15, 5], [10, 280, 10], [4, 8, 108]]),
        np.diag(range(0, 104, 4)) + 50 * np.eye(26, k=1, dtype=int),
        np.array([[2425, 75], [75, 2425]]),
        np.array([[900, 100, 0], [0, 0, 0], [0, 0, 0]]),
    ],
    ids=['none', 'one', 'weak', 'unequal classes', 'all shades', 'two classes', 'missing classes'],
)
def test_the_confusion_matrix_has_true_classes_in_rows_and_all_its_numbers_can_be_read(
    tiny, capsys, matrix
):
    tiny.num_classes = len(matrix)
    tiny.data.test.cls, cls_pred = np.repeat(np.argwhere(matrix >= 0), matrix.ravel(), axis=0).T
    tiny.plot_confusion_matrix(cls_pred=cls_pred)
    (ax,) = pictures()
    assert re.findall(r'\d+', capsys.readouterr().out) == [str(number) for number in matrix.flat]
    assert np.array_equal(shown(ax), matrix) and len(ax.texts) == matrix.size
    assert ax.get_xlabel() == 'Predicted' and ax.get_ylabel() == 'True'
    for text in ax.texts:
        column, row = text.get_position()
        assert text.get_text() == str(matrix[row, column])
        assert contrast(text.get_color(), color_of(ax.images[0], matrix[row, column])) >= 4.4
        assert text.get_fontsize() >= 9
    most_errors = np.max(matrix * (1 - np.eye(len(matrix))))
    assert min(color_of(ax.images[0], 0)) > 0.85
    assert not most_errors or 0.1 < min(color_of(ax.images[0], most_errors)) < 0.5
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
    for line, accuracies in zip(ax.lines, vars(tiny.accuracies).values(), strict=True):
        points = [(iteration, 1 - accuracy) for iteration, accuracy in accuracies.items()]
        assert line.get_xydata() == pytest.approx(np.array(points))
    assert ax.get_xlabel() == 'iteration' and ax.get_ylabel() == 'error'
    names = [text.get_text() for text in ax.get_legend().get_texts()]
    assert names == ['training batch', 'test-set']
    ticks = [label.get_text() for axis in (ax.xaxis, ax.yaxis) for label in axis.get_ticklabels()]
    assert {'0', '100', '10,000', '0%', '1%', '10%'} <= set(ticks)
    (low, high), (left, right) = ax.get_ylim(), ax.get_xlim()
    assert low <= 0 and high >= 0.9 and left <= 0 and right >= 10_000


# Filters


def test_filters_of_one_channel_are_drawn_on_one_scale_with_white_at_zero(tiny):
    weights = np.random.default_rng(1).normal(0.5, 1, size=(3, 4, 6, 5))
    tiny.plot_conv_weights(weights, input_channel=2)
    limit = np.abs(weights).max()
    check_channels(np.moveaxis(weights[:, :, 2], -1, 0), -limit, limit, 'weight, input channel 2')
    assert rows_and_columns(pictures()) == (2, 3)
    image = pictures()[0].images[0]
    blue, white, red = (color_of(image, share * limit) for share in (-0.8, 0, 0.8))
    assert min(white) > 0.95
    assert blue[2] > 0.6 > 0.4 > blue[0] and red[0] > 0.6 > 0.4 > red[2]


@pytest.mark.filterwarnings('error::RuntimeWarning')
def test_weights_that_are_all_zero_are_white(tiny):
    tiny.plot_conv_weights(np.zeros((5, 5, 1, 2)))
    check_channels(np.zeros((2, 5, 5)), -1, 1, 'weight, input channel 0')


def test_the_cells_draw_filters_and_their_change_and_print_the_correlations(full, capsys):
    kernels = [full.model.get_layer(name).kernel for name in ('layer_conv1', 'layer_conv2')]
    start1, start2 = starts = [kernel.numpy() for kernel in kernels]
    for kernel, start, end in zip(kernels, starts, [2, 3], strict=True):
        kernel.assign_add(start.std() * np.linspace(-1, end, start.size).reshape(start.shape))
    conv1, conv2 = (kernel.numpy() for kernel in kernels)
    correlations = [np.corrcoef(conv1.flat, start1.flat), np.corrcoef(conv2.flat, start2.flat)]
    assert all(0.5 < matrix[0, 1] < 0.95 for matrix in correlations)
    for cell_id, drawn, channel, label in [
        ('weights-conv1-code', conv1, 0, 'weight'),
        ('weights-change-code', conv1 - start1, 0, 'change'),
        ('weights-conv2-code', conv2, 0, 'weight'),
        ('weights-conv2-1-code', conv2, 1, 'weight'),
    ]:
        plt.close('all')
        run_cell(full, cell_id)
        filters, limit = np.moveaxis(drawn[:, :, channel], -1, 0), np.abs(drawn).max()
        check_channels(filters, -limit, limit, f'{label}, input channel {channel}')
    printed = [f'Correlation: {matrix[0, 1]:.2f}\n' for matrix in correlations]
    assert capsys.readouterr().out == ''.join(printed)


# The images between the layers


def outputs(network, image):
    """Return the channels [n, height, width] that each layer makes of an image, by its name."""
    made, output = {}, image[np.newaxis]
    for layer in network.layers:
        output = layer(output)
        made[layer.name] = np.moveaxis(output[0], -1, 0)
    return made


def test_the_outputs_of_layers_are_drawn_for_the_first_test_image(full):
    """Without an activation function, so negative values have to be told from zero."""
    run_cell(full, 'model', replace_text(CODE['model'], "'relu'", 'None'))
    start = full.model.get_weights()
    full.model.set_weights([1.5 * array + 0.1 * (array.ndim == 1) for array in start])
    run_cell(full, 'weights-conv1-code')
    run_cell(full, 'weights-change-code')
    assert all(map(np.array_equal, full.model_start.get_weights(), start))
    for cell_id, network, layer in [
        ('output-conv1-code', full.model, 'layer_conv1'),
        ('output-edge-code', full.model_start, 'layer_conv1'),
        ('output-conv2-code', full.model, 'layer_conv2'),
        ('output-start-code', full.model_start, 'layer_conv2'),
    ]:
        plt.close('all')
        run_cell(full, cell_id)
        drawn, ours = (outputs(n, full.data.test.images[0])[layer] for n in (network, full.model))
        assert drawn.min() < -0.1
        check_channels(drawn, ours.min(), ours.max(), 'output')
        assert color_of(pictures()[0].images[0], ours.min()) == to_rgb('white')


def test_images_are_moved_and_swapped_and_all_are_classified(tiny, capsys):
    tiny.optimize(30)
    # Half of the images are blank, so an average over a few of them is another one.
    tiny.data.test.images = tiny.data.test.images * (np.arange(999) < 500)[:, np.newaxis]
    capsys.readouterr()
    run_cell(tiny, 'place-code')
    image = tiny.data.test.images[3].reshape(28, 28)
    right, up = np.zeros((2, 28, 28))
    right[:, 4:], up[:-4] = image[:, :-4], image[4:]
    moved = np.reshape([image, right, up, 1 - image], (4, 784))
    answers = [f'{p.argmax()} ({p.max():.0%})' for p in tiny.model(moved).numpy()]
    check_digits(moved, [f'True: {tiny.data.test.cls[3]}\nPred: {answer}' for answer in answers])
    run_cell(tiny, 'place-all-code')
    lines = []
    for name, expected in zip(['as they are', 'right', 'up', 'swapped'], moved, strict=True):
        images = tiny.ways[name]
        assert np.array_equal(images[3], expected)
        share_right = tiny.accuracy(images, tiny.data.test.labels)
        certainty = np.max(tiny.model(images[:1000]), axis=1).mean()
        lines.append(f'{name:11} {share_right:.1%}, certainty {certainty:.0%}\n')
    assert capsys.readouterr().out == ''.join(lines)


# The flowchart


def test_the_flowchart_is_shown_where_it_is(tiny, monkeypatch, tmp_path):
    def image(filename, width=None):
        """Return a picture, with no parameter for its text, as in Colab's older IPython."""
        return Path(filename).read_bytes()

    displayed = []
    monkeypatch.setattr('IPython.display.Image', image)
    monkeypatch.setattr('IPython.display.display', lambda image, **_: displayed.append(image))
    for folder in (ROOT / 'notebooks', ROOT, tmp_path):
        run_cell(tiny, 'flowchart-code', folder=folder)
    assert displayed == [(ROOT / 'images/network_flowchart.png').read_bytes()] * 2
