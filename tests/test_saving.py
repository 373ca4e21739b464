"""What stays and what begins anew: cells run again, a new model, the seed, and saving."""

import re
from itertools import islice

import matplotlib.pyplot as plt
import numpy as np

from tests.lesson import (
    CODE,
    all_weights,
    code_blocks,
    iterations,
    replace_text,
    run_cell,
    short_training,
    tiny_model,
    with_new_model,
)


def test_every_cell_can_be_run_twice_in_a_row(loaded, monkeypatch):
    monkeypatch.setattr(plt, 'show', lambda: plt.close('all'))
    few_filters = re.sub(r'Conv2D\(\d+', 'Conv2D(2', CODE['model'])
    nb = with_new_model(loaded, few_filters)
    # Without graphs, as recording eight takes several seconds.
    optimize = replace_text(CODE['optimize-code'], 'tf.function(train_step)', 'train_step')
    edits = short_training() | {'model': few_filters, 'optimize-code': optimize}
    ids = list(CODE)
    for cell_id in ids[ids.index('plot-few-code') :]:
        for _ in range(2):
            run_cell(nb, cell_id, edits.get(cell_id))
    assert [*nb.accuracies.test] == [0, 2, 10, 20, 32]
    assert [*nb.accuracies.train] == [1]


def test_the_seed_decides_the_first_weights_and_for_all_networks_the_same_batches(tiny):
    weights, orders = [], []
    for model in [tiny_model(), tiny_model(), CODE['model']]:
        for cell_id, source in [('seed-code', None), ('model', model), ('compile', None)]:
            run_cell(tiny, cell_id, source)
        weights.append(all_weights(tiny))
        orders.append(list(islice(tiny.random_order(55_000), 128)))
    assert np.array_equal(*weights[:2]) and orders[0] == orders[1] == orders[2]


def test_compiling_again_begins_the_record_anew_and_keeps_the_weights(tiny):
    tiny.optimize(3)
    tiny.print_test_accuracy()
    kept, old, first = all_weights(tiny), tiny.accuracies, tiny.weights_start[0]
    assert np.any(first != tiny.model.get_layer('layer_fc1').kernel.numpy())
    run_cell(tiny, 'compile', replace_text(CODE['compile'], '1e-4', '0.0'))
    assert tiny.accuracies.train == tiny.accuracies.test == {} and iterations(tiny) == 0
    assert [*old.train] == [1] and [*old.test] == [3]
    assert np.array_equal(all_weights(tiny), kept)
    assert np.array_equal(tiny.weights_start[0], first)
    tiny.optimize(2)
    assert np.array_equal(all_weights(tiny), kept)
    assert iterations(tiny) == 2 and [*tiny.accuracies.train] == [1]


def test_a_saved_model_is_loaded_with_the_optimizer_and_trained_on(tiny, tmp_path):
    save, load_and_go_on = code_blocks('close')
    tiny.optimize(105)
    run_cell(tiny, 'close', save, tmp_path)
    kept = all_weights(tiny)
    averages = [variable.numpy() for variable in tiny.model.optimizer.variables]
    # Another day: a new model, and a new record.
    run_cell(tiny, 'model', tiny_model())
    run_cell(tiny, 'compile')
    load, go_on = load_and_go_on.split('\n', 1)
    run_cell(tiny, 'close', load, tmp_path)
    assert np.array_equal(all_weights(tiny), kept) and iterations(tiny) == 105
    for variable, expected in zip(tiny.model.optimizer.variables, averages, strict=True):
        assert np.array_equal(variable, expected)
    run_cell(tiny, 'close', replace_text(go_on, '1000', '97'), tmp_path)
    assert iterations(tiny) == 202 and [*tiny.accuracies.train] == [201]
    assert 0 < np.abs(all_weights(tiny) - kept).max() < 97 * 3e-4
