"""Prints the tables with which the notebook answers its exercises.

Usage: python tests/measure_exercises.py [activations] [l2] [dropout] [sizes] [layers] [simplest]
[strides] [curve], by default all of them.

Each trains the network of the notebook's cell with the model, edited as the exercise's solution
says. Accuracies are those on the validation-set, for the curve on the test-set, in percent; ± is
the standard deviation of a single run. Times are medians of nine rounds in which all networks of a
table train for 100 iterations, in an order that is drawn anew; that of the notebook's is 1.00.
"""

import random
import re
import sys
import time
from functools import cache, partial
from pathlib import Path

import nbformat
import numpy as np
from exercises import solved
from IPython.utils.capture import capture_output
from scipy import stats

sys.path.append(str(Path(__file__).resolve().parent.parent / 'images'))
from draw_pictures import NOTEBOOK, TESTS, run_notebook

SOURCES = {cell.id: cell.source for cell in nbformat.read(NOTEBOOK, as_version=4).cells}
OURS = SOURCES['model']
SHELL = run_notebook()
VARIABLES = SHELL.user_ns


def build(source, seed=0):
    """Return the compiled model of this source, with the random numbers of a seed."""
    VARIABLES['keras'].utils.set_random_seed(seed)
    for cell in [source, SOURCES['compile']]:
        SHELL.run_cell(cell).raise_error()
    return VARIABLES['model']


def accuracy(model, part):
    """Return the accuracy in percent on a part of the data."""
    classes = model.predict(part.images, batch_size=256, verbose=0).argmax(axis=1)
    return 100 * (classes == part.cls).mean()


@cache
def accuracies(source, seed, checkpoints, part='validation'):
    """Train the model of this source; return its accuracies after each number of iterations."""
    model, found = build(source, seed), []
    for checkpoint in checkpoints:
        with capture_output():
            VARIABLES['optimize'](checkpoint - int(model.optimizer.iterations))
        found.append(accuracy(model, getattr(VARIABLES['data'], part)))
    return found


def times(sources):
    """Return how long each model takes to train, in proportion to the first."""
    tf, data = VARIABLES['tf'], VARIABLES['data']
    images, labels = tf.constant(data.train.images), tf.constant(data.train.labels)
    models = [build(source) for source in sources]
    seconds = [[] for _ in models]
    for _ in range(10):
        for i in random.sample(range(len(models)), len(models)):
            start = time.perf_counter()
            VARIABLES['train'](models[i], models[i].optimizer, images, labels, 64, tf.constant(100))
            seconds[i].append(time.perf_counter() - start)
    ratios = np.array(seconds) / seconds[0]
    return np.median(ratios[:, 1:], axis=1)  # The first round warms up.


def spread(values):
    """Return mean and standard deviation as text."""
    return f'{np.mean(values):.1f} ± {np.std(values, ddof=1):.1f}'


def compare(networks, checkpoints=(100, 1000), seeds=3, part='validation'):
    """Print parameters, time and accuracy of networks, that of the notebook first."""
    networks = {'ours': OURS} | networks
    print('| network | parameters | time |', *(f'after {n:,} |' for n in checkpoints))
    print('| ---' * (3 + len(checkpoints)), '|')
    found = {}
    for (name, source), ratio in zip(networks.items(), times(networks.values()), strict=True):
        runs = [accuracies(source, seed, checkpoints, part) for seed in range(1, seeds + 1)]
        found[name] = np.transpose(runs)
        cells = [
            name,
            f'{build(source).count_params():,}',
            f'{ratio:.2f}',
            *map(spread, found[name]),
        ]
        print('|', ' | '.join(cells), '|', flush=True)
    if seeds > 3:
        for name, values in found.items():
            print(f'\n{name}, a column for each seed:\n{values.round(2)}')
            if name != 'ours':
                differences = values[-1] - found['ours'][-1]
                interval = stats.ttest_1samp(differences, 0).confidence_interval()
                print(f'{differences.round(2).tolist()}, mean {differences.mean():.2f}')
                print('95% confidence interval:', *np.round(interval, 2))


SIGMOID, SIMPLEST = solved(SOURCES, 'sigmoid'), solved(SOURCES, 'simplest')
NETWORKS = {
    'activations': {
        'sigmoid': SIGMOID,
        "sigmoid, Glorot's initialization": SIGMOID.replace('he_normal', 'glorot_uniform'),
        'sigmoid in the first fully-connected layer': solved(SOURCES, 'sigmoid in fc1'),
    },
    'l2': {
        'L2 penalty in all layers': solved(SOURCES, 'L2'),
        'L2 penalty in the first fully-connected layer': solved(SOURCES, 'L2 in fc1'),
    },
    'dropout': {'dropout': solved(SOURCES, 'dropout')},
    'sizes': {
        '3×3 filters': OURS.replace('kernel_size=5', 'kernel_size=3'),
        '8 and 18 filters': OURS.replace('ers=16', 'ers=8').replace('ers=36', 'ers=18'),
        '32 neurons': OURS.replace('128', '32'),
        '3×3 filters, 32 and 72': solved(SOURCES, 'kernels'),
    },
    'layers': {
        'only the first convolution': re.sub('.*filters=36.*\n.*\n', '', OURS),
        'only the last fully-connected layer': re.sub('.*layer_fc1.*\n', '', OURS),
        'one more convolution': solved(SOURCES, 'third conv'),
    },
    'simplest': {
        '4 and 8 filters': SIMPLEST.replace('ers=8', 'ers=4').replace('ers=16', 'ers=8'),
        '8 and 16 filters': SIMPLEST,
    },
}
SECTIONS = {name: partial(compare, networks) for name, networks in NETWORKS.items()} | {
    'curve': partial(compare, {}, tuple(TESTS), seeds=8, part='test'),
    'strides': partial(compare, {'strides': solved(SOURCES, 'strides')}, (1000,), seeds=12),
    'simplest': partial(compare, NETWORKS['simplest'], (1000, 10_000)),
}

if __name__ == '__main__':
    for name in sys.argv[1:] or SECTIONS:
        print(f'\n## {name}\n')
        SECTIONS[name]()
