"""Exercise 14: several machines or GPUs train one network, as its solution edits the notebook."""

import json
import re

import numpy as np
import pytest

from tests.lesson import (
    CODE,
    TEXT,
    in_new_process,
    insert_below,
    replace_lines,
    run_cells,
    short_training,
    tiny_model,
)
from tests.solutions import cells_for_gpus, cells_for_workers
from tests.workers import script, start


@pytest.mark.slow
def test_two_workers_end_with_the_same_weights_as_one_machine_that_gets_both_batches(tmp_path):
    """The workers save their weights and batches; one machine trains on the batches of both."""
    edits = short_training() | cells_for_workers()
    optimize = insert_below(edits['optimize-code'], '        drawn.append(batch)', 'batch = list(')
    edits['optimize-code'] = f'drawn = []\n{optimize}'
    files = [str(tmp_path / f'{name}.npz') for name in ('first', 'second')]
    # One more step needs both workers, so none ends before the other has saved.
    end = '\nnp.savez({!r}, *model.get_weights(), drawn=drawn)\noptimize(1)\n'
    outputs = start(*(script(edits=edits) + end.format(file) for file in files))
    print(*outputs, sep='\n')
    first, second = map(np.load, files)
    assert not np.array_equal(first['drawn'], second['drawn'])
    batches = np.hstack([first['drawn'], second['drawn']])
    given = '        batch = next(batches)'
    optimize = replace_lines(CODE['optimize-code'], given, 'batch = list(')
    optimize = f'batches = iter({batches.tolist()})\n{optimize}'
    single = run_cells(edits=short_training() | {'optimize-code': optimize})
    assert not list(single.batches)
    for i, weight in enumerate(single.model.get_weights()):
        assert np.array_equal(first[f'arr_{i}'], second[f'arr_{i}'])
        assert np.allclose(first[f'arr_{i}'], weight, rtol=0, atol=1e-4)


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
    config = json.loads(re.search("export TF_CONFIG='(.+)'", TEXT['exercise-14'])[1])
    assert len(config['cluster']['worker']) == 2
    assert config['task'] == {'type': 'worker', 'index': 0}
