"""The networks, their first weights, and what training does with them."""

import logging
import platform
import re
import tracemalloc
from itertools import islice
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest

from tests.lesson import (
    CODE,
    TEXT,
    code_blocks,
    in_new_process,
    insert_below,
    replace_text,
    run_cell,
    run_cells,
    short_training,
    tiny_model,
    with_new_model,
)

REPORT = re.compile(r'Optimization Iteration: ([ \d]{6}), Training Accuracy: ([ \d]{3}\.\d)%')


def count(nb):
    """Return the number of iterations that the optimizer has counted."""
    return int(nb.model.optimizer.iterations)


def weights(nb):
    """Return all weights of the model in one row."""
    return np.concatenate([weight.ravel() for weight in nb.model.get_weights()])


def accuracy(nb, images, labels):
    """Return the share of images that the model classifies as their labels say."""
    predicted = nb.model(images, training=False)
    return np.mean(np.argmax(predicted, axis=1) == np.argmax(labels, axis=1))


def one_hot(cls):
    """Return one-hot labels of class numbers."""
    return np.eye(10, dtype=np.float32)[cls]


@pytest.fixture
def batches(nb):
    """Return a list that gets each batch that is trained on, as images and labels."""
    seen = []
    step = nb.train_step

    def note(images, labels):
        seen.append((images.numpy(), labels.numpy()))

    def noting_step(images, labels):
        nb.tf.py_function(note, [images, labels], [])
        step(images, labels)

    nb.train_step = noting_step
    return seen


@pytest.fixture
def numbered(nb):
    """Let the training-set have 100 images, each with its number in its first pixel."""
    images = np.zeros((100, 784), dtype=np.float32)
    images[:, 0] = np.arange(100)
    nb.data.train = SimpleNamespace(images=images, labels=one_hot(np.arange(100) // 10))


# Cells


def backend():
    """Return what Keras works on after the notebook's imports."""
    return run_cells(until='seed-code').keras.backend.backend()


def test_keras_works_on_tensorflow_whatever_the_environment_says(monkeypatch):
    monkeypatch.setenv('KERAS_BACKEND', 'jax')
    assert in_new_process(backend) == 'tensorflow'


def onednn():
    """Return whether TensorFlow, after the notebook's imports, uses its fast kernels."""
    nb = run_cells(until='seed-code')
    from tensorflow.python.util import _pywrap_util_port

    assert nb.os.environ['TF_CPP_MIN_LOG_LEVEL'] == '2'
    return _pywrap_util_port.IsMklEnabled()


def test_tensorflow_uses_its_fast_kernels_whatever_the_environment_says(monkeypatch):
    monkeypatch.setenv('TF_ENABLE_ONEDNN_OPTS', '0')
    assert in_new_process(onednn) == (platform.machine() in ('x86_64', 'AMD64'))


def test_every_cell_can_be_run_twice_in_a_row(loaded, monkeypatch):
    monkeypatch.setattr(plt, 'show', lambda: plt.close('all'))
    nb = with_new_model(loaded, tiny_model())
    convolution = "        layers.Conv2D(2, 5, name='{}', **defaults),"
    model = tiny_model()
    for name in ['layer_conv2', 'layer_conv1']:
        model = insert_below(model, convolution.format(name), 'Reshape')
    edits = {'model': model, **short_training()}
    ids = list(CODE)
    for cell_id in ids[ids.index('plot-grid-code') :]:
        for _ in range(2):
            run_cell(nb, cell_id, edits.get(cell_id))
    assert [*nb.accuracies.test] == [0, 2, 10, 20, 32]
    assert [*nb.accuracies.train] == [1]


# The networks


def test_the_network_has_the_layers_of_the_original(ours):
    kinds = [type(layer).__name__ for layer in ours.model.layers]
    assert kinds == [
        'Reshape',
        'Conv2D',
        'MaxPooling2D',
        'Conv2D',
        'MaxPooling2D',
        'Flatten',
        'Dense',
        'Dense',
    ]
    shapes = [layer.output.shape[1:] for layer in ours.model.layers]
    assert shapes == [
        (28, 28, 1),
        (28, 28, 16),
        (14, 14, 16),
        (14, 14, 36),
        (7, 7, 36),
        (1764,),
        (128,),
        (10,),
    ]
    assert ours.model.input_shape == (None, 784)
    for name in ['layer_conv1', 'layer_conv2']:
        layer = ours.model.get_layer(name)
        assert layer.kernel_size == (5, 5) and layer.strides == (1, 1) and layer.padding == 'same'
    for layer in [ours.model.layers[2], ours.model.layers[4]]:
        assert layer.pool_size == layer.strides == (2, 2)
    names = ['layer_conv1', 'layer_conv2', 'layer_fc1', 'layer_fc2']
    activations = [ours.model.get_layer(name).activation.__name__ for name in names]
    assert activations == ['relu', 'relu', 'relu', 'softmax']


@pytest.mark.parametrize(
    ('name', 'inputs', 'tolerance'),
    [('layer_conv1', 25, 0.12), ('layer_conv2', 400, 0.03), ('layer_fc1', 1764, 0.01)],
)
def test_first_weights_of_layers_with_relu_are_from_he(ours, name, inputs, tolerance):
    kernel = ours.model.get_layer(name).kernel.numpy()
    std = np.sqrt(2 / inputs)
    assert kernel.std() == pytest.approx(std, rel=tolerance)
    assert 0.9 < np.abs(kernel).max() / (2 * std / 0.8796) < 1.001  # The tails are cut off.


def test_first_weights_of_the_last_layer_are_from_glorot(ours):
    kernel = ours.model.get_layer('layer_fc2').kernel.numpy()
    limit = np.sqrt(6 / (128 + 10))
    assert 0.98 < np.abs(kernel).max() / limit < 1.001
    assert kernel.std() == pytest.approx(limit / np.sqrt(3), rel=0.06)  # A uniform distribution.


def test_first_biases_are_zero(ours):
    for name in ['layer_conv1', 'layer_conv2', 'layer_fc1', 'layer_fc2']:
        assert not np.any(ours.model.get_layer(name).bias)


def test_the_standard_deviations_of_the_first_weights_are_printed(ours, capsys):
    run_cell(ours, 'run-variables')
    printed = [line.split()[-1] for line in capsys.readouterr().out.splitlines()]
    assert printed == [f'{weight.std():.3f}' for weight in ours.model.get_weights()]


def test_the_network_by_hand_computes_what_the_model_does(ours):
    variables = iter(ours.model.trainable_variables)

    def next_variable(shape):
        variable = next(variables)
        assert list(variable.shape) == list(shape)
        return variable.value

    ours.model.set_weights([np.random.normal(0, 0.1, w.shape) for w in ours.model.get_weights()])
    ours.new_weights = next_variable
    ours.new_biases = lambda length: next_variable([length])
    run_cell(ours, 'direct-graph-code')
    assert not list(variables)
    y_pred = ours.model(ours.x).numpy()
    assert np.allclose(ours.tf.nn.softmax(ours.layer_fc2), y_pred, atol=1e-5)
    expected = ours.model.compute_loss(x=ours.x, y=ours.y_true, y_pred=y_pred)
    assert float(ours.loss) == pytest.approx(float(expected), rel=1e-5)


def test_the_network_by_hand_leaves_no_weights_behind(loaded):
    assert not hasattr(loaded, 'weights_conv1') and not hasattr(loaded, 'y_pred')


def test_new_weights_and_biases_of_the_network_by_hand(nb):
    new = nb.new_weights([100, 200]).numpy()
    assert new.std() == pytest.approx(0.05 * 0.8796, rel=0.03) and 0.095 < np.abs(new).max() <= 0.1
    assert nb.new_biases(3).numpy() == pytest.approx([0.05, 0.05, 0.05])


def test_a_convolutional_layer_by_hand_pools_if_wanted(nb):
    images = np.random.normal(size=(2, 6, 8, 3)).astype(np.float32)
    pooled, new = nb.new_conv_layer(images, 3, filter_size=5, num_filters=7)
    assert pooled.shape == (2, 3, 4, 7) and new.shape == (5, 5, 3, 7)
    plain, new = nb.new_conv_layer(images, 3, filter_size=3, num_filters=4, use_pooling=False)
    assert plain.shape == (2, 6, 8, 4) and new.shape == (3, 3, 3, 4)
    assert np.min(plain) == np.min(pooled) == 0


def test_a_fully_connected_layer_by_hand_has_relu_if_wanted(nb):
    features = np.random.normal(size=(50, 9)).astype(np.float32)
    assert np.min(nb.new_fc_layer(features, 9, 5)) == 0
    assert np.min(nb.new_fc_layer(features, 9, 5, use_relu=False)) < 0


def test_flatten_lays_out_each_image_in_one_row(nb):
    layer = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    flat, num_features = nb.flatten_layer(nb.tf.constant(layer))
    assert num_features == 60 and np.array_equal(flat, layer.reshape(2, 60))


def test_performance_measures_are_those_of_the_nine_images(loaded, capsys):
    nb = with_new_model(loaded)
    for cell_id in ['performance-pred', 'performance-cls-code', 'performance-correct-code']:
        run_cell(nb, cell_id)
    capsys.readouterr()
    run_cell(nb, 'accuracy-code')
    assert np.allclose(nb.y_pred, nb.model(nb.data.test.images[:9]), atol=1e-6)
    assert np.array_equal(nb.y_pred_cls, np.argmax(nb.y_pred, axis=1))
    right = nb.y_pred_cls.numpy() == nb.data.test.cls[:9]
    assert np.array_equal(nb.correct_prediction, right)
    assert capsys.readouterr().out == f'{right.mean():.1%}\n'


def test_get_weights_variable_gives_the_variable_of_the_layer(ours):
    for name in ['layer_conv1', 'layer_conv2']:
        assert ours.get_weights_variable(name) is ours.model.get_layer(name).kernel


# One step


def test_the_optimizer_is_adam_with_the_settings_of_the_original(nb):
    assert isinstance(nb.model.optimizer, nb.keras.optimizers.Adam)
    settings = nb.model.optimizer.get_config()
    expected = {'learning_rate': 1e-4, 'epsilon': 1e-8, 'beta_1': 0.9, 'beta_2': 0.999}
    assert {name: settings[name] for name in expected} == pytest.approx(expected)


def test_the_loss_is_the_mean_cross_entropy(nb):
    images, labels = nb.data.train.images[:7], nb.data.train.labels[:7]
    y_pred = nb.model(images).numpy()
    loss = nb.model.compute_loss(x=images, y=labels, y_pred=y_pred)
    assert float(loss) == pytest.approx(-np.log(y_pred[labels == 1]).mean(), rel=1e-4)


def test_a_plain_call_of_train_step_is_one_step_of_adam(nb):
    keras = nb.keras
    twin = keras.models.clone_model(nb.model)
    twin.set_weights(nb.model.get_weights())
    twin.compile(keras.optimizers.Adam(1e-4, epsilon=1e-8), 'categorical_crossentropy')
    for first in (0, 64):
        images = nb.data.train.images[first : first + 64]
        labels = nb.data.train.labels[first : first + 64]
        before = weights(nb)
        nb.train_step(images, labels)
        twin.train_on_batch(images, labels)
        assert 5e-5 < np.abs(weights(nb) - before).max() < 2e-4
        for weight, expected in zip(nb.model.get_weights(), twin.get_weights(), strict=True):
            assert np.allclose(weight, expected, atol=2e-6)
    assert count(nb) == 2


def test_optimize_takes_the_same_steps_as_plain_calls_of_train_step(nb, batches):
    start = nb.model.get_weights()
    nb.optimize(3)
    trained = weights(nb)
    nb.model.set_weights(start)
    run_cell(nb, 'compile')
    run_cell(nb, 'train-code')
    for images, labels in batches:
        nb.train_step(images, labels)
    assert len(batches) == 3 and np.allclose(weights(nb), trained, atol=2e-6)


def test_an_l2_penalty_is_part_of_the_loss(nb):
    penalty = 'kernel_regularizer=keras.regularizers.L2(1), name='
    run_cell(nb, 'model', tiny_model().replace('name=', penalty))
    run_cell(nb, 'compile', replace_text(CODE['compile'], '1e-4', '1e-2'))
    before = np.linalg.norm(weights(nb))
    nb.optimize(50)
    assert np.linalg.norm(weights(nb)) < 0.6 * before


def test_dropout_is_active_in_training_and_not_in_the_measures(nb, batches):
    run_cell(nb, 'model', insert_below(tiny_model(), 'layers.Dropout(0.99),', 'Flatten()'))
    run_cell(nb, 'compile', replace_text(CODE['compile'], '1e-4', '1e-3'))
    before = nb.model.get_layer('layer_fc1').kernel.numpy()
    nb.optimize(1)
    moved = (nb.model.get_layer('layer_fc1').kernel.numpy() != before).any(axis=1)
    assert 0 < moved.mean() < 0.5  # Weights of pixels that are dropped stay.
    nb.model.layers[2].rate = 0.9
    nb.optimize(100)
    assert nb.accuracies.train[101] == pytest.approx(accuracy(nb, *batches[-1]))
    nb.print_test_accuracy()
    images, labels = nb.data.test.images, nb.data.test.labels
    assert nb.accuracies.test[101] == pytest.approx(accuracy(nb, images, labels))
    with_dropout = np.argmax(nb.model(images, training=True), axis=1) == nb.data.test.cls
    assert nb.accuracies.test[101] > with_dropout.mean() + 0.05


# Batches


@pytest.mark.usefixtures('numbered')
@pytest.mark.parametrize('batch_size', [64, 150])
def test_all_images_are_drawn_before_one_comes_again(nb, batches, batch_size):
    nb.train_batch_size = batch_size
    nb.optimize(20)
    assert [len(images) for images, _ in batches] == [batch_size] * 20
    drawn = np.concatenate([images[:, 0] for images, _ in batches]).astype(int)
    labels = np.concatenate([labels for _, labels in batches])
    assert np.array_equal(labels, one_hot(drawn // 10))
    rounds = drawn[: len(drawn) // 100 * 100].reshape(-1, 100)
    assert np.array_equal(np.sort(rounds), np.tile(np.arange(100), (len(rounds), 1)))
    assert len({tuple(order) for order in rounds}) == len(rounds) >= 12
    assert not np.array_equal(rounds[0], np.arange(100))


def test_batches_come_from_the_whole_training_set(nb, batches):
    nb.data.train.images = np.zeros((55_000, 784), dtype=np.float32)
    nb.data.train.images[:, 0] = np.arange(55_000)
    nb.optimize(30)
    drawn = np.concatenate([images[:, 0] for images, _ in batches])
    assert len(set(drawn)) == 30 * 64
    assert np.quantile(drawn, [0.25, 0.5, 0.75]) == pytest.approx([13750, 27500, 41250], abs=3000)


def test_random_order_has_each_number_once_in_a_round(nb):
    rounds = np.reshape(list(islice(nb.random_order(10), 30)), (3, 10))
    assert np.array_equal(np.sort(rounds), np.tile(np.arange(10), (3, 1)))
    assert len({tuple(order) for order in rounds}) == 3


def test_memory_does_not_grow_with_the_number_of_iterations(nb):
    def interrupted(images, labels):
        raise KeyboardInterrupt

    nb.train_step = interrupted
    tracemalloc.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            nb.optimize(100_000)
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()


# Reports


def test_every_hundredth_accuracy_is_that_on_its_batch_after_the_update(nb, batches, capsys):
    nb.model.optimizer.learning_rate = 0.01
    for iterations, reports in [(0, 0), (1, 1), (0, 1), (99, 1), (1, 2), (250, 4), (50, 5)]:
        nb.optimize(iterations)
        assert [*nb.accuracies.train] == [1, 101, 201, 301, 401][:reports]
        if count(nb) % 100 == 1:
            expected = accuracy(nb, *batches[-1])
            assert nb.accuracies.train[count(nb)] == pytest.approx(expected)
    assert len(batches) == count(nb) == 401
    printed = REPORT.findall(capsys.readouterr().out)
    assert [int(iteration) for iteration, _ in printed] == [*nb.accuracies.train]
    for (_, percent), recorded in zip(printed, nb.accuracies.train.values(), strict=True):
        assert float(percent) == pytest.approx(100 * recorded, abs=0.0501)


def slow_clock(nb, seconds_per_image):
    """Return a clock that goes on only when an image is drawn."""
    plain_order, drawn = nb.random_order, []

    def random_order(num_images):
        for number in plain_order(num_images):
            drawn.append(number)
            yield number

    nb.random_order = random_order
    return lambda: seconds_per_image * len(drawn)


@pytest.mark.parametrize(('shift', 'percent'), [(0, '100.0%'), (1, '  0.0%')])
def test_optimize_prints_the_lines_of_the_original(nb, capsys, shift, percent):
    nb.model.optimizer.learning_rate = 0.0
    nb.data.train.images = nb.data.train.images[:200]
    predicted = np.argmax(nb.model(nb.data.train.images), axis=1)
    nb.data.train.labels = one_hot((predicted + shift) % 10)
    clock = slow_clock(nb, seconds_per_image=3723 / (101 * nb.train_batch_size))
    nb.time = SimpleNamespace(time=clock, monotonic=clock, perf_counter=clock)
    nb.optimize(101)
    assert capsys.readouterr().out == (
        f'Optimization Iteration:      1, Training Accuracy: {percent}\n'
        f'Optimization Iteration:    101, Training Accuracy: {percent}\n'
        'Time usage: 1:02:03\n'
    )


def test_the_test_accuracy_is_printed_and_recorded(nb, capsys):
    nb.optimize(3)
    predicted = np.argmax(nb.model(nb.data.test.images), axis=1)
    nb.data.test.cls = np.where(np.arange(999) % 90, predicted, (predicted + 1) % 10)
    capsys.readouterr()
    nb.print_test_accuracy()
    assert capsys.readouterr().out == 'Accuracy on Test-Set: 98.8% (987 / 999)\n'
    assert nb.accuracies.test == {3: pytest.approx(987 / 999)}
    assert nb.accuracies.train.keys() == {1}


def test_labels_that_are_not_one_hot_are_an_error(nb):
    nb.data.train.labels = nb.data.train.labels.argmax(axis=1)
    nb.model.compile('adam', 'sparse_categorical_crossentropy')
    with pytest.raises(nb.tf.errors.InvalidArgumentError, match='dimension'):
        nb.optimize(1)
    assert not nb.accuracies.train
    with pytest.raises(nb.tf.errors.InvalidArgumentError, match='dimension'):
        nb.accuracy(nb.data.test.images, nb.data.test.cls)


def test_training_writes_no_warnings_but_other_warnings_are_heard(nb, capfd):
    warnings = []
    handler = logging.Handler()
    handler.emit = warnings.append
    logger = logging.getLogger('tensorflow')
    logger.addHandler(handler)
    try:
        for _ in range(8):
            nb.optimize(1)
        nb.print_test_accuracy()
        assert not warnings and not capfd.readouterr().err
        logger.warning('something else')
    finally:
        logger.removeHandler(handler)
    assert [record.getMessage() for record in warnings] == ['something else']


# The loss and a gradient


@pytest.mark.parametrize('cell_id', ['loss-code', 'performance-1-loss'])
def test_the_printed_loss_is_the_average_cross_entropy_of_the_nine_images(ours, capsys, cell_id):
    run_cell(ours, cell_id)
    y_pred = ours.model(ours.x).numpy()
    assert capsys.readouterr().out == f'{-np.log(y_pred[ours.y_true == 1]).mean():.2f}\n'


def test_the_gradient_predicts_the_change_and_the_bias_is_put_back(ours, capsys):
    before, random_state = weights(ours), np.random.get_state()[1].copy()
    run_cell(ours, 'gradient-code')
    printed = re.findall(r'-?\d+\.\d+', capsys.readouterr().out)
    slope, predicted, actual = map(float, printed)
    y_pred = ours.model(ours.x).numpy()
    # The derivative by the bias of a class: its probability, less 1 where it is the true one.
    assert slope == pytest.approx(np.mean(y_pred[:, 3] - ours.y_true[:, 3]), abs=1e-4)
    assert predicted == pytest.approx(0.01 * slope, abs=1e-6)
    assert actual == pytest.approx(predicted, rel=0.02) and actual != predicted
    assert np.array_equal(weights(ours), before)
    assert np.array_equal(np.random.get_state()[1], random_state)


def test_the_loss_for_a_model_without_softmax_is_the_same(nb):
    batch = {'x': nb.x, 'y': nb.y_true}
    expected = float(nb.model.compute_loss(**batch, y_pred=nb.model(nb.x)))
    (loss,) = re.findall(r'# loss=(.+\))\.', CODE['compile'])
    nb.model.get_layer('layer_fc2').activation = None
    nb.model.compile(loss=eval(loss, vars(nb)))
    found = float(nb.model.compute_loss(**batch, y_pred=nb.model(nb.x)))
    assert found == pytest.approx(expected, abs=1e-5)


def test_a_large_nudge_is_as_far_off_as_the_text_says(ours, capsys):
    run_cell(
        ours, 'gradient-code', replace_text(CODE['gradient-code'], 'nudge = 0.01', 'nudge = 0.1')
    )
    _, predicted, actual = map(float, re.findall(r'-?\d+\.\d+', capsys.readouterr().out))
    (percent,) = re.findall(r'With a nudge of 0.1 it is (\d)% off', TEXT['gradient-seen'])
    assert 100 * (actual / predicted - 1) == pytest.approx(int(percent), abs=1)


def test_the_layers_take_as_many_multiplications_as_the_text_says(ours):
    sizes = {}
    for name in ['layer_conv1', 'layer_conv2', 'layer_fc1']:
        layer = ours.model.get_layer(name)
        positions = np.prod(layer.output.shape[1:-1])
        sizes[name] = f'{positions * np.prod(layer.kernel.shape) / 1e6:.1f}'
    text = ' '.join(TEXT['keras-summary-seen'].split())
    assert f'which makes {sizes["layer_fc1"]} million multiplications' in text
    assert f'convolution takes {sizes["layer_conv1"]} million multiplications' in text
    assert f'and the second {sizes["layer_conv2"]} million' in text


def test_loss_and_gradient_leave_the_random_numbers_of_the_training_alone(loaded):
    runs = []
    for cells in [[], ['loss-code', 'gradient-code', 'performance-1-loss']]:
        nb = with_new_model(loaded, tiny_model())
        nb.keras.utils.set_random_seed(3)
        for cell_id in cells:
            run_cell(nb, cell_id)
        runs.append((nb.tf.random.uniform([3]).numpy(), np.random.random(3)))
    assert np.array_equal(runs[0], runs[1])


# Models that are not a list of layers with an input


def without_input(nb):
    """Return a model that learns the shape of its input from the first batch."""
    layers = [nb.keras.layers.Dense(10, activation='softmax', name='layer_fc2')]
    return nb.Sequential(layers)


def subclassed(nb):
    """Return a model of a class of one's own."""

    class Model(nb.keras.Model):
        def __init__(self):
            super().__init__()
            self.layer_fc2 = nb.keras.layers.Dense(10, activation='softmax')

        def call(self, images):
            return self.layer_fc2(images)

    return Model()


@pytest.mark.parametrize('make', [without_input, subclassed])
def test_other_models_are_trained_too(nb, make):
    nb.model = make(nb)
    run_cell(nb, 'compile')
    nb.optimize(3)
    before = weights(nb)
    nb.optimize(3)
    assert count(nb) == 6 and np.any(weights(nb) != before)


# What takes effect with the next call of `optimize`


def change_the_learning_rate(nb):
    """Let the optimizer take larger steps."""
    nb.model.optimizer.learning_rate = 0.01


def change_beta(nb):
    """Let the optimizer forget earlier gradients."""
    nb.model.optimizer.beta_1 = 0.0


def change_the_activation(nb):
    """Let the hidden layer have another activation function."""
    nb.model.get_layer('layer_fc1').activation = nb.keras.activations.sigmoid


def freeze_a_layer(nb):
    """Keep the first layer as it is."""
    nb.model.get_layer('layer_fc1').trainable = False


def compile_in_a_cell_of_ones_own(nb):
    """Compile with another optimizer."""
    nb.model.compile(nb.keras.optimizers.SGD(0.5), 'categorical_crossentropy')


def change_the_loss(nb):
    """Compile with another loss and the same optimizer."""
    nb.model.compile(nb.model.optimizer, 'mse')


def edit_train_step(nb):
    """Let a step train on the images upside down."""
    source = replace_text(CODE['train-code'], 'model(images, ', 'model(images[:, ::-1], ')
    run_cell(nb, 'train-code', source)


def averages(nb):
    """Return the optimizer's count and moving averages by their names."""
    variables = nb.model.optimizer.variables
    return {variable.path: variable for variable in variables if 'rate' not in variable.path}


@pytest.mark.parametrize(
    'change',
    [
        change_the_learning_rate,
        change_beta,
        change_the_activation,
        freeze_a_layer,
        compile_in_a_cell_of_ones_own,
        change_the_loss,
        edit_train_step,
    ],
    ids=lambda change: change.__name__,
)
def test_the_next_call_trains_with_a_change(nb, change):
    """The step in the graph is the plain one after the change, and not the one before it."""
    nb.data.train.images = nb.data.train.images[:64]
    nb.data.train.labels = nb.data.train.labels[:64]
    nb.optimize(5)
    start = nb.model.get_weights()
    state = {path: variable.numpy() for path, variable in averages(nb).items()}

    def after(step, *args):
        nb.model.set_weights(start)
        for path, variable in averages(nb).items():
            variable.assign(state.get(path, 0))
        step(*args)
        return weights(nb)

    batch = (nb.data.train.images, nb.data.train.labels)
    unchanged = after(nb.train_step, *batch)
    change(nb)
    changed = after(nb.optimize, 1)
    assert np.allclose(changed, after(nb.train_step, *batch), atol=2e-6)
    assert np.abs(changed - unchanged).max() > 5e-5


def test_a_frozen_layer_stays_and_moves_again_when_it_is_thawed_and_compiled(nb):
    layer = nb.model.get_layer('layer_fc1')
    layer.trainable = False
    nb.optimize(1)
    layer.trainable = True
    assert '"Unknown variable" (trainable)' in CODE['compile']
    with pytest.raises(ValueError, match='Unknown variable'):
        nb.optimize(1)
    for trainable in [False, True, False]:
        layer.trainable = trainable
        if trainable:
            run_cell(nb, 'compile')
        before = layer.kernel.numpy()
        other = nb.model.get_layer('layer_fc2').kernel.numpy()
        nb.optimize(2)
        assert np.any(layer.kernel.numpy() != before) == trainable
        assert np.any(nb.model.get_layer('layer_fc2').kernel.numpy() != other)


def test_a_dropout_rate_changed_after_some_training_is_used(nb):
    run_cell(nb, 'model', insert_below(tiny_model(), 'layers.Dropout(0.1),', 'Flatten()'))
    nb.model.compile(nb.keras.optimizers.SGD(0.1), 'categorical_crossentropy')
    moved = []
    for rate in [0.1, 0.999]:
        nb.model.layers[2].rate = rate
        before = nb.model.get_layer('layer_fc1').kernel.numpy()
        nb.optimize(1)
        after = nb.model.get_layer('layer_fc1').kernel.numpy()
        moved.append((after != before).any(axis=1).mean())
    assert moved[0] > 0.4 and moved[1] < 0.1


def test_a_changed_batch_size_and_training_set_are_used(nb, batches):
    nb.optimize(1)
    nb.train_batch_size = 100
    nb.optimize(1)
    nb.data.train = SimpleNamespace(
        images=1 - nb.data.train.images[:70], labels=nb.data.train.labels[:70]
    )
    nb.optimize(1)
    assert [len(images) for images, _ in batches] == [64, 100, 100]
    means = [images.mean() for images, _ in batches]
    assert max(means[:2]) < 0.3 and means[2] > 0.7


def test_compiling_again_begins_the_record_anew_and_keeps_the_weights(nb):
    nb.optimize(3)
    nb.print_test_accuracy()
    kept, old, first = weights(nb), nb.accuracies, nb.weights_start['layer_fc1'][0].copy()
    run_cell(nb, 'compile', replace_text(CODE['compile'], '1e-4', '0.0'))
    assert nb.accuracies.train == nb.accuracies.test == {} and count(nb) == 0
    assert [*old.train] == [1] and [*old.test] == [3]
    assert np.array_equal(weights(nb), kept)
    assert np.array_equal(nb.weights_start['layer_fc1'][0], first)
    nb.optimize(2)
    assert np.array_equal(weights(nb), kept)
    assert count(nb) == 2 and [*nb.accuracies.train] == [1]


def test_a_new_model_has_to_be_compiled_and_the_old_one_is_left_alone(nb):
    nb.optimize(3)
    old, kept = nb.model, weights(nb)
    run_cell(nb, 'model', tiny_model())
    before = weights(nb)
    assert '"no attribute \'optimizer\'" (new model)' in CODE['compile']
    with pytest.raises(AttributeError, match="no attribute 'optimizer'"):
        nb.optimize(1)
    assert np.array_equal(weights(nb), before)
    run_cell(nb, 'compile')
    nb.optimize(3)
    assert np.any(weights(nb) != before) and count(nb) == 3
    nb.model = old
    assert np.array_equal(weights(nb), kept)


def test_a_model_from_load_model_is_trained_on(nb, tmp_path):
    nb.optimize(3)
    nb.model.save(tmp_path / 'my.keras')
    kept = weights(nb)
    nb.model = nb.keras.models.load_model(tmp_path / 'my.keras')
    assert np.array_equal(weights(nb), kept) and count(nb) == 3
    nb.optimize(98)
    assert np.any(weights(nb) != kept) and [*nb.accuracies.train] == [1, 101]
    run_cell(nb, 'compile')
    nb.optimize(1)
    assert count(nb) == 1


# What stays


def test_training_goes_on_after_an_interruption_while_a_step_is_recorded(nb):
    nb.optimize(1)
    step, before = nb.train_step, weights(nb)

    def interrupted(images, labels):
        step(images, labels)
        raise KeyboardInterrupt

    nb.train_step = interrupted
    with pytest.raises(KeyboardInterrupt):
        nb.optimize(5)
    assert count(nb) == 1 and np.array_equal(weights(nb), before)
    nb.train_step = step
    nb.optimize(101)
    assert count(nb) == 102 and [*nb.accuracies.train] == [1, 101]


def test_training_goes_on_after_an_interruption_of_the_loop(nb):
    random_order, before = nb.random_order, weights(nb)

    def interrupted(num_images):
        yield from islice(random_order(num_images), 3200)
        raise KeyboardInterrupt

    nb.random_order = interrupted
    with pytest.raises(KeyboardInterrupt):
        nb.optimize(150)
    nb.random_order = random_order
    done, kept = count(nb), weights(nb)
    assert 0 < done < 100 and np.abs(kept - before).max() > 1e-4
    nb.optimize(0)
    assert np.array_equal(weights(nb), kept)
    nb.optimize(150 - done)
    assert count(nb) == 150 and [*nb.accuracies.train] == [1, 101]


def test_the_first_weights_are_kept_by_layers_names(nb):
    layers = 'layers.BatchNormalization(name="norm"),'
    source = insert_below(tiny_model(), layers, 'layer_fc1')
    run_cell(nb, 'model', source.replace('16, ', '16, trainable=False, '))
    run_cell(nb, 'compile')
    first = {layer.name: layer.get_weights() for layer in nb.model.layers}
    nb.optimize(3)
    assert nb.weights_start.keys() == first.keys() >= {'layer_fc1', 'norm', 'layer_fc2'}
    assert [len(nb.weights_start[name]) for name in ('layer_fc1', 'norm', 'layer_fc2')] == [2, 4, 2]
    for name, kept in nb.weights_start.items():
        for weight, expected in zip(kept, first[name], strict=True):
            assert np.array_equal(weight, expected)
    assert np.any(
        nb.model.get_layer('layer_fc2').kernel.numpy() != nb.weights_start['layer_fc2'][0]
    )


def test_the_seed_makes_a_run_repeatable(nb):
    runs = []
    for other_seed in [None, None, 12345]:
        run_cell(nb, 'seed-code')
        if other_seed:
            nb.keras.utils.set_random_seed(other_seed)
        run_cell(nb, 'model', tiny_model())
        run_cell(nb, 'compile')
        start = weights(nb)
        nb.optimize(5)
        runs.append((start, weights(nb) - start))
    assert np.array_equal(runs[0][0], runs[1][0])
    assert np.allclose(runs[0][1], runs[1][1], atol=1e-6)
    assert not np.allclose(runs[0][0], runs[2][0], atol=1e-3)
    assert not np.allclose(runs[0][1], runs[2][1], atol=1e-4)


# Code in the text


def test_keras_own_loop_works_as_the_text_says(nb, capsys):
    for part in (nb.data.train, nb.data.test):
        part.images, part.labels = part.images[:200], part.labels[:200]
    (fit,) = code_blocks('optimize')
    run_cell(nb, 'optimize', fit)
    assert count(nb) == 2 * 4  # 200 images are four batches of 64, the last one smaller.
    printed = re.findall(r'accuracy: (\d\.\d+)', capsys.readouterr().out)
    expected = accuracy(nb, nb.data.test.images, nb.data.test.labels)
    assert float(printed[-1]) == pytest.approx(expected, abs=1e-4)
    assert len(nb.model.evaluate(nb.data.test.images, nb.data.test.labels)) == 2


def test_a_saved_model_is_loaded_with_the_optimizer_and_trained_on(nb, tmp_path):
    save, load_and_go_on = code_blocks('close')
    nb.optimize(105)
    run_cell(nb, 'close', save, folder=tmp_path)
    kept = weights(nb)
    state = [variable.numpy() for variable in nb.model.optimizer.variables]
    # Another day, when all cells above the first test have run:
    (heading,) = re.findall(r'run the cells above \*(.+)\*,', TEXT['close'])
    assert TEXT['performance-0'].startswith(f'## {heading}\n')
    run_cell(nb, 'model', tiny_model())
    run_cell(nb, 'compile')
    run_cell(
        nb,
        'close',
        replace_text(load_and_go_on, 'num_iterations=1000', 'num_iterations=0'),
        tmp_path,
    )
    assert np.array_equal(weights(nb), kept) and count(nb) == 105
    for variable, expected in zip(nb.model.optimizer.variables, state, strict=True):
        assert np.array_equal(variable, expected)
    run_cell(
        nb,
        'close',
        replace_text(load_and_go_on, 'num_iterations=1000', 'num_iterations=97'),
        tmp_path,
    )
    assert count(nb) == 202 and [*nb.accuracies.train] == [201]
    assert 0 < np.abs(weights(nb) - kept).max() < 97 * 3e-4
