"""Prints how fast the notebook trains, beside other programs that train the same network.

Usage: python tests/benchmark.py [rounds] [epochs], by default 11 rounds of 2 epochs each

All programs run in this process. They start from the same weights and train with Adam on batches
of 64 of the same training images, drawn at random with replacement (`model.fit` shuffles arrays
instead). In each round each trains for the same number of iterations, in an order that is drawn
anew; one round before warms up. `model.fit` is at its best with these batches from `tf.data`, 86
steps per execution and no XLA; PyTorch, where it is installed, with channels-last images and fused
Adam.
"""

import importlib.util
import os
import random
import re
import sys
import time
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
from IPython.utils.capture import capture_output

sys.path.append(str(Path(__file__).resolve().parent.parent / 'images'))
from draw_pictures import run_notebook

OURS, PRODUCT, KERNELS = 'this notebook', 'a large matrix product', 'the kernels alone'
BATCH, EPOCH = 64, 860  # images; iterations in which `model.fit` goes through all 55,000
# Multiplications and additions on a batch, layer by layer: forward, for the gradients of the
# weights, and for those of the layer's inputs, which the first layer does not need.
CONV1, CONV2, DENSE = 28 * 28 * 25 * 16, 14 * 14 * 25 * 16 * 36, 1764 * 128 + 128 * 10
OPERATIONS = 2 * BATCH * (2 * CONV1 + 3 * CONV2 + 3 * DENSE)


def session_program(tf, train, start):
    """Train as the original did: graph, session and feed_dict."""
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
            indices = np.random.randint(len(train.images), size=BATCH)
            session.run(step, {x: train.images[indices], y: train.labels[indices]})

    num_parameters = sum(variable.shape.num_elements() for variable in weights)
    return run, num_parameters, lambda images: session.run(logits, {x: images})


def fit_program(keras, network, arguments, steps=None, **kwargs):
    """Train by `model.fit`."""
    model = keras.models.clone_model(network)
    model.set_weights(network.get_weights())
    optimizer = keras.optimizers.Adam(learning_rate=1e-4, epsilon=1e-8)
    model.compile(optimizer, 'categorical_crossentropy', **kwargs)

    def run(iterations):
        epochs = iterations // EPOCH
        model.fit(*arguments, epochs=epochs, steps_per_epoch=steps, shuffle=not steps, verbose=0)

    return run, model.count_params(), model.predict_on_batch


def batches(tf, train):
    """Return a data set of random batches."""
    images, labels = tf.constant(train.images), tf.constant(train.labels)

    def draw(_):
        indices = tf.random.uniform([BATCH], maxval=len(images), dtype=tf.int32)
        return tf.gather(images, indices), tf.gather(labels, indices)

    return tf.data.Dataset.counter().map(draw).prefetch(tf.data.AUTOTUNE)


def torch_program(train, start, best):
    """Train with PyTorch; at its best, channels-last and with fused Adam."""
    import torch
    from torch import nn

    layout = torch.channels_last if best else torch.contiguous_format
    network = nn.Sequential(
        *[nn.Conv2d(1, 16, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)],
        *[nn.Conv2d(16, 36, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)],
        *[nn.Flatten(), nn.Linear(1764, 128), nn.ReLU(), nn.Linear(128, 10)],
    ).to(memory_format=layout)
    for parameter, array in zip(network.parameters(), start, strict=True):
        parameter.data.copy_(torch.from_numpy(array.T))
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
    return run, num_parameters, lambda x: forward(torch.from_numpy(x)).detach().numpy()


def repeated(tf, kernels, times=1):
    """Do as if in an iteration each kernel were to be run so many times."""

    @tf.function
    def repeat(kernel, number):
        result = kernel()
        for _ in tf.range(number - 1):
            tf.autograph.experimental.set_loop_options(parallel_iterations=1)
            result = kernel()
        return result

    def run(iterations):
        for kernel in kernels:
            repeat(kernel, tf.constant(round(iterations * times)))

    return run, None, None


def kernels_of_an_iteration(tf):
    """Return functions that run one of TensorFlow's kernels each, forward or for a gradient."""
    conv = partial(tf.nn.conv2d, strides=1, padding='SAME')
    pool = partial(tf.nn.max_pool2d, ksize=2, strides=2, padding='SAME')

    def gradient(function, arrays, i):
        with tf.GradientTape() as tape:
            tape.watch(arrays)
            result = function(*arrays)
        return tape.gradient(result, arrays[i])

    kernels = []
    for function, *shapes in [
        (conv, (BATCH, 28, 28, 1), (5, 5, 1, 16)),
        (pool, (BATCH, 28, 28, 16)),
        (conv, (BATCH, 14, 14, 16), (5, 5, 16, 36)),
        (pool, (BATCH, 14, 14, 36)),
        (tf.matmul, (BATCH, 1764), (1764, 128)),
        (tf.matmul, (BATCH, 128), (128, 10)),
    ]:
        arrays = [tf.random.normal(shape) for shape in shapes]
        kernels += [partial(gradient, function, arrays, i) for i in range(len(arrays))]
        if function is not pool:  # whose gradient needs what it finds, so that both are run
            kernels.append(partial(function, *arrays))
    return kernels[1:]  # The images need no gradient.


def interleaved(programs, rounds):
    """Return the seconds [round, program] that programs take, in an order drawn in each round."""
    seconds = np.zeros((rounds + 1, len(programs)))
    for turn in seconds:
        for i in random.sample(range(len(programs)), len(programs)):
            begin = time.perf_counter()
            with capture_output():
                programs[i]()
            turn[i] = time.perf_counter() - begin
    return seconds[1:]  # The first round warms up.


def make_programs():
    """Return, by name, how each program trains, counts its parameters and predicts; and the data."""
    notebook = run_notebook().user_ns
    keras, tf, data, network = (notebook[name] for name in ['keras', 'tf', 'data', 'model'])
    start, train, fit = network.get_weights(), data.train, partial(fit_program, keras, network)
    arrays, best = (train.images, train.labels, BATCH), {'steps_per_execution': EPOCH // 10}
    programs = {
        OURS: (notebook['optimize'], network.count_params(), network.predict_on_batch),
        "TensorFlow 1's graph, session and feed_dict": session_program(tf, train, start),
        '`model.fit`, defaults': fit(arrays),
        '`model.fit`, best': fit([batches(tf, train)], EPOCH, jit_compile=False, **best),
    }
    if importlib.util.find_spec('torch'):
        programs['PyTorch, defaults'] = torch_program(train, start, best=False)
        programs['PyTorch, best'] = torch_program(train, start, best=True)
    matrix = tf.ones((1024, 1024))
    product = partial(tf.matmul, matrix, matrix)
    programs[PRODUCT] = repeated(tf, [product], OPERATIONS / (2 * 1024**3))
    programs[KERNELS] = repeated(tf, kernels_of_an_iteration(tf))
    return programs, data.test


def main(rounds=11, epochs=2):
    """Train, and print the table."""
    (programs, test), iterations = make_programs(), epochs * EPOCH
    processor = re.search('model name.*: (.*)', Path('/proc/cpuinfo').read_text())[1]
    print(f'{processor}, {len(os.sched_getaffinity(0))} threads, load', *os.getloadavg())
    packages = filter(importlib.util.find_spec, ['tensorflow', 'keras', 'numpy', 'torch'])
    print(*(f'{name} {version(name)}' for name in packages), sep=', ')
    counts = [num_parameters for _, num_parameters, _ in programs.values() if num_parameters]
    print(f'{rounds} rounds of {iterations} iterations; parameters of each program:', *counts)
    assert len(set(counts)) == 1, 'not the same network'

    seconds = interleaved([partial(run, iterations) for run, _, _ in programs.values()], rounds)
    speeds = dict(zip(programs, iterations / seconds.T, strict=True))
    print(f'\n| program | iterations/s | {OURS} to it | of {PRODUCT} | of {KERNELS} | accuracy |')
    print('| --- ' * 6 + '|')
    for name, speed in speeds.items():
        ratio, predict, accuracy = speeds[OURS] / speed, programs[name][2], ''
        if predict:
            accuracy = f'{(predict(test.images).argmax(axis=1) == test.cls).mean():.1%}'
        spread = f'{np.median(ratio):.2f} ({ratio.min():.2f}–{ratio.max():.2f})'
        limits = [f'{np.median(speed / speeds[limit]):.0%}' for limit in (PRODUCT, KERNELS)]
        print('|', ' | '.join([name, f'{np.median(speed):.0f}', spread, *limits, accuracy]), '|')


if __name__ == '__main__':
    main(*map(int, sys.argv[1:]))
