"""The data: what is read, and what happens to files that are missing or broken."""

import re
import shutil
from hashlib import sha256

import pytest
from reader import ROOT, reading

DATA = ROOT / 'data/MNIST'
SUMS = {
    'train-images-idx3-ubyte.gz': '440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609',
    'train-labels-idx1-ubyte.gz': '3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c',
    't10k-images-idx3-ubyte.gz': '8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6',
    't10k-labels-idx1-ubyte.gz': 'f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6',
}
FAULTS = {
    'truncated': lambda content: content[: len(content) // 2],
    'a byte short': lambda content: content[:-1],
    'a byte flipped': lambda content: content[:999] + bytes([content[999] ^ 9]) + content[1000:],
    'empty': lambda content: b'',
    'a web page': lambda content: b'<html>404 Not Found</html>',
    'a folder': None,
    'not there, and no network': None,
}
# Follows the code that splits the data.
CHECK = """
for part, name, first, end in [(data.validation, 'train', 0, 5000),
                               (data.train, 'train', 5000, 60000), (data.test, 't10k', 0, 10000)]:
    paths = sorted(data_dir.glob(f'{name}*.gz'))  # that of the images, and that of the labels
    images, cls = (np.frombuffer(gzip.open(path).read(), np.uint8) for path in paths)
    images, cls = images[16:].reshape(-1, 784)[first:end], cls[8:][first:end]
    assert part.images.dtype == part.labels.dtype == np.float32 and part.cls.dtype.kind == 'i'
    assert np.array_equal(part.images, images / np.float32(255)) and np.array_equal(part.cls, cls)
    assert np.array_equal(part.labels, np.eye(10)[cls])
"""


@pytest.fixture(scope='module')
def kernel(tmp_path_factory):
    """Give a kernel, in an empty folder, that can read the data."""
    with reading(tmp_path_factory.mktemp('alone')) as reader:
        reader.run('settings-code', 'imports-code', 'load-read-code', 'load-subset-code')
        reader.split = reader.cells['load-split-code'].replace('[:999]', '') + CHECK
        yield reader


@pytest.fixture
def folder(kernel, tmp_path):
    """Give a copy of the data, which the kernel uses, and an address with nothing behind it."""
    folder = shutil.copytree(DATA, tmp_path / 'data')
    kernel.type(f'data_dir, data_url = Path({str(folder)!r}), "file:///nowhere/"')
    return folder


def snapshot(folder):
    """Return the times and contents of the files in a folder."""
    return {p: (p.stat().st_mtime_ns, p.is_file() and p.read_bytes()) for p in folder.iterdir()}


def test_the_published_files_are_read_from_a_read_only_folder(kernel, folder):
    """Root may write all the same, so the folder is compared, too."""
    assert {p.name: sha256(p.read_bytes()).hexdigest() for p in DATA.glob('*.gz')} == SUMS
    for path in (*folder.iterdir(), folder):
        path.chmod(0o555)
    before = snapshot(folder)
    kernel.type(kernel.split)
    folder.chmod(0o755)
    assert snapshot(folder) == before


@pytest.mark.parametrize('name', SUMS)
@pytest.mark.parametrize('fault', FAULTS)
def test_a_faulty_file_gives_an_error_with_its_name_and_is_left_alone(kernel, folder, fault, name):
    (folder / name).unlink()
    if fault == 'a folder':
        (folder / name).mkdir()
    elif FAULTS[fault]:
        (folder / name).write_bytes(FAULTS[fault]((DATA / name).read_bytes()))
    before = snapshot(folder)
    traceback = kernel.error(kernel.split)
    assert re.search(rf"-+> *\d+ .*read_idx\('{name}'\)", traceback), traceback
    assert snapshot(folder) == before


def test_a_missing_file_is_downloaded_and_the_others_are_left_alone(kernel, folder):
    before, missing = snapshot(folder), folder / 'train-images-idx3-ubyte.gz'
    missing.unlink()
    kernel.type(f'data_url = "{DATA.as_uri()}/"\n{kernel.split}')
    assert [path for path, found in snapshot(folder).items() if found != before[path]] == [missing]


def test_the_notebook_alone_downloads_all_into_a_new_folder(kernel):
    kernel.run('load-files')
    kernel.type('assert data_url[:8] == "https://" and not data_dir.exists()')
    kernel.type(f'data_url = "{DATA.as_uri()}/"\n{kernel.split}')
    kernel.type('assert len(list(data_dir.iterdir())) == 4')
