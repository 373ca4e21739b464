"""Each exercise's solution, typed into the notebook, does as it should; so do odd networks."""

import re

import pytest
from reader import SPY, blocks, reading, solved, with_layers

# For each edit of the model's cell: what must be true when it has been run down to the end.
CHECKS = {
    'sigmoid': "activations == ['sigmoid', 'sigmoid', 'sigmoid', 'softmax']",
    'sigmoid in fc1': "activations == ['relu', 'relu', 'sigmoid', 'softmax']",
    'L2': 'np.isclose(sum(model.losses), 1e-3 * sum(np.sum(kernel**2) for kernel in kernels))',
    'L2 in fc1': 'np.isclose(sum(model.losses), 1e-3 * np.sum(kernels[2] ** 2))',
    'reshape outside': 'model.input_shape[1:] == data.test.images.shape[1:] == (28, 28, 1)',
    'dropout': 'np.any(model(x, training=True) != model(x, training=True))',
    'strides': 'not any(isinstance(layer, MaxPooling2D) for layer in model.layers)',
    '3×3 filters, 32 and 72': '[k.shape for k in kernels[:2]] == [(3, 3, 1, 32), (3, 3, 32, 72)]',
    'one more convolution': 'plot_conv_output("layer_conv3", image) is None',
    '8 and 16 filters, no fc1': 'model.count_params() < plain.count_params() / 20',
}
AFTER = """
layers = [layer for layer in model.layers if hasattr(layer, 'kernel')]
activations = [layer.activation.__name__ for layer in layers]
kernels = [layer.kernel.numpy() for layer in layers]
assert [*history.test] == [0, 1, 5, 10, 16] and """


CONV = "        Conv2D({}, 5, name='layer_conv{}', **defaults | {{'activation': None}}),\n"
NORM = '        keras.layers.BatchNormalization(), MaxPooling2D(2, 2),\n'
FC = "        Flatten(), Dense(64, name='layer_fc1', **defaults),"
NETWORKS = {
    'no convolution': FC,
    'one convolution': CONV.format(3, 1) + FC,
    'three convolutions': CONV.format(3, 1) + CONV.format(4, 3) + CONV.format(5, 2) + FC,
    'no hidden layer': '        Flatten(),',
    'batch normalization': CONV.format(7, 1) + NORM + CONV.format(5, 2) + NORM + FC,
}


@pytest.fixture(scope='module')
def reader():
    """Give a kernel in which all cells above the model have been run."""
    with reading() as reader:
        reader.run(*reader.ids[: reader.ids.index('model')])
        reader.type("plt.show = lambda: plt.close('all')")  # Drawing is for other tests to see.
        reader.original = reader.cells['model']
        yield reader


def start(reader, name=None):
    """Run the cells with the data and the model, and the latter again with an edit, if any."""
    reader.cells['model'] = reader.original
    reader.run('load-split-code', 'seed-code', 'model')
    reader.type('plain, flat = model, data.test.images')
    if name in NETWORKS:
        reader.cells['model'] = with_layers(reader.original, NETWORKS[name])
    elif name:
        reader.cells['model'] = solved(reader.cells, name)
    reader.run('seed-code', 'model')


@pytest.mark.parametrize('name', [*CHECKS, *NETWORKS])
def test_an_edited_network_is_trained_and_tested_down_to_the_end(reader, name):
    """Where layers are missing, the cells that plot them alone raise Keras' own error."""
    start(reader, name)
    for cell_id in reader.ids[reader.ids.index('model') + 1 :]:
        missing = re.search(r"layer_conv\d(?=')", reader.cells[cell_id])
        if missing and missing[0] not in reader.cells['model']:
            error = reader.error(reader.cells[cell_id])
            assert f'No such layer: {missing[0]}. Existing layers are' in error
        elif cell_id != 'weights-change-code' or 'layer_conv1' in reader.cells['model']:
            reader.run(cell_id)
    reader.type(AFTER + CHECKS.get(name, 'True'))


def test_exercise_4_gives_the_same_probabilities(reader):
    start(reader, 'reshape outside')
    reader.type('model.set_weights(plain.get_weights())')
    reader.type('assert np.allclose(model(data.test.images), plain(flat), atol=1e-6)')


def test_exercise_5_prints_that_dropout_is_active_in_training_alone(reader):
    start(reader, 'dropout')
    printed = reader.type(blocks(reader.cells, 5)[1])
    assert re.fullmatch(r'training=True: 0\.\d+\ntraining=False: 0\.0\n', printed)


def test_exercise_6_compares_networks_on_the_same_batches(reader):
    """With the same seed, the same random numbers choose the images for both."""
    reader.run('train-code', 'optimize-code')
    reader.type(SPY)
    for name in (None, 'strides'):
        start(reader, name)
        reader.run('compile')
        reader.type('optimize(3)')
    reader.type('drawn = np.array([images for images, _ in seen])')
    reader.type('assert len(drawn) == 6 and (drawn[:3] == drawn[3:]).all()')


def test_exercise_10_prints_the_biases_of_the_layers(reader):
    start(reader)
    reader.type('biases = [np.arange(n, dtype=np.float32) for n in (16, 36)]')
    for i in (0, 1):
        reader.type(f'model.get_layer("layer_conv{i + 1}").bias.assign(biases[{i}])')
    expected = 'print("layer_conv1", biases[0]); print("layer_conv2", biases[1])'
    assert reader.type(blocks(reader.cells, 10)[0]) == reader.type(expected)
