"""The numbers in the texts are those of the stored outputs and of the measurements' files."""

import re
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from packaging.version import Version
from scipy import stats

from tests.lesson import BOOK, ROOT, TEXT
from tests.measurements.tables import (
    RESULTS,
    grouped,
    mean_and_deviation,
    read,
    time_ratios,
)

README = (ROOT / 'README.md').read_text('utf-8')
# Sizes, years and lengths of a training, which nobody has measured.
GIVEN = '70,000 55,000 10,000 2,000 1,000 1000 100 101 900 2014 2016 1e-4 128 255 512 576 784 1764'
GIVEN = {*GIVEN.split(), '99%'}
# The rows of the tables in exercises 7 and 8: the networks as the measurements call them.
EXERCISE_7 = ['ours', '3×3 filters', '8 and 18 filters', '32 neurons', '3×3 filters, 32 and 72']
EXERCISE_8 = [
    'ours',
    'one more convolution',
    'only the first convolution',
    'only the last fully-connected layer',
]


def numbers(cell_id):
    """Return all numbers in a text, without those in code and links."""
    text = re.sub(r'```.*?```|\]\([^)]*\)|`[^`]*`', ' ', TEXT[cell_id], flags=re.DOTALL)
    return re.findall(r'\d+(?:,\d{3})*(?:\.\d+)?%?', text)


def is_figure(number):
    """Tell whether a number looks measured: it has a point, a percent sign or three digits."""
    return number not in GIVEN and bool(re.search(r'[.%,]|\d{3}', number))


def printed(cell_id):
    """Return what a cell has printed, as it is stored in the notebook."""
    cell = next(cell for cell in BOOK.cells if cell.id == cell_id)
    return ''.join(output.get('text', '') for output in cell.outputs)


def right(iterations):
    """Return how many test images were right after some iterations, in the stored run."""
    return int(re.findall(r'\((\d+) / 10000\)', printed(f'performance-{iterations}-test'))[0])


def training_errors():
    """Return the stored shares of errors in the reported batches, by their iterations."""
    cells = [f'performance-{iterations}-optimize' for iterations in (1, 1000, 10_000)]
    lines = re.findall(r'(\d+), Training Accuracy: *([\d.]+)%', ''.join(map(printed, cells)))
    # The printed percentages are rounded, and the numbers of errors are not.
    return {int(i): round(64 * (1 - float(percent) / 100)) / 64 for i, percent in lines}


def stored_matrix():
    """Return the stored confusion matrix."""
    text = printed('performance-10000-test').partition('Confusion Matrix:\n')[2]
    return np.array([row.split() for row in re.findall(r'\[([ \d]+)\]', text)], dtype=int)


def probabilities():
    """Return the stored probabilities of the nine images, and the averages below them."""
    rows = re.findall(r'\[([ \d.]+)\]', printed('performance-pred'))
    return np.array([row.split() for row in rows], dtype=float)


def accuracies(network, iterations=1000):
    """Return the accuracies of a network on the validation set in percent, one for each seed."""
    return grouped('networks', 'accuracy', 'network', 'iterations')[network, str(iterations)]


def spread(values, decimals=None):
    """Return a mean and a deviation as the two numbers that a text has."""
    if decimals:
        mean, deviation = np.mean(values), np.std(values, ddof=1)
        return [f'{mean:.{decimals}f}', f'{deviation:.{decimals}f}%']
    return f'{mean_and_deviation(values)}%'.split(' ± ')


def network(name, iterations=1000, decimals=None):
    """Return the mean and the deviation of a network's accuracies."""
    return spread(accuracies(name, iterations), decimals)


def few(name):
    """Return the mean and the deviation on the validation set after a training on few images."""
    return spread(grouped('few', 'accuracy', 'network', 'images')[name, 'validation'])


def digits(what, name='ours'):
    """Return what was found with unlike images, one number for each seed."""
    return grouped('digits', 'value', 'network', 'what')[name, what]


def parameters(name):
    """Return the number of a network's parameters, as the texts write it."""
    (number,) = {row['parameters'] for row in read('networks') if row['network'] == name}
    return f'{int(number):,}'


def time_ratio(name):
    """Return the time of a network to that of ours, the median of the rounds."""
    return np.median(time_ratios()[name])


def table_row(name):
    """Return the numbers of a network in the tables of exercises 7 and 8."""
    return [parameters(name), f'{time_ratio(name):.2f}', *network(name)]


def strides():
    """Return the differences between pooling and strides in percentage points, and the interval."""
    pooling, striding = ([float(row[name]) for row in read('strides')] for name in ('pooling', 'strides'))
    low, high = stats.ttest_rel(pooling, striding).confidence_interval()
    return np.subtract(pooling, striding), low, high


def machines(batch):
    """Return the speed of two workers to that of one."""
    speeds = grouped('machines', 'images_per_second', 'images_per_worker', 'workers')
    return f'{np.median(np.divide(speeds[batch, "2"], speeds[batch, "1"])):.2f}'
