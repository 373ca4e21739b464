"""The figures in the texts are those of the stored outputs and of the measurements' files."""

import re
import subprocess
import sys

import numpy as np
import pytest
from packaging.version import Version
from scipy import stats

from tests.lesson import BOOK, ROOT, TEXT
from tests.measurements.tables import RESULTS, grouped, mean_and_deviation, read, time_ratios

# The accuracies in each text, in their order: of which network, after how many iterations.
ACCURACIES = {
    'weights-change-seen': [
        *(('ours', 1000), ('both convolutions frozen', 1000), ('no convolutions', 1000)),
    ],
    'conclusion': [
        *(("ours, Glorot's initialization", 1000), ('ours', 1000)),
        ('learning rate 1e-3', 1000),
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
    'exercise-13': [
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


def accuracy(network, what):
    """Return the accuracy of a network after some iterations, or on some kind of images."""
    if isinstance(what, str):
        return mean_and_deviation(grouped('digits', 'value', 'network', 'what')[network, what])
    found = grouped('networks', 'accuracy', 'network', 'iterations')
    return mean_and_deviation(found[network, str(what)])


def parameters(network):
    """Return the number of a network's parameters, as the texts write it."""
    (number,) = {row['parameters'] for row in read('networks') if row['network'] == network}
    return f'{int(number):,}'


def time_ratio(network):
    """Return the time of a network to that of ours, the median of the rounds."""
    return f'{np.median(time_ratios()[network]):.2f}'


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


def count(iterations):
    """Return how many test images were right after some iterations."""
    return int(re.findall(r'\((\d+) / 10000\)', printed(f'performance-{iterations}-test'))[0])


@pytest.mark.parametrize('iterations', [0, 1, 100, 1000, 10_000])
def test_a_stored_accuracy_belongs_to_its_count(iterations):
    line = r'Accuracy on Test-Set: ([\d.]+%) \((\d+) / 10000\)'
    ((percent, right),) = re.findall(line, printed(f'performance-{iterations}-test'))
    assert percent == f'{int(right) / 10_000:.1%}'


def stored_matrix():
    """Return the stored confusion matrix."""
    text = printed('performance-10000-test').partition('Confusion Matrix:\n')[2]
    return np.array([row.split() for row in re.findall(r'\[([ \d]+)\]', text)], dtype=int)


def test_the_stored_confusion_matrix_has_the_last_count_on_its_diagonal():
    matrix = stored_matrix()
    assert matrix.shape == (10, 10)
    assert matrix.sum() == 10_000
    assert matrix.trace() == count(10_000)
    text = f'Always answering 4, its favorite among the nine, would get {matrix[4].sum()} right.'
    assert text in flat('performance-0-test-seen')


def test_readme_has_the_number_of_errors_that_the_stored_outputs_have():
    readme = (ROOT / 'README.md').read_text('utf-8')
    sentence = r'(\d+) errors in the 10,000 test images after 10,000 iterations'
    assert [int(number) for number in re.findall(sentence, readme)] == [10_000 - count(10_000)]


def training_accuracies():
    """Return the stored accuracies on training batches, in percent, by their iterations."""
    cells = [f'performance-{iterations}-optimize' for iterations in (1, 1000, 10_000)]
    lines = re.findall(r'(\d+), Training Accuracy: *([\d.]+)%', ''.join(map(printed, cells)))
    return {int(iteration): float(percent) for iteration, percent in lines}


def test_sentences_about_the_losses_hold_for_the_stored_run():
    by_hand = printed('direct-graph-code').strip()
    in_keras = printed('loss-code').strip()
    assert f'−ln 0.1 ≈ {by_hand},' in flat('direct-graph-seen')
    assert f'why the loss is {in_keras}, when it was {by_hand} by hand' in flat('performance')
    assert f'It was {in_keras}.' in flat('performance-1-test-seen')
    assert 'It has fallen' in flat('performance-1-loss-seen')
    assert float(printed('performance-1-loss')) < float(in_keras)


def test_the_sentences_about_the_gradient_hold_for_the_stored_run():
    gradient = re.findall(r'Gradient: +([\d.]+)', printed('gradient-code'))[0]
    assert f'the average probability of a 3: {gradient}.' in flat('performance-cls')
    predicted, actual = map(float, re.findall(r'change: +([\d.]+)', printed('gradient-code')))
    assert 'to within half a percent' in flat('gradient-seen')
    assert 0.003 < abs(actual / predicted - 1) < 0.005


def test_sentences_about_first_weights_and_accuracies_hold_for_the_stored_run():
    deviations = re.findall(r'kernel .* ([\d.]+)\n', printed('run-variables'))
    assert f'{deviations[0]} is close' in flat('run-variables-seen')
    # The standard deviation of the weights by hand, 0.05 without the tails.
    by_hand = stats.truncnorm.std(-2, 2, scale=0.05)
    assert [float(number) > by_hand for number in deviations] == [True, True, False, True]
    assert 'in all layers but `layer_fc1`' in flat('run-variables-seen')
    assert printed('accuracy-code') == f'{1 / 9:.1%}\n'
    assert 'One of nine.' in flat('accuracy-seen')
    percent = training_accuracies()[1]
    text = f'The batch has {percent}%, but that is just {percent * 0.64:.0f} of 64 images'
    assert text in flat('performance-1-test-seen')


def test_sentences_about_training_and_test_hold_for_the_stored_run():
    accuracies = training_accuracies()
    last = [accuracies[iteration] for iteration in range(9001, 10_000, 100)]
    assert last.count(100) == 8
    assert 'Eight of the last ten reports say 100%' in flat('performance-10000-text')
    # The printed percentages are rounded, and the numbers of errors are not.
    last = [accuracies[iteration] for iteration in range(8001, 10_000, 100)]
    errors = np.mean([round(64 * (1 - percent / 100)) / 64 for percent in last])
    text = (
        f'The last twenty average {errors:.1%}, and the test-set has {1 - count(10_000) / 1e4:.1%}'
    )
    assert text in flat('curve-seen')
    errors = {iterations: 1 - count(iterations) / 10_000 for iterations in [100, 1000, 10_000]}
    text = f'falls from {errors[100]:.0%} to {errors[1000]:.1%} and on to {errors[10_000]:.1%}'
    assert text in flat('curve-seen')
    first, second = errors[1000] / errors[100], errors[10_000] / errors[1000]
    assert f'leaves {first:.0%} of the errors, then {second:.0%}' in flat('curve-seen')
    assert f'{count(10_000) / 100:.1f}%, as in the original' in flat('performance-10000-test-seen')


def test_sentences_about_errors_by_digits_hold_for_the_stored_run():
    errors = stored_matrix().sum(axis=1) - stored_matrix().diagonal()
    text = f'it has {errors[9]} errors, and the 8 has {errors[8]}.'
    assert text in flat('performance-10000-test-seen')
    assert printed('weights-change-code') == 'Correlation: 0.99\n'
    assert 'A correlation of 0.99' in flat('weights-change-seen')


def test_accuracies_in_the_text_are_the_measured_ones():
    found = {cell_id: re.findall(r'\d+\.\d ± \d+\.\d%', flat(cell_id)) for cell_id in TEXT}
    assert {cell_id: texts for cell_id, texts in found.items() if texts} == {
        cell_id: [f'{accuracy(*key)}%' for key in keys] for cell_id, keys in ACCURACIES.items()
    }


def test_rows_of_the_networks_in_exercises_7_and_8_are_the_measured_ones():
    found = table_rows(TEXT['exercise-7'] + '\n' + TEXT['exercise-8'])
    found = [row for row in found if row[0] not in ('network', '---')]
    assert found == [
        [name, parameters(network), time_ratio(network), f'{accuracy(network, 1000)}%']
        for name, network in ROWS.items()
    ]


def test_what_the_texts_conclude_from_the_networks_is_measured():
    found = grouped('networks', 'accuracy', 'network', 'iterations')
    names = ['no convolutions', 'both convolutions frozen', 'ours']
    none, frozen, ours = (100 - np.mean(found[name, '1000']) for name in names)
    assert 'half as many errors as without both' in flat('weights-change-seen')
    assert none / frozen == pytest.approx(2, abs=0.1)
    assert 'removes nearly a third of the rest' in flat('weights-change-seen')
    assert 0.3 < 1 - ours / frozen < 1 / 3
    better = np.greater(found['one more convolution', '1000'], found['ours', '1000'])
    assert 'was better with two of the three seeds and worse with one' in flat('exercise-8')
    assert sorted(better) == [False, True, True]


def test_sizes_and_times_of_the_simplest_networks_are_the_measured_ones():
    simplest, half = '8 and 16 filters, no fc1', '4 and 8 filters, no fc1'
    assert f'has {parameters(simplest)} parameters' in flat('exercise-9')
    assert f'{parameters(half)} parameters are left' in flat('exercise-9')
    assert f'{time_ratio(simplest)} of the time' in flat('exercise-9')


def test_the_comparison_of_strides_with_pooling_is_the_measured_one():
    pooling, strides = (
        np.array([float(row[name]) for row in read('strides')]) for name in ('pooling', 'strides')
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
    values = grouped('digits', 'value', 'what', 'network')
    plain, inverted, read_digit = (
        f'{np.mean(values[f"right of 90 printed, {way}", "ours"]):.0f}'
        for way in ('resized', 'resized and inverted', 'by read_digit')
    )
    certainty = np.mean(values['certainty when inverted', 'ours'])
    text = flat('exercise-13')
    assert f'only {plain} were right when we just made the pictures smaller' in text
    assert f'{inverted} when we inverted them as well' in text
    assert f'{read_digit} with `read_digit`' in text
    assert f'mean certainty of {certainty:.0f}%' in text


def test_speeds_of_machines_are_the_measured_ones():
    speeds = grouped('machines', 'images_per_second', 'images_per_worker', 'workers')
    small, large = (
        f'{np.median(np.divide(speeds[batch, "2"], speeds[batch, "1"])):.2f}'
        for batch in ('64', '512')
    )
    text = f'{small} times the work of one, and {large} times with batches of 512'
    assert text in flat('exercise-14')


def test_digits_with_most_errors_are_the_measured_ones():
    errors = grouped('hardest', 'errors', 'seed')
    first, second, third = (np.argmax(errors[seed,]) for seed in '123')
    assert first == third
    assert all(errors[seed,][9] > np.mean(errors[seed,]) for seed in '123')
    text = f'most errors in the test-set were the {first}, the {second} and the {third}.'
    assert text in flat('performance-10000-test-seen')


@pytest.mark.parametrize(
    ('script', 'number'), [('speed', 1), ('exercises', 6), ('machines', 1), ('versions', 1)]
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


def test_rounds_and_iterations_of_the_speed_are_those_of_its_file():
    rounds = {row['round'] for row in read('speed')}
    (iterations,) = {row['iterations'] for row in read('speed')}
    page = ' '.join((RESULTS.parent / 'README.md').read_text('utf-8').split())
    assert len(rounds) == 9
    assert f'Nine rounds of {iterations} iterations, on an AMD EPYC with AVX512-VNNI' in page
    assert read('speed')[0]['processor'].startswith('AMD EPYC with AVX512-VNNI')


def test_readme_names_the_pythons_that_were_run():
    pythons = sorted(Version(row['python']) for row in read('versions'))
    lowest, highest = (f'{python.major}.{python.minor}' for python in (pythons[0], pythons[-1]))
    readme = ' '.join((ROOT / 'README.md').read_text('utf-8').split())
    assert f'You need Python {lowest} to {highest} ' in readme
    assert f'with Python {lowest} to {highest}.' in readme


def test_the_lowest_versions_that_are_allowed_were_run():
    text = (ROOT / 'requirements.txt').read_text('utf-8')
    lowest = dict(re.findall(r'^([\w-]+)>=([\d.]+),', text, re.MULTILINE))
    runs = [row for row in read('versions') if row['allowed'] == 'lowest-direct']
    assert runs
    for row in runs:
        for name in ['tensorflow', 'keras', 'numpy', 'matplotlib', 'scikit-learn']:
            wanted = Version(lowest[name]).release
            assert Version(row[name]).release[: len(wanted)] == wanted
