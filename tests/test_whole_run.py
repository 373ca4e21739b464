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
# Cells whose numbers depend on neither chance nor the machine.
CERTAIN = ['load-labels-code', 'inputs-x', 'inputs-true-code', 'keras-summary-code']


def shown(book):
    """Return what code cells show, by ids: pairs of a kind and a text, or a picture in base64."""
    cells = {cell.id: [] for cell in book.cells if cell.cell_type == 'code'}
    for cell in book.cells:
        for output in merged(cell.get('outputs', [])):
            if output.output_type == 'stream':
                pair = output.name, output.text
            elif 'image/png' in output.data:
                pair = 'picture', output.data['image/png']
            else:
                pair = 'text', output.data['text/plain']
            cells[cell.id].append(pair)
    return cells


STORED = shown(BOOK)


@pytest.fixture(scope='module')
def result():
    """Return what the cells show in the notebook that README's first command wrote."""
    if not RESULT.exists() and not os.environ.get('CI'):
        pytest.skip("There is no result.ipynb, which README's first command writes")
    book = nbformat.read(RESULT, as_version=4)
    code = {cell.id: cell.source for cell in book.cells if cell.cell_type == 'code'}
    assert code == CODE, "result.ipynb has other code: run README's first command again"
    return shown(book)


def comparable(cells):
    """Return what the cells show, without spaces, and with # for numbers and for truth values."""
    number = r'-?\d[\d.,:]*(e[-+]\d+|-?rc\d+)?%?|True|False'
    result = {}
    for cell_id, pairs in cells.items():
        texts = ['picture' if kind == 'picture' else text for kind, text in pairs]
        if cell_id not in CERTAIN:
            texts = [''.join(re.sub(number, '#', text).split()) for text in texts]
        result[cell_id] = texts
    return result


def test_all_cells_show_what_is_stored_but_for_numbers_and_nothing_on_stderr(result):
    stored, new = comparable(STORED), comparable(result)
    assert {cell_id: new[cell_id] for cell_id in CODE if new[cell_id] != stored[cell_id]} == {}
    assert 'stderr' not in [kind for pairs in result.values() for kind, _ in pairs]


def small_gray(pairs):
    """Return the gray values of a cell's only picture, made small, in one row."""
    ((_, picture),) = pairs
    image = Image.open(io.BytesIO(base64.b64decode(picture))).convert('L')
    return np.array(image.resize((80, 80)), dtype=float).ravel()


@pytest.mark.parametrize('cell_id', ['flowchart-code', 'plot-few-code', 'output-image-code'])
def test_pictures_of_certain_content_look_like_the_stored_ones(result, cell_id):
    pictures = small_gray(STORED[cell_id]), small_gray(result[cell_id])
    assert np.corrcoef(*pictures)[0, 1] > 0.9


def test_accuracy_follows_the_measured_curve(result):
    """The bounds are five standard deviations from the mean of the seeds in curve.csv."""
    measured = grouped('curve', 'accuracy', 'iterations')
    printed = ''.join(text for pairs in result.values() for kind, text in pairs if kind == 'stdout')
    counts = re.findall(r'Accuracy on Test-Set: \S+ \((\d+) / 10000\)\n', printed)
    for count, accuracies in zip(counts, measured.values(), strict=True):
        distance = abs(int(count) / 100 - np.mean(accuracies))
        assert distance < 5 * np.std(accuracies, ddof=1)


def run_short(folder, home, url):
    """Return what the cells show, run in a folder with few iterations and data from a URL.

    Pictures and Keras have to be the notebook's, whatever the user's environment says.
    """
    address = "'https://storage.googleapis.com/cvdf-datasets/mnist/'"
    source = replace_text(CODE['load-read-code'], address, repr(url))
    book = shortened({'load-read-code': source})
    client = NotebookClient(book, timeout=900, resources={'metadata': {'path': str(folder)}})
    client.execute(env=environment(home, MPLBACKEND='agg', KERAS_BACKEND='jax'))
    return shown(book)


@pytest.mark.slow
def test_the_notebook_alone_in_a_folder_downloads_its_data_and_runs_to_the_end(tmp_path):
    folder = tmp_path / 'alone'
    folder.mkdir()
    mnist = ROOT / 'data/MNIST'
    cells = run_short(folder, tmp_path, f'{mnist.as_uri()}/')
    assert cells['flowchart-code'] == []
    assert comparable(cells)['output-conv2-code'] == ['picture']
    written = {p.relative_to(folder): p.read_bytes() for p in folder.rglob('*') if p.is_file()}
    assert written == {p.relative_to(ROOT): p.read_bytes() for p in mnist.glob('*.gz')}


@pytest.mark.slow
def test_the_notebook_finds_data_and_flowchart_from_the_repository_as_folder(tmp_path):
    cells = comparable(run_short(ROOT, tmp_path, 'file:///nowhere/'))
    assert cells['flowchart-code'] == cells['output-conv2-code'] == ['picture']
