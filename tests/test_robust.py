"""The notebook in a reader's hands: any order, interruptions, odd networks, safety."""

import ast
import re

import nbformat
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from IPython.core.inputtransformer2 import TransformerManager
from reader import NOTEBOOK, pictures, reading, text

LINE = re.compile(r'Optimization Iteration: +(\d+), Training Accuracy: +\d+\.\d%\n')
TIME = re.compile(r'Time usage: \d:\d\d:\d\d\n')
TESTS = [f'performance-{n}-test' for n in (0, 1, 100, 1000, 10000)]
OPTIMIZE = [cell_id.replace('test', 'optimize') for cell_id in TESTS[1:]]
DRAWN = settings(derandomize=True, database=None, deadline=None)


def reports(start, end):
    """Return the iterations that the original prints on its way from start to end."""
    return [i + 1 for i in range(start, end) if i % 100 == 0]


def printed(output):
    """Return the iterations in the lines that optimize printed; there is nothing else."""
    assert LINE.sub('', TIME.sub('', output, count=1)) == ''
    return [int(number) for number in LINE.findall(output)]


def quiet(outputs):
    """Return a cell's outputs, which must not include a warning."""
    for output in outputs:
        assert output.get('name') != 'stderr', output.text
    return outputs


def steps(reader, cell_id):
    """Return how many iterations a cell asks for."""
    return int(re.search(r'num_iterations=(\d+)', reader.cells[cell_id].source)[1])


def state(reader):
    """Return whether the model is compiled, its iterations, and those in `history`."""
    source = 'model.compiled and int(model.optimizer.iterations)'
    source = f'model.compiled, {source}, [*history.train], [*history.test]'
    return ast.literal_eval(reader.type(f'print(({source}))'))


@pytest.fixture(scope='module')
def twice():
    """Run every cell twice, with less training and testing; give kernel and outputs."""
    with reading() as reader:
        reader.hurry()
        outputs = {
            cell_id: [reader.run(cell_id) for _ in range(2)] for cell_id in reader.ids()
        }
        yield reader, outputs


@pytest.fixture(scope='module')
def reader(twice):
    """Give the kernel in which every cell has been run."""
    return twice[0]


def test_every_cell_run_twice_in_a_row(twice):
    """Training goes on counting, and the lines, history and accuracies are right."""
    reader, outputs = twice
    for pair in outputs.values():
        quiet(pair[0] + pair[1])
    done, tested = 0, [0]
    for cell_id in OPTIMIZE:
        for output in outputs[cell_id]:
            n = steps(reader, cell_id)
            assert printed(text(output)) == reports(done, done + n)
            done += n
        tested.append(done)
    assert done == 2 * (1 + 99 + 9 + 90)
    assert state(reader) == (True, done, reports(0, done), tested)
    right = 'np.argmax(model(data.test.images), axis=1) == data.test.cls'
    count = reader.type(f'print(({right}).sum(), end="")')
    for output in outputs[TESTS[-1]]:
        assert f'({count} / 999)' in text(output)
        assert len(pictures(output)) == 2


def outcome(reader, cell_id, before):
    """Run a cell and return the state that it must lead to from the one before."""
    compiled, done, train, test = before
    if not compiled and cell_id in OPTIMIZE + TESTS:
        error = reader.error(reader.cells[cell_id].source)
        assert re.fullmatch(r'(RuntimeError|ValueError): [^\n]+\.', error)
        assert '. ' not in error
        return before
    output = text(quiet(reader.run(cell_id)))
    if cell_id == 'model':
        return False, False, train, test
    if cell_id == 'compile':
        return True, 0, [], []
    if cell_id in OPTIMIZE:
        end = done + steps(reader, cell_id)
        assert printed(output) == reports(done, end)
        return True, end, train + reports(done, end), test
    if cell_id in TESTS and done not in test:
        return True, done, train, [*test, done]
    return before


@pytest.fixture
def undrawn(reader):
    """Give the kernel with pictures made but not drawn, which takes long."""
    reader.type('show, plt.show = plt.show, lambda: plt.close("all")')
    yield reader
    reader.type('plt.show = show')


@settings(
    DRAWN,
    max_examples=200,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_cells_in_any_order(undrawn, data):
    """They do what they should, or say in a sentence what has to be run first."""
    reader = undrawn
    cells = reader.ids(after='load-labels-code')
    often = ['model', 'compile', 'weights-conv1-code', *OPTIMIZE, *TESTS]
    cell = st.sampled_from(often) | st.sampled_from(cells)
    now = state(reader)
    for cell_id in data.draw(st.lists(cell, min_size=1, max_size=4)):
        now = outcome(reader, cell_id, now)
        assert state(reader) == now
        if cell_id == 'weights-conv1-code':
            same = 'weights_conv1 is model.get_layer("layer_conv1").kernel'
            assert reader.type(f'print({same})') == 'True\n'


INTERRUPT = """
import signal, threading

def interrupt():
    global signalled
    signalled = time.monotonic()
    os.kill(os.getpid(), signal.SIGINT)

def optimize_until(delay):
    '''Train until the signal comes, note what was trained, and return the seconds.'''
    try:
        threading.Timer(delay, interrupt).start()
        optimize(20_000)
        raise AssertionError('The signal was lost.')
    except KeyboardInterrupt:
        stopped = time.monotonic()
    note()
    return stopped - signalled

def note():
    kept.append((iterations_done(), [w.numpy() for w in model.trainable_variables]))

kept = []
"""
FRESH = ['seed-code', 'model', 'compile', 'batches-code']


def test_training_may_be_interrupted_at_any_time(reader):
    """It stops soon, what was trained stays, and going on prints the right lines.

    Each round begins with the same new model, whose graph is recorded first. In the end
    the same iterations are run without an interruption: they give the same weights.
    """
    reader.type(INTERRUPT)
    for delay in [0, 0.1, 0.35, 0.7, 1.2]:
        reader.run(*FRESH)
        for wait in [delay, 0.4]:
            start = state(reader)[1]
            output = reader.type(f'print(optimize_until({wait}))')
            *lines, seconds = output.splitlines(keepends=True)
            done = state(reader)[1]
            assert printed(''.join(lines)) == reports(start, done)
            print(f'signal after {wait} s: {done} iterations, {float(seconds):.2f} s')
            assert float(seconds) < 10

            output = reader.type('optimize(30); note()')
            assert printed(output) == reports(done, done + 30)
            assert state(reader)[1:3] == (done + 30, reports(0, done + 30))

    reader.run(*FRESH)
    reader.type(
        'difference = 0\n'
        'for done, weights in sorted(kept, key=lambda item: item[0]):\n'
        '    optimize(done - iterations_done())\n'
        '    for a, b in zip(weights, model.trainable_variables):\n'
        '        difference = max(difference, np.abs(a - b).max())'
    )
    difference = float(reader.type('print(difference)'))
    print(f'largest difference of a weight: {difference}')
    assert difference < 1e-5  # a step changes the weights by some 1e-4


HEAD = 'Reshape((img_size, img_size, num_channels)),'
OUTPUT = "Dense(num_classes, name='layer_fc2', **defaults | softmax)"
POOL = 'MaxPooling2D(2, 2)'
FC = "Flatten(), Dense(128, name='layer_fc1', **defaults)"


def conv(number, filters=16, size=5):
    """Return the line of a convolutional layer."""
    name = f'layer_conv{number}' if isinstance(number, int) else number
    return f"Conv2D({filters}, {size}, padding='same', name='{name}', **defaults)"


def build(reader, *layers):
    """Put other layers between the first and the last of the model's cell."""
    head, rest = reader.cells['model'].source.split(HEAD)
    tail = rest[rest.rindex('    ]\n)') :]
    body = ',\n        '.join([HEAD.rstrip(','), *layers, OUTPUT])
    reader.cells['model'].source = f'{head}{body},\n{tail}'


@pytest.fixture(scope='module')
def tiny(reader):
    """Give the kernel with a network that trains fast, compiled."""
    build(reader, 'Flatten()')
    reader.run('model', 'compile')
    return reader


@settings(DRAWN, max_examples=20)
@given(numbers=st.lists(st.integers(0, 450), max_size=5))
@example(numbers=[1, 99, 900, 0, 1])
def test_the_lines_are_the_original_ones(tiny, numbers):
    """For any sequence of calls, and `history` holds the same iterations."""
    tiny.type('model.optimizer.iterations.assign(0); history.train.clear()')
    output = tiny.type(f'for n in {numbers}:\n    optimize(n); print("---")')
    done = 0
    for n, part in zip(numbers, output.split('---\n')):
        assert printed(part) == reports(done, done + n)
        assert TIME.search(part)
        done += n
    assert state(tiny)[1:3] == (done, reports(0, done))


@pytest.mark.parametrize('n', [-1, 1.5, 100.0, '100', None, float('inf'), [1]])
def test_optimize_refuses_what_is_not_a_count(tiny, n):
    """Nothing is trained then."""
    before = state(tiny)
    tiny.type('from numpy import inf')
    message = f'num_iterations must be 0, 1, 2, …, not {n!r}.'
    assert tiny.error(f'optimize({n!r})') == f'ValueError: {message}'
    assert state(tiny) == before


@pytest.mark.parametrize('kind', ['int64', 'int32', 'int8', 'uint8'])
def test_optimize_takes_numpys_integers(tiny, kind):
    """Small ones, too, which cannot hold the sum of all iterations."""
    tiny.type('model.optimizer.iterations.assign(200)')
    assert printed(tiny.type(f'optimize(np.{kind}(101))')) == [201, 301]
    assert state(tiny)[1] == 301


PICTURES = {
    'performance-10000-test': 2,
    'curve-code': 1,
    'weights-conv1-code': 1,
    'weights-conv2-code': 1,
    'weights-conv2-1-code': 1,
    'output-image-code': 1,
    'output-conv1-code': 1,
    'output-conv2-code': 1,
}
CONV1 = {'weights-conv1-code', 'output-conv1-code'}
CONV2 = {'weights-conv2-code', 'weights-conv2-1-code', 'output-conv2-code'}
NETWORKS = {
    'one dense layer': (['Flatten()'], CONV1 | CONV2),
    'no convolution': ([FC], CONV1 | CONV2),
    'one convolution': ([conv(1), POOL, FC], CONV2),
    'three convolutions': ([conv(1), POOL, conv(2), POOL, conv(3), FC], set()),
    'another name': ([conv('mine'), POOL, conv(2), POOL, FC], CONV1),
    'single filters': (
        [conv(1, 1), POOL, conv(2, 1), POOL, FC],
        {'weights-conv2-1-code'},
    ),
    '7 and 100 filters': ([conv(1, 7), POOL, conv(2, 100), POOL, FC], set()),
    '36 filters first': ([conv(1, 36), POOL, conv(2, 7), POOL, FC], set()),
    '1x1 kernels': ([conv(1, 16, 1), POOL, conv(2, 36, 1), POOL, FC], set()),
    '7x7 kernels': ([conv(1, 16, 7), POOL, conv(2, 36, 7), POOL, FC], set()),
    'no pooling': ([conv(1), conv(2, 36), FC], set()),
}


@pytest.mark.parametrize('name', NETWORKS)
def test_an_odd_network_runs_to_the_end(reader, name):
    """Each cell below the model gives its pictures, or a sentence in their place."""
    layers, without = NETWORKS[name]
    build(reader, *layers)
    for cell_id in OPTIMIZE:
        source = reader.cells[cell_id].source
        reader.cells[cell_id].source = re.sub(r'=\d+', '=2', source)
    outputs = {
        cell_id: quiet(reader.run(cell_id)) for cell_id in reader.ids(first='model')
    }
    for cell_id, number in PICTURES.items():
        if cell_id in without:
            number = 0
            assert text(outputs[cell_id]).endswith('.\n')
        assert len(pictures(outputs[cell_id])) == number


@pytest.fixture
def labels(reader):
    """Give the kernel, and the test-set its true classes back afterwards."""
    reader.run('model', 'compile')
    reader.type('cls_kept = data.test.cls')
    yield reader
    reader.type('data.test.cls = cls_kept')


@pytest.mark.parametrize('number', [0, 1, 8])
def test_a_network_with_few_errors_or_none(labels, number):
    """The labels are set to the predictions, but for a few."""
    labels.type(
        'data.test.cls = model.predict(data.test.images, verbose=0).argmax(axis=1)\n'
        f'data.test.cls[:{number}] += 1; data.test.cls %= 10'
    )
    output = quiet(labels.run('performance-10000-test'))
    assert f'({999 - number} / 999)' in text(output)
    assert ('There are no errors among' in text(output)) == (number == 0)
    assert len(pictures(output)) == (2 if number else 1)


@pytest.mark.parametrize('also_true', [False, True])
def test_a_network_that_predicts_a_single_class(labels, also_true):
    """Even if that class is the only true one."""
    labels.type('model.layers[-1].bias.assign(1000 * np.eye(10)[3])')
    if also_true:
        labels.type('data.test.cls = np.full(999, 3)')
    output = quiet(labels.run('performance-10000-test'))
    assert len(pictures(output)) == (1 if also_true else 2)


@pytest.mark.parametrize('factor', [0, float('nan')])
def test_a_network_that_has_gone_astray(labels, factor):
    """Its weights are all zero, or not numbers; every cell has its output still."""
    build(labels, conv(1), POOL, conv(2), POOL, FC)
    labels.run('model', 'compile')
    labels.type(
        f'model.set_weights([w * float("{factor}") for w in model.get_weights()])'
    )
    for cell_id, number in PICTURES.items():
        assert len(pictures(quiet(labels.run(cell_id)))) == number


@pytest.fixture(scope='module')
def code():
    """Give the code of all cells, as Python."""
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    transform = TransformerManager().transform_cell
    return ''.join(transform(c.source) for c in cells if c.cell_type == 'code')


def test_there_are_no_commands_but_the_two_for_plots(code):
    """No shell, and of the magics those that set how plots are shown."""
    lines = [line for line in code.splitlines() if 'get_ipython' in line]
    assert [line.split('(', 2)[2] for line in lines] == [
        "'matplotlib', 'inline')",
        "'config', \"InlineBackend.figure_formats = ['retina']\")",
    ]


def test_nothing_is_unpickled_or_evaluated(code):
    """Neither by name nor as an argument."""
    names = set()
    for node in ast.walk(ast.parse(code)):
        for field in ('id', 'attr', 'arg', 'name', 'module'):
            names.update(str(getattr(node, field, '')).split('.'))
    assert not names & {'pickle', 'dill', 'joblib', 'marshal', 'shelve', 'allow_pickle'}
    assert not names & {'eval', 'exec', '__import__', 'importlib'}
    assert not names & {'subprocess', 'system', 'popen', 'load', 'load_model'}


def test_downloads_use_https_and_sums_for_every_file(code):
    """No address in the code is anything but HTTPS, and only one line downloads."""
    found = {
        node.targets[0].id: node.value
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    mirrors = ast.literal_eval(found['mirrors'])
    assert len(mirrors) > 1
    assert all(mirror.startswith('https://') for mirror in mirrors)
    assert set(re.findall(r'\w+://', code)) == {'https://'}
    sums = ast.literal_eval(found['checksums'])
    assert len(sums) == 4
    assert all(re.fullmatch('[0-9a-f]{64}', value) for value in sums.values())
    assert code.count('get_file(') == code.count('file_hash=checksums[name]') == 1
    assert not re.search(
        r'urlopen|urlretrieve|requests|verify|_create_unverified', code
    )


def test_two_kernels_give_the_same_numbers(tmp_path):
    """The seed makes the lines and the weights repeatable."""
    lines, weights = [], []
    for name in ('a', 'b'):
        with reading() as reader:
            ids = reader.ids()
            reader.run(*ids[: ids.index('optimize-code') + 1])
            lines.append(LINE.findall(reader.type('optimize(300)')))
            path = tmp_path / f'{name}.npz'
            reader.type(f'np.savez({str(path)!r}, *model.get_weights())')
        with np.load(path) as arrays:
            weights.append([arrays[key] for key in arrays])
    difference = max(np.abs(a - b).max() for a, b in zip(*weights))
    print(f'largest difference of a weight: {difference}')
    assert lines[0] == lines[1]
    assert difference < 1e-5  # a step changes the weights by some 1e-4
