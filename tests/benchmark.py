"""Prints how fast the notebook trains, beside other programs that train the same network.

Usage: python tests/benchmark.py [rounds] [epochs], by default 11 rounds of 2 epochs each

All programs run in this process. They start from the same weights and train with Adam on batches
of the same training images, drawn at random with replacement (`model.fit` shuffles arrays instead).
"""

import os
import random
import sys
import time
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from IPython.utils.capture import capture_output

sys.path.append(str(Path(__file__).resolve().parent.parent / 'images'))
from draw_pictures import run_notebook

BATCH, EPOCH = 64, 860  # images; iterations in which `model.fit` goes through all 55,000
SHELL = run_notebook()
keras, tf, data, network = (SHELL.user_ns[name] for name in ['keras', 'tf', 'data', 'model'])
train, start = data.train, network.get_weights()
images, labels = tf.constant(train.images), tf.constant(train.labels)


def session_program():
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
            indices = np.random.randint(len(images), size=BATCH)
            session.run(step, {x: train.images[indices], y: train.labels[indices]})

    return run, weights, lambda images: session.run(logits, {x: images})


def draw(_):
    """Return a random batch for `tf.data`."""
    indices = tf.random.uniform([BATCH], maxval=len(images), dtype=tf.int32)
    return tf.gather(images, indices), tf.gather(labels, indices)


def fresh(**kwargs):
    """Return the notebook's model with its first weights, compiled."""
    model = keras.models.clone_model(network)
    model.set_weights(start)
    model.compile(keras.optimizers.Adam(1e-4, epsilon=1e-8), 'categorical_crossentropy', **kwargs)
    model.optimizer.build(model.trainable_variables)
    return model


def loop_program():
    """Train by the notebook's loop in hundreds, as `optimize` does, but without copying the data."""
    model = fresh()

    def run(iterations):
        for done in range(0, iterations, 100):
            steps = tf.constant(min(100, iterations - done))
            SHELL.user_ns['train'](model, model.optimizer, images, labels, BATCH, steps).numpy()

    return run, model.weights, model.predict_on_batch


def fit_program(*arguments, **kwargs):
    """Train by `model.fit`."""
    model = fresh(**kwargs)

    def run(iterations):
        model.fit(*arguments, epochs=iterations // EPOCH, verbose=0)

    return run, model.weights, model.predict_on_batch


def torch_program(best):
    """Train with PyTorch; at its best, channels-last and with fused Adam."""
    import torch
    from torch import nn

    layers = [nn.Unflatten(1, (1, 28, 28))]
    for inputs, outputs in [(1, 16), (16, 36)]:
        layers += [nn.Conv2d(inputs, outputs, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)]
    layers += [nn.Flatten(), nn.Linear(1764, 128), nn.ReLU(), nn.Linear(128, 10)]
    layout = torch.channels_last if best else torch.contiguous_format
    model = nn.Sequential(*layers).to(memory_format=layout)
    for parameter, array in zip(model.parameters(), start, strict=True):
        parameter.data.copy_(torch.from_numpy(array.T))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, fused=best)
    images, cls = torch.from_numpy(train.images), torch.from_numpy(train.cls)

    def run(iterations):
        for _ in range(iterations):
            batch = torch.randint(len(images), (BATCH,))
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images[batch]), cls[batch]).backward()
            optimizer.step()

    return run, list(model.parameters()), lambda x: model(torch.from_numpy(x)).detach().numpy()


def kernels_program(kernels):
    """Do as if in an iteration each of TensorFlow's kernels were run once, and alone."""

    @tf.function
    def repeat(kernel, times):
        result = kernel()
        for _ in tf.range(times - 1):
            tf.autograph.experimental.set_loop_options(parallel_iterations=1)
            result = kernel()
        return result

    def run(iterations):
        for kernel in kernels:
            repeat(kernel, tf.constant(iterations))

    return run, [], None


def kernels_of_an_iteration():
    """Return functions that run a kernel each, forward or for a gradient."""
    conv = partial(tf.nn.conv2d, strides=1, padding='SAME')
    pool = partial(tf.nn.max_pool2d, ksize=2, strides=2, padding='SAME')
    functions = {'Conv2D': conv, 'MaxPooling2D': pool, 'Dense': tf.matmul}

    def gradient(function, arrays, i):
        return tf.gradients(function(*arrays), arrays[i])

    kernels = []
    for layer in network.layers:
        if function := functions.get(type(layer).__name__):
            shapes = [(BATCH, *layer.input.shape[1:]), *(w.shape for w in layer.weights[:1])]
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


def main(rounds=11, epochs=2):
    """Train, and print the table."""
    batches = tf.data.Dataset.range(EPOCH).map(draw).prefetch(tf.data.AUTOTUNE)
    # How each program trains, its weights, and how it predicts; the limits come last.
    programs = {
        'this notebook': (SHELL.user_ns['optimize'], network.weights, network.predict_on_batch),
        'its loop, data as tensors': loop_program(),
        "TensorFlow 1's graph, session and feed_dict": session_program(),
        '`model.fit`, defaults': fit_program(train.images, train.labels, BATCH),
        '`model.fit`, best': fit_program(batches, steps_per_execution=86, jit_compile=False),
    }
    if find_spec('torch'):
        programs['PyTorch, defaults'] = torch_program(best=False)
        programs['PyTorch, best'] = torch_program(best=True)
    # In the layers, as in this product, there are 976 * 1024 * 626 multiplications for a batch:
    # 64 * (2 * 28**2 * 25 * 16 + 3 * 14**2 * 25 * 16 * 36 + 3 * 1764 * 128 + 3 * 128 * 10)
    product = partial(tf.matmul, tf.ones((976, 1024)), tf.ones((1024, 626)))
    programs['a large matrix product'] = kernels_program([product])
    programs['the kernels alone'] = kernels_program(kernels_of_an_iteration())

    iterations = epochs * EPOCH
    processor = Path('/proc/cpuinfo').read_text().split('model name\t: ')[1].split('\n')[0]
    print(f'{processor}, {len(os.sched_getaffinity(0))} threads, load', *os.getloadavg())
    packages = filter(sys.modules.get, ['tensorflow', 'keras', 'numpy', 'torch'])
    print(*(f'{name} {sys.modules[name].__version__}' for name in packages), sep=', ')
    counts = [sum(np.prod(w.shape) for w in weights) for _, weights, _ in programs.values()]
    print(f'{rounds} rounds of {iterations} iterations; parameters of each program:', *counts[:-2])
    assert len(set(counts[:-2])) == 1, 'not the same network'

    seconds = interleaved([partial(run, iterations) for run, _, _ in programs.values()], rounds)
    speeds = iterations / seconds.T
    print('\n| program | iterations/s | this notebook to it | its loop to it |', end=' ')
    print('of a large matrix product | of the kernels alone | accuracy |\n' + '| --- ' * 7 + '|')
    for name, speed in zip(programs, speeds, strict=True):
        predict, accuracy = programs[name][2], ''
        if predict:
            accuracy = f'{(predict(data.test.images).argmax(axis=1) == data.test.cls).mean():.1%}'
        ratios = [ours / speed for ours in speeds[:2]]
        spreads = [f'{np.median(r):.2f} ({r.min():.2f}–{r.max():.2f})' for r in ratios]
        limits = [f'{np.median(speed / limit):.0%}' for limit in speeds[-2:]]
        cells = [name, f'{np.median(speed):.0f}', *spreads, *limits, accuracy]
        print('|', ' | '.join(cells), '|')


if __name__ == '__main__':
    main(*map(int, sys.argv[1:]))
