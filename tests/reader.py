"""A reader at work: runs the notebook's cells and code of their own, and solves the exercises."""

import os
import re
from contextlib import contextmanager
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK = ROOT / 'notebooks/03_Keras_Sequential.ipynb'
SHORTER = {
    "['retina']": "['png']",
    '(images_test, cls_test)': '(images_test[:999], cls_test[:999])',
    '(num_iterations=99)': '(num_iterations=4)',
    '(num_iterations=900)': '(num_iterations=5)',
    '(num_iterations=9000)': '(num_iterations=6)',
}
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
    source = NOTEBOOK.read_text('utf-8')
    for old, new in SHORTER.items():
        assert source.count(old) == 1, f'{old!r} is not once in the notebook'
        source = source.replace(old, new)
    notebook = nbformat.reads(source, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == 'code':
            cell.update(outputs=[], execution_count=None)
    return notebook


class Reader:
    """Runs cells and other code in a kernel; has the cells' sources by id, to be edited."""

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

    def error(self, source):
        """Run code that must fail and return the traceback."""
        with pytest.raises(CellExecutionError) as error:
            self.execute(source)
        return re.sub(r'\x1b\[[\d;]*m', '', error.value.traceback)


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


def blocks(sources, number):
    """Return the blocks of Python code in an exercise; sources has the cells' texts by id."""
    return re.findall(r'```python\n(.*?)\n```', sources[f'exercise-{number}'], re.DOTALL)


def solved(sources, name):
    """Return the source of the model's cell after the edit of this name."""
    number, edit = EDITS[name]
    return edit(sources['model'], *blocks(sources, number))


def replaced(source, part, code, keep=False):
    """Put code in place of, or below, the one line of source that contains part."""
    lines = source.split('\n')
    (place,) = [i for i, line in enumerate(lines) if part in line]
    lines[place + keep : place + 1] = code.split('\n')
    return '\n'.join(lines)


def renewed(source, code):
    """Replace the lines that have the same layers' names, or the defaults, as code has."""
    for lines, part in re.findall(r"((?:l2 =.*\n)?.*(name='\w+'|defaults =).*)", code):
        source = replaced(source, part, lines)
    return source


def with_layers(source, layers):
    """Replace all layers between `Reshape` and the last one."""
    parts = re.fullmatch(r'(.*\n *Reshape\(.*?\n).*?( *Dense\(num_classes.*)', source, re.DOTALL)
    return f'{parts[1]}{layers}\n{parts[2]}'


# For each edit: the exercise, and what to do with the cell and the blocks of code.
EDITS = {
    'sigmoid': (1, renewed),
    'sigmoid in fc1': (2, renewed),
    'L2': (3, lambda model, top, last, _: renewed(model, f'{top}\n{last}')),
    'L2 in fc1': (3, lambda model, top, last, single: renewed(model, single)),
    'reshape outside': (
        4,
        lambda model, line, above: (
            f'{above}\n{replaced(replaced(model, " Input(", line), " Reshape(", "")}'
        ),
    ),
    'dropout': (5, lambda model, line, _: replaced(model, 'layer_fc1', line, keep=True)),
    'strides': (6, lambda model, lines: renewed(re.sub(r'\n *MaxPooling2D.*', '', model), lines)),
    '3×3 filters, 32 and 72': (7, renewed),
    'one more convolution': (8, lambda model, line: replaced(model, 'conv2', line, keep=True)),
    '8 and 16 filters, no fc1': (9, with_layers),
}
