"""What no notebook shows: errors, a slow line, and the classic notebook page."""

import pytest
from lab import NOTEBOOKS, Notebook, Server, frames_shown, num_changes, slow_line
from playwright.sync_api import expect

EXPLORER = """
from helpers import plotting
from helpers.explorer import Explorer, slider

calls = []

def explore(label):
    figure, axes = plotting.subplots(figsize=(5, 3))
    (line,) = axes.plot([0, 1], [0, 100], animated=True)

    def draw(n):
        calls.append(label)
        if n == 13:
            raise ValueError("thirteen cannot be drawn")
        line.set_ydata([0, n])
        return f"{label}: n = {n}"

    controls = {"n": slider("n (points)", 0, 100, 12)}
    alt = "A line that rises to n."
    return Explorer(figure, draw, controls, label=label, alt=alt, play="n")
"""
CELLS = [EXPLORER, "explore('first')", "explore('second')"]
# Late enough that a clock of 400 ms would queue its frames up.
LATE = {"delay": 0.5, "rate": 20e6}


@pytest.fixture(scope="module")
def page_of_two(open_notebook):
    notebook = open_notebook("two.ipynb", cells=CELLS)
    notebook.run_all()
    return notebook


@pytest.fixture
def two(page_of_two):
    """A page with two explorers, and both of them, at their start."""
    explorers = [page_of_two.explorer(label) for label in ("first", "second")]
    for explorer in explorers:
        explorer.press(explorer.reset, "Enter")
        expect(explorer.caption).to_have_text(f"{explorer.label}: n = 12")
    return page_of_two, *explorers


def num_calls(notebook, label):
    reply = notebook.client.execute(
        "",
        silent=True,
        user_expressions={"calls": f"calls.count({label!r})"},
        reply=True,
        timeout=30,
    )
    answer = reply["content"]["user_expressions"]["calls"]
    return int(answer["data"]["text/plain"])


def test_an_error_is_shown_and_goes_with_the_next_move(two):
    _, first, second = two
    slider = first.control("n (points)", "IntSlider")
    first.press(slider, "ArrowRight")
    expect(first.error).to_contain_text("ValueError: thirteen cannot be drawn")
    expect(first.caption).to_have_text("first: n = 12")
    expect(second.error).to_have_count(0)
    first.press(slider, "ArrowRight")
    expect(first.caption).to_have_text("first: n = 14")
    expect(first.error).to_have_count(0)


def test_a_move_leaves_the_other_explorer_alone(two):
    notebook, first, second = two
    notebook.page.wait_for_timeout(500)
    before, shown = num_calls(notebook, "second"), second.shot()
    for key in ("End", "Home"):
        first.press(first.control("n (points)", "IntSlider"), key)
    expect(first.caption).to_have_text("first: n = 0")
    assert num_calls(notebook, "second") == before
    assert second.shot() == shown


def test_a_blank_frame_would_be_seen(two):
    """The test of all notebooks for flicker is not blind.

    Not each of the blank frames need be kept: a busy browser leaves some out.
    """
    notebook, first, _ = two
    first.scroll_into_view()
    box, counts = first.pictures.bounding_box(), []
    for blinks in 0, 5:
        with frames_shown(notebook.page) as frames:
            first.press(first.control("n (points)", "IntSlider"), "End")
            expect(first.caption).to_have_text("first: n = 100")
            notebook.page.wait_for_timeout(200)
            first.pictures.locator("img").last.evaluate(
                """async (img, blinks) => {
                  const sleep = (time) => new Promise((then) => setTimeout(then, time));
                  for (let i = 0; i < blinks; i++) {
                    img.style.opacity = 0; await sleep(40);
                    img.style.opacity = 1; await sleep(100);
                  }
                }""",
                blinks,
            )
            notebook.page.wait_for_timeout(200)
        counts.append(num_changes(frames, box))
        first.press(first.reset, "Enter")
        expect(first.caption).to_have_text("first: n = 12")
        notebook.page.wait_for_timeout(200)
    assert counts[0] == 1
    assert counts[1] >= 3


def test_on_a_slow_line_nothing_queues_up(server, open_notebook):
    """Neither by dragging nor by playing; and each ends at its last value."""
    with slow_line(server.port, **LATE) as (url, slow_down):
        notebook = open_notebook("slow.ipynb", cells=CELLS, url=url)
        notebook.run_all()
        first = notebook.explorer("first")
        expect(first.caption).to_have_text("first: n = 12")
        slow_down()
        slider = first.control("n (points)", "IntSlider")
        play = first.root.get_by_role("button", name="Play")

        first.drag(slider, to=0.8)
        check_end(notebook, first, slider)
        assert num_calls(notebook, "first") < 10  # for 40 moves of the mouse

        first.press(slider, "Home")
        expect(first.caption).to_have_text("first: n = 0")
        before = num_calls(notebook, "first")
        play.press("Enter")
        notebook.page.wait_for_timeout(6000)
        play.press("Enter")
        check_end(notebook, first, slider)
        assert int(slider.get_attribute("aria-valuetext")) >= 10
        assert num_calls(notebook, "first") - before < 10


def check_end(notebook, explorer, slider):
    """Check that the picture ends where the slider does, soon, and stays there."""
    words = f"{explorer.label}: n = {slider.get_attribute('aria-valuetext')}"
    # Two ways there and back: for what was under way, and for the last value.
    expect(explorer.caption).to_have_text(words, timeout=4_000 * LATE["delay"] + 1000)
    notebook.page.wait_for_timeout(1500)
    expect(explorer.caption).to_have_text(words)


def test_explorers_work_in_notebook_7(tmp_path, browser, screenshot):
    with Server(tmp_path, "notebook") as server:
        notebook = Notebook(server, browser.new_page(), NOTEBOOKS[0].name)
        notebook.run_all()
        for label, controls in notebook.ask("explorers").items():
            explorer, expected = notebook.explorer(label), notebook.ends(label)
            for name, description, kind in controls:
                explorer.press(explorer.control(description, kind), "End", kind)
                expect(explorer.caption).to_have_text(expected[f"{name} End"][0])
                explorer.press(explorer.reset, "Enter")
                expect(explorer.caption).to_have_text(expected["start"][0])
            screenshot(explorer.root, label)
        # Not the errors: Notebook 7.6.5 writes one of its own at each start.
        assert notebook.outside == []
        notebook.close()
