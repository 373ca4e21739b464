"""The notebook in JupyterLab, in a real browser, as its reader uses it."""

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

from tests.lesson import NOTEBOOK, ROOT, environment, shortened

pytestmark = pytest.mark.slow

RED = '[data-mime-type="application/vnd.jupyter.stderr"]'  # Errors are marked so, too.
LONGEST = 'performance-10000-optimize'
BOOK = shortened()
IDS = [cell.id for cell in BOOK.cells]
# Milliseconds: a generous end to waiting for the page, and for the training.
PAGE, END = 120_000, 900_000


def find(page, cell_id, part):
    """Find a part of a cell."""
    return page.locator('.jp-Notebook .jp-Cell').nth(IDS.index(cell_id)).locator(part)


def output(page, cell_id):
    """Return what a cell has printed so far."""
    return ''.join(find(page, cell_id, '.jp-OutputArea pre').all_text_contents())


def edit(page, cell_id, old, new):
    """Double-click a number in a cell's code and type another one."""
    find(page, cell_id, '.cm-content').get_by_text(old, exact=True).dblclick()
    page.keyboard.type(new)


def start(page, cell_id, entry):
    """Select a cell and an entry of the menu that runs this cell, and others perhaps."""
    prompt = find(page, cell_id, '.jp-InputPrompt')
    before = prompt.text_content()
    find(page, cell_id, '.cm-content').click()
    page.get_by_role('menuitem', name='Run', exact=True).click()
    page.locator('.lm-Menu-itemLabel').get_by_text(entry, exact=True).click()
    expect(prompt).not_to_have_text(before, timeout=PAGE)


def wait_for_end(page):
    """Wait until no cell is running or waiting, and the kernel is ready for one."""
    running = page.locator('.jp-InputPrompt').filter(has_text='[*]')
    expect(running).to_have_count(0, timeout=END)
    page.locator('.jp-Notebook-ExecutionIndicator[data-status=idle]').wait_for(timeout=END)


def wait_for_address(server, runtime):
    """Return the address of the page by which a Jupyter server leads a browser to the notebook."""
    while server.poll() is None:
        for page in runtime.glob('jpserver-file-to-run-*.html'):
            if '</html>' in page.read_text():
                return page.as_uri()
        time.sleep(0.1)
    raise ChildProcessError(f'The server has ended with {server.returncode}')


def open_browser(playwright):
    """Start the system's Chromium or playwright's own; without one, skip, or fail under CI."""
    chromium = shutil.which('chromium') or shutil.which('chromium-browser')
    chromium = chromium or playwright.chromium.executable_path
    if not Path(chromium).exists() and not os.environ.get('CI'):
        pytest.skip('There is no Chromium: python -m playwright install chromium')
    return playwright.chromium.launch(executable_path=chromium)


@pytest.fixture(scope='module')
def page(tmp_path_factory):
    """Open a shortened copy of the notebook and run all cells."""
    folder = tmp_path_factory.mktemp('browser') / 'Übung 1'
    for name in ['data', 'images', 'notebooks']:
        shutil.copytree(ROOT / name, folder / name)
    nbformat.write(BOOK, folder / NOTEBOOK.relative_to(ROOT))
    # JupyterLab is to ask nothing about news.
    settings = folder / '.jupyter/lab/user-settings/@jupyterlab/apputils-extension'
    settings.mkdir(parents=True)
    (settings / 'notification.jupyterlab-settings').write_text('{"fetchNews": "false"}')
    options = ['--notebook-dir=.', '--allow-root', '--no-browser', '--ip=127.0.0.1', '--port=0']
    command = [sys.executable, '-m', 'jupyterlab', *options, NOTEBOOK.relative_to(ROOT)]
    env = environment(folder, JUPYTER_RUNTIME_DIR=str(folder / 'runtime'))
    with (
        sync_playwright() as playwright,
        open_browser(playwright) as browser,
        subprocess.Popen(command, cwd=folder, env=env) as server,
    ):
        try:
            page = browser.new_page()
            page.set_default_timeout(PAGE)
            page.goto(wait_for_address(server, folder / 'runtime'))
            expect(page.locator('.jp-Notebook .jp-Cell')).to_have_count(len(IDS), timeout=PAGE)
            wait_for_end(page)
            start(page, 'model', 'Run All Cells')
            wait_for_end(page)
            yield page
        finally:
            server.terminate()  # which ends its kernels, too


def test_all_cells_run_without_errors_and_pictures_can_be_seen(page):
    assert page.locator(RED).all_text_contents() == []
    prompts = page.locator('.jp-CodeCell .jp-InputPrompt').all_text_contents()
    assert prompts and all(re.search(r'\[\d+\]', prompt) for prompt in prompts)
    # The flowchart is there twice: as a picture of the text and as an output.
    for cell_id in ['flowchart-code', 'plot-few-code', 'curve-code', 'output-conv2-code']:
        expect(find(page, cell_id, 'img')).to_be_visible()


def test_the_stop_button_interrupts_the_training_and_it_can_go_on(page):
    edit(page, LONGEST, '6', '90000')
    start(page, LONGEST, 'Run Selected Cell')
    expect(find(page, LONGEST, '.jp-OutputArea').first).to_contain_text('01, Training', timeout=END)
    page.get_by_role('button', name='Interrupt the kernel').click()
    expect(find(page, LONGEST, RED)).to_contain_text('KeyboardInterrupt', timeout=PAGE)
    wait_for_end(page)
    done = int(re.findall(r'Iteration: +(\d+)', output(page, LONGEST))[-1])
    edit(page, LONGEST, '90000', '100')
    start(page, LONGEST, 'Run Selected Cell')
    wait_for_end(page)
    (following,) = re.findall(r'Iteration: +(\d+)', output(page, LONGEST))
    assert int(following) - done in (100, 200)  # What was trained need not have been reported.
