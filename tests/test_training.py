"""The network and its training: by hand, rerun, edited, interrupted, and repeated."""

import re

import pytest
from reader import LINE, SPY, pictures, reading, text, with_layers

# TensorFlow warns when models are trained so shortly that few calls fall on each new graph.
OTHER = re.compile(r'Time usage: \d:\d\d:\d\d\n|WARNING:tensorflow:.*retracing.*\n')
HELPERS = """
whole, first = (data.train, data.test), history
now = lambda model: np.concatenate([w.ravel() for w in model.get_weights()])
right = lambda x, y: (np.argmax(model(x, training=False), axis=1) == np.argmax(y, axis=1)).mean()
count = lambda: int(model.optimizer.iterations)
"""
INTERRUPTION = """
plain = {0}

@tf.autograph.experimental.do_not_convert
def {0}(*args):
    global {0}
    {0} = plain
    {0}(*args)
    raise KeyboardInterrupt
"""
CHECKS = {
    'first weights are from He, the last from Glorot, and biases are zero': """
exec(model_code)
limits = [2 * np.sqrt(2 / n) / 0.8796 for n in (25, 400, 1764)] + [np.sqrt(6 / (128 + 10))]
for name, limit in zip(['conv1', 'conv2', 'fc1', 'fc2'], limits):
    layer = model.get_layer(f'layer_{name}')
    assert 0.9 < np.abs(layer.kernel).max() / limit < 1.001 and not np.any(layer.bias)""",
    'the network by hand computes the same probabilities and the same loss': """
exec(model_code)
y_keras, y_pred, given = model(x).numpy(), None, iter(model.trainable_variables)
new_weights = new_biases = lambda *args, **kwargs: next(given).value
exec(direct_code)
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
optimize(2)
train_batch_size = 100
optimize(2)
assert [len(x) for x, y in seen] == [64, 64, 100, 100]
data.train = SimpleNamespace(images=1 - data.train.images, labels=data.train.labels * 0)
optimize(1)
assert seen[-1][0].mean() > 0.5 and not seen[-1][1].any()
exec(compile_code.replace('1e-4', '0.0'))
before = now(model)
optimize(3)
assert (before == now(model)).all() and len(seen) == 8""",
    'dropout is active in training and not in testing': """
exec(tiny_code.replace('Flatten()', 'Flatten(), keras.layers.Dropout(0.99)'))
exec(compile_code)
before = model.layers[-1].kernel.numpy()
optimize(1)
assert 0 < (model.layers[-1].kernel.numpy() != before).any(axis=1).mean() < 0.6
optimize(100)
print_test_accuracy()
assert abs(history.train[101] - right(*seen[-1])) < 1e-3
assert history.test[101] == right(data.test.images, data.test.labels)""",
    'an L2 penalty is part of the loss that is trained': """
norms = []
for c in [0, 1]:
    exec(tiny_code.replace('name=', f'kernel_regularizer=keras.regularizers.L2({c}), name='))
    exec(compile_code.replace('1e-4', '1e-2'))
    optimize(50)
    norms.append(np.linalg.norm(model.layers[-1].kernel))
assert norms[1] < 0.5 * norms[0]""",
    'negative outputs are not drawn as if they were zero': """
exec(model_code.replace("'relu'", 'None'))
plain_grid, plot_grid, drawn = plot_grid, lambda *args, **style: drawn.append((*args, style)), []
plot_conv_output('layer_conv1', data.test.images[0])
plot_grid, ((images, style),) = plain_grid, drawn
assert images.shape == (16, 28, 28) and style['vmin'] == images.min() < -0.1""",
}


def reports(start, end):
    """Return the iterations to be reported on the way from start to end."""
    return [i + 1 for i in range(start, end) if i % 100 == 0]


def printed(output):
    """Return the iterations in the lines of `optimize`, which has to print nothing else."""
    assert LINE.sub('', OTHER.sub('', output)) == ''
    return [int(number) for number in LINE.findall(output)]


@pytest.fixture(scope='module')
def twice():
    """Run every cell twice in a row; give the kernel and all outputs."""
    with reading() as reader:
        outputs = {i: [reader.run(i), reader.run(i)] for i in reader.ids}
        sources = [reader.cells[name] for name in ('compile', 'direct-graph-code', 'model')]
        reader.tiny = with_layers(sources[-1], '        Flatten(),')
        codes = 'compile_code, direct_code, model_code, tiny_code'
        reader.type(f'{codes} = {[*sources, reader.tiny]!r}\n{HELPERS}')
        reader.original = reader.cells
        yield reader, outputs


@pytest.fixture
def tiny(twice):
    """Give the kernel with all as it was, but a tiny network, and a note of the batches it gets."""
    reader = twice[0]
    reader.cells = reader.original | {'model': reader.tiny}
    reader.type('data.train, data.test = whole')
    reader.run('direct-weights', 'seed-code', 'model', 'compile', 'train-code', 'optimize-code')
    reader.type(SPY)
    return reader


def test_every_cell_runs_twice_in_a_row_and_training_counts_on(twice):
    reader, outputs = twice
    done, tested = 0, [0]
    for cell_id, n in [(1, 1), (100, 4), (1000, 5), (10_000, 6)]:
        for output in outputs[f'performance-{cell_id}-optimize']:
            assert printed(text(output)) == reports(done, done + n)
            done += n
        tested.append(done)
    reader.type(f'assert ([*first.train], [*first.test]) == ({reports(0, done)}, {tested})')
    assert [len(pictures(output)) for output in outputs['performance-10000-test']] == [2, 2]


def test_the_seed_makes_all_texts_repeatable(twice):
    with reading() as other:
        for cell_id in other.ids[: other.ids.index('performance-100-test')]:
            for output in twice[1][cell_id]:
                again = OTHER.sub('', text(other.run(cell_id)))
                assert again == OTHER.sub('', text(output)), cell_id


@pytest.mark.parametrize('code', CHECKS.values(), ids=CHECKS)
def test_in_the_kernel(tiny, code):
    tiny.type(code)


@pytest.mark.parametrize(
    'cells',
    [
        'compile',
        'model compile',
        'compile compile train-code',
        'model model compile performance-0-test',
        'model optimize! train-code optimize-code optimize! seed-code compile',
        'model weights-code performance-pred optimize! compile keras-summary-code',
    ],
)
def test_the_new_model_is_trained_or_there_is_an_error(tiny, cells):
    """Where `optimize!` comes before the compilation, nothing is trained."""
    tiny.type('optimize(3); old, kept = model, now(model)')
    for cell_id in cells.split():
        if cell_id == 'optimize!':
            tiny.type('before = now(model)')
            assert 'optimizer' in tiny.error('optimize(1)').splitlines()[-1]
            tiny.type('assert (before == now(model)).all()')
        else:
            tiny.run(cell_id)
    tiny.type('before = now(model)')
    assert printed(tiny.type('optimize(3)')) == [1]
    tiny.type('assert (before != now(model)).any() and count() == 3')
    tiny.type(f'assert (old is model) == {"model" not in cells.split()}')
    tiny.type('assert old is model or (kept == now(old)).all()')


@pytest.mark.parametrize(
    ('where', 'start', 'done'), [('train_step', 0, 0), ('train', 0, 1), ('train', 50, 101)]
)
def test_training_goes_on_after_an_interruption_as_if_there_were_none(tiny, where, start, done):
    """`train_step` is interrupted while the graph is recorded, `train` after it has run."""
    tiny.type('optimize(150); expected = now(model)')
    tiny.run('seed-code', 'model', 'compile')
    tiny.type(f'optimize({start})')
    tiny.type(INTERRUPTION.format(where))
    assert 'KeyboardInterrupt' in tiny.error('optimize(150)')
    tiny.type(f'assert count() == {done}')
    assert printed(tiny.type(f'optimize({150 - done})')) == reports(done, 150)
    tiny.type('assert np.abs(expected - now(model)).max() < 1e-5')


@pytest.mark.parametrize('number', [0, 1])
def test_the_plots_of_a_network_with_no_error_and_with_one(tiny, number):
    tiny.type(f"""
cls = np.argmax(model.predict(data.test.images, verbose=0), axis=1)
cls[:{number}] = (cls[:{number}] + 1) % 10
data.test = SimpleNamespace(images=data.test.images, cls=cls)
""")
    outputs = tiny.run('performance-10000-test')
    assert f'({999 - number} / 999)' in text(outputs) and len(pictures(outputs)) == 1 + number
