"""A reader at work: runs the notebook's cells and code of their own, and solves the exercises."""

import os
import re
from contextlib import contextmanager
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbconvert.preprocessors import ClearOutputPreprocessor

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
    return ClearOutputPreprocessor().preprocess(notebook, {})[0]


class Reader:
    """Runs cells and other code in a kernel; has the cells' sources by id, to be edited."""

    def __init__(self, client):
        self.client = client
        self.cells = {cell.id: cell.source for cell in client.nb.cells}
        self.ids = [cell.id for cell in client.nb.cells if cell.cell_type == 'code']

    def execute(self, source):
        """Run code and return its outputs, none of which may be on stderr."""
        outputs = self.client.execute_cell(nbformat.v4.new_code_cell(source), 0).outputs
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
    client = NotebookClient(shortened(), timeout=900, startup_timeout=900)
    with client.setup_kernel(cwd=str(folder)):
        yield Reader(client)


def blocks(sources, number):
    """Return the blocks of Python code in an exercise; sources has the cells' texts by id."""
    return re.findall(r'```python\n(.*?)\n```', sources[f'exercise-{number}'], re.DOTALL)


def solved(sources, name):
    """Return the source of the model's cell after the edit of this name."""
    number, edit = EDITS[name]
    return edit(sources['model'], *blocks(sources, number))


def replaced(source, part, *codes, end='', keep=False):
    """Put codes in place of, or below, the lines that contain part, and of all up to an end."""
    lines = source.split('\n')
    places = [i for i, line in enumerate(lines) if part in line]
    for place, code in zip(places, codes, strict=True):
        stop = next(i for i in range(place + 1, len(lines)) if end in lines[i])
        lines[place + keep : stop] = [code]
    return '\n'.join(lines)


# For each edit: the exercise, and what to do with the cell and the blocks of code.
EDITS = {
    'sigmoid': (1, lambda cell, line: replaced(cell, 'defaults =', line)),
    'sigmoid in fc1': (2, lambda cell, line: replaced(cell, 'layer_fc1', line)),
    'L2': (3, lambda cell, top, last, _: replaced(replaced(cell, 'defaults =', top), 'fc2', last)),
    'L2 in fc1': (3, lambda cell, top, last, line: replaced(cell, 'layer_fc1', line)),
    'reshape outside': (
        4,
        lambda cell, line, top: f'{top}\n' + replaced(cell, 'Input', line, end='conv1'),
    ),
    'dropout': (5, lambda cell, line, _: replaced(cell, 'layer_fc1', line, keep=True)),
    'strides': (6, lambda cell, lines: replaced(cell, 'layer_conv1', lines, end='Flatten')),
    '3×3 filters, 32 and 72': (7, lambda cell, pair: replaced(cell, 'conv', *pair.split('\n'))),
    'one more convolution': (8, lambda cell, line: replaced(cell, 'conv2', line, keep=True)),
    '8 and 16 filters, no fc1': (9, lambda cell, lines: replaced(cell, 'conv1', lines, end='fc2')),
}
