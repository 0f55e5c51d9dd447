"""A figure with controls: drawn once, and only what moves is drawn and sent again.

The caller draws the figure and marks what will move with Matplotlib's own
`animated=True`. A change of a control calls the caller's `draw`, which moves those
artists and returns the caption. They alone are drawn again, on a transparent layer of
a few kB that lies over the background on the page. If anything else changed (a limit,
a tick), Matplotlib marks the figure stale, and the background is drawn and sent anew:
right, but slower. Nothing here knows what the picture means.
"""

import base64
import html
import io
import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import ipywidgets as widgets
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from IPython.display import HTML, display
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from PIL import Image
from traitlets import Unicode

from helpers.explorer.controls import check_control, check_value, positions

__all__ = ["Explorer"]

# Picture pixels for one on the page, so that text is sharp on a dense screen.
SHARPNESS = 1.5
# Two lines, more on a narrow page: then a longer number moves nothing beneath.
CAPTION_ROOM = "max(2.8em, (1000px - 100vw) * 0.16)"
# A frame takes about 200 ms to cross a slow line; a faster clock would only queue.
PLAY_INTERVAL_MS = 400
# An output of an explorer has three parts: the picture as it stands, the live explorer
# and the picture in words. A front end without the kernel shows the first and the last.
# In JupyterLab and Notebook this hides the first while the second is live, and of the
# second the text that stands there while there is no widget.
WIDGET = "application/vnd.jupyter.widget-view+json"
STYLE = """<style>
.jp-OutputArea-child:has(+ .jp-OutputArea-child .explorer-live),
.jp-OutputArea-child:has(+ .jp-OutputArea-child .explorer-words)
  > .jp-OutputArea-output:not(:has(*)),
.jp-OutputArea:has(.explorer-live) .explorer-hint { display: none }
.explorer-live .jupyter-widgets-disconnected::before { display: none }
.explorer-live.jupyter-widgets-disconnected::before {
  content: "The kernel has ended. Run the cell again to move this picture.";
  order: -1; padding: 0.3em 0.6em; width: fit-content;
  font: inherit; color: inherit; border-left: 0.3em solid #b35900 }
</style>"""


class _Picture(widgets.Image):
    """An image whose `tooltip` becomes its `title`: the name that readers speak.

    The page sets `title` only on a widget whose description is empty, and an Image
    has none at all.
    """

    description = Unicode("").tag(sync=True)


class Explorer(widgets.VBox):
    """A picture that follows its controls, with its numbers in words beneath.

    Args:
        figure: the Matplotlib figure, drawn; what moves has `animated=True`.
        draw: called with one keyword argument a control; moves the artists and
            returns the caption, a sentence with the numbers that the picture shows.
        controls: one widget a name, each with a description: see `controls`.
        label: the explorer's name. A second explorer of the same name, as a cell
            that runs again makes it, takes the first one's place.
        alt: what the picture shows, in words, for readers who do not see it.
        play: the name of a whole-number slider to be given a play button.

    Attributes:
        controls: the widgets by name; setting `controls[name].value` moves them.
        live: all explorers of this kernel by label.

    Raises:
        ValueError: `alt` or `label` is blank; another explorer has this figure; there
            is no control, or one that is no slider, list or check box or that has no
            label; or `play` names no whole-number slider.
        Exception: whatever `draw` raises. It is shown in the explorer as well, since
            an error in a widget's callback reaches no cell.
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
    ):
        """See the class."""
        _check_arguments(label, alt, controls, play)
        _check_figure_is_free(figure, label)
        if label in Explorer.live:
            Explorer.live.pop(label).close_parts(keep=controls.values())
        plt.close(figure)  # a pyplot figure would be shown a second time
        self.controls = dict(controls)
        self._figure, self._draw = figure, draw
        self._label, self._alt = label, alt
        self._start = self._values()
        self._background, self._following = None, True
        figure.set_dpi(mpl.rcParams["figure.dpi"] * SHARPNESS)
        self._canvas = FigureCanvasAgg(figure)
        layout = {"grid_area": "1 / 1", "max_width": "100%", "height": "auto"}
        layout["margin"] = "0"  # outside of max_width, it would stick out
        width, height = (str(round(side / SHARPNESS)) for side in figure.bbox.size)
        self._still, self._moving = (
            _Picture(
                tooltip=words, format=form, layout=layout, width=width, height=height
            )
            for words, form in ((f"Axes of: {label}", "webp"), (alt, "png"))
        )
        self._caption, self._status = (
            widgets.HTML(layout={"min_height": room, "width": "98%"})
            for room in (CAPTION_ROOM, "1.6em")
        )
        self._show()
        figure.set_layout_engine("none")  # laid out once: axes never shift again

        reset = widgets.Button(description="Reset", tooltip=f"Reset {label}")
        reset.on_click(lambda _: self.reset())
        play_parts, self._links = _play(self.controls[play]) if play else ((), ())
        for control in self.controls.values():
            control.observe(self._on_change, "value")
        heading = widgets.HTML(f"<strong>{html.escape(label)}</strong>")
        self._buttons = widgets.HBox([*play_parts, reset])
        pictures = widgets.GridBox([self._still, self._moving])
        above = [heading, *self.controls.values(), self._buttons]
        super().__init__([*above, pictures, self._caption, self._status])
        self.add_class("explorer-live")
        Explorer.live[label] = self

    @property
    def caption(self) -> str:
        """The caption as it stands, plain text."""
        return self._words

    @property
    def status(self) -> str:
        """The error that the last change raised, or nothing."""
        return self._error

    @property
    def picture(self) -> Image.Image:
        """The picture as it stands."""
        return Image.alpha_composite(self._background, self._layer)

    def set(self, **values: Any) -> str:
        """Set several controls at once, and return the caption.

        Raises:
            ValueError: there is no control of a name, or it cannot take the value.
                Then no control has moved.
            Exception: whatever `draw` raises.
        """
        for name, value in values.items():
            if name not in self.controls:
                raise ValueError(f"{name}: expected one of {list(self.controls)}")
            if isinstance(value, np.generic):
                values[name] = value.item()
            check_value(name, self.controls[name], values[name])
        self._following = False
        try:
            for name, value in values.items():
                self.controls[name].value = value
        finally:
            self._following = True
        self._show()
        return self.caption

    def reset(self) -> None:
        """Put every control back where it started."""
        self.set(**self._start)

    def sweep(self, *, num_random: int = 0, seed: int = 0) -> dict[tuple, str]:
        """Move every control over its whole range, then back to where it was.

        Args:
            num_random: how many random settings of all controls to add.
            seed: for those settings.

        Returns:
            The caption of each setting, by the controls' values.

        Raises:
            Exception: whatever `draw` raises at any of them.
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

    def close_parts(self, *, keep=()) -> None:
        """Close this explorer and every widget in it, here and on the page.

        Args:
            keep: controls that another explorer goes on using.
        """
        for control in self.controls.values():
            control.unobserve(self._on_change, "value")
        parts = [self, *self._links]
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

    def _on_change(self, _):
        # A slider that was set here answers with the page's rounding of its value,
        # which shows nothing new, unless the picture could not be updated before.
        rounded = _same(self._values(), self._drawn) and not self._error
        if self._following and not rounded:
            self._show()

    def _show(self):
        self._drawn = self._values()
        try:
            words = self._draw(**self._drawn)
            if not isinstance(words, str):
                raise ValueError(
                    f"draw: returned {type(words).__name__}, expected the caption"
                )
            self._render()
        except Exception as error:
            self._error = f"{type(error).__name__}: {error}"
            self._status.value = (
                '<div role="alert">The figure could not be updated. '
                f"{html.escape(self._error)}</div>"
            )
            raise
        self._words, self._error = words, ""
        self._caption.value = (
            '<div role="status" aria-live="polite" style="line-height: 1.4">'
            f"{html.escape(self._words)}</div>"
        )
        self._status.value = ""

    def _render(self):
        figure, canvas = self._figure, self._canvas
        if self._background is None or figure.stale:
            canvas.draw()  # leaves animated artists out
            self._background = Image.fromarray(np.array(canvas.buffer_rgba()))
            self._still.value = _webp(self._background)
        canvas.get_renderer().clear()
        for owner in (*figure.axes, figure):
            moving = [part for part in owner.get_children() if part.get_animated()]
            for part in sorted(moving, key=lambda part: part.zorder):
                figure.draw_artist(part)
            if any(isinstance(part, AxesImage) for part in moving):
                for spine in owner.spines.values():  # the image covers their inside
                    figure.draw_artist(spine)
        layer = np.array(canvas.buffer_rgba())
        self._layer = Image.fromarray(layer)
        self._moving.value = _png(layer)

    def _ipython_display_(self):
        data, metadata = self._repr_mimebundle_()
        live = {WIDGET: data.pop(WIDGET)}
        display(data, metadata=metadata, raw=True)
        display(live, raw=True)
        display(
            HTML(
                f'{STYLE}<div class="explorer-words">'
                '<p class="explorer-hint">Run this cell to move the picture.</p>'
                '<details><summary style="font-size: 0.85em">This picture in words'
                f"</summary>{html.escape(self._alt)} At the start: "
                f"{html.escape(self._words)}</details></div>"
            )
        )

    def _repr_mimebundle_(self, **kwargs):
        # Without a kernel there is no widget to show: then the picture stands in.
        data = super()._repr_mimebundle_(**kwargs)
        png = _packed(self.picture.convert("RGB"), "PNG", optimize=True)
        data["image/png"] = base64.b64encode(png).decode()
        data["text/plain"] = f"{self._label}. {self._alt} {self.caption}"
        return data, {"image/png": {"alt": self._alt, "width": int(self._still.width)}}


def _same(values, others):
    """Whether two settings are equal, but for the rounding of numbers."""
    return all(
        value == others[name]
        or (
            isinstance(value, float)
            and math.isclose(value, others[name], rel_tol=1e-12, abs_tol=1e-14)
        )
        for name, value in values.items()
    )


def _png(layer):
    """The layer with a palette, which packs in a tenth of the time and is smaller.

    It has room for 255 colours beside none at all; where a layer has more, the nearest.
    Only what is drawn is looked at, mostly a small part of it.
    """
    drawn = layer[..., 3] > 0
    colours = layer.view(np.uint32)[drawn, 0]
    row = Image.fromarray(colours.view(np.uint8).reshape(1, -1, 4))
    counted = row.getcolors(255)
    if counted is None:
        row = row.quantize(255, method=Image.Quantize.FASTOCTREE).convert("RGBA")
        counted, colours = row.getcolors(255), np.asarray(row).view(np.uint32).ravel()
    palette = np.array([(0, 0, 0, 0), *(colour for _, colour in counted)], np.uint8)
    palette = np.unique(palette.view(np.uint32))  # 0: nothing drawn
    places = np.zeros(layer.shape[:2], np.uint8)
    places[drawn] = np.searchsorted(palette, colours)
    picture = Image.fromarray(places)
    picture.putpalette(palette.tobytes(), "RGBA")
    return _packed(picture, "PNG", compress_level=5)  # a quarter less time than 6


def _webp(background):
    # without loss, where quality is how hard to try and not how it looks
    return _packed(background, "WEBP", lossless=True, quality=10, method=1)


def _packed(picture, form, **options):
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


def _play(control):
    """A button that plays a slider, its clock on the page, and their two links."""
    clock = widgets.Play(
        value=control.value,
        min=control.min,
        max=control.max,
        step=control.step,
        interval=PLAY_INTERVAL_MS,
        layout={"display": "none"},  # the buttons that it brings have no names
    )
    button = widgets.ToggleButton(
        description="Play", tooltip=f"Play {control.description}"
    )
    links = (
        widgets.jslink((button, "value"), (clock, "playing")),
        widgets.jslink((clock, "value"), (control, "value")),
    )
    return (button, clock), links


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
        if each._figure is figure and each._label != label:
            raise ValueError(
                f"figure: the explorer {each._label!r} already draws on it, expected a "
                "figure of this explorer's own, made in the same cell"
            )
