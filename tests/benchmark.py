"""Prints how fast the notebook trains, beside other programs that train the same network.

Usage: python tests/benchmark.py [--rounds 11] [--iterations 500]

All programs run in this process. They start from the same weights and train with Adam on batches
of 64 of the same training images, drawn at random with replacement (`model.fit` shuffles arrays
instead). In each round each trains for the same number of iterations, in an order that is drawn
anew; one round before warms up. `model.fit` is at its best with these batches from `tf.data`, 100
steps per execution and no XLA; PyTorch, which takes part where it is installed, with channels-last
images and fused Adam.
"""

import argparse
import importlib.util
import os
import random
import re
import sys
import time
from collections import namedtuple
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
from IPython.utils.capture import capture_output

sys.path.append(str(Path(__file__).resolve().parent.parent / 'images'))
from draw_pictures import run_notebook

OURS, PRODUCT, KERNELS = 'this notebook', 'a large matrix product', 'the kernels alone'
BATCH = 64
# Multiplications and additions on a batch, layer by layer: forward, for the gradients of the
# weights, and for those of the layer's inputs, which the first layer does not need.
CONV1, CONV2, DENSE = 28 * 28 * 25 * 16, 14 * 14 * 25 * 16 * 36, 1764 * 128 + 128 * 10
OPERATIONS = 2 * BATCH * (2 * CONV1 + 3 * CONV2 + 3 * DENSE)

Program = namedtuple('Program', 'train num_parameters predict', defaults=(None, None))


def draw(train):
    """Return the images and labels of a random batch, as arrays."""
    indices = np.random.randint(len(train.images), size=BATCH)
    return train.images[indices], train.labels[indices]


def session_program(tf, train, start):
    """Return the program that trains as the original did: graph, session and feed_dict."""
    v1 = tf.compat.v1
    with tf.Graph().as_default():
        weights = [v1.Variable(array) for array in start]
        x, y = v1.placeholder(tf.float32, [None, 784]), v1.placeholder(tf.float32, [None, 10])
        layer = tf.reshape(x, [-1, 28, 28, 1])
        for kernel, biases in [weights[:2], weights[2:4]]:
            layer = tf.nn.relu(tf.nn.conv2d(layer, kernel, 1, 'SAME') + biases)
            layer = tf.nn.max_pool2d(layer, 2, 2, 'SAME')
        layer = tf.nn.relu(tf.matmul(tf.reshape(layer, [-1, 1764]), weights[4]) + weights[5])
        logits = tf.matmul(layer, weights[6]) + weights[7]
        loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(labels=y, logits=logits))
        step = v1.train.AdamOptimizer(1e-4).minimize(loss)
        session = v1.Session()
        session.run(v1.global_variables_initializer())

    def run(iterations):
        for _ in range(iterations):
            x_batch, y_batch = draw(train)
            session.run(step, feed_dict={x: x_batch, y: y_batch})

    num_parameters = sum(variable.shape.num_elements() for variable in weights)
    return Program(run, num_parameters, lambda images: session.run(logits, {x: images}))


def keras_programs(keras, tf, train, network):
    """Return the programs that train by fit, in two ways, and by train_on_batch."""

    def program(run, **kwargs):
        model = keras.models.clone_model(network)
        model.set_weights(network.get_weights())
        optimizer = keras.optimizers.Adam(learning_rate=1e-4, epsilon=1e-8)
        model.compile(optimizer, 'categorical_crossentropy', **kwargs)
        return Program(partial(run, model), model.count_params(), model.predict_on_batch)

    images, labels = tf.constant(train.images), tf.constant(train.labels)

    def gather(_):
        indices = tf.random.uniform([BATCH], maxval=len(images), dtype=tf.int32)
        return tf.gather(images, indices), tf.gather(labels, indices)

    batches = tf.data.Dataset.counter().map(gather).prefetch(tf.data.AUTOTUNE)

    def fit(model, iterations, *arrays):
        model.fit(*arrays, steps_per_epoch=iterations, verbose=0)

    def train_on_batch(model, iterations):
        for _ in range(iterations):
            model.train_on_batch(*draw(train))

    best = {'steps_per_execution': 100, 'jit_compile': False}
    return {
        '`model.fit`, defaults': program(lambda *x: fit(*x, train.images, train.labels, BATCH)),
        '`model.fit`, best': program(lambda *x: fit(*x, batches), **best),
        '`train_on_batch`': program(train_on_batch),
    }


def torch_program(train, start, best):
    """Return the program that trains with PyTorch; at its best, channels-last and fused Adam."""
    import torch
    from torch import nn

    network = nn.Sequential(
        *[nn.Conv2d(1, 16, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)],
        *[nn.Conv2d(16, 36, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)],
        *[nn.Flatten(), nn.Linear(1764, 128), nn.ReLU(), nn.Linear(128, 10)],
    )
    for parameter, array in zip(network.parameters(), start, strict=True):
        parameter.data.copy_(torch.from_numpy(array.T))
    layout = torch.channels_last if best else torch.contiguous_format
    network = network.to(memory_format=layout)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4, fused=best)
    images, cls = torch.from_numpy(train.images), torch.from_numpy(train.cls)

    def forward(images):
        return network(images.reshape(-1, 1, 28, 28).to(memory_format=layout))

    def run(iterations):
        for _ in range(iterations):
            batch = torch.randint(len(images), (BATCH,))
            optimizer.zero_grad()
            nn.functional.cross_entropy(forward(images[batch]), cls[batch]).backward()
            optimizer.step()

    num_parameters = sum(parameter.numel() for parameter in network.parameters())
    return Program(run, num_parameters, lambda x: forward(torch.from_numpy(x)).detach().numpy())


def matrix_product(tf, iterations):
    """Multiply large matrices, with as many operations as iterations have."""
    size = 2048
    matrix = tf.ones((size, size))
    rows = iterations * OPERATIONS // (2 * size * size)
    for start in range(0, rows, size):
        tf.linalg.matmul(matrix[: rows - start], matrix).numpy()


def kernels(tf, start):
    """Return a function that runs TensorFlow's kernels of some iterations, each kernel alone."""
    conv = partial(tf.nn.conv2d, strides=1, padding='SAME')
    pool = partial(tf.nn.max_pool2d, ksize=2, strides=2, padding='SAME')

    def repeated(function, inputs, sources):
        upstream = function(*inputs)

        @tf.function
        def repeat(times):
            results = sources or [upstream]
            for _ in tf.range(times):
                tf.autograph.experimental.set_loop_options(parallel_iterations=1)
                with tf.GradientTape() as tape:
                    tape.watch(inputs)
                    output = function(*inputs)
                results = tape.gradient(output, sources, upstream) if sources else [output]
            return results

        return repeat

    loops = []
    for function, shape, *weights in [
        *[(conv, (28, 28, 1), start[0]), (pool, (28, 28, 16))],
        *[(conv, (14, 14, 16), start[2]), (pool, (14, 14, 36))],
        *[(tf.matmul, (1764,), start[4]), (tf.matmul, (128,), start[6])],
    ]:
        inputs = [tf.random.normal((BATCH, *shape)), *map(tf.constant, weights)]
        loops += [repeated(function, inputs, [source]) for source in inputs]
        if weights:  # The gradient of pooling runs it, too.
            loops.append(repeated(function, inputs, []))
    loops.pop(0)  # The images need no gradient.
    return lambda iterations: [loop(tf.constant(iterations)) for loop in loops]


def make_programs():
    """Return the programs by name, and the test-set."""
    notebook = run_notebook().user_ns
    keras, tf, data, network = (notebook[name] for name in ['keras', 'tf', 'data', 'model'])
    start, train = network.get_weights(), data.train
    programs = {
        OURS: Program(notebook['optimize'], network.count_params(), network.predict_on_batch),
        "TensorFlow 1's graph, session and feed_dict": session_program(tf, train, start),
        **keras_programs(keras, tf, train, network),
    }
    if importlib.util.find_spec('torch'):
        programs['PyTorch, defaults'] = torch_program(train, start, best=False)
        programs['PyTorch, best'] = torch_program(train, start, best=True)
    programs[PRODUCT] = Program(partial(matrix_product, tf))
    programs[KERNELS] = Program(kernels(tf, start))
    return programs, data.test


def main():
    """Read the command line, train, and print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument('--rounds', type=int, default=11)
    parser.add_argument('--iterations', type=int, default=500, help='a multiple of 100')
    args = parser.parse_args()
    if args.iterations % 100:
        parser.error('model.fit executes 100 steps at once')
    programs, test = make_programs()
    processor = re.search('model name.*: (.*)', Path('/proc/cpuinfo').read_text())[1]
    print(f'{processor}, {len(os.sched_getaffinity(0))} threads, load', *os.getloadavg())
    packages = filter(importlib.util.find_spec, ['tensorflow', 'keras', 'numpy', 'torch'])
    print(*(f'{name} {version(name)}' for name in packages), sep=', ')
    print(f'{args.rounds} rounds of {args.iterations} iterations; parameters of each program:')
    counts = [p.num_parameters for p in programs.values() if p.num_parameters]
    print(*counts, '\n')
    assert len(set(counts)) == 1, 'not the same network'

    speeds = {name: [] for name in programs}
    for _ in range(args.rounds + 1):
        for name in random.sample(list(programs), len(programs)):
            begin = time.perf_counter()
            with capture_output():
                programs[name].train(args.iterations)
            speeds[name].append(args.iterations / (time.perf_counter() - begin))
    print(f'| program | iterations/s | {OURS} to it | of {PRODUCT} | of {KERNELS} | accuracy |')
    print('| --- ' * 6 + '|')
    speeds = {name: np.array(speed[1:]) for name, speed in speeds.items()}
    for name, speed in speeds.items():
        ratio = speeds[OURS] / speed
        print(f'| {name} | {np.median(speed):.0f} | {np.median(ratio):.2f}', end=' ')
        print(f'({ratio.min():.2f}–{ratio.max():.2f})', end=' | ')
        for limit in PRODUCT, KERNELS:
            print(f'{np.median(speed / speeds[limit]):.0%}', end=' | ')
        if predict := programs[name].predict:
            classes = [predict(images).argmax(axis=1) for images in np.split(test.images, 10)]
            print(f'{(np.concatenate(classes) == test.cls).mean():.1%}', end=' ')
        print('|')


if __name__ == '__main__':
    main()
