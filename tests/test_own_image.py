"""The solution of exercise 13 reads digits from many kinds of files, or says what is wrong."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from tests.lesson import code_blocks, run_cell, with_new_model

TRIES = 40
ORIENTATION = 0x112  # The number of the EXIF tag.


@pytest.fixture(scope='module')
def trained(loaded):
    """Return the notebook's names with `read_digit`, after 500 iterations."""
    nb = with_new_model(loaded)
    nb.optimize(500)
    run_cell(nb, 'exercise-13', code_blocks('exercise-13')[0])
    return nb


def stencil(image, size=(400, 400), zoom=10, thinner=1):
    """Return a picture with 255 where a test image, made larger, has its ink, off the center."""
    digit = Image.fromarray(np.uint8(255 * image.reshape(28, 28)))
    digit = digit.resize((28 * zoom, 28 * zoom), Image.Resampling.BICUBIC)
    digit = digit.filter(ImageFilter.GaussianBlur(zoom / 3))
    digit = digit.point(lambda value: min(255, max(0, 8 * (value - 100))))
    page = Image.new('L', size)
    left, top = (size[0] - digit.width) // 3, 2 * (size[1] - digit.height) // 3
    page.paste(digit.filter(ImageFilter.MinFilter(thinner)), (left, top))
    return page


def write(mask, ink=0, paper=255):
    """Return gray paper with ink where the mask is 255."""
    page = Image.new('L', mask.size, paper)
    page.paste(ink, (0, 0), mask)
    return page


def shaded(page):
    """Return a page in a shadow that grows to the lower right, with some noise."""
    width, height = page.size
    light = np.linspace(1, 0.5, width) * np.linspace(1, 0.85, height)[:, np.newaxis]
    noise = np.random.default_rng(1).normal(0, 3, light.shape)
    return Image.fromarray(np.uint8(np.clip(np.array(page) * light + noise, 0, 255)))


def save_plain(image, file):
    """Save a black digit on white."""
    write(stencil(image)).save(file, 'PNG')


def save_on_gray_paper(image, file):
    """Save a dark digit on gray paper."""
    write(stencil(image), ink=30, paper=150).save(file, 'PNG')


def save_photo(image, file):
    """Save a large photo that lies on its side, and has a tag that says so."""
    photo = write(stencil(image, (3000, 4000), 70), ink=60, paper=215)
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    photo.convert('RGB').transpose(Image.Transpose.ROTATE_90).save(file, 'JPEG', exif=exif)


def save_transparent(image, file, mode='RGBA'):
    """Save a black digit on nothing."""
    mask = stencil(image)
    drawing = Image.new('RGBA', mask.size, (0, 0, 0, 0))
    drawing.putalpha(mask)
    drawing.convert(mode).save(file, 'PNG')


def save_transparent_gray(image, file):
    """Save a black digit on nothing, without colors."""
    save_transparent(image, file, 'LA')


def save_transparent_palette(image, file):
    """Save a black digit on nothing, as numbers of two colors that are both black."""
    drawing = Image.fromarray(np.uint8(np.array(stencil(image)) < 128))
    drawing.putpalette([0, 0, 0, 0, 0, 0])
    drawing.save(file, 'PNG', transparency=1)


def save_dark_pencil(image, file):
    """Save a thin gray digit in a shadow."""
    shaded(write(stencil(image, thinner=7), ink=110, paper=225)).save(file, 'JPEG')


def save_light_pencil(image, file):
    """Save a thin digit in a lighter gray in a shadow."""
    shaded(write(stencil(image, thinner=7), ink=150, paper=225)).save(file, 'JPEG')


def save_with_a_speck(image, file):
    """Save a black digit on white, and a black speck in the corner."""
    page = write(stencil(image))
    ImageDraw.Draw(page).ellipse((380, 15, 386, 21), 0)
    page.save(file, 'PNG')


def save_16_bits(image, file):
    """Save a black digit on white with 16 bits per pixel."""
    Image.fromarray(np.array(write(stencil(image))).astype(np.uint16) * 257).save(file, 'PNG')


def save_32_bits(image, file):
    """Save a black digit on white, with 65,535 for white, and 32 bits per pixel."""
    Image.fromarray(np.array(write(stencil(image))).astype(np.int32) * 257).save(file, 'TIFF')


KINDS = {name[5:]: save for name, save in dict(globals()).items() if name.startswith('save_')}


def share_read(nb, save, file):
    """Return the share of files read right, for test images that the network reads right."""
    images, cls = nb.data.test.images[:100], nb.data.test.cls[:100]
    known = np.flatnonzero(np.argmax(nb.model(images), axis=1) == cls)[:TRIES]
    assert len(known) == TRIES
    read = []
    for i in known:
        save(images[i], file)
        read.append(nb.read_digit(file))
    return np.mean(np.argmax(nb.model(np.concatenate(read)), axis=1) == cls[known])


@pytest.mark.parametrize('kind', KINDS)
def test_exercise_13_reads_what_the_network_can_read(trained, tmp_path, kind):
    assert share_read(trained, KINDS[kind], tmp_path / 'digit') >= 0.9


@pytest.mark.parametrize('paper', [0, 150, 255])
@pytest.mark.parametrize('shadow', [False, True])
def test_exercise_13_says_that_a_page_is_blank(trained, tmp_path, paper, shadow):
    page = Image.new('L', (400, 400), paper)
    (shaded(page) if shadow else page).save(tmp_path / 'blank.png')
    with pytest.raises(ValueError, match=r'no ink was found in .*blank\.png: write darker'):
        trained.read_digit(tmp_path / 'blank.png')


def test_exercise_13_says_that_a_scan_is_blank(trained, tmp_path):
    Image.fromarray(np.full((400, 400), 65_000, np.uint16)).save(tmp_path / 'blank.png')
    with pytest.raises(ValueError, match='no ink was found'):
        trained.read_digit(tmp_path / 'blank.png')
