"""A reader at work: the notebook's cells by their ids, run in a kernel of their own."""

from contextlib import contextmanager
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK = ROOT / 'notebooks/03_Keras_Sequential.ipynb'


class Reader:
    """Runs cells of the notebook, and code of its own, in one kernel."""

    def __init__(self, client):
        self.client = client
        self.notebook = client.nb
        self.cells = {cell.id: cell for cell in client.nb.cells}

    def ids(self, first=None, after=None):
        """Return the ids of the code cells, from one on or after one."""
        ids = [cell.id for cell in self.notebook.cells if cell.cell_type == 'code']
        if first:
            return ids[ids.index(first) :]
        return ids[ids.index(after) + 1 :] if after else ids

    def edit(self, cell_id, old, new):
        """Replace the one occurrence of old in a cell, as a reader would by typing."""
        source = self.cells[cell_id].source
        assert source.count(old) == 1, f'{old!r} is not once in {cell_id}'
        self.cells[cell_id].source = source.replace(old, new)

    def hurry(self):
        """Train for a few iterations, test with 999 images, draw at simple density."""
        self.edit('performance-1000-optimize', '900', '9')
        self.edit('performance-10000-optimize', '9000', '90')
        self.edit('style-code', 'retina', 'png')
        test_set = 'subset(images_test, cls_test)'
        self.edit('load-split-code', test_set, test_set.replace('_test', '_test[:999]'))

    def run(self, *cell_ids):
        """Run cells in the given order and return what the last one put out."""
        outputs = []
        for cell_id in cell_ids:
            cell = self.cells[cell_id]
            outputs = self.client.execute_cell(cell, self.notebook.cells.index(cell))
            outputs = outputs.outputs
        return outputs

    def type(self, source):
        """Run code that is not in the notebook and return the text that it prints."""
        cell = nbformat.v4.new_code_cell(source)
        self.notebook.cells.append(cell)
        try:
            return text(self.client.execute_cell(cell, -1).outputs)
        finally:
            self.notebook.cells.pop()

    def error(self, source):
        """Run code that must fail and return the error as 'Name: message'."""
        try:
            self.type(source)
        except CellExecutionError as error:
            return f'{error.ename}: {error.evalue}'
        raise AssertionError(f'no error from {source!r}')


def text(outputs):
    """Return what is printed among a cell's outputs."""
    return ''.join(o.text for o in outputs if o.output_type == 'stream')


def pictures(outputs):
    """Return the PNG pictures among a cell's outputs, in base64."""
    return [o.data['image/png'] for o in outputs if 'image/png' in o.get('data', {})]


@contextmanager
def reading(notebook=NOTEBOOK, folder=None, **options):
    """Open the notebook in a fresh kernel, started in its own folder or another."""
    client = NotebookClient(
        nbformat.read(notebook, as_version=4),
        timeout=600,
        coalesce_streams=True,
        resources={'metadata': {'path': str(folder or Path(notebook).parent)}},
        **options,
    )
    with client.setup_kernel():
        yield Reader(client)
