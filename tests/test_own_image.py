"""Exercise 13's `read_digit` reads digits from many kinds of files, or says what is wrong."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import ExifTags, Image, ImageDraw, ImageFilter

from tests.lesson import run_cell, with_new_model
from tests.solutions import reading


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
    """Return a picture in color, in a shadow that grows to the lower right, with some noise."""
    width, height = picture.size
    light = np.linspace(1, 0.5, width) * np.linspace(1, 0.85, height)[:, np.newaxis]
    noise = np.random.default_rng(1).normal(0, 3, light.shape)
    dark = np.uint8(np.clip(np.array(picture) * light + noise, 0, 255))
    return Image.fromarray(dark).convert('RGB')


def photo(image):
    """Return a photo that lies on its side, and has a tag that says so."""
    picture = page(stencil(image, (1200, 1600), 30), ink=60, paper=215).convert('RGB')
    picture = picture.transpose(Image.Transpose.ROTATE_90)
    picture.getexif()[ExifTags.Base.Orientation] = 6
    return picture


def with_a_speck(picture):
    """Return a picture with a black speck in the corner."""
    ImageDraw.Draw(picture).ellipse((380, 15, 386, 21), 0)
    return picture


def with_16_bits(picture):
    """Return a gray picture with 16 bits per pixel."""
    return Image.fromarray(np.array(picture).astype(np.uint16) * 256)


BLACK = Image.new('L', (400, 400))
# What makes a picture of a test image, by the names of the kinds.
KINDS = {
    'dark gray paper': lambda image: page(stencil(image), ink=20, paper=100),
    'light pencil in a shadow': lambda image: shaded(page(stencil(image, thinner=7), 150, 225)),
    'chalk in a shadow': lambda image: shaded(page(stencil(image, thinner=7), 230, 40)),
    'photo': photo,
    'transparent': lambda image: Image.merge('RGBA', [*3 * [BLACK], stencil(image)]),
    'with a speck': lambda image: with_a_speck(page(stencil(image))),
    '16 bits': lambda image: with_16_bits(page(stencil(image), ink=20, paper=200)),
    "MNIST's own": lambda image: Image.fromarray(np.uint8(255 * image.reshape(28, 28))),
}


@pytest.mark.slow
@pytest.mark.parametrize('kind', KINDS)
def test_digits_are_read_from_files_of_many_kinds(trained, tmp_path, kind):
    """At least 27 are read right, of 30 test images that the network reads right."""
    images, cls = trained.data.test.images[:100], trained.data.test.cls[:100]
    known = np.flatnonzero(trained.predict_cls(images) == cls)[:30]
    assert len(known) == 30
    read = []
    for i in known:
        picture = KINDS[kind](images[i])
        form = 'JPEG' if picture.mode == 'RGB' else 'PNG'
        picture.save(tmp_path / 'digit', form, exif=picture.getexif())
        read.append(trained.read_digit(tmp_path / 'digit'))
    assert np.mean(trained.predict_cls(np.concatenate(read)) == cls[known]) >= 0.9


@pytest.mark.parametrize(
    ('points', 'size', 'ink', 'paper', 'img_size'),
    [
        ([(220, 30), (360, 30), (280, 180)], (400, 300), 230, 40, 28),
        ([(90, 300), (450, 325), (450, 300)], (900, 500), 40, 225, 36),
    ],
    ids=['blackboard', 'wide, for 36×36 pixels'],
)
def test_a_digit_is_read_in_the_form_of_mnist(reader, tmp_path, points, size, ink, paper, img_size):
    mask = Image.new('L', size)
    ImageDraw.Draw(mask).line(points, fill=255, width=size[0] // 20, joint='curve')
    page(mask, ink, paper).save(tmp_path / 'digit.png')
    reader.img_size = img_size
    image = reader.read_digit(tmp_path / 'digit.png')
    assert image.shape == (1, img_size**2) and image.dtype == np.float32
    picture = image.reshape(img_size, img_size)
    assert picture.min() == 0 and 0.9 < picture.max() <= 1
    rows, columns = np.nonzero(picture)
    center = [np.average(places, weights=picture[rows, columns]) for places in (rows, columns)]
    assert center == pytest.approx([img_size / 2, img_size / 2], abs=1)
    # Not turned, nor mirrored: what was drawn is where ink is now.
    box = picture[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    drawn = mask.crop(mask.getbbox())
    drawn.thumbnail((20, 20))
    assert box.shape == pytest.approx((drawn.height, drawn.width), abs=1)
    drawn = drawn.resize(box.shape[::-1])
    assert np.mean((box > 0.5) == (np.array(drawn) > 127)) > 0.85


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


PAPER = Image.new('L', (400, 400), 230)


@pytest.mark.parametrize('blank', [PAPER, shaded(PAPER), with_16_bits(PAPER)])
def test_a_blank_page_is_an_error_that_names_the_file(reader, tmp_path, blank):
    blank.save(tmp_path / 'blank.png')
    with pytest.raises(ValueError, match=r'blank\.png'):
        reader.read_digit(tmp_path / 'blank.png')
