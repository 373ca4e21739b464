"""The notebook as several workers run it: a script and a process for each, as in exercise 14."""

import json
import os
import random
import re
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.lesson import CODE, NOTEBOOK


def script(until=None, edits=None):
    """Return the code cells above the one with the id `until` as a Python script.

    edits has sources by the cells' ids, which are there in place of the notebook's.
    """
    sources = CODE | (edits or {})
    end = list(CODE).index(until) if until else None
    return re.sub('^%.*', '', '\n\n'.join(list(sources.values())[:end]), flags=re.MULTILINE)


def reserve_port():
    """Return a socket with a free port that no program gets unless it asks for this number."""
    while True:
        try:
            return socket.create_server(('127.0.0.1', random.randrange(20_000, 30_000)))
        except OSError:
            continue


def start(*scripts):
    """Run each script in a process, all as workers of one cluster; return what each has printed.

    Errors are among what is printed. A worker that fails raises nothing here.
    """
    # A port stays taken until the worker starts that will listen there.
    sockets = [reserve_port() for _ in scripts]
    workers = [f'127.0.0.1:{sock.getsockname()[1]}' for sock in sockets]

    def work(index):
        config = {'cluster': {'worker': workers}, 'task': {'type': 'worker', 'index': index}}
        variables = {'TF_CONFIG': json.dumps(config), 'MPLBACKEND': 'agg', 'PYTHONUTF8': '1'}
        path = Path(folder, f'worker{index}.py')
        path.write_text(scripts[index], encoding='utf-8')
        sockets[index].close()
        return subprocess.run(
            [sys.executable, '-u', path],
            env=os.environ | variables,
            cwd=NOTEBOOK.parent,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding='utf-8',
            timeout=900,
        ).stdout

    with TemporaryDirectory() as folder, ThreadPoolExecutor(len(scripts)) as pool:
        return list(pool.map(work, range(len(scripts))))
