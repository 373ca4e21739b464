"""Two workers train with copies of the notebook that are edited as exercise 13's solution says."""

import os
import time

import numpy as np
import pytest
from measure_machines import code_of, start
from reader import replaced, shortened

SAVE = """
np.savez('{0}.npz', *model.get_weights(), drawn=drawn)
os.rename('{0}.npz', '{0}')"""
DRAW = '        indices = tf.random.uniform([batch_size], maxval=len(images), dtype=tf.int32)\n'
RECORD = '        tf.py_function(drawn.append, [indices], [])'
REPEAT = '        indices = tf.gather(drawn, tf.cast(optimizer.iterations, tf.int32))'


def training(file, draw, drawn='[]', edited=True):
    """Return the shortened notebook's code, which draws the batches in another way."""
    code = replaced(code_of(shortened(), edited), 'indices = tf.random', draw)
    return f'import numpy as np\ndrawn = {drawn}\n{code}{SAVE.format(file)}'


@pytest.fixture(scope='module')
def machines(tmp_path_factory):
    """Train two workers and kill the second; train one machine with the batches of both."""
    folder, processes = tmp_path_factory.mktemp('machines'), []
    first, second, single = files = [str(folder / name) for name in ['first', 'second', 'single']]
    try:
        for_ever = [training(file, DRAW + RECORD) + '\noptimize(10**9)' for file in files[:2]]
        processes += start(folder, *for_ever)
        while not (os.path.exists(first) and os.path.exists(second)):
            assert all(process.poll() is None for process in processes), f'See {folder}/*.txt.'
            time.sleep(0.1)
        processes[1].kill()
        processes[0].wait(timeout=900)
        drawn = f"np.hstack([np.load(file)['drawn'] for file in {files[:2]}])"
        code = training(single, REPEAT, drawn, edited=False)
        processes += start(folder, replaced(code, 'train_batch_size =', 'train_batch_size = 128'))
        processes[2].wait(timeout=900)
    finally:
        for process in processes:
            process.kill()
    logs = [path.read_text(encoding='utf-8') for path in sorted(folder.glob('*.txt'))]
    return [np.load(file) for file in files], logs[1:]


def test_both_workers_end_with_the_same_weights_from_different_batches(machines):
    first, second, _ = machines[0]
    assert all(np.array_equal(first[name], second[name]) == (name != 'drawn') for name in first)


def test_the_weights_are_those_of_one_machine_that_gets_both_batches_as_one(machines):
    first, _, single = machines[0]
    assert single['drawn'].shape == (16, 128)
    for name in set(first) - {'drawn'}:
        np.testing.assert_allclose(first[name], single[name], rtol=0, atol=1e-4)


def test_both_print_their_progress_and_a_killed_one_stops_the_other_with_an_error(machines):
    for log in machines[1]:
        assert log.count('Optimization Iteration:      1, Training Accuracy:') == 1
        assert log.count('Accuracy on Test-Set:') == 5
    assert 'UnavailableError' in machines[1][0]
