"""The notebook in JupyterLab and in Notebook 7, in a real browser, as its reader uses it."""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import expect, sync_playwright
from reader import NOTEBOOK, ROOT, environment, shortened

RED = '[data-mime-type="application/vnd.jupyter.stderr"]'  # errors are marked so, too
LONGEST = 'performance-10000-optimize'
BOOK = shortened()
IDS = [cell.id for cell in BOOK.cells]
END = 900_000  # milliseconds; a generous end to any wait


def find(page, cell_id, part):
    """Find a part of a cell."""
    return page.locator('.jp-Notebook .jp-Cell').nth(IDS.index(cell_id)).locator(part)


def output(page, cell_id):
    """Return what a cell has printed so far."""
    return ''.join(find(page, cell_id, '.jp-OutputArea pre').all_text_contents())


def edit(page, cell_id, old, new):
    """Double-click a word in a cell's code and type another one."""
    find(page, cell_id, '.cm-content').get_by_text(re.compile(rf"^'?{old}'?$")).dblclick()
    page.keyboard.type(new)


def start(page, cell_id, entry):
    """Select a cell and an entry of the menu that runs this cell, and others perhaps."""
    prompt = find(page, cell_id, '.jp-InputPrompt')
    before = prompt.text_content()
    find(page, cell_id, '.cm-content').click()
    page.get_by_role('menuitem', name='Run', exact=True).click()
    page.locator('.lm-Menu-itemLabel').get_by_text(entry, exact=True).click()
    expect(prompt).not_to_have_text(before)


def wait_for_end(page):
    """Wait until no cell is running or waiting, and the kernel is ready for one."""
    expect(page.locator('.jp-InputPrompt').filter(has_text='[*]')).to_have_count(0)
    page.locator('.jp-Notebook-ExecutionIndicator[data-status=idle]').wait_for()


@pytest.fixture(scope='module', params=['lab', 'notebook'])
def page(request, tmp_path_factory):
    """Open a shortened copy of the notebook by README's command; skip without Chromium."""
    chromium = shutil.which('chromium') or shutil.which('chromium-browser')
    if not chromium and not os.environ.get('CI'):
        pytest.skip('There is no Chromium: apt-get install chromium')
    expect.set_options(timeout=END)
    folder = tmp_path_factory.mktemp(request.param)
    for name in ['data', 'images', 'notebooks']:
        shutil.copytree(ROOT / name, folder / name)
    nbformat.write(BOOK, folder / NOTEBOOK.relative_to(ROOT))
    news = folder / '.jupyter/lab/user-settings/@jupyterlab/apputils-extension'
    news.mkdir(parents=True)
    (news / 'notification.jupyterlab-settings').write_text('{"fetchNews": "false"}')
    opening = re.search('bin/jupyter lab (.+)', (ROOT / 'README.md').read_text('utf-8'))[1]
    options = ['--no-browser', '--ip=127.0.0.1', '--port=0', '--allow-root', *opening.split()]
    command = [Path(sys.executable).parent / 'jupyter', request.param, *options]
    env = environment(HOME=str(folder), JUPYTER_RUNTIME_DIR=str(folder / 'runtime'))
    with sync_playwright() as playwright, subprocess.Popen(command, cwd=folder, env=env) as server:
        try:
            started = 'runtime/jpserver-file-to-run-*.html'  # leads a browser to the notebook
            while not (found := [f for f in folder.glob(started) if '</' in f.read_text()]):
                assert server.poll() is None
                time.sleep(0.1)
            page = playwright.chromium.launch(executable_path=chromium).new_page()
            page.set_default_timeout(END)
            page.goto(found[0].as_uri())
            expect(page.locator('.jp-Notebook .jp-Cell')).to_have_count(len(IDS))
            wait_for_end(page)
            yield page
        finally:
            server.terminate()  # which ends its kernels, too


@pytest.mark.parametrize('entry', ['Run All Cells', 'Run Selected Cell and All Below'])
def test_all_cells_run_and_those_below_an_edited_model_give_new_numbers(page, entry):
    """None gives an error, and all pictures can be seen."""
    old = output(page, 'performance-pred')
    if entry != 'Run All Cells':
        edit(page, 'model', 'relu', 'sigmoid')
    start(page, 'model', entry)
    wait_for_end(page)
    assert page.locator(RED).all_text_contents() == []
    prompts = page.locator('.jp-CodeCell .jp-InputPrompt').all_text_contents()
    assert prompts and all(re.search(r'\[\d+\]', prompt) for prompt in prompts)
    for cell_id in ['flowchart', 'plot-few-code', 'curve-code', 'output-conv2-code']:
        expect(find(page, cell_id, 'img')).to_be_visible()
    assert old != output(page, 'performance-pred')


def test_the_stop_button_interrupts_the_training_and_it_can_go_on(page):
    edit(page, LONGEST, '[0-9]+', '90000')
    start(page, LONGEST, 'Run Selected Cell')
    expect(find(page, LONGEST, '.jp-OutputArea').first).to_contain_text('01, Training')
    page.get_by_role('button', name='Interrupt the kernel').click()
    expect(find(page, LONGEST, RED)).to_contain_text('KeyboardInterrupt')
    wait_for_end(page)
    done = int(re.findall(r'Iteration: +(\d+)', output(page, LONGEST))[-1])
    edit(page, LONGEST, '90000', '100')
    start(page, LONGEST, 'Run Selected Cell')
    wait_for_end(page)
    (following,) = re.findall(r'Iteration: +(\d+)', output(page, LONGEST))
    assert int(following) - done in (100, 200)  # what was trained need not have been reported
