"""The whole notebook, run once by README's own lines in a fresh copy; and the notebook alone."""

import base64
import io
import re
import shutil
import subprocess
import sysconfig
from types import SimpleNamespace

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from PIL import Image

from tests.lesson import (
    BOOK,
    CODE,
    NOTEBOOK,
    ROOT,
    environment,
    replace_text,
    shortened,
    without_outputs,
)
from tests.measurements.tables import grouped

# Where Jupyter and the libraries keep settings and caches, in the user's home.
CACHES = ('.cache/', '.config/', '.ipython/', '.jupyter/', '.keras/', '.local/', 'Library/')
TEST_IMAGES_OF_CLASSES = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
# Cells whose numbers depend on neither chance nor the machine.
CERTAIN = [
    *('load-split-code', 'load-labels-code', 'inputs-x', 'inputs-image-code', 'inputs-true-code'),
    *('inputs-cls-code', 'keras-summary-code'),
]
CERTAIN_PICTURES = ['flowchart-code', 'plot-few-code', 'output-image-code']


def readme_command(part):
    """Return the block of commands in README that contains part."""
    paragraphs = (ROOT / 'README.md').read_text('utf-8').split('\n\n')
    (command,) = [p for p in paragraphs if p.startswith('    ') and part in p]
    return command


def copy_repository(folder):
    """Copy the repository, as a clone has it, with a notebook that has no stored outputs."""
    left_out = shutil.ignore_patterns('.git', '.venv', '.*_cache', '__pycache__', 'result.ipynb')
    shutil.copytree(ROOT, folder, ignore=left_out)
    nbformat.write(without_outputs(), folder / NOTEBOOK.relative_to(ROOT))


def contents(folder):
    """Return the contents of all files below a folder by their paths, without those of .venv."""
    files = [path for path in folder.rglob('*') if path.is_file() and '.venv' not in path.parts]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.fixture(scope='module')
def whole_run(tmp_path_factory):
    """Run README's lines as typed in a copy of the repository.

    pip finds all that it shall install in the environment of these tests, so it needs no network.
    """
    home = tmp_path_factory.mktemp('home')
    folder = home / 'Übung 1'
    copy_repository(folder)
    before = contents(home)
    variables = environment(
        home,
        TMPDIR=str(tmp_path_factory.mktemp('tmp')),
        PYTHONPATH=sysconfig.get_path('purelib'),
        PIP_NO_INDEX='1',
        PIP_DISABLE_PIP_VERSION_CHECK='1',
        KERAS_BACKEND='jax',  # which the notebook must not mind
    )
    command = readme_command('-m nbconvert')
    subprocess.run(command, shell=True, cwd=folder, env=variables, check=True)
    after = contents(home)
    book = nbformat.read(folder / 'result.ipynb', as_version=4)
    printed = [text for cell in book.cells for kind, text in shown(cell) if kind == 'stdout']
    changed = [path for path in before | after if before.get(path) != after.get(path)]
    return SimpleNamespace(book=book, printed=''.join(printed), changed=changed)


def shown(cell):
    """Return what a cell shows, as pairs of a kind and a text, or a picture in base64."""
    pairs = []
    for output in cell.get('outputs', []):
        if output.output_type == 'stream' and pairs and pairs[-1][0] == output.name:
            pairs[-1] = (output.name, pairs[-1][1] + output.text)
        elif output.output_type == 'stream':
            pairs.append((output.name, output.text))
        elif 'image/png' in output.data:
            pairs.append(('picture', output.data['image/png']))
        else:
            pairs.append(('text', output.data['text/plain']))
    return pairs


def without_numbers(text):
    """Return a text with # for each number and truth value, and without spaces."""
    text = re.sub(r'-?\d[\d.,:]*(e[-+]\d+)?%?|True|False', '#', text)
    return re.sub(r'\s', '', text)


def gray(picture, size=None):
    """Return the gray values of a picture in one row."""
    image = Image.open(io.BytesIO(base64.b64decode(picture))).convert('L')
    return np.array(image.resize(size or image.size), dtype=float).ravel()


def test_only_the_result_the_environment_and_caches_are_written(whole_run):
    changed = [path for path in whole_run.changed if not path.startswith(CACHES)]
    assert changed == ['Übung 1/result.ipynb']


def test_all_cells_show_what_is_stored_but_for_numbers_and_nothing_on_stderr(whole_run):
    for stored, new in zip(BOOK.cells, whole_run.book.cells, strict=True):
        stored_pairs, new_pairs = shown(stored), shown(new)
        assert [kind for kind, _ in new_pairs] == [kind for kind, _ in stored_pairs], new.id
        assert 'stderr' not in [kind for kind, _ in new_pairs], new.id
        for (kind, stored_text), (_, new_text) in zip(stored_pairs, new_pairs):
            if new.id in CERTAIN:
                assert new_text == stored_text, new.id
            elif kind != 'picture':
                assert without_numbers(new_text) == without_numbers(stored_text), new.id


def pictures(cell):
    """Return a cell's pictures."""
    return [picture for kind, picture in shown(cell) if kind == 'picture']


def test_pictures_of_certain_content_look_like_the_stored_ones(whole_run):
    for stored, new in zip(BOOK.cells, whole_run.book.cells, strict=True):
        if new.id in CERTAIN_PICTURES:
            (stored_picture,), (new_picture,) = pictures(stored), pictures(new)
            small = [gray(picture, (80, 80)) for picture in (stored_picture, new_picture)]
            assert np.corrcoef(*small)[0, 1] > 0.9, new.id


def test_all_pictures_are_different_and_show_something(whole_run):
    found = [picture for cell in whole_run.book.cells for picture in pictures(cell)]
    assert len(set(found)) == len(found) == 14
    for picture in found:
        assert len(np.unique(gray(picture))) > 20


def test_accuracy_follows_the_measured_curve(whole_run):
    """The bounds are five standard deviations from the mean of the seeds in curve.csv."""
    measured = grouped('curve', 'accuracy', 'iterations')
    tests = re.findall(r'Accuracy on Test-Set: ([\d.]+%) \((\d+) / 10000\)\n', whole_run.printed)
    for (percent, count), seeds in zip(tests, measured.values(), strict=True):
        distance = abs(int(count) / 100 - np.mean(seeds))
        assert distance < 5 * np.std(seeds, ddof=1)
        assert percent == f'{int(count) / 10_000:.1%}'


def test_versions_and_sizes_are_printed(whole_run):
    assert re.match(
        r'TensorFlow 2\.\d\S+, Keras 3\.\S+, NumPy 2\.\S+\nGPUs: \d+\n', whole_run.printed
    )
    sizes = 'Size of:\n- Training-set:\t\t55000\n- Test-set:\t\t10000\n- Validation-set:\t5000\n'
    assert sizes in whole_run.printed


def test_every_hundredth_iteration_and_the_time_used_are_printed(whole_run):
    line = r'Optimization Iteration: ([ \d]{6}), Training Accuracy: [ \d]{3}\.\d%\n'
    iterations = [int(number) for number in re.findall(line, whole_run.printed)]
    assert iterations == list(range(1, 10_000, 100))
    assert len(re.findall(r'\nTime usage: \d:\d\d:\d\d\n', whole_run.printed)) == 4


def test_the_confusion_matrix_counts_true_classes_in_rows(whole_run):
    rows = re.findall(r'\[([ \d]+)\]', whole_run.printed.partition('Confusion Matrix:\n')[2])
    matrix = np.array([row.split() for row in rows], dtype=int)
    assert matrix.sum(axis=1).tolist() == TEST_IMAGES_OF_CLASSES
    counts = re.findall(r'\((\d+) / 10000\)', whole_run.printed)
    assert matrix.trace() == int(counts[-1])


def execute(book, folder, home):
    """Run a notebook in a folder; return what each cell shows by the cells' ids.

    Pictures have to be seen below the cells also where the environment says otherwise.
    """
    client = NotebookClient(book, timeout=900, resources={'metadata': {'path': str(folder)}})
    client.execute(env=environment(home, MPLBACKEND='agg'))
    return {cell.id: shown(cell) for cell in book.cells}


def with_data_from(url):
    """Return the shortened notebook with another address of the data."""
    address = "'https://storage.googleapis.com/cvdf-datasets/mnist/'"
    source = replace_text(CODE['load-read-code'], address, repr(url))
    return shortened({'load-read-code': source})


def test_the_notebook_alone_in_a_folder_downloads_its_data_and_runs_to_the_end(tmp_path):
    folder = tmp_path / 'alone'
    folder.mkdir()
    mnist = ROOT / 'data/MNIST'
    cells = execute(with_data_from(f'{mnist.as_uri()}/'), folder, tmp_path)
    assert cells['flowchart-code'] == []
    assert [kind for kind, _ in cells['output-conv2-code']] == ['picture']
    downloaded = {f'data/MNIST/{path.name}': path.read_bytes() for path in mnist.glob('*.gz')}
    assert contents(folder) == downloaded


def test_the_notebook_finds_data_and_flowchart_from_the_repository_as_folder(tmp_path):
    cells = execute(with_data_from('file:///nowhere/'), ROOT, tmp_path)
    assert [kind for kind, _ in cells['flowchart-code']] == ['picture']
    assert [kind for kind, _ in cells['output-conv2-code']] == ['picture']
