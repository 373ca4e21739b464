"""The whole notebook, as README's first command has run it; and the notebook alone, shortened."""

import base64
import io
import os
import re

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from PIL import Image

from tests.lesson import BOOK, CODE, ROOT, environment, replace_text, shortened
from tests.measurements.outputs import merged
from tests.measurements.tables import grouped

RESULT = ROOT / 'result.ipynb'


def outputs(book):
    """Return the outputs of a notebook's code cells, by the cells' ids."""
    return {cell.id: merged(cell.outputs) for cell in book.cells if cell.cell_type == 'code'}


STORED = outputs(BOOK)


@pytest.fixture(scope='module')
def result():
    """Return the outputs in the notebook that README's first command wrote."""
    if not RESULT.exists() and not os.environ.get('CI'):
        pytest.skip("There is no result.ipynb, which README's first command writes")
    book = nbformat.read(RESULT, as_version=4)
    code = {cell.id: cell.source for cell in book.cells if cell.cell_type == 'code'}
    assert code == CODE, "result.ipynb has other code: run README's first command again"
    return outputs(book)


def comparable(cell_id, output):
    """Return a kind and a text, without spaces, and with # for numbers and for truth values."""
    if 'image/png' in output.get('data', {}):
        return 'picture', ''
    text = output.text if output.output_type == 'stream' else output.data['text/plain']
    # The numbers of these two cells depend on neither chance nor the machine.
    if cell_id not in ['inputs-x', 'keras-summary-code']:
        number = r'-?\d[\d.,:]*(e[-+]\d+|-?rc\d+)?%?|True|False'
        text = ''.join(re.sub(number, '#', text).split())
    return output.get('name', 'text'), text


def test_all_cells_show_what_is_stored_but_for_numbers_and_nothing_on_stderr(result):
    for cell_id in CODE:
        found, stored = (
            [comparable(cell_id, output) for output in cells[cell_id]] for cells in (result, STORED)
        )
        assert found == stored, cell_id


def test_the_first_images_look_like_the_stored_ones(result):
    rows = []
    for cells in (result, STORED):
        file = io.BytesIO(base64.b64decode(cells['plot-few-code'][0].data['image/png']))
        rows.append(np.ravel(Image.open(file).convert('L').resize((80, 80))))
    assert np.corrcoef(*rows)[0, 1] > 0.9


def test_accuracy_follows_the_measured_curve(result):
    """The bounds are five standard deviations from the mean of the seeds in curve.csv."""
    measured = grouped('curve', 'accuracy', 'iterations')
    printed = ''.join(output.get('text', '') for cell in result.values() for output in cell)
    counts = re.findall(r'Accuracy on Test-Set: \S+ \((\d+) / 10000\)\n', printed)
    for count, accuracies in zip(counts, measured.values(), strict=True):
        distance = abs(int(count) / 100 - np.mean(accuracies))
        assert distance < 5 * np.std(accuracies, ddof=1)


@pytest.mark.slow
def test_the_notebook_alone_in_a_folder_downloads_its_data_and_runs_to_the_end(tmp_path):
    """Pictures and Keras have to be the notebook's, whatever the user's environment says."""
    folder, mnist = tmp_path / 'alone', ROOT / 'data/MNIST'
    folder.mkdir()
    address = "'https://storage.googleapis.com/cvdf-datasets/mnist/'"
    source = replace_text(CODE['load-read-code'], address, repr(f'{mnist.as_uri()}/'))
    book = shortened({'load-read-code': source})
    client = NotebookClient(book, timeout=900, resources={'metadata': {'path': str(folder)}})
    client.execute(env=environment(tmp_path, MPLBACKEND='agg', KERAS_BACKEND='jax'))
    cells = outputs(book)
    assert cells['flowchart-code'] == []
    assert 'image/png' in cells['output-conv2-code'][0].data
    written = {p.relative_to(folder): p.read_bytes() for p in folder.rglob('*') if p.is_file()}
    assert written == {p.relative_to(ROOT): p.read_bytes() for p in mnist.glob('*.gz')}
