"""Each exercise's solution, typed into the notebook, does as it should; so do odd networks."""

import re

import pytest
from reader import EDITS, SPY, blocks, reading, replaced, solved

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
# What must be true when an edited network has been run down to the end.
CHECKS = {
    'sigmoid': "activations == ['sigmoid', 'sigmoid', 'sigmoid', 'softmax']",
    'sigmoid in fc1': "activations == ['relu', 'relu', 'sigmoid', 'softmax']",
    'L2': 'np.isclose(sum(model.losses), 1e-3 * sum(np.sum(kernel**2) for kernel in kernels))',
    'L2 in fc1': 'np.isclose(sum(model.losses), 1e-3 * np.sum(kernels[2] ** 2))',
    'reshape outside': """model.input_shape[1:] == data.test.images.shape[1:] == (28, 28, 1)
plain.set_weights(model.get_weights())
assert np.allclose(model(data.test.images[:9]), plain(x), atol=1e-6)""",
    'strides': 'not any(isinstance(layer, MaxPooling2D) for layer in model.layers)',
    '3×3 filters, 32 and 72': '[k.shape for k in kernels[:2]] == [(3, 3, 1, 32), (3, 3, 32, 72)]',
    'one more convolution': 'plot_conv_output("layer_conv3", image) is None',
    '8 and 16 filters, no fc1': 'model.count_params() == 11274',
}
AFTER = """
activations = [layer.activation.__name__ for layer in model.layers if hasattr(layer, 'activation')]
kernels = [layer.kernel.numpy() for layer in model.layers if hasattr(layer, 'kernel')]
assert [*history.test] == [0, 1, 5, 10, 16] and """


@pytest.fixture(scope='module')
def reader():
    """Give a kernel in which all cells down to the model's have been run."""
    with reading() as reader:
        reader.run(*reader.ids[: reader.ids.index('model') + 1])
        # Drawing is for other tests to see.
        reader.type("plain, plt.show = model, lambda: plt.close('all')")
        yield reader


@pytest.mark.parametrize('name', [*EDITS, *NETWORKS])
def test_an_edited_network_is_trained_and_tested_down_to_the_end(reader, name):
    """Where layers are missing, the cells that plot them alone raise Keras' own error."""
    if name in EDITS:
        model = solved(reader.cells, name)
    else:
        model = replaced(reader.cells['model'], 'layer_conv1', NETWORKS[name], end='layer_fc2')
    reader.run('load-split-code')
    reader.execute(model)
    for code in [reader.cells[i] for i in reader.ids[reader.ids.index('model') + 1 :]]:
        missing = re.search(r"layer_conv\d(?=')", code)
        if missing and missing[0] not in model:
            assert f'No such layer: {missing[0]}. Existing layers are' in reader.error(code)
        elif 'weights_start[' not in code or 'layer_conv1' in model:
            reader.execute(code)
    reader.type(AFTER + CHECKS.get(name, 'True'))


def test_exercise_5_prints_that_dropout_is_active_in_training_alone(reader):
    reader.execute(solved(reader.cells, 'dropout'))
    printed = reader.type(blocks(reader.cells, 5)[1])
    assert re.fullmatch(r'training=True: 0\.0*[1-9]\d*\ntraining=False: 0\.0\n', printed)


def test_exercise_6_compares_networks_on_the_same_batches_with_the_same_seed(reader):
    reader.run('load-split-code', 'train-code', 'optimize-code')
    reader.type(SPY)
    for model in (reader.cells['model'], solved(reader.cells, 'strides')):
        for code in (reader.cells['seed-code'], model, reader.cells['compile'], 'optimize(3)'):
            reader.execute(code)
    reader.type('drawn = np.array([images for images, _ in seen])')
    reader.type('assert len(drawn) == 6 and (drawn[:3] == drawn[3:]).all()')


def test_exercise_10_prints_the_biases_of_the_layers(reader):
    reader.run('model')
    reader.type('model.set_weights([np.random.random(w.shape) for w in model.get_weights()])')
    expected = 'for i in (1, 2): print(f"layer_conv{i}", model.get_weights()[2 * i - 1])'
    assert reader.type(blocks(reader.cells, 10)[0]) == reader.type(expected)
