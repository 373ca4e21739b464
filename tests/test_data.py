"""The data: what is read, files that are missing or broken, and data of another form."""

import gzip
import shutil
import traceback
import warnings
from hashlib import sha256
from pathlib import Path
from types import ModuleType

import matplotlib.pyplot as plt
import numpy as np
import pytest

from tests.lesson import (
    CODE,
    ROOT,
    replace_lines,
    replace_text,
    run_cell,
    run_cells,
    short_training,
    with_new_model,
)

DATA = ROOT / 'data/MNIST'
MIRRORS = [
    'https://storage.googleapis.com/cvdf-datasets/mnist/',
    'https://ossci-datasets.s3.amazonaws.com/mnist/',
]
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
}


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


def check_mnist(data):
    """Check each part of the data against the files."""
    for part, name, first, end in [
        (data.validation, 'train', 0, 5_000),
        (data.train, 'train', 5_000, 60_000),
        (data.test, 't10k', 0, 10_000),
    ]:
        images = gzip.decompress((DATA / f'{name}-images-idx3-ubyte.gz').read_bytes())
        labels = gzip.decompress((DATA / f'{name}-labels-idx1-ubyte.gz').read_bytes())
        images = np.frombuffer(images, np.uint8)[16:].reshape(-1, 784)[first:end]
        cls = np.frombuffer(labels, np.uint8)[8:][first:end]
        assert part.images.dtype == part.labels.dtype == np.float32
        assert part.cls.dtype == np.int64
        assert np.array_equal(part.images, images / np.float32(255))
        assert np.array_equal(part.cls, cls)
        assert np.array_equal(part.labels, np.eye(10)[cls])


def test_the_published_files_are_read_from_a_read_only_folder(reader, capsys):
    """Root may write all the same, so the folder is compared, too."""
    assert {path.name: sha256(path.read_bytes()).hexdigest() for path in DATA.glob('*.gz')} == SUMS
    for path in (*reader.data_dir.iterdir(), reader.data_dir):
        path.chmod(0o555)
    before = snapshot(reader.data_dir)
    run_cell(reader, 'load-split-code')
    reader.data_dir.chmod(0o755)
    assert snapshot(reader.data_dir) == before
    check_mnist(reader.data)
    assert capsys.readouterr().out == (
        'Size of:\n- Training-set:\t\t55000\n- Test-set:\t\t10000\n- Validation-set:\t5000\n'
    )


@pytest.mark.parametrize('name', SUMS)
@pytest.mark.parametrize('fault', [*FAULTS, 'a folder', 'not there, and no network'])
def test_a_faulty_file_gives_an_error_where_it_is_read_and_is_left_alone(reader, fault, name):
    path = reader.data_dir / name
    path.unlink()
    if fault == 'a folder':
        path.mkdir()
    elif fault in FAULTS:
        path.write_bytes(FAULTS[fault]((DATA / name).read_bytes()))
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
    check_mnist(reader.data)
    after = snapshot(reader.data_dir)
    assert [path for path in after if after[path] != before[path]] == [missing]
    assert after.keys() == before.keys()


def test_the_notebook_alone_downloads_all_into_a_new_folder(loaded, tmp_path):
    nb = ModuleType('nb')
    vars(nb).update(vars(loaded))
    run_cell(nb, 'load-read-code', folder=tmp_path)
    assert nb.data_url in MIRRORS
    nb.data_url = f'{DATA.as_uri()}/'
    run_cell(nb, 'load-split-code', folder=tmp_path)
    assert {path.name for path in (tmp_path / 'data/MNIST').iterdir()} == SUMS.keys()
    check_mnist(nb.data)


def test_the_notebook_finds_the_data_from_its_folder_and_from_the_root(loaded):
    for folder in (ROOT / 'notebooks', ROOT):
        nb = ModuleType('nb')
        vars(nb).update(vars(loaded))
        run_cell(nb, 'load-read-code', folder=folder)
        assert (folder / nb.data_dir).resolve() == DATA


def test_the_first_labels_are_printed(loaded, capsys):
    run_cell(with_new_model(loaded), 'load-labels-code')
    assert capsys.readouterr().out == (
        '[7 2]\n[[0. 0. 0. 0. 0. 0. 0. 1. 0. 0.]\n [0. 0. 1. 0. 0. 0. 0. 0. 0. 0.]]\n'
    )


def test_the_data_is_found_when_the_cell_of_the_flowchart_is_skipped():
    nb = run_cells(until='dimensions-code', edits={'flowchart-code': ''})
    check_mnist(nb.data)


# Other data


PIXELS = np.arange(2 * 28 * 28).reshape(2, 28, 28) % 256


@pytest.mark.parametrize(
    'images',
    [
        *(
            PIXELS.astype(kind)
            for kind in ['uint8', 'int16', 'int32', 'int64', 'float16', 'float64']
        ),
        PIXELS.tolist(),
        list(PIXELS.astype(np.uint8)),
    ],
    ids=lambda images: str(getattr(images, 'dtype', type(images[0]))),
)
def test_pixels_of_any_type_become_float32(loaded, images):
    part = loaded.subset(images, np.array([3, 5]))
    assert part.images.dtype == np.float32
    assert np.allclose(part.images, PIXELS.reshape(2, 784) / 255, atol=1e-6)


@pytest.mark.parametrize(
    'cls',
    [
        *(
            np.array([3, 5], kind)
            for kind in ['uint8', 'int8', 'int32', 'int64', 'uint64', 'float32']
        ),
        np.array([[3], [5]], np.uint8),
        [3, 5],
        (np.int8(3), np.int8(5)),
    ],
    ids=str,
)
def test_class_numbers_of_any_type_and_in_columns_become_labels(loaded, cls):
    part = loaded.subset(PIXELS.astype(np.uint8), cls)
    assert part.cls.dtype == np.int64 and part.cls.tolist() == [3, 5]
    assert part.labels.dtype == np.float32 and np.array_equal(part.labels, np.eye(10)[[3, 5]])


def test_classes_that_do_not_fit_the_images_are_an_error(loaded):
    for cls in [[3, 5, 7], np.eye(10)[[3, 5]], [3, 10]]:
        with pytest.raises((ValueError, IndexError)):
            loaded.subset(PIXELS, cls)


def write_idx(path, values):
    """Write uint8 values as a compressed file of the IDX format."""
    sizes = np.array(values.shape, dtype='>i4').tobytes()
    header = bytes([0, 0, 8, values.ndim]) + sizes
    path.write_bytes(gzip.compress(header + values.tobytes(), compresslevel=1))


def write_random_data(folder, img_shape, num_classes):
    """Write random images and labels in place of the four files; every class is there."""
    for name, number in [('train', 5_300), ('t10k', 300)]:
        images = np.random.randint(256, size=(number, *img_shape)).astype(np.uint8)
        cls = (np.arange(number) % num_classes).astype(np.uint8)
        write_idx(folder / f'{name}-images-idx3-ubyte.gz', images)
        write_idx(folder / f'{name}-labels-idx1-ubyte.gz', cls)


def load_to_the_end(monkeypatch, edits):
    """Run all cells with a short training and draw all pictures; a warning is an error."""
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
    assert len(pictures) == 13
    assert [*nb.accuracies.test] == [0, 1, 5, 10, 16]
    return nb


def test_data_of_26_classes_need_one_number(monkeypatch, tmp_path):
    write_random_data(tmp_path, (28, 28), 26)
    place = replace_lines(
        CODE['load-read-code'], f'data_dir = Path({str(tmp_path)!r})', 'data_dir ='
    )
    edits = {
        'load-read-code': place,
        'load-subset-code': replace_text(
            CODE['load-subset-code'], 'num_classes = 10', 'num_classes = 26'
        ),
    }
    nb = load_to_the_end(monkeypatch, edits)
    assert nb.data.train.images.shape == (300, 784) and nb.data.train.labels.shape == (300, 26)
    assert nb.model.output_shape == (None, 26)


def test_color_images_need_their_size_and_the_number_of_channels(monkeypatch, tmp_path):
    write_random_data(tmp_path, (12, 12, 3), 10)
    place = replace_lines(
        CODE['load-read-code'], f'data_dir = Path({str(tmp_path)!r})', 'data_dir ='
    )
    sizes = replace_text(CODE['dimensions-code'], 'img_size = 28', 'img_size = 12')
    edits = {
        'load-read-code': place,
        'dimensions-code': replace_text(sizes, 'num_channels = 1', 'num_channels = 3'),
    }
    nb = load_to_the_end(monkeypatch, edits)
    assert nb.data.train.images.shape == (300, 12 * 12 * 3)
    assert nb.weights_conv1.shape == (5, 5, 3, 16)
    assert nb.model.input_shape == (None, 12 * 12 * 3)
