"""Prints how fast the notebook trains, beside other ways to train the same network.

Usage: python tests/benchmark.py [--rounds 11], which takes about four minutes on two
cores. All programs run in one process, one after the other in every round, and train
the same network on batches of 64 of the same images. PyTorch takes part where it is
installed.
"""

import argparse
import importlib.util
import os
import statistics
import time
from functools import partial

import nbformat
import numpy as np
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from reader import NOTEBOOK, ROOT, reading

ITERATIONS = 200  # of each program in a round
BATCH = 64
# Multiplications and additions on one image, forward; backward takes as many for the
# inputs of each layer, but for those of the first, and again for its weights.
CONV1, CONV2 = 2 * 28 * 28 * 25 * 16, 2 * 14 * 14 * 25 * 16 * 36
DENSE = 2 * (7 * 7 * 36 * 128 + 128 * 10)
OPERATIONS = BATCH * (2 * CONV1 + 3 * CONV2 + 3 * DENSE)


def run_cells(end):
    """Run the notebook's cells before one in this process; return the variables."""
    os.chdir(ROOT)
    shell = InteractiveShell.instance()
    shell.enable_gui = lambda gui: None  # for %matplotlib, which asks for a window
    with capture_output():
        for cell in nbformat.read(NOTEBOOK, as_version=4).cells:
            if cell.id == end:
                return shell.user_ns
            if cell.cell_type == 'code':
                shell.run_cell(cell.source).raise_error()


def next_numbers(num_images):
    """Yield the numbers of a batch's images, without repetition within an epoch."""
    while True:
        numbers = np.random.permutation(num_images)
        for i in range(0, num_images - BATCH + 1, BATCH):
            yield numbers[i : i + BATCH]


def session_program(train):
    """Return a function that trains as the original did: session and feed_dict."""
    import tensorflow as tf

    v1 = tf.compat.v1

    def weights(*shape):
        deviation = (2 / np.prod(shape[:-1])) ** 0.5
        return v1.Variable(v1.random_normal(shape, stddev=deviation))

    def biases(length):
        return v1.Variable(tf.zeros(length))

    with tf.Graph().as_default():
        x = v1.placeholder(tf.float32, [None, 784])
        y = v1.placeholder(tf.float32, [None, 10])
        layer = tf.reshape(x, [-1, 28, 28, 1])
        for channels, filters in [(1, 16), (16, 36)]:
            layer = tf.nn.conv2d(layer, weights(5, 5, channels, filters), 1, 'SAME')
            layer = tf.nn.relu(layer + biases(filters))
            layer = tf.nn.max_pool2d(layer, 2, 2, 'SAME')
        layer = tf.reshape(layer, [-1, 1764])
        layer = tf.nn.relu(tf.matmul(layer, weights(1764, 128)) + biases(128))
        logits = tf.matmul(layer, weights(128, 10)) + biases(10)
        loss = tf.reduce_mean(
            tf.nn.softmax_cross_entropy_with_logits(labels=y, logits=logits)
        )
        step = v1.train.AdamOptimizer(1e-4).minimize(loss)
        correct = tf.equal(tf.argmax(logits, axis=1), tf.argmax(y, axis=1))
        accuracy = tf.reduce_mean(tf.cast(correct, tf.float32))
        session = v1.Session()
        session.run(v1.global_variables_initializer())
    numbers = next_numbers(len(train.images))

    def run(iterations):
        for i in range(iterations):
            batch = next(numbers)
            feed_dict = {x: train.images[batch], y: train.labels[batch]}
            session.run(step, feed_dict=feed_dict)
            if i % 100 == 0:
                session.run(accuracy, feed_dict=feed_dict)

    return run


def keras_programs(keras, network, train):
    """Return functions that train by fit and by train_on_batch, with Keras' defaults."""

    def compiled():
        model = keras.models.clone_model(network)
        optimizer = keras.optimizers.Adam(learning_rate=1e-4)
        model.compile(optimizer, 'categorical_crossentropy', metrics=['accuracy'])
        return model

    numbers = next_numbers(len(train.images))
    fitted, stepped = compiled(), compiled()

    def fit(iterations):
        part = slice(iterations * BATCH)
        images, labels = train.images[part], train.labels[part]
        fitted.fit(images, labels, batch_size=BATCH, verbose=0)

    def train_on_batch(iterations):
        for _ in range(iterations):
            batch = next(numbers)
            stepped.train_on_batch(train.images[batch], train.labels[batch])

    return fit, train_on_batch


def torch_program(train, channels_last):
    """Return a function that trains with PyTorch; channels-last goes with fused Adam."""
    import torch
    from torch import nn

    network = nn.Sequential(
        *[nn.Conv2d(1, 16, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)],
        *[nn.Conv2d(16, 36, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)],
        *[nn.Flatten(), nn.Linear(1764, 128), nn.ReLU(), nn.Linear(128, 10)],
    )
    images = torch.tensor(train.images).reshape(-1, 1, 28, 28)
    if channels_last:
        network = network.to(memory_format=torch.channels_last)
        images = images.to(memory_format=torch.channels_last)
    cls = torch.tensor(train.cls)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4, fused=channels_last)
    cross_entropy = nn.CrossEntropyLoss()
    numbers = next_numbers(len(train.images))

    def run(iterations):
        for _ in range(iterations):
            batch = torch.from_numpy(next(numbers))
            optimizer.zero_grad()
            cross_entropy(network(images[batch]), cls[batch]).backward()
            optimizer.step()

    return run


def seconds(function, *args):
    """Return how long a call takes."""
    start = time.perf_counter()
    with capture_output():
        function(*args)
    return time.perf_counter() - start


def ceiling(tf):
    """Return the iterations a second at the speed of a large product of matrices."""
    size = 4096
    matrix = tf.random.normal((size, size))
    fastest = min(
        seconds(lambda: tf.linalg.matmul(matrix, matrix).numpy()) for _ in range(4)
    )
    return 2 * size**3 / fastest / OPERATIONS


def side_by_side(programs, rounds):
    """Return the seconds that each program takes in each round, after a warm-up."""
    for program in programs.values():
        seconds(program)
    times = {name: [] for name in programs}
    for _ in range(rounds):
        for name, program in programs.items():
            times[name].append(seconds(program))
    return times


def ratios(times, others):
    """Return how many times as fast the first is as the second, as text with a range."""
    found = [other / own for own, other in zip(times, others, strict=True)]
    return f'{statistics.median(found):.2f} ({min(found):.2f}–{max(found):.2f})'


def training(rounds):
    """Print the table of training speeds, and the time to classify the test-set."""
    variables = run_cells(end='performance-0-test')
    train, model = variables['data'].train, variables['model']
    session, ours = "TensorFlow 1's graph, session and feed_dict", 'this notebook'
    programs = {ours: variables['optimize'], session: session_program(train)}
    fit, train_on_batch = keras_programs(variables['keras'], model, train)
    programs |= {'`model.fit`, defaults': fit, '`train_on_batch`': train_on_batch}
    if importlib.util.find_spec('torch'):
        programs['PyTorch, eager'] = torch_program(train, channels_last=False)
        fused = 'PyTorch, channels-last, fused Adam'
        programs[fused] = torch_program(train, channels_last=True)
    programs = {name: partial(run, ITERATIONS) for name, run in programs.items()}

    times = side_by_side(programs, rounds)
    limit = ceiling(variables['tf'])
    print('| program | iterations a second | this notebook to it | of the limit |')
    print('| --- | --- | --- | --- |')
    for name, taken in times.items():
        speed = ITERATIONS / statistics.median(taken)
        faster = '' if name == ours else ratios(times[ours], taken)
        print(f'| {name} | {speed:.0f} | {faster} | {speed / limit:.0%} |')
    print(f'| the limit: a large matrix product | {limit:.0f} | | 100% |\n')

    classify, predict = variables['print_test_accuracy'], model.predict
    images = variables['data'].test.images
    times = side_by_side(
        {'ours': classify, 'default': partial(predict, images, verbose=0)}, rounds
    )
    print('| the whole notebook | |\n| --- | --- |')
    print(
        f'| to classify the test-set | {statistics.median(times["ours"]):.2f} s; '
        f'`model.predict` by default takes {ratios(times["ours"], times["default"])} '
        'times as long |'
    )


def whole_notebook(runs):
    """Print the times and the memory of runs of the whole notebook, each the median."""
    found = []
    for _ in range(runs):
        start, trained = time.perf_counter(), 0
        with reading() as reader:
            for cell_id in reader.ids():
                taken = seconds(reader.run, cell_id)
                trained += taken if cell_id.endswith('-optimize') else 0
                if cell_id == 'plot-few-code':
                    picture = time.perf_counter() - start
            whole = time.perf_counter() - start
            status = (
                "print(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])"
            )
            memory = int(reader.type(status)) / 2**20
        found.append((picture, memory, trained, whole, whole / trained))
    picture, memory, trained, whole, ratio = map(
        statistics.median, zip(*found, strict=True)
    )
    print(f"| from the kernel's start to the first images | {picture:.1f} s |")
    print(f'| the 10,000 iterations | {trained:.0f} s |')
    print(f'| all cells | {whole:.0f} s, {ratio:.2f} times the iterations |')
    print(f'| peak memory | {memory:.2f} GiB |')


def main():
    """Read the command line and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--rounds', type=int, default=11)
    args = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    print(f'{cores} cores, {time.strftime("%Y-%m-%d")}, {args.rounds} rounds\n')
    training(args.rounds)
    whole_notebook(runs=3)


if __name__ == '__main__':
    main()
