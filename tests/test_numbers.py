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
    errors = {f'{1 - number / 64:.1%}': number for number in range(65)}
    return [errors[accuracy] for accuracy in re.findall('Training Accuracy: *(.+)', lines)]


def rows(cell_id):
    """Return the rows of numbers that a cell has printed in brackets."""
    found = re.findall(r'\[([ \d.]+)\]', PRINTED[cell_id])
    return np.array([row.split() for row in found], dtype=float)


def spread(values):
    """Return a mean and a deviation as a text has them, without the ±."""
    return mean_and_deviation(values).replace(' ±', '') + '%'


def networks(*names, iterations=1000):
    """Return the means and deviations of networks' accuracies on the validation set."""
    return ' '.join(spread(ACCURACIES[name, str(iterations)]) for name in names)


def mean(name, iterations=1000):
    """Return the mean of a network's accuracies on the validation set."""
    return f'{np.mean(ACCURACIES[name, str(iterations)]):.1f}%'


def compared(*names):
    """Return the numbers of networks in the tables of exercises 7 and 8."""
    return ' '.join(f'{PARAMETERS[name]} {TIMES[name]:.2f} {networks(name)}' for name in names)


def figures():
    """Return the figures that each text should have, in their order, by the cells' ids."""
    in_keras, by_hand = PRINTED['loss-code'].strip(), PRINTED['direct-graph-code'].strip()
    y_pred = rows('performance-pred')
    zero, four = y_pred[3, 0], y_pred[4, 4]
    share = {iterations: right(iterations) / 10_000 for iterations in [1, 100, 1000, 10_000]}
    errors = training_errors()
    conv1, conv2 = (np.mean(CORRELATIONS['learning rate 1e-3', f'layer_conv{i}']) for i in '12')
    swapped, certainty = re.findall(r'swapped +([\d.]+)%.* (\d+%)', PRINTED['place-all-code'])[0]
    few = {name: spread(FEW[name, 'validation']) for name, _ in FEW}
    low, high = stats.ttest_1samp(DIFFERENCES, 0).confidence_interval()
    ways = ['resized', 'resized and inverted', 'by read_digit']
    printed = [np.mean(DIGITS['ours', f'right of 90 printed, {way}']) for way in ways]
    moved, unmoved = (
        ' '.join(spread(DIGITS[name, what]) for name in ['RandomTranslation', 'ours'])
        for what in ['moved by four pixels', 'as they are']
    )
    speeds = grouped('machines', 'images_per_second', 'images_per_worker', 'workers')
    one, two = ([speeds[batch, workers] for batch in ['64', '512']] for workers in '12')
    ratios = np.median(np.divide(two, one), axis=1)
    rule = "Glorot's initialization"
    simplest, smaller = '8 and 16 filters, no fc1', '4 and 8 filters, no fc1'
    return {
        'direct-graph-seen': f'0.1 {by_hand}',
        # The multiplications are those in fc1 and in both convolutions.
        'keras-summary-seen': (
            f'{PARAMETERS["ours"]} {1765 * 128 / 242_062:.0%} {1764 * 128 / 1e6:.1f} '
            f'{28**2 * 25 * 16 / 1e6:.1f} {14**2 * 25 * 16 * 36 / 1e6:.1f} '
            f'{mean("ours")} {mean(f"ours, {rule}")}'
        ),
        'gradient': by_hand,
        'gradient-seen': f'0.1 4% {PARAMETERS["ours"]}',
        'optimizer': '0.0001',
        'performance': f'{in_keras} {by_hand}',
        'performance-cls': (
            f'{zero:.3f} {zero:.3f} {-np.log(zero):.1f} 0.1 {np.log(10):.1f} '
            f'{four:.3f} {np.log(10 * four):.1f} {y_pred[-1, 3]:.4f}'
        ),
        'accuracy': f'{round(10_000 * 28 * 28 * 16 * 4 / 1e6, -2):.0f}',
        'performance-1-test-seen': f'{1 - errors[0] / 64:.1%} {64 - errors[0]} {in_keras}',
        'performance-1-loss-seen': '0.0001',
        # What is read from pictures stands here as it is: 55%, 66%, 93% and 98%.
        'performance-100-test-seen': f'{share[1]:.0%} {share[100]:.0%} 55%',
        'performance-1000-test-seen': f'66% 93% {10_000 - right(1000)}',
        'performance-10000-test-seen': f'{share[10_000]:.1%} 98%',
        'curve-seen': (
            f'{1 - share[100]:.0%} {1 - share[1000]:.1%} {1 - share[10_000]:.1%} '
            f'{mean("learning rate 1e-3")} {mean("ours")} '
            f'{1 / 64:.1%} {sum(errors[-20:])} {64 * 20:,}'
        ),
        'weights-change-seen': (
            PRINTED['weights-change-code']
            + networks('ours', 'both convolutions frozen', 'no convolutions', iterations=10_000)
        ),
        'weights-conv2-1': f'{PRINTED["weights-conv2-code"]} {conv1:.2f} {conv2:.2f}',
        'place-seen': f'{100 - float(swapped):.0f}% {certainty}',
        'conclusion': f'{share[10_000]:.1%}',
        'exercises': f'{networks("ours")} {2**32 - 1}',
        'exercise-1': (
            f'{networks("sigmoid", iterations=100)} '
            f'{networks("sigmoid", "ours", f"sigmoid, {rule}", "sigmoid")} '
            + networks('sigmoid, VarianceScaling(8)', 'sigmoid, VarianceScaling(32)')
        ),
        'exercise-2': networks('sigmoid in fc1', 'ours'),
        'exercise-3': (
            f'{networks("ours")} {few["ours"]} {networks("L2 in fc1")} {few["L2 in fc1"]} '
            f'{networks("L2")} {few["L2"]} {few["L2 1e-2"]}'
        ),
        'exercise-5': f'{networks("dropout", "ours")} {few["dropout"]} {few["ours"]}',
        'exercise-6': (
            f'{len(DIFFERENCES)} {np.mean(DIFFERENCES):.2f} 95% {low:.2f} {high:.2f} '
            f'{TIMES["strides"]:.0%}'
        ),
        'exercise-7': (
            f'1.00 {compared("ours", "3×3 filters", "8 and 18 filters", "32 neurons")} '
            f'{compared("3×3 filters, 32 and 72")}'
        ),
        'exercise-8': (
            f'{compared("ours", "one more convolution", "only the first convolution")} '
            f'{compared("only the last fully-connected layer")} 3136'
        ),
        'exercise-9': (
            f'98% 97% {PARAMETERS[simplest]} 5% {TIMES[simplest]:.0%} '
            f'{networks(simplest, iterations=10_000)} {mean("ours", 10_000)} '
            f'{PARAMETERS[smaller]} {networks(smaller, iterations=10_000)}'
        ),
        'exercise-10': f'0.03 {np.sqrt(2 / 25):.2f} {np.sqrt(2 / 400):.2f}',
        'exercise-12': '98%',
        'exercise-13': '90 {:.0f} {:.0f} {:.0f} '.format(*printed) + f'{moved} {unmoved}',
        'exercise-14': '{:.2f} {:.2f}'.format(*ratios),
    }


def numbers(text):
    """Return all numbers in a text as they stand there."""
    return re.findall(r'\d+(?:,\d{3})*(?:\.\d+)?%?', text)


def test_figures_in_the_texts_are_the_stored_and_the_measured_ones():
    expected = figures()
    for cell_id, text in TEXT.items():
        # All numbers, without those in code and links.
        text = re.sub(r'```.*?```|\]\([^)]*\)|`[^`]*`', ' ', text, flags=re.DOTALL)
        found, named = numbers(text), numbers(expected.get(cell_id, ''))
        assert list(filter(is_figure, found)) == list(filter(is_figure, named)), cell_id
        assert Counter(named) <= Counter(found), cell_id


def test_stored_accuracies_belong_to_their_counts():
    found = re.findall(r'Test-Set: (\S+) \((\d+) / 10000\)', ''.join(PRINTED.values()))
    assert len(found) == 5
    assert [share for share, _ in found] == [f'{int(count) / 10_000:.1%}' for _, count in found]


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
    assert 'third' in TEXT['weights-change-seen'] and 0.28 < 1 - ours / frozen < 0.4
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
