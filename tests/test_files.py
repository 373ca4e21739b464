"""The files as they lie there: code, notebook, pages, links and pictures."""

import ast
import re
import subprocess
import sys

import mistune
import nbformat
import numpy as np
import pytest
from bs4 import BeautifulSoup
from PIL import Image
from reader import NOTEBOOK, ROOT

BOOK = nbformat.read(NOTEBOOK, as_version=4)
CODE = [cell for cell in BOOK.cells if cell.cell_type == 'code']
CELLS = {cell.id: cell.source for cell in BOOK.cells if cell.cell_type == 'markdown'}
BOOK_TEXT = '\n\n'.join(CELLS.values()) + '\n'
PAGES = ['README.md', 'tests/README.md', 'data/MNIST/README.md']
TEXTS = CELLS | {name: (ROOT / name).read_text('utf-8') for name in PAGES}
# The pictures, and how many blocks there are in a column and in a row with something in each.
PICTURES = {'network_flowchart.png': (3, 4), 'results.png': (3, 4), 'strides.png': (2, 2)}
KNOWN = 'os gzip math time datetime pathlib types keras matplotlib numpy tensorflow IPython sklearn'
UNWANTED = re.compile(r'\b(raw_ops|eval|exec|__import__|system|popen|load|_[a-z]\w*)\b')
# Those that are not here are used by other tests.
NAMES = """img_size =; img_size_flat =; img_shape =; num_channels =; num_classes =; \
weights_conv1 =; weights_conv2 =; def get_weights_variable(layer_name):; \
def optimize(num_iterations):; def plot_images(images, cls_true, cls_pred=None):; \
def plot_example_errors(cls_pred, correct):; def plot_confusion_matrix(cls_pred):; \
def print_test_accuracy(show_example_errors=False, show_confusion_matrix=False):; \
def plot_conv_weights(weights, input_channel=0):"""
HEADINGS = """Introduction; Flowchart; Imports; Load Data; Data Dimensions; TensorFlow Graph; \
TensorFlow Implementation; Keras Implementation; Training; Performance before any optimization; \
Performance after 1 optimization iteration; Performance after 100 optimization iterations; \
Performance after 1000 optimization iterations; Performance after 10,000 optimization iterations; \
Visualization of Weights and Layers; Save and go on; Conclusion; Exercises; License"""


@pytest.mark.parametrize('command', ['ruff check .', 'ruff format --check .', 'pymarkdown scan'])
def test_linters_have_nothing_to_say_about_code_and_texts(command, tmp_path):
    arguments = command.split()
    if 'pymarkdown' in command:  # which reads no notebooks
        (tmp_path / 'notebook.md').write_text(BOOK_TEXT, 'utf-8')
        arguments += [tmp_path / 'notebook.md', *PAGES]
    subprocess.run([sys.executable, '-m', *arguments], cwd=ROOT, check=True)


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
    printed = ''.join(o.get('text') or o.data['text/plain'] for o in outputs)
    assert not re.search(r'/(home|root|tmp|Users|work)/', printed)
    assert NOTEBOOK.stat().st_size < 1_500_000


def test_the_code_is_lean_and_plain_and_has_the_original_names():
    lines = [line for cell in CODE for line in cell.source.splitlines() if line.strip()]
    assert len(lines) <= 290
    lines.remove("%config InlineBackend.figure_formats = ['retina']")
    tree = ast.parse('\n'.join(lines))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    assert max(function.end_lineno - function.lineno for function in functions) < 22
    code = ast.unparse(tree)
    assert {*re.findall(r'^ *(?:class|from|import) (\w+)', code, re.M)} == {*KNOWN.split()}
    assert not UNWANTED.findall(code)
    assert {*re.findall(r'\w+://', code)} == {'https://'}
    assert [name for name in NAMES.split('; ') if f'\n{name}' not in code] == []


def test_the_sections_are_the_original_ones_in_their_order():
    assert '; '.join(re.findall('^## (.+)', BOOK_TEXT, re.M)) == HEADINGS
    assert [*map(int, re.findall(r'^### (\d+)\. ', BOOK_TEXT, re.M))] == [*range(1, 14)]


@pytest.mark.parametrize('name', [*PAGES, 'notebooks/any'])
def test_links_lead_to_files_and_headings(name):
    page = BeautifulSoup(mistune.html(TEXTS.get(name, BOOK_TEXT)), 'html.parser')
    anchors = ['#' + heading.text.replace(' ', '-') for heading in page(re.compile('^h[1-6]$'))]
    for target in [a['href'] for a in page('a')] + [image['src'] for image in page('img')]:
        if target.startswith('#'):
            assert anchors.count(target) == 1, target
        elif not re.match('https?://', target):
            assert ((ROOT / name).parent / target.partition('#')[0]).exists(), target


@pytest.mark.parametrize('name', TEXTS)
def test_a_page_has_short_lines_and_what_can_be_unfolded_is_apart(name):
    source = TEXTS[name]
    lines = re.findall(r'^(?!    |\||!\[|export ).{101,}', source, re.M)
    assert not [line for line in lines if '](' not in line]
    assert name != 'README.md' or source.count('\n') <= 60
    assert source.count('<details>') == source.count('</details>') == source.count('</summary>')
    assert not re.search(r'</(summary|details)>\n[^\n]|[^\n]\n</?details>', source)


def test_the_pictures_are_drawn_by_their_command_with_something_everywhere(tmp_path):
    (script,) = re.findall(r'\.venv/bin/python (images/\w+\.py)', TEXTS['README.md'])
    arguments = [sys.executable, script, '--iterations=2', f'--folder={tmp_path}']
    subprocess.run(arguments, cwd=ROOT, check=True)
    for name, (rows, columns) in PICTURES.items():
        paths = [tmp_path / name, ROOT / 'images' / name]
        new, stored = (np.array(Image.open(path).convert('L')) for path in paths)
        assert new.shape == stored.shape
        for row in np.array_split(new, rows) + np.array_split(stored, rows):
            for block in np.array_split(row, columns, axis=1):
                assert len(np.unique(block)) > 5, name
