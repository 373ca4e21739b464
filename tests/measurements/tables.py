"""The files of results, what is computed from them, and the Markdown tables made of that."""

import csv
from collections import defaultdict
from pathlib import Path

import numpy as np

RESULTS = Path(__file__).parent / 'results'


def write(name, columns, rows):
    """Write the rows of a table to its file, each as soon as it is there."""
    path = RESULTS / f'{name}.csv'
    with path.open('w', buffering=1, encoding='utf-8', newline='') as file:
        writer = csv.writer(file, lineterminator='\n')
        writer.writerow(columns.split())
        writer.writerows(rows)


def read(name):
    """Return the rows of a table's file as dictionaries."""
    with (RESULTS / f'{name}.csv').open(encoding='utf-8', newline='') as file:
        return list(csv.DictReader(file))


def grouped(name, value, *columns):
    """Return lists of the numbers in one column of a file, by the texts in other columns."""
    groups = defaultdict(list)
    for row in read(name):
        groups[tuple(row[column] for column in columns)].append(float(row[value]))
    return groups


def mean_and_deviation(values):
    """Return 'mean ± standard deviation' of some runs, or '' without values."""
    if not values:
        return ''
    mean, deviation = np.mean(values), np.std(values, ddof=1)
    # One decimal, but two where one would say that the runs don't differ.
    decimals = 1 if deviation >= 0.05 else 2
    return f'{mean:.{decimals}f} ± {deviation:.{decimals}f}'


def time_ratios():
    """Return the ratios of the networks' times to ours in the same round, by the networks."""
    seconds = grouped('times', 'seconds', 'network')
    ours = seconds[('ours',)]
    return {name: np.divide(found, ours) for (name,), found in seconds.items()}


def print_table(columns, rows):
    """Print a Markdown table, and an empty line below it."""
    print('|', ' | '.join(columns), '|')
    print('| --- ' * len(columns) + '|')
    for row in rows:
        print('|', ' | '.join(map(str, row)), '|')
    print()
