"""A figure with controls. It is drawn once; then only the parts that move are updated.

The caller draws the figure, and marks the artists that will move with Matplotlib's own
`animated=True`. When a control changes, the caller's `draw` is called; it moves those
artists and returns the caption. Only these artists are then recorded as shapes and sent
to the page, which paints them over the background (`recorder.py`, `view.js`). If
anything else has changed, such as a limit or a tick, Matplotlib marks the figure as
stale, and the background is drawn and sent again, which is correct but slower.

Whoever moves a slider by one step usually goes on in the same direction. So when the
kernel has nothing else to do, it draws one step further and sends that too. Over a slow
line the page can then show the next picture before the kernel has heard of the key.
"""

import asyncio
import base64
import contextlib
import html
import json
import math
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import anywidget
import ipywidgets as widgets
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from IPython import get_ipython
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from traitlets import Bytes, Dict, List, Unicode

from helpers.explorer import saved
from helpers.explorer.controls import (
    SLIDERS,
    check_control,
    check_value,
    nearest,
    onwards,
    positions,
)
from helpers.explorer.recorder import Recorder, moving_artists, packed

__all__ = ["Explorer"]

# Pixels of the picture per pixel of the page, so that text is sharp on dense screens.
SHARPNESS = 1.5
# The caption has room for two lines, and for more on a narrow page. So if a number gets
# longer, nothing below the caption moves.
CAPTION_ROOM = "max(2.8em, (1000px - 100vw) * 0.16)"


class _View(anywidget.AnyWidget):
    """The picture on the page, with its caption: see `view.js`."""

    _esm = Path(__file__).with_name("view.js").read_text("utf-8")
    scene = Dict().tag(sync=True)
    background = Bytes().tag(sync=True)
    # Two states, each as bytes with the values of the controls that it belongs to. One
    # is shown, the other has been sent ahead or was shown before. The page paints the
    # one that fits its controls.
    first = Dict().tag(sync=True)
    second = Dict().tag(sync=True)
    shown = Unicode("first").tag(sync=True)
    # The models of the explorer's controls.
    controls = List().tag(sync=True)
    error = Unicode().tag(sync=True)
    # The page need not be told what it has just sent.
    pointer = Dict().tag(sync=True, echo_update=False)
    # The models of a button and of the slider that it plays, or nothing.
    play = List().tag(sync=True)

    @property
    def state(self):
        """The bytes of the state that is shown."""
        return getattr(self, self.shown)["state"]


class Grip(NamedTuple):
    """Axes in which the pointer moves controls.

    Attributes:
        axes: the axes in which to press or drag.
        x: the name of the control for the horizontal coordinate, or None.
        y: the name of the control for the vertical coordinate, or None.
    """

    axes: Axes
    x: str | None = None
    y: str | None = None


class Shown(NamedTuple):
    """What an explorer shows at some values of its controls.

    Attributes:
        words: the caption.
        shapes: what each moving artist draws, from back to front: see `recorder.py`.
        background: the picture beneath them.
        error: what is said where `draw` raised, or nothing. The rest is empty then,
            because the page keeps what it showed before.
    """

    words: str = ""
    shapes: tuple[list, ...] = ()
    background: Image.Image | None = None
    error: str = ""


class Ahead(NamedTuple):
    """What was drawn and sent before the controls are there.

    Attributes:
        values: the values of the controls that it belongs to.
        words: the caption.
        num_cells: how many cells had run by then. A cell that has run since may have
            changed what `draw` would do.
    """

    values: dict
    words: str
    num_cells: int


class Explorer(widgets.VBox):
    """A figure that changes with its controls, with a caption that gives its numbers.

    Args:
        figure: the Matplotlib figure, already drawn; artists that move have
            `animated=True`.
        draw: a function that is called with one keyword argument per control. It moves
            the artists and returns the caption, a sentence with the numbers shown. It
            does nothing else, because it is also called for values that the controls
            may have next.
        controls: one widget per name, each with a description: see `controls`.
        label: the name of the explorer. A new explorer with the same label replaces the
            old one, so a cell can be run again.
        alt: what the figure shows, in words, for readers who cannot see it.
        play: the name of a whole-number slider that gets a play button.
        drag: `(axes, "mu", "sigma")` means that pressing or dragging in these axes
            moves the sliders mu and sigma to the coordinates of the pointer. Use `None`
            for a coordinate without a slider. In a list of these, the one whose sliders
            are nearest to the pointer is moved.

    Attributes:
        controls: the widgets by name; setting `controls[name].value` moves them.
        grips: the axes in which the pointer moves controls.
        label: the name of the explorer.
        play: the name of the slider that has a play button, or None.
        live: all explorers of this kernel, by label.

    Raises:
        ValueError: if `alt` or `label` is blank; another explorer has this figure;
            there is no control, or one that is not a slider, list, check box or pad or
            that has no label; `play` is not the name of a whole-number slider; or
            `drag` does not name axes of the figure and sliders.
        Exception: whatever `draw` raises. The explorer shows it too, since no cell
            shows an error in the callback of a widget.
    """

    live: ClassVar[dict[str, "Explorer"]] = {}

    def __init__(
        self,
        figure: Figure,
        draw: Callable[..., str],
        controls: Mapping[str, Any],
        *,
        label: str,
        alt: str,
        play: str | None = None,
        drag: tuple | list[tuple] = (),
    ):
        """See the class."""
        _check_arguments(label, alt, controls, play)
        _check_figure_is_free(figure, label)
        self.grips = _grips(drag, figure, controls)
        self.play = play
        if label in Explorer.live:
            Explorer.live.pop(label).close_parts(keep=controls.values())
        plt.close(figure)  # a pyplot figure would be shown a second time
        self.controls = dict(controls)
        self._figure, self._draw = figure, draw
        self.label, self._alt = label, alt
        self._press, self._held = None, None
        self._start = self._values()
        # The values of what is shown, and those at which the artists stand.
        self._drawn = self._posed = self._start
        self._error, self._following = "", True
        self._ahead, self._can_look_ahead = None, True
        self._shown_in = "first"  # of the two states that the view has
        # JupyterLab lets the messages of widgets run in a thread of their own.
        self._drawing = threading.RLock()
        figure.set_dpi(mpl.rcParams["figure.dpi"] * SHARPNESS)
        self._canvas = FigureCanvasAgg(figure)
        self._recorder = Recorder(self._canvas)
        self._background = None
        shown = self._draw_anew(self._start)
        self._words = shown.words
        figure.set_layout_engine("none")  # the layout is final: axes never shift
        reset = widgets.Button(description="Reset", tooltip=f"Reset {label}")
        reset.on_click(lambda _: self.reset())
        buttons = [reset]
        played = []
        if play:
            slider = self.controls[play]
            button = widgets.ToggleButton(
                description="Play", tooltip=f"Play {slider.description}"
            )
            buttons.insert(0, button)
            played = [button.model_id, slider.model_id]
        self._view = _View(
            scene=self.scene,
            background=webp(self._background),
            first=self._slot(self._start, shown),
            controls=[control.model_id for control in self.controls.values()],
            play=played,
        )
        for control in self.controls.values():
            control.observe(self._on_change, "value")
        heading = widgets.HTML(f"<strong>{html.escape(label)}</strong>")
        self._buttons = widgets.HBox(buttons)
        above = [heading, *self.controls.values(), self._buttons]
        super().__init__([*above, self._view])
        self._view.observe(self._on_pointer, "pointer")
        self.add_class("explorer-live")
        Explorer.live[label] = self

    @property
    def caption(self) -> str:
        """The current caption, as plain text."""
        return self._words

    @property
    def status(self) -> str:
        """The error that the last change raised, or an empty string."""
        return self._error

    @property
    def picture(self) -> Image.Image:
        """The current picture, drawn by Matplotlib."""
        with self._drawing:
            if not _same(self._posed, self._drawn):
                self._pose(self._drawn)
            agg = self._canvas.get_renderer()
            agg.clear()
            for artist in moving_artists(self._figure):
                artist.draw(agg)
            layer = Image.fromarray(np.array(self._canvas.buffer_rgba()))
            return Image.alpha_composite(self._background, layer)

    def set(self, **values: Any) -> str:
        """Set several controls at once, and return the caption.

        Raises:
            ValueError: if there is no control with a name, or it cannot take the value.
                Then no control is moved.
            Exception: whatever `draw` raises.
        """
        for name, value in values.items():
            if name not in self.controls:
                raise ValueError(f"{name}: expected one of {list(self.controls)}")
            if isinstance(value, np.generic):
                values[name] = value.item()
            check_value(name, self.controls[name], values[name])
        with self._drawing:
            self._following = False
            try:
                self._put(values)
            finally:
                self._following = True
            self._show()
        return self.caption

    def reset(self) -> None:
        """Move every control back to where it started."""
        self.set(**self._start)

    def sweep(self, *, num_random: int = 0, seed: int = 0) -> dict[tuple, str]:
        """Move every control over its whole range, then back to where it was.

        Args:
            num_random: how many random settings of all controls to add.
            seed: the seed for these random settings.

        Returns:
            The caption of each setting, by the values of the controls.

        Raises:
            Exception: whatever `draw` raises at any of the settings.
        """
        before, captions = self._values(), {}
        places = {name: positions(each) for name, each in self.controls.items()}
        settings = [before | {name: place} for name in places for place in places[name]]
        random = np.random.default_rng(seed)
        for _ in range(num_random):
            picked = {name: random.integers(len(places[name])) for name in places}
            settings.append({name: places[name][at] for name, at in picked.items()})
        try:
            for setting in settings:
                caption = self.set(**setting)
                captions[tuple(self._values().values())] = caption
        finally:
            self.set(**before)
        return captions

    def recorded(self, settings: Iterable[Mapping[str, Any]]) -> Iterator[Shown]:
        """Draw at each of some settings, for a page that has no kernel.

        The page is told of nothing meanwhile, and when this ends the controls and the
        figure are as they were.

        Args:
            settings: each a value for every control by name.

        Yields:
            What is shown at each, with the error in words where `draw` raises one.
        """
        before = self._values()
        with contextlib.ExitStack() as quiet:
            for control in self.controls.values():
                quiet.enter_context(control.hold_sync())
            self._following = False
            try:
                for values in settings:
                    self._put(values)
                    try:
                        shown = self._draw_anew(self._values())
                    except Exception as error:
                        shown = Shown(error=_said(error))
                    yield shown
            finally:
                self._put(before)
                self._following = True
                self._draw_anew(before)

    def close_parts(self, *, keep=()) -> None:
        """Close this explorer and every widget in it, here and on the page.

        Args:
            keep: controls that another explorer still uses.
        """
        for control in self.controls.values():
            control.unobserve(self._on_change, "value")
        self._following = False  # nor is anything drawn ahead any more
        parts = [self]
        for part in parts:
            parts.extend(getattr(part, "children", ()))
        for part in reversed(parts):
            if not any(part is kept for kept in keep):
                for look in (
                    getattr(part, "layout", None),
                    getattr(part, "style", None),
                ):
                    if look is not None:
                        look.close()
                part.close()

    def _values(self):
        return {name: control.value for name, control in self.controls.items()}

    def _put(self, values):
        for name, value in values.items():
            self.controls[name].value = value

    def _on_change(self, _):
        with self._drawing:
            before, values = self._drawn, self._values()
            # After a slider is set here, the page sends back the value as it has
            # rounded it. Nothing has to be drawn then, unless the last drawing has
            # failed.
            rounded = _same(values, before) and not self._error
            if not self._following or rounded:
                return
            if self._was_sent_ahead(values):
                # The page has found it by itself.
                self._words, self._drawn = self._ahead.words, values
                self._shown_in, self._ahead = self._other_slot, None
            else:
                self._show()
            self._look_ahead_soon(before, values)

    def _was_sent_ahead(self, values):
        ahead = self._ahead
        return (
            ahead is not None
            and ahead.num_cells == _num_cells()
            and _same(values, ahead.values)
        )

    def _look_ahead_soon(self, before, values):
        """Look one step further as soon as the kernel has nothing else to do."""
        moved = [name for name in values if not _same({name: values[name]}, before)]
        further = None
        if len(moved) == 1 and self._can_look_ahead:
            (name,) = moved
            further = onwards(self.controls[name], before[name], values[name])
        loop = _running_loop()
        if further is None or loop is None:
            self._tell()
        else:
            loop.call_soon(self._look_ahead, values, values | {name: further})

    def _look_ahead(self, values, further):
        """Draw where the controls may go next, and send it with what is shown now."""
        with self._drawing:
            if not self._following or self._values() != values:
                return
            shown = self._drawn_ahead(further)
            if shown is None:
                self._tell()
                return
            self._ahead = Ahead(further, shown.words, _num_cells())
            self._tell(**{self._other_slot: self._slot(further, shown)})

    def _drawn_ahead(self, values):
        """Return what these values will show, or None if that has to be awaited."""
        with contextlib.suppress(Exception):  # shown once the controls are there
            words = self._pose(values)
            if not self._figure.stale:
                return Shown(words, self._shapes())
        if self._figure.stale:
            # The background would be sent to and fro: never draw ahead again here.
            self._can_look_ahead = False
        # Limits of axes may have changed, in which the pointer's place is measured. The
        # figure stays stale, so the next move draws all of it.
        with contextlib.suppress(Exception):
            self._pose(self._drawn)
        return None

    def _on_pointer(self, change):
        """Move the controls to the coordinates of the pointer."""
        press, x, y = (change["new"][name] for name in ("press", "x", "y"))
        recorder = self._recorder
        place = np.array([x * recorder.width, (1 - y) * recorder.height])
        if press != self._press:
            self._press, self._held = press, self._nearest_grip(place)
        if self._held is None:
            return
        axes = self._held.axes
        box = axes.bbox
        place = np.clip(place, box.min, box.max)
        at = axes.transData.inverted().transform(place)
        pairs = zip((self._held.x, self._held.y), at, strict=True)
        values = {
            name: nearest(self.controls[name], each) for name, each in pairs if name
        }
        if self._values() | values != self._values():
            self.set(**values)

    def _nearest_grip(self, place):
        """Return the grip that is nearest to a place in pixels, or None."""
        here = [grip for grip in self.grips if grip.axes.bbox.contains(*place)]

        def distance(grip):
            pointed = grip.axes.transData.inverted().transform(place)
            names = zip((grip.x, grip.y), pointed, strict=True)
            at = [self.controls[name].value if name else p for name, p in names]
            return np.hypot(*(grip.axes.transData.transform(at) - place))

        return min(here, key=distance, default=None)

    @property
    def scene(self) -> dict:
        """What `view.js` needs to know at the start."""
        size = np.array([self._recorder.width, self._recorder.height])
        parts = {}
        for grip in self.grips:
            names = [name for name in (grip.x, grip.y) if name]
            parts.setdefault(grip.axes, []).extend(names)
        axes = []
        for each, names in parts.items():
            left, bottom, right, top = (each.bbox.extents / [*size, *size]).tolist()
            labels = dict.fromkeys(self.controls[name].description for name in names)
            axes.append(
                {
                    "box": [left, 1 - top, right - left, top - bottom],
                    "title": f"Drag to move {' and '.join(labels)}",
                }
            )
        return {
            "size": (size / SHARPNESS).tolist(),
            "sharpness": SHARPNESS,
            "axes": axes,
            "alt": self._alt,
            "room": CAPTION_ROOM,
        }

    def _draw_anew(self, values):
        """Draw with these values of the controls, and the background if it changed."""
        words = self._pose(values)
        if self._background is None or self._figure.stale:
            self._canvas.draw()  # animated artists are not drawn by this
            self._background = Image.fromarray(np.array(self._canvas.buffer_rgba()))
        shapes = self._shapes()
        self._drawn = values
        return Shown(words, shapes, self._background)

    def _pose(self, values):
        """Let `draw` move the artists to these values, and return the caption."""
        self._posed = values
        words = self._draw(**values)
        if not isinstance(words, str):
            raise ValueError(
                f"draw: returned {type(words).__name__}, expected the caption, a str"
            )
        return words

    def _shapes(self):
        artists = moving_artists(self._figure)
        return tuple(self._recorder.shapes(each) for each in artists)

    def _show(self):
        before, self._ahead = self._background, None
        try:
            shown = self._draw_anew(self._values())
        except Exception as error:
            self._error = f"{type(error).__name__}: {error}"
            self._view.error = _said(error)
            raise
        self._words, self._error = shown.words, ""
        changes = {self._shown_in: self._slot(self._drawn, shown), "error": ""}
        if self._background is not before:
            changes["background"] = webp(self._background)
            changes[self._other_slot] = {}  # its shapes fit the old background only
        self._tell(**changes)

    @property
    def _other_slot(self):
        return "second" if self._shown_in == "first" else "first"

    def _slot(self, values, shown):
        """Return a state with the values of the controls as the page has them."""
        at = [
            getattr(control, "index", values[name])  # of lists the page has no values
            for name, control in self.controls.items()
        ]
        return {"at": at, "state": _packed(shown)}

    def _tell(self, **changes):
        """Send the view what has changed, in one message."""
        with self._view.hold_sync():
            self._view.shown = self._shown_in
            for name, value in changes.items():
                setattr(self._view, name, value)

    def _ipython_display_(self):
        words = f"{self._alt} At the start: {self._words}"
        saved.show(self._repr_mimebundle_(), words)

    def _repr_mimebundle_(self, **kwargs):
        # Without a kernel the widget cannot be shown; the picture is shown instead.
        data = super()._repr_mimebundle_(**kwargs)
        # With a palette the file is a third as large, and looks the same.
        picture = self.picture.convert("RGB")
        picture = picture.quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=1)
        png = packed(picture, "PNG", optimize=True)
        data["image/png"] = base64.b64encode(png).decode()
        data["text/plain"] = f"{self.label}. {self._alt} {self.caption}"
        width = round(self._recorder.width / SHARPNESS)
        return data, {"image/png": {"alt": self._alt, "width": width}}


def _same(values, others):
    """Whether two settings are equal up to the rounding of numbers."""
    return all(
        value == others[name]
        or (
            isinstance(value, float)
            and math.isclose(value, others[name], rel_tol=1e-12, abs_tol=1e-14)
        )
        for name, value in values.items()
    )


def _running_loop():
    """Return the loop that runs this thread, or None, as in plain Python."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _num_cells():
    """Return how many cells have run in the notebook."""
    shell = get_ipython()
    return shell.execution_count if shell else 0


def webp(background):
    """Return a background as the bytes of a file."""
    # Without loss, `quality` is the effort of the compression, not how it looks.
    return packed(background, "WEBP", lossless=True, quality=10, method=1)


def _packed(shown):
    """Return what is shown as it is sent; the background is sent by itself."""
    shapes = [shape for each in shown.shapes for shape in each]
    state = {"words": shown.words, "shapes": shapes}
    text = json.dumps(state, separators=(",", ":"))
    return zlib.compress(text.encode(), level=6)


def _said(error):
    """Return what the page says where the picture could not follow its controls."""
    return f"The figure could not be updated. {type(error).__name__}: {error}"


def _check_arguments(label, alt, controls, play):
    for name, words in {"label": label, "alt": alt}.items():
        if not (isinstance(words, str) and words.strip()):
            raise ValueError(f"{name}: got {words!r}, expected some words")
    if not controls:
        raise ValueError("controls: got none, expected at least one")
    for name, control in controls.items():
        check_control(name, control)
    if play is not None and not isinstance(controls.get(play), widgets.IntSlider):
        raise ValueError(
            f"play: got {play!r}, expected the name of a whole-number slider"
        )


def _check_figure_is_free(figure, label):
    for each in Explorer.live.values():
        if each._figure is figure and each.label != label:
            raise ValueError(
                f"figure: the explorer {each.label!r} already draws on it, expected a "
                "figure of this explorer's own, made in the same cell"
            )


def _grips(drag, figure, controls):
    """Return the grips as a list, or raise if `drag` is not valid."""
    drags = drag if isinstance(drag, list) else [drag] if drag else []
    grips = []
    for each in drags:
        grip = Grip(*each) if 2 <= len(each) <= 3 else None
        if grip is None or grip.axes not in figure.axes:
            raise ValueError(
                f"drag: got {each!r}, expected (axes of the figure, name, name)"
            )
        names = [name for name in (grip.x, grip.y) if name is not None]
        for name in names:
            if not isinstance(controls.get(name), SLIDERS):
                raise ValueError(f"drag: got {name!r}, expected the name of a slider")
        if not names:
            raise ValueError("drag: got no name, expected one or two sliders")
        grips.append(grip)
    return grips
