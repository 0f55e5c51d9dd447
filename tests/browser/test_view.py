"""The view alone on an empty page: its pixels, and what the pointer tells."""

import json
import zlib
from base64 import b64encode

import matplotlib.pyplot as plt
import pytest
from drawings import DRAWINGS
from lab import Bare, touch
from playwright.sync_api import expect

from helpers.explorer import Explorer, slider

# Of all pixels, on edges, which the two smooth in their own ways.
EDGES = 0.01


def sent(explorer):
    """Return the state as the view takes it."""
    view = explorer._view
    background = b64encode(view.background).decode()
    state = json.loads(zlib.decompress(view.state))
    return state | {"background": f"data:image/webp;base64,{background}"}


@pytest.fixture
def drawn():
    """A function that makes an explorer of one kind of artist."""

    def drawn(draw):
        figure, axes = plt.subplots(figsize=(4, 3))
        for artist in draw(axes):
            artist.set_animated(True)
        axes.set(xlim=(0, 1), ylim=(-2, 2))
        controls = {"n": slider("n", 0, 9, 1)}
        return Explorer(figure, lambda n: "words", controls, label="One", alt="One.")

    yield drawn
    Explorer.live.pop("One").close_parts()


@pytest.mark.parametrize("kind", DRAWINGS)
def test_the_browser_draws_what_matplotlib_draws(kind, drawn, bare, screenshot):
    explorer = drawn(DRAWINGS[kind])
    bare.mount(explorer._view.scene)
    bare.show(sent(explorer) | {"shapes": []})
    without = bare.share_apart(explorer.picture)
    bare.show(sent(explorer))
    apart = bare.share_apart(explorer.picture)
    screenshot(bare.page.locator(".explorer-picture"), kind)
    assert apart <= EDGES
    # And it is not blind: without the artists, more than the edges differ.
    assert without > apart


SCENE = {
    "size": [400, 300],
    "alt": "A picture.",
    "axes": [{"box": [0.1, 0.2, 0.5, 0.6], "title": "Drag to move"}],
}
BLANK = "data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg'/>"
LINE = {"d": "M0 0l6000 4500", "stroke": "#000000", "stroke-width": 30}


@pytest.fixture
def scene(bare):
    """The view of a scene with axes that take the pointer."""
    bare.mount(SCENE)
    bare.show({"background": BLANK, "shapes": [LINE], "words": "One.", "error": ""})
    bare.page.evaluate("held.length = 0")
    return bare


def test_the_mouse_takes_hold_in_the_axes_alone(scene):
    mouse = scene.page.mouse
    hold = scene.page.locator(".explorer-hold")
    expect(hold).to_have_css("cursor", "crosshair")
    expect(hold).to_have_attribute("title", "Drag to move")
    mouse.move(300, 100)  # right of the axes
    mouse.down()
    mouse.move(100, 100)
    mouse.up()
    mouse.move(120, 120)  # over them, but not pressed
    assert scene.page.evaluate("held") == []
    mouse.move(100, 90)
    mouse.down()
    mouse.move(440, 330)  # and out of them, while it is held
    mouse.up()
    mouse.move(100, 100)
    first, last = scene.page.evaluate("held")
    assert (first["x"], first["y"]) == pytest.approx((0.25, 0.3))
    assert (last["x"], last["y"]) == pytest.approx((1.1, 1.1))
    assert first["press"] == last["press"]
    mouse.move(100, 90)
    mouse.down()
    mouse.up()
    assert scene.page.evaluate("held.at(-1)")["press"] != last["press"]


def test_a_finger_drags_in_the_axes_and_scrolls_beside_them(browser):
    context = browser.new_context(
        viewport={"width": 400, "height": 400}, device_scale_factor=1.5, has_touch=True
    )
    touched = Bare(context.new_page())
    touched.mount(SCENE)
    touched.show({"background": BLANK, "shapes": [LINE], "words": "One.", "error": ""})
    page = touched.page
    page.evaluate("document.body.style.height = '2000px'")
    session = context.new_cdp_session(page)

    def swipe(x):
        touch(session, "touchStart", (x, 200))
        for y in range(190, 90, -10):
            touch(session, "touchMove", (x, y))
        touch(session, "touchEnd")
        page.wait_for_timeout(200)
        return page.evaluate("window.scrollY"), page.evaluate("held.length")

    scrolled, held = swipe(100)
    assert scrolled == 0
    assert held > 5
    scrolled, after = swipe(350)
    assert scrolled > 50
    assert after == held
    context.close()


def test_words_and_errors_are_spoken_and_not_read_as_markup(scene):
    page = scene.page
    scene.show({"words": "<b>Two</b>", "error": "<i>wrong</i>"})
    caption, error = page.get_by_role("status"), page.get_by_role("alert")
    expect(caption).to_have_text("<b>Two</b>")
    expect(caption).to_have_attribute("aria-live", "polite")
    expect(error).to_have_text("<i>wrong</i>")
    expect(page.get_by_role("img")).to_have_attribute("aria-label", "A picture.")
    scene.show({"error": "worse"})
    expect(error).to_have_text("worse")
    expect(caption).to_have_text("<b>Two</b>")
    scene.show({"error": ""})
    expect(error).to_have_count(0)


def test_only_what_changes_is_painted_anew(scene):
    page = scene.page
    page.evaluate("window.before = document.querySelector('svg > g').children[0]")
    dot = {"at": "100 100 50 50", "r": "20 30", "fill": "#ff0000#00ff00"}
    scene.show({"shapes": [LINE | {"stroke-width": 10}, dot]})
    assert page.evaluate("before === document.querySelector('svg > g').children[0]")
    shapes = page.locator(".explorer-picture svg > g > *")
    expect(shapes).to_have_count(3)
    expect(shapes.nth(0)).to_have_attribute("stroke-width", "10")
    expect(shapes.nth(2)).to_have_attribute("fill", "#00ff00")
    assert shapes.nth(2).get_attribute("d").startswith("M150 150m-30 0a30")
    scene.show({"shapes": [{"d": "M0 0l9 9", "fill": "#0000ff"}]})
    expect(shapes).to_have_count(1)
    assert shapes.nth(0).get_attribute("stroke") is None


def test_of_states_that_come_fast_the_last_stays(scene):
    """A state with an image waits for decoding, and must not replace a later state."""
    image = {"href": BLANK, "x": 0, "y": 0, "width": 9, "height": 9}
    scene.page.evaluate(
        """async ([first, last]) => {
          const both = [view.show(first), view.show(last)];
          await Promise.all(both);
        }""",
        [{"shapes": [image], "words": "first"}, {"shapes": [LINE], "words": "last"}],
    )
    expect(scene.page.get_by_role("status")).to_have_text("last")
    expect(scene.page.locator("svg image")).to_have_count(0)
