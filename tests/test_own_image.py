"""Exercise 13's `read_digit` reads digits from many kinds of files, or says what is wrong."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from tests.lesson import CODE, replace_text, run_cell, tiny_model, with_new_model
from tests.solutions import reading

ORIENTATION = 0x112  # The number of the EXIF tag.


@pytest.fixture
def reader(tiny):
    """Return the names of the lesson with a tiny network, and `read_digit`."""
    run_cell(tiny, 'exercise-13', reading()[0])
    return tiny


@pytest.fixture(scope='module')
def trained(loaded):
    """Return the names of the lesson with its network after 500 iterations, and `read_digit`."""
    nb = with_new_model(loaded)
    nb.optimize(500)
    run_cell(nb, 'exercise-13', reading()[0])
    return nb


def stencil(image, size=(400, 400), zoom=10, thinner=1):
    """Return a picture with 255 where a test image, made larger, has its ink, off the center."""
    digit = Image.fromarray(np.uint8(255 * image.reshape(28, 28)))
    digit = digit.resize((28 * zoom, 28 * zoom), Image.Resampling.BICUBIC)
    digit = digit.filter(ImageFilter.GaussianBlur(zoom / 3))
    digit = digit.point(lambda value: min(255, max(0, 8 * (value - 100))))
    picture = Image.new('L', size)
    left, top = (size[0] - digit.width) // 3, 2 * (size[1] - digit.height) // 3
    picture.paste(digit.filter(ImageFilter.MinFilter(thinner)), (left, top))
    return picture


def page(mask, ink=0, paper=255):
    """Return gray paper with ink where the mask is 255."""
    picture = Image.new('L', mask.size, paper)
    picture.paste(ink, (0, 0), mask)
    return picture


def shaded(picture):
    """Return a picture in a shadow that grows to the lower right, with some noise."""
    width, height = picture.size
    light = np.linspace(1, 0.5, width) * np.linspace(1, 0.85, height)[:, np.newaxis]
    noise = np.random.default_rng(1).normal(0, 3, light.shape)
    return Image.fromarray(np.uint8(np.clip(np.array(picture) * light + noise, 0, 255)))


def photo(image):
    """Return a photo that lies on its side, and has a tag that says so."""
    picture = page(stencil(image, (1200, 1600), 30), ink=60, paper=215).convert('RGB')
    picture = picture.transpose(Image.Transpose.ROTATE_90)
    picture.getexif()[ORIENTATION] = 6
    return picture


def transparent(image):
    """Return a black digit on nothing."""
    mask = stencil(image)
    drawing = Image.new('RGBA', mask.size, (0, 0, 0, 0))
    drawing.putalpha(mask)
    return drawing


def with_a_speck(image):
    """Return a black digit on white, and a black speck in the corner."""
    picture = page(stencil(image))
    ImageDraw.Draw(picture).ellipse((380, 15, 386, 21), 0)
    return picture


def thin_in_a_shadow(image, ink, paper):
    """Return a photo of a thin digit in a shadow."""
    return shaded(page(stencil(image, thinner=7), ink, paper)).convert('RGB')


def with_16_bits(picture):
    """Return a gray picture with 16 bits per pixel."""
    return Image.fromarray(np.array(picture).astype(np.uint16) * 257)


def as_in_mnist(image):
    """Return a small picture, white on black."""
    return Image.fromarray(np.uint8(255 * image.reshape(28, 28)))


# What makes a picture of a test image, by the names of the kinds.
KINDS = {
    'black on white': lambda image: page(stencil(image)),
    'dark gray paper': lambda image: page(stencil(image), ink=20, paper=100),
    'chalk on a blackboard': lambda image: page(stencil(image), ink=230, paper=40),
    'light pencil in a shadow': lambda image: thin_in_a_shadow(image, ink=150, paper=225),
    'chalk in a shadow': lambda image: thin_in_a_shadow(image, ink=230, paper=40),
    'photo': photo,
    'transparent': transparent,
    'with a speck': with_a_speck,
    '16 bits': lambda image: with_16_bits(page(stencil(image))),
    "MNIST's own": as_in_mnist,
}


def share_read(nb, draw, file, images, inputs):
    """Return the share of pictures read right, among 30 whose inputs the network reads right.

    Pictures are drawn of images; inputs are the same in the form that the network takes.
    """
    cls = nb.data.test.cls[: len(images)]
    known = np.flatnonzero(np.argmax(nb.model(inputs), axis=1) == cls)[:30]
    assert len(known) == 30
    read = []
    for i in known:
        picture = draw(images[i])
        kind = 'JPEG' if picture.mode == 'RGB' else 'PNG'
        picture.save(file, kind, exif=picture.getexif())
        read.append(nb.read_digit(file))
    return np.mean(np.argmax(nb.model(np.concatenate(read)), axis=1) == cls[known])


@pytest.mark.slow
@pytest.mark.parametrize('kind', KINDS)
def test_digits_are_read_from_files_of_many_kinds(trained, tmp_path, kind):
    images = trained.data.test.images[:100]
    assert share_read(trained, KINDS[kind], tmp_path / 'digit', images, images) >= 0.9


@pytest.mark.slow
@pytest.mark.parametrize('img_size', [28, 32, 36])
def test_digits_are_read_for_images_of_other_sizes(loaded, tmp_path, img_size):
    """With MNIST in a border of zeros, and no convolutions, so that the place matters more."""
    nb = with_new_model(loaded, tiny_model())
    small_images = nb.data.test.images[:100]
    border = (img_size - 28) // 2
    for part in vars(nb.data).values():
        images = part.images[:20_000].reshape(-1, 28, 28)
        padded = np.pad(images, [(0, 0), (border, border), (border, border)])
        part.images = padded.reshape(len(images), -1)
    run_cell(nb, 'dimensions-code', replace_text(CODE['dimensions-code'], '28', str(img_size)))
    run_cell(nb, 'model', tiny_model())
    run_cell(nb, 'compile', replace_text(CODE['compile'], '1e-4', '1e-2'))
    nb.optimize(1500)
    run_cell(nb, 'exercise-13', reading()[0])
    inputs = nb.data.test.images[:100]
    assert share_read(nb, KINDS['black on white'], tmp_path / 'digit', small_images, inputs) >= 0.9


SEVEN = [(0.55, 0.1), (0.9, 0.1), (0.7, 0.6)]
ONE = [(0.2, 0.5), (0.22, 0.95)]
MINUS = [(0.1, 0.6), (0.5, 0.65), (0.5, 0.6)]


@pytest.mark.parametrize(
    ('points', 'size', 'width', 'ink', 'paper', 'img_size'),
    [
        (SEVEN, (400, 300), 20, 0, 255, 28),
        (ONE, (200, 320), 16, 230, 40, 28),
        (MINUS, (900, 500), 40, 40, 225, 28),
        (SEVEN, (64, 64), 5, 255, 0, 36),
    ],
    ids=['upper right', 'blackboard, lower left', 'wide, gray paper', 'small, for 36×36 pixels'],
)
def test_a_digit_is_read_in_the_form_of_mnist(
    reader, tmp_path, points, size, width, ink, paper, img_size
):
    mask = Image.new('L', size)
    places = [(x * size[0], y * size[1]) for x, y in points]
    ImageDraw.Draw(mask).line(places, fill=255, width=width, joint='curve')
    page(mask, ink, paper).save(tmp_path / 'digit.png')
    reader.img_size = img_size
    image = reader.read_digit(tmp_path / 'digit.png')
    assert image.shape == (1, img_size**2) and image.dtype == np.float32
    picture = image.reshape(img_size, img_size)
    assert picture.min() == 0 and 0.9 < picture.max() <= 1
    rows, columns = np.nonzero(picture)
    height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
    center = [np.average(places, weights=picture[rows, columns]) for places in (rows, columns)]
    assert center == pytest.approx([img_size / 2, img_size / 2], abs=1)
    # Not turned, nor mirrored: what was drawn is where ink is now.
    drawn = mask.crop(mask.getbbox())
    scale = 20 / max(drawn.size)
    assert [width, height] == pytest.approx(np.multiply(drawn.size, scale), abs=1)
    box = picture[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    assert np.mean((box > 0.5) == (np.array(drawn.resize((width, height))) > 127)) > 0.85


def test_the_three_largest_probabilities_are_printed(reader, tmp_path, capsys):
    page(stencil(reader.data.test.images[0])).save(tmp_path / 'digit.png')
    reader.optimize(100)
    capsys.readouterr()
    run_cell(reader, 'exercise-13', reading()[1], folder=tmp_path)
    y_pred = reader.model(reader.read_digit(tmp_path / 'digit.png')).numpy()[0]
    best = np.argsort(-y_pred)[:3]
    expected = ''.join(f'{cls}: {100 * y_pred[cls]:.1f}%\n' for cls in best)
    assert capsys.readouterr().out == expected
    (ax,) = plt.gcf().axes
    assert ax.get_xlabel() == 'True: ?'
    assert np.allclose(ax.images[0].get_array().ravel(), reader.own_image)


BLANK = [Image.new('L', (400, 400), paper) for paper in (0, 40, 150, 255)]


@pytest.mark.parametrize('blank', [*BLANK, *map(shaded, BLANK), with_16_bits(BLANK[-1])])
def test_a_blank_page_is_an_error_that_names_the_file(reader, tmp_path, blank):
    blank.save(tmp_path / 'blank.png')
    with pytest.raises(ValueError, match=r'blank\.png'):
        reader.read_digit(tmp_path / 'blank.png')
