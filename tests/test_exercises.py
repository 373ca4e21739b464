"""Each exercise's solution, typed into the notebook, does what the exercise asks for."""

import difflib

import exercises
import pytest
from reader import pictures, reading, text


@pytest.fixture(scope='module')
def kernel():
    """Run the cells that come before the training, and keep the kernel."""
    with reading() as reader:
        reader.hurry()
        ids = reader.ids()
        reader.run(*ids[: ids.index('performance-0-test')])
        reader.original = reader.cells['model'].source
        yield reader


@pytest.fixture
def reader(kernel):
    """Give the kernel, with the data as they were and then the model's cell, too."""
    kernel.type(
        'for part in [data.train, data.validation, data.test]:\n'
        '    part.images = part.images.reshape(-1, img_size_flat)'
    )
    yield kernel
    kernel.cells['model'].source = kernel.original


def typed(reader, name, most=None):
    """Edit the model's cell as a solution says and run from there to the end.

    At most so many lines may be taken out or put in. Returns the outputs by cell.
    """
    source = exercises.apply(reader, name)
    changes = [
        line[0]
        for line in difflib.ndiff(reader.original.splitlines(), source.splitlines())
    ]
    assert 0 < max(changes.count('+'), changes.count('-')) <= (most or 99)
    reader.cells['model'].source = source
    outputs = {cell_id: reader.run(cell_id) for cell_id in reader.ids(first='model')}
    for cell_id, parts in outputs.items():
        assert not [p.text for p in parts if p.get('name') == 'stderr'], cell_id
    assert 'Accuracy on Test-Set' in text(outputs['performance-10000-test'])
    for cell_id in ('weights-conv1-code', 'weights-conv2-code', 'output-conv2-code'):
        assert pictures(outputs[cell_id])
    return outputs


def activations(reader):
    """Return the names of the activation functions of the layers that have weights."""
    names = '[layer.activation.__name__ for layer in model.layers if layer.weights]'
    return reader.type(f'print(*{names})').split()


def test_exercise_1_makes_all_layers_but_the_last_use_sigmoid(reader):
    typed(reader, 'sigmoid', most=1)
    assert activations(reader) == ['sigmoid', 'sigmoid', 'sigmoid', 'softmax']


def test_exercise_2_makes_one_layer_use_sigmoid_and_the_others_relu(reader):
    typed(reader, 'sigmoid in fc1', most=1)
    assert activations(reader) == ['relu', 'relu', 'sigmoid', 'softmax']


@pytest.mark.parametrize(
    ('name', 'layers'),
    [
        ('L2', ['layer_conv1', 'layer_conv2', 'layer_fc1', 'layer_fc2']),
        ('L2 in fc1', ['layer_fc1']),
    ],
)
def test_exercise_3_adds_the_squares_of_the_weights_and_not_the_biases(
    reader, name, layers
):
    """The loss is larger by c * sum(w ** 2), also after the biases have grown."""
    typed(reader, name, most=1)
    reader.type(
        f'layers = [model.get_layer(name) for name in {layers}]\n'
        'for layer in model.layers:\n'
        '    if layer.weights:\n'
        '        layer.bias.assign(tf.ones_like(layer.bias))\n'
        'images, labels = next(batches)\n'
        'y_pred = model(images, training=True)\n'
        'loss = model.compute_loss(x=images, y=labels, y_pred=y_pred)\n'
        'cross_entropy = keras.losses.categorical_crossentropy(labels, y_pred)\n'
        'penalty = 1e-3 * sum((layer.kernel.numpy() ** 2).sum() for layer in layers)\n'
        'assert penalty > 0.1\n'
        'assert np.isclose(loss - tf.reduce_mean(cross_entropy), penalty, rtol=1e-4)'
    )


def test_exercise_3_trains_towards_smaller_weights(reader):
    """After equal iterations on equal batches the weights are smaller than without."""
    norms = []
    for source in (reader.original, exercises.apply(reader, 'L2')):
        reader.cells['model'].source = source.replace('L2(1e-3)', 'L2(1.0)')
        reader.type('keras.utils.set_random_seed(1)')
        reader.run('model', 'compile', 'batches-code', 'performance-100-optimize')
        norm = 'np.linalg.norm(model.get_layer("layer_fc1").kernel)'
        norms.append(float(reader.type(f'print({norm})')))
    assert norms[1] < 0.99 * norms[0]


def test_exercise_4_computes_the_same_without_the_reshape_layer(reader):
    reader.run('model')
    reader.type(
        'outside, flat = model.get_weights(), data.test.images[:100]\n'
        'y_outside = model(flat).numpy()'
    )
    typed(reader, 'reshape outside')
    reader.type(
        'assert model.input_shape == (None, 28, 28, 1)\n'
        'assert not [l for l in model.layers if isinstance(l, Reshape)]\n'
        'model.set_weights(outside)\n'
        'y_inside = model(data.test.images[:100]).numpy()\n'
        'assert np.allclose(y_inside, y_outside, atol=1e-6)'
    )


def test_exercise_5_drops_out_in_training_and_not_in_testing(reader):
    typed(reader, 'dropout', most=1)
    reader.type(
        'images = data.test.images[:20]\n'
        'testing = [model(images, training=False).numpy() for _ in range(2)]\n'
        'training = [model(images, training=True).numpy() for _ in range(2)]\n'
        'assert (testing[0] == testing[1]).all()\n'
        'assert (training[0] != training[1]).any()\n'
        'assert (model.predict_on_batch(images) == testing[0]).all()'
    )
    shown = reader.type(exercises.solution(reader, 5)[1]).splitlines()
    assert shown[0].startswith('training=True: 0.')
    assert shown[1] == 'training=False: 0.0'


def test_exercise_6_has_the_same_shapes_by_strides_and_no_pooling(reader):
    reader.run('model')
    shapes = 'print([l.output.shape for l in model.layers if {}])'
    before = reader.type(shapes.format('"pool" in l.name or l.name >= "layer_fc"'))
    typed(reader, 'strides', most=4)
    assert reader.type(shapes.format('"pool" in l.name')) == '[]\n'
    after = reader.type(shapes.format('l.name >= "layer_"'))
    assert after == before
    assert '(None, 14, 14, 16), (None, 7, 7, 36)' in after


def test_exercise_6_compares_networks_on_the_same_batches(reader):
    """With the same seed, the batches are the same for both of a pair."""
    batches = []
    for source in (reader.original, exercises.apply(reader, 'strides')):
        reader.cells['model'].source = source
        reader.type('keras.utils.set_random_seed(1)')
        reader.run('model', 'compile', 'batches-code')
        labels = 'np.stack([next(batches)[1] for _ in range(3)])'
        batches.append(reader.type(f'print(np.argmax({labels}, axis=2))'))
    assert batches[0] == batches[1]


def test_exercise_7_changes_the_filters(reader):
    typed(reader, 'kernels', most=2)
    shapes = reader.type('print(weights_conv1.shape, weights_conv2.shape)')
    assert shapes == '(3, 3, 1, 32) (3, 3, 32, 72)\n'


def test_exercise_8_adds_a_layer_whose_weights_can_be_plotted(reader):
    typed(reader, 'third conv', most=1)
    reader.type(
        'assert iterations_done() == int(model.optimizer.iterations) > 0\n'
        'plot_conv_weights(get_weights_variable("layer_conv3"))\n'
        'plot_conv_output("layer_conv3", image)'
    )


def test_exercise_9_is_a_fraction_of_the_network(reader):
    reader.run('model')
    whole = int(reader.type('print(model.count_params())'))
    typed(reader, 'simplest')
    simple = int(reader.type('print(model.count_params())'))
    assert simple < whole / 20
    assert f'{simple:,}' in reader.cells['exercise-9'].source


def test_exercise_10_prints_the_biases_of_the_layers(reader):
    (code,) = exercises.solution(reader, 10)
    assert len(code.splitlines()) <= 2
    reader.run('model')
    reader.type(
        'biases = [np.arange(n, dtype=np.float32) for n in (16, 36)]\n'
        'model.get_layer("layer_conv1").bias.assign(biases[0])\n'
        'model.get_layer("layer_conv2").bias.assign(-biases[1])'
    )
    expected = 'print("layer_conv1", biases[0])\nprint("layer_conv2", -biases[1])'
    assert reader.type(code) == reader.type(expected)


@pytest.mark.parametrize('number', [11, 12])
def test_exercises_without_code_have_a_hint_to_begin_with(kernel, number):
    source = kernel.cells[f'exercise-{number}'].source
    assert '<summary>Hint</summary>' in source
    assert '```' not in source
