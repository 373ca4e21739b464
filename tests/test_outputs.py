"""The script that writes the notebook's outputs, on small notebooks."""

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from tests.lesson import BOOK
from tests.measurements.outputs import main

# Two prints that arrive one by one, something else, and another print.
PRINTS = """
from IPython.display import HTML, display
print('a', flush=True)
print('b')
display(HTML('é'))
print('c')
"""


def write(path, *sources):
    """Write a notebook with a text, with code of the sources, and with metadata of an editor."""
    cells = [new_markdown_cell('Übung', id='text')]
    for number, source in enumerate(sources):
        cells.append(new_code_cell(source, id=f'code-{number}', metadata={'collapsed': True}))
    nbformat.write(new_notebook(cells=cells, metadata={'widgets': {}}), path)


def test_the_notebook_gets_its_outputs_and_no_metadata_that_it_does_not_need(tmp_path):
    (tmp_path / 'beside.txt').write_text('found')
    path = tmp_path / 'notebook.ipynb'
    write(path, "print(open('beside.txt').read())", PRINTS)
    main(path)
    text, first, second = nbformat.read(path, as_version=4).cells
    assert [text.id, first.id, second.id] == ['text', 'code-0', 'code-1']
    assert [first.execution_count, second.execution_count] == [1, 2]
    assert [output.text for output in first.outputs] == ['found\n']
    kinds = [output.output_type for output in second.outputs]
    assert kinds == ['stream', 'display_data', 'stream']
    assert [second.outputs[0].text, second.outputs[2].text] == ['a\nb\n', 'c\n']
    assert not text.metadata and not first.metadata and not second.metadata
    assert nbformat.read(path, as_version=4).metadata == BOOK.metadata
    written = path.read_text('utf-8')
    assert written.startswith('{\n "cells"') and written.endswith('}\n') and 'Übung' in written


@pytest.mark.parametrize(
    ('source', 'message'),
    [
        ('1 / 0', '(?s)ZeroDivisionError.*A cell raised an error, so nothing is written'),
        ('import sys\nprint("old", file=sys.stderr)', 'old\n\ncode-1 wrote to stderr, so nothing'),
    ],
)
def test_nothing_is_written_if_a_cell_fails_or_writes_to_stderr(tmp_path, source, message):
    path = tmp_path / 'notebook.ipynb'
    write(path, 'print(1)', source)
    before = path.read_bytes()
    with pytest.raises(SystemExit, match=message):
        main(path)
    assert path.read_bytes() == before
