"""The notebook as Jupyter's tests run it: shortened, in an environment of its own."""

import copy
import os
import sys
from pathlib import Path

from tests.notebook import BOOK, CODE, replaced, short_training


def without_outputs(edits=None):
    """Return the notebook without its stored outputs; edits has other sources by cells' ids."""
    book = copy.deepcopy(BOOK)
    for cell in book.cells:
        if cell.cell_type == 'code':
            cell.update(outputs=[], execution_count=None)
            cell.source = (edits or {}).get(cell.id, cell.source)
    return book


def shortened(edits=None):
    """Return the notebook with few iterations and test images, small pictures and no outputs."""
    small_pictures = {'seed-code': replaced(CODE['seed-code'], "['retina']", "['png']")}
    return without_outputs(short_training() | small_pictures | (edits or {}))


def environment(home, **variables):
    """Return environment variables with this Python first and without settings of the user."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.defpath])
    return {'PATH': path, 'HOME': str(home), **variables}
