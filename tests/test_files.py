"""The files as they lie there: code, notebook, texts, links and pictures."""

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

from tests.lesson import BOOK, CODE, NOTEBOOK, ROOT, TEXT, code_blocks, short_training
from tests.measurements import pictures
from tests.measurements.outputs import METADATA

BOOK_TEXT = '\n\n'.join(TEXT.values()) + '\n'
PAGES = ['README.md', 'data/MNIST/README.md', 'tests/measurements/README.md']
# All texts by the files in which they stand.
TEXTS = {name: (ROOT / name).read_text('utf-8') for name in PAGES}
TEXTS[NOTEBOOK.relative_to(ROOT).as_posix()] = BOOK_TEXT
CODE_CELLS = [cell for cell in BOOK.cells if cell.cell_type == 'code']
OUTPUTS = [output for cell in CODE_CELLS for output in cell.outputs]
SECTIONS = (
    'Introduction | Flowchart | Imports | Load Data | Data Dimensions | TensorFlow Graph | '
    'TensorFlow Implementation | Keras Implementation | Training | '
    'Performance before any optimization | Performance after 1 optimization iteration | '
    'Performance after 100 optimization iterations | '
    'Performance after 1000 optimization iterations | '
    'Performance after 10,000 optimization iterations | Visualization of Weights and Layers | '
    'Save and go on | Conclusion | Exercises | Two more exercises | Since 2016 | License'
)


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
    assert BOOK.metadata == METADATA


def test_stored_outputs_come_from_one_run_without_errors_and_tell_no_path_of_the_machine():
    counts = [cell.execution_count for cell in CODE_CELLS]
    assert counts == list(range(1, len(CODE_CELLS) + 1))
    assert sum('image/png' in output.get('data', {}) for output in OUTPUTS) == 16
    kinds = {output.get('name', output.output_type) for output in OUTPUTS}
    assert kinds <= {'stdout', 'display_data', 'execute_result'}
    for output in OUTPUTS:
        text = output.get('text') or output.data['text/plain']
        assert not re.search(r'/(home|root|tmp|Users|work|usr|opt)/|[A-Z]:\\', text)


def test_sections_and_exercises_are_there_in_their_order():
    assert re.findall('^## (.+)', BOOK_TEXT, re.MULTILINE) == SECTIONS.split(' | ')
    numbers = re.findall(r'^### (\d+)\. ', BOOK_TEXT, re.MULTILINE)
    assert [int(number) for number in numbers] == list(range(1, 15))


def test_headings_that_other_texts_name_are_there():
    text = ' '.join(BOOK_TEXT.split())
    for heading in ['Imports', 'Inputs', 'Performance before any optimization']:
        assert f'*{heading}*' in text
        assert len(re.findall(f'^#+ {heading}$', BOOK_TEXT, re.MULTILINE)) == 1


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


def test_readme_calls_the_python_of_its_environment():
    pythons = re.findall(r'^ +(\.venv\S+)', TEXTS['README.md'], re.MULTILINE)
    assert {*pythons} == {'.venv/bin/python', r'.venv\Scripts\python'}


def test_what_can_be_unfolded_is_well_formed():
    """Markdown in HTML needs empty lines around the tags."""
    for name, text in TEXTS.items():
        tags = re.findall('</?(?:details|summary)>', text)
        block = ['<details>', '<summary>', '</summary>', '</details>']
        assert tags == block * (len(tags) // 4), name
        assert not re.search(r'</(summary|details)>\n[^\n]|[^\n]\n</?details>', text), name


def test_names_in_the_text_exist_in_keras_and_tensorflow():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile()
    text = re.sub(r'https?://\S+', '', BOOK_TEXT)
    for name in re.findall(r'\b(?:keras|tf|model)(?:\.[A-Za-z_]\w*)+', text):
        eval(name, {'keras': keras, 'tf': tf, 'model': model})


def test_names_and_arguments_in_the_exercises_exist():
    """They are names in the notebook's code, in a solution, of PrettyTensor or of Keras."""
    known = {*inspect.signature(keras.layers.Conv2D).parameters, 'trainable'}
    known |= {'keep_prob', 'l2loss'}  # of PrettyTensor
    for cell_id, text in TEXT.items():
        if cell_id.startswith('exercise'):
            code = '\n'.join([*CODE.values(), *code_blocks(cell_id)])
            # Names that stand alone, are called or get a value.
            names = set(re.findall(r'`([a-z_]\w*)(?:`|[(=])', re.sub('```[^`]*```', '', text)))
            assert names <= known.union(re.findall(r'\w+', code)), cell_id


@pytest.mark.slow
def test_the_pictures_are_drawn_by_their_script_with_something_everywhere(tmp_path):
    edits = short_training()
    del edits['load-split-code']  # The flowchart has one of all test images.
    pictures.main(edits, tmp_path)
    folders = [sorted(folder.iterdir()) for folder in (tmp_path, ROOT / 'images')]
    for files in zip(*folders, strict=True):
        assert files[0].name == files[1].name
        new, stored = (np.array(Image.open(file).convert('L')) for file in files)
        assert new.shape == stored.shape
        for row in np.array_split(new, 3) + np.array_split(stored, 3):
            for block in np.array_split(row, 4, axis=1):
                assert len(np.unique(block)) > 5, files[0].name


def test_the_stored_flowchart_is_the_picture_and_its_text_has_the_sizes_of_the_network():
    (output,) = next(cell for cell in CODE_CELLS if cell.id == 'flowchart-code').outputs
    stored = base64.b64decode(output.data['image/png'])
    assert stored == (ROOT / 'images/network_flowchart.png').read_bytes()
    alt = output.metadata['image/png']['alt']
    assert re.findall(r'\d+', alt) == ['16', '576', '1764', '128', '10']
    assert repr(alt) in CODE['flowchart-code']
