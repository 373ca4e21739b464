"""A reader at work: runs the notebook's cells, by their ids, and code of their own, in a kernel."""

import ast
import os
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
LINE = re.compile(r'Optimization Iteration: ([ \d]{6}), Training Accuracy: [ \d]{3}\.\d%\n')
# Records the batches that are trained on.
SPY = """
seen, plain_step = [], train_step

def train_step(model, optimizer, images, labels):
    tf.py_function(lambda x, y: seen.append((x.numpy(), y.numpy())), [images, labels], [])
    plain_step(model, optimizer, images, labels)
"""


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
        self.client.nb.cells = [nbformat.v4.new_code_cell(source)]
        outputs = self.client.execute_cell(self.client.nb.cells[0], 0).outputs
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


def environment(**variables):
    """Return the environment with these variables, and without the settings of the libraries."""
    own = re.compile('JUPYTER|IPYTHON|XDG|MPL|KERAS')
    return {name: value for name, value in os.environ.items() if not own.match(name)} | variables


@contextmanager
def reading(folder=NOTEBOOK.parent):
    """Open the shortened notebook in a fresh kernel, in a folder."""
    place = {'metadata': {'path': str(folder)}}
    client = NotebookClient(shortened(), timeout=900, startup_timeout=900, resources=place)
    with client.setup_kernel():
        yield Reader(client)
