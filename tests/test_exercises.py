"""Each exercise's solution, typed into the notebook, does what the exercise asks for."""

import pytest
from exercises import blocks, solved
from reader import reading, text

# For each edit of the model's cell: what must hold when it has been run down to the end.
CHECKS = {
    'sigmoid': "assert activations() == ['sigmoid', 'sigmoid', 'sigmoid', 'softmax']",
    'sigmoid in fc1': "assert activations() == ['relu', 'relu', 'sigmoid', 'softmax']",
    'L2': 'check_penalty(layers())',
    'L2 in fc1': 'check_penalty(layers()[2:3])',
    'reshape outside': """
assert model.input_shape == (None, 28, 28, 1) and data.test.images.shape == (999, 28, 28, 1)
assert not any(isinstance(layer, Reshape) for layer in model.layers)
model.set_weights(plain.get_weights())
assert np.allclose(model(data.test.images), plain(data.test.images.reshape(-1, 784)), atol=1e-6)
""",
    'dropout': 'exec(dropout_code)',
    'strides': """
assert not any(isinstance(layer, MaxPooling2D) for layer in model.layers)
shapes = [layer.output.shape for layer in layers()[:2]]
assert shapes == [l.output.shape for l in plain.layers if isinstance(l, MaxPooling2D)]
""",
    'kernels': """
shapes = tuple(weights_conv1.shape), tuple(weights_conv2.shape)
assert shapes == ((3, 3, 1, 32), (3, 3, 32, 72))
""",
    'third conv': """
plot_conv_weights(get_weights_variable('layer_conv3'))
plot_conv_output('layer_conv3', image)
""",
    'simplest': 'assert model.count_params() < plain.count_params() / 20',
}
HELPERS = """
plt.show = lambda: plt.close('all')  # Drawing is for other tests to see.

def layers():
    return [layer for layer in model.layers if layer.weights]

def activations():
    return [layer.activation.__name__ for layer in layers()]

def check_penalty(layers_with_l2):
    for layer in layers():
        layer.bias.assign(tf.ones_like(layer.bias))
    y_pred = model(x)
    loss = model.compute_loss(x=x, y=y_true, y_pred=y_pred)
    cross_entropy = tf.reduce_mean(keras.losses.categorical_crossentropy(y_true, y_pred))
    penalty = 1e-3 * sum((layer.kernel.numpy() ** 2).sum() for layer in layers_with_l2)
    assert penalty > 0.1 and np.isclose(loss - cross_entropy, penalty, rtol=1e-4)
"""


@pytest.fixture(scope='module')
def reader():
    """Give a kernel in which all cells above the model have been run."""
    with reading() as reader:
        reader.run(*reader.ids[: reader.ids.index('model')])
        reader.type(f'{HELPERS}\ndropout_code = {blocks(reader.cells, 5)[1]!r}')
        reader.original = reader.cells['model']
        yield reader


def start(reader, source):
    """Make the data anew and run the model's cell with this source."""
    reader.cells['model'] = source
    reader.run('load-split-code', 'seed-code', 'model')


@pytest.mark.parametrize('name', CHECKS)
def test_the_solution_is_typed_and_works_down_to_the_end(reader, name):
    start(reader, reader.original)
    reader.type('plain = model')
    start(reader, solved(reader.cells, name))
    output = text(reader.run(*reader.ids[reader.ids.index('model') + 1 :]))
    assert output.count('Accuracy on Test-Set') == 5
    assert reader.value('int(model.optimizer.iterations)') == 16
    printed = reader.type(CHECKS[name])
    if name == 'dropout':
        training, testing = printed.splitlines()
        assert training.startswith('training=True: ') and float(training.split()[1]) > 1e-3
        assert testing == 'training=False: 0.0'


def test_exercise_6_compares_networks_on_the_same_batches(reader):
    """With the same seed, the same random numbers choose the images for both."""
    reader.run('train-code', 'optimize-code')
    reader.cells['model'] = reader.original
    reader.type("""
seen, plain_step = [], train_step

def train_step(model, optimizer, images, labels):
    tf.py_function(lambda x: seen.append(x.numpy()), [images], [])
    plain_step(model, optimizer, images, labels)
""")
    for source in (reader.original, solved(reader.cells, 'strides')):
        start(reader, source)
        reader.run('compile')
        reader.type('optimize(3)')
    reader.type('assert len(seen) == 6 and (np.array(seen[:3]) == np.array(seen[3:])).all()')


def test_exercise_10_prints_the_biases_of_the_layers(reader):
    start(reader, reader.original)
    reader.type('biases = [np.arange(n, dtype=np.float32) for n in (16, 36)]')
    for i in (0, 1):
        reader.type(f'model.get_layer("layer_conv{i + 1}").bias.assign(biases[{i}])')
    expected = 'print("layer_conv1", biases[0]); print("layer_conv2", biases[1])'
    assert reader.type(blocks(reader.cells, 10)[0]) == reader.type(expected)
