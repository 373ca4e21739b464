"""The network and its training: by hand, rerun, edited, interrupted, odd, and repeated."""

import re

import pytest
from exercises import with_layers
from reader import LINE, SPY, pictures, reading, text

# TensorFlow warns when models are trained so shortly that few calls fall on each new graph.
OTHER = re.compile(r'Time usage: \d:\d\d:\d\d\n|WARNING:tensorflow:.*retracing.*\n')
HELPERS = """
whole = data.train, data.test
now = lambda model: np.concatenate([w.ravel() for w in model.get_weights()])
right = lambda x, y: (np.argmax(model(x, training=False), axis=1) == np.argmax(y, axis=1)).mean()
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
    'the accuracy is that on the last batch, after its update': """
model.optimizer.learning_rate = 0.1
for n in [1, 100, 100]:
    optimize(n)
    assert abs(list(history.train.values())[-1] - right(*seen[-1])) < 1e-3""",
    'a changed batch size, training-set or optimizer is used by the next call': """
optimize(2)
train_batch_size = 100
optimize(2)
assert [len(x) for x, y in seen] == [64, 64, 100, 100]
data.train = SimpleNamespace(images=1 - data.train.images, labels=data.train.labels * 0)
optimize(1)
assert seen[-1][0].mean() > 0.5 and not seen[-1][1].any()
data.train = SimpleNamespace(images=whole[0].images[:100], labels=whole[0].labels[:100])
optimize(1)
assert seen[-1][0].mean() < 0.5 and seen[-1][1].sum() == 100
exec(compile_code.replace('1e-4', '0.0'))
before = now(model)
optimize(3)
assert (before == now(model)).all() and len(seen) == 9""",
    'dropout is active in training and not in testing': """
exec(tiny_code.replace('Flatten()', 'Flatten(), keras.layers.Dropout(0.99)'))
exec(compile_code)
before = model.layers[-1].kernel.numpy()
optimize(1)
assert 0 < (model.layers[-1].kernel.numpy() != before).any(axis=1).mean() < 0.6
optimize(100)
print_test_accuracy()
assert abs(history.train[101] - right(*seen[-1])) < 1e-3
assert abs(history.test[101] - right(data.test.images, data.test.labels)) < 1e-9""",
    'an L2 penalty is part of the loss that is trained': """
norms = []
for c in [0, 1]:
    regularizer = f'kernel_regularizer=keras.regularizers.L2({c})'
    exec(tiny_code.replace('name=', f'{regularizer}, name='))
    exec(compile_code.replace('1e-4', '1e-2'))
    optimize(50)
    norms.append(np.linalg.norm(model.layers[-1].kernel))
assert norms[1] < 0.5 * norms[0]""",
    'negative outputs are not drawn as if they were zero': """
exec(model_code.replace("'relu'", 'None'))
plain_show, plt.show = plt.show, lambda: None
plot_conv_output('layer_conv1', data.test.images[0])
plt.show, drawn = plain_show, [image for ax in plt.gcf().axes for image in ax.images]
plt.close('all')
lowest = min(image.get_array().min() for image in drawn)
assert len(drawn) == 16 and lowest < -0.1
assert all(image.norm(lowest) < image.norm(0) - 0.05 for image in drawn)""",
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
        reader.done = reader.value('[*history.train], [*history.test]')
        sources = [reader.cells[name] for name in ('model', 'compile', 'direct-graph-code')]
        sources.append(with_layers(sources[0], '        Flatten(),'))
        reader.type(f'model_code, compile_code, direct_code, tiny_code = {sources!r}\n{HELPERS}')
        reader.original = dict(reader.cells)
        yield reader, outputs


@pytest.fixture
def reader(twice):
    """Give the kernel with the cells, the data and the training as they were."""
    reader = twice[0]
    reader.cells = dict(reader.original)
    reader.type('data.train, data.test = whole')
    reader.run('direct-weights', 'seed-code', 'model', 'compile', 'train-code', 'optimize-code')
    return reader


@pytest.fixture
def tiny(reader):
    """Give the kernel with a network that trains fast, and a note of the batches it gets."""
    reader.cells['model'] = with_layers(reader.cells['model'], '        Flatten(),')
    reader.run('seed-code', 'model', 'compile')
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
    assert reader.done == (reports(0, done), tested)
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


@pytest.mark.parametrize('calls', [[0], [1, 99, 900, 0, 1], [250, 50, 2], [101, 100]])
def test_every_hundredth_iteration_is_reported_from_the_first_on(tiny, calls):
    done = 0
    for n in calls:
        assert printed(tiny.type(f'optimize({n})')) == reports(done, done + n)
        done += n
    found = tiny.value('len(seen), int(model.optimizer.iterations), [*history.train]')
    assert found == (done, done, reports(0, done))


ORDERS = """compile
model compile
compile compile train-code
model model compile performance-0-test
model optimize! train-code optimize-code optimize! seed-code compile
model weights-code performance-pred optimize! compile keras-summary-code"""


@pytest.mark.parametrize('cells', ORDERS.splitlines())
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
    tiny.type('assert (before != now(model)).any() and int(model.optimizer.iterations) == 3')
    tiny.type('assert old is model or (kept == now(old)).all()')
    assert tiny.value('old is model') == ('model' not in cells.split())


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
    assert tiny.value('int(model.optimizer.iterations)') == done
    assert printed(tiny.type(f'optimize({150 - done})')) == reports(done, 150)
    tiny.type('assert np.abs(expected - now(model)).max() < 1e-5')


CONV = "        Conv2D({}, 5, name='layer_conv{}', **defaults | {{'activation': None}}),\n"
NORM = '        keras.layers.BatchNormalization(), MaxPooling2D(2, 2),\n'
FC = "        Flatten(), Dense(64, name='layer_fc1', **defaults),"
NETWORKS = {
    'no convolution': (FC, '12'),
    'one convolution': (CONV.format(3, 1) + FC, '2'),
    'three convolutions': (CONV.format(3, 1) + CONV.format(4, 3) + CONV.format(5, 2) + FC, ''),
    'no hidden layer': ('        Flatten(),', '12'),
    'batch normalization': (CONV.format(7, 1) + NORM + CONV.format(5, 2) + NORM + FC, ''),
}


@pytest.mark.parametrize(('layers', 'missing'), NETWORKS.values(), ids=NETWORKS)
def test_an_odd_network_is_trained_and_tested_to_the_end(reader, layers, missing):
    """Where layers are missing, the cells that plot them alone raise Keras' own error."""
    reader.cells['model'] = with_layers(reader.cells['model'], layers)
    for cell_id in reader.ids[reader.ids.index('model') :]:
        (number,) = re.findall(r"layer_conv(\d)'", reader.cells[cell_id])[:1] or ['none']
        if number in missing and cell_id != 'model':
            error = reader.error(reader.cells[cell_id])
            assert f'No such layer: layer_conv{number}. Existing layers are' in error
        elif '1' not in missing or cell_id != 'weights-change-code':
            outputs = reader.run(cell_id)
            drawn = re.match('(curve|weights-conv|output-conv)|performance-10+-test', cell_id)
            assert not drawn or pictures(outputs)
    assert reader.value('[*history.test]') == [0, 1, 5, 10, 16]


@pytest.mark.parametrize('number', [0, 1])
def test_the_plots_of_a_network_with_no_error_and_with_one(reader, number):
    reader.type(f"""
cls = np.argmax(model.predict(data.test.images, verbose=0), axis=1)
cls[:{number}] = (cls[:{number}] + 1) % 10
data.test = SimpleNamespace(images=data.test.images, cls=cls)
""")
    outputs = reader.run('performance-10000-test')
    assert f'({999 - number} / 999)' in text(outputs) and len(pictures(outputs)) == 1 + number
