"""An explorer that is moved many times takes no more memory than one moved a few."""

import gc
import tracemalloc

import matplotlib.pyplot as plt
import numpy as np

from helpers.explorer import Explorer, slider


def test_many_moves_do_not_fill_the_memory():
    figure, axes = plt.subplots(figsize=(1.5, 1))
    positions = np.linspace(0, 1, 200)
    (line,) = axes.plot(positions, positions, animated=True)

    def draw(height):
        line.set_ydata(height * np.sin(positions))
        return f"height {height:.3f}"

    controls = {"height": slider("Height", 0.0, 1.0, 0.5)}
    shown = Explorer(figure, draw, controls, label="Memory", alt="A curve.")

    def some_moves():
        for height in np.linspace(0, 1, 40):
            shown.controls["height"].value = height
        gc.collect()

    some_moves()
    tracemalloc.start()
    try:
        some_moves()
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(5):
            some_moves()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        shown.close_parts()
        Explorer.live.clear()
    # Matplotlib and traitlets fill small caches, about 60 kB at first and then no more.
    # One picture of this size takes 135 kB.
    assert after - before < 100_000
