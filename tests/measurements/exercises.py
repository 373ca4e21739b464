"""Measures the figures in the exercises' solutions, and prints them as Markdown tables.

Usage: python -m tests.measurements.exercises [--tables] [part ...]

The parts are times, networks, few, correlations, strides, curve, hardest and digits, by default all. Each writes a row
for each result to a CSV file of its own, as soon as it has it. --tables prints the tables of the
files that are there, and measures nothing.
"""

import argparse
import copy
import io
import random
import re
import time
from contextlib import redirect_stdout
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib
import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont
from scipy import stats

from tests.lesson import (
    CODE,
    replace_text,
    run_cell,
    run_cells,
    with_new_model,
)
from tests.measurements.tables import (
    grouped,
    mean_and_deviation,
    print_table,
    read,
    time_ratios,
    write,
)
from tests.solutions import few_images, reading, solved_models

FONTS = [
    *('DejaVuSans', 'DejaVuSans-Bold', 'DejaVuSans-Oblique', 'DejaVuSansMono'),
    *('DejaVuSansMono-Bold', 'DejaVuSerif', 'DejaVuSerif-Bold', 'DejaVuSerif-Italic'),
    'STIXGeneral',
]
OURS = CODE['model']
SOLUTIONS = solved_models()
SIMPLEST = SOLUTIONS['8 and 16 filters, no fc1']
FAST = replace_text(CODE['compile'], 'learning_rate=1e-4', 'learning_rate=1e-3')


def sigmoid_with_variance(scale):
    """Return the model's cell with sigmoid and weights of the variance scale / inputs."""
    scaling = f'keras.initializers.VarianceScaling({scale})'
    return replace_text(SOLUTIONS['sigmoid'], "'he_normal'", scaling)


# What to run in place of the notebook's cells, by their ids.
NETWORKS = {
    'ours': {},
    "ours, Glorot's initialization": {'model': replace_text(OURS, 'he_normal', 'glorot_uniform')},
    'sigmoid': {'model': SOLUTIONS['sigmoid']},
    "sigmoid, Glorot's initialization": {
        'model': replace_text(SOLUTIONS['sigmoid'], 'he_normal', 'glorot_uniform')
    },
    'sigmoid, VarianceScaling(8)': {'model': sigmoid_with_variance(8)},
    'sigmoid, VarianceScaling(32)': {'model': sigmoid_with_variance(32)},
    'sigmoid in fc1': {'model': SOLUTIONS['sigmoid in fc1']},
    'L2': {'model': SOLUTIONS['L2']},
    'L2 in fc1': {'model': SOLUTIONS['L2 in fc1']},
    'dropout': {'model': SOLUTIONS['dropout']},
    'strides': {'model': SOLUTIONS['strides']},
    '3×3 filters': {
        'model': replace_text(
            replace_text(OURS, 'Conv2D(16, 5', 'Conv2D(16, 3'), 'Conv2D(36, 5', 'Conv2D(36, 3'
        )
    },
    '8 and 18 filters': {
        'model': replace_text(replace_text(OURS, 'Conv2D(16', 'Conv2D(8'), 'Conv2D(36', 'Conv2D(18')
    },
    '32 neurons': {'model': replace_text(OURS, 'Dense(128', 'Dense(32')},
    '3×3 filters, 32 and 72': {'model': SOLUTIONS['3×3 filters, 32 and 72']},
    'only the first convolution': {'model': re.sub('.*layer_conv2.*\n.*\n.*Pooling.*\n', '', OURS)},
    'no convolutions': {'model': re.sub('.*(Conv2D|Pooling2D)[(].*\n', '', OURS)},
    'only the last fully-connected layer': {'model': re.sub('.*layer_fc1.*\n', '', OURS)},
    'one more convolution': {'model': SOLUTIONS['one more convolution']},
    '8 and 16 filters, no fc1': {'model': SIMPLEST},
    '4 and 8 filters, no fc1': {
        'model': replace_text(
            replace_text(SIMPLEST, 'Conv2D(8', 'Conv2D(4'), 'Conv2D(16', 'Conv2D(8'
        )
    },
    'both convolutions frozen': {
        'model': OURS.replace("padding='same'", "padding='same', trainable=False")
    },
    'learning rate 1e-3': {'compile': FAST},
}
# Only these are trained for 10,000 iterations.
LONG = [
    'ours',
    'no convolutions',
    '8 and 16 filters, no fc1',
    '4 and 8 filters, no fc1',
    'both convolutions frozen',
]
# These are also trained on few images, as exercises 3 and 5 ask.
FEW = {
    'ours': {},
    'L2': NETWORKS['L2'],
    'L2 1e-2': {'model': replace_text(SOLUTIONS['L2'], '1e-3', '1e-2')},
    'L2 in fc1': NETWORKS['L2 in fc1'],
    'dropout': NETWORKS['dropout'],
}
# These do the same work as another network.
UNTIMED = [
    "ours, Glorot's initialization",
    "sigmoid, Glorot's initialization",
    'sigmoid, VarianceScaling(8)',
    'sigmoid, VarianceScaling(32)',
    'learning rate 1e-3',
]


def build(nb, edits, seed):
    """Make and compile the model, with the random numbers of a seed."""
    nb.keras.utils.set_random_seed(seed)
    for cell_id in ['model', 'compile']:
        run_cell(nb, cell_id, edits.get(cell_id))


def train_until(nb, iteration):
    """Train the model until it has done so many iterations, without a word."""
    with redirect_stdout(io.StringIO()):
        nb.optimize(iteration - int(nb.model.optimizer.iterations))


def predict(nb, images):
    """Return the model's probabilities [n, num_classes]."""
    return nb.model.predict(images, batch_size=256, verbose=0)


def accuracy(nb, images, cls):
    """Return the model's accuracy in percent."""
    return 100 * np.mean(predict(nb, images).argmax(axis=1) == cls)


def measure_networks(nb, seeds=(1, 2, 3), checkpoints=(100, 1000, 10_000)):
    """Yield the accuracies of all networks on the validation-set."""
    part = nb.data.validation
    for name, edits in NETWORKS.items():
        for seed in seeds:
            build(nb, edits, seed)
            for iteration in checkpoints[: None if name in LONG else 2]:
                train_until(nb, iteration)
                found = accuracy(nb, part.images, part.cls)
                yield name, nb.model.count_params(), seed, iteration, f'{found:.2f}'


def measure_few(nb, seeds=(1, 2, 3), iterations=2000):
    """Yield accuracies after a training on few images: on these, and on the validation set."""
    everything = copy.copy(nb.data.train)
    for name, edits in FEW.items():
        for seed in seeds:
            nb.data.train = copy.copy(everything)
            run_cell(nb, 'exercise-3', few_images())
            build(nb, edits, seed)
            train_until(nb, iterations)
            for part in ['train', 'validation']:
                images, labels = getattr(nb.data, part).images, getattr(nb.data, part).labels
                yield name, seed, part, f'{accuracy(nb, images, labels.argmax(axis=1)):.2f}'
    nb.data.train = everything


def measure_correlations(nb, seeds=(1, 2, 3), iterations=10_000):
    """Yield how much the filters of a trained network are like those at the start."""
    for name in ['ours', 'learning rate 1e-3']:
        for seed in seeds:
            build(nb, NETWORKS[name], seed)
            train_until(nb, iterations)
            for layer in ['layer_conv1', 'layer_conv2']:
                start, now = nb.weights_start[layer][0], nb.model.get_layer(layer).get_weights()[0]
                yield name, seed, layer, f'{np.corrcoef(start.ravel(), now.ravel())[0, 1]:.4f}'


def measure_times(nb, rounds=9, iterations=100):
    """Yield the seconds that some iterations take, in a random order that is new in each round."""
    train = nb.data.train
    order = nb.random_order(len(train.images))
    steps = {}
    for name, edits in NETWORKS.items():
        if name not in UNTIMED:
            steps[name] = nb.tf.function(with_new_model(nb, edits.get('model')).train_step)
    for turn in range(rounds + 1):  # The first one warms up and does not count.
        for name in random.sample(list(steps), len(steps)):
            begin = time.perf_counter()
            for _ in range(iterations):
                batch = list(islice(order, nb.train_batch_size))
                steps[name](train.images[batch], train.labels[batch])
            seconds = time.perf_counter() - begin
            if turn > 0:
                yield name, turn, f'{seconds:.4f}'


def measure_strides(nb, seeds=range(1, 13), iterations=1000):
    """Yield the accuracies with pooling and with strides on the validation-set."""
    part = nb.data.validation
    for seed in seeds:
        row = [seed]
        for name in ['ours', 'strides']:
            build(nb, NETWORKS[name], seed)
            train_until(nb, iterations)
            row.append(f'{accuracy(nb, part.images, part.cls):.2f}')
        yield row


def measure_curve(nb, seeds=range(1, 9), checkpoints=(0, 1, 100, 1000, 10_000)):
    """Yield our network's accuracy and mean cross-entropy on the test-set."""
    test = nb.data.test
    for seed in seeds:
        build(nb, NETWORKS['ours'], seed)
        for iteration in checkpoints:
            train_until(nb, iteration)
            probabilities = predict(nb, test.images)
            found = 100 * np.mean(probabilities.argmax(axis=1) == test.cls)
            losses = nb.keras.losses.categorical_crossentropy(test.labels, probabilities)
            yield seed, iteration, f'{found:.2f}', f'{np.mean(losses):.4f}'


def measure_hardest(nb, seeds=(1, 2, 3), iterations=1000):
    """Yield our network's number of errors on the test-set by their true digits."""
    test = nb.data.test
    for seed in seeds:
        build(nb, NETWORKS['ours'], seed)
        train_until(nb, iterations)
        wrong = predict(nb, test.images).argmax(axis=1) != test.cls
        for digit in range(10):
            yield seed, digit, np.sum(wrong & (test.cls == digit))


def shifted(images, rows, columns):
    """Return images [n, 784] moved down and to the right, with zeros where nothing was."""
    margin = max(abs(rows), abs(columns))
    padded = np.pad(images.reshape(-1, 28, 28), [(0, 0), (margin, margin), (margin, margin)])
    top, left = margin - rows, margin - columns
    return padded[:, top : top + 28, left : left + 28].reshape(len(images), -1)


def draw_digits(folder):
    """Draw black digits in white pictures, off their centers; return the files and the digits."""
    files, digits = [], []
    for name in FONTS:
        file = Path(matplotlib.get_data_path(), 'fonts/ttf', f'{name}.ttf')
        font = PIL.ImageFont.truetype(str(file), 120)
        for digit in range(10):
            picture = PIL.Image.new('L', (200, 300), 'white')
            PIL.ImageDraw.Draw(picture).text((20, 40), str(digit), 'black', font)
            files.append(Path(folder, f'{name}-{digit}.png'))
            digits.append(digit)
            picture.save(files[-1])
    return files, np.array(digits)


def resized(nb, file):
    """Return a picture as float32 [1, img_size_flat], with nothing done to it but its size."""
    picture = PIL.Image.open(file).convert('L').resize((nb.img_size, nb.img_size))
    return np.array(picture, np.float32).reshape(1, -1) / 255


def measure_printed(nb):
    """Yield how many of the printed digits the model gets right, by what is done to them."""
    run_cell(nb, 'exercise-13', reading()[0])
    with TemporaryDirectory() as folder:
        files, digits = draw_digits(folder)
        plain = np.concatenate([resized(nb, file) for file in files])
        read = np.concatenate([nb.read_digit(file) for file in files])
    for what, images in [
        ('right of 90 printed, resized', plain),
        ('right of 90 printed, resized and inverted', 1 - plain),
        ('right of 90 printed, by read_digit', read),
    ]:
        yield what, np.sum(predict(nb, images).argmax(axis=1) == digits)


def measure_digits(nb, seeds=(1, 2, 3), iterations=1000):
    """Yield what our network, and one that trains on moved images, make of unlike images."""
    images, cls = nb.data.validation.images, nb.data.validation.cls
    moved = {'model': SOLUTIONS['shifted at random']}
    for name, edits in [('ours', {}), ('RandomTranslation', moved)]:
        for seed in seeds:
            build(nb, edits, seed)
            train_until(nb, iterations)
            yield name, seed, 'as they are', f'{accuracy(nb, images, cls):.2f}'
            ways = [(-4, 0), (4, 0), (0, -4), (0, 4)]
            found = np.mean([accuracy(nb, shifted(images, *way), cls) for way in ways])
            yield name, seed, 'moved by four pixels', f'{found:.2f}'
            yield name, seed, 'inverted', f'{accuracy(nb, 1 - images, cls):.2f}'
            certainty = 100 * predict(nb, 1 - images).max(axis=1).mean()
            yield name, seed, 'certainty when inverted', f'{certainty:.2f}'
            if name == 'ours':
                for what, right in measure_printed(nb):
                    yield name, seed, what, right


def print_networks():
    """Print parameters, times and accuracies of the networks."""
    rows, ratios = read('networks'), time_ratios()
    accuracies = grouped('networks', 'accuracy', 'network', 'iterations')
    parameters = {row['network']: f'{int(row["parameters"]):,}' for row in rows}
    checkpoints = sorted({row['iterations'] for row in rows}, key=int)
    table = []
    for name in parameters:
        ratio = f'{np.median(ratios[name]):.2f}' if name in ratios else ''
        cells = [mean_and_deviation(accuracies[name, iteration]) for iteration in checkpoints]
        table.append([name, parameters[name], ratio, *cells])
    print_table(
        ['network', 'parameters', 'time', *(f'after {int(n):,}' for n in checkpoints)], table
    )


def print_few():
    """Print the means over the seeds."""
    found = grouped('few', 'accuracy', 'network', 'images')
    parts = ['train', 'validation']
    print_table(
        ['network', 'on the 1,000 images', 'on the validation set'],
        [[name, *(mean_and_deviation(found[name, part]) for part in parts)] for name in FEW],
    )


def print_correlations():
    """Print the means over the seeds."""
    found = grouped('correlations', 'correlation', 'network', 'layer')
    names, layers = (list(dict.fromkeys(key)) for key in zip(*found, strict=True))
    print_table(
        ['network', *layers],
        [[name, *(f'{np.mean(found[name, layer]):.2f}' for layer in layers)] for name in names],
    )


def print_times():
    """Print the medians of the times, and the lowest and highest."""
    print_table(
        ['network', 'time to ours', 'lowest', 'highest'],
        [
            [name, *(f'{ratio:.2f}' for ratio in [np.median(ratios), min(ratios), max(ratios)])]
            for name, ratios in sorted(
                time_ratios().items(), key=lambda item: [*NETWORKS].index(item[0])
            )
        ],
    )


def print_strides():
    """Print the accuracies of each seed, and the mean difference with its interval."""
    rows = read('strides')
    pooling, strides = ([float(row[name]) for row in rows] for name in ['pooling', 'strides'])
    differences = np.subtract(strides, pooling)
    print_table(
        ['seed', 'pooling', 'strides', 'difference'],
        [
            [row['seed'], row['pooling'], row['strides'], f'{difference:.2f}']
            for row, difference in zip(rows, differences, strict=True)
        ],
    )
    low, high = stats.ttest_rel(strides, pooling).confidence_interval()
    print(f'\nMean {differences.mean():.2f}, 95% confidence interval {low:.2f} to {high:.2f}.')


def print_curve():
    """Print the means over the seeds."""
    accuracies = grouped('curve', 'accuracy', 'iterations')
    losses = grouped('curve', 'loss', 'iterations')
    table = []
    for (iteration,), found in accuracies.items():
        lowest_highest = f'{min(found):.1f}–{max(found):.1f}'
        loss = np.mean(losses[iteration,])
        table.append(
            [f'{int(iteration):,}', mean_and_deviation(found), lowest_highest, f'{loss:.3f}']
        )
    print_table(['iterations', 'accuracy', 'lowest–highest', 'cross-entropy'], table)


def print_hardest():
    """Print the errors of each seed."""
    errors = grouped('hardest', 'errors', 'seed')
    rows = [[seed, *(f'{number:.0f}' for number in found)] for (seed,), found in errors.items()]
    print_table(['seed', *map(str, range(10))], rows)


def print_digits():
    """Print what the networks make of unlike images, in percent, and of the printed digits."""
    rows = read('digits')
    values = grouped('digits', 'value', 'what', 'network')
    names, whats = (
        list(dict.fromkeys(row[column] for row in rows)) for column in ['network', 'what']
    )
    print_table(
        ['images', *names],
        [[what, *(mean_and_deviation(values[what, name]) for name in names)] for what in whats],
    )


# For each part: the columns of its file, what measures, and what prints.
PARTS = {
    'times': (['network', 'round', 'seconds'], measure_times, print_times),
    'networks': (
        ['network', 'parameters', 'seed', 'iterations', 'accuracy'],
        measure_networks,
        print_networks,
    ),
    'few': (['network', 'seed', 'images', 'accuracy'], measure_few, print_few),
    'correlations': (
        ['network', 'seed', 'layer', 'correlation'],
        measure_correlations,
        print_correlations,
    ),
    'strides': (['seed', 'pooling', 'strides'], measure_strides, print_strides),
    'curve': (['seed', 'iterations', 'accuracy', 'loss'], measure_curve, print_curve),
    'hardest': (['seed', 'digit', 'errors'], measure_hardest, print_hardest),
    'digits': (['network', 'seed', 'what', 'value'], measure_digits, print_digits),
}


def main():
    """Read the command line, measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('parts', nargs='*', metavar='part', help=', '.join(PARTS))
    parser.add_argument('--tables', action='store_true', help='measure nothing')
    args = parser.parse_args()
    if unknown := set(args.parts) - set(PARTS):
        parser.error(f'no such part: {", ".join(unknown)}')
    parts = [part for part in PARTS if part in args.parts or not args.parts]
    if not args.tables:
        with redirect_stdout(io.StringIO()):
            nb = run_cells('performance-0-test')
    for part in parts:
        if not args.tables:
            write(part, PARTS[part][0], PARTS[part][1](nb))
        if read(part):
            print(f'\n### {part.capitalize()}\n')
            PARTS[part][2]()


if __name__ == '__main__':
    main()
