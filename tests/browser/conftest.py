"""One server and one browser for all, and each notebook open and run once."""

import re
import shutil
from pathlib import Path

import nbformat
import pytest
from lab import CHROMIUM, NOTEBOOKS, Bare, Notebook, Server
from playwright.sync_api import sync_playwright

PYTHON = {"name": "python3", "display_name": "Python 3 (ipykernel)"}
VIEW = {"width": 1300, "height": 1000}


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("lab")) as server:
        yield server


@pytest.fixture(scope="session")
def classic(tmp_path_factory):
    """Notebook 7."""
    with Server(tmp_path_factory.mktemp("classic"), "notebook") as server:
        yield server


@pytest.fixture(scope="session")
def browser():
    chromium = shutil.which("chromium")
    assert chromium, "no Chromium found: apt install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM)
        yield browser
        browser.close()


def write_notebook(path, cells):
    """Make a notebook for a test, with these cells."""
    sheet = nbformat.v4.new_notebook(metadata={"kernelspec": PYTHON})
    sheet.cells = [nbformat.v4.new_code_cell(source) for source in cells]
    nbformat.write(sheet, path)


@pytest.fixture(scope="session")
def bare(browser):
    """The view on an empty page."""
    view = {"width": 1000, "height": 700}
    return Bare(browser.new_page(viewport=view, device_scale_factor=1.5))


@pytest.fixture(scope="module")
def open_notebook(server, browser):
    """A function that opens a notebook in a page of its own."""
    opened = []

    def open_notebook(name, *, cells=None, **options):
        if cells:
            write_notebook(server.folder / "notebooks" / name, cells)
        page = browser.new_page(viewport=VIEW)
        opened.append(Notebook(server, page, name, **options))
        return opened[-1]

    yield open_notebook
    for notebook in opened:
        notebook.close()


@pytest.fixture(scope="module", params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request, server, browser):
    """Each notebook, opened and all its cells run."""
    notebook = Notebook(server, browser.new_page(viewport=VIEW), request.param.name)
    notebook.stored_pictures = notebook.page.evaluate(
        """() => [...document.querySelectorAll(".jp-Cell")].map((cell) =>
             [...cell.querySelectorAll(".jp-OutputArea-output img")].map(
               (image) => image.naturalWidth))"""
    )
    notebook.run_all()
    yield notebook
    notebook.close()


@pytest.fixture
def screenshot(request, pytestconfig):
    """A function that keeps a picture of a part of the page, by this test's name."""
    folder = Path(pytestconfig.getoption("--screenshots"))
    folder.mkdir(parents=True, exist_ok=True)

    def screenshot(part, name):
        name = re.sub(r"\W+", "-", f"{request.node.name} {name}").strip("-")
        part.screenshot(path=folder / f"{name}.png")

    return screenshot
