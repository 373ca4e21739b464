"""Runs the notebook, shortened, with the lowest and the highest versions that are allowed.

Usage: python tests/measure_versions.py [pythons], by default those of pyenv from 3.10 on.
"""

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from reader import ROOT, shortened, text

PACKAGES = ['tensorflow', 'keras', 'numpy', 'matplotlib', 'scikit-learn']
VERSIONS = f"""import importlib.metadata, platform
print(platform.python_version(), *map(importlib.metadata.version, {PACKAGES}), sep=' | ')"""

print('| Python |', ' | '.join(PACKAGES), '| allowed | seconds | accuracy | stderr |')
print('| --- ' * 10 + '|')
pythons = sys.argv[1:] or sorted(Path.home().glob('.pyenv/versions/3.1?.*/bin/python3'))
for python, allowed in [(p, allowed) for p in pythons for allowed in ('lowest-direct', 'highest')]:
    command = [Path(sys.executable).with_name('uv'), 'run', '--isolated', '--no-project']
    command += ['--no-build', f'--python={python}', f'--resolution={allowed}']
    command += [f'--with-requirements={ROOT}/requirements.txt']
    versions = subprocess.check_output([*command, 'python', '-c', VERSIONS], text=True).strip()
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, 'copy.ipynb')
        nbformat.write(shortened(), copy)
        Path(folder, 'data').symlink_to(ROOT / 'data')
        start = time.time()
        subprocess.run([*command, 'jupyter', 'execute', '--inplace', copy], check=True)
        seconds, notebook = time.time() - start, nbformat.read(copy, as_version=4)
    outputs = [output for cell in notebook.cells for output in cell.get('outputs', [])]
    accuracy = re.findall(r'Accuracy on Test-Set: ([\d.]+%)', text(outputs))[-1]
    errors = [output.text for output in outputs if output.get('name') == 'stderr']
    print('|', versions, '|', allowed, f'| {seconds:.0f} | {accuracy} | {errors or "none"} |')
