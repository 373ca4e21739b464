"""The data and the place: what is broken or missing there, and what is written."""

import gzip
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import nbformat
import pytest
from nbclient.exceptions import CellExecutionError, DeadKernelError
from reader import NOTEBOOK, ROOT, pictures, reading, text

DATA = ROOT / 'data/MNIST'
FILES = sorted(path.name for path in DATA.glob('*.gz'))
SMALL = 't10k-labels-idx1-ubyte.gz'
CELLS = [
    'flowchart-image',
    'settings-code',
    'imports-code',
    'load-files',
    'load-download-code',
    'load-read-code',
]
PARTS = ('data', 'images')  # of the repository, that the notebook uses
SCRATCH = ('home', 'temp')  # HOME and TMPDIR, for this test only
# Jupyter's own folders, and IPython's in a temporary folder where HOME is of no use.
JUPYTER = {'.ipython', '.jupyter', '.local', '.ipynb_checkpoints', 'profile_default'}
KERAS = Path('/tmp/.keras')  # where Keras writes if it can't in HOME


class Handler(BaseHTTPRequestHandler):
    """Serves a file of the data, or fails, as the first part of the path says."""

    def do_GET(self):
        """Answer a request for /behaviour/name."""
        behaviour, name = self.path.strip('/').split('/')
        self.server.asked.append(behaviour)
        if behaviour.isdigit():
            self.send_error(int(behaviour))
            return
        if behaviour == 'silent':
            self.server.end.wait(20)
            return
        if behaviour == 'together':
            self.server.barrier.wait(30)
        whole = body = (DATA / name).read_bytes()
        if behaviour == 'page':
            body = b'<html>Please log in.</html>'.ljust(len(whole))
        if behaviour in ('short', 'slow'):
            body = whole[: len(whole) // 2]
        self.send_response(200)
        self.send_header('Content-Length', len(whole))
        self.end_headers()
        self.wfile.write(body)
        if behaviour == 'slow':
            self.server.end.wait(20)

    def log_message(self, *args):
        """Keep quiet."""


@pytest.fixture(scope='module')
def server():
    """Serve the data on this machine, and list in `asked` what was asked for."""
    server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    server.daemon_threads = True
    server.asked = []
    server.end = threading.Event()
    server.barrier = threading.Barrier(2)
    server.url = f'http://127.0.0.1:{server.server_port}'
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.end.set()
    server.shutdown()
    server.server_close()


@contextmanager
def settled(name='place', alone=False):
    """Give a folder with a copy of the notebook, and an empty HOME beside it."""
    with tempfile.TemporaryDirectory() as top, pytest.MonkeyPatch.context() as patch:
        os.chmod(top, 0o755)  # to be entered by other users, too
        place = Path(top) / name
        for folder in ('notebooks', *SCRATCH):
            (place / folder).mkdir(parents=True)
        patch.setenv('HOME', str(place / 'home'))
        patch.setenv('TMPDIR', str(place / 'temp'))
        patch.setenv('no_proxy', '*')
        for variable in ('KERAS_HOME', 'MPLCONFIGDIR', 'IPYTHONDIR'):
            patch.delenv(variable, raising=False)
        shutil.copy(NOTEBOOK, place / 'notebooks')
        for folder in () if alone else PARTS:
            shutil.copytree(ROOT / folder, place / folder)
        yield place


@pytest.fixture(scope='module')
def place():
    """Give a copy of the notebook and its data."""
    with settled() as place:
        yield place


def started(place):
    """Open the notebook of a place in a kernel of its own."""
    return reading(place / 'notebooks' / NOTEBOOK.name)


def prepare(reader):
    """Run the cells that define read_idx, and let it wait for a mirror but a second."""
    reader.edit('load-download-code', 'setdefaulttimeout(10)', 'setdefaulttimeout(1)')
    reader.run(*CELLS)


@pytest.fixture(scope='module')
def kernel(place):
    """Give a kernel in which read_idx is defined."""
    with started(place) as reader:
        prepare(reader)
        yield reader


@pytest.fixture
def reader(kernel, place):
    """Give the kernel, with all files as they should be and no network."""
    folder = place / 'data/MNIST'
    shutil.rmtree(folder)
    shutil.copytree(DATA, folder)
    use(kernel, 'https://127.0.0.1:1/', 'https://nowhere.invalid/')
    return kernel


def use(reader, *mirrors):
    """Set the mirrors that the kernel asks."""
    reader.type(f'mirrors = {[str(mirror) for mirror in mirrors]}')


def snapshot(folder):
    """Return the content and the time of change of all below a folder."""
    return {
        path.relative_to(folder): (
            path.read_bytes() if path.is_file() else None,
            path.stat().st_mtime_ns,
        )
        for path in folder.rglob('*')
    }


def strangers(folder):
    """Return the files below a folder that are not in Jupyter's own folders.

    Empty folders don't count: IPython makes temporary ones where HOME is of no use.
    """
    return [
        str(path.relative_to(folder))
        for path in folder.rglob('*')
        if not (path.is_dir() or JUPYTER & set(path.relative_to(folder).parts))
    ]


def refused(reader, source):
    """Run code that must fail, soon and in one error, and return the error's text."""
    start = time.monotonic()
    with pytest.raises(CellExecutionError) as caught:
        reader.type(source)
    assert time.monotonic() - start < 10
    error = caught.value
    assert error.ename in ('OSError', 'ValueError')
    assert 'During handling' not in error.traceback
    assert 'direct cause' not in error.traceback
    return error.evalue


def whole(folder, *names):
    """Tell whether there are these files, as published, and no others."""
    present = {path.name for path in folder.iterdir()}
    return present == set(names) and all(
        (folder / name).read_bytes() == (DATA / name).read_bytes() for name in names
    )


def flip(content):
    """Return the content with one bit in its middle flipped."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def inverted(content):
    """Return a valid file of the same kind and shape with other values."""
    content = gzip.decompress(content)
    start = 4 + 4 * content[3]
    return gzip.compress(content[:start] + bytes(255 - b for b in content[start:]), 1)


FAULTS = {
    'truncated': lambda content: content[: len(content) // 2],
    'one bit flipped': flip,
    'empty': lambda content: b'',
    'an HTML page': lambda content: b'<html>404 Not Found</html>',
    'other data': inverted,
}


@pytest.mark.parametrize('name', FILES)
@pytest.mark.parametrize('fault', FAULTS)
def test_a_wrong_file_is_refused_and_left_alone(reader, place, name, fault):
    """The error names the file, says what is wrong and how to mend it."""
    folder = place / 'data/MNIST'
    content = FAULTS[fault]((folder / name).read_bytes())
    (folder / name).write_bytes(content)
    before = snapshot(place)
    message = refused(reader, f'read_idx({name!r})')
    assert message.startswith(f'{folder.resolve() / name} ({len(content):,} bytes) is')
    assert 'incomplete, damaged or from another data set' in message
    assert 'Move it away or delete it' in message
    assert f'by hand from https://127.0.0.1:1/{name}' in message
    assert snapshot(place) == before


@pytest.mark.parametrize('name', FILES)
def test_a_missing_file_without_a_network(reader, place, name):
    """The error names the file, where to get it, and why each mirror failed."""
    folder = place / 'data/MNIST'
    (folder / name).unlink()
    message = refused(reader, f'read_idx({name!r})')
    assert message.startswith(f'{folder.resolve() / name} is missing')
    assert f'by hand, from https://127.0.0.1:1/{name}' in message
    assert 'refused' in message
    assert 'nowhere.invalid' in message
    assert whole(folder, 'README.md', *(set(FILES) - {name}))


@pytest.mark.parametrize('name', FILES)
def test_a_folder_in_place_of_a_file(reader, place, name):
    """The error names the folder and says that it is one."""
    path = place / 'data/MNIST' / name
    path.unlink()
    path.mkdir()
    before = snapshot(place)
    message = refused(reader, f'read_idx({name!r})')
    assert message.startswith(f'{path.resolve()} cannot be read: Is a directory. Move')
    assert snapshot(place) == before


def as_other(source):
    """Return code that runs as a user who may not do everything."""
    if os.geteuid():
        return source
    return f'os.seteuid(65534)\ntry:\n    {source}\nfinally:\n    os.seteuid(0)'


@pytest.mark.parametrize('name', FILES)
def test_a_file_that_may_not_be_read(reader, place, name):
    """The error names the file and says that permission is missing."""
    path = place / 'data/MNIST' / name
    path.chmod(0)
    message = refused(reader, as_other(f'read_idx({name!r})'))
    assert message.startswith(f'{path.resolve()} cannot be read: Permission denied.')
    path.chmod(0o644)
    assert whole(path.parent, 'README.md', *FILES)


def test_a_read_only_folder_is_enough(reader, place):
    """Good files are read, and a missing one is reported, where nothing may be written."""
    folder = place / 'data/MNIST'
    for path in folder.iterdir():
        path.chmod(0o444)
    folder.chmod(0o555)
    shapes = as_other(f'print([read_idx(name).shape for name in {FILES}])')
    assert (
        reader.type(shapes)
        == '[(10000, 28, 28), (10000,), (60000, 28, 28), (60000,)]\n'
    )
    folder.chmod(0o755)
    (folder / SMALL).unlink()
    folder.chmod(0o555)
    message = refused(reader, as_other(f'read_idx({SMALL!r})'))
    folder.chmod(0o755)
    assert message.startswith(f'{folder.resolve() / SMALL} is missing')
    assert 'Permission denied' in message


@pytest.mark.parametrize('behaviour', ['404', '500', 'page', 'short', 'silent'])
def test_a_mirror_that_fails_gives_way_to_the_next(reader, place, server, behaviour):
    """The second mirror's file is taken, and nothing of the first one's stays."""
    (place / 'data/MNIST' / SMALL).unlink()
    server.asked.clear()
    use(reader, f'{server.url}/{behaviour}/', f'{server.url}/good/')
    start = time.monotonic()
    reader.type(f'assert read_idx({SMALL!r}).shape == (10000,)')
    assert time.monotonic() - start < 10
    assert server.asked == [behaviour, 'good']
    assert whole(place / 'data/MNIST', 'README.md', *FILES)
    assert reader.type('print(socket.getdefaulttimeout())') == 'None\n'


def test_all_mirrors_failing_is_one_error_with_all_reasons(reader, place, server):
    """And no file is left that a later run could take for whole."""
    (place / 'data/MNIST' / SMALL).unlink()
    use(
        reader,
        *(f'{server.url}/{behaviour}/' for behaviour in ['404', 'page', 'short']),
    )
    message = refused(reader, f'read_idx({SMALL!r})')
    for behaviour in ['404', 'page', 'short']:
        assert f'{server.url}/{behaviour}/: ' in message
    assert whole(place / 'data/MNIST', 'README.md', *(set(FILES) - {SMALL}))


def test_an_interrupted_download_leaves_nothing(reader, place, server):
    """The next call downloads the file, which is whole then."""
    name = FILES[0]
    (place / 'data/MNIST' / name).unlink()
    use(reader, f'{server.url}/slow/')
    reader.type('import signal, threading')
    interrupt = 'threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()\n'
    with pytest.raises(CellExecutionError) as caught:
        reader.type(f'{interrupt}read_idx({name!r})')
    assert caught.value.ename == 'KeyboardInterrupt'
    assert whole(place / 'data/MNIST', 'README.md', *(set(FILES) - {name}))
    use(reader, f'{server.url}/good/')
    reader.type(f'read_idx({name!r})')
    assert whole(place / 'data/MNIST', 'README.md', *FILES)


def test_two_kernels_may_download_at_once_and_one_be_killed(reader, place, server):
    """Both get whole files, and a killed kernel leaves no half one."""
    folder = place / 'data/MNIST'
    missing = folder / FILES[0]
    missing.unlink()
    with started(place) as other:
        prepare(other)
        for kernel in (reader, other):
            use(kernel, f'{server.url}/together/')
        other.type(
            'import signal, threading\n'
            f'thread = threading.Thread(target=read_idx, args=({missing.name!r},))\n'
            'thread.start()'
        )
        reader.type(f'read_idx({missing.name!r})')
        other.type(f'thread.join(); read_idx({missing.name!r})')
        assert server.asked[-2:] == ['together', 'together']
        assert whole(folder, 'README.md', *FILES)

        missing.unlink()
        use(other, f'{server.url}/slow/')
        with pytest.raises(DeadKernelError):
            other.type(
                'threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGKILL)).start()\n'
                f'read_idx({missing.name!r})'
            )
    assert server.asked[-1] == 'slow'
    assert not missing.exists()
    use(reader, f'{server.url}/good/')
    reader.type(f'read_idx({missing.name!r})')
    assert missing.read_bytes() == (DATA / missing.name).read_bytes()


def test_reading_and_downloading_write_nothing_elsewhere(kernel, place):
    """All of the above has left only the data and Jupyter's own folders."""
    assert strangers(place / 'home') == []
    assert [path.name for path in (place / 'notebooks').iterdir()] == [NOTEBOOK.name]
    assert {path.name for path in place.iterdir()} == {*PARTS, 'notebooks', *SCRATCH}


def shorten(notebook, **additions):
    """Let a notebook train only a little, and add lines to cells, by their ids."""
    content = nbformat.read(notebook, as_version=4)
    for cell in content.cells:
        if cell.id.endswith('-optimize'):
            cell.source = re.sub(r'=\d+', '=2', cell.source)
        cell.source += additions.get(cell.id.replace('-', '_'), '')
    nbformat.write(content, notebook)


@pytest.mark.parametrize(
    ('folder', 'command', 'home', 'alone'),
    [
        ('', 'papermill notebooks/{} result.ipynb', 'home', False),
        (
            'notebooks',
            'jupyter execute {} --output=../result.ipynb',
            '/dev/null/home',
            False,
        ),
        (
            'notebooks',
            'jupyter nbconvert --to=notebook --execute {} --output=../result.ipynb',
            'home',
            True,
        ),
    ],
    ids=['papermill from the root', 'execute without a home', 'alone, read-only home'],
)
def test_it_runs_in_any_place(server, folder, command, home, alone):
    """In odd folders, with and without its repository, and writes only its data."""
    with settled('Übung 1 – 数字', alone) as place:
        shared = KERAS.exists()
        os.environ['HOME'] = str(place / home)
        notebook = place / 'notebooks' / NOTEBOOK.name
        shorten(notebook, load_files=f'\nmirrors = [{f"{server.url}/good/"!r}]')
        before = snapshot(place)
        command = [sys.executable, '-m', *command.format(NOTEBOOK.name).split()]
        if alone:
            (place / 'home').chmod(0o555)
            if os.geteuid() == 0:  # root gives up writing where it must not
                command = ['setpriv', '--bounding-set=-dac_override', *command]
        done = subprocess.run(
            command,
            cwd=place / folder,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr[-2000:]

        result = nbformat.read(place / 'result.ipynb', as_version=4)
        outputs = {cell.id: cell.get('outputs', []) for cell in result.cells}
        for cell_id, parts in outputs.items():
            for part in parts:
                assert part.get('name') != 'stderr', f'{cell_id}: {part.text}'
        if alone:
            assert text(outputs['flowchart-image']).startswith('The flowchart is not')
            assert whole(place / 'notebooks/data/MNIST', *FILES)
            shutil.rmtree(place / 'notebooks/data')
        else:
            assert pictures(outputs['flowchart-image'])
        assert 'Accuracy on Test-Set' in text(outputs['performance-10000-test'])

        (place / 'result.ipynb').unlink()
        for folder in SCRATCH:
            assert strangers(place / folder) == []
            shutil.rmtree(place / folder)
        after = snapshot(place)
        assert {path: after[path][0] for path in after} == {
            path: before[path][0] for path in before if path.parts[0] not in SCRATCH
        }
        assert KERAS.exists() == shared
