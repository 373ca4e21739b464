"""The notebook's code, run in this process as a reader runs it, cell by cell, edited or not."""

import io
import linecache
import multiprocessing
import os
import re
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stdout
from copy import copy
from pathlib import Path
from types import ModuleType, SimpleNamespace

import matplotlib
import nbformat

matplotlib.use('agg')  # Pictures are drawn, and no windows are opened.

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK = ROOT / 'notebooks/03_Keras_Sequential.ipynb'
BOOK = nbformat.read(NOTEBOOK, as_version=4)
CODE = {cell.id: cell.source for cell in BOOK.cells if cell.cell_type == 'code'}
TEXT = {cell.id: cell.source for cell in BOOK.cells if cell.cell_type == 'markdown'}


def load(until=None, edits=None):
    """Run the code cells above the one with the id `until`; return a module with their names.

    edits has sources by the cells' ids, which are run in place of the notebook's.
    """
    nb = ModuleType('nb')
    for cell_id in CODE:
        if cell_id == until:
            break
        run(nb, cell_id, (edits or {}).get(cell_id))
    return nb


def fresh(loaded, model=None):
    """Return the names of `loaded` with functions of their own, and a new model, compiled.

    `loaded` comes from `load` and is not changed; model is the source of the model's cell. The
    model is compiled as in the notebook, also where `loaded` was edited.
    """
    nb = ModuleType('nb')
    vars(nb).update(vars(loaded))
    nb.data = SimpleNamespace(**{name: copy(part) for name, part in vars(loaded.data).items()})
    for cell_id in ('seed-code', 'inputs-x'):
        run(nb, cell_id)
    run(nb, 'model', model)
    run(nb, 'compile')
    with redirect_stdout(io.StringIO()):
        for cell_id, source in CODE.items():
            if re.search('^def ', source, re.MULTILINE) and cell_id != 'load-read-code':
                run(nb, cell_id)
    return nb


def run(nb, cell_id, source=None, folder=NOTEBOOK.parent):
    """Run one cell among the names of nb, as it is in the notebook or with another source."""
    source = re.sub('^%.*', '', CODE[cell_id] if source is None else source, flags=re.MULTILINE)
    # Under this name, tracebacks and the debugger find the cell's lines.
    name = f'<cell {cell_id}>'
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    before = Path.cwd()
    os.chdir(folder)
    try:
        exec(compile(source, name, 'exec'), vars(nb))
    finally:
        os.chdir(before)


def in_new_process(function, *args):
    """Return what a function returns in a new Python process, where TensorFlow is not loaded yet.

    The function has to stand at the top level of its file.
    """
    context = multiprocessing.get_context('spawn')
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, *args).result()


def replaced(source, old, new):
    """Return source with the one place where old stands replaced by new."""
    assert source.count(old) == 1, f'{old!r} is there {source.count(old)} times'
    return source.replace(old, new)


def with_lines(source, lines, first, last=None):
    """Return source with new lines in place of the line that contains first, or from it to last."""
    old = source.split('\n')
    begin = next(i for i, line in enumerate(old) if first in line)
    end = next(i for i, line in enumerate(old) if (last or first) in line)
    return '\n'.join([*old[:begin], lines, *old[end + 1 :]])


def with_lines_below(source, lines, place):
    """Return source with new lines below the line that contains place."""
    line = next(line for line in source.split('\n') if place in line)
    return with_lines(source, f'{line}\n{lines}', place)


def blocks(cell_id):
    """Return the blocks of Python code in a text cell."""
    return re.findall(r'```python\n(.*?)\n```', TEXT[cell_id], re.DOTALL)


def short_training():
    """Return the edits, by the cells' ids, that make a whole run short: for `load` and `run`.

    They leave 1 + 4 + 5 + 6 iterations, and 999 images in the test-set.
    """
    edits = {
        'performance-100-optimize': ('99', '4'),
        'performance-1000-optimize': ('900', '5'),
        'performance-10000-optimize': ('9000', '6'),
        'load-split-code': ('(images_test, cls_test)', '(images_test[:999], cls_test[:999])'),
    }
    return {cell_id: replaced(CODE[cell_id], *edit) for cell_id, edit in edits.items()}


def tiny_model():
    """Return the model's cell without convolutions and with 16 features, for a quick training."""
    layers = "        layers.Flatten(),\n        layers.Dense(16, name='layer_fc1', **defaults),"
    return with_lines(CODE['model'], layers, 'layer_conv1', 'layer_fc1')


def solutions():
    """Return the model's cell as the exercises' solutions edit it, by the names of the networks."""
    model = CODE['model']
    (sigmoid,) = blocks('exercise-1')
    (sigmoid_fc1,) = blocks('exercise-2')
    l2_defaults, l2_last, l2_fc1 = blocks('exercise-3')
    reshaped_input, reshape_data = blocks('exercise-4')
    dropout = blocks('exercise-5')[0]
    (strides,) = blocks('exercise-6')
    (filters,) = blocks('exercise-7')
    (convolution,) = blocks('exercise-8')
    (simplest,) = blocks('exercise-9')
    conv1, conv2 = filters.split('\n')
    other_filters = with_lines(with_lines(model, conv1, 'layer_conv1'), conv2, 'layer_conv2')
    return {
        'sigmoid': with_lines(model, sigmoid, 'defaults ='),
        'sigmoid in fc1': with_lines(model, sigmoid_fc1, 'layer_fc1'),
        'L2': with_lines(with_lines(model, l2_defaults, 'defaults ='), l2_last, 'layer_fc2'),
        'L2 in fc1': with_lines(model, l2_fc1, 'layer_fc1'),
        'reshape outside': f'{reshape_data}\n'
        + with_lines(model, reshaped_input, 'Input', 'Reshape'),
        'dropout': with_lines_below(model, dropout, 'layer_fc1'),
        'strides': with_lines(
            model, f'{strides}\n        layers.Flatten(),', 'layer_conv1', 'Flatten'
        ),
        '3×3 filters, 32 and 72': other_filters,
        'one more convolution': with_lines_below(model, convolution, 'layer_conv2'),
        '8 and 16 filters, no fc1': with_lines(model, simplest, 'layer_conv1', 'layer_fc1'),
    }
