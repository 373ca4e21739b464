"""Prints the tables with which the notebook answers its exercises.

Usage: python tests/measure_exercises.py [curve] [strides] [activations] [l2] [dropout]
[sizes] [layers] [simplest], by default all of them.

Each trains the network of the notebook's cell with the model, edited as the exercise's solution
says. Accuracies are those on the validation-set, in percent; ± is the standard deviation of a run.
Times are medians of nine rounds in which all networks of a table train for 100 iterations, in an
order that is drawn anew; the time of the notebook's network is 1.00.
"""

import random
import sys
import time
from functools import cache, partial
from pathlib import Path

import nbformat
import numpy as np
from exercises import solved, with_layers
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


def row(*cells):
    """Print a row of a Markdown table."""
    print('|', ' | '.join(map(str, cells)), '|', flush=True)


def spread(values):
    """Return mean and standard deviation as text."""
    return f'{np.mean(values):.1f} ± {np.std(values, ddof=1):.1f}'


def compare(networks, checkpoints=(100, 1000)):
    """Print parameters, time and accuracy of networks, that of the notebook first."""
    networks = {'ours': OURS} | networks
    row('network', 'parameters', 'time', *(f'after {n:,}' for n in checkpoints))
    row(*['---'] * (3 + len(checkpoints)))
    for (name, source), ratio in zip(networks.items(), times(networks.values()), strict=True):
        runs = [accuracies(source, seed, checkpoints) for seed in [1, 2, 3]]
        num_parameters = f'{build(source).count_params():,}'
        row(name, num_parameters, f'{ratio:.2f}', *map(spread, zip(*runs, strict=True)))


def curve():
    """The network as it is, on the test-set and in the last column on the validation-set."""
    row('seed', *(f'{n:,}' for n in TESTS), 'validation-set')
    row(*['---'] * (2 + len(TESTS)))
    runs = []
    for seed in range(1, 9):
        found = accuracies(OURS, seed, tuple(TESTS), part='test')
        runs.append([*found, accuracy(VARIABLES['model'], VARIABLES['data'].validation)])
        row(seed, *(f'{value:.2f}' for value in runs[-1]))
    row('mean', *map(spread, zip(*runs, strict=True)))


def strides():
    """Exercise 6: strides in place of pooling."""
    sources = [OURS, solved(SOURCES, 'strides')]
    row('seed', 'pooling', 'strides', 'difference')
    row(*['---'] * 4)
    differences = []
    for seed in range(1, 13):
        pooled, strided = (accuracies(source, seed, (1000,))[0] for source in sources)
        differences.append(round(float(strided - pooled), 2))
        row(seed, f'{pooled:.2f}', f'{strided:.2f}', f'{differences[-1]:.2f}')
    low, high = stats.ttest_1samp(differences, 0).confidence_interval()
    print(f'\nMean {np.mean(differences):.2f}, 95% confidence interval {low:.2f} to {high:.2f}')
    print(f'Time: {times(sources)[1]:.2f}\n{differences}')


def stacked(*layers):
    """Return the model with these layers between the first and the last."""
    return with_layers(OURS, ''.join(f'        {layer},\n' for layer in layers).rstrip())


def conv(depth):
    """Return the code of a convolutional layer and of its pooling."""
    return f"Conv2D({depth}, 5, padding='same', **defaults)", 'MaxPooling2D(2, 2)'


SIGMOID = solved(SOURCES, 'sigmoid')
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
        'only the first convolution': stacked(*conv(16), 'Flatten()', 'Dense(128, **defaults)'),
        'only the last fully-connected layer': stacked(*conv(16), *conv(36), 'Flatten()'),
        'one more convolution': solved(SOURCES, 'third conv'),
    },
    'simplest': {
        '4 and 8 filters': stacked(*conv(4), *conv(8), 'Flatten()'),
        '8 and 16 filters': solved(SOURCES, 'simplest'),
    },
}
SECTIONS = {section.__name__: section for section in (curve, strides)}
SECTIONS |= {name: partial(compare, networks) for name, networks in NETWORKS.items()}
SECTIONS['simplest'] = partial(compare, NETWORKS['simplest'], (1000, 10_000))

if __name__ == '__main__':
    for name in sys.argv[1:] or SECTIONS:
        print(f'\n## {name}\n')
        SECTIONS[name]()
