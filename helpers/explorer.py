"""A figure with controls: drawn once, and only what moves is drawn and sent again.

The caller draws the figure and marks what will move with Matplotlib's own
`animated=True`. A change of a control calls the caller's `draw`, which moves those
artists and returns the caption. They alone are drawn again, on a transparent layer of
a few kB that lies over the background on the page. If anything else changed (a limit,
a tick), Matplotlib marks the figure stale, and the background is drawn and sent anew.
Nothing here knows what the picture means.
"""

import base64
import html
import io
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import ipywidgets as widgets
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from PIL import Image
from traitlets import Unicode

__all__ = ["Explorer", "choice", "slider", "toggle"]

# Picture pixels for one on the page, so that text is sharp on a dense screen.
SHARPNESS = 1.5
# A frame takes about 200 ms to cross a slow line; a faster clock would only queue.
PLAY_INTERVAL_MS = 400


def slider(label, low, high, value, *, step=None, log=False):
    """Return a labelled slider from `low` to `high`, both included.

    Args:
        label: what moves, with its unit: "sigma (min)".
        low: smallest value. Whole numbers throughout give a slider of whole numbers.
        high: largest value.
        value: where it starts.
        step: distance of two positions; a hundredth of the range if None.
        log: equal ratios instead of equal steps; `low` must be above 0.

    Raises:
        ValueError: `low`, `value`, `high` are not in order, or a log slider's `low`
            is not above 0.
    """
    if not low <= value <= high or low == high:
        raise ValueError(
            f"{label}: got low={low}, value={value}, high={high}, wanted low <= value "
            "<= high with low below high"
        )
    shared = {
        "description": label,
        "style": {"description_width": "14em"},
        "layout": {"width": "min(40em, 98%)"},
    }
    if log:
        if low <= 0:
            raise ValueError(f"{label}: got low={low}, wanted above 0 for a log slider")
        low, high = np.log10(low), np.log10(high)
        return widgets.FloatLogSlider(
            value, min=low, max=high, step=step or (high - low) / 100, **shared
        )
    if all(isinstance(number, int) for number in (low, high, value, step or 1)):
        return widgets.IntSlider(value, min=low, max=high, step=step or 1, **shared)
    step = step or (high - low) / 100
    return widgets.FloatSlider(value, min=low, max=high, step=step, **shared)


def choice(label, options, value=None):
    """Return a labelled list to choose one from; the first option if `value` is None.

    Raises:
        traitlets.TraitError: `value` is not one of the options.
    """
    options = list(options)
    return widgets.Dropdown(
        options=options,
        value=options[0] if value is None else value,
        description=label,
        style={"description_width": "14em"},
        layout={"width": "min(40em, 98%)"},
    )


def toggle(label, value=False):
    """Return a labelled check box."""
    return widgets.Checkbox(
        value, description=label, style={"description_width": "14em"}
    )


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
        controls: one widget a name, each with a description: see `slider`, `choice`,
            `toggle`.
        label: the explorer's name. A second explorer of the same name, as a cell
            that runs again makes it, takes the first one's place.
        alt: what the picture shows, in words, for readers who do not see it.
        play: the name of a whole-number slider to be given a play button.

    Attributes:
        controls: the widgets by name; setting `controls[name].value` moves them.
        live: all explorers of this kernel by label.

    Raises:
        ValueError: `alt` or `label` is blank, there is no control, a control has no
            label of its own, or `play` names no control.
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
        _require_words(label, alt, controls, play)
        plt.close(figure)  # or the notebook would show it a second time
        self.controls = dict(controls)
        self._figure, self._draw = figure, draw
        self._label, self._alt = label, alt
        self._start = self._values()
        self._background = None
        width, height = (round(side) for side in figure.bbox.size)
        figure.set_dpi(figure.get_dpi() * SHARPNESS)
        self._canvas = FigureCanvasAgg(figure)
        layout = {"grid_area": "1 / 1", "max_width": "100%", "height": "auto"}
        size = {"format": "webp", "width": str(width), "height": str(height)}
        self._still = _Picture(tooltip=f"Axes of: {label}", layout=layout, **size)
        self._moving = _Picture(tooltip=alt, layout=layout, **size)
        # Room for two lines is kept, so that a longer number moves nothing.
        self._caption = widgets.HTML(layout={"min_height": "2.8em", "width": "98%"})
        self._status = widgets.HTML(layout={"min_height": "1.6em", "width": "98%"})
        self._show(**self._start)
        figure.set_layout_engine("none")  # laid out once: axes never shift again

        reset = widgets.Button(description="Reset", tooltip=f"Reset {label}")
        reset.on_click(lambda _: self.reset())
        buttons = [reset] if play is None else [_play_button(controls[play]), reset]
        self._buttons = widgets.HBox(buttons)
        for control in self.controls.values():
            control.observe(self._on_change, "value")
        heading = widgets.HTML(f"<strong>{html.escape(label)}</strong>")
        super().__init__(
            [
                heading,
                *self.controls.values(),
                self._buttons,
                widgets.GridBox([self._still, self._moving]),
                self._caption,
                self._status,
            ]
        )
        if label in Explorer.live:
            Explorer.live[label].close_parts()
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

    def reset(self) -> None:
        """Put every control back where it started."""
        for name, value in self._start.items():
            self.controls[name].value = value

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
        settings = [
            before | {name: value}
            for name, control in self.controls.items()
            for value in _positions(control)
        ]
        random = np.random.default_rng(seed)
        for _ in range(num_random):
            picked = {
                name: (positions := _positions(control))[
                    random.integers(len(positions))
                ]
                for name, control in self.controls.items()
            }
            settings.append(picked)
        for setting in [*settings, before]:
            for name, value in setting.items():
                self.controls[name].value = value
            captions[tuple(self._values().values())] = self.caption
        return captions

    def close_parts(self) -> None:
        """Close this explorer and every widget in it, here and on the page."""
        parts = [self]
        for part in parts:
            parts.extend(getattr(part, "children", ()))
        for part in reversed(parts):
            part.close()

    def _values(self):
        return {name: control.value for name, control in self.controls.items()}

    def _on_change(self, _):
        self._show(**self._values())

    def _show(self, **values):
        try:
            words = str(self._draw(**values))
            self._render()
        except Exception as error:
            self._error = f"{type(error).__name__}: {error}"
            self._status.value = (
                '<div role="alert">The picture could not follow. '
                f"{html.escape(self._error)}</div>"
            )
            raise
        self._words, self._error = words, ""
        self._caption.value = (
            f'<div role="status" aria-live="polite">{html.escape(self._words)}</div>'
        )
        self._status.value = ""

    def _render(self):
        figure, canvas = self._figure, self._canvas
        if self._background is None or figure.stale:
            canvas.draw()  # leaves animated artists out
            self._background = Image.fromarray(np.array(canvas.buffer_rgba()))
            self._still.value = _webp(self._background, lossless=True)
        canvas.get_renderer().clear()
        has_image = False
        for owner in (*figure.axes, figure):
            moving = [part for part in owner.get_children() if part.get_animated()]
            for part in sorted(moving, key=lambda part: part.zorder):
                figure.draw_artist(part)
            if any(isinstance(part, AxesImage) for part in moving):
                has_image = True
                for spine in owner.spines.values():  # the image covers their inside
                    figure.draw_artist(spine)
        self._layer = Image.fromarray(np.array(canvas.buffer_rgba()))
        # Lines on nothing are smallest without loss, filled images with it.
        self._moving.value = _webp(self._layer, lossless=not has_image)

    def _repr_mimebundle_(self, **kwargs):
        # Without a kernel there is no widget to show: then the picture stands in.
        data = super()._repr_mimebundle_(**kwargs)
        png = io.BytesIO()
        self.picture.convert("RGB").save(png, "PNG", optimize=True)
        data["image/png"] = base64.b64encode(png.getvalue()).decode()
        data["text/plain"] = f"{self._label}. {self._alt} {self.caption}"
        return data, {"image/png": {"alt": self._alt, "width": int(self._still.width)}}


def _webp(picture, *, lossless):
    buffer = io.BytesIO()
    quality = 10 if lossless else 80  # without loss: how hard to try, not how it looks
    picture.save(buffer, "WEBP", lossless=lossless, quality=quality, method=1)
    return buffer.getvalue()


def _play_button(control):
    button = widgets.Play(
        value=control.value,
        min=control.min,
        max=control.max,
        step=control.step,
        interval=PLAY_INTERVAL_MS,
        description=control.description,
    )
    widgets.jslink((button, "value"), (control, "value"))
    return button


def _positions(control):
    """Values from one end of a control to the other: all, or 21 of them."""
    if hasattr(control, "options"):
        return [value for _, value in control._options_full]
    if isinstance(control, widgets.Checkbox):
        return [False, True]
    if isinstance(control, widgets.IntSlider):
        every = range(control.min, control.max + 1, control.step)
        return [*every[:: max(1, len(every) // 20)], control.max]
    ends = np.linspace(control.min, control.max, 21)
    if isinstance(control, widgets.FloatLogSlider):
        ends = control.base**ends
        ends[[0, -1]] = control.base**control.min, control.base**control.max
    return [float(value) for value in ends]


def _require_words(label, alt, controls, play):
    for name, words in {"label": label, "alt": alt}.items():
        if not words.strip():
            raise ValueError(f"{name}: got nothing, wanted some words")
    if not controls:
        raise ValueError("controls: got none, wanted at least one")
    for name, control in controls.items():
        if not control.description.strip():
            raise ValueError(f"controls[{name!r}]: got no description, wanted a label")
    if play is not None and not isinstance(controls.get(play), widgets.IntSlider):
        raise ValueError(
            f"play: got {play!r}, wanted the name of a whole-number slider"
        )
