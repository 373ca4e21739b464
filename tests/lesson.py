"""The notebook, run as a reader runs it: cell by cell in this process, or whole in a kernel."""

import copy
import io
import linecache
import multiprocessing
import os
import re
import sys
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stdout
from pathlib import Path
from types import ModuleType, SimpleNamespace

import matplotlib
import nbformat
import numpy as np

matplotlib.use('agg')  # Pictures are drawn, and no windows are opened.

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK = ROOT / 'notebooks/03_Keras_Sequential.ipynb'
BOOK = nbformat.read(NOTEBOOK, as_version=4)
CODE = {cell.id: cell.source for cell in BOOK.cells if cell.cell_type == 'code'}
TEXT = {cell.id: cell.source for cell in BOOK.cells if cell.cell_type == 'markdown'}


def run_cells(until=None, edits=None):
    """Run the code cells above the one with the id `until`; return a module with their names.

    edits has sources by the cells' ids, which are run in place of the notebook's.
    """
    nb = ModuleType('nb')
    for cell_id in CODE:
        if cell_id == until:
            break
        run_cell(nb, cell_id, (edits or {}).get(cell_id))
    return nb


def with_new_model(loaded, model=None):
    """Return the names of `loaded`, with functions of their own and a new model, compiled.

    `loaded` comes from `run_cells` and is not changed; model is the source of the model's cell.
    """
    nb = ModuleType('nb')
    vars(nb).update(vars(loaded))
    nb.data = SimpleNamespace(**{name: copy.copy(part) for name, part in vars(loaded.data).items()})
    with redirect_stdout(io.StringIO()):
        for cell_id in ('seed-code', 'inputs-x', 'model', 'compile'):
            run_cell(nb, cell_id, model if cell_id == 'model' else None)
        for cell_id, source in CODE.items():
            if re.search('^def ', source, re.MULTILINE) and cell_id != 'load-read-code':
                run_cell(nb, cell_id)
    return nb


def run_cell(nb, cell_id, source=None, folder=NOTEBOOK.parent):
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


def iterations(nb):
    """Return the number of iterations that the optimizer has counted."""
    return int(nb.model.optimizer.iterations)


def all_weights(nb):
    """Return all weights and biases of the model in one row."""
    return np.concatenate([weight.ravel() for weight in nb.model.get_weights()])


def in_new_process(function, *args):
    """Return what a function from the top level of a file returns in a new Python process."""
    context = multiprocessing.get_context('spawn')
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, *args).result()


def replace_text(source, old, new):
    """Return source with the one place where old stands replaced by new."""
    assert source.count(old) == 1, f'{old!r} is there {source.count(old)} times'
    return source.replace(old, new)


def replace_lines(source, lines, first, last=None):
    """Return source with new lines in place of the line that contains first, or from it to last."""
    old = source.split('\n')
    begin = next(i for i, line in enumerate(old) if first in line)
    end = next(i for i, line in enumerate(old) if (last or first) in line)
    return '\n'.join([*old[:begin], lines, *old[end + 1 :]])


def insert_below(source, lines, place):
    """Return source with new lines below the line that contains place."""
    line = next(line for line in source.split('\n') if place in line)
    return replace_lines(source, f'{line}\n{lines}', place)


def code_blocks(cell_id):
    """Return the blocks of Python code in a text cell."""
    return re.findall(r'```python\n(.*?)\n```', TEXT[cell_id], re.DOTALL)


def short_training():
    """Return edits by cells' ids: 1 + 4 + 5 + 6 iterations, and 999 images in the test set."""
    edits = {
        'performance-100-optimize': ('99', '4'),
        'performance-1000-optimize': ('900', '5'),
        'performance-10000-optimize': ('9000', '6'),
        'load-split-code': ('(images_test, cls_test)', '(images_test[:999], cls_test[:999])'),
    }
    return {cell_id: replace_text(CODE[cell_id], *edit) for cell_id, edit in edits.items()}


def tiny_model():
    """Return the model's cell without convolutions and with 16 features, for a quick training."""
    layers = "        layers.Flatten(),\n        layers.Dense(16, name='layer_fc1', **defaults),"
    return replace_lines(CODE['model'], layers, 'layer_conv1', 'layer_fc1')


def without_outputs(edits=None):
    """Return the notebook without its stored outputs; edits has other sources by cells' ids."""
    book = copy.deepcopy(BOOK)
    for cell in book.cells:
        if cell.cell_type == 'code':
            cell.update(outputs=[], execution_count=None)
            cell.source = (edits or {}).get(cell.id, cell.source)
    return book


def shortened(edits=None):
    """Return the notebook with few iterations and test images, small pictures and no outputs."""
    small_pictures = {'imports-code': replace_text(CODE['imports-code'], "['retina']", "['png']")}
    return without_outputs(short_training() | small_pictures | (edits or {}))


def environment(home, **variables):
    """Return environment variables with this Python first and without settings of the user."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.defpath])
    return {'PATH': path, 'HOME': str(home), **variables}
