"""Moving artists of every kind, for the tests of what the page makes of them."""

import numpy as np
from matplotlib import patheffects
from matplotlib.collections import LineCollection
from matplotlib.markers import MarkerStyle
from matplotlib.patches import Circle, Ellipse, FancyArrowPatch, Rectangle
from matplotlib.path import Path

X = np.linspace(0.05, 0.95, 200)
FEW = X[::9]
SQUARES = np.add.outer(np.sin(6 * X[::12]), np.cos(9 * X[::15]))


def clipped_by(artist, axes, path):
    artist.set_clip_path(Path(path), axes.transData)
    return artist


def with_gap(axes):
    heights = np.sin(6 * X)
    heights[60:90] = np.nan
    return axes.plot(X, heights)


def scattered(axes, **options):
    return [axes.scatter(FEW, np.sin(6 * FEW), **options)]


# By name, a function that draws into axes and returns the artists.
DRAWINGS = {
    "line": lambda axes: axes.plot(X, np.sin(6 * X)),
    "crossing lines": lambda axes: axes.plot(X, np.sin(6 * X[:, None] + np.arange(4))),
    "line with a gap": with_gap,
    "line far outside": lambda axes: axes.plot(X, 1e7 * (X - 0.5)),
    "steps": lambda axes: axes.step(FEW, np.sin(6 * FEW), lw=3, alpha=0.5),
    "dashes": lambda axes: [
        *axes.plot(X, X, "--"),
        *axes.plot(X, -X, ":", lw=3),
        *axes.plot(X, 1 - X, linestyle=(4, (6, 2, 1, 2)), dash_capstyle="round"),
    ],
    "level lines": lambda axes: [axes.axhline(0.3), axes.axvline(0.4, ls="--", lw=2)],
    "stems": lambda axes: [axes.vlines(FEW, 0, np.sin(6 * FEW), color="C1")],
    "dots": lambda axes: axes.plot(FEW, FEW, "o"),
    "hollow dots": lambda axes: axes.plot(FEW, FEW, "o", ms=14, mfc="none", mew=2),
    "crosses": lambda axes: axes.plot(FEW, FEW, "k+", ms=22, mew=3),
    "squares on a line": lambda axes: axes.plot(FEW, FEW, "s-", mfc="w", markevery=3),
    "diamonds": lambda axes: axes.plot(FEW, FEW, "D", mfc="none", ms=12),
    "stars": lambda axes: axes.plot(FEW, FEW, "*", ms=15, alpha=0.5),
    "scatter": scattered,
    "scatter of sizes": lambda axes: scattered(axes, s=200 * FEW, alpha=0.5),
    "scatter of colours": lambda axes: scattered(axes, c=FEW, s=80, edgecolors="k"),
    "scatter of two colours": lambda axes: scattered(axes, c=FEW > 0.5),
    "scatter without edges": lambda axes: scattered(axes, c=FEW, edgecolors="none"),
    "scatter of squares": lambda axes: scattered(axes, marker="s", s=90),
    "scatter of triangles": lambda axes: scattered(axes, c=FEW, marker="^", s=90 * FEW),
    "scatter of half circles": lambda axes: scattered(
        axes, marker=MarkerStyle("o", fillstyle="top"), s=200
    ),
    "many lines": lambda axes: [
        axes.add_collection(
            LineCollection(
                [np.column_stack([X, np.sin(k * X)]) for k in range(5)],
                colors=[f"C{k}" for k in range(5)],
                linewidths=[1, 2, 3],
            )
        )
    ],
    "arrows": lambda axes: [
        axes.quiver(FEW, np.sin(6 * FEW), FEW, -FEW, color="C2", scale=8)
    ],
    "patches": lambda axes: [
        axes.add_patch(Rectangle((0.1, -1), 0.3, 1.5, fc="C1", ec="k", lw=2)),
        axes.add_patch(Circle((0.5, 0), 0.2, fc="C2", alpha=0.4)),
        axes.add_patch(Ellipse((0.7, 0.5), 0.4, 1, angle=30, fill=False, ec="C3")),
        axes.add_patch(
            FancyArrowPatch((0.1, 1), (0.9, 1.6), arrowstyle="->", mutation_scale=20)
        ),
    ],
    "bars": lambda axes: axes.bar([0.2, 0.5, 0.8], [1, -0.5, 1.5], 0.2, edgecolor="k"),
    "translucent": lambda axes: [
        axes.fill_between(X, X, low, alpha=0.4) for low in (-1.5, -1, -0.5)
    ],
    "filled contours": lambda axes: [
        axes.contourf(X, X, np.outer(X, np.sin(9 * X)), levels=9)
    ],
    "text": lambda axes: [axes.text(0.3, 0.5, "sigma 0.3")],
    "mathematics": lambda axes: [
        axes.text(0.2, 0.5, r"$\sigma_x^2 = \frac{1}{2}$", size=20, rotation=30)
    ],
    "text in a box": lambda axes: [
        axes.text(0.3, 0.5, "here", bbox={"boxstyle": "round", "fc": "w", "ec": "C0"})
    ],
    "annotation": lambda axes: [
        axes.annotate("touch", (0.2, 0), (0.6, 1), arrowprops={"arrowstyle": "->"})
    ],
    "outlined text": lambda axes: [
        axes.text(
            0.3,
            0.5,
            "halo",
            size=30,
            color="w",
            path_effects=[patheffects.withStroke(linewidth=4, foreground="k")],
        )
    ],
    "title": lambda axes: [axes.set_title("moving words")],
    "clipped by a path": lambda axes: [
        clipped_by(line, axes, [(0.2, -1), (0.8, -1), (0.5, 1.5)])
        for line in axes.plot(X, np.sin(60 * X), lw=3)
    ],
    "clipped by a path alone": lambda axes: [
        clipped_by(line, axes, [(0.2, -1), (0.8, -1), (0.5, 1.5)])
        for line in axes.plot(X, np.sin(60 * X), lw=3)
        if not line.set_clip_box(None)
    ],
    "not clipped": lambda axes: axes.plot([0.5, 1.1], [0, 3], clip_on=False, lw=4),
    "image": lambda axes: [
        axes.imshow(np.outer(X, X), extent=(0, 1, -2, 2), aspect="auto")
    ],
    "image of squares": lambda axes: [
        axes.imshow(SQUARES, extent=(0.1, 0.8, -1.5, 1), aspect="auto", cmap="gray")
    ],
    "image upside down": lambda axes: [
        axes.imshow(SQUARES, extent=(0.9, 0.2, 1, -1), aspect="auto", origin="lower")
    ],
    "smooth image": lambda axes: [
        axes.imshow(
            SQUARES, extent=(0, 1, -2, 2), aspect="auto", interpolation="bilinear"
        )
    ],
    "image over the frame": lambda axes: [
        axes.imshow(SQUARES, extent=(0.1, 1.1, -1, 1), aspect="auto", clip_on=False)
    ],
    "smooth image of colours": lambda axes: [
        axes.imshow(
            np.dstack([SQUARES / 4 + 0.5] * 3),
            extent=(0, 1, -2, 2),
            aspect="auto",
            interpolation="bilinear",
        )
    ],
    "translucent image": lambda axes: [
        axes.imshow(SQUARES, extent=(0, 1, -2, 2), aspect="auto", alpha=0.5)
    ],
    "image of colours": lambda axes: [
        axes.imshow(
            np.dstack([SQUARES % 1, SQUARES % 0.7, SQUARES % 0.5, SQUARES % 1]),
            extent=(0, 1, -2, 2),
            aspect="auto",
        )
    ],
    # What no shape can say becomes a picture.
    "hatching": lambda axes: [axes.fill_between(X, X, -1, hatch="//", alpha=0.5)],
    "sketch": lambda axes: [
        line for line in axes.plot(X, X) if not line.set_sketch_params(3, 20, 2)
    ],
    "shaded mesh": lambda axes: [
        axes.pcolormesh(FEW, FEW, np.outer(FEW, FEW), shading="gouraud")
    ],
    "mesh": lambda axes: [axes.pcolormesh(X, X, np.outer(X, X))],
    "small mesh": lambda axes: [axes.pcolormesh(FEW, FEW, np.outer(FEW, FEW)[1:, 1:])],
    "filter": lambda axes: [
        line
        for line in axes.plot(X, X, lw=8)
        if not line.set_agg_filter(lambda colors, dpi: (colors / 2, 0, 0))
    ],
}
