"""Each notebook as a web page, for a reader without a kernel: `jupyter nbconvert`."""

import re
import subprocess
import sys
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
# The template that nbconvert takes by itself leaves out alternative text, and says so.
NO_ALT = r"\[NbConvertApp\] WARNING \| Alternative text is missing on \d+ image\(s\).\n"


class Images(HTMLParser):
    """The `alt` and the number of bytes of each picture in a page."""

    def __init__(self, page):
        super().__init__()
        self.alts, self.sizes = [], []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        if tag == "img":
            attributes = dict(attributes)
            self.alts.append(attributes["alt"])
            self.sizes.append(len(attributes["src"]))


def convert(path, folder, template):
    """Return the page made of a notebook, and what nbconvert complained of."""
    command = [sys.executable, "-m", "nbconvert", "--to", "html", "--log-level=WARN"]
    command += [f"--template={template}", f"--output-dir={folder}", str(path)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    return (folder / f"{path.stem}.html").read_text("utf-8"), run.stderr


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


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_page_has_every_picture_and_its_words(path, tmp_path):
    page, complaints = convert(path, tmp_path, "lab")
    alts, words = pictures(path)
    assert re.fullmatch(NO_ALT, complaints), complaints
    assert len(Images(page).sizes) == len(alts)
    assert min(Images(page).sizes) > 2000
    assert len(words) >= 2
    page = unescape(page)  # each writer of pages has its own way with a quote
    assert all(unescape(word) in page for word in words)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_classic_page_has_alternative_text(path, tmp_path):
    page, complaints = convert(path, tmp_path, "classic")
    assert complaints == ""
    assert Images(page).alts == pictures(path)[0]
