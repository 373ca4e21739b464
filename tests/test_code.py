"""Quick checks of the code and of the notebook's file, before anything is run."""

import re
import subprocess
import sys

import nbformat
import pytest
from reader import NOTEBOOK, ROOT

BOOK = nbformat.read(NOTEBOOK, as_version=4)
CODE = [cell for cell in BOOK.cells if cell.cell_type == 'code']


@pytest.mark.parametrize('command', ['check', 'format --check'])
def test_ruff_has_nothing_to_say(command):
    """Neither about scripts and tests nor about the notebook's cells."""
    done = subprocess.run(
        [sys.executable, '-m', 'ruff', *command.split(), '--no-cache', '.'],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout


def test_notebook_is_valid_with_telling_ids_and_little_metadata():
    """Cells have ids of words, which stay as they are, and no metadata."""
    nbformat.validate(BOOK)
    ids = [cell.id for cell in BOOK.cells]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch('[a-z]+[0-9]?(-[a-z0-9]+)*', name) for name in ids)
    assert not any(cell.metadata for cell in BOOK.cells)
    assert set(BOOK.metadata) == {'kernelspec', 'language_info'}
    assert BOOK.metadata.language_info == {'name': 'python'}


def test_stored_outputs_come_from_one_run_from_top_to_bottom():
    """They hold no error, nothing from stderr, and no path of a machine."""
    assert [cell.execution_count for cell in CODE] == list(range(1, len(CODE) + 1))
    outputs = [output for cell in CODE for output in cell.outputs]
    assert not [o for o in outputs if o.output_type == 'error']
    assert not [o for o in outputs if o.get('name') == 'stderr']
    texts = [
        o.get('text', '') + str(o.get('data', {}).get('text/plain', ''))
        for o in outputs
    ]
    assert not re.search(r'/(home|root|tmp|Users|work)/', ''.join(texts))


def test_notebook_file_is_small():
    """GitHub shows it, and a clone is quick."""
    assert NOTEBOOK.stat().st_size < 1_500_000
