"""Measures how fast the notebook trains, beside other programs that train the same network.

All run in an order that is drawn anew in each round, from the same weights and on batches of the
same images. PyTorch takes part if it is installed. The README here says more about the programs.
"""

import io
import multiprocessing
import os
import random
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stdout
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from tests.lesson import CODE, replace_text, run_cells, with_new_model
from tests.measurements.tables import grouped, print_table, read, write

ROUNDS, BATCH, EPOCH = 9, 64, 860  # EPOCH iterations have all 55,000 images in batches of 64.
OURS, PRODUCT, KERNELS = 'this notebook', 'a large matrix product', 'the kernels alone'
OLD_KERNELS = 'this notebook, TF_ENABLE_ONEDNN_OPTS=0'

# A program is a pair: what trains for an epoch, and what predicts.


def load(variable):
    """Load the notebook into this process, with TF_ENABLE_ONEDNN_OPTS at 0 or 1; return it."""
    global notebook
    imports = replace_text(CODE['imports-code'], "OPTS'] = '1'", f"OPTS'] = '{variable}'")
    with redirect_stdout(io.StringIO()):
        notebook = run_cells('performance-0-test', {'imports-code': imports})
    return notebook


def train_notebook():
    """Train by the own function of the notebook that this process has loaded."""
    with redirect_stdout(io.StringIO()):
        notebook.optimize(EPOCH)


def predict_notebook(images):
    """Return what that notebook's model says to images."""
    return notebook.model.predict_on_batch(images)


def old_kernels_program():
    """Train by the notebook's own function in a process of its own, as imports read the variable."""
    context = multiprocessing.get_context('spawn')
    pool = ProcessPoolExecutor(1, mp_context=context, initializer=load, initargs=['0'])

    def elsewhere(function):
        return lambda *args: pool.submit(function, *args).result()

    return elsewhere(train_notebook), elsewhere(predict_notebook)


def random_batch(nb, images, labels):
    """Return images and labels, drawn with replacement inside a graph."""
    indices = nb.tf.random.uniform([BATCH], maxval=len(images), dtype=nb.tf.int32)
    return nb.tf.gather(images, indices), nb.tf.gather(labels, indices)


def graph_program(nb):
    """Train by a loop of up to 100 iterations inside one graph."""
    tf, own = nb.tf, with_new_model(nb)
    own.model.optimizer.build(own.model.trainable_variables)
    images, labels = tf.constant(nb.data.train.images), tf.constant(nb.data.train.labels)

    @tf.function
    def loop(iterations):
        for _ in tf.range(iterations):
            own.train_step(*random_batch(nb, images, labels))

    def train():
        for done in range(0, EPOCH, 100):
            loop(tf.constant(min(100, EPOCH - done)))

    return train, own.model.predict_on_batch


def session_program(nb):
    """Train as the original did: graph, session and feed_dict."""
    tf, v1, data = nb.tf, nb.tf.compat.v1, nb.data.train
    arrays = nb.model.get_weights()
    with tf.Graph().as_default():
        weights = [v1.Variable(array) for array in arrays]
        x, y = v1.placeholder(tf.float32, [None, 784]), v1.placeholder(tf.float32, [None, 10])
        layer = tf.reshape(x, [-1, 28, 28, 1])
        for kernel, biases in [weights[:2], weights[2:4]]:
            layer = tf.nn.relu(tf.nn.conv2d(layer, kernel, 1, 'SAME') + biases)
            layer = tf.nn.max_pool2d(layer, 2, 2, 'SAME')
        fc1, biases1, fc2, biases2 = weights[4:]
        layer = tf.nn.relu(tf.matmul(tf.reshape(layer, [-1, 1764]), fc1) + biases1)
        logits = tf.matmul(layer, fc2) + biases2
        loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(labels=y, logits=logits))
        step = v1.train.AdamOptimizer(1e-4).minimize(loss)
        session = v1.Session()
        session.run(v1.global_variables_initializer())

    def train():
        for _ in range(EPOCH):
            batch = np.random.randint(len(data.images), size=BATCH)
            session.run(step, {x: data.images[batch], y: data.labels[batch]})

    return train, lambda images: session.run(logits, {x: images})


def fit_program(nb, *data, **kwargs):
    """Train by `model.fit`."""
    model = with_new_model(nb).model
    model.compile(model.optimizer, model.loss, **kwargs)
    return partial(model.fit, *data, verbose=0), model.predict_on_batch


def best_fit_program(nb):
    """Train by `model.fit` with random batches by `tf.data`, many steps a call, and no XLA."""
    tf, data = nb.tf, nb.data.train
    images, labels = tf.constant(data.images), tf.constant(data.labels)
    batches = tf.data.Dataset.range(EPOCH).map(lambda _: random_batch(nb, images, labels))
    batches = batches.prefetch(tf.data.AUTOTUNE)
    return fit_program(nb, batches, steps_per_execution=86, jit_compile=False)


def torch_program(nb, best):
    """Train with PyTorch; at its best, channels-last and with fused Adam."""
    import torch
    from torch import nn

    layers = [nn.Unflatten(1, (1, 28, 28))]
    for inputs, outputs in [(1, 16), (16, 36)]:
        layers += [nn.Conv2d(inputs, outputs, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)]
    layers += [nn.Flatten(), nn.Linear(1764, 128), nn.ReLU(), nn.Linear(128, 10)]
    layout = torch.channels_last if best else torch.contiguous_format
    model = nn.Sequential(*layers).to(memory_format=layout)
    for parameter, array in zip(model.parameters(), nb.model.get_weights(), strict=True):
        parameter.data.copy_(torch.from_numpy(array.T))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, fused=best)
    images, cls = torch.from_numpy(nb.data.train.images), torch.from_numpy(nb.data.train.cls)

    def train():
        for _ in range(EPOCH):
            batch = torch.randint(len(images), (BATCH,))
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images[batch]), cls[batch]).backward()
            optimizer.step()

    @torch.no_grad()
    def predict(images):
        return model(torch.from_numpy(images)).numpy()

    return train, predict


def kernels_program(nb, kernels):
    """Run each kernel by itself, once for each iteration."""

    @nb.tf.function
    def repeat(kernel):
        result = kernel()
        for _ in nb.tf.range(EPOCH - 1):
            nb.tf.autograph.experimental.set_loop_options(parallel_iterations=1)
            result = kernel()
        return result

    def train():
        for kernel in kernels:
            repeat(kernel)

    return train, None


def product_program(nb):
    """Multiply two large matrices, with as many multiplications as the layers do."""
    # In the layers, as in this product, there are 976 * 1024 * 626 multiplications for a batch:
    # 64 * (2 * 28**2 * 25 * 16 + 3 * 14**2 * 25 * 16 * 36 + 3 * 1764 * 128 + 3 * 128 * 10)
    left, right = nb.tf.ones((976, 1024)), nb.tf.ones((1024, 626))
    return kernels_program(nb, [partial(nb.tf.matmul, left, right)])


def kernels_of_an_iteration(nb):
    """Return functions that run a kernel each, forward or for a gradient."""
    tf = nb.tf
    conv = partial(tf.nn.conv2d, strides=1, padding='SAME')
    pool = partial(tf.nn.max_pool2d, ksize=2, strides=2, padding='SAME')
    functions = {'Conv2D': conv, 'MaxPooling2D': pool, 'Dense': tf.matmul}

    def gradient(function, arrays, i):
        return tf.gradients(function(*arrays), arrays[i])

    kernels = []
    for layer in nb.model.layers:
        if function := functions.get(type(layer).__name__):
            shapes = [(BATCH, *layer.input.shape[1:]), *(w.shape for w in layer.weights[:1])]
            arrays = [tf.random.normal(shape) for shape in shapes]
            kernels += [partial(gradient, function, arrays, i) for i in range(len(arrays))]
            # The gradient of the pooling needs what it finds, so both are run.
            if function is not pool:
                kernels.append(partial(function, *arrays))
    return kernels[1:]  # The images need no gradient.


def make_programs(nb):
    """Return all programs by name; the limits come last."""
    train = nb.data.train
    programs = {
        OURS: (train_notebook, predict_notebook),
        OLD_KERNELS: old_kernels_program(),
        'the loop in a graph': graph_program(nb),
        "TensorFlow 1's graph, session and feed_dict": session_program(nb),
        '`model.fit`, defaults': fit_program(nb, train.images, train.labels, BATCH),
        '`model.fit`, best': best_fit_program(nb),
    }
    if find_spec('torch'):
        programs['PyTorch, defaults'] = torch_program(nb, best=False)
        programs['PyTorch, best'] = torch_program(nb, best=True)
    programs[PRODUCT] = product_program(nb)
    programs[KERNELS] = kernels_program(nb, kernels_of_an_iteration(nb))
    return programs


def measure():
    """Yield, for each round and program, the seconds of its iterations, and its accuracy then."""
    nb = load('1')
    programs, test = make_programs(nb), nb.data.test
    for turn in range(ROUNDS + 1):  # The first one warms up and does not count.
        rows = {}
        for name in random.sample(list(programs), len(programs)):
            train, predict = programs[name]
            begin = time.perf_counter()
            train()
            seconds, right = time.perf_counter() - begin, ''
            if predict:
                right = f'{np.mean(predict(test.images).argmax(axis=1) == test.cls):.4f}'
            rows[name] = name, turn, EPOCH, f'{seconds:.3f}', right, processor()
        if turn > 0:
            yield from (rows[name] for name in programs)


def print_results():
    """Print the medians of the rounds, of the ratios too, and the last accuracies."""
    rows = read('speed')
    print(f'{rows[0]["processor"]}:\n')
    accuracies = {row['program']: row['accuracy'] for row in rows}
    iterations, seconds = int(rows[0]['iterations']), grouped('speed', 'seconds', 'program')
    speeds = {name: np.divide(iterations, found) for (name,), found in seconds.items()}
    table = []
    for name, speed in speeds.items():
        ratios = speeds[OURS] / speed
        row = [name, f'{np.median(speed):.0f}']
        row += [f'{np.median(ratios):.2f} ({ratios.min():.2f}–{ratios.max():.2f})']
        row += [f'{np.median(speed / speeds[limit]):.0%}' for limit in [PRODUCT, KERNELS]]
        table.append([*row, f'{float(accuracies[name]):.1%}' if accuracies[name] else ''])
    columns = ['program', 'iterations/s', 'this notebook to it']
    columns += [f'of {PRODUCT}', f'of {KERNELS}', 'accuracy']
    print_table(columns, table)


def processor():
    """Return the processor's name, whether it has AVX512-VNNI, and how many threads there are."""
    info = Path('/proc/cpuinfo').read_text()
    name = info.split('model name\t: ')[1].split('\n')[0]
    vnni = 'with' if 'avx512_vnni' in info else 'without'
    return f'{name} {vnni} AVX512-VNNI, {len(os.sched_getaffinity(0))} threads'


if __name__ == '__main__':
    if sys.argv[1:] != ['--tables']:
        write('speed', 'program round iterations seconds accuracy processor', measure())
    print_results()
