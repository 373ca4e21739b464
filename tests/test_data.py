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
    run_cell(nb, 'load-subset-code')
    nb.data_dir = Path(shutil.copytree(DATA, tmp_path / 'data'))
    nb.data_url = 'file:///nowhere/'
    return nb


def snapshot(folder):
    """Return the times and contents of the files in a folder."""
    return {
        path: (path.stat().st_mtime_ns, path.is_file() and path.read_bytes())
        for path in folder.iterdir()
    }


# MNIST


def test_the_published_files_are_read_from_a_read_only_folder(reader, capsys):
    """Root may write all the same, so the folder is compared, too."""
    sums = re.findall(r'(\S+gz) \| (\d+) \| (\w{64})', (DATA / 'README.md').read_text('utf-8'))
    assert {name for name, _, _ in sums} == {path.name for path in DATA.glob('*.gz')}
    for name, size, expected in sums:
        content = (DATA / name).read_bytes()
        assert (f'{len(content)}', sha256(content).hexdigest()) == (size, expected)
    for path in (*reader.data_dir.iterdir(), reader.data_dir):
        path.chmod(0o555)
    before = snapshot(reader.data_dir)
    run_cell(reader, 'load-split-code')
    reader.data_dir.chmod(0o755)
    assert snapshot(reader.data_dir) == before
    for part, name, first, end in [
        (reader.data.validation, 'train', 0, 5_000),
        (reader.data.train, 'train', 5_000, 60_000),
        (reader.data.test, 't10k', 0, 10_000),
    ]:
        images = gzip.decompress((DATA / f'{name}-images-idx3-ubyte.gz').read_bytes())
        labels = gzip.decompress((DATA / f'{name}-labels-idx1-ubyte.gz').read_bytes())
        images = np.frombuffer(images, np.uint8)[16:].reshape(-1, 784)[first:end]
        cls = np.frombuffer(labels, np.uint8)[8:][first:end]
        assert np.array_equal(part.images, images / np.float32(255))
        assert np.array_equal(part.cls, cls)
        assert np.array_equal(part.labels, np.eye(10)[cls])
    assert capsys.readouterr().out == (
        'Size of:\n- Training-set:\t\t55000\n- Test-set:\t\t10000\n- Validation-set:\t5000\n'
    )


@pytest.mark.parametrize(
    ('fault', 'name'),
    [
        (lambda content: content[:-1], 'train-images-idx3-ubyte.gz'),
        (
            lambda content: content[:999] + bytes([content[999] ^ 9]) + content[1000:],
            't10k-images-idx3-ubyte.gz',
        ),
        (None, 'train-labels-idx1-ubyte.gz'),
    ],
    ids=['a byte short', 'a byte flipped', 'not there, and no network'],
)
def test_a_faulty_file_gives_an_error_where_it_is_read_and_is_left_alone(reader, fault, name):
    path = reader.data_dir / name
    content = path.read_bytes()
    path.unlink()
    if fault:
        path.write_bytes(fault(content))
    before = snapshot(reader.data_dir)
    with pytest.raises(Exception) as error:
        run_cell(reader, 'load-split-code')
    calls = traceback.extract_tb(error.tb)
    lines = [call.line for call in calls if call.filename == '<cell load-split-code>']
    assert len(lines) == 1 and f"read_idx('{name}')" in lines[0]
    assert snapshot(reader.data_dir) == before


def test_a_missing_file_is_downloaded_and_the_others_are_left_alone(reader):
    missing = reader.data_dir / 'train-images-idx3-ubyte.gz'
    before = snapshot(reader.data_dir)
    missing.unlink()
    reader.data_url = f'{DATA.as_uri()}/'
    run_cell(reader, 'load-split-code')
    after = snapshot(reader.data_dir)
    assert after.keys() == before.keys()
    assert [path for path in after if after[path] != before[path]] == [missing]
    assert after[missing][1] == before[missing][1]


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


def test_classes_that_do_not_fit_are_an_error(loaded):
    for cls, message in [
        ([3, -1], 'is out of bounds for axis 0'),
        ([3, 10], 'is out of bounds for axis 0'),
        ([3, 5, 7], 'cannot reshape array of size 3'),
        (np.eye(10)[[3, 5]], 'cannot reshape array of size 20'),
    ]:
        for form in (np.int8, np.int64, float):
            with pytest.raises((ValueError, IndexError), match=message):
                loaded.subset(PIXELS, np.array(cls, form))


def test_no_images_are_an_error_before_training_looks_for_one_without_end(loaded):
    with pytest.raises(ValueError, match='cannot reshape array of size 0'):
        loaded.subset(PIXELS[:0], np.array([], np.uint8))


def write_random_data(folder, img_shape, num_classes):
    """Write random images and labels in place of the four files; every class is there."""
    for name, number in [('train', 1100), ('t10k', 220)]:
        images = np.random.randint(256, size=(number, *img_shape))
        for kind, values in [
            ('images-idx3', images),
            ('labels-idx1', np.arange(number) % num_classes),
        ]:
            header = bytes([0, 0, 8, values.ndim]) + np.array(values.shape, '>i4').tobytes()
            content = gzip.compress(header + values.astype(np.uint8).tobytes(), compresslevel=1)
            (folder / f'{name}-{kind}-ubyte.gz').write_bytes(content)


@pytest.mark.parametrize(
    ('img_size', 'num_channels', 'num_classes'),
    [(28, 1, 26), (32, 3, 3)],
    ids=['26 gray classes', '3 classes in color'],
)
def test_other_data_needs_its_sizes_and_nothing_else(
    monkeypatch, tmp_path, img_size, num_channels, num_classes
):
    """All pictures are drawn, a warning is an error, and the cell of the flowchart is skipped."""
    write_random_data(tmp_path, (img_size, img_size, num_channels), num_classes)
    edits = {'flowchart-code': ''}
    for cell_id, name, value in [
        ('load-read-code', 'data_dir', f'Path({str(tmp_path)!r})'),
        ('load-subset-code', 'num_classes', num_classes),
        ('dimensions-code', 'img_size', img_size),
        ('dimensions-code', 'num_channels', num_channels),
    ]:
        source = edits.get(cell_id, CODE[cell_id])
        edits[cell_id] = replace_lines(source, f'{name} = {value}', f'{name} =')
    pictures = []

    def draw():
        plt.gcf().canvas.draw()
        pictures.append(len(plt.gcf().axes))
        plt.close('all')

    monkeypatch.setattr(plt, 'show', draw)
    with warnings.catch_warnings():
        warnings.simplefilter('error', RuntimeWarning)
        warnings.filterwarnings('error', module='nb$')
        nb = run_cells(edits=short_training() | edits)
    assert len(pictures) == 15
    assert [*nb.accuracies.test] == [0, 1, 5, 10, 16]
    num_pixels = img_size * img_size * num_channels
    assert nb.data.validation.images.shape == (91, num_pixels)  # A twelfth of 1,100.
    assert nb.data.train.images.shape == (1009, num_pixels)
    assert nb.model.input_shape == (None, num_pixels)
    assert nb.model.output_shape == (None, num_classes)
    assert nb.weights_conv1.shape == (5, 5, num_channels, 16)
