"""Prints exercise 13's table of images a second. Usage: measure_machines.py [rounds], by default 5.

In each round one worker, with the notebook as it is, and two, with the solution's edits, train in
changing order, each worker on a core of its own.
"""

import json
import os
import random
import re
import socket
import sys
import tempfile
from pathlib import Path
from subprocess import DEVNULL, Popen

import nbformat
import numpy as np
from reader import NOTEBOOK, blocks, environment, replaced

# Each of the solution's first blocks replaces the one line of code that contains the text.
LINES = ['clear_output()', 'random_seed(', '  train_step(']
TIMED = """
images, labels = tf.constant(data.train.images), tf.constant(data.train.labels)
for batch_size in [64, 512]:
    for num_iterations in [2, 16384 // batch_size]:  # The graph is recorded in the first two.
        begin = time.perf_counter()
        train(model, model.optimizer, images, labels, batch_size, tf.constant(num_iterations))
    print('Images/s:', batch_size * num_iterations / (time.perf_counter() - begin))
"""


def code_of(notebook, edited):
    """Return the code of all cells, but for %config, edited as the solution says or not."""
    code = '\n\n'.join(cell.source for cell in notebook.cells if cell.cell_type == 'code')
    if edited:
        solution = blocks({cell.id: cell.source for cell in notebook.cells}, 13)
        for part, block in zip(LINES, solution, strict=False):
            code = replaced(code, part, block)
    return re.sub('^%.*', '', code, flags=re.MULTILINE)


def start(folder, *codes):
    """Run each code in a process; if there are several, they are workers that train together."""
    sockets = [socket.create_server(('127.0.0.1', 0)) for _ in codes]
    workers = [f'127.0.0.1:{sock.getsockname()[1]}' for sock in sockets]
    processes = []
    for i, code in enumerate(codes):
        sockets[i].close()
        config = {'cluster': {'worker': workers}, 'task': {'type': 'worker', 'index': i}}
        place = environment(MPLBACKEND='agg', PYTHONUTF8='1', PYTHONUNBUFFERED='1')
        place |= {'TF_CONFIG': json.dumps(config)} if len(codes) > 1 else {}
        script = Path(folder, f'{i} of {len(codes)}.py')
        script.write_text(code, encoding='utf-8')
        with script.with_suffix('.txt').open('wb') as log:
            files = {'stdin': DEVNULL, 'stdout': log, 'stderr': log, 'cwd': NOTEBOOK.parent}
            processes.append(Popen([sys.executable, script], env=place, **files))
    return processes


def speeds(*cores):
    """Let a worker on each core train; return the images a second of all, for both batches."""
    code = code_of(nbformat.read(NOTEBOOK, as_version=4), edited=len(cores) > 1)
    code = code.split('\ndef optimize(')[0] + TIMED
    codes = [f'import os\nos.sched_setaffinity(0, [{core}])\n{code}' for core in cores]
    with tempfile.TemporaryDirectory() as folder:
        assert not any([p.wait() for p in start(folder, *codes)]), 'A worker has failed.'
        logs = [log.read_text(encoding='utf-8') for log in Path(folder).glob('*.txt')]
    return sum(np.array(re.findall('Images/s: (.*)', log), float) for log in logs)


def main(rounds=5):
    """Measure, and print the medians."""
    cores, runs = sorted(os.sched_getaffinity(0))[:2], {1: [], 2: []}
    for _ in range(rounds):
        for workers in random.sample([1, 2], 2):
            runs[workers].append(speeds(*cores[:workers]))
    one, two = map(np.array, runs.values())
    print('| images per worker | one worker | two workers | ratio |\n| --- | --- | --- | --- |')
    medians = np.median([one, two, two / one], axis=1)
    for batch, first, second, ratio in zip([64, 512], *medians, strict=True):
        print(f'| {batch} | {first:.0f} | {second:.0f} | {ratio:.2f} |')


if __name__ == '__main__':
    main(*map(int, sys.argv[1:]))
