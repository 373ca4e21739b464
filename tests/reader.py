"""A reader at work: runs the notebook's cells, by their ids, and code of their own, in a kernel."""

import ast
import re
from contextlib import contextmanager
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK = ROOT / 'notebooks/03_Keras_Sequential.ipynb'
SHORTER = [
    ('style-code', "['retina']", "['png']"),
    ('load-split-code', '(images_test, cls_test)', '(images_test[:999], cls_test[:999])'),
    ('performance-100-optimize', '=99)', '=4)'),
    ('performance-1000-optimize', '=900)', '=5)'),
    ('performance-10000-optimize', '=9000)', '=6)'),
]


def shortened():
    """Return the notebook without outputs, with 16 iterations, 999 test images, small pictures."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    cells = {cell.id: cell for cell in notebook.cells}
    for cell_id, old, new in SHORTER:
        assert cells[cell_id].source.count(old) == 1, f'{old!r} is not once in {cell_id}'
        cells[cell_id].source = cells[cell_id].source.replace(old, new)
    for cell in notebook.cells:
        if cell.cell_type == 'code':
            cell.update(outputs=[], execution_count=None)
    return notebook


class Reader:
    """Has the sources of all cells in `cells`, to be run and edited."""

    def __init__(self, client):
        self.client = client
        self.cells = {cell.id: cell.source for cell in client.nb.cells}
        self.ids = [cell.id for cell in client.nb.cells if cell.cell_type == 'code']

    def execute(self, source):
        """Run code and return its outputs, none of which may be on stderr."""
        cell = nbformat.v4.new_code_cell(source)
        self.client.nb.cells = [cell]
        outputs = self.client.execute_cell(cell, 0).outputs
        assert not [o.text for o in outputs if o.get('name') == 'stderr']
        return outputs

    def run(self, *cell_ids):
        """Run cells in the given order and return the outputs of all."""
        return [output for cell_id in cell_ids for output in self.execute(self.cells[cell_id])]

    def type(self, source):
        """Run code that is not in the notebook and return the text that it prints."""
        return text(self.execute(source))

    def value(self, expression):
        """Return the value of an expression of plain Python values."""
        return ast.literal_eval(self.type(f'print(({expression}), end="")'))

    def error(self, source):
        """Run code that must fail and return the traceback."""
        try:
            self.execute(source)
        except CellExecutionError as error:
            return re.sub(r'\x1b\[[\d;]*m', '', error.traceback)
        raise AssertionError(f'no error from {source!r}')


def text(outputs):
    """Return what is printed among outputs."""
    return ''.join(o.text for o in outputs if o.output_type == 'stream')


def pictures(outputs):
    """Return the PNG pictures among outputs, in base64."""
    return [o.data['image/png'] for o in outputs if 'image/png' in o.get('data', {})]


@contextmanager
def reading(notebook=None, folder=NOTEBOOK.parent):
    """Open the notebook, shortened unless another one is given, in a fresh kernel."""
    place = {'metadata': {'path': str(folder)}}
    client = NotebookClient(
        notebook or shortened(), timeout=900, startup_timeout=900, resources=place
    )
    with client.setup_kernel():
        yield Reader(client)
