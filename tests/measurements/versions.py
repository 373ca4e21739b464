"""Runs the notebook, shortened, with the lowest and the highest versions that are allowed.

Usage: python -m tests.measurements.versions [pythons], by default those of pyenv from 3.10 on
"""

import json
import re
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat

from tests.lesson import ROOT, without_outputs
from tests.measurements.tables import print_table, read, write

PACKAGES = 'tensorflow keras numpy matplotlib scikit-learn'
VERSIONS = f"""import importlib.metadata, json, platform
print(json.dumps([platform.python_version(), *map(importlib.metadata.version, {PACKAGES.split()})]))
"""
# 200 iterations in place of 10,000.
EDITED = ['performance-1000-optimize', 'performance-10000-optimize']
EDITS = dict.fromkeys(EDITED, 'optimize(num_iterations=50)')


def executed(command):
    """Return the shortened notebook as jupyter runs it, and the seconds that takes."""
    with TemporaryDirectory() as folder:
        copy = Path(folder, 'copy.ipynb')
        nbformat.write(without_outputs(EDITS), copy)
        Path(folder, 'data').symlink_to(ROOT / 'data')
        begin = time.perf_counter()
        subprocess.run([*command, 'jupyter', 'execute', '--inplace', copy], check=True)
        return nbformat.read(copy, as_version=4), time.perf_counter() - begin


def measure(pythons):
    """Yield what each Python does with the lowest and with the highest versions."""
    for python in pythons:
        for allowed in ['lowest-direct', 'highest']:
            command = [Path(sys.executable).with_name('uv'), 'run', '--isolated', '--no-project']
            command += ['--no-build', f'--python={python}', f'--resolution={allowed}']
            command += [f'--with-requirements={ROOT}/requirements.txt']
            versions = json.loads(subprocess.check_output([*command, 'python', '-c', VERSIONS]))
            book, seconds = executed(command)
            outputs = [output for cell in book.cells for output in cell.get('outputs', [])]
            printed, errors = (
                ''.join(output.text for output in outputs if output.get('name') == stream)
                for stream in ['stdout', 'stderr']
            )
            accuracy = re.findall(r'Accuracy on Test-Set: ([\d.]+%)', printed)[-1]
            yield [*versions, allowed, f'{seconds:.0f}', accuracy, errors]


def print_results():
    """Print the rows of the file."""
    rows = read('versions')
    for row in rows:
        row['stderr'] = row['stderr'].strip().replace('\n', ' ') or 'none'
    print_table(rows[0], [row.values() for row in rows])


if __name__ == '__main__':
    if sys.argv[1:] != ['--tables']:
        pyenv = sorted(Path.home().glob('.pyenv/versions/3.1?.*/bin/python3'))
        columns = f'python {PACKAGES} allowed seconds accuracy stderr'
        write('versions', columns, measure(sys.argv[1:] or pyenv))
    print_results()
