"""The network and its training: by hand, rerun, edited, interrupted, and repeated."""

import re

import pytest
from reader import LINE, SPY, pictures, reading, replaced, text

# TensorFlow warns when models are trained so shortly that few calls fall on each new graph.
OTHER = re.compile(r'Time usage: \d:\d\d:\d\d\n|WARNING:tensorflow:.*retracing.*\n')
HELPERS = """
from unittest.mock import patch
whole, first = (data.train, data.test), history
now = lambda model: np.concatenate([w.ravel() for w in model.get_weights()])
right = lambda x, y: (np.argmax(model(x, training=False), axis=1) == np.argmax(y, axis=1)).mean()
count = lambda: int(model.optimizer.iterations)
"""
CHECKS = {
    'first weights are from He, the last from Glorot, and biases are zero': """
exec(cells['model'])
limits = [2 * np.sqrt(2 / n) / 0.8796 for n in (25, 400, 1764)] + [np.sqrt(6 / (128 + 10))]
for name, limit in zip(['conv1', 'conv2', 'fc1', 'fc2'], limits):
    layer = model.get_layer(f'layer_{name}')
    assert 0.9 < np.abs(layer.kernel).max() / limit < 1.001 and not np.any(layer.bias)""",
    'the network by hand computes the same probabilities and the same loss': """
exec(cells['model'])
y_keras, y_pred, given = model(x).numpy(), None, iter(model.trainable_variables)
new_weights = new_biases = lambda *args, **kwargs: next(given).value
exec(cells['direct-graph-code'])
assert next(given, None) is None and np.abs(y_pred.numpy() - y_keras).max() < 1e-5
assert abs(loss - np.mean(keras.losses.categorical_crossentropy(y_true, y_keras))) < 1e-5""",
    'batches are drawn at random from all images, with their own labels': """
data.train = SimpleNamespace(images=data.train.images[:100], labels=data.train.labels[:100])
optimize(50)
labels = {image.tobytes(): label for image, label in zip(data.train.images, data.train.labels)}
drawn = [(image.tobytes(), label) for x, y in seen for image, label in zip(x, y)]
assert all((labels[image] == label).all() for image, label in drawn)
assert len({image for image, _ in drawn}) == 100 and len({x.tobytes() for x, y in seen}) == 50""",
    'every hundredth accuracy is recorded, that on the last batch after its update': """
model.optimizer.learning_rate = 0.1
for n, recorded in [(0, 0), (1, 1), (0, 1), (99, 1), (1, 2), (250, 4), (50, 5), (100, 6)]:
    optimize(n)
    assert [*history.train] == [*range(1, 601, 100)][:recorded]
    if count() % 100 == 1:
        assert abs(history.train[count()] - right(*seen[-1])) < 1e-3
assert len(seen) == count() == 501""",
    'a changed batch size, training-set or optimizer is used by the next call': """
optimize(1)
train_batch_size = 100
optimize(1)
data.train = SimpleNamespace(images=1 - data.train.images, labels=1 - data.train.labels)
optimize(1)
assert [len(x) for x, y in seen] == [64, 100, 100] and min(map(np.mean, seen[-1])) > 0.5
exec(cells['compile'].replace('1e-4', '0.0'))
before = now(model)
optimize(3)
assert (before == now(model)).all() and count() == 3 and len(seen) == 6""",
    'dropout is active in training and not in testing': """
exec(cells['tiny'].replace('Flatten()', 'Flatten(), keras.layers.Dropout(0.99)'))
exec(cells['compile'])
before = model.layers[-1].kernel.numpy()
optimize(1)
assert 0 < (model.layers[-1].kernel.numpy() != before).any(axis=1).mean() < 0.6
optimize(100)
print_test_accuracy()
assert abs(history.train[101] - right(*seen[-1])) < 1e-3
assert history.test[101] == right(data.test.images, data.test.labels)""",
    'an L2 penalty is part of the loss that is trained': """
exec(cells['tiny'].replace('name=', 'kernel_regularizer=keras.regularizers.L2(1), name='))
exec(cells['compile'].replace('1e-4', '1e-2'))
before = now(model)
optimize(50)
assert np.linalg.norm(now(model)) < 0.5 * np.linalg.norm(before)""",
    'negative outputs are not drawn as if they were zero': """
exec(cells['model'].replace("'relu'", 'None'))
with patch('__main__.plot_grid') as drawn:
    plot_conv_output('layer_conv1', data.test.images[0])
(images,), style = drawn.call_args
assert images.shape == (16, 28, 28) and style['vmin'] == images.min() < -0.1""",
}


def printed(outputs):
    """Return the iterations in the lines of `optimize`, which has to print nothing else."""
    assert LINE.sub('', OTHER.sub('', text(outputs))) == ''
    return [int(number) for number in LINE.findall(text(outputs))]


@pytest.fixture(scope='module')
def twice():
    """Run every cell twice in a row; give the kernel, which has all outputs, and a tiny model."""
    with reading() as reader:
        reader.outputs = {i: [reader.run(i), reader.run(i)] for i in reader.ids}
        model = reader.cells['model']
        reader.cells['tiny'] = replaced(model, 'layer_conv1', '        Flatten(),', end='layer_fc2')
        reader.type(f'cells = {reader.cells!r}\n{HELPERS}')
        yield reader


@pytest.fixture
def tiny(twice):
    """Give the kernel with all as it was, but a tiny network, and a note of the batches it gets."""
    twice.type('data.train, data.test = whole')
    twice.run('seed-code', 'tiny', 'compile', 'train-code', 'optimize-code')
    twice.type(SPY)
    return twice


def test_every_cell_runs_twice_in_a_row_and_training_counts_on(twice):
    training = [run for i in twice.ids if i.endswith('-optimize') for run in twice.outputs[i]]
    assert [printed(run) for run in training] == [[1], [], [], [], [], [], [], []]
    twice.type('assert ([*first.train], [*first.test]) == ([1], [0, 2, 10, 20, 32])')
    assert [len(pictures(run)) for run in twice.outputs['performance-10000-test']] == [2, 2]


def test_the_seed_makes_all_texts_repeatable(twice):
    with reading() as other:
        for cell_id in other.ids[: other.ids.index('performance-100-test')]:
            for output in twice.outputs[cell_id]:
                again = OTHER.sub('', text(other.run(cell_id)))
                assert again == OTHER.sub('', text(output)), cell_id


@pytest.mark.parametrize('code', CHECKS.values(), ids=CHECKS)
def test_in_the_kernel(tiny, code):
    tiny.type(code)


@pytest.mark.parametrize(
    'cells',
    [
        'compile compile',
        'tiny tiny compile performance-0-test',
        'tiny optimize! train-code optimize-code optimize! seed-code compile',
        'tiny weights-code performance-pred optimize! compile keras-summary-code',
    ],
)
def test_the_new_model_is_trained_or_there_is_an_error(tiny, cells):
    """Where `optimize!` comes before the compilation, nothing is trained."""
    tiny.type('optimize(3); old, kept = model, now(model)')
    for cell_id in cells.split():
        if cell_id == 'optimize!':
            assert 'optimizer' in tiny.error('before = now(model); optimize(1)').splitlines()[-1]
            tiny.type('assert (before == now(model)).all()')
        else:
            tiny.run(cell_id)
    assert printed(tiny.execute('before = now(model); optimize(3)')) == [1]
    tiny.type('assert (before != now(model)).any() and count() == 3')
    tiny.type(f'assert (kept == now(old)).all() == {"tiny" in cells}')


@pytest.mark.parametrize(
    ('where', 'start', 'done'), [('train_step', 0, 0), ('train', 0, 1), ('train', 50, 101)]
)
def test_training_goes_on_after_an_interruption_as_if_there_were_none(tiny, where, start, done):
    """`train_step` is interrupted while the graph is recorded, `train` after it has run."""
    tiny.type('optimize(150); expected = now(model)')
    tiny.run('seed-code', 'tiny', 'compile')
    tiny.type(f'optimize({start})')
    error = tiny.error(f"""
def interrupted(*args, plain={where}):
    plain(*args)
    raise KeyboardInterrupt

with patch('__main__.{where}', interrupted):
    optimize(150)""")
    assert 'KeyboardInterrupt' in error
    assert printed(tiny.execute(f'optimize({150 - done})')) == [i for i in (1, 101) if i > done]
    tiny.type('assert np.abs(expected - now(model)).max() < 1e-5')


def test_the_plots_of_a_network_with_no_error_and_with_one(tiny):
    tiny.type('cls = np.argmax(model.predict(data.test.images, verbose=0), axis=1)')
    tiny.type('data.test = SimpleNamespace(images=data.test.images, cls=cls)')
    for number in (0, 1):
        tiny.type(f'cls[:{number}] = (cls[:{number}] + 1) % 10')
        outputs = tiny.run('performance-10000-test')
        assert f'({999 - number} / 999)' in text(outputs) and len(pictures(outputs)) == 1 + number
