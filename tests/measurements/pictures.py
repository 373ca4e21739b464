"""Trains the notebook's network and draws the pictures in the folder images."""

import numpy as np
from matplotlib.figure import Figure

from tests.lesson import ROOT, run_cells

EXAMPLE = 2148  # the test image in the flowchart, a four that is a little like a nine
GREEN = '#00755e'
GRAY = '#999999'


def gray(values):
    """Return imshow's arguments for images: white is zero, black the largest value."""
    return {'cmap': 'binary', 'vmin': 0, 'vmax': values.max()}


def red_blue(weights):
    """Return imshow's arguments for weights: red is positive and blue is negative."""
    limit = np.abs(weights).max()
    return {'cmap': 'RdBu_r', 'vmin': -limit, 'vmax': limit}


class Board:
    """A figure to draw on, in units of 1/100 inch from its top left corner."""

    def __init__(self, width, height):
        self.figure = Figure(figsize=(width / 100, height / 100), layout='none')
        self.ax = self.figure.add_axes((0, 0, 1, 1))
        self.ax.axis('off')
        self.ax.axis((0, width, height, 0))

    def image(self, pixels, x, y, width, height, **kwargs):
        """Draw an array in a thin frame."""
        right, bottom = x + width, y + height
        self.ax.imshow(pixels, extent=(x, right, bottom, y), interpolation='nearest', **kwargs)
        xs, ys = [x, right, right, x, x], [y, y, bottom, bottom, y]
        self.ax.plot(xs, ys, color=GRAY, linewidth=0.6)

    def tiles(self, images, x, y, width, num_columns, gap, **kwargs):
        """Draw square images in rows of the given width."""
        pitch = (width + gap) / num_columns
        for i, pixels in enumerate(images):
            corner = x + i % num_columns * pitch, y + i // num_columns * pitch
            self.image(pixels, *corner, pitch - gap, pitch - gap, **kwargs)

    def text(self, x, y, text, size=20, **kwargs):
        """Write text with the baseline at y, by default centered at x."""
        kwargs = {'ha': 'center', 'fontsize': size * 0.72, 'linespacing': 1.2} | kwargs
        self.ax.text(x, y, text, **kwargs)

    def arrow(self, *ends):
        """Draw an arrow from one point to another."""
        style = {'arrowstyle': 'simple,head_length=0.7,head_width=0.9,tail_width=0.22'}
        style |= {'mutation_scale': 15, 'color': GREEN, 'shrinkA': 0, 'shrinkB': 0, 'linewidth': 0}
        self.ax.annotate('', ends[1], ends[0], arrowprops=style)

    def save(self, path):
        """Write the figure to a PNG file."""
        self.figure.savefig(path, dpi=200, facecolor='white', pil_kwargs={'optimize': True})


def draw_flowchart(nb, path):
    """Draw what becomes of one test image on its way through the network."""
    outputs = [nb.data.test.images[[EXAMPLE]]]
    for layer in nb.model.layers:
        outputs.append(layer(outputs[-1]).numpy())
    _, image, _, images1, _, images2, numbers, features, probabilities = [out[0] for out in outputs]
    conv1, _, conv2, _, _, _, fc2, _ = nb.model.get_weights()

    board = Board(910, 690)
    title, action = {'fontweight': 'bold'}, {'color': GREEN}
    left, size, gap = 14, 156, 207  # the images are as wide as size, gap apart

    # In the first row, the images,
    y = 72
    for i, stack in enumerate([image, images1, images2]):
        height, width, number = stack.shape
        x = left + i * (size + gap)
        board.text(x + size / 2, 30, f'{number} images' if i else 'test image', **title)
        board.text(x + size / 2, 56, f'{height}×{width}')
        board.tiles(np.moveaxis(stack, -1, 0), x, y, size, int(number**0.5), 4, **gray(stack))

    # and the layers that turn them into the next ones.
    for i, kernel in enumerate([conv1, conv2]):
        height, width, num_channels, number = kernel.shape
        x = left + size + i * (size + gap) + 10
        length = gap - 20
        middle = x + length / 2
        board.text(middle, 30, f'{num_channels * number} filters', **title)
        each = f', {number} per image' if num_channels > 1 else ''
        board.text(middle, 56, f'{height}×{width}{each}')
        filters = np.moveaxis(kernel.reshape(height, width, -1), -1, 0)
        if len(filters) > 16:
            filters = filters[:15]
            board.text(x + length - 11, y + 40, '…')
        board.tiles(filters, x, y, length, 8, 2, **red_blue(kernel))
        board.arrow((x, y + 68), (x + length, y + 68))
        for line, name in enumerate(['convolution', 'ReLU', 'max-pooling 2×2']):
            board.text(middle, y + 100 + 26 * line, name, **action)

    # Below, the numbers, which the last images are laid out into,
    x, y = left + 2 * (size + gap) + size / 2, 292
    board.arrow((x, 234), (x, y - 4))
    board.text(x - 18, y - 24, 'flatten', ha='right', **action)
    board.text(left, y - 10, f'{len(numbers)} numbers', ha='left', **title)
    board.image([numbers], left, y, len(numbers) / 2, 36, **gray(numbers))

    # the features made of them, and the weights of the last layer, a row for each class.
    width = len(features) * 3.5
    x = left + width / 2
    board.arrow((x, y + 40), (x, y + 84))
    board.text(x + 18, y + 68, 'fully-connected, ReLU', ha='left', **action)
    y += 88
    board.text(left, y - 10, f'{len(features)} features', ha='left', **title)
    board.image([features], left, y, width, 30, **gray(features))
    board.arrow((x, y + 34), (x, y + 78))
    board.text(x + 18, y + 62, 'fully-connected', ha='left', **action)
    y += 82
    board.text(left, y - 10, '{}×{} weights'.format(*fc2.shape), ha='left', **title)
    for i, weights in enumerate(fc2.T):
        board.image([weights], left, y + 21 * i + 2, width, 17, **red_blue(fc2))

    # At last, the probabilities of the classes, and the answer.
    x = left + width + 10
    board.arrow((x, y + 105), (x + 90, y + 105))
    board.text(x + 43, y + 90, 'softmax', **action)
    x += 130
    answer = probabilities.argmax()
    board.text(x + 50, y - 10, f'{len(probabilities)} probabilities', **title)
    for i, probability in enumerate(probabilities):
        style = title | {'color': 'black'} if i == answer else {'color': '#555555'}
        middle = y + 21 * i + 10.5
        board.text(x - 16, middle + 7, str(i), **style)
        board.ax.barh(middle, 66 * probability, 14, x, color=style['color'])
        if probability >= 0.005:
            end = x + 66 * probability
            board.text(end + 6, middle + 7, f'{probability:.0%}', ha='left', **style)
    board.ax.plot([x, x], [y, y + 210], color=GRAY, linewidth=0.8)
    board.arrow((758, y + 105), (818, y + 105))
    board.text(786, y + 90, 'largest', **action)
    board.text(855, y - 10, 'answer', **title)
    board.text(855, y + 134, str(answer), size=80)

    # The key to the colors.
    ramp = np.linspace(-1, 1, 101)
    for y, name, ends, values, style in [
        (352, 'numbers', ('0', 'large'), np.abs(ramp[50:]), gray(ramp)),
        (388, 'weights', ('−', '+'), ramp, red_blue(ramp)),
    ]:
        board.text(650, y + 17, name, ha='right')
        board.text(680, y + 17, ends[0], ha='right')
        board.image([values], 690, y, 130, 20, **style)
        board.text(830, y + 17, ends[1], ha='left')

    board.save(path)


def draw_results(nb, path):
    """Draw the learning curve, and beside it some of the test images gone wrong."""
    test, accuracies = nb.data.test, nb.accuracies
    cls_pred = nb.predict_cls(test.images)
    errors = np.flatnonzero(cls_pred != test.cls)
    accuracy = 1 - len(errors) / len(test.cls)

    board = Board(800, 438)
    title = {'fontweight': 'bold', 'ha': 'left'}

    board.text(14, 30, f'{accuracy:.1%} of the test images right', **title)
    board.text(14, 56, f'after {max(accuracies.test):,} iterations', ha='left')
    ax = board.figure.add_axes((92 / 800, 68 / 438, 342 / 800, 284 / 438))
    for shown, line, color in [(accuracies.train, '.', GRAY), (accuracies.test, 'o-', GREEN)]:
        errors_shown = 1 - np.array(list(shown.values()))
        ax.plot(list(shown), errors_shown, line, color=color, linewidth=2.5, clip_on=False)
    ax.set_xscale('symlog', linthresh=1)
    ax.set_yscale('symlog', linthresh=0.01)
    ax.set_xticks(list(accuracies.test), [f'{n:,}' for n in accuracies.test])
    ax.set_yticks([0, 0.01, 0.1, 1], ['0', '1%', '10%', '100%'])
    ax.minorticks_off()
    ax.set(xlim=(0, None), ylim=(0, 1))
    ax.tick_params(labelsize=13)
    ax.grid(alpha=0.3)
    ax.spines[['top', 'right']].set_visible(False)
    ax.set_xlabel('iteration', fontsize=13)
    ax.set_ylabel('error', fontsize=13, labelpad=0)
    ax.legend(['training batch', 'test-set'], loc='lower left', fontsize=13)

    board.text(490, 30, f'{len(errors[:9])} of the {len(errors):,} errors', **title)
    board.text(490, 56, 'true → predicted class', ha='left')
    for i, error in enumerate(errors[:9]):
        x, y = 490 + i % 3 * 104, 80 + i // 3 * 118
        pixels = test.images[error].reshape(28, 28)
        board.image(pixels, x, y, 88, 88, **gray(pixels))
        board.text(x + 44, y + 108, f'{test.cls[error]} → {cls_pred[error]}', size=18)

    board.save(path)


def main(edits=None, folder=ROOT / 'images'):
    """Train as the notebook's cells do, or as edits of them, and draw both pictures."""
    nb = run_cells('curve-code', edits)
    draw_flowchart(nb, folder / 'network_flowchart.png')
    draw_results(nb, folder / 'results.png')


if __name__ == '__main__':
    main()
