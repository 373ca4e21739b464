"""The solutions of the notebook's exercises, typed into the cell with the model."""

import re


def blocks(sources, number):
    """Return the blocks of Python code in an exercise; sources has the cells' texts by id."""
    return re.findall(r'```python\n(.*?)\n```', sources[f'exercise-{number}'], re.DOTALL)


def solved(sources, name):
    """Return the source of the model's cell after the edit of this name."""
    number, edit = EDITS[name]
    return edit(sources['model'], blocks(sources, number))


def replaced(source, part, code, keep=False):
    """Put code in place of, or below, the one line of source that contains part."""
    lines = source.splitlines()
    (place,) = [i for i, line in enumerate(lines) if part in line]
    lines[place + keep : place + 1] = code.splitlines()
    return '\n'.join(lines)


def renewed(source, code):
    """Replace each line with a layer's name by the line of code with the same name."""
    for line in code.splitlines():
        source = replaced(source, re.search("name='.*?'", line)[0], line)
    return source


def without_pooling(source):
    """Take out the lines with pooling layers."""
    return re.sub(r'\n *MaxPooling2D.*', '', source)


def with_layers(source, layers):
    """Replace all layers between `Reshape` and the last one."""
    source, count = re.subn(
        r'(\n *Reshape\(.*\n)(?:.*\n)*?( *Dense\(num_classes)',
        lambda match: f'{match[1]}{layers}\n{match[2]}',
        source,
    )
    assert count == 1
    return source


EDITS = {
    'sigmoid': (1, lambda model, code: replaced(model, 'defaults =', code[0])),
    'sigmoid in fc1': (2, lambda model, code: renewed(model, code[0])),
    'L2': (3, lambda model, code: renewed(replaced(model, 'defaults =', code[0]), code[1])),
    'L2 in fc1': (3, lambda model, code: renewed(model, code[2])),
    'reshape outside': (
        4,
        lambda model, code: (
            code[1] + '\n' + replaced(replaced(model, ' Input(', code[0]), ' Reshape(', '')
        ),
    ),
    'dropout': (5, lambda model, code: replaced(model, 'layer_fc1', code[0], keep=True)),
    'strides': (6, lambda model, code: renewed(without_pooling(model), code[0])),
    'kernels': (7, lambda model, code: renewed(model, code[0])),
    'third conv': (8, lambda model, code: replaced(model, 'layer_conv2', code[0], keep=True)),
    'simplest': (9, lambda model, code: with_layers(model, code[0])),
}
