"""Recorded explorers on a page of their own, opened from a folder without a server."""

import html
import itertools
import json
import random
import zlib
from base64 import b64encode

import ipywidgets as widgets
import matplotlib.pyplot as plt
import numpy as np
import pytest
from lab import PAGE, Bare, touch
from playwright.sync_api import expect

from helpers.explorer import Explorer, Pad, choice, slider
from helpers.site import record, states
from helpers.site.places import START, of_controls

X = np.linspace(0, 1, 60)
CHOSEN = {"Waves": {"width": START}}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; "
    "img-src data:; connect-src data:"
)


def waves():
    """Return an explorer with every kind of control, which fails at some states."""
    figure, (axes, other) = plt.subplots(1, 2, figsize=(5, 2.5))
    axes.set(xlim=(0, 1), ylim=(-3, 3))
    other.set(xlim=(0, 3), ylim=(-3, 3))
    (line,) = axes.plot(X, X, animated=True)
    image = axes.imshow(np.eye(2), extent=(0, 0.2, -3, -2), animated=True)
    axes.set(xlim=(0, 1), ylim=(-3, 3), aspect="auto")
    (place,) = other.plot([], [], "o", animated=True)

    def draw(a, n, width, shape, shown):
        if n == 3 and shape == "sine":
            raise ValueError("no <b>sine</b> of 3")
        line.set_ydata(a * {"sine": np.sin, "cosine": np.cos}[shape](width * n * X))
        image.set_data(np.array([[a, 1], [0, n / 3]]))
        place.set_data([n], [a])
        place.set_visible(shown)
        return f"A “{shape}” of {n} <waves>, {a:+.2f} high."

    return Explorer(
        figure,
        draw,
        {
            "a": slider("height a (m)", -2.0, 2.0, 0.5, step=0.5),
            "n": slider("waves", 0, 3, 1),
            "width": slider("width", 0.1, 10.0, 1.0, log=True),
            "shape": choice("shape", ["sine", "cosine"]),
            "shown": widgets.Checkbox(True, description="dot"),
        },
        label="Waves",
        alt="A “wave”.",
        play="n",
        drag=[(other, "n", "a"), (axes, "a", None)],
    )


def line():
    """Return an explorer with one slider, and no play button."""
    figure, axes = plt.subplots(figsize=(3, 2))
    (curve,) = axes.plot([0, 1], [0, 1], animated=True)
    axes.set(ylim=(0, 10))

    def draw(b):
        curve.set_ydata([0, b])
        return f"b is {b}"

    controls = {"b": slider("slope b", 0, 10, 4)}
    return Explorer(figure, draw, controls, label="Line", alt="A line.")


def digit():
    """Return an explorer of what is on a pad."""
    pad = Pad({name: np.full((28, 28), int(name) / 9) for name in "369"}, "6")
    figure, axes = plt.subplots(figsize=(2, 2))
    image = axes.imshow(np.eye(28), animated=True)

    def draw(digit):
        image.set_data(pad.image)
        return f"{pad.image.sum():.0f} of ink"

    return Explorer(figure, draw, {"digit": pad}, label="Digit", alt="A digit.")


@pytest.fixture(scope="module")
def live():
    """The explorers whose states are recorded, by label."""
    explorers = {"Waves": waves(), "Line": line(), "Digit": digit()}
    yield explorers
    for label in explorers:
        Explorer.live.pop(label).close_parts()


@pytest.fixture(scope="module")
def folder(live, tmp_path_factory):
    """A folder with a page, its script and its packs."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "packs").mkdir()
    parts = []
    for number, explorer in enumerate(live.values(), 1):
        name = f"07-{number}"
        recording = record.recorded(explorer, name, chosen=CHOSEN)
        path = folder / "packs" / f"{name}.js"
        path.write_text(recording.text, encoding="utf-8")
        parts.append(part(name, explorer))
    far = "<p style='height: 4000px'>Far away.</p>"
    parts.insert(1, far)
    parts.append(far)
    parts.append(part("07-9", live["Line"]))
    (folder / "player.js").write_text(states.player(), encoding="utf-8")
    (folder / "page.html").write_text(
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        "<meta name='viewport' content='width=device-width'>"
        "<style>html { background: #fff } "
        "@media (prefers-color-scheme: dark) { html { color-scheme: dark; "
        "background: #121212; color: #ced6dd } }</style>"
        "<script src='player.js'></script></head><body>"
        f"{''.join(parts)}</body></html>",
        encoding="utf-8",
    )
    return folder


def part(name, explorer):
    """Return what a notebook's output holds for an explorer."""
    alt = html.escape(explorer.scene["alt"])
    return (
        f'<div class="explorer" data-pack="{name}" data-run-link="own">'
        f'<img alt="{alt}" src="data:,"><p>At the start.</p></div>'
    )


class Page:
    """The page in a browser, with what its console complained of."""

    def __init__(self, page, folder):
        self.page, self.errors, self.asked = page, [], []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on(
            "console",
            lambda said: said.type == "error" and self.errors.append(said.text),
        )
        page.on("request", lambda request: self.asked.append(request.url))
        page.goto((folder / "page.html").as_uri())
        self.root = page.locator(".explorer").first
        self.root.and_(page.locator("[data-state=ready]")).wait_for()
        self.caption = self.root.get_by_role("status")
        self.hold = self.root.locator(".explorer-hold")

    def slider(self, name):
        return self.root.get_by_role("slider", name=name, exact=True)

    def button(self, name):
        return self.root.get_by_role("button", name=name, exact=True)

    def drawing(self):
        return self.root.evaluate(f"root => ({PAGE}).drawing(root)")


@pytest.fixture
def shown(browser, folder):
    """The page, whose console must stay silent."""
    page = Page(browser.new_page(viewport={"width": 1000, "height": 800}), folder)
    yield page
    assert page.errors == []
    page.page.close()


def sent(explorer, **values):
    """Return what the kernel sends for these values."""
    explorer.set(**values)
    view = explorer._view
    background = b64encode(view.background).decode()
    state = json.loads(zlib.decompress(view.state))
    return state | {"background": f"data:image/webp;base64,{background}"}


def test_states_are_drawn_as_in_the_notebook(shown, live, browser):
    explorer = live["Waves"]
    places = of_controls("Waves", explorer.controls, play="n", chosen=CHOSEN)
    bare = Bare(browser.new_page(viewport={"width": 1000, "height": 700}))
    every = list(itertools.product(*(range(len(p.values)) for p in places.values())))
    drawings = set()
    for indices in random.Random(0).sample(every, 40):
        at = dict(zip(places, indices, strict=True))
        values = {name: places[name].values[index] for name, index in at.items()}
        if values["n"] == 3 and values["shape"] == "sine":
            continue
        for name, label in (("a", "height a (m)"), ("n", "waves")):
            shown.slider(label).fill(str(at[name]))
        shown.root.get_by_role("combobox").select_option(values["shape"])
        shown.root.get_by_role("checkbox").set_checked(values["shown"])
        state = sent(explorer, **values)
        expect(shown.caption).to_have_text(state["words"])
        bare.mount(explorer.scene)
        expected = bare.show(state)
        assert shown.drawing() == expected
        drawings.add(expected)
    assert len(drawings) > 20
    explorer.reset()
    bare.page.close()


def test_the_keyboard_moves_every_control(shown):
    height = shown.slider("height a (m)")
    height.focus()
    expect(height).to_have_attribute("aria-valuetext", "0.50")
    for key, text in {
        "ArrowRight": "1.00",
        "ArrowLeft": "0.50",
        "Home": "\N{MINUS SIGN}2.00",
        "End": "2.00",
    }.items():
        shown.page.keyboard.press(key)
        expect(height).to_have_attribute("aria-valuetext", text)
        expect(shown.root.locator(".explorer-readout").first).to_have_text(text)
        number = text.replace("\N{MINUS SIGN}", "-")
        expect(shown.caption).to_contain_text(f"{float(number):+.2f} high")
    shown.page.keyboard.press("Tab")
    shown.page.keyboard.press("ArrowRight")
    expect(shown.caption).to_contain_text("of 2 <waves>")
    shown.page.keyboard.press("Tab")
    shown.page.keyboard.press("c")
    expect(shown.caption).to_contain_text("“cosine”")
    dots = shown.root.locator(".explorer-picture svg > g > *")
    before = dots.count()
    shown.page.keyboard.press("Tab")
    shown.page.keyboard.press("Space")
    expect(dots).to_have_count(before - 1)
    shown.page.keyboard.press("Tab")
    expect(shown.button("Play")).to_be_focused()
    shown.page.keyboard.press("Tab")
    shown.page.keyboard.press("Enter")
    expect(shown.caption).to_have_text("A “sine” of 1 <waves>, +0.50 high.")
    expect(shown.root.get_by_role("checkbox")).to_be_checked()


def place_in(shown, hold, x, y):
    """Return where a place of a hold's axes is on the page."""
    box = shown.hold.nth(hold).bounding_box()
    return box["x"] + x * box["width"], box["y"] + y * box["height"]


def test_the_mouse_drags_what_is_in_the_axes(shown):
    mouse = shown.page.mouse
    mouse.move(*place_in(shown, 0, 0.34, 0.4))
    mouse.down()
    mouse.move(*place_in(shown, 0, 0.65, 0.26), steps=3)
    expect(shown.caption).to_have_text("A “sine” of 2 <waves>, +1.50 high.")
    mouse.move(*place_in(shown, 0, -3, 3))  # far out of them
    expect(shown.caption).to_have_text("A “sine” of 0 <waves>, -2.00 high.")
    mouse.up()
    mouse.move(*place_in(shown, 0, 0.5, 0.5))
    expect(shown.slider("waves")).to_have_value("0")
    # Here only the horizontal place counts: from 0 to 1, that of a height of 1.
    mouse.move(*place_in(shown, 1, 0.98, 0.1))
    mouse.down()
    mouse.up()
    expect(shown.caption).to_have_text("A “sine” of 0 <waves>, +1.00 high.")
    mouse.click(*place_in(shown, 1, 1.05, 0.5))  # beside them
    expect(shown.slider("height a (m)")).to_have_attribute("aria-valuetext", "1.00")
    expect(shown.hold.nth(0)).to_have_attribute(
        "title", "Drag to move waves and height a (m)"
    )


def test_a_finger_drags_in_the_axes_and_scrolls_beside_them(browser, folder):
    context = browser.new_context(
        viewport={"width": 390, "height": 700}, has_touch=True, is_mobile=True
    )
    shown = Page(context.new_page(), folder)
    session = context.new_cdp_session(shown.page)

    def swipe(x, y):
        touch(session, "touchStart", (x, y))
        for each in range(10, 101, 10):
            touch(session, "touchMove", (x, y - each))
        touch(session, "touchEnd")
        shown.page.wait_for_timeout(200)
        return shown.page.evaluate("window.scrollY")

    assert swipe(*place_in(shown, 0, 0.9, 0.99)) == 0
    expect(shown.slider("height a (m)")).not_to_have_value("5")
    expect(shown.slider("waves")).to_have_value("3")
    title = shown.root.locator("strong").bounding_box()
    words = shown.caption.bounding_box()
    moved = shown.slider("height a (m)").input_value()
    assert swipe(title["x"] + 5, words["y"] + 30) > 50
    assert shown.slider("height a (m)").input_value() == moved
    context.close()


def test_play_goes_to_the_end_and_can_be_stopped(browser, folder):
    page = browser.new_page()
    page.clock.install()
    shown = Page(page, folder)
    waves = shown.slider("waves")
    shown.root.get_by_role("combobox").select_option("cosine")
    shown.button("Play").click()
    expect(shown.button("Stop")).to_be_visible()
    expect(waves).to_have_value("1")
    page.clock.run_for(400)
    expect(waves).to_have_value("2")
    expect(shown.caption).to_contain_text("of 2 <waves>")
    shown.button("Stop").click()
    page.clock.run_for(2000)
    expect(waves).to_have_value("2")
    shown.button("Play").click()
    page.clock.run_for(400)
    expect(waves).to_have_value("3")
    expect(shown.button("Play")).to_be_visible()
    shown.button("Play").click()  # from the start again
    expect(waves).to_have_value("0")
    page.clock.run_for(400)
    expect(waves).to_have_value("1")
    shown.button("Reset").click()
    expect(shown.button("Play")).to_be_visible()
    expect(shown.root.get_by_role("combobox")).to_have_value("sine")
    page.clock.run_for(2000)
    expect(waves).to_have_value("1")
    shown.button("Play").click()
    shown.slider("height a (m)").press("ArrowRight")
    expect(shown.button("Play")).to_be_visible()
    page.clock.run_for(2000)
    expect(waves).to_have_value("1")
    page.close()


def test_an_error_is_said_as_in_the_notebook(shown):
    before = shown.drawing()
    words = shown.caption.text_content()
    shown.slider("waves").fill("3")
    error = shown.root.get_by_role("alert")
    expect(error).to_have_text(
        "The figure could not be updated. ValueError: no <b>sine</b> of 3"
    )
    expect(shown.caption).to_have_text(words)
    assert shown.drawing() == before
    shown.slider("waves").fill("2")
    expect(error).to_have_count(0)
    expect(shown.caption).to_contain_text("of 2 <waves>")


def test_words_are_read_out_once_they_rest(shown):
    expect(shown.caption).to_have_attribute("aria-live", "polite")
    shown.page.evaluate(
        """() => {
          window.changes = [];
          const caption = document.querySelector(".explorer [role=status]");
          const note = () => changes.push([caption.ariaLive, caption.textContent]);
          new MutationObserver(note).observe(caption, { childList: true });
          const slider = document.querySelector(".explorer input");
          for (const place of [5, 6, 7, 8]) {
            slider.value = place;
            slider.dispatchEvent(new Event("input"));
          }
        }"""
    )
    shown.page.wait_for_timeout(1500)
    *before, last = shown.page.evaluate("changes")
    assert before
    assert {how for how, _ in before} == {"off"}
    assert last == ["polite", "A “sine” of 1 <waves>, +2.00 high."]


def test_what_stays_and_how_coarse_it_is_is_said(shown):
    note = shown.root.locator(".explorer-note")
    expect(note.first).to_have_text(
        "This page holds 144 recorded states: every position of the controls."
    )
    expect(note.nth(1)).to_have_text(
        "Fixed on this page: “width” at 1.00. To move it, run the notebook, since "
        "each place needs a new computation in a running kernel."
    )
    link = note.nth(1).get_by_role("link", name="run the notebook")
    expect(link).to_have_attribute("href", "own")


def test_packs_are_loaded_when_they_come_into_sight(browser, folder):
    shown = Page(browser.new_page(viewport={"width": 1000, "height": 600}), folder)
    names = [address.rpartition("/")[2] for address in shown.asked]
    assert "07-1.js" in names
    assert "07-2.js" not in names
    _, second, _, lost = shown.page.locator(".explorer").all()
    expect(second).to_contain_text("At the start.")
    second.scroll_into_view_if_needed()
    second.get_by_role("slider", name="slope b").press("End")
    expect(second.get_by_role("status")).to_have_text("b is 10")
    expect(second.get_by_role("button", name="Play")).to_have_count(0)
    # One that cannot be loaded keeps its picture and words, and says so.
    lost.scroll_into_view_if_needed()
    expect(lost).to_contain_text("07-9.js could not be loaded")
    expect(lost).to_contain_text("At the start.")
    expect(lost.locator("img")).to_have_count(1)
    # The first one did not move.
    expect(shown.caption).to_have_text("A “sine” of 1 <waves>, +0.50 high.")
    assert all(address.startswith(("file:", "data:")) for address in shown.asked)
    shown.page.close()


def test_of_a_pad_the_samples_can_be_chosen(shown):
    root = shown.page.get_by_role("group", name="Digit", exact=True)
    shown.page.locator(".explorer").nth(2).scroll_into_view_if_needed()
    samples = root.get_by_role("combobox", name="Draw a digit", exact=True)
    expect(samples.locator("option")).to_have_text(["nothing", "3", "6", "9"])
    expect(root.get_by_role("status")).to_have_text("523 of ink")
    samples.select_option("9")
    expect(root.get_by_role("status")).to_have_text("784 of ink")
    expect(root.locator(".explorer-note").last).to_have_text(
        "“Draw a digit” offers its samples here. To draw your own, run the notebook: "
        "a drawing needs a running kernel."
    )


def test_every_part_has_a_name(shown):
    root = shown.page.get_by_role("group", name="Waves", exact=True)
    expect(root.get_by_role("img", name="A “wave”.")).to_be_visible()
    for kind, name in {
        "slider": "waves",
        "combobox": "shape",
        "checkbox": "dot",
        "button": "Reset",
    }.items():
        expect(root.get_by_role(kind, name=name, exact=True)).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1000])
def test_it_fits_and_can_be_read(scheme, width, browser, folder, screenshot):
    view = {"width": width, "height": 800}
    page = browser.new_page(viewport=view, color_scheme=scheme)
    shown = Page(page, folder)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert shown.root.evaluate(f"root => ({PAGE}).misfits(root)") == []
    assert shown.root.evaluate(f"root => ({PAGE}).contrast(root)") > 4.5
    sizes = [each.bounding_box() for each in shown.root.get_by_role("slider").all()]
    assert min(size["width"] for size in sizes) > 100
    screenshot(shown.root, f"{scheme} {width}")
    page.close()


def test_on_paper_only_the_picture_and_its_words_stand(shown):
    shown.page.emulate_media(media="print")
    expect(shown.slider("waves")).to_be_hidden()
    expect(shown.button("Reset")).to_be_hidden()
    expect(shown.root.get_by_role("img", name="A “wave”.")).to_be_visible()
    expect(shown.caption).to_be_visible()
