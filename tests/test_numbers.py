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
GIVEN = '70,000 55,000 10,000 2,000 1,000 1000 100 101 900 2014 2016 2026 128 255 512 576 784 1764'
GIVEN = {*GIVEN.split(), '99%'}
# The rows of three tables: the networks as the measurements call them.
FILTERS = ['ours', 'both convolutions frozen', 'no convolutions']
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


def spread(values):
    """Return a mean and a deviation as the two numbers that a text has."""
    return f'{mean_and_deviation(values)}%'.split(' ± ')


def network(name, iterations=1000):
    """Return the mean and the deviation of a network's accuracies."""
    return spread(accuracies(name, iterations))


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


def multiplications():
    """Return how many millions of multiplications an image takes in three of the layers."""
    fc1, conv1, conv2 = 1764 * 128, 28 * 28 * 25 * 16, 14 * 14 * 25 * 16 * 36
    return [f'{number / 1e6:.1f}' for number in (fc1, conv1, conv2)]


def strides():
    """Return the differences between pooling and strides in percentage points, and the interval."""
    pooling, striding = (
        [float(row[name]) for row in read('strides')] for name in ('pooling', 'strides')
    )
    low, high = stats.ttest_rel(pooling, striding).confidence_interval()
    return np.subtract(pooling, striding), low, high


def machines(batch):
    """Return the speed of two workers to that of one."""
    speeds = grouped('machines', 'images_per_second', 'images_per_worker', 'workers')
    return f'{np.median(np.divide(speeds[batch, "2"], speeds[batch, "1"])):.2f}'


def figures():
    """Return the figures that each text should have, in their order, by the cells' ids."""
    in_keras, by_hand = printed('loss-code').strip(), printed('direct-graph-code').strip()
    gradient = re.findall(r'Gradient: +([\d.]+)', printed('gradient-code'))[0]
    y_pred = probabilities()
    error_rates = {n: 1 - right(n) / 10_000 for n in [100, 1000, 10_000]}
    batches = training_errors()
    last_twenty = np.mean(list(batches.values())[-20:])
    correlations = grouped('correlations', 'correlation', 'network', 'layer')
    rates = {name: np.mean(accuracies(name)) for name in ['ours', 'learning rate 1e-3']}
    default = np.mean(accuracies("ours, Glorot's initialization"))
    differences, low, high = strides()
    certainties = re.findall(r'certainty (\d+%)', printed('place-all-code'))
    ours = network('ours')
    # What is read from pictures stands here as it is: 55%, 66%, 93% and 98%.
    return {
        'direct-graph-seen': ['0.1', by_hand],
        'keras-summary-seen': [
            parameters('ours'),
            f'{1765 * 128 / 242_062:.0%}',
            *multiplications(),
            f'{rates["ours"]:.1f}%',
            f'{default:.1f}%',
        ],
        'gradient': [by_hand],
        'gradient-seen': ['0.1', '4%', parameters('ours')],
        'optimizer': ['0.0001'],
        'performance': [in_keras, by_hand],
        'performance-cls': [
            f'{y_pred[3, 0]:.3f}',
            f'{y_pred[3, 0]:.3f}',
            f'{-np.log(y_pred[3, 0]):.1f}',
            '0.1',
            f'{np.log(10):.1f}',
            f'{y_pred[4, 4]:.3f}',
            f'{np.log(10) + np.log(y_pred[4, 4]):.1f}',
            gradient,
        ],
        'accuracy': [f'{round(10_000 * 28 * 28 * 16 * 4 / 1e6, -2):.0f}'],
        'performance-1-test-seen': [
            f'{1 - batches[1]:.1%}',
            f'{64 * (1 - batches[1]):.0f}',
            in_keras,
        ],
        'performance-1-loss-seen': ['0.0001'],
        'performance-100-test-seen': [
            f'{right(1) / 10_000:.0%}',
            f'{right(100) / 10_000:.0%}',
            '55%',
        ],
        'performance-1000-test-seen': ['66%', '93%', f'{10_000 - right(1000)}'],
        'performance-10000-test-seen': [
            f'{right(10_000) / 10_000:.1%}',
            '98%',
        ],
        'curve-seen': [
            f'{error_rates[100]:.0%}',
            f'{error_rates[1000]:.1%}',
            f'{error_rates[10_000]:.1%}',
            f'{rates["learning rate 1e-3"]:.1f}%',
            f'{rates["ours"]:.1f}%',
            f'{1 / 64:.1%}',
            f'{64 * 20 * last_twenty:.0f}',
            f'{64 * 20:,}',
        ],
        'weights-change-seen': [
            *re.findall(r'[\d.]+', printed('weights-change-code')),
            *(number for name in FILTERS for number in network(name, 10_000)),
        ],
        'weights-conv2-1': [
            *re.findall(r'[\d.]+', printed('weights-conv2-code')),
            *(
                f'{np.mean(correlations["learning rate 1e-3", layer]):.2f}'
                for layer in ['layer_conv1', 'layer_conv2']
            ),
        ],
        'place-seen': [certainties[3]],
        'conclusion': [f'{right(10_000) / 10_000:.1%}'],
        'exercises': [*ours, f'{2**32 - 1}'],
        'exercise-1': [
            *network('sigmoid', 100),
            *network('sigmoid'),
            *ours,
            *network("sigmoid, Glorot's initialization"),
            *network('sigmoid'),
            *network('sigmoid, VarianceScaling(8)'),
            *network('sigmoid, VarianceScaling(32)'),
        ],
        'exercise-2': [*network('sigmoid in fc1'), *ours],
        'exercise-3': [
            *ours,
            *few('ours'),
            *network('L2 in fc1'),
            *few('L2 in fc1'),
            *network('L2'),
            *few('L2'),
            *few('L2 1e-2'),
        ],
        'exercise-5': [*network('dropout'), *ours, *few('dropout'), *few('ours')],
        'exercise-6': [
            f'{len(differences)}',
            f'{differences.mean():.2f}',
            '95%',
            f'{low:.2f}',
            f'{high:.2f}',
            f'{time_ratio("strides"):.0%}',
        ],
        'exercise-7': ['1.00', *(n for name in EXERCISE_7 for n in table_row(name))],
        'exercise-8': [*(n for name in EXERCISE_8 for n in table_row(name)), '3136'],
        'exercise-9': [
            '98%',
            '97%',
            parameters('8 and 16 filters, no fc1'),
            '5%',
            f'{time_ratio("8 and 16 filters, no fc1"):.0%}',
            *network('8 and 16 filters, no fc1', 10_000),
            f'{np.mean(accuracies("ours", 10_000)):.1f}%',
            parameters('4 and 8 filters, no fc1'),
            *network('4 and 8 filters, no fc1', 10_000),
        ],
        'exercise-10': ['0.03', *(f'{np.sqrt(2 / inputs):.2f}' for inputs in [25, 400])],
        'exercise-12': ['98%'],
        'exercise-13': [
            '90',
            *(
                f'{np.mean(digits(f"right of 90 printed, {how}")):.0f}'
                for how in ['resized', 'resized and inverted', 'by read_digit']
            ),
            *spread(digits('moved by four pixels', 'RandomTranslation')),
            *spread(digits('moved by four pixels')),
            *spread(digits('as they are', 'RandomTranslation')),
            *spread(digits('as they are')),
        ],
        'exercise-14': [machines('64'), machines('512')],
    }


def test_figures_in_the_texts_are_the_stored_and_the_measured_ones():
    expected = figures()
    for cell_id in TEXT:
        found = numbers(cell_id)
        named = expected.get(cell_id, [])
        assert list(filter(is_figure, found)) == list(filter(is_figure, named)), cell_id
        assert Counter(named) <= Counter(found), cell_id


def test_eight_of_the_last_ten_batches_are_perfect_and_twenty_have_half_the_test_error():
    batches = list(training_errors().values())
    assert batches[-10:].count(0) == 8
    test_error = 1 - right(10_000) / 10_000
    assert np.mean(batches[-20:]) / test_error == pytest.approx(0.5, abs=0.05)
    assert 'eight of the last ten' in ' '.join(TEXT['performance-10000-text'].split())


def test_the_stored_accuracies_and_the_confusion_matrix_belong_together():
    for iterations in [0, 1, 100, 1000, 10_000]:
        accuracy = f'Accuracy on Test-Set: {right(iterations) / 10_000:.1%} ('
        assert printed(f'performance-{iterations}-test').startswith(accuracy)
    assert stored_matrix().sum() == 10_000 and stored_matrix().trace() == right(10_000)


def test_ten_times_the_training_removes_seven_errors_in_ten():
    wrong = [10_000 - right(iterations) for iterations in [100, 1000, 10_000]]
    assert [round(10 * (1 - rate)) for rate in np.divide(wrong[1:], wrong[:-1])] == [7, 7]
    errors = stored_matrix() - np.diag(stored_matrix().diagonal())
    # The most frequent one is a 9 that is read as a 4.
    assert np.argmax(errors) == 94 and errors.max() == 7


def test_the_gradient_predicts_the_change_as_well_as_the_text_says():
    predicted, actual = map(float, re.findall(r'change: +([\d.]+)', printed('gradient-code')))
    assert 0.003 < abs(actual / predicted - 1) < 0.005
    # The average probability of the 3 is the gradient.
    assert f'Gradient:         {probabilities()[-1, 3]:.4f}\n' in printed('gradient-code')


def test_random_filters_halve_the_errors_and_trained_ones_remove_a_third_of_the_rest():
    ours, frozen, none = (100 - np.mean(accuracies(name, 10_000)) for name in FILTERS)
    assert frozen < none / 2
    assert 0.28 < 1 - ours / frozen < 0.4


def test_the_seven_has_most_errors_in_two_runs_and_the_eight_in_one():
    errors = grouped('hardest', 'errors', 'seed').values()
    assert sorted(np.argmax(found) for found in errors) == [7, 7, 8]


def test_larger_weights_help_the_sigmoid_but_relu_wins_by_far():
    names = ['he_normal', 'VarianceScaling(8)', 'VarianceScaling(32)']
    names = ['sigmoid', *(f'sigmoid, {name}' for name in names[1:])]
    means = [np.mean(accuracies(name)) for name in names]
    assert means == sorted(means) and min(accuracies('ours')) > means[-1] + 5


def test_dropout_helps_with_few_images_in_each_run_and_the_penalty_does_not():
    found = grouped('few', 'accuracy', 'network', 'images')
    plain = found['ours', 'validation']
    assert np.all(np.greater(found['dropout', 'validation'], plain))
    for name in ['L2', 'L2 1e-2', 'L2 in fc1']:
        assert np.mean(found[name, 'validation']) < np.mean(plain)
    assert set(found['ours', 'train']) == {100}


def test_pooling_wins_all_pairs_and_one_more_convolution_two_of_three():
    differences, _, _ = strides()
    assert len(differences) == 12 and np.all(differences > 0)
    better = np.greater(accuracies('one more convolution'), accuracies('ours'))
    assert sorted(better) == [False, True, True]


def test_the_second_layer_has_moved_further_than_the_first_and_more_at_a_larger_rate():
    for found in grouped('correlations', 'correlation', 'seed', 'network').values():
        first, second = found
        assert second < first - 0.03
    correlations = grouped('correlations', 'correlation', 'network', 'layer')
    assert max(correlations['learning rate 1e-3', 'layer_conv2']) < 0.7


@pytest.mark.parametrize(
    ('script', 'number'), [('speed', 1), ('exercises', 8), ('machines', 1), ('versions', 1)]
)
def test_tables_of_the_measurements_are_those_of_their_files(script, number):
    command = [sys.executable, '-m', f'tests.measurements.{script}', '--tables']
    output = subprocess.check_output(command, cwd=ROOT, encoding='utf-8')
    tables, found = (
        re.findall(r'(?:^\|.*\n)+', text, re.MULTILINE)
        for text in (output, (RESULTS.parent / 'README.md').read_text('utf-8'))
    )
    assert len(tables) == number
    for table in tables:
        assert table in found


def test_the_speed_was_measured_in_as_many_rounds_as_the_page_says():
    rounds = {row['round'] for row in read('speed')}
    (iterations,) = {row['iterations'] for row in read('speed')}
    page = ' '.join((RESULTS.parent / 'README.md').read_text('utf-8').split())
    assert len(rounds) == 9 and f'Nine rounds of {iterations} iterations' in page


def test_readme_has_the_errors_and_the_pythons_of_the_stored_runs():
    found = re.findall(r'(\d+) errors in the 10,000 test images', README)
    assert found == [f'{10_000 - right(10_000)}']
    pythons = sorted(Version(row['python']) for row in read('versions'))
    lowest, highest = (f'{python.major}.{python.minor}' for python in (pythons[0], pythons[-1]))
    assert set(re.findall(r'Python (3\.\d+) to (3\.\d+)', README)) == {(lowest, highest)}


def test_the_lowest_versions_that_are_allowed_were_run():
    text = (ROOT / 'requirements.txt').read_text('utf-8')
    lowest = dict(re.findall(r'^([\w-]+)>=([\d.]+),', text, re.MULTILINE))
    runs = [row for row in read('versions') if row['allowed'] == 'lowest-direct']
    assert runs
    for row in runs:
        for name in ['tensorflow', 'keras', 'numpy', 'matplotlib', 'scikit-learn']:
            wanted = Version(lowest[name]).release
            assert Version(row[name]).release[: len(wanted)] == wanted
