"""Prints the tables with which the notebook answers its exercises.

Usage: python tests/measure_exercises.py [networks] [strides] [curve], by default all three.

tests/README.md tells what is in them. The curve's accuracies are those on the test-set. Times are
medians of nine rounds of 100 iterations, each in an order that is drawn anew.
"""

import re
import sys
from functools import partial

import nbformat
import numpy as np
from benchmark import SHELL, data, images, interleaved, labels, tf
from draw_pictures import NOTEBOOK, TESTS
from IPython.utils.capture import capture_output
from reader import EDITS, solved

SOURCES = {cell.id: cell.source for cell in nbformat.read(NOTEBOOK, as_version=4).cells}
OURS = SOURCES['model']
EDITED = {name: solved(SOURCES, name) for name in EDITS if name != 'reshape outside'}
SIGMOID, SIMPLEST = EDITED['sigmoid'], EDITED['8 and 16 filters, no fc1']
NETWORKS = {
    'ours': OURS,
    "ours, Glorot's initialization": OURS.replace('he_normal', 'glorot_uniform'),
    **EDITED,
    "sigmoid, Glorot's initialization": SIGMOID.replace('he_normal', 'glorot_uniform'),
    '3×3 filters': OURS.replace('kernel_size=5', 'kernel_size=3'),
    '8 and 18 filters': OURS.replace('ers=16', 'ers=8').replace('ers=36', 'ers=18'),
    '32 neurons': OURS.replace('128', '32'),
    'only the first convolution': re.sub('.*filters=36.*\n.*\n', '', OURS),
    'only the last fully-connected layer': re.sub('.*layer_fc1.*\n', '', OURS),
    '4 and 8 filters, no fc1': SIMPLEST.replace('ers=8', 'ers=4').replace('ers=16', 'ers=8'),
}


def build(source, seed=0):
    """Return the compiled model of this source, with the random numbers of a seed."""
    code = f'keras.utils.set_random_seed({seed})\n{source}\n{SOURCES["compile"]}'
    SHELL.run_cell(code).raise_error()
    return SHELL.user_ns['model']


def accuracies(source, seed, checkpoints, part=data.validation):
    """Train the model of this source; yield its accuracies after each number of iterations."""
    model = build(source, seed)
    for checkpoint in checkpoints:
        with capture_output():
            SHELL.user_ns['optimize'](checkpoint - int(model.optimizer.iterations))
        classes = model.predict(part.images, batch_size=256, verbose=0).argmax(axis=1)
        yield 100 * (classes == part.cls).mean()


def networks():
    """Print parameters, time and accuracies of all networks, from three seeds."""
    models = [build(source) for source in NETWORKS.values()]
    given = images, labels, 64, tf.constant(100)
    programs = [partial(SHELL.user_ns['train'], model, model.optimizer, *given) for model in models]
    seconds = interleaved(programs, rounds=9)
    times = np.median(seconds / seconds[:, :1], axis=0)
    print('| network | parameters | time | after 100 | after 1,000 | after 10,000 |')
    print('| --- ' * 6 + '|')
    for (name, source), model, ratio in zip(NETWORKS.items(), models, times, strict=True):
        checkpoints = (100, 1000, 10_000)[: 3 if name == 'ours' or 'no fc1' in name else 2]
        runs = np.transpose([list(accuracies(source, seed, checkpoints)) for seed in (1, 2, 3)])
        cells = [f'{np.mean(values):.1f} ± {np.std(values, ddof=1):.1f}' for values in runs]
        print('|', ' | '.join([name, f'{model.count_params():,}', f'{ratio:.2f}', *cells]), '|')


def strides():
    """Print the accuracies with pooling and with strides, from twelve seeds."""
    print('| seed | pooling | strides | difference |\n| --- | --- | --- | --- |')
    for seed in range(1, 13):
        pair = [next(accuracies(source, seed, [1000])) for source in (OURS, EDITED['strides'])]
        print(f'| {seed} | {pair[0]:.2f} | {pair[1]:.2f} | {pair[1] - pair[0]:.2f} |', flush=True)


def curve():
    """Print the accuracies on the test-set when our network is tested, from eight seeds."""
    print('| seed |', *(f'{n:,} |' for n in TESTS), '\n' + '| --- ' * 6 + '|')
    for seed in range(1, 9):
        print('|', seed, *(f'| {a:.2f}' for a in accuracies(OURS, seed, TESTS, data.test)), '|')


if __name__ == '__main__':
    for name in sys.argv[1:] or ['networks', 'strides', 'curve']:
        print(f'\n## {name}\n')
        globals()[name]()
