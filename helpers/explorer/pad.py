"""A pad to draw a digit on: 28 by 28 pixels, centred and scaled like those of MNIST."""

from collections.abc import Mapping
from pathlib import Path

import anywidget
import numpy as np
from jaxtyping import Float
from PIL import Image
from traitlets import Bytes, List, Unicode, observe

__all__ = ["Pad", "as_mnist"]

SIDE = 28
# The digits of MNIST were scaled to this size before they were centred.
BOX = 20
SENT = 64  # as in pad.js


class Pad(anywidget.AnyWidget):
    """A pad on which a digit is drawn or a sample is chosen: a control of an explorer.

    Args:
        samples: digits to choose from instead of drawing, by name, each with 28 by 28
            numbers from 0 for paper to 1 for ink. They can be chosen by keyboard.
        value: the name of the sample to start with, or "" for an empty pad.
        label: the name of the pad.

    Attributes:
        value: what is on the pad: the name of a sample, "" for nothing, or "drawing 1"
            and so on, a new name after each stroke.
        image: 28 by 28 numbers from 0 to 1; see `as_mnist`.
        description: the name of the pad.

    Raises:
        ValueError: if `label` is blank, a sample has a different shape or range, or
            `value` is not the name of a sample.
    """

    _esm = Path(__file__).with_name("pad.js").read_text("utf-8")
    description = Unicode().tag(sync=True)
    names = List().tag(sync=True)
    samples = Bytes().tag(sync=True)
    value = Unicode().tag(sync=True)
    seen = Bytes(bytes(SIDE**2)).tag(sync=True)

    def __init__(
        self,
        samples: Mapping[str, Float[np.ndarray, "28 28"]] | None = None,
        value: str = "",
        *,
        label: str = "Draw a digit",
    ):
        """See the class."""
        if not (isinstance(label, str) and label.strip()):
            raise ValueError(f"label: got {label!r}, expected some words")
        self._images = {"": np.zeros((SIDE, SIDE))}
        for name, image in (samples or {}).items():
            self._images[name] = _sample(name, image)
        if value not in self._images:
            raise ValueError(
                f"value: got {value!r}, expected one of {list(self._images)}"
            )
        self._num_drawn = 0
        _, *names = self._images
        super().__init__(
            description=label,
            names=names,
            samples=b"".join(_levels(self._images[name]) for name in names),
            value=value,
        )
        self.on_msg(self._on_page)

    @property
    def image(self) -> Float[np.ndarray, "28 28"]:
        """What is on the pad: numbers from 0 for paper to 1 for ink."""
        return self._images[self.value]

    @property
    def values(self) -> list[str]:
        """What `value` can be set to: nothing, the samples, and the last drawing."""
        return list(self._images)

    @observe("value")
    def _on_value(self, _):
        self.seen = _levels(self.image)

    def _on_page(self, _, content, buffers):
        if content["kind"] == "clear":
            self.value = ""
        elif content["kind"] == "sample":
            self.value = self.names[content["index"]]
        else:
            ink = np.frombuffer(bytes(buffers[0]), np.uint8).reshape(SENT, SENT)
            before = f"drawing {self._num_drawn}"
            self._num_drawn += 1
            name = f"drawing {self._num_drawn}"
            self._images[name] = as_mnist(ink / 255)
            self.value = name
            self._images.pop(before, None)


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
