"""The notebook's cells, edited as the exercises' solutions say."""

from tests.lesson import CODE, code_blocks, insert_below, replace_lines, replace_text


def solutions():
    """Return the model's cell as the exercises' solutions edit it, by the names of the networks."""
    model = CODE['model']
    (sigmoid,) = code_blocks('exercise-1')
    (sigmoid_fc1,) = code_blocks('exercise-2')
    _, l2_defaults, l2_last, l2_fc1 = code_blocks('exercise-3')
    reshaped_input, reshape_data = code_blocks('exercise-4')
    dropout = code_blocks('exercise-5')[0]
    (strides,) = code_blocks('exercise-6')
    (filters,) = code_blocks('exercise-7')
    (convolution,) = code_blocks('exercise-8')
    (simplest,) = code_blocks('exercise-9')
    conv1, conv2 = filters.split('\n')
    other_filters = replace_lines(replace_lines(model, conv1, 'layer_conv1'), conv2, 'layer_conv2')
    return {
        'sigmoid': replace_lines(model, sigmoid, 'defaults ='),
        'sigmoid in fc1': replace_lines(model, sigmoid_fc1, 'layer_fc1'),
        'L2': replace_lines(replace_lines(model, l2_defaults, 'defaults ='), l2_last, 'layer_fc2'),
        'L2 in fc1': replace_lines(model, l2_fc1, 'layer_fc1'),
        'reshape outside': f'{reshape_data}\n'
        + replace_lines(model, reshaped_input, 'Input', 'Reshape'),
        'dropout': insert_below(model, dropout, 'layer_fc1'),
        'strides': replace_lines(
            model, f'{strides}\n        layers.Flatten(),', 'layer_conv1', 'Flatten'
        ),
        '3×3 filters, 32 and 72': other_filters,
        'one more convolution': insert_below(model, convolution, 'layer_conv2'),
        '8 and 16 filters, no fc1': replace_lines(model, simplest, 'layer_conv1', 'layer_fc1'),
    }


def workers_solution():
    """Return exercise 14's edits for several machines: the sources of cells by their ids."""
    strategy, seed, step = code_blocks('exercise-14')[:3]
    return {
        'imports-code': replace_lines(CODE['imports-code'], strategy, 'clear_output()'),
        'seed-code': replace_lines(CODE['seed-code'], seed, 'set_random_seed('),
        'gradient-code': '',
        'optimize-code': replace_lines(CODE['optimize-code'], step, 'step = '),
    }


def gpus_solution():
    """Return exercise 14's edits for one machine, with two halves of a CPU as its two GPUs."""
    edits = workers_solution()
    del edits['seed-code']
    strategy = replace_text(
        edits['imports-code'],
        'tf.distribute.MultiWorkerMirroredStrategy()',
        "tf.distribute.MirroredStrategy(['CPU:0', 'CPU:1'])",
    )
    halves = (
        "cpu = tf.config.list_physical_devices('CPU')[0]\n"
        'two = [tf.config.LogicalDeviceConfiguration()] * 2\n'
        'tf.config.set_logical_device_configuration(cpu, two)\n'
    )
    edits['imports-code'] = replace_text(strategy, 'strategy = ', f'{halves}strategy = ')
    with_tape = next(line for line in CODE['train-code'].split('\n') if 'with tf.' in line)
    divide = code_blocks('exercise-14')[3]
    edits['train-code'] = replace_text(CODE['train-code'], with_tape, f'{divide}\n{with_tape}')
    return edits
