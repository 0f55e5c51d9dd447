"""The view alone on an empty page: its pixels, and what the pointer tells."""

import io
import json
import zlib
from base64 import b64encode

import matplotlib.pyplot as plt
import numpy as np
import pytest
from drawings import DRAWINGS
from lab import share_apart
from PIL import Image

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
    without = bare.pixels()
    bare.show(sent(explorer))
    ours = bare.pixels()
    theirs = np.asarray(explorer.picture.convert("RGB"), int)
    apart = share_apart(ours, theirs)
    print(kind, apart)
    if apart > EDGES:
        Image.fromarray(np.hstack([ours, theirs]).astype(np.uint8)).save(f"/tmp/apart_{kind.replace(' ','_')}.png")
    screenshot(bare.page.locator(".explorer-picture"), kind)
    assert apart <= EDGES
    # And it is not blind: without the artists, more than the edges differ.
    assert share_apart(without, theirs) > apart
