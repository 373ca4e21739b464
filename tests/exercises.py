"""The solutions of the notebook's exercises, typed into the cell with the model."""

import re


def blocks(sources, number):
    """Return the blocks of Python code in an exercise; sources has the cells' texts by id."""
    return re.findall(r'```python\n(.*?)\n```', sources[f'exercise-{number}'], re.DOTALL)


def solved(sources, name):
    """Return the source of the model's cell after the edit of this name."""
    number, edit = EDITS[name]
    return edit(sources['model'], *blocks(sources, number))


def replaced(source, part, code, keep=False):
    """Put code in place of, or below, the one line of source that contains part."""
    lines = source.split('\n')
    (place,) = [i for i, line in enumerate(lines) if part in line]
    lines[place + keep : place + 1] = code.split('\n')
    return '\n'.join(lines)


def renewed(source, code):
    """Replace each line with a layer's name by the line of code with the same name."""
    for line in code.splitlines():
        source = replaced(source, re.search("name='.*?'", line)[0], line)
    return source


def with_layers(source, layers):
    """Replace all layers between `Reshape` and the last one."""
    parts = re.fullmatch(r'(.*\n *Reshape\(.*?\n).*?( *Dense\(num_classes.*)', source, re.DOTALL)
    return f'{parts[1]}{layers}\n{parts[2]}'


# For each edit: the exercise, and what to do with the cell and the blocks of code.
EDITS = {
    'sigmoid': (1, lambda model, line: replaced(model, 'defaults =', line)),
    'sigmoid in fc1': (2, renewed),
    'L2': (3, lambda model, top, last, _: renewed(replaced(model, 'defaults =', top), last)),
    'L2 in fc1': (3, lambda model, top, last, single: renewed(model, single)),
    'reshape outside': (
        4,
        lambda model, line, above: (
            f'{above}\n{replaced(replaced(model, " Input(", line), " Reshape(", "")}'
        ),
    ),
    'dropout': (5, lambda model, line, _: replaced(model, 'layer_fc1', line, keep=True)),
    'strides': (6, lambda model, lines: renewed(re.sub(r'\n *MaxPooling2D.*', '', model), lines)),
    'kernels': (7, renewed),
    'third conv': (8, lambda model, line: replaced(model, 'layer_conv2', line, keep=True)),
    'simplest': (9, with_layers),
}
