"""The whole notebook, run once by README's own command, in a folder with an odd name."""

import gzip
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
from reader import LINE, NOTEBOOK, ROOT, environment, text

# What Jupyter, IPython, matplotlib and Keras keep in the home folder.
CACHES = {'.cache', '.config', '.ipython', '.jupyter', '.keras', '.local'}
NUMBERS = re.compile(r'(\s*(-?\d[\w.:]*%?|\b(True|False)\b)\s*)+')
BANDS = [(3, 20), (3, 22), (83.5, 90.5), (96, 97.9), (98.6, 100)]
SIZES = 'Size of:\n- Training-set:\t\t55000\n- Test-set:\t\t10000\n- Validation-set:\t5000\n'


def files(folder):
    """Return the contents of all files below a folder."""
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob('*') if p.is_file()}


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """Run README's command in a copy of the repository; return the result and all it prints."""
    scratch = tmp_path_factory.mktemp('whole')
    folder, home, temp = scratch / 'Übung 1', scratch / 'home', scratch / 'temp'
    home.mkdir()
    temp.mkdir()
    for name in ['notebooks', 'data', 'images']:
        shutil.copytree(ROOT / name, folder / name)
    before = files(folder)
    readme = (ROOT / 'README.md').read_text('utf-8')
    (command,) = re.findall(r'\.venv/bin/(jupyter nbconvert.* --execute .*)', readme)
    command = f'"{Path(sys.executable).parent}"/{command}'
    place = environment(HOME=str(home), TMPDIR=str(temp))
    subprocess.run(command, shell=True, cwd=folder, env=place, check=True)
    after = files(folder)
    (name,) = after.keys() - before.keys()
    notebook = nbformat.reads(after.pop(name).decode(), as_version=4)
    notebook.changed = after != before
    notebook.caches = {path.parts[0] for path in files(home) | files(temp)}
    notebook.printed = ''.join(text(cell.get('outputs', [])) for cell in notebook.cells)
    return notebook


def test_nothing_is_written_but_the_result_and_the_caches_of_jupyter_and_libraries(run):
    assert not run.changed and run.caches <= CACHES


def masked(cell):
    """Return the kinds of a cell's outputs, and their texts with numbers and truths masked."""
    outputs = cell.get('outputs', [])
    kinds = [[o.get('name', o.output_type), *sorted(o.get('data', {}))] for o in outputs]
    # What is printed may come in one part or in more.
    kinds = [k for k, before in zip(kinds, [[], *kinds]) if k != before or k[1:]]
    texts = [o.get('text', '') + o.get('data', {}).get('text/plain', '') for o in outputs]
    return kinds, NUMBERS.sub('#', ''.join(texts))


def test_outputs_are_the_stored_ones_but_for_numbers_and_nothing_comes_on_stderr(run):
    for stored, new in zip(nbformat.read(NOTEBOOK, as_version=4).cells, run.cells, strict=True):
        assert masked(stored) == masked(new), stored.id
        assert not any(output.get('name') == 'stderr' for output in new.get('outputs', []))


def test_accuracy_follows_the_curve_of_the_original(run):
    found = re.findall(r'Accuracy on Test-Set: ([\d.]+%) \((\d+) / 10000\)\n', run.printed)
    for (percent, right), (low, high) in zip(found, BANDS, strict=True):
        assert low <= int(right) / 100 <= high
        assert percent == f'{int(right) / 10_000:.1%}'


def test_sizes_and_every_hundredth_iteration_from_the_first_on_are_reported(run):
    assert SIZES in run.printed
    assert [int(number) for number in LINE.findall(run.printed)] == [*range(1, 10_000, 100)]
    assert len(re.findall(r'Time usage: \d:\d\d:\d\d\n', run.printed)) == 4


def test_the_confusion_matrix_counts_true_classes_in_rows(run):
    assert run.printed.count('Example errors:\n') == 3
    (matrix,) = re.findall(r'Confusion Matrix:\n(\[\[.*?\]\])', run.printed, re.DOTALL)
    matrix = np.array(re.findall(r'\d+', matrix), dtype=int).reshape(10, 10)
    content = gzip.decompress((ROOT / 'data/MNIST/t10k-labels-idx1-ubyte.gz').read_bytes())
    assert (matrix.sum(axis=1) == np.bincount(np.frombuffer(content, np.uint8, offset=8))).all()
    assert matrix.trace() == int(re.findall(r'\((\d+) / 10000\)', run.printed)[-1])
