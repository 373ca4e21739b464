"""The files of results, what is computed from them, and the Markdown tables made of that."""

import csv
from collections import defaultdict
from pathlib import Path

import numpy as np

RESULTS = Path(__file__).parent / 'results'


def write(name, columns, rows):
    """Write the rows of a table to its file, each as soon as it is there."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f'{name}.csv'
    with path.open('w', buffering=1, encoding='utf-8', newline='') as file:
        writer = csv.writer(file, lineterminator='\n')
        writer.writerow(columns)
        writer.writerows(rows)


def read(name):
    """Return the rows of a table's file as dictionaries; none if there is no file."""
    path = RESULTS / f'{name}.csv'
    if not path.exists():
        return []
    with path.open(encoding='utf-8', newline='') as file:
        return list(csv.DictReader(file))


def grouped(name, value, *columns):
    """Return lists of the numbers in one column of a file, by the texts in other columns."""
    groups = defaultdict(list)
    for row in read(name):
        groups[tuple(row[column] for column in columns)].append(float(row[value]))
    return groups


def mean_and_deviation(values):
    """Return 'mean ± standard deviation' of some runs, or '' without values.

    There are two decimals where one would say that the runs don't differ.
    """
    if len(values) < 2:
        return ''.join(f'{value:.1f}' for value in values)
    mean, deviation = np.mean(values), np.std(values, ddof=1)
    decimals = 1 if deviation >= 0.05 else 2
    return f'{mean:.{decimals}f} ± {deviation:.{decimals}f}'


def time_ratios():
    """Return the ratios of the networks' times to ours in the same round, by the networks."""
    seconds = grouped('times', 'seconds', 'network', 'round')
    ratios = defaultdict(list)
    for (name, turn), (found,) in seconds.items():
        ratios[name].append(found / seconds['ours', turn][0])
    return ratios


def print_table(columns, rows):
    """Print a Markdown table."""
    print('|', ' | '.join(columns), '|')
    print('| --- ' * len(columns) + '|')
    for row in rows:
        print('|', ' | '.join(map(str, row)), '|')
