"""The files as they lie there: code, notebook, texts, links and pictures."""

import ast
import base64
import inspect
import re
import subprocess
import sys

import mistune
import nbformat
import numpy as np
import pytest
import tensorflow as tf
from bs4 import BeautifulSoup
from PIL import Image
from tensorflow import keras

from tests.lesson import BOOK, CODE, NOTEBOOK, ROOT, TEXT

BOOK_TEXT = '\n\n'.join(TEXT.values()) + '\n'
PAGES = ['README.md', 'data/MNIST/README.md', 'tests/measurements/README.md']
# All texts by the files in which they stand.
TEXTS = {name: (ROOT / name).read_text('utf-8') for name in PAGES}
TEXTS[NOTEBOOK.relative_to(ROOT).as_posix()] = BOOK_TEXT
CODE_CELLS = [cell for cell in BOOK.cells if cell.cell_type == 'code']
OUTPUTS = [output for cell in CODE_CELLS for output in cell.outputs]
SECTIONS = [
    'Introduction',
    'Flowchart',
    'Imports',
    'Load Data',
    'Data Dimensions',
    'TensorFlow Graph',
    'TensorFlow Implementation',
    'Keras Implementation',
    'Training',
    'Performance before any optimization',
    'Performance after 1 optimization iteration',
    'Performance after 100 optimization iterations',
    'Performance after 1000 optimization iterations',
    'Performance after 10,000 optimization iterations',
    'Visualization of Weights and Layers',
    'Save and go on',
    'Conclusion',
    'Exercises',
    'Two more exercises',
    'Since 2016',
    'License',
]
# The original's variables and functions, the latter with their parameters.
SIZES = ['img_size', 'img_size_flat', 'img_shape', 'num_channels', 'num_classes']
VARIABLES = ['train_batch_size', 'test_batch_size', 'data', 'weights_conv1', 'weights_conv2']
FUNCTIONS = {
    'get_weights_variable': 'layer_name',
    'optimize': 'num_iterations',
    'plot_images': 'images, cls_true, cls_pred=None',
    'plot_example_errors': 'cls_pred, correct',
    'plot_confusion_matrix': 'cls_pred',
    'print_test_accuracy': 'show_example_errors=False, show_confusion_matrix=False',
    'plot_conv_weights': "weights, input_channel=0, label='weight'",
}
FENCE = re.compile(r'^```(.*)\n([\s\S]*?)\n```$', re.MULTILINE)
PICTURES = ['network_flowchart.png', 'results.png']


@pytest.mark.parametrize('command', ['check', 'format --check'])
def test_ruff_has_nothing_to_say_about_the_code(command):
    files = [NOTEBOOK, ROOT / 'tests']
    subprocess.run([sys.executable, '-m', 'ruff', *command.split(), *files], cwd=ROOT, check=True)


def test_pymarkdown_has_nothing_to_say_about_the_texts(tmp_path):
    (tmp_path / 'notebook.md').write_text(BOOK_TEXT, 'utf-8')  # as it reads no notebooks
    command = [sys.executable, '-m', 'pymarkdown', 'scan', tmp_path / 'notebook.md', *PAGES]
    subprocess.run(command, cwd=ROOT, check=True)


def test_the_notebook_is_valid_and_has_little_metadata():
    nbformat.validate(BOOK)
    assert len({cell.id for cell in BOOK.cells}) == len(BOOK.cells)
    assert not any(cell.metadata for cell in BOOK.cells)
    assert BOOK.metadata == {
        'kernelspec': {'display_name': 'Python 3', 'language': 'python', 'name': 'python3'},
        'language_info': {
            'name': 'python',
            'file_extension': '.py',
            'nbconvert_exporter': 'python',
        },
    }


def test_stored_outputs_come_from_one_run_without_errors_and_tell_no_path_of_the_machine():
    counts = [cell.execution_count for cell in CODE_CELLS]
    assert counts == list(range(1, len(CODE_CELLS) + 1))
    kinds = {output.get('name', output.output_type) for output in OUTPUTS}
    assert kinds == {'stdout', 'display_data', 'execute_result'}
    for output in OUTPUTS:
        text = output.get('text') or output.data['text/plain']
        assert not re.search(r'/(home|root|tmp|Users|work|usr|opt)/|[A-Z]:\\', text)


def test_the_names_of_the_original_are_there():
    code = '\n'.join(re.sub('^%.*', '', source, flags=re.MULTILINE) for source in CODE.values())
    statements = ast.parse(code).body
    assigned = [node for node in statements if isinstance(node, ast.Assign)]
    targets = [ast.unparse(target) for node in assigned for target in node.targets]
    assert [name for name in SIZES + VARIABLES if name not in targets] == []
    defined = [node for node in statements if isinstance(node, ast.FunctionDef)]
    functions = {node.name: ast.unparse(node.args) for node in defined}
    assert {name: functions.get(name) for name in FUNCTIONS} == FUNCTIONS


def test_sections_and_exercises_are_there_in_their_order():
    assert re.findall('^## (.+)', BOOK_TEXT, re.MULTILINE) == SECTIONS
    numbers = re.findall(r'^### (\d+)\. ', BOOK_TEXT, re.MULTILINE)
    assert [int(number) for number in numbers] == list(range(1, 15))


def test_links_and_pictures_lead_to_files_and_headings():
    for name, text in TEXTS.items():
        page = BeautifulSoup(mistune.html(text), 'html.parser')
        headings = page.find_all(re.compile('^h[1-6]$'))
        anchors = ['#' + heading.text.replace(' ', '-') for heading in headings]
        links = [a['href'] for a in page.find_all('a')] + [i['src'] for i in page.find_all('img')]
        for link in links:
            if link.startswith('#'):
                assert anchors.count(link) == 1, f'{link} in {name}'
            elif not re.match('https?://', link):
                file = (ROOT / name).parent / link.partition('#')[0]
                assert file.exists(), f'{link} in {name}'


def test_lines_of_text_are_short():
    for name, text in TEXTS.items():
        for line in FENCE.sub('', text).splitlines():
            may_be_long = line.startswith(('|', '    ')) or '](' in line
            assert len(line) <= 100 or may_be_long, f'{line} in {name}'


def test_what_can_be_unfolded_is_well_formed():
    """Markdown in HTML needs empty lines around the tags."""
    for name, text in TEXTS.items():
        tags = re.findall('</?(?:details|summary)>', text)
        block = ['<details>', '<summary>', '</summary>', '</details>']
        assert tags == block * (len(tags) // 4), name
        assert not re.search(r'</(summary|details)>\n[^\n]|[^\n]\n</?details>', text), name
    assert '<details>' in BOOK_TEXT


def test_code_in_the_text_is_python_that_compiles_or_bash():
    fences = FENCE.findall(BOOK_TEXT)
    assert len(fences) == BOOK_TEXT.count('\n```') / 2
    for language, code in fences:
        assert language in ('python', 'bash')
        if language == 'python':
            if code.startswith(' '):  # lines out of a list or of a function
                code = f'[\n{code}\n]' if code.endswith(',') else f'if True:\n{code}'
            compile(code, 'text', 'exec')


def test_names_in_the_text_exist_in_keras_and_tensorflow():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile()
    text = re.sub(r'https?://\S+', '', BOOK_TEXT)
    for name in set(re.findall(r'\b(?:keras|tf|model)(?:\.[a-z_]\w*)+', text, re.IGNORECASE)):
        root, *parts = name.split('.')
        thing = {'keras': keras, 'tf': tf, 'model': model}[root]
        for part in parts:
            assert hasattr(thing, part), f'{part} in {name}'
            thing = getattr(thing, part)


def test_names_and_arguments_in_the_exercises_exist():
    """They are names in the notebook's code, in a solution, or parameters of a layer."""
    kinds = ['Layer', 'Conv2D', 'Dense', 'MaxPooling2D']
    parameters = [
        inspect.signature(getattr(keras.layers, kind).__init__).parameters for kind in kinds
    ]
    code = '\n'.join(CODE.values()) + ' l2loss'  # of PrettyTensor
    for cell_id, text in TEXT.items():
        if cell_id.startswith('exercise'):
            solution = '\n'.join(code for _, code in FENCE.findall(text))
            # Names that stand alone, are called or get a value.
            names = set(re.findall(r'`([a-z_]\w*)(?:`|[(=])', FENCE.sub('', text)))
            assert names <= set(re.findall(r'\w+', code + solution)).union(*parameters), cell_id


@pytest.mark.slow
def test_the_pictures_are_drawn_by_their_script_with_something_everywhere(tmp_path):
    script = 'tests.measurements.pictures'
    arguments = ['--iterations=2', f'--folder={tmp_path}']
    subprocess.run([sys.executable, '-m', script, *arguments], cwd=ROOT, check=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == PICTURES
    assert sorted(path.name for path in (ROOT / 'images').iterdir()) == PICTURES
    for name in PICTURES:
        files = [tmp_path / name, ROOT / 'images' / name]
        new, stored = (np.array(Image.open(file).convert('L')) for file in files)
        assert new.shape == stored.shape
        for row in np.array_split(new, 3) + np.array_split(stored, 3):
            for block in np.array_split(row, 4, axis=1):
                assert len(np.unique(block)) > 5, name


def test_the_stored_flowchart_is_the_picture_and_its_text_has_the_sizes_of_the_network():
    (output,) = next(cell for cell in CODE_CELLS if cell.id == 'flowchart-code').outputs
    picture = (ROOT / 'images/network_flowchart.png').read_bytes()
    assert base64.b64decode(output.data['image/png']) == picture
    alt = output.metadata['image/png']['alt']
    assert re.findall(r'\d+', alt) == ['16', '576', '1764', '128', '10']
    assert repr(alt) in CODE['flowchart-code']
