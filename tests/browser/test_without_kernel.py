"""An explorer in a saved notebook, after a restart, and as a page of nbconvert."""

import subprocess
import sys

import pytest
from conftest import VIEW, write_notebook
from lab import Notebook
from playwright.sync_api import expect

SOURCE = """
from helpers import plotting
from helpers.explorer import Explorer, slider

figure, axes = plotting.subplots(figsize=(5, 3))
(line,) = axes.plot([0, 1], [0, 100], animated=True)

def draw(n):
    line.set_ydata([0, n])
    return f"It rises to n = {n}"

controls = {"n": slider("n (points)", 0, 100, 12)}
Explorer(figure, draw, controls, label="Line", alt="A line that rises to n.")
"""
NAME = "saved.ipynb"


def check_still(page, screenshot, name):
    """Check that the picture and its words are seen, once, and no dead controls."""
    picture = page.locator(".jp-OutputArea img:visible")
    expect(picture).to_have_count(1)
    assert picture.evaluate("img => img.naturalWidth") > 300
    expect(page.get_by_text("Run this cell to move the picture")).to_be_visible()
    page.get_by_text("This picture in words").click()
    words = "A line that rises to n. At the start: It rises to n = 12"
    expect(page.get_by_text(words)).to_be_visible()
    for failure in ("Error displaying widget", "Loading widget"):
        expect(page.get_by_text(failure).locator("visible=true")).to_have_count(0)
    expect(page.get_by_role("slider")).to_have_count(0)
    screenshot(page.locator(".jp-OutputArea").first, name)


@pytest.mark.parametrize("app", ["lab", "classic"])
def test_a_restart_and_a_saved_notebook(request, app, browser, screenshot):
    server = request.getfixturevalue({"lab": "server"}.get(app, app))
    path = server.folder / "notebooks" / NAME
    write_notebook(path, [SOURCE])
    notebook = Notebook(server, browser.new_page(viewport=VIEW), NAME)
    page = notebook.page
    notebook.run_all()
    explorer = notebook.explorer("Line")
    expect(explorer.caption).to_have_text("It rises to n = 12")
    # While it is live, the picture that stands in for it is not seen.
    still = page.locator(".jp-OutputArea-child").first
    expect(still).to_be_hidden()
    expect(page.get_by_text("Run this cell to move the picture")).to_be_hidden()
    expect(page.get_by_text("This picture in words")).to_be_visible()

    page.evaluate("jupyterapp.commands.execute('docmanager:save')")
    page.evaluate(
        "jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()"
    )
    expect(explorer.ended).to_be_visible()
    screenshot(explorer.root, f"{app} restarted")
    notebook.run_all()
    expect(explorer.caption).to_have_text("It rises to n = 12")
    expect(explorer.ended).to_be_hidden()
    page.evaluate("jupyterapp.commands.execute('docmanager:save')")
    page.wait_for_timeout(500)
    assert "widget-view+json" in path.read_text("utf-8")
    notebook.close()

    again = Notebook(server, browser.new_page(viewport=VIEW), NAME)
    again.page.get_by_text("Error displaying widget").wait_for(state="attached")
    check_still(again.page, screenshot, f"{app} opened again")
    again.close()


def test_a_page_of_nbconvert_without_a_network(tmp_path, browser, screenshot):
    write_notebook(tmp_path / NAME, [SOURCE])
    command = [sys.executable, "-m", "nbconvert", "--execute", "--to", "html", NAME]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    page = browser.new_page(viewport=VIEW)
    page.route(lambda url: not url.startswith("file:"), lambda route: route.abort())
    page.goto((tmp_path / NAME).with_suffix(".html").as_uri())
    check_still(page, screenshot, "nbconvert")
    page.close()
