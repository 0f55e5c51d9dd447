"""Each notebook as `jupyter nbconvert` shows it to a reader without a kernel."""

import functools
import re
import subprocess
import sys
from html import unescape
from html.parser import HTMLParser

import nbformat
import pytest
from kernels import PATHS

each = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
# The template that nbconvert uses by default leaves out alternative text, and says so.
NO_ALT = r"\[NbConvertApp\] WARNING \| Alternative text is missing on \d+ image\(s\).\n"


class Images(HTMLParser):
    """The alternative text and the number of bytes of each picture in a page."""

    def __init__(self, page):
        super().__init__()
        self.alts, self.sizes = [], []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        if tag == "img":
            attributes = dict(attributes)
            self.alts.append(attributes["alt"])
            self.sizes.append(len(attributes["src"]))


@pytest.fixture(scope="module")
def convert(tmp_path_factory):
    """Return a function that converts all notebooks and returns what it warns of."""

    def convert(template):
        folder = tmp_path_factory.mktemp(template)
        command = [sys.executable, "-m", "nbconvert", "--to=html", "--log-level=WARN"]
        command += [f"--template={template}", f"--output-dir={folder}", *PATHS]
        run = subprocess.run(command, capture_output=True, text=True, check=True)
        return folder, run.stderr

    return functools.cache(convert)


def pictures(path):
    """Return the alternative text of each stored picture, and the explorers' words."""
    outputs = [o for c in nbformat.read(path, 4).cells for o in c.get("outputs", [])]
    alts = [
        o.metadata["image/png"]["alt"]
        for o in outputs
        if "image/png" in o.get("data", {})
    ]
    words = [
        o.data["text/html"]
        for o in outputs
        if "This picture in words" in o.get("data", {}).get("text/html", "")
    ]
    return alts, words


@each
def test_a_page_has_every_picture_and_its_words(path, convert):
    folder, complaints = convert("lab")
    page = (folder / f"{path.stem}.html").read_text("utf-8")
    alts, words = pictures(path)
    assert re.fullmatch(f"({NO_ALT}){{{len(PATHS)}}}", complaints), complaints
    assert len(Images(page).sizes) == len(alts)
    assert min(Images(page).sizes) > 2000
    assert len(words) >= 2
    page = unescape(page)  # tools escape quotes in different ways
    assert all(unescape(word) in page for word in words)


@each
def test_the_classic_page_has_alternative_text(path, convert):
    folder, complaints = convert("classic")
    assert complaints == ""
    page = (folder / f"{path.stem}.html").read_text("utf-8")
    assert Images(page).alts == pictures(path)[0]
