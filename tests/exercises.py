"""The exercises' solutions, taken out of the notebook and typed into its cells."""

import re


def solution(reader, number):
    """Return the blocks of Python code in the solution of an exercise."""
    source = reader.cells[f'exercise-{number}'].source
    return re.findall(r'```python\n(.*?)\n```', source, re.DOTALL)


def replace(source, part, code):
    """Replace the one line of source that contains part; by '', take it out."""
    lines = source.splitlines()
    (place,) = [i for i, line in enumerate(lines) if part in line]
    lines[place : place + 1] = code.splitlines()
    return '\n'.join(lines)


def insert(source, part, code):
    """Put code below the one line of source that contains part."""
    (line,) = [line for line in source.splitlines() if part in line]
    return replace(source, part, f'{line}\n{code}')


def without_pooling(source):
    """Take out the lines with pooling layers."""
    return re.sub(r'\n *MaxPooling2D.*', '', source)


def apply(reader, name):
    """Return the model's cell as it is after the edit that a solution asks for."""
    source = reader.cells['model'].source
    number, edit = EDITS[name]
    return edit(source, solution(reader, number))


EDITS = {
    'sigmoid': (1, lambda source, code: replace(source, 'defaults =', code[0])),
    'sigmoid in fc1': (2, lambda source, code: replace(source, 'layer_fc1', code[0])),
    'L2': (3, lambda source, code: insert(source, 'defaults =', code[0])),
    'L2 in fc1': (3, lambda source, code: replace(source, 'layer_fc1', code[1])),
    'reshape outside': (
        4,
        lambda source, code: (
            code[1] + '\n' + replace(replace(source, 'Input(', code[0]), 'Reshape(', '')
        ),
    ),
    'dropout': (5, lambda source, code: insert(source, 'layer_fc1', code[0])),
    'strides': (
        6,
        lambda source, code: replace(
            replace(without_pooling(source), 'layer_conv2', ''), 'layer_conv1', code[0]
        ),
    ),
    'kernels': (
        7,
        lambda source, code: replace(
            replace(source, 'layer_conv1', code[0].splitlines()[0]),
            'layer_conv2',
            code[0].splitlines()[1],
        ),
    ),
    'third conv': (8, lambda source, code: insert(source, 'layer_conv2', code[0])),
    'simplest': (9, lambda source, code: with_layers(source, code[0])),
}


def with_layers(source, layers):
    """Replace all layers between the reshaping and the last one."""
    return re.sub(
        r'(?<=\n)( *Reshape\(.*\n)(?:.*\n)*?( *Dense\(num_classes)',
        lambda match: f'{match[1]}{layers}\n{match[2]}',
        source,
    )
