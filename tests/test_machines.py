"""Exercise 14: several machines or GPUs train one network, as its solution edits the notebook."""

import json
import re

import numpy as np
import pytest

from tests.lesson import CODE, TEXT, in_new_process, run_cells, short_training, tiny_model
from tests.solutions import cells_for_gpus, cells_for_workers
from tests.workers import script, start

ITERATIONS, BATCH = 16, 64
# Below the cell that defines `random_order`: the numbers that a worker draws are kept, ...
NOTE_NUMBERS = """
drawn, plain_order = [], random_order


def random_order(num_images):
    for number in plain_order(num_images):
        drawn.append(number)
        yield number
"""
# ... or those that the workers have drawn are drawn again, in batches of both.
REPEAT_NUMBERS = f"""
drawn = np.hstack([np.load(file)['drawn'].reshape(-1, {BATCH}) for file in {{files}}]).ravel()
numbers = iter(drawn)


def random_order(num_images):
    return numbers
"""


def saving(file, order, edits):
    """Return a script with another order of images that saves the weights and the order."""
    edits = short_training() | {'batches-code': CODE['batches-code'] + order} | edits
    return script(edits=edits) + f'\nnp.savez({file!r}, *model.get_weights(), drawn=drawn)\n'


@pytest.fixture(scope='module')
def machines(tmp_path_factory):
    """Train two workers until the second is killed; train one machine with the batches of both.

    Return what they have saved, and what the workers have printed.
    """
    folder = tmp_path_factory.mktemp('machines')
    *files, single = [str(folder / f'{name}.npz') for name in ('first', 'second', 'single')]
    first, second = (saving(file, NOTE_NUMBERS, cells_for_workers()) for file in files)
    # The first worker's next step needs the second, which dies when both have saved.
    outputs = start(first + 'optimize(1_000_000)', second + 'optimize(1)\nos.kill(os.getpid(), 9)')
    optimize = f'{CODE["optimize-code"]}\ntrain_batch_size = {2 * BATCH}'
    repeat = REPEAT_NUMBERS.format(files=files)
    print(*outputs, *start(saving(single, repeat, {'optimize-code': optimize})), sep='\n')
    return [np.load(file) for file in [*files, single]], outputs


@pytest.mark.slow
def test_both_workers_end_with_the_same_weights_as_one_machine_that_gets_both_batches(machines):
    first, second, single = machines[0]
    assert 2 * len(first['drawn']) == len(single['drawn']) == 2 * ITERATIONS * BATCH
    assert not np.array_equal(first['drawn'], second['drawn'])
    for name in set(first) - {'drawn'}:
        assert np.array_equal(first[name], second[name])
        np.testing.assert_allclose(first[name], single[name], rtol=0, atol=1e-4)


@pytest.mark.slow
def test_both_workers_print_their_progress_and_stop_with_an_error_when_one_is_killed(machines):
    for output in machines[1]:
        assert output.count('Optimization Iteration:      1, Training Accuracy:') == 1
        assert output.count('Accuracy on Test-Set:') == 5
    assert 'UnavailableError' in machines[1][0]


def first_iterations(edits):
    """Return what five iterations make of a tiny model, and how many devices took part."""
    nb = run_cells(until='example-errors-code', edits={**edits, 'model': tiny_model()})
    nb.optimize(5)
    devices = nb.tf.distribute.get_strategy().num_replicas_in_sync
    return [weight.tolist() for weight in nb.model.get_weights()], devices


@pytest.mark.slow
def test_several_gpus_give_the_same_weights_as_one():
    """The devices have to be set before TensorFlow begins, so this takes another process."""
    divided, devices = in_new_process(first_iterations, cells_for_gpus())
    plain, _ = first_iterations({})
    assert devices == 2
    for weight, expected in zip(divided, plain, strict=True):
        assert np.allclose(weight, expected, atol=5e-6)


def test_the_configuration_in_the_text_is_that_of_the_first_of_two_workers():
    (config,) = re.findall("TF_CONFIG='(.+)'", TEXT['exercise-14'])
    config = json.loads(config)
    assert len(config['cluster']['worker']) == 2
    assert config['task'] == {'type': 'worker', 'index': 0}
