"""Run the notebook, shortened, on all Pythons with the lowest and highest versions allowed."""

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK = ROOT / 'notebooks/03_Keras_Sequential.ipynb'
PACKAGES = ['tensorflow', 'keras', 'numpy', 'matplotlib', 'scikit-learn']


def run(*command):
    """Return what a command prints, or raise an error."""
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def interpreters():
    """Return the Pythons named as arguments, and one of each version of pyenv's and on PATH."""
    folders = [*Path.home().glob('.pyenv/versions/*/bin'), *map(Path, os.get_exec_path())]
    paths = [[folder / f'python3.{minor}' for folder in folders] for minor in range(10, 15)]
    return sys.argv[1:] + [found[0] for p in paths if (found := [*filter(Path.exists, p)])]


def measure(python, resolution, folder):
    """Return the versions, seconds, accuracy and number of stderr outputs in a new environment."""
    run(python, '-m', 'venv', folder / 'venv')
    module = [folder / 'venv/bin/python', '-m']
    run(*module, 'pip', 'install', 'uv')
    options = ['--only-binary=:all:', '--resolution', resolution, '-o', folder / 'versions.txt']
    run(*module, 'uv', 'pip', 'compile', ROOT / 'requirements.txt', *options)
    run(*module, 'pip', 'install', '-r', folder / 'versions.txt')
    source, count = re.subn('(num_iterations=9)0{2,3}', r'\1', NOTEBOOK.read_text())
    assert count == 2, 'The two long trainings are not in the notebook.'
    copy = folder / 'copy.ipynb'
    copy.write_text(source)
    (folder / 'data').symlink_to(ROOT / 'data')
    start = time.time()
    run(*module, 'nbconvert', '--to=notebook', '--execute', '--inplace', copy)
    seconds = round(time.time() - start)
    result, versions = copy.read_text(), (folder / 'versions.txt').read_text()
    accuracy = re.findall(r'Accuracy on Test-Set: ([\d.]+%)', result)[-1]
    cells = [re.search(rf'(?m)^{name}==(\S+)', versions)[1] for name in PACKAGES]
    return [*cells, seconds, accuracy, result.count('"name": "stderr"') or 'none']


print('| Python | allowed | ' + ' | '.join([*PACKAGES, 'seconds', 'accuracy', 'stderr |']))
print('| --- ' * 10 + '|')
for python in interpreters():
    for resolution in ['lowest-direct', 'highest']:
        with tempfile.TemporaryDirectory() as folder:
            try:
                cells = measure(python, resolution, Path(folder))
            except subprocess.CalledProcessError as error:
                cells = [error.stderr.strip().rpartition('\n')[2]]
        print('|', run(python, '-V').split()[1], '|', resolution, *(f'| {c}' for c in cells), '|')
