"""Training: a step, the batches, the reports, changes, and an interruption."""

import re
from itertools import islice
from types import SimpleNamespace

import numpy as np
import pytest

from tests.lesson import (
    CODE,
    TEXT,
    all_weights,
    code_blocks,
    insert_below,
    iterations,
    replace_text,
    run_cell,
    tiny_model,
)


@pytest.fixture
def batches(tiny):
    """Return a list that gets each batch that is trained on, as images and labels."""
    seen = []
    step = tiny.train_step

    def noting_step(*batch):
        tiny.tf.py_function(lambda *tensors: seen.append([t.numpy() for t in tensors]), batch, [])
        step(*batch)

    tiny.train_step = noting_step
    return seen


# A step


def test_a_plain_call_of_train_step_is_one_step_of_the_originals_adam_with_penalties(tiny):
    penalty = 'kernel_regularizer=keras.regularizers.L2(0.1), name='
    run_cell(tiny, 'model', tiny_model().replace('name=', penalty))
    run_cell(tiny, 'compile')
    assert tiny.model.optimizer.epsilon == 1e-8
    twin = tiny.keras.models.clone_model(tiny.model)
    twin.set_weights(tiny.model.get_weights())
    twin.compile(tiny.keras.optimizers.Adam(1e-4, epsilon=1e-8), 'categorical_crossentropy')
    for first in (0, 64):
        images = tiny.data.train.images[first : first + 64]
        labels = tiny.data.train.labels[first : first + 64]
        before = all_weights(tiny)
        tiny.train_step(images, labels)
        twin.train_on_batch(images, labels)
        assert 5e-5 < np.abs(all_weights(tiny) - before).max() < 2e-4
        for weight, expected in zip(tiny.model.get_weights(), twin.get_weights(), strict=True):
            assert np.allclose(weight, expected, atol=2e-6)
    assert iterations(tiny) == 2


def test_dropout_is_active_in_training(tiny):
    run_cell(tiny, 'model', insert_below(tiny_model(), 'layers.Dropout(0.999),', 'Flatten()'))
    tiny.model.compile(tiny.keras.optimizers.SGD(0.1), 'categorical_crossentropy')
    layer = tiny.model.get_layer('layer_fc1')
    before = layer.kernel.numpy()
    tiny.optimize(1)
    # Weights of pixels that are dropped stay.
    assert 0 < np.mean(np.any(layer.kernel.numpy() != before, axis=1)) < 0.1


def test_the_loop_of_keras_does_what_the_text_shows(tiny):
    for part in (tiny.data.train, tiny.data.test):
        part.images, part.labels = part.images[:200], part.labels[:200]
    before = all_weights(tiny)
    (fit,) = code_blocks('optimize')
    run_cell(tiny, 'optimize', fit.replace('model.evaluate', 'loss, acc = model.evaluate'))
    assert iterations(tiny) == 2 * 4  # 200 images are four batches of 64, the last one smaller.
    assert np.any(all_weights(tiny) != before)
    expected = tiny.accuracy(tiny.data.test.images, tiny.data.test.labels)
    assert tiny.acc == pytest.approx(expected, abs=1e-4)


# Batches


@pytest.mark.parametrize('batch_size', [64, 150])
def test_all_images_are_drawn_before_one_comes_again(tiny, batches, batch_size):
    """The training set has 100 images, each with its number in its first pixel."""
    tiny.optimize(1)  # with all images, in batches of 64
    batches.clear()
    images = np.zeros((100, 784), dtype=np.float32)
    images[:, 0] = np.arange(100)
    labels = np.eye(10, dtype=np.float32).repeat(10, axis=0)
    tiny.data.train = SimpleNamespace(images=images, labels=labels)
    tiny.train_batch_size = batch_size
    tiny.optimize(20)
    assert [len(images) for images, _ in batches] == [batch_size] * 20
    drawn = np.concatenate([images[:, 0] for images, _ in batches]).astype(int)
    assert np.array_equal(np.concatenate([labels for _, labels in batches]), labels[drawn])
    rounds = drawn[: len(drawn) // 100 * 100].reshape(-1, 100)
    assert np.array_equal(np.sort(rounds), np.tile(np.arange(100), (len(rounds), 1)))
    assert len({tuple(order) for order in rounds}) == len(rounds) >= 12


# Reports


def test_every_hundredth_accuracy_is_that_on_its_batch_after_the_update(tiny, batches, capsys):
    tiny.model.optimizer.learning_rate = 0.01
    for number, reports in [(0, 0), (1, 1), (0, 1), (99, 1), (1, 2), (250, 4), (50, 5)]:
        tiny.optimize(number)
        assert [*tiny.accuracies.train] == [1, 101, 201, 301, 401][:reports]
        if iterations(tiny) % 100 == 1:
            assert tiny.accuracies.train[iterations(tiny)] == tiny.accuracy(*batches[-1])
    assert len(batches) == iterations(tiny) == 401
    reports = re.findall(r': +(\d+), Training Accuracy: +(.*)\n', capsys.readouterr().out)
    assert reports == [(str(i), f'{share:.1%}') for i, share in tiny.accuracies.train.items()]


def test_optimize_prints_the_lines_of_the_original(tiny, capsys):
    """The clock goes on only with the iterations."""
    tiny.model.optimizer.learning_rate = 0.0
    tiny.data.train.images = tiny.data.train.images[:200]
    predicted = np.argmax(tiny.model(tiny.data.train.images), axis=1)
    tiny.data.train.labels = np.eye(10, dtype=np.float32)[predicted]

    def clock():
        return iterations(tiny) * 3723.4 / 101

    tiny.time = SimpleNamespace(time=clock, monotonic=clock, perf_counter=clock)
    tiny.optimize(101)
    assert capsys.readouterr().out == (
        'Optimization Iteration:      1, Training Accuracy: 100.0%\n'
        'Optimization Iteration:    101, Training Accuracy: 100.0%\n'
        'Time usage: 1:02:03\n'
    )


def test_the_lessons_own_calls_of_optimize_log_nothing(tiny, caplog, capfd):
    """TensorFlow warns of a function that it records five times in ten calls."""
    for number in [1, 4, 5, 6]:
        tiny.optimize(number)
        tiny.print_test_accuracy()
    assert not caplog.records and not capfd.readouterr().err


# What takes effect with the next call of `optimize`


@pytest.mark.parametrize(
    'change',
    [
        "model.get_layer('layer_fc1').activation = keras.activations.sigmoid",
        "model.compile(keras.optimizers.SGD(0.2), 'mse')",
        replace_text(CODE['train-code'], 'model(images, ', 'model(images[:, ::-1], '),
    ],
    ids=['another activation', 'another optimizer and loss', 'another train_step'],
)
def test_the_next_call_trains_with_a_change(tiny, change):
    """The step in the graph is the plain one after the change, and not the one before it."""
    batch = tiny.data.train.images[:64], tiny.data.train.labels[:64]
    tiny.data.train = SimpleNamespace(images=batch[0], labels=batch[1])
    tiny.model.compile(tiny.keras.optimizers.SGD(0.5), 'categorical_crossentropy')
    tiny.optimize(5)
    start = tiny.model.get_weights()

    def weights_after(step, *args):
        tiny.model.set_weights(start)
        step(*args)
        return all_weights(tiny)

    unchanged = weights_after(tiny.optimize, 1)
    run_cell(tiny, 'train-code', change)
    changed = weights_after(tiny.optimize, 1)
    assert np.allclose(changed, weights_after(tiny.train_step, *batch), atol=2e-6)
    assert np.abs(changed - unchanged).max() > 1e-3


def test_a_frozen_layer_stays_and_moves_again_when_it_is_thawed_and_compiled(tiny):
    layer = tiny.model.get_layer('layer_fc1')
    for trainable in [False, True]:
        layer.trainable = trainable
        run_cell(tiny, 'compile')
        before = layer.kernel.numpy()
        tiny.optimize(2)
        assert np.any(layer.kernel.numpy() != before) == trainable


THAW = """
for trainable in [False, True]:
    model.get_layer('layer_fc1').trainable = trainable
    optimize(1)
"""
# What brings each message of the table in *When you change things*.
MISTAKES = {
    "no attribute 'optimizer'": f'{tiny_model()}\noptimize(1)',
    'No loss to compute': f'{tiny_model()}\nmodel.compile_from_config({{}})\noptimize(1)',
    'Unknown variable': THAW,
    'expected shape=(None, 784)': 'keras.Model(model.inputs, model.outputs)(x_image)',
    'Expected shape (None, 784)': 'model(x[0])',
    'total size of the tensor must be unchanged': 'model(x[:, :100])',
    'is out of bounds for axis 0': 'subset(images_train[:1], [10])',
    'No such layer': "model.get_layer('layer_conv3')",
    'cannot reshape array of size 0': 'subset(images_train[:0], cls_train[:0])',
}


def test_the_table_has_the_messages_of_the_errors(tiny):
    rows = TEXT['exercises'].partition('| the message says |')[2].splitlines()[2:]
    cells = [row.split(' | ')[0] for row in rows if row.startswith('|')]
    assert re.findall('`(.+?)`', ' '.join(cells)) == list(MISTAKES)
    for message, mistake in MISTAKES.items():
        run_cell(tiny, 'compile')
        with pytest.raises((AttributeError, ValueError, IndexError)) as error:
            run_cell(tiny, 'model', mistake)
        assert message in str(error.value), message


def test_training_goes_on_after_an_interruption_of_the_loop(tiny):
    random_order, before = tiny.random_order, all_weights(tiny)

    def interrupted(num_images):
        yield from islice(random_order(num_images), 3200)
        raise KeyboardInterrupt

    tiny.random_order = interrupted
    with pytest.raises(KeyboardInterrupt):
        tiny.optimize(150)
    tiny.random_order = random_order
    done, kept = iterations(tiny), all_weights(tiny)
    assert 0 < done < 100 and np.abs(kept - before).max() > 1e-4
    tiny.optimize(0)
    assert np.array_equal(all_weights(tiny), kept)
    tiny.optimize(150 - done)
    assert iterations(tiny) == 150 and [*tiny.accuracies.train] == [1, 101]
