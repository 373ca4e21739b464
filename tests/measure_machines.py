"""Prints exercise 13's table of images a second. Usage: measure_machines.py [rounds]."""

import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from statistics import median

import nbformat

FOLDER = Path(__file__).parents[1] / 'notebooks'
# Each of the solution's first blocks replaces the one line of code that contains the text.
LINES = ['clear_output()', 'random_seed(', '  train_step(']
IMAGES = 4096  # that each worker trains on in a turn
TURNS = """
import sys
images, labels = tf.constant(data.train.images), tf.constant(data.train.labels)
for line in sys.stdin:
    batch, start = int(line), time.perf_counter()
    train(model, model.optimizer, images, labels, batch, tf.constant({} // batch)).numpy()
    print('seconds:', time.perf_counter() - start)
"""


def replace(code, part, new):
    """Put new code in the place of the one line that contains part."""
    (line,) = [line for line in code.splitlines() if part in line]
    return code.replace(f'\n{line}\n', f'\n{new}\n')


def notebook_code(edited):
    """Return the code of all cells, but for %config, edited as the solution says or not."""
    cells = nbformat.read(FOLDER / '03_Keras_Sequential.ipynb', as_version=4).cells
    code = '\n\n'.join(cell.source for cell in cells if cell.cell_type == 'code')
    solution = next(cell.source for cell in cells if cell.id == 'exercise-13')
    blocks = re.findall(r'```python\n(.*?)\n```', solution, re.DOTALL)
    for part, block in zip(LINES, blocks if edited else [], strict=False):
        code = replace(code, part, block)
    return re.sub('^%.*', '', code, flags=re.MULTILINE)


def start(folder, *codes):
    """Run each code in a process and group of its own; if there are several, they are workers."""
    sockets = [socket.create_server(('127.0.0.1', 0)) for _ in codes]
    workers = [f'127.0.0.1:{sock.getsockname()[1]}' for sock in sockets]
    for sock in sockets:
        sock.close()
    for i, code in enumerate(codes):
        script = Path(folder, f'{i} of {len(codes)}.py')
        script.write_text(code, encoding='utf-8')
        config = {'cluster': {'worker': workers}, 'task': {'type': 'worker', 'index': i}}
        environ = os.environ | {'MPLBACKEND': 'agg', 'PYTHONUTF8': '1', 'PYTHONUNBUFFERED': '1'}
        environ |= {'TF_CONFIG': json.dumps(config)} if len(codes) > 1 else {}
        how = {'cwd': FOLDER, 'env': environ, 'stdin': subprocess.PIPE, 'start_new_session': True}
        with open(script.with_suffix('.txt'), 'wb') as log:
            yield subprocess.Popen([sys.executable, script], stdout=log, stderr=log, **how)


def kill(process):
    """Kill a process and its group; return whether there was anything left of them."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
        return process.wait() is not None


def program(edited, core):
    """Return code that keeps to one core, makes the model, and trains when told a batch-size."""
    code = notebook_code(edited).split('\ndef optimize(')[0]
    return f'import os\nos.sched_setaffinity(0, [{core}])\n{code}{TURNS.format(IMAGES)}'


def speed(processes, batch):
    """Let workers train at the same time; return the images a second of all together."""
    logs = [Path(process.args[1]).with_suffix('.txt') for process in processes]
    before = [len(re.findall('seconds: .*\n', log.read_text('utf-8'))) for log in logs]
    for process in processes:
        process.stdin.write(b'%d\n' % batch)
        process.stdin.flush()
    while True:
        found = [re.findall('seconds: (.*)\n', log.read_text('utf-8')) for log in logs]
        if all(len(times) > n for times, n in zip(found, before, strict=True)):
            return sum(IMAGES / float(times[-1]) for times in found)
        assert all(process.poll() is None for process in processes), logs[0].read_text('utf-8')
        time.sleep(0.05)


def main(rounds):
    """Measure one and two workers in turn, in changing order, and print the medians."""
    cores, processes = sorted(os.sched_getaffinity(0))[:2], []
    cases = [(batch, workers) for batch in [64, 512] for workers in [1, 2]]
    with tempfile.TemporaryDirectory() as folder:
        try:
            processes += start(folder, program(False, cores[0]))
            processes += start(folder, *[program(True, core) for core in cores])
            turns = [random.sample(cases, 4) for _ in range(rounds + 1)]
            run = [{(b, n): speed(processes[n - 1 :][:n], b) for b, n in turn} for turn in turns]
        finally:
            list(map(kill, processes))
    print('| images per worker | one worker | two workers | ratio |\n| --- | --- | --- | --- |')
    for batch in [64, 512]:
        one, two = ([speeds[batch, n] for speeds in run[1:]] for n in [1, 2])  # 0 is the tracing
        ratio = median(b / a for a, b in zip(one, two, strict=True))
        print(f'| {batch} | {median(one):.0f} | {median(two):.0f} | {ratio:.2f} |')


if __name__ == '__main__':
    main(int(sys.argv[1]) if sys.argv[1:] else 11)
