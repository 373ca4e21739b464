"""Measures exercise 14's table: images a second of one worker and of two that train together.

One worker has the notebook as it is, and two have the solution's edits. They take turns in an order
that is drawn anew in each round. Each worker has a core of its own.
"""

import os
import random
import re
import sys
from textwrap import dedent

import numpy as np

from tests.lesson import code_blocks
from tests.measurements.tables import grouped, print_table, write
from tests.solutions import cells_for_workers
from tests.workers import script, start

ROUNDS = 5
BATCHES = [64, 512]  # images
# The loop of `optimize`, with a step that is recorded before the clock starts.
TIMED = """
{step}
order = random_order(len(data.train.images))
for batch_size in {batches}:
    for num_iterations in [2, 16384 // batch_size]:
        begin = time.perf_counter()
        for _ in range(num_iterations):
            batch = list(islice(order, batch_size))
            step(data.train.images[batch], data.train.labels[batch])
        seconds = time.perf_counter() - begin
    print('Images/s:', batch_size * num_iterations / seconds)
"""


def scripts(num_workers):
    """Return the scripts of one worker, unedited, or of several, edited as the solution says."""
    edits, step = None, 'step = tf.function(train_step)'
    if num_workers > 1:
        edits, step = cells_for_workers(), dedent(code_blocks('exercise-14')[2])
    code = script('optimize-code', edits) + TIMED.format(step=step, batches=BATCHES)
    cores = sorted(os.sched_getaffinity(0))
    pin = 'import os\nos.sched_setaffinity(0, [{}])\n'
    return [pin.format(cores[worker]) + code for worker in range(num_workers)]


def measure():
    """Yield the images a second of one worker, and of two workers together."""
    for turn in range(1, ROUNDS + 1):
        for num_workers in random.sample([1, 2], 2):
            logs = start(*scripts(num_workers))
            found = [re.findall('Images/s: (.*)', log) for log in logs]
            if not all(len(speeds) == len(BATCHES) for speeds in found):
                raise RuntimeError('\n'.join(logs))
            for batch, speed in zip(BATCHES, np.sum(np.array(found, float), axis=0), strict=True):
                yield batch, num_workers, turn, f'{speed:.0f}'


def print_results():
    """Print the medians of the rounds, also of the ratios in each round."""
    speeds = grouped('machines', 'images_per_second', 'images_per_worker', 'workers')
    rows = []
    for batch in BATCHES:
        one, two = (speeds[str(batch), workers] for workers in '12')
        ratio = np.median(np.divide(two, one))
        rows.append([batch, f'{np.median(one):.0f}', f'{np.median(two):.0f}', f'{ratio:.2f}'])
    columns = ['images per worker and iteration', 'one worker', 'two workers', 'ratio']
    print_table(columns, rows)


if __name__ == '__main__':
    if sys.argv[1:] != ['--tables']:
        write('machines', 'images_per_worker workers round images_per_second', measure())
    print_results()
