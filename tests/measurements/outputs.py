"""Runs the notebook from top to bottom and writes it back with its outputs.

If a cell raises an error or writes to stderr, nothing is written.
"""

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from tests.lesson import NOTEBOOK

# All that an editor needs, and nothing that changes with the versions or the machine.
METADATA = {
    'kernelspec': {'display_name': 'Python 3', 'language': 'python', 'name': 'python3'},
    'language_info': {'name': 'python', 'file_extension': '.py', 'nbconvert_exporter': 'python'},
}


def merged(outputs):
    """Return outputs with one stream in place of several in a row: how many there are is chance."""
    result = []
    for output in outputs:
        if output.output_type == 'stream' and result and result[-1].get('name') == output.name:
            result[-1].text += output.text
        else:
            result.append(output)
    return result


def main(path=NOTEBOOK):
    """Run the notebook in a new kernel, in the notebook's folder, and write it."""
    book = nbformat.read(path, as_version=4)
    resources = {'metadata': {'path': str(Path(path).parent)}}
    client = NotebookClient(book, timeout=None, record_timing=False, resources=resources)
    client.execute()
    for cell in book.cells:
        cell.metadata = {}
        if cell.cell_type == 'code':
            cell.outputs = merged(cell.outputs)
            for output in cell.outputs:
                if output.get('name') == 'stderr':
                    sys.exit(f'{output.text}\n{cell.id} wrote to stderr, so nothing is written.')
    book.metadata = METADATA
    nbformat.write(book, path)


if __name__ == '__main__':
    main()
