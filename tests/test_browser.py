"""The notebook in JupyterLab and in Notebook 7, as its reader sees and uses it."""

import base64
import ipaddress
import os
import re
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import nbformat
import psutil
import pytest
from reader import NOTEBOOK, ROOT, text

sync_api = pytest.importorskip(
    'playwright.sync_api',
    reason='There is no Playwright: pip install -r tests/requirements.txt',
)
expect = sync_api.expect

ARGUMENTS = [
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
]
CELLS = nbformat.read(NOTEBOOK, as_version=4).cells
IDS = [cell.id for cell in CELLS]
CODE_IDS = [cell.id for cell in CELLS if cell.cell_type == 'code']
# What README's first command hands to JupyterLab: options and the notebook.
OPENING = re.search('bin/jupyter lab (.+)', (ROOT / 'README.md').read_text())[1].split()
TIMEOUT = 120_000  # milliseconds, for a slow machine
LONGEST = 'performance-10000-optimize'
# So JupyterLab marks errors as well as what goes to stderr.
RED = '[data-mime-type="application/vnd.jupyter.stderr"]'
NUMBERED = re.compile(r'\[\d+\]')


class Screen:
    """A notebook in the browser."""

    def __init__(self, page, path, server):
        self.page = page
        self.path = path
        self.server = server

    def cell(self, cell_id):
        """Find a cell."""
        return self.page.locator('.jp-Notebook .jp-Cell').nth(IDS.index(cell_id))

    def prompt(self, cell_id):
        """Find the field left of a cell that holds its number, or a star."""
        return self.cell(cell_id).locator('.jp-InputPrompt')

    def output(self, cell_id):
        """Return what a cell has printed so far."""
        return ''.join(self.cell(cell_id).locator('pre').all_text_contents())

    def choose(self, menu, entry):
        """Choose an entry from a menu."""
        self.page.get_by_role('menuitem', name=menu, exact=True).click()
        self.page.locator('.lm-Menu-itemLabel').get_by_text(entry, exact=True).click()

    def edit(self, cell_id, old, new):
        """Double-click a word in a cell's code and type another one."""
        code = self.cell(cell_id).locator('.cm-content')
        word = code.get_by_text(re.compile(rf"^'?{old}'?$"))
        word.dblclick()
        self.page.keyboard.type(new)
        expect(code).to_contain_text(new)
        expect(word).to_have_count(0)

    def start(self, cell_id):
        """Click on a cell and run it with Ctrl+Enter."""
        self.cell(cell_id).locator('.cm-content').click()
        self.page.keyboard.press('Control+Enter')

    def run(self, cell_id):
        """Run a cell and wait for its end."""
        before = self.prompt(cell_id).text_content()
        self.start(cell_id)
        expect(self.prompt(cell_id)).not_to_have_text(before)
        expect(self.prompt(cell_id)).to_have_text(NUMBERED)

    def wait_for_idle_kernel(self):
        """Wait until no cell is running or waiting, and the kernel is ready for one."""
        starred = self.page.locator('.jp-InputPrompt').filter(has_text='[*]')
        expect(starred).to_have_count(0)
        self.page.locator(
            '.jp-Notebook-ExecutionIndicator[data-status=idle]'
        ).wait_for()

    def wait_for_last_cell(self):
        """Wait until the last cell has been run, or one has failed."""
        last = self.prompt(CODE_IDS[-1])
        expect(last).to_have_text('[*]:')
        end = last.filter(has_text=NUMBERED).or_(self.page.locator(RED))
        end.first.wait_for(timeout=900_000)

    def save(self):
        """Save the notebook with Ctrl+S and return the code cells of the file."""
        with self.page.expect_request(
            lambda request: request.method == 'PUT' and '/api/contents/' in request.url
        ) as saving:
            self.page.keyboard.press('Control+s')
        assert saving.value.response().ok
        notebook = nbformat.read(self.path, as_version=4)
        return {cell.id: cell for cell in notebook.cells if cell.cell_type == 'code'}


def descendants(process=None):
    """Return the processes that a process, or this one, has started."""
    return set(psutil.Process(process).children(recursive=True))


def is_alive(process):
    """Return whether a process runs; one that only waits to be reaped does not."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_for_end(processes):
    """Check that the processes end by themselves, and kill those that don't."""
    end = time.monotonic() + 30
    while (alive := list(filter(is_alive, processes))) and time.monotonic() < end:
        time.sleep(0.1)
    for process in alive:
        process.kill()
    assert not alive


@pytest.fixture(scope='module')
def browser():
    """Open Chromium without a window."""
    chromium = shutil.which('chromium')
    if not chromium:
        pytest.skip('There is no Chromium: apt-get install chromium')
    expect.set_options(timeout=TIMEOUT)
    before = descendants()
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield browser
        processes = descendants() - before
        browser.close()
    wait_for_end(processes)


@contextmanager
def jupyter(app, browser, folder, num_iterations=9000):
    """Open a copy of the repository in Jupyter, with README's command and in a browser.

    The notebook's last run of 9000 iterations can be made shorter.
    """
    for name in ['notebooks', 'data', 'images']:
        shutil.copytree(ROOT / name, folder / name)
    path = folder / NOTEBOOK.relative_to(ROOT)
    path.write_text(path.read_text('utf-8').replace('=9000)', f'={num_iterations})'))
    news = folder / '.jupyter/lab/user-settings/@jupyterlab/apputils-extension'
    news.mkdir(parents=True)
    (news / 'notification.jupyterlab-settings').write_text('{"fetchNews": "false"}')
    own = {'HOME': str(folder), 'JUPYTER_RUNTIME_DIR': str(folder / 'runtime')}
    foreign = ('JUPYTER', 'IPYTHON', 'XDG', 'MPL')
    with (folder / 'log').open('w') as log:
        server = subprocess.Popen(
            [
                Path(sys.executable).parent / 'jupyter',
                *[app, *OPENING],
                *['--no-browser', '--ip=127.0.0.1', '--port=0', '--allow-root'],
            ],
            cwd=folder,
            env={k: v for k, v in os.environ.items() if not k.startswith(foreign)}
            | own,
            stdout=log,
            stderr=log,
        )
    try:
        page = browser.new_page(viewport={'width': 1300, 'height': 900})
        page.set_default_timeout(TIMEOUT)
        page.goto(address(server, folder))
        expect(page.locator('.jp-Notebook .jp-Cell')).to_have_count(len(CELLS))
        screen = Screen(page, path, server)
        screen.wait_for_idle_kernel()
        yield screen
        page.close()
    finally:
        if server.poll() is None:
            processes = [psutil.Process(server.pid), *descendants(server.pid)]
            server.terminate()
            wait_for_end(processes)
            server.wait()


def address(server, folder):
    """Return the address that a Jupyter server opens in the browser."""
    end = time.monotonic() + 60
    while time.monotonic() < end and server.poll() is None:
        for file in folder.glob('runtime/jpserver-file-to-run-*.html'):
            if found := re.search('href="(.+)"', file.read_text()):
                return found[1]
        time.sleep(0.1)
    raise AssertionError((folder / 'log').read_text())


@pytest.fixture(scope='module')
def lab(browser, tmp_path_factory):
    """Run all cells in JupyterLab and keep the saved ones."""
    with jupyter('lab', browser, tmp_path_factory.mktemp('lab')) as screen:
        screen.choose('Run', 'Run All Cells')
        screen.wait_for_last_cell()
        screen.first = screen.save()
        yield screen


def accuracy(output):
    """Return the accuracy on the test-set, in percent, that is printed in a text."""
    return float(re.search(r'Accuracy on Test-Set: (\S+)%', output)[1])


def iterations(output):
    """Return the iterations that are reported in a text."""
    return [int(number) for number in re.findall(r'Iteration: +(\d+)', output)]


def check_all_cells(screen, saved):
    """Check the saved outputs of a fresh run, and that the screen shows them."""
    assert screen.page.locator(RED).all_text_contents() == []
    assert [cell.execution_count for cell in saved.values()] == [
        *range(1, len(CODE_IDS) + 1)
    ]
    outputs = [output for cell in saved.values() for output in cell.outputs]
    pictures = [output for output in outputs if 'image/png' in output.get('data', {})]
    assert len(pictures) > 10
    expect(screen.page.locator('.jp-OutputArea img')).to_have_count(len(pictures))
    images = screen.page.locator('.jp-Notebook img')
    widths = images.evaluate_all('images => images.map(image => image.naturalWidth)')
    assert min(widths) > 0


def test_lab_runs_all_cells_without_error_and_to_the_accuracy(lab):
    """Run > Run All Cells gives numbers to all cells, draws all, and reaches 98.6 %."""
    check_all_cells(lab, lab.first)
    assert accuracy(text(lab.first['performance-10000-test'].outputs)) >= 98.6


def test_lab_shows_the_flowchart(lab):
    """The first picture is the repository's flowchart."""
    (output,) = lab.first['flowchart-image'].outputs
    flowchart = (ROOT / 'images/network_flowchart.png').read_bytes()
    assert base64.b64decode(output.data['image/png']) == flowchart
    expect(lab.cell('flowchart-image').locator('img')).to_be_visible()


def test_nothing_listens_beyond_this_machine(lab):
    """Server and kernel take connections on the loopback address only."""
    listening = [
        ipaddress.ip_address(connection.laddr.ip)
        for process in [psutil.Process(lab.server.pid), *descendants(lab.server.pid)]
        for connection in process.net_connections('inet')
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len(listening) > 1
    assert all(ip.is_loopback for ip in listening)


@pytest.mark.parametrize('cell_id', [i for i in IDS if i.startswith('exercise-')])
def test_hint_and_solution_unfold_with_the_code_in_colours(lab, cell_id):
    """A click on Hint or Solution shows the text and its code, highlighted."""
    source = CELLS[IDS.index(cell_id)].source
    folded = lab.cell(cell_id).locator('details')
    expect(folded).to_have_count(source.count('<details>'))
    for details in folded.all():
        content = details.locator('> :not(summary)').first
        expect(content).to_be_hidden()
        details.locator('summary').click()
        expect(content).to_be_visible()
    code = folded.locator('pre code')
    expect(code).to_have_count(source.count('\n```') // 2)
    for block in code.all():
        expect(block.locator('span').first).to_be_visible()


def test_edited_model_gives_new_numbers_below(lab):
    """Sigmoid for ReLU, typed into the model's cell, trains far slower from there."""
    lab.edit('model', 'relu', 'sigmoid')
    before = lab.prompt('performance-1000-test').text_content()
    lab.choose('Run', 'Run Selected Cell and All Below')
    expect(lab.prompt('performance-1000-test')).not_to_have_text(before)
    expect(lab.prompt('performance-1000-test')).to_have_text(NUMBERED)
    new = lab.output('performance-1000-optimize').splitlines()
    old = text(lab.first['performance-1000-optimize'].outputs).splitlines()
    assert iterations('\n'.join(new)) == iterations('\n'.join(old))
    assert new[:-1] != old[:-1]  # The last line tells the time.
    old = accuracy(text(lab.first['performance-100-test'].outputs))
    assert accuracy(lab.output('performance-100-test')) < old - 20


def shorten(screen):
    """Make 100 iterations of the notebook's 9000, unless it has been done."""
    if '9000' in screen.cell(LONGEST).locator('.cm-content').text_content():
        screen.edit(LONGEST, '9000', '100')


def test_stop_button_interrupts_the_training_and_it_can_go_on(lab):
    """Stop ends the 9000 iterations in seconds, and the next ones count on from it."""
    cell, prompt = lab.cell(LONGEST), lab.prompt(LONGEST)
    if prompt.text_content() != '[*]:':
        lab.start(LONGEST)
        expect(prompt).to_have_text('[*]:')
    expect(cell).to_contain_text(re.compile('(Iteration: [^I]+){3}'))
    lab.page.get_by_role('button', name='Interrupt the kernel').click()
    expect(cell.locator(RED)).to_contain_text('KeyboardInterrupt', timeout=15_000)
    reported = iterations(lab.output(LONGEST))
    assert 3 <= len(reported) < 90

    lab.wait_for_idle_kernel()
    lab.run('performance-1-test')
    assert accuracy(lab.output('performance-1-test')) > 0
    shorten(lab)
    lab.run(LONGEST)
    # What had been trained when the kernel stopped need not have been reported.
    (following,) = iterations(lab.output(LONGEST))
    assert following - reported[-1] in (100, 200)


def test_restart_and_run_all_works_after_the_edits(lab):
    """Kernel > Restart Kernel and Run All Cells runs the edited notebook afresh."""
    shorten(lab)
    lab.choose('Kernel', 'Restart Kernel and Run All Cells…')
    lab.page.locator('.jp-Dialog .jp-mod-accept').click()
    lab.wait_for_last_cell()
    check_all_cells(lab, lab.save())


def test_notebook_7_runs_all_cells_without_error(browser, tmp_path):
    """Notebook 7 runs and shows all, with 100 iterations in place of the last 9000."""
    with jupyter('notebook', browser, tmp_path, num_iterations=100) as screen:
        screen.choose('Run', 'Run All Cells')
        screen.wait_for_last_cell()
        saved = screen.save()
        check_all_cells(screen, saved)
        assert accuracy(text(saved['performance-10000-test'].outputs)) >= 95
