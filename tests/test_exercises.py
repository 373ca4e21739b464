"""The exercises' solutions, typed into the notebook, do as they should; so do odd networks."""

import json
import re

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image, ImageDraw

from tests.lesson import (
    CODE,
    TEXT,
    code_blocks,
    in_new_process,
    replace_lines,
    run_cell,
    run_cells,
    short_training,
    tiny_model,
    with_new_model,
)
from tests.solutions import gpus_solution, solutions

SOLUTIONS = solutions()
CONV = "        layers.Conv2D({}, 5, name='layer_conv{}', **defaults | {{'activation': None}}),\n"
NORM = '        layers.BatchNormalization(), layers.MaxPooling2D(2, 2),\n'
FC = "        layers.Flatten(), layers.Dense(64, name='layer_fc1', **defaults),"
ODD_NETWORKS = {
    'no convolution': FC,
    'one convolution': CONV.format(3, 1) + FC,
    'three convolutions': CONV.format(3, 1) + CONV.format(4, 3) + CONV.format(5, 2) + FC,
    'no hidden layer': '        layers.Flatten(),',
    'batch normalization': CONV.format(7, 1) + NORM + CONV.format(5, 2) + NORM + FC,
}


@pytest.fixture
def solved(loaded, monkeypatch):
    """Return a function that runs a model's cell and those below it, and returns the names."""
    monkeypatch.setattr(plt, 'show', lambda: plt.close('all'))

    def run_to_the_end(model):
        nb = with_new_model(loaded, model)
        ids = list(CODE)
        for cell_id in ids[ids.index('model') + 1 :]:
            layers = re.findall(r'(?:layer|weights|start)_(conv\d)', CODE[cell_id])
            names = [layer.name for layer in nb.model.layers]
            missing = [layer for layer in layers if f'layer_{layer}' not in names]
            if missing:
                # The text says that the error names the layer.
                with pytest.raises((ValueError, KeyError, NameError), match=missing[0]):
                    run_cell(nb, cell_id)
            else:
                run_cell(nb, cell_id, short_training().get(cell_id))
        assert [*nb.accuracies.test] == [0, 1, 5, 10, 16]
        assert [*nb.accuracies.train] == [1]
        return nb

    return run_to_the_end


def activations(nb):
    """Return the names of the layers' activation functions."""
    names = ['layer_conv1', 'layer_conv2', 'layer_fc1', 'layer_fc2']
    return [nb.model.get_layer(name).activation.__name__ for name in names]


def kernels(nb):
    """Return the weights of the layers that have some, without the biases."""
    return [layer.kernel.numpy() for layer in nb.model.layers if hasattr(layer, 'kernel')]


def test_exercise_1_has_sigmoid_in_all_layers_but_the_last(solved):
    nb = solved(SOLUTIONS['sigmoid'])
    assert activations(nb) == ['sigmoid', 'sigmoid', 'sigmoid', 'softmax']


def test_exercise_2_has_sigmoid_in_one_layer(solved):
    nb = solved(SOLUTIONS['sigmoid in fc1'])
    assert activations(nb) == ['relu', 'relu', 'sigmoid', 'softmax']


def test_exercise_3_has_an_l2_penalty_on_the_weights_of_all_layers(solved):
    nb = solved(SOLUTIONS['L2'])
    expected = [1e-3 * np.sum(kernel**2) for kernel in kernels(nb)]
    assert [float(loss) for loss in nb.model.losses] == pytest.approx(expected, rel=1e-4)
    assert len(expected) == 4


def test_exercise_3_has_an_l2_penalty_on_the_weights_of_one_layer(solved):
    nb = solved(SOLUTIONS['L2 in fc1'])
    expected = 1e-3 * np.sum(nb.model.get_layer('layer_fc1').kernel.numpy() ** 2)
    assert [float(loss) for loss in nb.model.losses] == pytest.approx([expected], rel=1e-4)


def test_exercise_4_gives_the_same_probabilities_without_the_reshape_layer(loaded, solved):
    nb = solved(SOLUTIONS['reshape outside'])
    assert nb.model.input_shape == (None, 28, 28, 1)
    assert 'Reshape' not in [type(layer).__name__ for layer in nb.model.layers]
    for part in [nb.data.train, nb.data.validation, nb.data.test]:
        assert part.images.shape == (len(part.cls), 28, 28, 1)
    plain = with_new_model(loaded)
    plain.model.set_weights(nb.model.get_weights())
    images = plain.data.test.images
    y_pred = plain.model.predict(images, verbose=0)
    assert np.allclose(nb.model.predict(nb.data.test.images, verbose=0), y_pred, atol=1e-5)
    assert np.allclose(nb.model(nb.x), y_pred[:9], atol=1e-5)


def test_exercise_5_prints_that_dropout_is_active_in_training_alone(solved, capsys):
    nb = solved(SOLUTIONS['dropout'])
    layers = [type(layer).__name__ for layer in nb.model.layers]
    assert layers[layers.index('Dropout') - 1 :] == ['Dense', 'Dropout', 'Dense']
    capsys.readouterr()
    run_cell(nb, 'exercise-5', code_blocks('exercise-5')[1])
    printed = capsys.readouterr().out
    assert re.fullmatch(r'training=True: (0\.\d+)\ntraining=False: 0\.0\n', printed)
    assert float(printed.split()[1]) > 0.001


def test_exercise_6_has_strides_in_place_of_pooling(solved):
    nb = solved(SOLUTIONS['strides'])
    assert 'MaxPooling2D' not in [type(layer).__name__ for layer in nb.model.layers]
    shapes = [nb.model.get_layer(name).output.shape[1:] for name in ['layer_conv1', 'layer_conv2']]
    assert shapes == [(14, 14, 16), (7, 7, 36)]


def test_exercise_6_compares_networks_on_the_same_batches_with_the_same_seed(loaded):
    nb = with_new_model(loaded)
    batches = []
    step = nb.train_step

    def noting_step(images, labels):
        nb.tf.py_function(lambda batch: batches.append(batch.numpy()), [images], [])
        step(images, labels)

    nb.train_step = noting_step
    for model in [CODE['model'], SOLUTIONS['strides']]:
        for source in ['keras.utils.set_random_seed(3)', model, CODE['compile']]:
            run_cell(nb, 'exercise-6', source)
        nb.optimize(2)
    assert len(batches) == 4
    assert np.array_equal(batches[0], batches[2]) and np.array_equal(batches[1], batches[3])
    assert not np.array_equal(batches[0], batches[1])


def test_exercise_7_has_other_filters(solved):
    nb = solved(SOLUTIONS['3×3 filters, 32 and 72'])
    assert [kernel.shape for kernel in kernels(nb)[:2]] == [(3, 3, 1, 32), (3, 3, 32, 72)]
    assert nb.model.count_params() == 474_130


def test_exercise_8_has_one_more_convolution_which_can_be_plotted(solved, monkeypatch):
    nb = solved(SOLUTIONS['one more convolution'])
    assert nb.model.get_layer('layer_conv3').output.shape[1:] == (14, 14, 64)
    assert nb.model.count_params() == 438_478
    monkeypatch.setattr(plt, 'show', lambda: None)
    nb.plot_conv_output('layer_conv3', nb.image)
    assert len(plt.gcf().axes) == 64 + 1
    plt.close('all')
    nb.plot_conv_weights(nb.get_weights_variable('layer_conv3'), input_channel=35)
    assert len(plt.gcf().axes) == 64 + 1
    plt.close('all')


def test_exercise_9_has_less_than_5_percent_of_the_parameters(solved):
    nb = solved(SOLUTIONS['8 and 16 filters, no fc1'])
    assert nb.model.count_params() == 11_274
    assert 'layer_fc1' not in [layer.name for layer in nb.model.layers]


def test_exercise_10_prints_the_biases_of_the_layers(ours, capsys):
    ours.model.set_weights([np.random.random(w.shape) for w in ours.model.get_weights()])
    (print_biases,) = code_blocks('exercise-10')
    run_cell(ours, 'exercise-10', print_biases)
    words = capsys.readouterr().out.replace('[', ' ').replace(']', ' ').split()
    assert [words[0], words[17]] == ['layer_conv1', 'layer_conv2']
    biases = [ours.model.get_weights()[i] for i in (1, 3)]
    assert [float(word) for word in words[1:17]] == pytest.approx(biases[0], abs=1e-6)
    assert [float(word) for word in words[18:]] == pytest.approx(biases[1], abs=1e-6)


# Exercise 14: several machines, or several GPUs of one


def first_iterations(edits):
    """Return what five iterations make of a quick model, and how many devices took part."""
    nb = run_cells(until='example-errors-code', edits={**edits, 'model': tiny_model()})
    nb.optimize(5)
    devices = nb.tf.distribute.get_strategy().num_replicas_in_sync
    return [weight.tolist() for weight in nb.model.get_weights()], devices


def test_exercise_14_gives_the_same_weights_on_several_gpus():
    """The devices have to be set before TensorFlow begins, so this takes another process."""
    divided, devices = in_new_process(first_iterations, gpus_solution())
    plain, _ = first_iterations({})
    assert devices == 2
    for weight, expected in zip(divided, plain, strict=True):
        assert np.allclose(weight, expected, atol=5e-6)


# Exercise 13: an image of your own


def draw_digit(path, lines, size, width, ink=0, paper=255):
    """Save a picture of lines between places, which are parts of its size."""
    picture = Image.new('RGB', size, (paper, paper, paper))
    pen = ImageDraw.Draw(picture)
    for points in lines:
        places = [(x * size[0], y * size[1]) for x, y in points]
        pen.line(places, fill=(ink, ink, ink), width=width, joint='curve')
    picture.save(path)


@pytest.mark.parametrize(
    ('lines', 'size', 'width', 'ink', 'paper'),
    [
        ([[(0.55, 0.1), (0.9, 0.1), (0.7, 0.6)]], (400, 300), 20, 0, 255),
        ([[(0.2, 0.5), (0.22, 0.95)]], (200, 320), 16, 0, 255),
        ([[(0.1, 0.6), (0.5, 0.65)], [(0.1, 0.6), (0.1, 0.8)]], (900, 500), 40, 40, 225),
        ([[(0.3, 0.2), (0.3, 0.5), (0.7, 0.5)], [(0.6, 0.3), (0.6, 0.9)]], (64, 64), 5, 0, 200),
    ],
    ids=['seven at the upper right', 'one at the lower left', 'wide, gray paper', 'small four'],
)
def test_exercise_13_reads_a_digit_in_the_form_of_mnist(
    nb, tmp_path, lines, size, width, ink, paper
):
    read_digit, _ = code_blocks('exercise-13')
    run_cell(nb, 'exercise-13', read_digit)
    draw_digit(tmp_path / 'digit.png', lines, size, width, ink, paper)
    image = nb.read_digit(tmp_path / 'digit.png')
    assert image.shape == (1, 784) and image.dtype == np.float32
    picture = image.reshape(28, 28)
    assert picture.min() == 0 and 0.9 < picture.max() <= 1
    rows, columns = np.nonzero(picture)
    height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
    assert 19 <= max(height, width) <= 20
    points = np.array(lines[0] + lines[-1]) * size
    drawn_width, drawn_height = np.ptp(points, axis=0)
    assert (height > width) == (drawn_height > drawn_width)
    center = [np.average(places, weights=picture[rows, columns]) for places in (rows, columns)]
    assert center == pytest.approx([14, 14], abs=1)
    # Not turned, nor mirrored: what was drawn is where ink is now.
    drawn = np.array(Image.open(tmp_path / 'digit.png').convert('L')) < (ink + paper) / 2
    top, left = np.argwhere(drawn).min(axis=0)
    bottom, right = np.argwhere(drawn).max(axis=0) + 1
    part = Image.fromarray(drawn[top:bottom, left:right]).resize((width, height))
    box = picture[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    assert np.mean((box > 0.5) == np.array(part)) > 0.85


def test_exercise_13_prints_the_three_largest_probabilities(nb, tmp_path, capsys):
    read_digit, show = code_blocks('exercise-13')
    draw_digit(tmp_path / 'digit.png', [[(0.3, 0.2), (0.6, 0.2), (0.4, 0.8)]], (280, 280), 25)
    nb.optimize(100)
    capsys.readouterr()
    run_cell(nb, 'exercise-13', read_digit)
    run_cell(nb, 'exercise-13', show, folder=tmp_path)
    y_pred = nb.model(nb.read_digit(tmp_path / 'digit.png')).numpy()[0]
    best = np.argsort(-y_pred)[:3]
    expected = ''.join(f'{cls}: {100 * y_pred[cls]:.1f}%\n' for cls in best)
    assert capsys.readouterr().out == expected
    (ax,) = plt.gcf().axes
    assert ax.get_xlabel() == 'True: ?'
    assert np.allclose(ax.images[0].get_array().squeeze(), nb.own_image.reshape(28, 28))


# Other code in the exercises


def test_the_accuracy_on_the_validation_set_takes_one_line(nb):
    (line,) = code_blocks('exercises')
    predicted = np.argmax(nb.model(nb.data.validation.images), axis=1)
    cls = np.where(np.arange(5000) % 10, predicted, (predicted + 1) % 10)
    nb.data.validation.labels = np.eye(10, dtype=np.float32)[cls]
    assert eval(line, vars(nb)) == pytest.approx(0.9)


def test_exercise_14_shows_a_valid_configuration_of_two_workers():
    (config,) = re.findall("TF_CONFIG='(.+)'", TEXT['exercise-14'])
    config = json.loads(config)
    assert len(config['cluster']['worker']) == 2
    assert config['task'] == {'type': 'worker', 'index': 0}


def test_the_texts_with_code_are_those_that_have_tests():
    """A new block of code in the text needs a test, and a place in this list."""
    training = ['optimize', 'close']
    exercises = [f'exercise-{number}' for number in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 13, 14)]
    with_code = [cell_id for cell_id in TEXT if code_blocks(cell_id)]
    assert with_code == [*training, 'exercises', *exercises]


@pytest.mark.parametrize('name', ODD_NETWORKS)
def test_odd_networks_are_trained_and_tested_down_to_the_end(solved, name):
    nb = solved(replace_lines(CODE['model'], ODD_NETWORKS[name], 'layer_conv1', 'layer_fc1'))
    assert nb.model.output_shape == (None, 10)
    start, now = nb.weights_start['layer_fc2'][0], nb.model.get_layer('layer_fc2').kernel.numpy()
    rate = float(nb.model.optimizer.learning_rate)
    assert rate < np.abs(now - start).max() < 100 * rate
