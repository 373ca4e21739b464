"""The notebook's cells, edited as the exercises' solutions say."""

import re

from tests.lesson import CODE, TEXT, code_blocks, insert_below, replace_lines, replace_text

MODEL = CODE['model']


def solved_models():
    """Return the model's cell as the exercises' solutions edit it, by the names of the networks."""
    _, l2_defaults, l2_last, l2_fc1 = code_blocks('exercise-3')
    reshaped_input, reshape_data = code_blocks('exercise-4')
    reshaped = replace_lines(MODEL, reshaped_input, 'Input', 'Reshape')
    strides = f'{code_blocks("exercise-6")[0]}\n        layers.Flatten(),'
    conv1, conv2 = code_blocks('exercise-7')[0].split('\n')
    other_filters = replace_lines(replace_lines(MODEL, conv1, 'layer_conv1'), conv2, 'layer_conv2')
    simplest = code_blocks('exercise-9')[0]
    return {
        'sigmoid': replace_lines(MODEL, code_blocks('exercise-1')[0], 'defaults ='),
        'sigmoid in fc1': replace_lines(MODEL, code_blocks('exercise-2')[0], 'layer_fc1'),
        'L2': replace_lines(replace_lines(MODEL, l2_defaults, 'defaults ='), l2_last, 'layer_fc2'),
        'L2 in fc1': replace_lines(MODEL, l2_fc1, 'layer_fc1'),
        'reshape outside': f'{reshape_data}\n{reshaped}',
        'dropout': insert_below(MODEL, code_blocks('exercise-5')[0], 'layer_fc1'),
        'strides': replace_lines(MODEL, strides, 'layer_conv1', 'Flatten'),
        '3×3 filters, 32 and 72': other_filters,
        'one more convolution': insert_below(MODEL, code_blocks('exercise-8')[0], 'layer_conv2'),
        '8 and 16 filters, no fc1': replace_lines(MODEL, simplest, 'layer_conv1', 'layer_fc1'),
        'shifted at random': insert_below(MODEL, random_shifts(), 'Reshape'),
    }


def random_shifts():
    """Return the layer that shifts the training images, which stands in exercise 13's text."""
    (layer,) = re.findall(r'`(layers\.RandomTranslation\([^`]+)`', TEXT['exercise-13'])
    return f'        {" ".join(layer.split())},'


def few_images():
    """Return exercise 3's code that leaves 1,000 training images."""
    return code_blocks('exercise-3')[0]


def measuring(num_iterations):
    """Return the code that trains the model anew with three seeds, for so many iterations."""
    block = code_blocks('exercises')[0]
    return replace_text(block, 'num_iterations=1000', f'num_iterations={num_iterations}')


def reading():
    """Return the code that defines `read_digit`, and the code that calls it."""
    return code_blocks('exercise-13')


def cells_for_workers():
    """Return exercise 14's edits for several machines: the sources of cells by their ids."""
    strategy, seed, step, _ = code_blocks('exercise-14')
    return {
        'imports-code': replace_lines(CODE['imports-code'], strategy, 'clear_output()'),
        'seed-code': replace_lines(CODE['seed-code'], seed, 'set_random_seed('),
        'gradient-code': '',
        'optimize-code': replace_lines(CODE['optimize-code'], step, 'step = '),
    }


def cells_for_gpus():
    """Return exercise 14's edits for one machine, with two halves of a CPU as its two GPUs."""
    edits = cells_for_workers()
    del edits['seed-code']
    halves = (
        "cpu = tf.config.list_physical_devices('CPU')[0]\n"
        'two = [tf.config.LogicalDeviceConfiguration()] * 2\n'
        'tf.config.set_logical_device_configuration(cpu, two)\n'
        "strategy = tf.distribute.MirroredStrategy(['CPU:0', 'CPU:1'])"
    )
    edits['imports-code'] = replace_lines(edits['imports-code'], halves, 'strategy = ')
    divide = code_blocks('exercise-14')[3]
    with_tape = next(line for line in CODE['train-code'].split('\n') if 'with tf.' in line)
    edits['train-code'] = replace_text(CODE['train-code'], with_tape, f'{divide}\n{with_tape}')
    return edits
