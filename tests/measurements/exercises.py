"""Measures the figures in the exercises' solutions, and prints all tables.

Usage: python -m tests.measurements.exercises [part ...], by default all of PARTS
"""

import io
import random
import re
import sys
import time
from contextlib import redirect_stdout
from itertools import islice

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage, stats

from tests.lesson import CODE, replace_text, run_cell, run_cells, with_new_model
from tests.measurements.tables import grouped, mean_and_deviation, print_table, time_ratios, write
from tests.solutions import few_images, reading, solved_models

SEEDS = [1, 2, 3]
FONTS = (
    'DejaVuSans DejaVuSans-Bold DejaVuSans-Oblique DejaVuSansMono DejaVuSansMono-Bold '
    'DejaVuSerif DejaVuSerif-Bold DejaVuSerif-Italic STIXGeneral'
)

OURS = CODE['model']
SOLUTIONS = solved_models()
SIGMOID = SOLUTIONS['sigmoid']
SIMPLEST = SOLUTIONS['8 and 16 filters, no fc1']
HE, GLOROT = "'he_normal'", "'glorot_uniform'"
SCALED = 'keras.initializers.VarianceScaling'

# The model's cell for each network.
MODELS = {
    'ours': OURS,
    "ours, Glorot's initialization": replace_text(OURS, HE, GLOROT),
    'sigmoid': SIGMOID,
    "sigmoid, Glorot's initialization": replace_text(SIGMOID, HE, GLOROT),
    'sigmoid, VarianceScaling(8)': replace_text(SIGMOID, HE, f'{SCALED}(8)'),
    'sigmoid, VarianceScaling(32)': replace_text(SIGMOID, HE, f'{SCALED}(32)'),
    'sigmoid in fc1': SOLUTIONS['sigmoid in fc1'],
    'L2': SOLUTIONS['L2'],
    'L2 in fc1': SOLUTIONS['L2 in fc1'],
    'dropout': SOLUTIONS['dropout'],
    'strides': SOLUTIONS['strides'],
    '3×3 filters': replace_text(replace_text(OURS, '16, 5', '16, 3'), '36, 5', '36, 3'),
    '8 and 18 filters': replace_text(replace_text(OURS, '2D(16', '2D(8'), '2D(36', '2D(18'),
    '32 neurons': replace_text(OURS, 'Dense(128', 'Dense(32'),
    '3×3 filters, 32 and 72': SOLUTIONS['3×3 filters, 32 and 72'],
    'only the first convolution': re.sub('.*layer_conv2.*\n.*\n.*Pooling.*\n', '', OURS),
    'no convolutions': re.sub('.*(Conv2D|Pooling2D)[(].*\n', '', OURS),
    'only the last fully-connected layer': re.sub('.*layer_fc1.*\n', '', OURS),
    'one more convolution': SOLUTIONS['one more convolution'],
    '8 and 16 filters, no fc1': SIMPLEST,
    '4 and 8 filters, no fc1': replace_text(replace_text(SIMPLEST, '(8', '(4'), '(16', '(8'),
    'both convolutions frozen': OURS.replace("'same'", "'same', trainable=False"),
    'learning rate 1e-3': OURS,
}
NETWORKS = list(MODELS)
# Only these are trained for 10,000 iterations.
LONG = ['ours', 'no convolutions', 'both convolutions frozen']
LONG += ['8 and 16 filters, no fc1', '4 and 8 filters, no fc1']
# These are also trained on few images, as exercises 3 and 5 ask.
FEW = ['ours', 'L2', 'L2 1e-2', 'L2 in fc1', 'dropout']
MODELS['L2 1e-2'] = replace_text(SOLUTIONS['L2'], '1e-3', '1e-2')
MODELS['RandomTranslation'] = SOLUTIONS['shifted at random']


def trained(nb, names, seeds, *checkpoints):
    """Train networks with seeds; yield name, seed and iterations so far at the checkpoints."""
    for name in names:
        rate = '1e-3' if name == 'learning rate 1e-3' else '1e-4'
        for seed in seeds:
            nb.keras.utils.set_random_seed(seed)
            run_cell(nb, 'model', MODELS[name])
            run_cell(nb, 'compile', replace_text(CODE['compile'], '1e-4', rate))
            for iteration in checkpoints:
                with redirect_stdout(io.StringIO()):
                    nb.optimize(iteration - int(nb.model.optimizer.iterations))
                yield name, seed, iteration


def percent(share):
    """Return a share in percent, with two decimals."""
    return f'{100 * share:.2f}'


def measure_networks(nb):
    """Yield the accuracies of all networks on the validation set."""
    part = nb.data.validation
    for network in NETWORKS:
        checkpoints = [100, 1000, 10_000] if network in LONG else [100, 1000]
        for name, seed, iteration in trained(nb, [network], SEEDS, *checkpoints):
            found = percent(nb.accuracy(part.images, part.labels))
            yield name, nb.model.count_params(), seed, iteration, found


def measure_few(nb):
    """Yield accuracies after a training on few images: on these, and on the validation set."""
    nb = with_new_model(nb)  # The other parts need all images.
    run_cell(nb, 'exercise-3', few_images())
    for name, seed, _ in trained(nb, FEW, SEEDS, 2000):
        for what in ['train', 'validation']:
            part = getattr(nb.data, what)
            yield name, seed, what, percent(nb.accuracy(part.images, part.labels))


def measure_correlations(nb):
    """Yield how much the filters of a trained network are like those at the start."""
    for name, seed, _ in trained(nb, ['ours', 'learning rate 1e-3'], SEEDS, 10_000):
        for i, layer in [(0, 'layer_conv1'), (2, 'layer_conv2')]:
            start, now = nb.weights_start[i], nb.model.get_weights()[i]
            yield name, seed, layer, f'{np.corrcoef(start.ravel(), now.ravel())[0, 1]:.4f}'


def measure_times(nb):
    """Yield the seconds of 100 iterations, in a random order that is new in each of nine rounds."""
    train = nb.data.train
    order = nb.random_order(len(train.images))
    steps = {}
    for name in NETWORKS:
        if not re.search('Glorot|Scaling|rate', name):  # These do the same work as another network.
            steps[name] = nb.tf.function(with_new_model(nb, MODELS[name]).train_step)
    for turn in range(10):  # The first one warms up and does not count.
        for name in random.sample(list(steps), len(steps)):
            begin = time.perf_counter()
            for _ in range(100):
                batch = list(islice(order, nb.train_batch_size))
                steps[name](train.images[batch], train.labels[batch])
            seconds = time.perf_counter() - begin
            if turn > 0:
                yield name, turn, f'{seconds:.4f}'


def measure_strides(nb):
    """Yield the accuracies with pooling and with strides on the validation set."""
    part = nb.data.validation
    for seed in range(1, 13):
        both = trained(nb, ['ours', 'strides'], [seed], 1000)
        yield seed, *(percent(nb.accuracy(part.images, part.labels)) for _ in both)


def measure_curve(nb):
    """Yield our network's accuracy on the test set."""
    test = nb.data.test
    for _, seed, iteration in trained(nb, ['ours'], range(1, 9), 0, 1, 100, 1000, 10_000):
        yield seed, iteration, percent(nb.accuracy(test.images, test.labels))


def measure_hardest(nb):
    """Yield our network's number of errors on the test set by their true digits."""
    test = nb.data.test
    for _, seed, _ in trained(nb, ['ours'], SEEDS, 1000):
        wrong = nb.predict_cls(test.images) != test.cls
        for digit in range(10):
            yield seed, digit, np.sum(wrong & (test.cls == digit))


def printed_digits():
    """Yield white pictures with a black digit off the center, 0 to 9 in each font."""
    for name in FONTS.split():
        font = ImageFont.truetype(f'{matplotlib.get_data_path()}/fonts/ttf/{name}.ttf', 120)
        for digit in range(10):
            picture = Image.new('L', (200, 300), 'white')
            ImageDraw.Draw(picture).text((20, 40), str(digit), 'black', font)
            yield picture


def measure_printed(nb):
    """Yield how many of the printed digits the model gets right, by what is done to them."""
    run_cell(nb, 'exercise-13', reading()[0])
    small, read_digits = [], []
    for picture in printed_digits():
        small.append(picture.resize((28, 28)))
        file = io.BytesIO()
        picture.save(file, 'png')
        read_digits.append(nb.read_digit(file)[0])
    plain = np.array(small, np.float32).reshape(-1, 784) / 255
    ways = {'resized': plain, 'resized and inverted': 1 - plain, 'by read_digit': read_digits}
    for way, images in ways.items():
        right = nb.predict_cls(np.array(images)) == np.arange(len(images)) % 10
        yield f'right of 90 printed, {way}', np.sum(right)


def measure_digits(nb):
    """Yield what our network, and one that trains on moved images, make of unlike images."""
    images, labels = nb.data.validation.images, nb.data.validation.labels
    folded, ways = images.reshape(-1, 28, 28), [(-4, 0), (4, 0), (0, -4), (0, 4)]
    moved = [ndimage.shift(folded, (0, *way), order=0).reshape(-1, 784) for way in ways]
    for name, seed, _ in trained(nb, ['ours', 'RandomTranslation'], SEEDS, 1000):
        yield name, seed, 'as they are', percent(nb.accuracy(images, labels))
        found = np.mean([100 * nb.accuracy(moved_images, labels) for moved_images in moved])
        yield name, seed, 'moved by four pixels', f'{found:.2f}'
        if name == 'ours':
            for what, right in measure_printed(nb):
                yield name, seed, what, right


def print_groups(part, value, row, column, columns=None, form=None):
    """Print a value's mean and deviation, or its mean in a form, by two columns of the file."""
    show = mean_and_deviation if form is None else lambda runs: format(np.mean(runs), form)
    found = grouped(part, value, row, column)
    rows, names = (list(dict.fromkeys(key)) for key in zip(*found, strict=True))
    cells = [[name, *(show(found[name, other]) for other in names)] for name in rows]
    print_table(columns or [row, *names], cells)


def print_networks():
    """Print parameters, accuracies and the medians of the times."""
    ratios = time_ratios()
    accuracies = grouped('networks', 'accuracy', 'network', 'iterations')
    table = []
    for (name,), parameters in grouped('networks', 'parameters', 'network').items():
        ratio = f'{np.median(ratios[name]):.2f}' if name in ratios else ''
        cells = [mean_and_deviation(accuracies[name, n]) for n in ['100', '1000', '10000']]
        table.append([name, f'{parameters[0]:,.0f}', ratio, *cells])
    columns = ['network', 'parameters', 'time', 'after 100', 'after 1,000', 'after 10,000']
    print_table(columns, table)


def print_strides():
    """Print the mean accuracies, and their difference with its interval."""
    pooling, strides = (grouped('strides', column)[()] for column in ['pooling', 'strides'])
    low, high = stats.ttest_rel(pooling, strides).confidence_interval()
    means = [np.mean(pooling), np.mean(strides), np.mean(np.subtract(pooling, strides))]
    cells = [*(f'{mean:.2f}' for mean in means), f'{low:.2f} to {high:.2f}']
    print_table(['pooling', 'strides', 'difference', '95% confidence interval'], [cells])


def print_results():
    """Print the tables of all parts."""
    print_networks()
    columns = ['network', 'on the 1,000 images', 'on the validation set']
    print_groups('few', 'accuracy', 'network', 'images', columns)
    print_groups('correlations', 'correlation', 'network', 'layer', form='.2f')
    print_strides()
    curve = grouped('curve', 'accuracy', 'iterations').items()
    print_table(['iterations', 'accuracy'], [[n, mean_and_deviation(a)] for (n,), a in curve])
    print_groups('hardest', 'errors', 'seed', 'digit', form='.0f')
    print_groups('digits', 'value', 'what', 'network', ['images', 'ours', 'RandomTranslation'])


# For each part: the columns of its file, and what measures.
PARTS = {
    'times': ('network round seconds', measure_times),
    'networks': ('network parameters seed iterations accuracy', measure_networks),
    'few': ('network seed images accuracy', measure_few),
    'correlations': ('network seed layer correlation', measure_correlations),
    'strides': ('seed pooling strides', measure_strides),
    'curve': ('seed iterations accuracy', measure_curve),
    'hardest': ('seed digit errors', measure_hardest),
    'digits': ('network seed what value', measure_digits),
}


def measure(parts):
    """Write the files of some parts."""
    with redirect_stdout(io.StringIO()):
        nb = run_cells('performance-0-test')
    for part in parts:
        columns, measure_part = PARTS[part]
        write(part, columns, measure_part(nb))


if __name__ == '__main__':
    if sys.argv[1:] != ['--tables']:
        measure(sys.argv[1:] or PARTS)
    print_results()
