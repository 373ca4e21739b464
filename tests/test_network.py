"""The network: layers, initial weights, the hand-built one, measures, loss and gradient."""

import platform
import re

import numpy as np
import pytest

from tests.lesson import (
    CODE,
    TEXT,
    all_weights,
    in_new_process,
    insert_below,
    run_cell,
    run_cells,
    tiny_model,
)


def settings():
    """Return what Keras works on, TensorFlow's log level, and whether its fast kernels are on."""
    nb = run_cells(until='seed-code')
    from tensorflow.python.util import _pywrap_util_port

    level = nb.os.environ['TF_CPP_MIN_LOG_LEVEL']
    return nb.keras.backend.backend(), level, _pywrap_util_port.IsMklEnabled()


@pytest.mark.slow
def test_the_notebook_sets_what_it_needs_whatever_the_environment_says(monkeypatch):
    monkeypatch.setenv('KERAS_BACKEND', 'jax')
    monkeypatch.setenv('TF_CPP_MIN_LOG_LEVEL', '0')
    monkeypatch.setenv('TF_ENABLE_ONEDNN_OPTS', '0')
    has_fast_kernels = platform.machine() in ('x86_64', 'AMD64')
    assert in_new_process(settings) == ('tensorflow', '2', has_fast_kernels)


# Layers and weights


def test_the_network_has_the_layers_of_the_original(full):
    layers = [(type(layer).__name__, *layer.output.shape[1:]) for layer in full.model.layers]
    assert layers == [
        ('Reshape', 28, 28, 1),
        ('Conv2D', 28, 28, 16),
        ('MaxPooling2D', 14, 14, 16),
        ('Conv2D', 14, 14, 36),
        ('MaxPooling2D', 7, 7, 36),
        ('Flatten', 1764),
        ('Dense', 128),
        ('Dense', 10),
    ]
    assert full.model.input_shape == (None, 784)
    assert full.model.count_params() == 242_062  # by filters of 5×5


def test_initial_weights_are_from_he_and_glorot_and_biases_are_zero(full):
    he = 2 / 0.8796  # A normal distribution, cut off at two of its standard deviations.
    glorot = np.sqrt(3)  # A uniform distribution.
    for name, variance, largest, tolerance in [
        ('layer_conv1', 2 / 25, he, 0.12),
        ('layer_conv2', 2 / 400, he, 0.03),
        ('layer_fc1', 2 / 1764, he, 0.01),
        ('layer_fc2', 2 / (128 + 10), glorot, 0.06),
    ]:
        layer = full.model.get_layer(name)
        kernel, std = layer.kernel.numpy(), np.sqrt(variance)
        assert kernel.std() == pytest.approx(std, rel=tolerance)
        assert 0.9 < np.abs(kernel).max() / (largest * std) < 1.001
        assert not np.any(layer.bias)


# The hand-built network


def test_the_hand_built_network_computes_what_the_model_does(full):
    """Each of its new weights is the model's next one, so shapes and order have to fit, too."""
    assert not hasattr(full, 'weights_conv1') and not hasattr(full, 'y_pred')
    variables = iter(full.model.trainable_variables)

    def next_variable(shape):
        variable = next(variables)
        assert list(variable.shape) == list(shape)
        return variable.value

    full.model.set_weights([np.random.normal(0, 0.1, w.shape) for w in full.model.get_weights()])
    full.new_weights = next_variable
    full.new_biases = lambda length: next_variable([length])
    run_cell(full, 'direct-graph-code')
    assert not list(variables)
    y_pred = full.model(full.x).numpy()
    assert np.allclose(full.tf.nn.softmax(full.layer_fc2), y_pred, atol=1e-5)
    expected = full.model.compute_loss(x=full.x, y=full.y_true, y_pred=y_pred)
    assert float(full.loss) == pytest.approx(float(expected), rel=1e-5)


def test_new_weights_are_normal_up_to_a_tenth_and_new_biases_a_twentieth(tiny):
    new = tiny.new_weights([100, 200]).numpy()
    assert new.std() == pytest.approx(0.05 * 0.8796, rel=0.03)
    assert 0.095 < np.abs(new).max() <= 0.1
    assert tiny.new_biases(3).numpy() == pytest.approx([0.05, 0.05, 0.05])


def test_a_hand_built_convolutional_layer_may_do_without_pooling(tiny):
    layer, new = tiny.new_conv_layer(tiny.x_image, 1, 3, num_filters=4, use_pooling=False)
    assert layer.shape == (9, 28, 28, 4) and new.shape == (3, 3, 1, 4)


# Measures


def test_performance_measures_are_those_of_the_nine_images(full, capsys):
    ids = list(CODE)
    for cell_id in ids[ids.index('performance-pred') : ids.index('accuracy-code') + 1]:
        run_cell(full, cell_id)
    assert np.allclose(full.y_pred, full.model(full.data.test.images[:9]), atol=1e-6)
    assert np.array_equal(full.y_pred_cls, np.argmax(full.y_pred, axis=1))
    right = full.y_pred_cls.numpy() == full.data.test.cls[:9]
    assert np.array_equal(full.correct_prediction, right)
    assert capsys.readouterr().out.endswith(f'\n{right.mean():.1%}\n')
    with pytest.raises(np.exceptions.AxisError):  # Labels have to be one-hot.
        full.accuracy(full.x, full.data.test.cls[:9])


def test_the_present_network_predicts_the_classes_of_all_images_in_batches(tiny):
    """A batch size that leaves a rest, one that leaves none, and one above all 999 images."""
    sizes, shares = [], []

    def note(images):
        sizes.append(images.shape[0])
        return images

    tiny.note = note
    run_cell(tiny, 'model', insert_below(tiny_model(), 'layers.Lambda(note),', 'Reshape('))
    run_cell(tiny, 'compile')
    tiny.model.optimizer.learning_rate = 0.01
    tiny.optimize(30)
    images, labels = tiny.data.test.images, tiny.data.test.labels
    relu, negative = tiny.tf.nn.relu, tiny.tf.negative
    for batch_size, activation in [(100, relu), (333, negative), (5000, relu)]:
        tiny.model.get_layer('layer_fc1').activation = activation
        expected = np.argmax(tiny.model(images), axis=1)
        shares.append(np.mean(expected == tiny.data.test.cls))
        tiny.test_batch_size = batch_size
        sizes.clear()
        assert np.array_equal(tiny.predict_cls(images), expected)
        assert tiny.accuracy(images, labels) == pytest.approx(shares[-1])
        assert max(sizes) <= batch_size and sum(sizes) == 2 * 999
    assert shares[0] - shares[1] > 0.2


def test_the_test_accuracy_is_printed_and_recorded(tiny, capsys):
    tiny.optimize(3)
    predicted = np.argmax(tiny.model(tiny.data.test.images), axis=1)
    tiny.data.test.cls = np.where(np.arange(999) % 90, predicted, (predicted + 1) % 10)
    capsys.readouterr()
    tiny.print_test_accuracy()
    assert capsys.readouterr().out == 'Accuracy on Test-Set: 98.8% (987 / 999)\n'
    assert tiny.accuracies.test == {3: pytest.approx(987 / 999)}
    assert tiny.accuracies.train.keys() == {1}


# The loss and its gradient


@pytest.mark.parametrize('cell_id', ['loss-code', 'performance-1-loss'])
def test_the_printed_loss_is_the_average_cross_entropy_of_the_nine_images(full, capsys, cell_id):
    run_cell(full, cell_id)
    y_pred = full.model(full.x).numpy()
    assert capsys.readouterr().out == f'{-np.log(y_pred[full.y_true == 1]).mean():.2f}\n'


def test_the_bias_with_the_largest_gradient_is_nudged_and_put_back(full, capsys):
    """The second time, all nine images count as the digit that came first, so another one comes."""
    before, digits = all_weights(full), []
    y_pred = full.model(full.x).numpy()
    for _ in range(2):
        run_cell(full, 'gradient-code')
        digit, slope, predicted, actual = re.findall(r'-?\d+(?:\.\d+)?', capsys.readouterr().out)
        # The derivative by the bias of a class: its probability, less 1 where it is the true one.
        slopes = np.mean(y_pred - full.y_true, axis=0)
        assert int(digit) == np.argmax(slopes)
        assert float(slope) == pytest.approx(slopes.max(), abs=1e-4)
        assert float(predicted) == pytest.approx(0.01 * slopes.max(), abs=1e-6)
        assert float(actual) == pytest.approx(float(predicted), rel=0.02) and actual != predicted
        assert np.array_equal(all_weights(full), before)
        digits.append(int(digit))
        full.y_true = full.tf.one_hot([int(digit)] * 9, 10)
    assert digits[0] != digits[1]


def test_the_loss_of_a_model_without_softmax_is_the_same(tiny):
    batch = {'x': tiny.x, 'y': tiny.y_true}
    expected = float(tiny.model.compute_loss(**batch, y_pred=tiny.model(tiny.x)))
    (loss,) = re.findall(r'`loss=(.+)`', TEXT['exercises'])
    tiny.model.get_layer('layer_fc2').activation = None
    tiny.model.compile(loss=eval(loss, vars(tiny)))
    found = float(tiny.model.compute_loss(**batch, y_pred=tiny.model(tiny.x)))
    assert found == pytest.approx(expected, abs=1e-5)
