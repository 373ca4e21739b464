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
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import PIPE, STDOUT, run
from tempfile import TemporaryDirectory

import numpy as np
from reader import NOTEBOOK, blocks, environment, replaced, shortened

TIMED = """
images, labels = tf.constant(data.train.images), tf.constant(data.train.labels)
for batch_size in [64, 512]:
    for num_iterations in [2, 16384 // batch_size]:  # The graph is recorded in the first two.
        begin = time.perf_counter()
        train(model, model.optimizer, images, labels, batch_size, tf.constant(num_iterations))
    print('Images/s:', batch_size * num_iterations / (time.perf_counter() - begin))
"""


def code_of(edited):
    """Return the shortened notebook's code, but for %config, edited as the solution says or not."""
    cells = shortened().cells
    code = '\n\n'.join(cell.source for cell in cells if cell.cell_type == 'code')
    if edited:
        solution = blocks({cell.id: cell.source for cell in cells}, 13)
        for part, block in zip(['clear_output()', 'random_seed(', '  train_step('], solution):
            code = replaced(code, part, block)
    return re.sub('^%.*', '', code, flags=re.MULTILINE)


def start(*codes):
    """Run each code in a process, several as workers of a cluster; return what each has printed."""
    sockets = [socket.create_server(('127.0.0.1', 0)) for _ in codes]
    workers = [f'127.0.0.1:{sock.getsockname()[1]}' for sock in sockets]

    def work(i):
        sockets[i].close()
        config = {'cluster': {'worker': workers}, 'task': {'type': 'worker', 'index': i}}
        place = environment(TF_CONFIG=json.dumps(config), MPLBACKEND='agg', PYTHONUTF8='1')
        options = {'env': place, 'cwd': NOTEBOOK.parent, 'stdout': PIPE, 'stderr': STDOUT}
        script = Path(folder, f'{i}.py')
        script.write_text(codes[i], encoding='utf-8')
        return run([sys.executable, '-u', script], encoding='utf-8', timeout=900, **options).stdout

    with TemporaryDirectory() as folder, ThreadPoolExecutor() as pool:
        return list(pool.map(work, range(len(codes))))


def main(rounds=5):
    """Measure, and print the medians."""
    cores, images = sorted(os.sched_getaffinity(0))[:2], np.zeros((2, rounds, 2))
    for turn in range(rounds):
        for number in random.sample([1, 2], 2):
            code = code_of(edited=number > 1).split('\ndef optimize(')[0] + TIMED
            pins = [f'import os\nos.sched_setaffinity(0, [{core}])\n' for core in cores[:number]]
            logs = start(*[pin + code for pin in pins])
            found = [re.findall('Images/s: (.*)', log) for log in logs]
            assert all(len(speeds) == 2 for speeds in found), logs
            images[number - 1, turn] = np.sum(np.array(found, float), axis=0)
    print('| images per worker | one worker | two workers | ratio |\n| --- | --- | --- | --- |')
    medians = np.median([*images, images[1] / images[0]], axis=1)
    for batch, one, two, ratio in zip([64, 512], *medians, strict=True):
        print(f'| {batch} | {one:.0f} | {two:.0f} | {ratio:.2f} |')


if __name__ == '__main__':
    main(*map(int, sys.argv[1:]))
