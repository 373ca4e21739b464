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
from tests.measurements.tables import RESULTS, grouped, mean_and_deviation, read, time_ratios

README = (ROOT / 'README.md').read_text('utf-8')
PAGE = (RESULTS.parent / 'README.md').read_text('utf-8')
TABLE = r'(?:^\|.*\n)+'
# Sizes, years and lengths of a training, which nobody has measured.
GIVEN = '70,000 55,000 10,000 2,000 1,000 1000 100 101 900 2014 2016 2026 128 255 512 576 784 1764'
GIVEN = {*GIVEN.split(), '99%'}
# What the cells have printed, as it is stored in the notebook.
PRINTED = {
    cell.id: ''.join(output.get('text', '') for output in cell.outputs)
    for cell in BOOK.cells
    if cell.cell_type == 'code'
}
# Accuracies in percent and other results, one for each seed.
ACCURACIES = grouped('networks', 'accuracy', 'network', 'iterations')
FEW = grouped('few', 'accuracy', 'network', 'images')
CORRELATIONS = grouped('correlations', 'correlation', 'network', 'layer')
DIGITS = grouped('digits', 'value', 'network', 'what')
DIFFERENCES = [float(row['pooling']) - float(row['strides']) for row in read('strides')]
PARAMETERS = {row['network']: f'{int(row["parameters"]):,}' for row in read('networks')}
TIMES = {name: np.median(ratios) for name, ratios in time_ratios().items()}


def is_figure(number):
    """Tell whether a number looks measured: it has a point, a percent sign or three digits."""
    return number not in GIVEN and bool(re.search(r'[.%,]|\d{3}', number))


def right(iterations):
    """Return how many test images were right after some iterations, in the stored run."""
    text = PRINTED[f'performance-{iterations}-test']
    return int(re.findall(r'\((\d+) / 10000\)', text)[0])


def training_errors():
    """Return the numbers of errors in the stored batches of 64 images."""
    cells = [f'performance-{iterations}-optimize' for iterations in (1, 1000, 10_000)]
    lines = ''.join(PRINTED[cell_id] for cell_id in cells)
    percentages = re.findall(r'Training Accuracy: *([\d.]+)%', lines)
    return [round(64 * (1 - float(percentage) / 100)) for percentage in percentages]


def rows(cell_id):
    """Return the rows of numbers that a cell has printed in brackets."""
    found = re.findall(r'\[([ \d.]+)\]', PRINTED[cell_id])
    return np.array([row.split() for row in found], dtype=float)


def spread(values):
    """Return a mean and a deviation as the two numbers that a text has."""
    return f'{mean_and_deviation(values)}%'.split(' ± ')


def network(name, iterations=1000):
    """Return the mean and the deviation of a network's accuracies on the validation set."""
    return spread(ACCURACIES[name, str(iterations)])


def compared(*names):
    """Return the numbers of networks in the tables of exercises 7 and 8."""
    found = [(PARAMETERS[name], f'{TIMES[name]:.2f}', *network(name)) for name in names]
    return sum(found, ())


def figures():
    """Return the figures that each text should have, in their order, by the cells' ids."""
    in_keras, by_hand = PRINTED['loss-code'].strip(), PRINTED['direct-graph-code'].strip()
    y_pred = rows('performance-pred')
    speeds = grouped('machines', 'images_per_second', 'images_per_worker', 'workers')
    swapped = re.findall(r'swapped +([\d.]+)%, certainty (\d+%)', PRINTED['place-all-code'])[0]
    # What is read from pictures stands here as it is: 55%, 66%, 93% and 98%.
    return {
        'direct-graph-seen': ['0.1', by_hand],
        'keras-summary-seen': [
            PARAMETERS['ours'],
            f'{1765 * 128 / 242_062:.0%}',
            # The multiplications in fc1 and in both convolutions.
            f'{1764 * 128 / 1e6:.1f}',
            f'{28 * 28 * 25 * 16 / 1e6:.1f}',
            f'{14 * 14 * 25 * 16 * 36 / 1e6:.1f}',
            network('ours')[0] + '%',
            network("ours, Glorot's initialization")[0] + '%',
        ],
        'gradient': [by_hand],
        'gradient-seen': ['0.1', '4%', PARAMETERS['ours']],
        'optimizer': ['0.0001'],
        'performance': [in_keras, by_hand],
        'performance-cls': [
            f'{y_pred[3, 0]:.3f}',
            f'{y_pred[3, 0]:.3f}',
            f'{-np.log(y_pred[3, 0]):.1f}',
            '0.1',
            f'{np.log(10):.1f}',
            f'{y_pred[4, 4]:.3f}',
            f'{np.log(10 * y_pred[4, 4]):.1f}',
            f'{y_pred[-1, 3]:.4f}',
        ],
        'accuracy': [f'{round(10_000 * 28 * 28 * 16 * 4 / 1e6, -2):.0f}'],
        'performance-1-test-seen': [
            f'{1 - training_errors()[0] / 64:.1%}',
            f'{64 - training_errors()[0]}',
            in_keras,
        ],
        'performance-1-loss-seen': ['0.0001'],
        'performance-100-test-seen': [
            f'{right(1) / 10_000:.0%}',
            f'{right(100) / 10_000:.0%}',
            '55%',
        ],
        'performance-1000-test-seen': ['66%', '93%', f'{10_000 - right(1000)}'],
        'performance-10000-test-seen': [f'{right(10_000) / 10_000:.1%}', '98%'],
        'curve-seen': [
            f'{1 - right(100) / 10_000:.0%}',
            f'{1 - right(1000) / 10_000:.1%}',
            f'{1 - right(10_000) / 10_000:.1%}',
            network('learning rate 1e-3')[0] + '%',
            network('ours')[0] + '%',
            f'{1 / 64:.1%}',
            f'{sum(training_errors()[-20:])}',
            f'{64 * 20:,}',
        ],
        'weights-change-seen': [
            *re.findall(r'[\d.]+', PRINTED['weights-change-code']),
            *network('ours', 10_000),
            *network('both convolutions frozen', 10_000),
            *network('no convolutions', 10_000),
        ],
        'weights-conv2-1': [
            *re.findall(r'[\d.]+', PRINTED['weights-conv2-code']),
            f'{np.mean(CORRELATIONS["learning rate 1e-3", "layer_conv1"]):.2f}',
            f'{np.mean(CORRELATIONS["learning rate 1e-3", "layer_conv2"]):.2f}',
        ],
        'place-seen': [f'{100 - float(swapped[0]):.0f}%', swapped[1]],
        'conclusion': [f'{right(10_000) / 10_000:.1%}'],
        'exercises': [*network('ours'), f'{2**32 - 1}'],
        'exercise-1': [
            *network('sigmoid', 100),
            *network('sigmoid'),
            *network('ours'),
            *network("sigmoid, Glorot's initialization"),
            *network('sigmoid'),
            *network('sigmoid, VarianceScaling(8)'),
            *network('sigmoid, VarianceScaling(32)'),
        ],
        'exercise-2': [*network('sigmoid in fc1'), *network('ours')],
        'exercise-3': [
            *network('ours'),
            *spread(FEW['ours', 'validation']),
            *network('L2 in fc1'),
            *spread(FEW['L2 in fc1', 'validation']),
            *network('L2'),
            *spread(FEW['L2', 'validation']),
            *spread(FEW['L2 1e-2', 'validation']),
        ],
        'exercise-5': [
            *network('dropout'),
            *network('ours'),
            *spread(FEW['dropout', 'validation']),
            *spread(FEW['ours', 'validation']),
        ],
        'exercise-6': [
            f'{len(DIFFERENCES)}',
            f'{np.mean(DIFFERENCES):.2f}',
            '95%',
            *(f'{x:.2f}' for x in stats.ttest_1samp(DIFFERENCES, 0).confidence_interval()),
            f'{TIMES["strides"]:.0%}',
        ],
        'exercise-7': [
            '1.00',
            *compared('ours', '3×3 filters', '8 and 18 filters', '32 neurons'),
            *compared('3×3 filters, 32 and 72'),
        ],
        'exercise-8': [
            *compared('ours', 'one more convolution', 'only the first convolution'),
            *compared('only the last fully-connected layer'),
            '3136',
        ],
        'exercise-9': [
            '98%',
            '97%',
            PARAMETERS['8 and 16 filters, no fc1'],
            '5%',
            f'{TIMES["8 and 16 filters, no fc1"]:.0%}',
            *network('8 and 16 filters, no fc1', 10_000),
            f'{np.mean(ACCURACIES["ours", "10000"]):.1f}%',
            PARAMETERS['4 and 8 filters, no fc1'],
            *network('4 and 8 filters, no fc1', 10_000),
        ],
        'exercise-10': ['0.03', f'{np.sqrt(2 / 25):.2f}', f'{np.sqrt(2 / 400):.2f}'],
        'exercise-12': ['98%'],
        'exercise-13': [
            '90',
            f'{np.mean(DIGITS["ours", "right of 90 printed, resized"]):.0f}',
            f'{np.mean(DIGITS["ours", "right of 90 printed, resized and inverted"]):.0f}',
            f'{np.mean(DIGITS["ours", "right of 90 printed, by read_digit"]):.0f}',
            *spread(DIGITS['RandomTranslation', 'moved by four pixels']),
            *spread(DIGITS['ours', 'moved by four pixels']),
            *spread(DIGITS['RandomTranslation', 'as they are']),
            *spread(DIGITS['ours', 'as they are']),
        ],
        'exercise-14': [
            f'{np.median(np.divide(speeds[batch, "2"], speeds[batch, "1"])):.2f}'
            for batch in ['64', '512']
        ],
    }


def test_figures_in_the_texts_are_the_stored_and_the_measured_ones():
    expected = figures()
    for cell_id, text in TEXT.items():
        # All numbers, without those in code and links.
        text = re.sub(r'```.*?```|\]\([^)]*\)|`[^`]*`', ' ', text, flags=re.DOTALL)
        found = re.findall(r'\d+(?:,\d{3})*(?:\.\d+)?%?', text)
        named = expected.get(cell_id, [])
        assert list(filter(is_figure, found)) == list(filter(is_figure, named)), cell_id
        assert Counter(named) <= Counter(found), cell_id


def test_words_about_the_stored_run_are_true():
    gradient, predicted, actual = re.findall(r': +(\d\.\d+)', PRINTED['gradient-code'])
    assert 0.003 < abs(float(actual) / float(predicted) - 1) < 0.005, 'within half a percent'
    assert gradient == f'{rows("performance-pred")[-1, 3]:.4f}', 'its average probability'
    wrong = [10_000 - right(iterations) for iterations in [100, 1000, 10_000]]
    fewer = 1 - np.divide(wrong[1:], wrong[:-1])
    assert list(np.round(10 * fewer)) == [7, 7], 'about seven errors in ten'
    matrix = rows('performance-10000-test')
    errors = matrix - np.diag(matrix.diagonal())
    assert errors.sum() == wrong[-1] and errors.max() == 7, 'seven times'
    assert np.argmax(errors) == 94, 'a 9 that is read as a 4'
    assert 'eight of the last ten' in TEXT['performance-10000-text']
    assert training_errors()[-10:].count(0) == 8
    rate = sum(training_errors()[-20:]) / (20 * 64)
    assert 0.45 < rate / (wrong[-1] / 10_000) < 0.55, 'half the test error'


def test_words_about_the_measured_networks_are_true():
    misread = [np.argmax(errors) for errors in grouped('hardest', 'errors', 'seed').values()]
    assert sorted(misread) == [7, 7, 8], 'twice the 7 and once the 8'
    ours, frozen, none = (
        100 - np.mean(ACCURACIES[name, '10000'])
        for name in ['ours', 'both convolutions frozen', 'no convolutions']
    )
    assert frozen < none / 2, 'more than half of the errors'
    assert 0.28 < 1 - ours / frozen < 0.4, 'a third of the errors that are left'
    for first, second in grouped('correlations', 'correlation', 'seed', 'network').values():
        assert second < first - 0.03, 'further than those of the first layer'
    variances = ['sigmoid', 'sigmoid, VarianceScaling(8)', 'sigmoid, VarianceScaling(32)']
    means = [np.mean(ACCURACIES[name, '1000']) for name in variances]
    assert means == sorted(means), 'larger weights make up for it'
    assert min(ACCURACIES['ours', '1000']) > means[-1] + 5, 'ReLU still wins by far'
    plain = FEW['ours', 'validation']
    assert set(FEW['ours', 'train']) == {100}, 'by heart'
    for name in ['L2', 'L2 1e-2', 'L2 in fc1']:
        assert np.mean(FEW[name, 'validation']) < np.mean(plain), "the penalty doesn't help"
    better = np.greater(FEW['dropout', 'validation'], plain)
    assert all(better), 'better with each of the three seeds'
    assert len(DIFFERENCES) == 12 and min(DIFFERENCES) > 0, 'in each of the twelve pairs'
    better = np.greater(ACCURACIES['one more convolution', '1000'], ACCURACIES['ours', '1000'])
    assert sorted(better) == [False, True, True], 'better with two of the three seeds'


@pytest.mark.slow
def test_tables_of_the_measurements_are_those_of_their_files():
    printed = []
    for script in ['speed', 'exercises', 'machines', 'versions']:
        command = [sys.executable, '-m', f'tests.measurements.{script}', '--tables']
        output = subprocess.check_output(command, cwd=ROOT, encoding='utf-8')
        printed += re.findall(TABLE, output, re.MULTILINE)
    # The page's first table is that of the scripts.
    assert printed == re.findall(TABLE, PAGE, re.MULTILINE)[1:]


def test_the_speed_was_measured_in_as_many_rounds_as_the_page_says():
    rounds = {row['round'] for row in read('speed')}
    (iterations,) = {row['iterations'] for row in read('speed')}
    assert len(rounds) == 9 and f'Nine rounds of {iterations} iterations' in PAGE


def test_readme_has_the_errors_and_the_pythons_of_the_stored_runs():
    found = re.findall(r'(\d+) errors in the 10,000 test images', README)
    assert found == [f'{10_000 - right(10_000)}']
    minors = [Version(row['python']).minor for row in read('versions')]
    found = re.findall(r'Python 3\.(\d+) to 3\.(\d+)', README)
    assert set(found) == {(str(min(minors)), str(max(minors)))}


def test_the_lowest_versions_that_are_allowed_were_run():
    text = (ROOT / 'requirements.txt').read_text('utf-8')
    lowest = dict(re.findall(r'^([\w-]+)>=([\d.]+),', text, re.MULTILINE))
    runs = [row for row in read('versions') if row['allowed'] == 'lowest-direct']
    for name in ['tensorflow', 'keras', 'numpy', 'matplotlib', 'scikit-learn']:
        assert {Version(row[name]) for row in runs} == {Version(lowest[name])}
