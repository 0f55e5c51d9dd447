"""A pad to draw a digit on: 28 by 28 pixels, centred and scaled like those of MNIST."""

import base64
from collections.abc import Mapping
from pathlib import Path

import anywidget
import numpy as np
from jaxtyping import Float
from PIL import Image
from traitlets import Bytes, Instance, List, Unicode

from helpers.explorer import saved
from helpers.explorer.recorder import packed

__all__ = ["Pad", "as_mnist"]

SIDE = 28
# The digits of MNIST were scaled to this size before they were centred.
BOX = 20
SENT = 64  # as in pad.js
ZOOM = 5


class Pad(anywidget.AnyWidget):
    """A pad on which a digit is drawn by mouse or finger, or a sample is chosen.

    Args:
        samples: digits to choose from instead of drawing, by name, each with 28 by 28
            numbers from 0 for paper to 1 for ink. They can be chosen by keyboard.
        label: the name of the pad.

    Attributes:
        image: 28 by 28 numbers from 0 to 1, a new array after each stroke; see
            `as_mnist`. `pad.observe(function, "image")` calls a function each time.

    Raises:
        ValueError: if `label` is blank, or a sample has a different shape or range.
    """

    _esm = Path(__file__).with_name("pad.js").read_text("utf-8")
    label = Unicode().tag(sync=True)
    names = List().tag(sync=True)
    samples = Bytes().tag(sync=True)
    seen = Bytes(bytes(SIDE**2)).tag(sync=True)
    words = Unicode("The pad is empty.").tag(sync=True)
    image = Instance(np.ndarray)

    def __init__(
        self,
        samples: Mapping[str, Float[np.ndarray, "28 28"]] | None = None,
        *,
        label: str = "Draw a digit",
    ):
        """See the class."""
        if not (isinstance(label, str) and label.strip()):
            raise ValueError(f"label: got {label!r}, expected some words")
        self._samples = [
            _sample(name, image) for name, image in (samples or {}).items()
        ]
        super().__init__(
            label=label,
            names=[str(name) for name in samples or {}],
            samples=b"".join(_levels(image) for image in self._samples),
            image=np.zeros((SIDE, SIDE)),
        )
        self.add_class("explorer-live")
        self.on_msg(self._on_page)

    def clear(self) -> None:
        """Empty the pad."""
        self._show(np.zeros((SIDE, SIDE)), "The pad is empty.")

    def _on_page(self, _, content, buffers):
        if content["kind"] == "clear":
            self.clear()
        elif content["kind"] == "sample":
            index = content["index"]
            self._show(self._samples[index], f"Sample {self.names[index]}.")
        else:
            ink = np.frombuffer(bytes(buffers[0]), np.uint8).reshape(SENT, SENT)
            self._show(as_mnist(ink / 255), "Your drawing, 28 by 28.")

    def _show(self, image, words):
        with self.hold_sync():
            self.seen, self.words = _levels(image), words
        self.image = image

    def _repr_mimebundle_(self, **kwargs):
        data, metadata = super()._repr_mimebundle_(**kwargs)
        still = Image.fromarray(
            255 - np.frombuffer(self.seen, np.uint8).reshape(28, 28)
        )
        still = still.resize((ZOOM * SIDE, ZOOM * SIDE), Image.Resampling.NEAREST)
        data["image/png"] = base64.b64encode(packed(still, "PNG")).decode()
        data["text/plain"] = f"{self.label}. {self.words}"
        metadata["image/png"] = {"alt": data["text/plain"], "width": ZOOM * SIDE}
        return data, metadata

    def _ipython_display_(self):
        saved.show(self._repr_mimebundle_(), f"{self.label}. {self.words}")


def as_mnist(ink: Float[np.ndarray, "n n"]) -> Float[np.ndarray, "28 28"]:
    """Return a drawing, centred and scaled like the digits of MNIST.

    The drawing is cut out and scaled until its longer side has 20 pixels. Then it is
    placed with its centre of mass in the middle of the 28 by 28 pixels. An empty
    drawing stays empty.

    Args:
        ink: numbers from 0 for paper to 1 for ink.

    Source: LeCun, Cortes, Burges, "The MNIST database of handwritten digits".
    """
    ink = np.asarray(ink, float)
    image = np.zeros((SIDE, SIDE))
    rows, columns = (ink.any(axis=axis).nonzero()[0] for axis in (1, 0))
    if not len(rows):
        return image
    drawn = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = BOX / max(drawn.shape)
    height, width = (max(1, round(scale * side)) for side in drawn.shape)
    picture = Image.fromarray(drawn.astype(np.float32))
    # When it shrinks a picture, Pillow averages over all that becomes one pixel.
    small = np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR))
    total = small.sum()
    top = _start(small.sum(axis=1) @ np.arange(height) / total, height)
    left = _start(small.sum(axis=0) @ np.arange(width) / total, width)
    image[top : top + height, left : left + width] = np.clip(small, 0, 1)
    return image


def _start(centre, length):
    """Return the first row or column that puts the centre of mass in the middle."""
    start = round((SIDE - 1) / 2 - centre)
    return min(max(start, 0), SIDE - length)


def _levels(image):
    return np.rint(255 * image).astype(np.uint8).tobytes()


def _sample(name, image):
    image = np.asarray(image, float)
    if image.shape != (SIDE, SIDE):
        raise ValueError(
            f"samples[{name!r}]: got shape {image.shape}, expected (28, 28)"
        )
    if not (np.isfinite(image).all() and image.min() >= 0 and image.max() <= 1):
        raise ValueError(
            f"samples[{name!r}]: got numbers from {image.min()} to {image.max()}, "
            "expected 0 for paper to 1 for ink"
        )
    return image
