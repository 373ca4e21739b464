"""The files as they lie there: code, notebook, pages, links and pictures."""

import ast
import base64
import io
import re
import subprocess
import sys
from itertools import product

import mistune
import nbformat
import pytest
from bs4 import BeautifulSoup
from PIL import Image
from reader import NOTEBOOK, ROOT, pictures, text

BOOK = nbformat.read(NOTEBOOK, as_version=4)
CODE = [cell for cell in BOOK.cells if cell.cell_type == 'code']
OUTPUTS = [output for cell in CODE for output in cell.outputs]
LINES = [line for cell in CODE for line in cell.source.splitlines() if line.strip()]
TEXTS = {cell.id: cell.source for cell in BOOK.cells if cell.cell_type == 'markdown'}
PAGES = {
    name: (ROOT / name).read_text('utf-8')
    for name in ['README.md', 'tests/README.md', 'data/MNIST/README.md']
}
# The pictures, and how many blocks there are in a row and in a column with something in each.
PICTURES = {'network_flowchart.png': (4, 3), 'results.png': (4, 3), 'strides.png': (2, 2)}
UNWANTED = re.compile(
    r'\b(hashlib|signal|socket|contextlib|tempfile|threading|subprocess|warnings|logging|shutil|'
    r'pickle|ctypes|raw_ops|eval|exec|importlib|__import__|system|popen|load|_[a-z]\w*)\b'
)
NAMES = """img_size =; img_size_flat =; img_shape =; num_channels =; num_classes =; data =; train=; \
validation=; test=; images=; labels=; cls=; train_batch_size =; test_batch_size =; \
weights_conv1 =; weights_conv2 =; def get_weights_variable(layer_name):; \
def optimize(num_iterations):; def plot_images(images, cls_true, cls_pred=None):; \
def plot_example_errors(cls_pred, correct):; def plot_confusion_matrix(cls_pred):; \
def print_test_accuracy(show_example_errors=False, show_confusion_matrix=False):; \
def plot_conv_weights(weights, input_channel=0):"""
HEADINGS = """Introduction; Flowchart; Imports; Load Data; Data Dimensions; Helper-function for \
plotting images; Plot a few images to see if data is correct; TensorFlow Graph; Inputs; TensorFlow \
Implementation; Keras Implementation; Getting the Weights; Optimization Method; Performance \
Measures; Training; Helper-function to perform optimization iterations; Helper-function to plot \
example errors; Helper-function to plot confusion matrix; Helper-function for showing the \
performance; Performance before any optimization; Performance after 1 optimization iteration; \
Performance after 100 optimization iterations; Performance after 1000 optimization iterations; \
Performance after 10,000 optimization iterations; The learning curve; Visualization of Weights and \
Layers; Helper-function for plotting convolutional weights; Convolution Layer 1; Convolution Layer \
2; Helper-function for plotting the output of a convolutional layer; Save and go on; Conclusion; \
Exercises; License"""


def rendered(source):
    return BeautifulSoup(mistune.html(source), 'html.parser')


@pytest.mark.parametrize('command', ['ruff check', 'ruff format --check', 'pymarkdown scan'])
def test_linters_have_nothing_to_say_about_code_and_texts(command, tmp_path):
    """The notebook's texts are put into a file for the latter, as it reads no notebooks."""
    files = ['.']
    if command == 'pymarkdown scan':
        files = [tmp_path / 'notebook.md', *PAGES]
        files[0].write_text('\n\n'.join(TEXTS.values()) + '\n', 'utf-8')
    arguments = [sys.executable, '-m', *command.split(), *files]
    assert subprocess.run(arguments, cwd=ROOT).returncode == 0


def test_the_notebook_is_valid_and_has_telling_ids_and_little_metadata():
    nbformat.validate(BOOK)
    ids = [cell.id for cell in BOOK.cells]
    assert len(set(ids)) == len(ids) <= 125
    assert all(re.fullmatch('[a-z]+[0-9]?(-[a-z0-9]+)*', name) for name in ids)
    assert not any(cell.metadata for cell in BOOK.cells)
    assert BOOK.metadata.language_info == {'name': 'python'} and len(BOOK.metadata) == 2


def test_stored_outputs_come_from_one_run_without_errors_or_paths_of_a_machine():
    assert [cell.execution_count for cell in CODE] == list(range(1, len(CODE) + 1))
    assert not [o for o in OUTPUTS if o.output_type == 'error' or o.get('name') == 'stderr']
    results = [output.get('data', {}).get('text/plain', '') for output in OUTPUTS]
    assert not re.search(r'/(home|root|tmp|Users|work)/', text(OUTPUTS) + ''.join(results))
    assert len(pictures(OUTPUTS)) > 9 and NOTEBOOK.stat().st_size < 1_500_000
    for picture in pictures(OUTPUTS):
        Image.open(io.BytesIO(base64.b64decode(picture))).load()


def test_the_code_is_lean_and_plain_and_has_the_original_names():
    magic = "%config InlineBackend.figure_formats = ['retina']"
    assert len(LINES) <= 290 and magic in LINES
    tree = ast.parse('\n'.join(line for line in LINES if line != magic))
    assert not UNWANTED.findall(ast.unparse(tree))
    assert set(re.findall(r'\w+://', ast.unparse(tree))) == {'https://'}
    assert not any(isinstance(node, ast.ClassDef) for node in ast.walk(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < 22 and ast.get_docstring(node), node.name
    for name in NAMES.split('; '):
        assert any(line.strip().startswith(name) for line in LINES), name


def test_the_sections_are_the_original_ones_in_their_order():
    found = [h for source in TEXTS.values() for h in rendered(source)(re.compile('^h[1-6]$'))]
    titles = '; '.join(heading.text for heading in found[1:])
    assert re.sub(r'; \d+\. [^;]*', '', titles) == HEADINGS
    assert [*map(int, re.findall(r'; (\d+)\. ', titles))] == [*range(1, 14)]


@pytest.mark.parametrize('name', [*PAGES, 'notebooks/any'])
def test_links_lead_to_files_and_headings(name):
    page = rendered(PAGES.get(name, '\n\n'.join(TEXTS.values())))
    anchors = ['#' + heading.text.replace(' ', '-') for heading in page(re.compile('^h[1-6]$'))]
    for target in [a['href'] for a in page('a')] + [image['src'] for image in page('img')]:
        if target.startswith('#'):
            assert anchors.count(target) == 1, target
        elif not re.match('https?://', target):
            assert ((ROOT / name).parent / target.partition('#')[0]).exists(), target


@pytest.mark.parametrize('name', [*PAGES, *TEXTS])
def test_a_page_has_short_lines_and_what_can_be_unfolded_is_apart(name):
    source = (PAGES | TEXTS)[name]
    lines = [
        line for line in source.splitlines() if not line.startswith(('    ', '|', '![', 'export '))
    ]
    assert not [line for line in lines if len(line) > 100 and '](' not in line]
    assert name != 'README.md' or len(lines) <= 60
    assert source.count('<details>') == source.count('</details>') == source.count('</summary>')
    assert not re.search(r'</(summary|details)>\n[^\n]|[^\n]\n</?details>', source)


@pytest.fixture(scope='module')
def drawn(tmp_path_factory):
    """Draw the pictures by README's command, after two iterations, into another folder."""
    folder = tmp_path_factory.mktemp('images')
    (script,) = re.findall(r'\.venv/bin/python (images/\w+\.py)', PAGES['README.md'])
    arguments = [sys.executable, script, '--iterations=2', f'--folder={folder}']
    subprocess.run(arguments, cwd=ROOT, check=True)
    return folder


@pytest.mark.parametrize('name', PICTURES)
def test_the_pictures_are_drawn_by_their_command_with_something_everywhere(drawn, name):
    new, stored = (Image.open(folder / name).convert('L') for folder in (drawn, ROOT / 'images'))
    assert new.size == stored.size
    columns, rows = PICTURES[name]
    w, h = new.width // columns, new.height // rows
    for picture, i, j in product([new, stored], range(columns), range(rows)):
        block = picture.crop((i * w, j * h, i * w + w, j * h + h))
        assert len(block.getcolors()) > 5, (i, j)
