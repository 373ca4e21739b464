"""The script that writes the notebook's outputs, on small notebooks."""

import nbformat
import pytest
from nbclient.exceptions import CellExecutionError
from nbformat.v4 import new_code_cell, new_notebook

from tests.measurements.outputs import METADATA, main

# Two prints that arrive one by one, a picture in the notebook's folder, and another print.
PRINTS = """
from IPython.display import Image, display
print('a', flush=True)
print('b')
display(Image('beside.png'))
print('ü')
"""


def write(path, *sources):
    """Write a notebook with code cells of the sources, and with metadata of an editor."""
    cells = [new_code_cell(source, metadata={'collapsed': True}) for source in sources]
    nbformat.write(new_notebook(cells=cells, metadata={'widgets': {}}), path)


def test_the_notebook_gets_its_outputs_and_no_metadata_that_it_does_not_need(tmp_path):
    (tmp_path / 'beside.png').write_bytes(b'')
    write(tmp_path / 'notebook.ipynb', PRINTS)
    main(tmp_path / 'notebook.ipynb')
    book = nbformat.read(tmp_path / 'notebook.ipynb', as_version=4)
    first, picture, last = book.cells[0].outputs
    assert [first.text, picture.output_type, last.text] == ['a\nb\n', 'display_data', 'ü\n']
    assert book.metadata == METADATA and not book.cells[0].metadata


@pytest.mark.parametrize('source', ['1 / 0', 'import sys\nprint("old", file=sys.stderr)'])
def test_nothing_is_written_if_a_cell_fails_or_writes_to_stderr(tmp_path, source):
    path = tmp_path / 'notebook.ipynb'
    write(path, 'print(1)', source)
    before = path.read_bytes()
    with pytest.raises((SystemExit, CellExecutionError), match=r'ZeroDivisionError|old'):
        main(path)
    assert path.read_bytes() == before
