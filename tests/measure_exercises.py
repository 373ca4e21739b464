"""Prints the tables with which the notebook answers its exercises.

Usage: python tests/measure_exercises.py [--iterations N] [--seeds N] [curve] [reshape] [strides]
[weights] [activations] [l2] [dropout] [sizes] [layers] [simplest], by default all of them.

Each trains the network of the notebook's cell with the model, edited as the exercise's solution
says. Accuracies are those on the validation-set, in percent; ± is the standard deviation of a run.
Times are medians of nine rounds in which all networks of a table train in an order that is drawn anew;
the time of the notebook's network is 1.00.
"""

import argparse
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
# Iterations and seeds where they are not 1000 and 3.
DEFAULTS = {
    'curve': (10_000, 8),
    'reshape': (1000, 1),
    'strides': (1000, 12),
    'simplest': (10_000, 3),
    'weights': (10_000, 1),
}


def build(source, seed):
    """Return the compiled model of this source, with the random numbers of a seed."""
    for part in vars(VARIABLES['data']).values():
        part.images = part.images.reshape(-1, 784)  # which exercise 4 changes
    VARIABLES['keras'].utils.set_random_seed(seed)
    for cell in [source, SOURCES['compile']]:
        SHELL.run_cell(cell).raise_error()
    return VARIABLES['model']


def accuracy(model, part='validation'):
    """Return the accuracy in percent on a part of the data."""
    part = getattr(VARIABLES['data'], part)
    classes = model.predict(part.images, batch_size=256, verbose=0).argmax(axis=1)
    return 100 * (classes == part.cls).mean()


@cache
def accuracies(source, seed, iterations, part='validation'):
    """Train the model of this source; return its accuracies after each number of iterations."""
    model, found = build(source, seed), []
    for checkpoint in iterations:
        with capture_output():
            VARIABLES['optimize'](checkpoint - int(model.optimizer.iterations))
        found.append(accuracy(model, part))
    return found


def times(sources, iterations):
    """Return how long each model takes to train, in proportion to the first."""
    tf, data = VARIABLES['tf'], VARIABLES['data']
    images, labels = tf.constant(data.train.images), tf.constant(data.train.labels)
    models = [build(source, seed=0) for source in sources]
    seconds = [[] for _ in models]
    for _ in range(10):
        for i in random.sample(range(len(models)), len(models)):
            model, start = models[i], time.perf_counter()
            shaped = tf.reshape(images, (-1, *model.input_shape[1:]))
            num_iterations = tf.constant(min(iterations, 100))
            VARIABLES['train'](model, model.optimizer, shaped, labels, 64, num_iterations)
            seconds[i].append(time.perf_counter() - start)
    ratios = np.array(seconds) / seconds[0]
    return np.median(ratios[:, 1:], axis=1)  # The first round warms up.


def row(*cells):
    """Print a row of a Markdown table."""
    print('|', ' | '.join(map(str, cells)), '|', flush=True)


def head(*cells):
    """Print the head of a Markdown table."""
    row(*cells)
    row(*['---'] * len(cells))


def spread(values):
    """Return mean and standard deviation as text."""
    return f'{np.mean(values):.1f} ± {np.std(values, ddof=1):.1f}'


def compare(networks, iterations, seeds):
    """Print parameters, time and accuracy of networks, that of the notebook first."""
    networks = {'ours': OURS} | networks
    checkpoints = (*(n for n in (100, 1000) if n < iterations), iterations)
    head('network', 'parameters', 'time', *(f'after {n:,}' for n in checkpoints))
    ratios = times(networks.values(), iterations)
    for (name, source), ratio in zip(networks.items(), ratios, strict=True):
        runs = [accuracies(source, seed, checkpoints) for seed in range(1, seeds + 1)]
        num_parameters = f'{build(source, seed=0).count_params():,}'
        row(name, num_parameters, f'{ratio:.2f}', *map(spread, zip(*runs, strict=True)))


def curve(iterations, seeds):
    """The network as it is, on the test-set and in the last column on the validation-set."""
    checkpoints = tuple(n for n in TESTS if n <= iterations)
    head('seed', *(f'{n:,}' for n in checkpoints), 'validation-set')
    runs = []
    for seed in range(1, seeds + 1):
        found = accuracies(OURS, seed, checkpoints, part='test')
        runs.append([*found, accuracy(VARIABLES['model'])])
        row(seed, *(f'{value:.2f}' for value in runs[-1]))
    row('mean', *map(spread, zip(*runs, strict=True)))


def reshape(iterations, seeds):
    """Exercise 4: reshaping outside the model."""
    source, x = solved(SOURCES, 'reshape outside'), VARIABLES['data'].validation.images
    for seed in range(1, seeds + 1):
        ours, outside = build(OURS, seed), build(source, seed)
        outside.set_weights(ours.get_weights())
        difference = ours(x) - outside(x.reshape(-1, 28, 28, 1))
        print(f'Largest difference of the probabilities: {np.abs(difference).max()}')
    print(f'Time: {times([OURS, source], iterations)[1]:.2f}')


def strides(iterations, seeds):
    """Exercise 6: strides in place of pooling."""
    source, differences = solved(SOURCES, 'strides'), []
    head('seed', 'pooling', 'strides', 'difference')
    for seed in range(1, seeds + 1):
        pooled, strided = (accuracies(s, seed, (iterations,))[0] for s in [OURS, source])
        differences.append(round(float(strided - pooled), 2))
        row(seed, f'{pooled:.2f}', f'{strided:.2f}', f'{differences[-1]:.2f}')
    low, high = stats.ttest_1samp(differences, 0).confidence_interval()
    print(f'\nMean {np.mean(differences):.2f}, 95% interval {low:.2f} to {high:.2f}')
    print(f'Time: {times([OURS, source], iterations)[1]:.2f}\n{differences}')


def weights(iterations, seeds):
    """Exercise 10, and how far the training moves the filters."""
    head('layer', 'biases', 'weights: correlation with those before', 'change to before')
    for seed in range(1, seeds + 1):
        accuracies.__wrapped__(OURS, seed, (iterations,))
        for name in ['layer_conv1', 'layer_conv2']:
            layer = VARIABLES['model'].get_layer(name)
            bias, after = layer.bias.numpy(), layer.kernel.numpy().ravel()
            before = VARIABLES['weights_start'][layer.kernel.path].ravel()
            change = (after - before).std() / before.std()
            correlation = np.corrcoef(before, after)[0, 1]
            row(
                name, f'{bias.min():.3f} to {bias.max():.3f}', f'{correlation:.3f}', f'{change:.2f}'
            )


def sized(size, first, second, width):
    """Return the model's source with other kernels, depths and width, with their name."""
    source = OURS.replace('kernel_size=5', f'kernel_size={size}').replace('128', str(width))
    source = source.replace('filters=16', f'filters={first}')
    source = source.replace('filters=36', f'filters={second}')
    return f'{size}×{size}, {first} and {second} filters, {width} neurons', source


def stacked(*layers):
    """Return the model's source with these layers between the first and the last."""
    return with_layers(OURS, ''.join(f'        {layer},\n' for layer in layers).rstrip())


FLAT, DENSE = 'Flatten()', 'Dense(128, **defaults)'
POOL2 = 'MaxPooling2D(2, 2)'
CONV4, CONV8, CONV16, CONV36 = (
    f"Conv2D({depth}, 5, padding='same', **defaults)" for depth in (4, 8, 16, 36)
)
BOTH = CONV16, POOL2, CONV36, POOL2, FLAT
SIGMOID = solved(SOURCES, 'sigmoid')
NETWORKS = {
    'activations': {
        'sigmoid': SIGMOID,
        'sigmoid, Glorot': SIGMOID.replace('he_normal', 'glorot_uniform'),
        'sigmoid in fc1': solved(SOURCES, 'sigmoid in fc1'),
    },
    'l2': {name: solved(SOURCES, name) for name in ('L2', 'L2 in fc1')},
    'dropout': {'dropout': solved(SOURCES, 'dropout')},
    'sizes': dict(
        [
            *[sized(3, 16, 36, 128), sized(5, 8, 18, 128), sized(5, 16, 36, 32)],
            ("the solution's 3×3, 32 and 72", solved(SOURCES, 'kernels')),
        ]
    ),
    'layers': {
        'one conv layer': stacked(CONV16, POOL2, FLAT, DENSE),
        'no fully-connected layer but the last': stacked(*BOTH),
        'one more conv layer': solved(SOURCES, 'third conv'),
    },
    'simplest': {
        'conv 4, conv 8': stacked(CONV4, POOL2, CONV8, POOL2, FLAT),
        'conv 8, conv 16': solved(SOURCES, 'simplest'),
    },
}
SECTIONS = {section.__name__: section for section in (curve, reshape, strides, weights)}
SECTIONS |= {name: partial(compare, networks) for name, networks in NETWORKS.items()}


def main():
    """Read the command line, and print these tables, or all."""
    parser = argparse.ArgumentParser()
    parser.add_argument('sections', nargs='*', help=', '.join(SECTIONS))
    parser.add_argument('--iterations', type=int)
    parser.add_argument('--seeds', type=int)
    args = parser.parse_args()
    for name in args.sections or SECTIONS:
        iterations, seeds = DEFAULTS.get(name, (1000, 3))
        print(f'\n## {name}\n')
        SECTIONS[name](args.iterations or iterations, args.seeds or seeds)


if __name__ == '__main__':
    main()
