"""README's command for the pictures, and the pictures that it has drawn."""

import subprocess
import sys

import pytest
from PIL import Image
from reader import ROOT

SIZES = {'network_flowchart.png': (1820, 1380), 'results.png': (1600, 876)}


@pytest.fixture(scope='module')
def drawn(tmp_path_factory):
    """Train for a few iterations and draw into a folder of its own."""
    folder = tmp_path_factory.mktemp('images')
    script = ROOT / 'images/draw_pictures.py'
    subprocess.run(
        [sys.executable, script, '--iterations=2', f'--folder={folder}'], check=True
    )
    return folder


def check(path):
    """Check a picture's size in pixels, and that there is something on it."""
    with Image.open(path) as image:
        assert image.size == SIZES[path.name]
        assert len(image.convert('RGB').getcolors(2**20)) > 100
    assert path.stat().st_size < 400_000


@pytest.mark.parametrize('name', SIZES)
def test_the_command_draws_the_picture(drawn, name):
    check(drawn / name)


@pytest.mark.parametrize('name', SIZES)
def test_the_picture_in_the_repository_has_the_same_size(name):
    check(ROOT / 'images' / name)


def test_the_command_is_the_one_in_readme():
    assert (
        '.venv/bin/python images/draw_pictures.py' in (ROOT / 'README.md').read_text()
    )
