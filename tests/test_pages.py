"""The stored notebook and README as pages: in nbconvert's HTML and on GitHub."""

import base64
import io
import re
from itertools import pairwise

import mistune
import nbformat
import pytest
from bs4 import BeautifulSoup
from nbconvert import HTMLExporter
from PIL import Image
from reader import NOTEBOOK, ROOT

CELLS = nbformat.read(NOTEBOOK, as_version=4).cells
TEXTS = {cell.id: cell.source for cell in CELLS if cell.cell_type == 'markdown'}
HEADINGS = 'h1, h2, h3, h4, h5, h6'

# The HTML in Markdown that GitHub keeps, as far as it is of use here.
TAGS = {'details', 'summary', 'br', 'sub', 'sup', 'kbd', 'img'}
ATTRIBUTES = {'src', 'alt', 'width', 'height'}

# What GitHub shows as it should only with a blank line above and below.
CROWDED = re.compile(
    r"""
    [^\n]\n(```|<details>|</details>)      # a line right above
    | (```|</summary>|</details>)\n[^\n]   # or right below
    | ^[^|\n].*\n\| | ^\|.*\n[^|\n]      # a line of text next to one of a table
    """,
    re.MULTILINE | re.VERBOSE,
)

each_page = pytest.mark.parametrize(
    'path',
    [NOTEBOOK, ROOT / 'README.md', ROOT / 'data/MNIST/README.md'],
    ids=lambda path: str(path.relative_to(ROOT)),
)


def parse(html):
    """Return the elements of an HTML text."""
    return BeautifulSoup(html, 'html.parser')


def without_code(text):
    """Return a Markdown text with blocks of code as lines of ``` and no other code."""
    text = re.sub('^```.*?^```$', '```', text, flags=re.MULTILINE | re.DOTALL)
    return re.sub('`[^`\n]+`', '', text)


def rendered(path):
    """Return the elements that the Markdown of a file or notebook becomes."""
    texts = TEXTS.values() if path == NOTEBOOK else [path.read_text('utf-8')]
    return parse(mistune.html('\n\n'.join(texts)))


@pytest.fixture(scope='module')
def exported():
    """Convert the notebook to HTML and return the elements of the page."""
    html, _ = HTMLExporter().from_filename(NOTEBOOK)
    return parse(html)


def test_all_headings_are_on_the_page(exported):
    """Each heading of the Markdown is one in HTML, with the level and text it has."""
    written = [(h.name, h.text) for h in rendered(NOTEBOOK).select(HEADINGS)]
    shown = exported.select('.jp-RenderedMarkdown :is(h1, h2, h3, h4, h5, h6)')
    assert [(h.name, h.text.removesuffix('¶')) for h in shown] == written


def test_headings_make_a_table_of_contents():
    """There is one title, it comes first, and no level is left out."""
    levels = [int(h.name[1]) for h in rendered(NOTEBOOK).select(HEADINGS)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b <= a + 1 for a, b in pairwise(levels))


def test_internal_links_lead_to_headings(exported):
    """Each link within the notebook has its heading, and no two share an anchor."""
    anchors = [h['id'] for h in exported.select(HEADINGS) if h.get('id')]
    assert len(set(anchors)) == len(anchors)
    links = {a['href'] for a in rendered(NOTEBOOK).select('a[href^="#"]')}
    assert links
    assert links <= {f'#{anchor}' for anchor in anchors}


def test_hints_are_folded_and_their_code_is_in_colours(exported):
    """Nothing in details is open, each begins with its summary, and code has colours."""
    folded = exported.select('details')
    assert len(folded) == sum(t.count('<details>') for t in TEXTS.values()) > 0
    for details in folded:
        assert not details.has_attr('open')
        assert details.find(True).name == 'summary'
        assert details.find(True).text.strip()
        assert len(details.find_all(True)) > 1
    sources = re.findall('<details>.*?</details>', '\n'.join(TEXTS.values()), re.DOTALL)
    code = exported.select('details pre')
    assert len(code) == sum(source.count('\n```') for source in sources) / 2 > 0
    assert all(block.select('span[class]') for block in code)


def test_html_in_texts_is_what_github_keeps():
    """No tag or attribute in a text is stripped, and each details is closed."""
    for cell_id, text in TEXTS.items():
        tags = parse(without_code(text)).find_all(True)
        assert {tag.name for tag in tags} <= TAGS, cell_id
        assert {name for tag in tags for name in tag.attrs} <= ATTRIBUTES, cell_id
        for name in ['details', 'summary']:
            assert text.count(f'<{name}>') == text.count(f'</{name}>'), cell_id


def test_blocks_stand_between_blank_lines():
    """Code, tables and what is folded have blank lines around, as GitHub needs them."""
    for cell_id, text in TEXTS.items():
        assert not CROWDED.search(without_code(text)), cell_id


@each_page
def test_links_and_pictures_of_a_page_are_there(path):
    """Relative links lead to files, and pictures are described by an alt text."""
    page = rendered(path)
    targets = [a['href'] for a in page.select('a')]
    for image in page.select('img'):
        assert image.get('alt', '').strip()
        targets.append(image['src'])
    for target in targets:
        if not re.match(r'https?://|#', target):
            assert (path.parent / target.partition('#')[0]).exists(), target


def test_stored_pictures_are_sound():
    """Each picture in the stored outputs is a PNG that can be decoded."""
    outputs = [o for cell in CELLS for o in cell.get('outputs', [])]
    pictures = [
        (kind, data)
        for output in outputs
        for kind, data in output.get('data', {}).items()
        if kind.startswith('image/')
    ]
    assert pictures
    for kind, data in pictures:
        assert kind == 'image/png'
        with Image.open(io.BytesIO(base64.b64decode(data))) as image:
            assert image.format == 'PNG'
            image.load()
