"""One run of the whole notebook, and what a reader finds in it."""

import re

import pytest
from reader import pictures, reading, text


@pytest.fixture(scope='module')
def run():
    """Run the whole notebook once, and keep its kernel for further questions."""
    with reading() as reader:
        reader.run(*reader.ids())
        yield reader


@pytest.fixture(scope='module')
def output(run):
    """Return what all cells printed, in order."""
    cells = [run.cells[cell_id] for cell_id in run.ids()]
    return ''.join(text(cell.outputs) for cell in cells)


def test_nothing_is_written_to_stderr(run):
    outputs = [o for i in run.ids() for o in run.cells[i].outputs]
    assert not [o.text for o in outputs if o.get('name') == 'stderr']


def test_accuracy_follows_the_curve_of_the_original(output):
    found = re.findall(r'Accuracy on Test-Set: ([\d.]+)% \((\d+) / 10000\)', output)
    bands = [(3, 20), (3, 22), (85.5, 90.5), (96.0, 97.9), (98.6, 100)]
    assert len(found) == len(bands)
    for (percent, count), (low, high) in zip(found, bands, strict=True):
        assert low <= int(count) / 100 <= high
        assert percent == f'{int(count) / 100:.1f}'


def test_sizes_of_the_subsets_are_printed(output):
    sizes = '- Training-set:\t\t55000\n- Test-set:\t\t10000\n- Validation-set:\t5000\n'
    assert f'Size of:\n{sizes}' in output


def test_progress_is_printed_at_every_hundredth_iteration_from_the_first(output):
    lines = re.findall(r'Optimization Iteration: ([ \d]{6}), Training .*', output)
    assert [int(number) for number in lines] == list(range(1, 10_000, 100))
    line = r'Optimization Iteration: {6}1, Training Accuracy: [ \d]{3}\.\d%\n'
    assert re.search(line, output)
    assert len(re.findall(r'Time usage: 0:\d\d:\d\d\n', output)) == 4
    assert output.count('Example errors:\n') == 3
    assert output.count('Confusion Matrix:\n[[') == 1


@pytest.mark.parametrize(
    'cell_id',
    [
        'plot-few-code',
        'performance-10000-test',
        'curve-code',
        'weights-conv1-code',
        'weights-conv2-code',
        'weights-conv2-1-code',
        'output-conv1-code',
        'output-conv2-code',
        'flowchart-image',
    ],
)
def test_the_pictures_are_drawn(run, cell_id):
    assert pictures(run.cells[cell_id].outputs)


def test_names_of_the_original_are_there(run):
    names = (
        'img_size img_size_flat img_shape num_channels num_classes train_batch_size '
        'test_batch_size weights_conv1 weights_conv2 data.train.cls data.train.images '
        'data.train.labels data.validation.cls data.test.cls'
    )
    run.type('\n'.join(names.split()))
    signatures = run.type(
        'import inspect\n'
        'for f in [get_weights_variable, optimize, plot_images, plot_example_errors,'
        'plot_confusion_matrix, print_test_accuracy, plot_conv_weights]:\n'
        '    print(f.__name__ + str(inspect.signature(f)))'
    )
    assert signatures.splitlines() == [
        'get_weights_variable(layer_name)',
        'optimize(num_iterations)',
        'plot_images(images, cls_true, cls_pred=None)',
        'plot_example_errors(cls_pred, correct)',
        'plot_confusion_matrix(cls_pred)',
        'print_test_accuracy(show_example_errors=False, show_confusion_matrix=False)',
        'plot_conv_weights(weights, input_channel=0)',
    ]


def test_data_are_float32_between_0_and_1_with_one_hot_labels(run):
    run.type(
        'for part, n in [(data.train, 55000), (data.validation, 5000), '
        '(data.test, 10000)]:\n'
        '    assert part.images.shape == (n, 784) and part.labels.shape == (n, 10)\n'
        '    assert part.images.dtype == part.labels.dtype == np.float32\n'
        '    assert part.images.min() == 0 and part.images.max() == 1\n'
        '    assert (part.labels.sum(axis=1) == 1).all()\n'
        '    assert (part.labels.argmax(axis=1) == part.cls).all()'
    )


def test_the_network_written_by_hand_computes_the_same_probabilities(run):
    run.type(
        'given = iter([v.value for v in model.trainable_variables])\n'
        'new_weights = lambda shape: next(given)\n'
        'new_biases = lambda length: next(given)\n'
        'y_keras = model(x).numpy()'
    )
    by_hand = run.cells['direct-graph-code'].source
    run.type(by_hand.replace('if False:', 'if True:'))
    run.type('assert np.abs(y_pred.numpy() - y_keras).max() < 1e-5')
    run.run('direct-weights', 'direct-biases')


def test_first_weights_are_he_normal_and_biases_zero(run):
    run.run('model')
    run.type(
        'for name, fan_in in [("layer_conv1", 25), ("layer_conv2", 400), '
        '("layer_fc1", 1764)]:\n'
        '    w = model.get_layer(name).kernel.numpy()\n'
        '    assert abs(w.std() / np.sqrt(2 / fan_in) - 1) < 0.2\n'
        '    assert not model.get_layer(name).bias.numpy().any()\n'
        'w = model.get_layer("layer_fc1").kernel.numpy()\n'
        'assert np.abs(w).max() > 3 * w.std()  # not truncated at two deviations'
    )


def test_a_new_model_is_never_left_untrained_in_silence(run):
    run.run('model')
    assert 'run the cell with model.compile first' in run.error('optimize(1)')
    run.run('compile')
    run.type('before = model.get_layer("layer_fc1").kernel.numpy()')
    assert 'Iteration:      1,' in run.type('optimize(3)')
    run.type(
        'assert int(model.optimizer.iterations) == 3\n'
        'assert (model.get_layer("layer_fc1").kernel.numpy() != before).any()'
    )
