"""Each notebook as a student uses it: in JupyterLab, by mouse and by keyboard."""

from itertools import pairwise

import pytest
from lab import frames_shown, num_changes
from playwright.sync_api import expect

SLIDERS = {"IntSlider", "FloatSlider", "FloatLogSlider"}
# Widths of the page in CSS pixels: 650 is what is left of 1300 at a zoom of 200 %.
WIDTHS = [1000, 650, 400]


@pytest.fixture
def explorers(notebook):
    """Each explorer as it is on the page, back at its start, with its controls."""
    found = {}
    for label, controls in notebook.ask("explorers").items():
        start = notebook.ends(label)["start"]
        notebook.ask("reset", label)
        explorer = notebook.explorer(label)
        explorer.scroll_into_view()
        explorer.expect_shown(*start)
        found[explorer] = [
            (name, kind, explorer.control(description, kind))
            for name, description, kind in controls
        ]
    return found


def test_pictures_stand_there_before_anything_runs(notebook, explorers):
    for explorer in explorers:
        place = explorer.cell.evaluate(
            "cell => [...cell.parentElement.children].indexOf(cell)"
        )
        (width,) = notebook.stored_pictures[place]
        assert width > 300, explorer.label


def test_cells_run_without_an_error(notebook):
    expect(notebook.page.locator("[data-mime-type*=error]")).to_have_count(0)


def test_controls_go_to_both_ends_and_back(notebook, explorers, screenshot):
    """By keyboard; caption and picture are the kernel's."""
    for explorer, controls in explorers.items():
        expected = notebook.ends(explorer.label)
        for name, kind, control in controls:
            for key in ("Home", "End"):
                explorer.press(control, key, kind)
                explorer.expect_shown(*expected[f"{name} {key}"])
                expect(explorer.error).to_have_count(0)
            screenshot(explorer.root, f"{explorer.label} {name}")
            explorer.press(explorer.reset, "Enter")
            explorer.expect_shown(*expected["start"])


def test_nothing_jumps_or_flickers(notebook, explorers):
    for explorer, controls in explorers.items():
        expected = notebook.ends(explorer.label)
        explorer.scroll_into_view()
        shown, box = [expected["start"]], explorer.pictures.bounding_box()
        explorer.ask_page("watch")
        with frames_shown(notebook.page) as frames:
            for name, kind, control in controls:
                for key in ("Home", "End", "Reset"):
                    if key == "Reset":
                        explorer.press(explorer.reset, "Enter")
                    else:
                        explorer.press(control, key, kind)
                    shown.append(expected.get(f"{name} {key}", expected["start"]))
                    expect(explorer.caption).to_have_text(shown[-1][0])
                    notebook.page.wait_for_timeout(100)
        assert len(notebook.page.evaluate("[...places]")) == 1, explorer.label
        assert explorer.pictures.bounding_box() == box, "the page has scrolled"
        moves = sum(one[1] != other[1] for one, other in pairwise(shown))
        assert moves / 2 < num_changes(frames, box) <= moves, explorer.label


def test_keyboard_reaches_every_control_by_its_name(notebook, explorers):
    for explorer in explorers:
        controls = notebook.ask("explorers")[explorer.label]
        wanted = [description for _, description, _ in controls]
        wanted += explorer.root.get_by_role("button").all_inner_texts()
        first = explorer.control(*controls[0][1:])
        first.focus()
        reached = []
        while (words := explorer.ask_page("focused")) != "Reset":
            reached += [words] if words else []  # None: the number beside a slider
            notebook.page.keyboard.press("Tab")
            assert len(reached) <= len(wanted)
        assert [*reached, "Reset"] == wanted


def test_pictures_and_captions_are_there_for_a_screen_reader(notebook, explorers):
    for explorer in explorers:
        _, picture = explorer.root.get_by_role("img").all()
        assert len(picture.get_attribute("title")) > 40
        expect(explorer.caption).to_have_attribute("aria-live", "polite")


def test_a_drag_ends_at_its_last_value(notebook, explorers):
    for explorer, controls in explorers.items():
        for name, kind, control in controls:
            if kind in SLIDERS:
                before = notebook.ask("now", explorer.label)[0][name]
                explorer.drag(control, to=0.8)
                page = float(control.get_attribute("aria-valuetext"))
                page = 10**page if kind == "FloatLogSlider" else page
                values, caption = notebook.settled(explorer.label)
                assert values[name] == pytest.approx(page)
                assert values[name] != before
                expect(explorer.caption).to_have_text(caption)


def test_play_plays_until_it_is_stopped(notebook, explorers):
    for explorer in explorers:
        play = explorer.root.get_by_role("button", name="Play", exact=True)
        if play.count():
            before = notebook.ask("now", explorer.label)[0]
            play.press("Enter")
            notebook.page.wait_for_timeout(1500)
            play.press("Enter")
            values, caption = notebook.settled(explorer.label)
            assert values != before
            expect(explorer.caption).to_have_text(caption)
            notebook.page.wait_for_timeout(500)
            assert notebook.ask("now", explorer.label)[0] == values


def test_a_cell_run_again_leaves_one_explorer(notebook, explorers):
    for explorer, controls in explorers.items():
        before = notebook.ask("num_open_widgets")
        explorer.cell.locator(".jp-InputPrompt").click()
        notebook.page.keyboard.press("Control+Enter")
        notebook.wait_until_run()
        expect(explorer.root).to_have_count(1)
        assert notebook.ask("num_open_widgets") == before
        name, kind, control = controls[-1]
        explorer.press(control, "End", kind)
        explorer.expect_shown(*notebook.ends(explorer.label)[f"{name} End"])


@pytest.mark.parametrize("width", WIDTHS)
def test_it_fits_a_narrow_page_and_nothing_jumps(
    notebook, explorers, screenshot, width
):
    page, size = notebook.page, notebook.page.viewport_size
    toggle = "jupyterapp.commands.execute('application:toggle-left-area')"
    page.evaluate(toggle)  # a reader on such a page has closed the list of files
    page.set_viewport_size({"width": width, "height": 800})
    try:
        for explorer in explorers:
            explorer.scroll_into_view()
            explorer.ask_page("watch")
            start = notebook.ask("ends", explorer.label)["start"][0]
            expect(explorer.caption).to_have_text(start)
            page.wait_for_timeout(200)
            assert explorer.ask_page("misfits") == [], explorer.label
            assert len(page.evaluate("[...places]")) == 1, explorer.label
            screenshot(explorer.root, explorer.label)
    finally:
        page.set_viewport_size(size)
        page.evaluate(toggle)


@pytest.mark.parametrize("theme", ["JupyterLab Dark", "JupyterLab Light"])
def test_words_are_legible_in_each_theme(notebook, explorers, screenshot, theme):
    notebook.page.evaluate(
        "theme => jupyterapp.commands.execute('apputils:change-theme', {theme})", theme
    )
    notebook.page.wait_for_selector(
        f"body[data-jp-theme-name='{theme}']", state="attached"
    )
    for explorer in explorers:
        screenshot(explorer.root, explorer.label)
        assert explorer.ask_page("contrast") >= 4.5, explorer.label


def test_no_error_and_no_other_machine(notebook):
    """Last of a notebook's tests, so that it speaks for them all."""
    assert notebook.errors == []
    assert notebook.outside == []
