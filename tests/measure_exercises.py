"""Prints the tables with which the notebook answers its exercises.

Usage: python tests/measure_exercises.py [curve] [changes] [reshape] [strides] [sizes]
[layers] [simplest] [biases], by default all of them, which takes about an hour on two
cores. Each table is made by training the notebook's network after the edits of its own
solutions; strides draws images/strides.png as well.
"""

import os
import re
import sys
import time
from pathlib import Path

import exercises
from matplotlib.figure import Figure
from reader import ROOT, reading
from scipy import stats

FLAT_IMAGES = """
for part in [data.train, data.validation, data.test]:
    part.images = part.images.reshape(-1, img_size_flat)
"""
RATIO = """
def seconds(*trained):
    start = time.perf_counter()
    train(*trained, tf.constant(100))
    return time.perf_counter() - start

ratios = []
for _ in range(8):
    time_of_variant = seconds(model, model.optimizer, batches)
    ratios.append(time_of_variant / seconds(ours, ours.optimizer, ours_batches))
print(np.median(ratios[1:]))
"""


SEEDS = (1, 2, 3)


class Laboratory:
    """Trains variants of the model in one kernel."""

    def __init__(self, reader):
        self.reader = reader
        self.original = reader.cells['model'].source
        self.edits = {name: exercises.apply(reader, name) for name in exercises.EDITS}
        ids = reader.ids()
        reader.run(*ids[: ids.index('performance-0-test')])

    def build(self, source, seed):
        """Build and compile the model of this source, with the batches of this seed."""
        self.reader.cells['model'].source = source
        self.reader.type(f'{FLAT_IMAGES}\nkeras.utils.set_random_seed({seed})')
        self.reader.run('model', 'compile', 'batches-code')

    def value(self, expression):
        """Return the value of a number in the kernel."""
        return float(self.reader.type(f'print({expression})'))

    def accuracies(self, source, seed, checkpoints):
        """Train the model of this source; return the test accuracy at checkpoints."""
        self.build(source, seed)
        found = []
        for checkpoint in checkpoints:
            self.reader.type(
                f'optimize({checkpoint} - iterations_done())\nprint_test_accuracy()'
            )
            found.append(self.value(f'history.test[{checkpoint}]'))
        return found

    def time_ratio(self, source):
        """Return the median ratio of the training times of this model and ours."""
        self.build(self.original, seed=0)
        self.reader.type('ours, ours_batches = model, batches')
        self.build(source, seed=0)
        return float(self.reader.type(RATIO))

    def parameters(self, source):
        """Return the number of the model's parameters."""
        self.build(source, seed=0)
        return int(self.value('model.count_params()'))


def row(*cells):
    """Print a row of a Markdown table."""
    print('|', ' | '.join(str(cell) for cell in cells), '|', flush=True)


def head(*cells):
    """Print the head of a Markdown table."""
    print()
    row(*cells)
    row(*['---'] * len(cells))


def mean(values):
    """Return the mean of accuracies as text."""
    return f'{sum(values) / len(values):.1%}'


def curve(lab):
    """The network as it is: accuracy at all checkpoints, for each seed."""
    checkpoints = (0, 1, 100, 1000, 10_000)
    head('seed', *(f'{n:,}' for n in checkpoints))
    runs = []
    for seed in SEEDS:
        runs.append(lab.accuracies(lab.original, seed, checkpoints))
        row(seed, *(f'{accuracy:.2%}' for accuracy in runs[-1]))
    row('mean', *(mean(found) for found in zip(*runs, strict=True)))


def changes(lab):
    """Sigmoid, L2 and dropout: accuracy after 1,000 and 10,000 iterations."""
    head('network', 'after 1,000 iterations', 'after 10,000', 'seeds')
    names = ['ours', 'sigmoid', 'sigmoid in fc1', 'L2', 'L2 in fc1', 'dropout']
    for name in names:
        source = lab.original if name == 'ours' else lab.edits[name]
        runs = [lab.accuracies(source, seed, (1000, 10_000)) for seed in SEEDS[:2]]
        early, late = zip(*runs, strict=True)
        row(name, mean(early), mean(late), len(runs))


def reshape(lab):
    """Reshaping inside and outside the model: accuracy and time."""
    head('reshaping', 'after 1,000 iterations', 'time')
    row('inside', mean(lab.accuracies(lab.original, 1, [1000])), '1.00')
    source = lab.edits['reshape outside']
    accuracy = lab.accuracies(source, 1, [1000])
    row('outside', mean(accuracy), f'{lab.time_ratio(source):.2f}')


def strides(lab):
    """Strides against pooling: the mean difference with its confidence interval."""
    iterations, seeds = 3000, range(1, 13)
    head('seed', 'pooling', 'strides', f'difference after {iterations:,} iterations')
    differences = []
    for seed in seeds:
        (pooling,) = lab.accuracies(lab.original, seed, [iterations])
        (strided,) = lab.accuracies(lab.edits['strides'], seed, [iterations])
        differences.append(strided - pooling)
        row(seed, f'{pooling:.2%}', f'{strided:.2%}', f'{differences[-1]:+.2%}')
    test = stats.ttest_1samp(differences, 0)
    low, high = test.confidence_interval(0.95)
    print(f'\nmean {sum(differences) / len(differences):+.2%}, ', end='')
    print(f'95 % confidence interval {low:+.2%} to {high:+.2%}, p = {test.pvalue:.2g}')
    draw_differences([100 * d for d in differences], 100 * low, 100 * high)
    print(f'time ratio {lab.time_ratio(lab.edits["strides"]):.2f}')


def draw_differences(differences, low, high):
    """Draw the differences of strides, in percentage points, into images/strides.png."""
    figure = Figure(figsize=(5.5, 1.5), layout='constrained')
    ax = figure.subplots()
    ax.axvline(0, color='gray', linewidth=1)
    ax.plot(differences, [1] * len(differences), 'o', color='tab:blue', alpha=0.6)
    ax.plot([low, high], [0, 0], '|-', color='tab:orange', linewidth=3, markersize=12)
    ax.plot([(low + high) / 2], [0], 'D', color='tab:orange')
    ax.set_yticks([1, 0], ['each seed', 'mean, 95%'])
    ax.set(ylim=(-0.7, 1.7), xlabel='accuracy of strides minus pooling, in points')
    ax.spines[['top', 'right', 'left']].set_visible(False)
    ax.tick_params(left=False)
    figure.savefig(ROOT / 'images/strides.png', dpi=200, facecolor='white')


def variants(lab, sources, iterations=3000, seeds=(1, 2)):
    """Print parameters, time and accuracy of variants of the network."""
    head('network', 'parameters', 'time', f'after {iterations:,} iterations')
    for name, source in sources.items():
        parameters = lab.parameters(source)
        ratio = lab.time_ratio(source)
        found = [lab.accuracies(source, seed, [iterations])[0] for seed in seeds]
        row(name, f'{parameters:,}', f'{ratio:.2f}', mean(found))


def sizes(lab):
    """Other kernels, depths and widths."""
    sources = {'ours: 5x5, 16 and 36 filters, 128 neurons': lab.original}
    for kernel, first, second, width in [
        (3, 16, 36, 128),
        (7, 16, 36, 128),
        (5, 8, 18, 128),
        (5, 32, 72, 128),
        (3, 32, 72, 128),
        (5, 16, 36, 32),
        (5, 16, 36, 512),
    ]:
        source = lab.original.replace('Conv2D(16, 5', f'Conv2D({first}, {kernel}')
        source = source.replace('Conv2D(36, 5', f'Conv2D({second}, {kernel}')
        source = source.replace('Dense(128', f'Dense({width}')
        name = f'{kernel}x{kernel}, {first} and {second} filters, {width} neurons'
        sources[name] = source
    variants(lab, sources)


def layers(lab):
    """More layers and fewer."""
    conv1 = "Conv2D(16, 5, padding='same', name='layer_conv1', **defaults),"
    conv2 = "Conv2D(36, 5, padding='same', name='layer_conv2', **defaults),"
    fc1 = "Dense(128, name='layer_fc1', **defaults),"
    pool = 'MaxPooling2D(2, 2),'
    fc2 = "Dense(128, name='layer_fc3', **defaults),"
    stacks = {
        'no conv layer': ['Flatten(),', fc1],
        'one conv layer': [conv1, pool, 'Flatten(),', fc1],
        'ours: two conv layers': [conv1, pool, conv2, pool, 'Flatten(),', fc1],
        'no fully-connected layer but the last': [
            conv1,
            pool,
            conv2,
            pool,
            'Flatten(),',
        ],
        'two fully-connected layers before the last': [
            *[conv1, pool, conv2, pool, 'Flatten(),', fc1, fc2]
        ],
    }
    sources = {
        name: exercises.with_layers(
            lab.original, '\n'.join(f'        {s}' for s in stack)
        )
        for name, stack in stacks.items()
    }
    sources['three conv layers'] = lab.edits['third conv']
    variants(lab, sources)


def simplest(lab):
    """Parameters against accuracy, from simple to large, after all 10,000 iterations."""
    conv = "Conv2D({}, {}, padding='same', **defaults),"
    flat = 'Flatten(),'
    half, third, quarter = (f'MaxPooling2D({n}, {n}),' for n in (2, 3, 4))
    stacks = {
        'no layer but the last': [flat],
        'conv 4, conv 8, strong pooling': [
            *[conv.format(4, 5), half, conv.format(8, 5), quarter, flat]
        ],
        'conv 4, conv 8': [conv.format(4, 5), half, conv.format(8, 5), half, flat],
        'conv 8, conv 16, strong pooling': [
            *[conv.format(8, 5), half, conv.format(16, 5), quarter, flat]
        ],
        'conv 8, conv 16, conv 16': [
            *[conv.format(8, 5), half, conv.format(16, 3), half],
            *[conv.format(16, 3), third, flat],
        ],
        'conv 8, conv 16': [conv.format(8, 5), half, conv.format(16, 5), half, flat],
        'dense 32': [flat, 'Dense(32, **defaults),'],
        'conv 16, conv 36': [conv.format(16, 5), half, conv.format(36, 5), half, flat],
    }
    head('layers before the last', 'parameters', 'after 10,000 iterations', 'seeds')
    rows = []
    for name, stack in stacks.items():
        stack = '\n'.join(f'        {layer}' for layer in stack)
        source = exercises.with_layers(lab.original, stack)
        found = [lab.accuracies(source, seed, [10_000])[0] for seed in (1, 2)]
        rows.append((lab.parameters(source), name, found))
    whole = lab.accuracies(lab.original, 1, [10_000])
    rows.append((lab.parameters(lab.original), 'the whole network', whole))
    for parameters, name, found in sorted(rows):
        row(name, f'{parameters:,}', mean(found), len(found))
    for limit in (0.97, 0.98):
        smallest = next(r for r in sorted(rows) if sum(r[2]) / len(r[2]) > limit)
        print(f'\nThe smallest above {limit:.0%}: {smallest[1]}, {smallest[2]}')


def biases(lab):
    """The biases of the conv layers after 10,000 iterations, seed 1."""
    lab.accuracies(lab.original, 1, [10_000])
    head('layer', 'lowest bias', 'highest', 'deviation of the weights')
    for name in ('layer_conv1', 'layer_conv2'):
        layer = f'find_layer("{name}")'
        bias, kernel = f'{layer}.bias.numpy()', f'{layer}.kernel.numpy()'
        expressions = f'{bias}.min()', f'{bias}.max()', f'{kernel}.std()'
        row(name, *(f'{lab.value(e):.3f}' for e in expressions))


TABLES = [curve, changes, reshape, strides, sizes, layers, simplest, biases]


def main(names):
    """Make the tables of these names, or all."""
    processor = re.search('model name.*: (.*)', Path('/proc/cpuinfo').read_text())[1]
    cores = len(os.sched_getaffinity(0))
    print(f'{processor}, {cores} cores, {time.strftime("%Y-%m-%d")}')
    with reading() as reader:
        lab = Laboratory(reader)
        for table in TABLES:
            if not names or table.__name__ in names:
                start = time.time()
                print(f'\n## {table.__doc__}')
                table(lab)
                print(f'\n({time.time() - start:.0f} seconds)', flush=True)


if __name__ == '__main__':
    main(sys.argv[1:])
