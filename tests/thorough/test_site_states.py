"""Recorded states: they are those of the live explorer, and a page can hold them."""

import itertools
import json
import re
import zlib
from base64 import b64encode

import ipywidgets as widgets
import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
import unpack

from helpers.explorer import Explorer, Pad, choice, slider
from helpers.site import record, states
from helpers.site.places import CHOSEN, START, Every, in_words, of_controls, readouts

X = np.linspace(0, 1, 60)


@pytest.fixture
def explorer():
    """Return one with every kind of control, whose drawing fails at some states."""
    figure, (axes, other) = plt.subplots(1, 2, figsize=(4, 2))
    axes.set(xlim=(0, 1), ylim=(-3, 3))
    other.set(xscale="log", xlim=(0.1, 10), ylim=(0, 1))
    (line,) = axes.plot(X, X, animated=True)
    dots = axes.scatter(X[:20], X[:20], c=X[:20], animated=True)
    name = axes.text(0.5, 0, "", animated=True)
    image = axes.imshow(np.eye(2), extent=(0, 0.2, -3, -2), animated=True)
    axes.set(xlim=(0, 1), ylim=(-3, 3), aspect="auto")
    (place,) = other.plot([], [], "o", animated=True)

    def draw(shape, a, n, width, shown):
        if n == 3 and shape == "sine":
            raise ValueError(f"no <sine> of {n}")
        curve = {"sine": np.sin, "cosine": np.cos}[shape]
        line.set_ydata(a * curve(n * X))
        dots.set_sizes(10 + 10 * n * X[:20])
        dots.set_visible(shown)
        name.set_text(f"{a:.1f}")
        image.set_data(np.array([[a, 1], [0, n / 3]]))
        place.set_data([width], [0.5])
        title = f"The {shape}"
        if other.get_title() != title:
            other.set_title(title)
        return f"A “{shape}” of {n} waves, {a:+.2f} high & {width:.3g} wide."

    explorer = Explorer(
        figure,
        draw,
        {
            "shape": choice("shape", ["sine", "cosine"]),
            "a": slider("height a (m)", -2.0, 2.0, 0.5, step=0.1),
            "n": slider("waves", 0, 3, 1),
            "width": slider("width", 0.1, 10.0, 1.0, step=0.25, log=True),
            "shown": widgets.Checkbox(True, description="dots"),
        },
        label="Waves & dots",
        alt="A wave.",
        play="n",
        drag=[(axes, "a", None), (axes, "n", None), (other, "width", "a")],
    )
    yield explorer
    Explorer.live.pop("Waves & dots").close_parts()


def live(explorer, **values):
    """Return the state that the kernel sends, and the page would show."""
    try:
        explorer.set(**values)
    except ValueError:
        return {"error": explorer._view.error}
    sent = json.loads(zlib.decompress(explorer._view.state))
    background = b64encode(explorer._view.background).decode()
    sent["background"] = f"data:image/webp;base64,{background}"
    return sent | {"error": ""}


def test_every_recorded_state_is_the_live_one(explorer):
    places = of_controls("", explorer.controls, play="n", most=200)
    text, num_states, num_controls = record.recorded(explorer, "01-1", most=200)
    name, packed = unpack.read(text)
    assert name == "01-1"
    settings = list(itertools.product(*(each.values for each in places.values())))
    indices = itertools.product(*(range(len(each.values)) for each in places.values()))
    assert num_states == len(settings) > 100
    assert num_controls == 5
    errors = 0
    for values, where in zip(settings, indices, strict=True):
        sent = live(explorer, **dict(zip(places, values, strict=True)))
        assert unpack.state(packed, where) == sent
        errors += bool(sent["error"])
    assert 0 < errors < num_states / 2
    assert "ValueError: no <sine> of 3" in text_of(packed)
    assert len(packed["backgrounds"]) == 2


def text_of(packed):
    return json.dumps(packed, ensure_ascii=False)


def test_the_pack_shares_what_states_have_in_common(explorer):
    text, num_states, _ = record.recorded(explorer, "01-1", most=200)
    _, packed = unpack.read(text)
    line = packed["texts"]["0"]["pieces"]
    names = list(explorer.controls)
    on = {names[control] for piece in line for control in piece["on"]}
    assert on == {"a", "n", "shape"}
    for piece in line:
        assert len(piece["of"]) == len(set(piece["of"])) < num_states / 4


def test_recording_changes_nothing_that_a_reader_sees(explorer):
    explorer.set(a=-1.0, shape="cosine")
    before = live(explorer), np.asarray(explorer.picture), explorer.caption
    sent = []
    explorer._view.observe(sent.append)
    record.recorded(explorer, "01-1", most=40)
    assert not sent
    assert (np.asarray(explorer.picture) == before[1]).all()
    assert explorer.caption == before[2]
    assert explorer.status == ""
    assert live(explorer) == before[0]


def test_the_page_knows_what_the_controls_are_and_where_the_pointer_takes_hold(
    explorer,
):
    _, packed = unpack.read(record.recorded(explorer, "01-1", most=400).text)
    kinds = [control["kind"] for control in packed["controls"]]
    assert kinds == ["select", "range", "range", "range", "checkbox"]
    assert [control["label"] for control in packed["controls"]] == [
        control.description for control in explorer.controls.values()
    ]
    for control, each in zip(
        packed["controls"], explorer.controls.values(), strict=True
    ):
        assert control["texts"][control["start"]] == readouts(each, [each.value])[0]
    assert packed["play"] == 2
    assert [axes["title"] for axes in packed["scene"]["axes"]] == [
        "Drag to move height a (m) and waves",
        "Drag to move width and height a (m)",
    ]
    assert [grip["axes"] for grip in packed["grips"]] == [0, 0, 1]
    for grip, live_grip in zip(packed["grips"], explorer.grips, strict=True):
        left, top, width, height = packed["scene"]["axes"][grip["axes"]]["box"]
        for side, start, length in (("x", left, width), ("y", top, height)):
            if grip[side] is None:
                continue
            control, at = grip[side]
            low, high = getattr(live_grip.axes, f"get_{side}lim")()
            texts = packed["controls"][control]["texts"]
            assert len(at) == len(texts)
            for text, place in zip(texts, at, strict=True):
                value = float(text.replace("\N{MINUS SIGN}", "-"))
                part = (value - low) / (high - low)
                if live_grip.axes.get_xscale() == "log" and side == "x":
                    part = np.log(value / low) / np.log(high / low)
                expected = start + length * (part if side == "x" else 1 - part)
                assert place == pytest.approx(expected, abs=2e-3)


@pytest.fixture
def titled():
    """An explorer whose title, which does not move, follows its second slider."""
    figure, axes = plt.subplots(figsize=(2, 2))
    (dot,) = axes.plot([0], [0], "o", animated=True)

    def draw(a, b):
        dot.set_data([0], [a])
        if axes.get_title() != f"b = {b}":
            axes.set_title(f"b = {b}")
        return f"{a} and {b}"

    controls = {"a": slider("a", -1, 1, 0), "b": slider("b", 0, 1, 0)}
    drag = (axes, None, "a")
    yield Explorer(figure, draw, controls, label="Titled", alt="A dot.", drag=drag)
    Explorer.live.pop("Titled").close_parts()


def test_a_background_that_comes_again_is_kept_once(titled):
    _, packed = unpack.read(record.recorded(titled, "01-1").text)
    assert len(packed["backgrounds"]) == 2
    for a, b in itertools.product(range(3), range(2)):
        assert unpack.state(packed, [a, b]) == live(titled, a=a - 1, b=b)
    (grip,) = packed["grips"]
    assert grip["x"] is None
    control, places = grip["y"]
    assert control == 0
    assert places == sorted(places, reverse=True)  # upwards is towards 0


def test_of_a_pad_the_samples_are_recorded():
    ink = {name: np.full((28, 28), level) for name, level in [("a", 0.2), ("b", 0.9)]}
    pad = Pad(ink, "b", label="Draw <it>")
    figure, axes = plt.subplots(figsize=(2, 2))
    (dot,) = axes.plot([0], [0], "o", animated=True)

    def draw(digit):
        # As in the notebook: it looks at the pad, which must hold that sample.
        dot.set_data([0], [pad.image.mean()])
        return f"{digit}: {pad.image.mean():.2f}"

    explorer = Explorer(figure, draw, {"digit": pad}, label="Pad", alt="A dot.")
    _, packed = unpack.read(record.recorded(explorer, "01-1").text)
    (control,) = packed["controls"]
    assert control["kind"] == "select"
    assert control["texts"] == ["nothing", "a", "b"]
    assert control["start"] == 2
    assert packed["pads"] == ["Draw <it>"]
    assert packed["grid"] == "This page holds 3 recorded states."
    words = [unpack.state(packed, [place])["words"] for place in range(3)]
    assert words == [": 0.00", "a: 0.20", "b: 0.90"]
    assert (pad.value, explorer.caption) == ("b", "b: 0.90")
    Explorer.live.pop("Pad").close_parts()


def test_a_control_that_stays_is_named_and_not_dragged(explorer):
    chosen = {"Waves & dots": {"a": START, "width": START, "n": [0, 1, 2]}}
    _, packed = unpack.read(record.recorded(explorer, "01-1", chosen=chosen).text)
    assert packed["fixed"] == [["height a (m)", "0.50"], ["width", "1.00"]]
    assert [each["label"] for each in packed["controls"]] == ["shape", "waves", "dots"]
    assert [each["title"] for each in packed["scene"]["axes"]] == ["Drag to move waves"]
    assert [(grip["x"][0], grip["y"]) for grip in packed["grips"]] == [(1, None)]
    assert packed["play"] == 1
    chosen["Waves & dots"]["n"] = START
    _, packed = unpack.read(record.recorded(explorer, "01-1", chosen=chosen).text)
    assert packed["play"] is None


# Places.


def test_a_small_explorer_is_recorded_whole():
    controls = {"a": slider("a", 0.0, 1.0, 0.3, step=0.1), "b": choice("b", "xyz")}
    places = of_controls("", controls)
    assert places["a"].values == pytest.approx(np.arange(11) / 10)
    assert places["b"].values == ["x", "y", "z"]
    assert all(each.is_whole for each in places.values())


@pytest.mark.parametrize("start", [0.0, 0.37, 1.0])
@pytest.mark.parametrize("log", [False, True])
def test_thinned_places_hold_the_start_and_both_ends(start, log):
    control = slider("a", 0.01 + start, 2.0 + start, 0.5 + start, step=0.01, log=log)
    places = of_controls("", {"a": control}, most=20)["a"]
    assert 5 < len(places.values) <= 20
    assert places.values[places.start] == control.value
    low, high = control.min, control.max
    if log:
        low, high = 10**low, 10**high
    assert places.values[0] == pytest.approx(low)
    assert places.values[-1] == pytest.approx(high, rel=1e-9)
    assert sorted(set(places.values)) == places.values
    inner = np.log10(places.values)[1:-1] if log else np.array(places.values)[1:-1]
    assert np.diff(inner) == pytest.approx(places.stride * control.step)


def test_of_two_sliders_the_finer_is_thinned_and_the_played_one_is_not():
    controls = {
        "a": slider("a", 0, 1000, 7),
        "b": slider("b", 0, 30, 3),
        "n": slider("n", 0, 40, 3),
    }
    places = of_controls("", controls, play="n", most=2000)
    assert len(places["n"].values) == 41
    assert places["a"].stride > places["b"].stride
    assert np.prod([len(each.values) for each in places.values()]) <= 2000
    assert all(type(value) is int for value in places["a"].values)
    # Where nothing is left to thin, there are more.
    places = of_controls("", {"n": controls["n"]}, play="n", most=10)
    assert len(places["n"].values) == 41
    places = of_controls("", controls, play="n", most=41)
    assert [len(places[name].values) for name in "ab"] == [4, 4]


def test_places_can_be_said(refused):
    controls = {"a": slider("a", 0, 20, 3), "b": choice("b", "xyz")}
    chosen = {"One": {"a": [0, 3, 20], "b": Every(1)}}
    places = of_controls("One", controls, chosen=chosen)
    assert (places["a"].values, places["a"].start) == ([0, 3, 20], 1)
    assert not places["a"].is_whole
    assert places["b"].is_whole
    places = of_controls("One", controls, chosen={"One": {"a": Every(5), "b": ["x"]}})
    assert places["a"].values == [0, 3, 8, 13, 18, 20]
    with refused("places of 'One'", "got 'c'", "expected one of ['a', 'b']"):
        of_controls("One", controls, chosen={"One": {"c": START}})
    with refused("places of 'One', a", "got [0, 1]", "the start 3 among them"):
        of_controls("One", controls, chosen={"One": {"a": [0, 1]}})


def test_how_coarse_it_is_is_said_in_words():
    control = slider("a", 0.0, 1.0, 0.3, step=0.01)
    rule = {"chosen": {"": {"a": Every(5)}}}
    assert in_words(control, of_controls("", {"a": control})["a"]) == (
        "at every position"
    )
    places = of_controls("", {"a": control}, **rule)["a"]
    assert in_words(control, places) == "in steps of 0.05"
    control = slider("a", 0.01, 1.0, 0.1, step=0.1, log=True)
    places = of_controls("", {"a": control}, **rule)["a"]
    assert in_words(control, places) == "in factors of 3.16"
    rule["chosen"][""]["a"] = [control.value, 1.0]
    places = of_controls("", {"a": control}, **rule)["a"]
    assert in_words(control, places) == "at 2 values"


@pytest.mark.parametrize(
    ("form", "value", "text"),
    [
        # what d3-format 3.1 gives, with a true minus sign
        (".2f", -1.5, "−1.50"),
        (".2f", 0.999, "1.00"),
        ("d", 12, "12"),
        (".3g", 1.0, "1.00"),
        (".3g", 0.01, "0.0100"),
        (".3g", 1e-8, "1.00e-8"),
        (".3g", 2.5e-6, "0.00000250"),
        (".3g", 999.6, "1.00e+3"),
        (".3g", 123.4, "123"),
        ("g", 0.5, "0.500000"),
    ],
)
def test_a_slider_says_its_number_as_in_the_notebook(form, value, text):
    control = widgets.FloatSlider(value, min=-1e9, max=1e9, readout_format=form)
    assert readouts(control, [value]) == [text]


def test_lists_and_check_boxes_say_their_words():
    control = widgets.Dropdown(options=[("one", 1), ("two", 2)], description="a")
    assert readouts(control, [2, 1]) == ["two", "one"]
    box = widgets.Checkbox(True, description="b")
    assert readouts(box, [False, True]) == ["off", "on"]


# Whole notebooks.

PLAIN = """
import ipywidgets as widgets
import matplotlib.pyplot as plt
import numpy as np
from helpers.explorer import Explorer, Pad, slider
np.random.seed(0)
"""
MADE = """
figure, axes = plt.subplots(figsize=(2, 2))
(line,) = axes.plot([0, 1], [0, 1], animated=True)
factor = 2
def draw(a):
    line.set_ydata([0, factor * a])
    return f"{factor} a is {factor * a}"
one = Explorer(figure, draw, {"a": slider("a", 0, 4, 1)}, label="O<e", alt="A “line”.")
"""
AGAIN = MADE.replace("O<e", "Two")


@pytest.fixture
def sheet(tmp_path):
    """A function that writes a notebook of some cells."""

    def sheet(*sources):
        cells = [nbformat.v4.new_code_cell(source) for source in sources]
        cells.insert(1, nbformat.v4.new_markdown_cell("Words."))
        path = tmp_path / "07_test.ipynb"
        nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
        return path

    return sheet


def test_a_notebook_is_executed_and_its_explorers_recorded(sheet, tmp_path):
    path = sheet(
        PLAIN,
        MADE,
        "factor = 3\nprint('between')",
        "print('be', flush=True)\nprint('fore')\ndisplay(one)\nprint('after')",
        AGAIN + "one",
        "Pad(label='Draw')",
        "print(one.controls['a'].value, np.random.rand() == "
        "np.random.RandomState(0).rand())",
    )
    stored = path.read_bytes()
    packs = tmp_path / "packs"
    packs.mkdir()
    (packs / "07-9.js").write_text("old")
    (packs / "01-1.js").write_text("of another")
    said = []
    executed = states.run(path, packs, said.append, run_link="a link&more")
    assert path.read_bytes() == stored
    assert sorted(each.name for each in packs.iterdir()) == [
        "01-1.js",
        "07-1.js",
        "07-2.js",
    ]
    assert [line.partition(",")[0] for line in said] == [
        "07-1 O<e: 5 states",
        "07-2 Two: 5 states",
    ]
    # Directly after its cell: later another value stands for the same name.
    name, packed = unpack.read((packs / "07-1.js").read_text("utf-8"))
    assert name == "07-1"
    assert unpack.state(packed, [4])["words"] == "2 a is 8"
    cells = [cell for cell in executed.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == [1, 2, 3, 4, 5, 6, 7]
    assert [cell.source for cell in cells][2] == "factor = 3\nprint('between')"
    before, shown, after = cells[3].outputs
    assert (before.text, after.text) == ("be\nfore\n", "after\n")
    page = shown.data["text/html"]
    assert page.startswith(
        '<div class="explorer" data-pack="07-1" '
        'data-run-link="a link&amp;more" style="--controls: 1">'
        '<img alt="A “line”." width="200" '
        'src="data:image/png;base64,iVBOR'
    )
    assert page.endswith("<p>2 a is 2</p></div>")
    assert 'data-pack="07-2"' in cells[4].outputs[0].data["text/html"]
    (pad,) = cells[5].outputs
    assert re.search(
        'class="explorer-still".*which needs a running kernel: '
        '<a href="a link&amp;more">',
        pad.data["text/html"],
    )
    assert cells[6].outputs[0].text == "1 True\n"


def test_what_fails_is_named_with_notebook_and_cell(sheet, tmp_path):
    path = sheet("1 + 1", "# The first line.\n1 / 0")
    with pytest.raises(states.NotebookError) as caught:
        states.run(path, tmp_path, print)
    assert str(caught.value) == (
        "07_test.ipynb, cell 2 (# The first line.): ZeroDivisionError: division by zero"
    )


def test_an_explorer_that_cannot_be_recorded_is_named(sheet, tmp_path):
    wrong = MADE.replace("O<e", "EM stepper")
    path = sheet(PLAIN + wrong)
    with pytest.raises(states.NotebookError) as caught:
        states.run(path, tmp_path, print)
    assert re.match(
        r"07_test.ipynb, cell 0 \(import ipywidgets as widgets\): recording its "
        r"explorers: ValueError: places of 'EM stepper': got 'first_x'",
        str(caught.value),
    )


def test_a_kernel_that_ends_or_takes_too_long_is_named(sheet, tmp_path, monkeypatch):
    with pytest.raises(states.NotebookError, match=r"cell 0 .*: the kernel ended"):
        states.run(sheet("import os; os._exit(1)"), tmp_path, print)
    monkeypatch.setattr(states, "SECONDS_A_CELL", 1)
    with pytest.raises(states.NotebookError, match=r"cell 0 .*: took over 1 s"):
        states.run(sheet("import time; time.sleep(60)"), tmp_path, print)


def test_new_explorers_are_recorded_once(explorer, tmp_path, monkeypatch):
    monkeypatch.setattr(record, "_known", {})
    monkeypatch.setitem(CHOSEN, explorer.label, {"a": START, "width": START})
    (found,) = record.new_explorers("03", tmp_path).values()
    assert found["pack"] == "03-1"
    assert found["words"] == explorer.caption
    path = tmp_path / "03-1.js"
    assert found["bytes"] == path.stat().st_size
    path.unlink()
    assert len(record.new_explorers("03", tmp_path)) == 1
    assert not path.exists()


def test_the_player_is_one_plain_script():
    script = states.player()
    assert not re.search(r"^(export|import)\b", script, re.MULTILINE)
    assert "function mount(" in script
    assert "eval(" not in script
    assert "innerHTML" not in script
    assert "</script" not in script
