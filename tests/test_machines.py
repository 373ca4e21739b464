"""Two workers train with copies of the notebook that are edited as exercise 13's solution says."""

import numpy as np
import pytest
from measure_machines import code_of, start
from reader import replaced

DRAW = 'indices = tf.random'
RECORD = '        tf.py_function(drawn.append, [indices], [])'
REPEAT = '        indices = tf.gather(drawn, tf.cast(optimizer.iterations, tf.int32))'
BOTH = "train_batch_size = 128\ndrawn = np.hstack([np.load(file)['drawn'] for file in {}])"
SAVE = '\nnp.savez({!r}, *model.get_weights(), drawn=drawn)\n'
# The second worker's next iteration needs the first, which has saved when it gets there.
DIE = 'optimize(1)\nos.kill(os.getpid(), 9)'


@pytest.fixture(scope='module')
def machines(tmp_path_factory):
    """Train two workers until the second is killed; train one machine with the batches of both."""
    folder = tmp_path_factory.mktemp('machines')
    first, second, single = files = [str(folder / f'{i}.npz') for i in range(3)]
    code = 'drawn = []\n' + replaced(code_of(edited=True), DRAW, RECORD, keep=True)
    logs = start(code + SAVE.format(first) + 'optimize(10**9)', code + SAVE.format(second) + DIE)
    code = replaced(code_of(edited=False), DRAW, REPEAT)
    code = replaced(code, 'train_batch_size =', BOTH.format(files[:2]))
    logs += start(code + SAVE.format(single))
    print(*logs, sep='\n')
    return [np.load(file) for file in files], logs


def test_both_workers_end_with_the_same_weights_from_different_batches(machines):
    first, second, _ = machines[0]
    assert all(np.array_equal(first[name], second[name]) == (name != 'drawn') for name in first)


def test_the_weights_are_those_of_one_machine_that_gets_both_batches_as_one(machines):
    first, _, single = machines[0]
    assert single['drawn'].shape == (16, 128)
    for name in set(first) - {'drawn'}:
        np.testing.assert_allclose(first[name], single[name], rtol=0, atol=1e-4)


def test_both_print_their_progress_and_a_killed_one_stops_the_other_with_an_error(machines):
    for log in machines[1][:2]:
        assert log.count('Optimization Iteration:      1, Training Accuracy:') == 1
        assert log.count('Accuracy on Test-Set:') == 5
    assert 'UnavailableError' in machines[1][0]
