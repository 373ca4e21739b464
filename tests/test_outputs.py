"""The script that writes the notebook's outputs, on small notebooks."""

import nbformat
import pytest
from nbclient.exceptions import CellExecutionError
from nbformat.v4 import new_code_cell, new_notebook

from tests.measurements.outputs import METADATA, main


def write(path, source):
    """Write a notebook with one code cell, and with metadata of an editor."""
    cell = new_code_cell(source, metadata={'collapsed': True})
    nbformat.write(new_notebook(cells=[cell], metadata={'widgets': {}}), path)


def test_the_notebook_gets_its_outputs_and_no_metadata_that_it_does_not_need(tmp_path):
    """The prints arrive one by one."""
    path = tmp_path / 'notebook.ipynb'
    write(path, "from pathlib import Path\nprint('ü', flush=True)\nprint(*Path().iterdir())")
    main(path)
    book = nbformat.read(path, as_version=4)
    assert [output.text for output in book.cells[0].outputs] == ['ü\nnotebook.ipynb\n']
    assert book.metadata == METADATA and not book.cells[0].metadata


@pytest.mark.parametrize('source', ['1 / 0', 'import sys\nprint("old", file=sys.stderr)'])
def test_nothing_is_written_if_a_cell_fails_or_writes_to_stderr(tmp_path, source):
    path = tmp_path / 'notebook.ipynb'
    write(path, source)
    before = path.read_bytes()
    with pytest.raises((SystemExit, CellExecutionError), match=r'ZeroDivisionError|old'):
        main(path)
    assert path.read_bytes() == before
