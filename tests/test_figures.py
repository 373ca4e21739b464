"""The figures in the texts are those of the stored outputs and of the measurements' files."""

import csv
import re
import subprocess
import sys
from collections import defaultdict

import numpy as np
import pytest
from scipy import stats

from tests.notebook import BOOK, ROOT, TEXT

RESULTS = ROOT / 'tests/measurements/results'
# The accuracies in each text, in their order: of which network, after how many iterations.
ACCURACIES = {
    'weights-conv2': [('both convolutions frozen', 1000), ('ours', 1000)],
    'conclusion': [
        *(("ours, Glorot's initialization", 100), ('ours', 100)),
        *(('learning rate 1e-3', 1000), ('ours', 1000)),
    ],
    'exercises': [('ours', 100), ('ours', 1000)],
    'exercise-1': [
        *(('sigmoid', 100), ('sigmoid', 1000), ('ours', 1000)),
        ("sigmoid, Glorot's initialization", 1000),
    ],
    'exercise-2': [('sigmoid in fc1', 1000), ('ours', 1000)],
    'exercise-3': [('L2', 100), ('L2', 1000)],
    'exercise-5': [('dropout', 1000), ('ours', 1000)],
    'exercise-7': [
        *(('ours', 1000), ('3×3 filters', 1000), ('8 and 18 filters', 1000)),
        *(('32 neurons', 1000), ('3×3 filters, 32 and 72', 1000)),
    ],
    'exercise-8': [
        *(('ours', 1000), ('one more convolution', 1000), ('only the first convolution', 1000)),
        ('only the last fully-connected layer', 1000),
    ],
    'exercise-9': [
        *(('8 and 16 filters, no fc1', 10_000), ('ours', 10_000)),
        ('4 and 8 filters, no fc1', 10_000),
    ],
    'exercise-14': [
        *(('ours', 'as they are'), ('ours', 'moved by four pixels')),
        *(('RandomTranslation', 'moved by four pixels'), ('RandomTranslation', 'as they are')),
        ('ours', 'inverted'),
    ],
}
# The networks in the tables of exercises 7 and 8, by the names of their rows.
ROWS = {
    'ours: 5×5, 16 and 36 filters, 128 neurons': 'ours',
    '3×3 filters': '3×3 filters',
    '8 and 18 filters': '8 and 18 filters',
    '32 neurons': '32 neurons',
    '3×3 filters, 32 and 72 of them': '3×3 filters, 32 and 72',
    'ours': 'ours',
    'one more convolution': 'one more convolution',
    'without the second convolution and its pooling': 'only the first convolution',
    'without the first fully-connected layer': 'only the last fully-connected layer',
}


def rows(name):
    """Return the rows of a file of results, as dictionaries of texts."""
    with (RESULTS / f'{name}.csv').open(encoding='utf-8', newline='') as file:
        return list(csv.DictReader(file))


def columns(name, value, *keys):
    """Return the numbers in one column of a file of results, by the texts in other columns."""
    groups = defaultdict(list)
    for row in rows(name):
        groups[tuple(row[key] for key in keys)].append(float(row[value]))
    return groups


def mean_and_deviation(values):
    """Return the mean and the standard deviation of a single run, as the texts write them."""
    return f'{np.mean(values):.1f} ± {np.std(values, ddof=1):.1f}%'


def accuracy(network, what):
    """Return the accuracy of a network after some iterations, or on some kind of images."""
    if isinstance(what, str):
        return mean_and_deviation(columns('digits', 'value', 'network', 'what')[network, what])
    found = columns('networks', 'accuracy', 'network', 'iterations')
    return mean_and_deviation(found[network, str(what)])


def parameters(network):
    """Return the number of a network's parameters, as the texts write it."""
    (number,) = {row['parameters'] for row in rows('networks') if row['network'] == network}
    return f'{int(number):,}'


def time_ratio(network):
    """Return the time of a network to that of ours, the median of the rounds, or '1.00'."""
    seconds = columns('times', 'seconds', 'network', 'round')
    rounds = [turn for name, turn in seconds if name == network]
    ratios = [seconds[network, turn][0] / seconds['ours', turn][0] for turn in rounds]
    return f'{np.median(ratios):.2f}'


def flat(cell_id):
    """Return a text of the notebook in one line."""
    return ' '.join(TEXT[cell_id].split())


def table_rows(text):
    """Return the cells of all rows of the tables in a text."""
    lines = [line for line in text.splitlines() if line.startswith('| ')]
    return [[cell.strip() for cell in line.strip('|').split('|')] for line in lines]


def printed(cell_id):
    """Return what a cell has printed, as it is stored in the notebook."""
    cell = next(cell for cell in BOOK.cells if cell.id == cell_id)
    return ''.join(output.get('text', '') for output in cell.outputs)


def last_count():
    """Return how many test images were right after 10,000 iterations."""
    return int(re.findall(r'\((\d+) / 10000\)', printed('performance-10000-test'))[-1])


@pytest.mark.parametrize('iterations', [0, 1, 100, 1000, 10_000])
def test_a_stored_accuracy_belongs_to_its_count(iterations):
    line = r'Accuracy on Test-Set: ([\d.]+%) \((\d+) / 10000\)'
    ((percent, count),) = re.findall(line, printed(f'performance-{iterations}-test'))
    assert percent == f'{int(count) / 10_000:.1%}'


def test_the_stored_confusion_matrix_has_the_last_count_on_its_diagonal():
    text = printed('performance-10000-test').partition('Confusion Matrix:\n')[2]
    matrix = np.array([row.split() for row in re.findall(r'\[([ \d]+)\]', text)], dtype=int)
    assert matrix.shape == (10, 10)
    assert matrix.sum() == 10_000
    assert matrix.trace() == last_count()


def test_readme_has_the_number_of_errors_that_the_stored_outputs_have():
    readme = (ROOT / 'README.md').read_text('utf-8')
    sentence = r'(\d+) errors in the 10,000 test images after 10,000 iterations'
    assert [int(number) for number in re.findall(sentence, readme)] == [10_000 - last_count()]


def test_accuracies_in_the_text_are_the_measured_ones():
    found = {cell_id: re.findall(r'\d+\.\d ± \d+\.\d%', flat(cell_id)) for cell_id in TEXT}
    assert {cell_id: texts for cell_id, texts in found.items() if texts} == {
        cell_id: [accuracy(*key) for key in keys] for cell_id, keys in ACCURACIES.items()
    }


def test_rows_of_the_networks_in_exercises_7_and_8_are_the_measured_ones():
    found = table_rows(TEXT['exercise-7'] + '\n' + TEXT['exercise-8'])
    found = [row for row in found if row[0] not in ('network', '---')]
    assert found == [
        [name, parameters(network), time_ratio(network), accuracy(network, 1000)]
        for name, network in ROWS.items()
    ]


def test_sizes_and_times_of_the_simplest_networks_are_the_measured_ones():
    simplest, half = '8 and 16 filters, no fc1', '4 and 8 filters, no fc1'
    assert f'has {parameters(simplest)} parameters' in flat('exercise-9')
    assert f'{parameters(half)} parameters are left' in flat('exercise-9')
    assert f'{time_ratio(simplest)} of the time' in flat('exercise-9')


def test_the_comparison_of_strides_with_pooling_is_the_measured_one():
    pooling, strides = (
        np.array([float(row[name]) for row in rows('strides')]) for name in ('pooling', 'strides')
    )
    low, high = stats.ttest_rel(pooling, strides).confidence_interval()
    wins = {12: 'each', 11: 'eleven', 10: 'ten'}[np.sum(pooling > strides)]
    text = flat('exercise-6')
    assert len(pooling) == 12
    assert f'better accuracy in {wins} of the twelve pairs' in text
    assert f'{np.mean(pooling - strides):.2f} percentage points' in text
    assert f'{low:.2f} to {high:.2f}' in text
    assert f'{time_ratio("strides")} of the time' in text


def test_what_the_networks_make_of_other_images_is_measured():
    values = columns('digits', 'value', 'what', 'network')
    plain, inverted, read = (
        f'{np.mean(values[f"right of 90 printed, {way}", "ours"]):.0f}'
        for way in ('resized', 'resized and inverted', 'by read_digit')
    )
    certainty = np.mean(values['certainty when inverted', 'ours'])
    text = flat('exercise-14')
    assert f'{plain} were right' in text
    assert f'{inverted} when they were inverted' in text
    assert f'{read} by this function' in text
    assert f'mean certainty of {certainty:.0f}%' in text


def test_the_loss_before_and_after_one_iteration_is_the_measured_one():
    losses = columns('curve', 'loss', 'iterations')
    before, after = (np.mean(losses[iteration,]) for iteration in ('0', '1'))
    assert f'from {before:.2f} to {after:.2f}' in flat('performance-1')


def test_speeds_of_machines_are_the_measured_ones():
    speeds = columns('machines', 'images_per_second', 'images_per_worker', 'workers', 'round')
    expected = []
    for batch in ('64', '512'):
        one, two = (
            np.array([found[0] for key, found in sorted(speeds.items()) if key[:2] == wanted])
            for wanted in ((batch, '1'), (batch, '2'))
        )
        medians = [f'{np.median(one):.0f}', f'{np.median(two):.0f}', f'{np.median(two / one):.2f}']
        expected.append([batch, *medians])
    assert [row for row in table_rows(TEXT['exercise-13']) if row[0] in ('64', '512')] == expected


def test_speeds_of_a_loop_in_a_graph_and_of_fit_are_the_measured_ones():
    seconds = columns('speed', 'seconds', 'program')
    ours = np.array(seconds['this notebook',])
    loop = np.median(ours / seconds['the loop in a graph',]) - 1
    fit = np.median(seconds['`model.fit`, defaults',] / ours)
    assert f'{loop:.0%} faster' in flat('optimize-function')
    assert f'{fit:.2f} times the speed of `fit`' in flat('optimize-function')


@pytest.mark.parametrize(
    ('script', 'number'), [('speed', 1), ('exercises', 5), ('machines', 1), ('versions', 1)]
)
def test_tables_of_the_measurements_are_those_of_their_files(script, number):
    command = [sys.executable, '-m', f'tests.measurements.{script}', '--tables']
    output = subprocess.check_output(command, cwd=ROOT, encoding='utf-8')
    tables = re.findall(r'(?:^\|.*\n)+', output, re.MULTILINE)
    page = (RESULTS.parent / 'README.md').read_text('utf-8')
    assert len(tables) == number
    for table in tables:
        assert table in page


def test_the_lowest_versions_that_are_allowed_were_run():
    text = (ROOT / 'requirements.txt').read_text('utf-8')
    lowest = dict(re.findall(r'^([\w-]+)>=([\d.]+),', text, re.MULTILINE))
    runs = [row for row in rows('versions') if row['allowed'] == 'lowest-direct']
    assert runs
    for row in runs:
        for name in ['tensorflow', 'keras', 'numpy', 'matplotlib', 'scikit-learn']:
            assert row[name] == f'{lowest[name]}.0'
