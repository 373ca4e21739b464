"""Prints the tables with which the notebook answers its exercises.

Usage: python tests/measure_exercises.py [networks] [strides] [curve], by default all three.

Each trains the network of the notebook's cell with the model, edited as the exercise's solution
says. Accuracies are those on the validation-set, for the curve on the test-set, in percent; ± is
the standard deviation of a single run. Times are medians of nine rounds in which all networks
train for 100 iterations, in an order that is drawn anew; that of the notebook's is 1.00.
"""

import re
import sys
from functools import partial
from pathlib import Path

import nbformat
import numpy as np
from benchmark import interleaved
from IPython.utils.capture import capture_output
from reader import EDITS, solved

sys.path.append(str(Path(__file__).resolve().parent.parent / 'images'))
from draw_pictures import NOTEBOOK, TESTS, run_notebook

SOURCES = {cell.id: cell.source for cell in nbformat.read(NOTEBOOK, as_version=4).cells}
OURS = SOURCES['model']
EDITED = {name: solved(SOURCES, name) for name in EDITS if name != 'reshape outside'}
SIGMOID, SIMPLEST = EDITED['sigmoid'], EDITED['8 and 16 filters, no fc1']
NETWORKS = {
    'ours': OURS,
    **EDITED,
    "sigmoid, Glorot's initialization": SIGMOID.replace('he_normal', 'glorot_uniform'),
    '3×3 filters': OURS.replace('kernel_size=5', 'kernel_size=3'),
    '8 and 18 filters': OURS.replace('ers=16', 'ers=8').replace('ers=36', 'ers=18'),
    '32 neurons': OURS.replace('128', '32'),
    'only the first convolution': re.sub('.*filters=36.*\n.*\n', '', OURS),
    'only the last fully-connected layer': re.sub('.*layer_fc1.*\n', '', OURS),
    '4 and 8 filters, no fc1': SIMPLEST.replace('ers=8', 'ers=4').replace('ers=16', 'ers=8'),
}
SHELL = run_notebook()
VARIABLES = SHELL.user_ns


def build(source, seed=0):
    """Return the compiled model of this source, with the random numbers of a seed."""
    VARIABLES['keras'].utils.set_random_seed(seed)
    for cell in [source, SOURCES['compile']]:
        SHELL.run_cell(cell).raise_error()
    return VARIABLES['model']


def accuracies(source, seed, checkpoints, part='validation'):
    """Train the model of this source; return its accuracies after each number of iterations."""
    model, part, found = build(source, seed), getattr(VARIABLES['data'], part), []
    for checkpoint in checkpoints:
        with capture_output():
            VARIABLES['optimize'](checkpoint - int(model.optimizer.iterations))
        classes = model.predict(part.images, batch_size=256, verbose=0).argmax(axis=1)
        found.append(100 * (classes == part.cls).mean())
    return found


def times(sources):
    """Return how long each model takes to train, in proportion to the first."""
    tf, train = VARIABLES['tf'], VARIABLES['data'].train
    images, labels = tf.constant(train.images), tf.constant(train.labels)
    models = [build(source) for source in sources]
    arguments = [(model, model.optimizer, images, labels, 64, tf.constant(100)) for model in models]
    seconds = interleaved([partial(VARIABLES['train'], *given) for given in arguments], rounds=9)
    return np.median(seconds / seconds[:, :1], axis=0)


def networks():
    """Print parameters, time and accuracies of all networks, from three seeds."""
    print('| network | parameters | time | after 100 | after 1,000 | after 10,000 |')
    print('| --- ' * 6 + '|')
    for (name, source), ratio in zip(NETWORKS.items(), times(NETWORKS.values()), strict=True):
        checkpoints = (100, 1000, 10_000)[: 3 if name == 'ours' or 'no fc1' in name else 2]
        runs = np.transpose([accuracies(source, seed, checkpoints) for seed in (1, 2, 3)])
        cells = [f'{np.mean(values):.1f} ± {np.std(values, ddof=1):.1f}' for values in runs]
        cells = [name, f'{build(source).count_params():,}', f'{ratio:.2f}', *cells]
        print('|', ' | '.join(cells), '|', flush=True)


def strides():
    """Print the accuracies with pooling and with strides, from twelve seeds."""
    print('| seed | pooling | strides | difference |\n| --- | --- | --- | --- |')
    for seed in range(1, 13):
        pair = [accuracies(source, seed, [1000])[0] for source in (OURS, EDITED['strides'])]
        print(f'| {seed} | {pair[0]:.2f} | {pair[1]:.2f} | {pair[1] - pair[0]:.2f} |', flush=True)


def curve():
    """Print the accuracies on the test-set when our network is tested, from eight seeds."""
    print('| seed |', *(f'{n:,} |' for n in TESTS), '\n' + '| --- ' * 6 + '|')
    for seed in range(1, 9):
        print('|', seed, *(f'| {a:.2f}' for a in accuracies(OURS, seed, TESTS, 'test')), '|')


if __name__ == '__main__':
    tables = {table.__name__: table for table in (networks, strides, curve)}
    for name in sys.argv[1:] or tables:
        print(f'\n## {name}\n')
        tables[name]()
