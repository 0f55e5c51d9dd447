"""Each notebook as a student uses it in JupyterLab: every explorer at its ends."""

import io
from base64 import b64decode

import pytest
from PIL import Image
from playwright.sync_api import expect

# Of a picture's pixels, on edges, which the two smooth in their own ways.
EDGES = 0.01


@pytest.fixture
def explorers(notebook):
    """Each explorer as it is on the page, back at its start, with its controls."""
    found = {}
    for label, controls in notebook.ask("explorers").items():
        notebook.ends(label)
        notebook.ask("reset", label)
        found[notebook.explorer(label)] = controls
    assert len(found) >= 2
    return found


def test_pictures_are_shown_before_anything_runs(notebook, explorers):
    for explorer in explorers:
        place = explorer.cell.evaluate(
            "cell => [...cell.parentElement.children].indexOf(cell)"
        )
        (width,) = notebook.stored_pictures[place]
        assert width > 300, explorer.label


def test_cells_run_without_an_error(notebook):
    assert notebook.failures() == []


def test_controls_go_to_both_ends_and_back(notebook, explorers, bare, screenshot):
    """By keyboard. The page has what the kernel sent, which is Matplotlib's picture."""
    for explorer, controls in explorers.items():
        expected = notebook.ends(explorer.label)
        bare.mount(expected["start"]["scene"])
        for name, shown in expected.items():
            shown["drawing"] = bare.show(shown["state"])
            picture = Image.open(io.BytesIO(b64decode(shown["picture"])))
            assert bare.share_apart(picture) <= EDGES, f"{explorer.label}, {name}"
        explorer.scroll_into_view()
        explorer.expect_shown(expected["start"])
        for name, description, kind in controls:
            control = explorer.control(description, kind)
            for key in ("Home", "End"):
                explorer.press(control, key, kind)
                explorer.expect_shown(expected[f"{name} {key}"])
                expect(explorer.error).to_have_count(0)
            screenshot(explorer.root, f"{explorer.label} {name}")
            explorer.press(explorer.reset, "Enter")
            explorer.expect_shown(expected["start"])


def test_steps_by_keys_show_what_matplotlib_draws(notebook, explorers, bare):
    """Also where a state was sent ahead, however the page rounds its values."""
    for explorer, controls in explorers.items():
        explorer.scroll_into_view()
        bare.mount(notebook.ends(explorer.label)["start"]["scene"])
        for _, description, kind in controls:
            if "Slider" not in kind:
                continue
            control = explorer.control(description, kind)
            for key in ("ArrowRight", "ArrowRight", "ArrowRight", "ArrowLeft"):
                explorer.press(control, key, kind)
                notebook.page.wait_for_timeout(150)
            values, caption = notebook.settled(explorer.label)
            expect(explorer.caption).to_have_text(caption)
            drawing = explorer.ask_page("drawing")
            shown = notebook.ask("at", explorer.label, **values)
            assert caption == shown["state"]["words"]
            assert drawing == bare.show(shown["state"]), description


def test_it_fits_a_narrow_page(notebook, explorers, screenshot):
    page, size = notebook.page, notebook.page.viewport_size
    notebook.toggle_left_area()  # a reader on such a page has closed the list of files
    page.set_viewport_size({"width": 400, "height": 800})
    try:
        for explorer in explorers:
            explorer.scroll_into_view()
            assert explorer.ask_page("misfits") == [], explorer.label
            screenshot(explorer.root, explorer.label)
    finally:
        page.set_viewport_size(size)
        notebook.toggle_left_area()


def test_no_error_and_no_other_machine(notebook):
    """The last of a notebook's tests, so that it covers all the others."""
    assert notebook.errors == []
    assert notebook.outside == []
