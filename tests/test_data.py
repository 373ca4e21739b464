"""The data: what is read, files that are missing or broken, and data of another form."""

import gzip
import re
import shutil
import traceback
import warnings
from hashlib import sha256
from pathlib import Path
from types import ModuleType

import matplotlib.pyplot as plt
import numpy as np
import pytest

from tests.lesson import CODE, ROOT, replace_lines, run_cell, run_cells, short_training

DATA = ROOT / 'data/MNIST'
PIXELS = np.arange(2 * 28 * 28, dtype=np.uint8).reshape(2, 28, 28)


@pytest.fixture
def reader(loaded, tmp_path):
    """Return the names above the cell that splits the data, of which there is a copy for it."""
    nb = ModuleType('nb')
    vars(nb).update(vars(loaded))
    run_cell(nb, 'load-read-code')
    nb.data_dir = Path(shutil.copytree(DATA, tmp_path / 'data'))
    nb.data_url = 'file:///nowhere/'
    return nb


def contents(folder):
    """Return what is in the files of a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


# MNIST


def test_the_published_files_are_read_and_left_alone(reader, capsys):
    files = contents(reader.data_dir)
    sums = re.findall(r'(\S+gz) \| (\d+) \| (\w{64})', files['README.md'].decode())
    assert {name for name, _, _ in sums} == {name for name in files if name.endswith('.gz')}
    for name, size, expected in sums:
        assert (f'{len(files[name])}', sha256(files[name]).hexdigest()) == (size, expected)
    run_cell(reader, 'load-split-code')
    assert contents(reader.data_dir) == files
    for part, name, first, end in [
        (reader.data.validation, 'train', 0, 5_000),
        (reader.data.train, 'train', 5_000, 60_000),
        (reader.data.test, 't10k', 0, 10_000),
    ]:
        images = gzip.decompress(files[f'{name}-images-idx3-ubyte.gz'])
        labels = gzip.decompress(files[f'{name}-labels-idx1-ubyte.gz'])
        images = np.frombuffer(images, np.uint8, offset=16).reshape(-1, 784)[first:end]
        assert np.array_equal(part.images, images / np.float32(255))
        assert np.array_equal(part.cls, np.frombuffer(labels, np.uint8, offset=8)[first:end])
    assert capsys.readouterr().out == (
        'Size of:\n- Training-set:\t\t55000\n- Test-set:\t\t10000\n- Validation-set:\t5000\n'
    )


@pytest.mark.parametrize(
    'fault',
    [
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(path.read_bytes()[:-8] + bytes(8)),
        Path.unlink,
    ],
    ids=['a byte short', 'another checksum', 'not there, and no network'],
)
def test_a_faulty_file_gives_an_error_where_it_is_read_and_is_left_alone(reader, fault):
    path = reader.data_dir / 't10k-images-idx3-ubyte.gz'
    fault(path)
    before = contents(reader.data_dir)
    with pytest.raises(Exception) as error:
        run_cell(reader, 'load-split-code')
    lines = [call.line for call in traceback.extract_tb(error.tb)]
    assert f"images_test = read_idx('{path.name}')" in lines
    assert contents(reader.data_dir) == before


def test_a_missing_file_is_downloaded(reader):
    before = contents(reader.data_dir)
    (reader.data_dir / 'train-images-idx3-ubyte.gz').unlink()
    reader.data_url = f'{DATA.as_uri()}/'
    run_cell(reader, 'load-split-code')
    assert contents(reader.data_dir) == before


# Other data


@pytest.mark.parametrize('form', [np.uint8, float, list])
def test_pixels_and_classes_of_any_type_become_what_the_network_wants(loaded, form):
    images, cls = PIXELS.tolist(), [3, 5]
    if form is not list:
        images, cls = np.array(images, form), np.array([cls], form).T
    part = loaded.subset(images, cls)
    assert part.images.dtype == part.labels.dtype == np.float32 and part.cls.dtype == np.int64
    assert np.allclose(part.images, PIXELS.reshape(2, 784) / 255, atol=1e-6)
    assert part.cls.tolist() == [3, 5] and np.array_equal(part.labels, np.eye(10)[[3, 5]])


@pytest.mark.parametrize('cls', [[3, -1], [3, 10], [3, 5, 7], np.eye(10)[[3, 5]]])
def test_classes_that_do_not_fit_are_an_error(loaded, cls):
    with pytest.raises((ValueError, IndexError), match=r'out of bounds|cannot reshape'):
        loaded.subset(PIXELS, cls)


def write_random_data(folder, img_shape, num_classes):
    """Write random images and labels in place of the four files; every class is there."""
    for name, number in [('train', 1100), ('t10k', 220)]:
        images = np.random.randint(256, size=(number, *img_shape))
        labels = np.arange(number) % num_classes
        for kind, values in [('images-idx3', images), ('labels-idx1', labels)]:
            header = bytes([0, 0, 8, values.ndim]) + np.array(values.shape, '>i4').tobytes()
            content = gzip.compress(header + values.astype(np.uint8).tobytes())
            (folder / f'{name}-{kind}-ubyte.gz').write_bytes(content)


@pytest.mark.slow
@pytest.mark.parametrize('num_classes', [3, 26])
def test_other_data_needs_its_sizes_and_nothing_else(monkeypatch, tmp_path, num_classes):
    """All pictures are drawn, a warning is an error, and the cell of the flowchart is skipped."""
    write_random_data(tmp_path, (32, 32, 3), num_classes)
    edits = {'flowchart-code': ''}
    for cell_id, name, value in [
        ('load-read-code', 'folder', repr(str(tmp_path))),
        ('load-subset-code', 'num_classes', num_classes),
        ('dimensions-code', 'img_size', 32),
        ('dimensions-code', 'num_channels', 3),
    ]:
        source = edits.get(cell_id, CODE[cell_id])
        edits[cell_id] = replace_lines(source, f'{name} = {value}', f'{name} =')
    pictures = []

    def draw():
        plt.gcf().canvas.draw()
        pictures.append(plt.gcf())
        plt.close('all')

    monkeypatch.setattr(plt, 'show', draw)
    with warnings.catch_warnings():
        warnings.simplefilter('error', RuntimeWarning)
        warnings.filterwarnings('error', module='nb$')
        nb = run_cells(edits=short_training() | edits)
    assert len(pictures) == 15
    assert [*nb.accuracies.test] == [0, 1, 5, 10, 16]
    assert nb.data.validation.images.shape == (91, 3072)  # A twelfth of 1,100.
