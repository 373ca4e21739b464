"""The files as they lie there: code, notebook, pages, links and pictures."""

import ast
import base64
import io
import re
import subprocess
import sys
from itertools import pairwise, product

import mistune
import nbformat
import pytest
from bs4 import BeautifulSoup
from PIL import Image
from reader import NOTEBOOK, ROOT

BOOK = nbformat.read(NOTEBOOK, as_version=4)
CODE = [cell for cell in BOOK.cells if cell.cell_type == 'code']
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
# What GitHub shows as it should only with a blank line above and below.
CROWDED = re.compile(
    r'[^\n]\n(```|</?details>)|(```|</summary>|</details>)\n[^\n]|^[^|\n].*\n\| |^\|.*\n[^|\n]',
    re.M,
)


def rendered(text):
    return BeautifulSoup(mistune.html(text), 'html.parser')


@pytest.mark.parametrize('command', ['check', 'format --check'])
def test_ruff_has_nothing_to_say(command):
    arguments = [sys.executable, '-m', 'ruff', *command.split(), '--no-cache', '.']
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_notebook_is_valid_and_has_telling_ids_and_little_metadata():
    nbformat.validate(BOOK)
    ids = [cell.id for cell in BOOK.cells]
    assert len(set(ids)) == len(ids) <= 125
    assert all(re.fullmatch('[a-z]+[0-9]?(-[a-z0-9]+)*', name) for name in ids)
    assert not any(cell.metadata for cell in BOOK.cells)
    assert BOOK.metadata.language_info == {'name': 'python'} and len(BOOK.metadata) == 2


def test_stored_outputs_come_from_one_run_without_errors_or_paths_of_a_machine():
    assert [cell.execution_count for cell in CODE] == list(range(1, len(CODE) + 1))
    outputs = [output for cell in CODE for output in cell.outputs]
    assert not [o for o in outputs if o.output_type == 'error' or o.get('name') == 'stderr']
    texts = [o.get('text', '') + o.get('data', {}).get('text/plain', '') for o in outputs]
    assert not re.search(r'/(home|root|tmp|Users|work)/', ''.join(texts))
    pictures = [o.data['image/png'] for o in outputs if 'image/png' in o.get('data', {})]
    assert len(pictures) > 9 and NOTEBOOK.stat().st_size < 1_500_000
    for picture in pictures:
        Image.open(io.BytesIO(base64.b64decode(picture))).load()


def test_the_code_is_lean_and_plain_and_has_the_original_names():
    assert len(LINES) <= 290
    magics = [line for line in LINES if line[0] in '%!']
    assert magics == ["%config InlineBackend.figure_formats = ['retina']"]
    tree = ast.parse('\n'.join(line for line in LINES if line not in magics))
    assert not UNWANTED.findall(ast.unparse(tree))
    assert set(re.findall(r'\w+://', ast.unparse(tree))) == {'https://'}
    for node in ast.walk(tree):
        assert not isinstance(node, ast.ClassDef)
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < 22 and ast.get_docstring(node), node.name
    lines = [line.strip() for line in LINES]
    assert not [name for name in NAMES.split('; ') if not any(s.startswith(name) for s in lines)]


def test_the_sections_are_the_original_ones_in_their_order():
    found = [h for text in TEXTS.values() for h in rendered(text)(re.compile('^h[1-6]$'))]
    levels = [int(heading.name[1]) for heading in found]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(below <= above + 1 for above, below in pairwise(levels))
    titles = '; '.join(heading.text for heading in found[1:])
    assert re.sub(r'; \d+\. [^;]*', '', titles) == HEADINGS
    assert [*map(int, re.findall(r'; (\d+)\. ', titles))] == [*range(1, 14)]


@pytest.mark.parametrize('name', [*PAGES, 'notebooks/any'])
def test_links_lead_to_files_and_headings_and_pictures_are_described(name):
    page = rendered(PAGES.get(name, '\n\n'.join(TEXTS.values())))
    anchors = ['#' + heading.text.replace(' ', '-') for heading in page(re.compile('^h[1-6]$'))]
    assert all(image.get('alt', '').strip() for image in page('img'))
    for target in [a['href'] for a in page('a')] + [image['src'] for image in page('img')]:
        if target.startswith('#'):
            assert anchors.count(target) == 1, target
        elif not re.match('https?://', target):
            assert ((ROOT / name).parent / target.partition('#')[0]).exists(), target


@pytest.mark.parametrize('name', [*PAGES, *TEXTS])
def test_a_page_is_as_github_shows_it_and_its_lines_are_short(name):
    text = re.sub('^```.*?^```$', '```', (PAGES | TEXTS)[name], flags=re.M | re.S)
    prose = re.sub('`[^`\n]+`|<https://[^>]+>', '', text)
    tags = BeautifulSoup(prose, 'html.parser').find_all(True)
    assert {tag.name for tag in tags} <= {'details', 'summary'} and not any(t.attrs for t in tags)
    for tag in ['details', 'summary']:
        assert text.count(f'<{tag}>') == text.count(f'</{tag}>')
    assert not CROWDED.search(prose)
    lines = [line for line in text.splitlines() if not line.startswith(('    ', '|', '!['))]
    assert [line for line in lines if len(line) > 100 and '](' not in line] == []
    assert name != 'README.md' or len(lines) <= 60


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
    pictures = [Image.open(folder / name).convert('L') for folder in (drawn, ROOT / 'images')]
    assert pictures[0].size == pictures[1].size
    columns, rows = PICTURES[name]
    w, h = pictures[0].width // columns, pictures[0].height // rows
    for picture, x, y in product(pictures, range(0, w * columns, w), range(0, h * rows, h)):
        assert len(picture.crop((x, y, x + w, y + h)).getcolors()) > 5, (x, y)
