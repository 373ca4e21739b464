"""The whole notebook, run once by README's own command, in a folder with an odd name."""

import re
import shutil
import subprocess
import sys

import nbformat
import numpy as np
import pytest
from reader import LINE, NOTEBOOK, ROOT, environment, pictures, text

# What may be written: the result, what Jupyter, IPython, matplotlib and Keras keep at home, and what
# TensorFlow leaves in the folder for temporary files.
WRITTEN = re.compile(
    r'Übung 1/result\.ipynb|\.(cache|config|ipython|jupyter|keras|local)/|__pycache__/__autograph_'
)
NUMBERS = re.compile(r'(\s*(-?\d[\w.:]*%?|\b(True|False)\b)\s*)+')
BANDS = [(3, 20), (3, 22), (83.5, 90.5), (96, 97.9), (98.6, 100)]


def files(folder):
    """Return the paths and contents of all files below a folder."""
    return {(str(p.relative_to(folder)), p.read_bytes()) for p in folder.rglob('*') if p.is_file()}


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """Run README's command in a copy of the repository; return the result and all it prints."""
    home = tmp_path_factory.mktemp('home')
    folder = home / 'Übung 1'
    for name in ['notebooks', 'data', 'images']:
        shutil.copytree(ROOT / name, folder / name)
    (folder / '.venv').symlink_to(sys.prefix)
    before = files(home)
    command = re.search('.venv/bin/jupyter nb.+', (ROOT / 'README.md').read_text('utf-8'))[0]
    place = environment(HOME=str(home), TMPDIR=str(home))
    subprocess.run(command, shell=True, cwd=folder, env=place, check=True)
    notebook = nbformat.read(folder / 'result.ipynb', as_version=4)
    notebook.changed = [path for path, _ in files(home) ^ before]
    notebook.printed = ''.join(text(cell.get('outputs', [])) for cell in notebook.cells)
    return notebook


def test_nothing_is_written_but_the_result_and_the_caches_of_jupyter_and_libraries(run):
    assert not [path for path in run.changed if not WRITTEN.match(path)]


def masked(outputs):
    """Return the number of pictures, and the texts with numbers and truths masked."""
    texts = [o.get('text', '') + o.get('data', {}).get('text/plain', '') for o in outputs]
    return len(pictures(outputs)), NUMBERS.sub('#', ''.join(texts))


def test_outputs_are_the_stored_ones_but_for_numbers_and_nothing_comes_on_stderr(run):
    for stored, new in zip(nbformat.read(NOTEBOOK, as_version=4).cells, run.cells, strict=True):
        outputs = new.get('outputs', [])
        assert masked(stored.get('outputs', [])) == masked(outputs), stored.id
        assert not any(output.get('name') == 'stderr' for output in outputs)


def test_accuracy_follows_the_curve_of_the_original(run):
    found = re.findall(r'Accuracy on Test-Set: ([\d.]+%) \((\d+) / 10000\)\n', run.printed)
    for (percent, right), (low, high) in zip(found, BANDS, strict=True):
        assert low <= int(right) / 100 <= high
        assert percent == f'{int(right) / 10_000:.1%}'


def test_sizes_and_every_hundredth_iteration_from_the_first_on_are_reported(run):
    assert re.findall(r'set:\t+(\d+)\n', run.printed) == ['55000', '10000', '5000']
    assert [int(number) for number in LINE.findall(run.printed)] == [*range(1, 10_000, 100)]
    assert len(re.findall(r'Time usage: \d:\d\d:\d\d\n', run.printed)) == 4


def test_the_confusion_matrix_counts_true_classes_in_rows(run):
    rows = re.findall(r'\[([ \d]+)\]', run.printed.partition('Confusion Matrix:\n')[2])
    matrix = np.array([row.split() for row in rows], dtype=int)
    assert [*matrix.sum(axis=1)] == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert matrix.trace() == int(re.findall(r'\((\d+) / 10000\)', run.printed)[-1])
