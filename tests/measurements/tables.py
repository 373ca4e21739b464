"""The files of results, and the Markdown tables made of them."""

import csv
from pathlib import Path

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


def print_table(columns, rows):
    """Print a Markdown table."""
    print('|', ' | '.join(columns), '|')
    print('| --- ' * len(columns) + '|')
    for row in rows:
        print('|', ' | '.join(map(str, row)), '|')
