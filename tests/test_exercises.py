"""The solutions of exercises 1 to 10, typed into the notebook, do as they should."""

import re
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest

from tests.lesson import (
    CODE,
    code_blocks,
    insert_below,
    iterations,
    replace_text,
    run_cell,
    short_training,
    tiny_model,
    with_new_model,
)
from tests.measurements.exercises import MODELS as MEASURED
from tests.measurements.tables import read
from tests.solutions import few_images, measuring, random_shifts, solved_models

SOLUTIONS = solved_models()
MODELS = MEASURED | SOLUTIONS


@pytest.mark.slow
@pytest.mark.parametrize('name', [*SOLUTIONS, 'only the first convolution', 'no convolutions'])
def test_the_cells_below_another_model_run_unless_a_layer_is_missing(loaded, monkeypatch, name):
    monkeypatch.setattr(plt, 'show', lambda: plt.close('all'))
    nb = with_new_model(loaded, MODELS[name])
    layers = [layer.name for layer in nb.model.layers]
    ids = list(CODE)
    for cell_id in ids[ids.index('model') + 1 :]:
        plotted = re.findall(r'_(conv\d)', CODE[cell_id])
        missing = [layer for layer in plotted if f'layer_{layer}' not in layers]
        if missing:
            # The text says that the error names the layer.
            with pytest.raises((ValueError, NameError), match=missing[0]):
                run_cell(nb, cell_id)
        else:
            run_cell(nb, cell_id, short_training().get(cell_id))
    assert [*nb.accuracies.test] == [0, 1, 5, 10, 16]
    assert [*nb.accuracies.train] == [1]


def test_networks_have_as_many_parameters_as_were_measured(tiny):
    for row in {row['network']: row for row in read('networks')}.values():
        run_cell(tiny, 'model', MEASURED[row['network']])
        assert tiny.model.count_params() == int(row['parameters']), row['network']


@pytest.mark.parametrize(
    ('name', 'expected'),
    [
        ('sigmoid', ['sigmoid', 'sigmoid', 'sigmoid', 'softmax']),
        ('sigmoid in fc1', ['relu', 'relu', 'sigmoid', 'softmax']),
    ],
)
def test_exercises_1_and_2_have_sigmoid_in_all_layers_or_in_one(tiny, name, expected):
    run_cell(tiny, 'model', MODELS[name])
    layers = [layer for layer in tiny.model.layers if 'layer_' in layer.name]
    assert [layer.activation.__name__ for layer in layers] == expected


def test_exercise_3_takes_1000_images_with_their_labels(tiny):
    images, labels = tiny.data.train.images.copy(), tiny.data.train.labels.copy()
    run_cell(tiny, 'exercise-3', few_images())
    assert np.array_equal(tiny.data.train.images, images[:1000])
    assert np.array_equal(tiny.data.train.labels, labels[:1000])


@pytest.mark.parametrize(
    ('name', 'layers'),
    [
        ('L2', ['layer_conv1', 'layer_conv2', 'layer_fc1', 'layer_fc2']),
        ('L2 in fc1', ['layer_fc1']),
    ],
)
def test_exercise_3_has_an_l2_penalty_on_the_weights_of_all_layers_or_of_one(tiny, name, layers):
    run_cell(tiny, 'model', MODELS[name])
    weights = [tiny.model.get_layer(layer).kernel.numpy() for layer in layers]
    expected = [1e-3 * np.sum(weight**2) for weight in weights]
    assert [float(loss) for loss in tiny.model.losses] == pytest.approx(expected, rel=1e-4)


def test_exercise_4_gives_the_same_probabilities_without_the_reshape_layer(loaded):
    nb, plain = with_new_model(loaded, MODELS['reshape outside']), with_new_model(loaded)
    assert nb.model.input_shape == (None, 28, 28, 1)
    for part in vars(nb.data).values():
        assert part.images.shape[1:] == (28, 28, 1)
    plain.model.set_weights(nb.model.get_weights())
    y_pred = plain.model(plain.x)
    assert np.allclose(nb.model(nb.data.test.images[:9]), y_pred, atol=1e-5)
    assert np.allclose(nb.model(nb.x), y_pred, atol=1e-5)


def test_exercise_5_prints_that_dropout_is_active_in_training_alone(tiny, capsys):
    add_dropout, compare = code_blocks('exercise-5')
    run_cell(tiny, 'model', insert_below(tiny_model(), add_dropout, 'layer_fc1'))
    run_cell(tiny, 'exercise-5', compare)
    found = re.fullmatch(r'training=True: (.*)\ntraining=False: 0\.0\n', capsys.readouterr().out)
    assert float(found[1]) > 0.001


def test_exercise_10_prints_the_biases_of_the_layers(full, capsys):
    expected = []
    for name in ['layer_conv1', 'layer_conv2']:
        layer = full.model.get_layer(name)
        layer.bias.assign(np.linspace(-0.9, 0.1, layer.filters))
        expected += [*layer.bias.numpy(), 0.9]
    (print_biases,) = code_blocks('exercise-10')
    run_cell(full, 'exercise-10', print_biases)
    printed = capsys.readouterr().out
    assert re.findall(r'layer_\w+', printed) == ['layer_conv1', 'layer_conv2']
    numbers = re.findall(r'-?\d+\.\d*(?:e-\d+)?', printed)
    assert [float(number) for number in numbers] == pytest.approx(expected, abs=1e-6)


def test_images_are_shifted_at_random_in_training_alone(loaded):
    nb = with_new_model(loaded, MODELS['shifted at random'])
    images = nb.data.test.images[:300]
    y_pred = nb.model(images, training=False).numpy()
    assert not np.allclose(nb.model(images, training=True), y_pred, atol=0.01)
    assert np.array_equal(nb.predict_cls(images), np.argmax(y_pred, axis=1))
    nb.plot_example_errors(np.zeros(999, dtype=int), correct=nb.data.test.cls == 0)
    wrong = np.flatnonzero(nb.data.test.cls)[:9]
    captions = [f'True: {nb.data.test.cls[i]}\nPred: 0 ({y_pred[i, 0]:.0%})' for i in wrong]
    assert [ax.get_xlabel() for ax in plt.gcf().axes] == captions
    for _ in range(2):
        nb.plot_conv_output(nb.model, 'layer_conv1', images[0])
    first, second = (plt.figure(number).axes[4].images[0] for number in plt.get_fignums()[-2:])
    assert np.array_equal(first.get_array(), second.get_array())
    plt.close('all')


# Measuring a change with three seeds


def measured_accuracies(nb, capsys):
    """Run the measuring code, and return the accuracies that it prints for the seeds."""
    capsys.readouterr()
    run_cell(nb, 'exercises', measuring(num_iterations=3))
    lines = capsys.readouterr().out.splitlines()
    assert sum('Iteration:      1,' in line for line in lines) == 3
    return [float(line[:-1]) for line in lines if re.fullmatch(r'\d+\.\d%', line)]


def test_measuring_gives_for_each_seed_what_the_cells_give_after_it(tiny, capsys):
    """Also if the model before has been trained or measured, or acts at random, or is frozen."""
    model = insert_below(tiny_model(), random_shifts(), 'Reshape')
    model = insert_below(model, 'layers.Dropout(0.5),', 'layer_fc1')
    model += "\nmodel.get_layer('layer_fc2').trainable = False"
    run_cell(tiny, 'model', model)
    run_cell(tiny, 'compile', replace_text(CODE['compile'], '1e-4', '1e-3'))
    tiny.optimize(2)
    accuracies = measured_accuracies(tiny, capsys)
    assert len(set(accuracies)) > 1
    assert measured_accuracies(tiny, capsys) == pytest.approx(accuracies, abs=0.5)
    weights, trainable = tiny.model.get_weights(), len(tiny.model.trainable_variables)
    tiny.keras.utils.set_random_seed(3)
    run_cell(tiny, 'model', model)
    run_cell(tiny, 'compile', replace_text(CODE['compile'], '1e-4', '1e-3'))
    tiny.optimize(3)
    assert trainable == len(tiny.model.trainable_variables)
    for weight, expected in zip(weights, tiny.model.get_weights(), strict=True):
        assert np.allclose(weight, expected, atol=1e-6)
    validation = tiny.data.validation
    y_pred = tiny.model(validation.images, training=False)
    correct = np.argmax(y_pred, axis=1) == validation.cls
    assert 100 * np.mean(correct) == pytest.approx(accuracies[-1], abs=0.5)


def test_training_goes_on_to_the_iteration_that_is_wanted(tiny):
    tiny.optimize(3)
    run_cell(tiny, 'exercises', replace_text(code_blocks('exercises')[1], '10_000', '8'))
    assert iterations(tiny) == 8


def test_images_and_labels_of_your_own_are_shuffled_together_and_again_in_the_same_order():
    """Otherwise test images would get among those that the network has trained on."""
    nb = SimpleNamespace(np=np, my_images=np.arange(99), my_cls=np.arange(99))
    orders = []
    for _ in range(2):
        run_cell(nb, 'exercises', code_blocks('exercises')[2])
        assert np.array_equal(nb.shuffled_images, nb.shuffled_cls)
        orders.append(list(nb.shuffled_cls))
    assert orders[0] == orders[1] != sorted(orders[0]) == list(range(99))
