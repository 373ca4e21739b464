"""Exercise 14: several machines or GPUs train one network, as its solution edits the notebook."""

import json
import re

import numpy as np
import pytest

from tests.lesson import CODE, TEXT, in_new_process, run_cells, short_training, tiny_model
from tests.solutions import cells_for_gpus, cells_for_workers
from tests.workers import script, start

ITERATIONS, BATCH = 16, 64
# What follows the cell that defines `random_order`: the numbers that are drawn are kept, ...
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


def saving(edits, file):
    """Return a script that saves the weights, and the numbers that were drawn, to a file."""
    code = script(edits=short_training() | edits)
    return f'{code}\nnp.savez({str(file)!r}, *model.get_weights(), drawn=drawn)\n'


def worker_script(file):
    """Return the script of a worker, which notes the numbers of the images that it draws."""
    noting = {'batches-code': CODE['batches-code'] + NOTE_NUMBERS}
    return saving(cells_for_workers() | noting, file)


def single_script(file, worker_files):
    """Return the script of one machine that gets the batches of all workers joined."""
    repeat = REPEAT_NUMBERS.format(files=worker_files)
    edits = {
        'batches-code': CODE['batches-code'] + repeat,
        'optimize-code': f'{CODE["optimize-code"]}\ntrain_batch_size = {2 * BATCH}',
    }
    return saving(edits, file)


@pytest.fixture(scope='module')
def machines(tmp_path_factory):
    """Train two workers until the second is killed; train one machine with the batches of both.

    Return what they have saved, and what they have printed.
    """
    folder = tmp_path_factory.mktemp('machines')
    files = [str(folder / f'{name}.npz') for name in ('first', 'second', 'single')]
    first, second = (worker_script(file) for file in files[:2])
    # The first worker's next step needs the second, which dies when both have saved.
    outputs = start(first + 'optimize(1_000_000)', second + 'optimize(1)\nos.kill(os.getpid(), 9)')
    outputs += start(single_script(files[2], files[:2]))
    print(*outputs, sep='\n')
    return [np.load(file) for file in files], outputs


@pytest.mark.slow
def test_both_workers_end_with_the_same_weights_from_different_batches(machines):
    first, second, _ = machines[0]
    assert len(first['drawn']) == len(second['drawn']) == ITERATIONS * BATCH
    assert not np.array_equal(first['drawn'], second['drawn'])
    for name in set(first) - {'drawn'}:
        assert np.array_equal(first[name], second[name])


@pytest.mark.slow
def test_the_weights_are_those_of_one_machine_that_gets_both_batches_as_one(machines):
    first, _, single = machines[0]
    assert len(single['drawn']) == 2 * ITERATIONS * BATCH
    for name in set(first) - {'drawn'}:
        np.testing.assert_allclose(first[name], single[name], rtol=0, atol=1e-4)


@pytest.mark.slow
def test_both_workers_print_their_progress_and_stop_with_an_error_when_one_is_killed(machines):
    for output in machines[1][:2]:
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
