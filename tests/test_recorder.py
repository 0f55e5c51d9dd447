"""The recorder: what it writes, drawn by Agg, must be the original picture."""

import base64
import io
import re

import matplotlib.pyplot as plt
import numpy as np
import pytest
from drawings import DRAWINGS, X
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.path import Path
from matplotlib.transforms import Affine2D, TransformedPath
from PIL import Image

from helpers.explorer.recorder import Recorder, moving_artists, png

# SVG's commands, each with Matplotlib's code and how many places it takes.
COMMANDS = {"l": (Path.LINETO, 1), "q": (Path.CURVE3, 2), "c": (Path.CURVE4, 3)}
DPI = 144


def read(text):
    """Return the path, in pixels, that SVG reads in a text."""
    vertices, codes, here, start = [], [], np.zeros(2), np.zeros(2)
    for letter, numbers in re.findall(r"([a-zA-Z])([^a-zA-Z]*)", text):
        places = np.array(re.findall(r"-?\d+", numbers), float).reshape(-1, 2)
        if letter == "z":
            vertices.append(start)
            codes.append(Path.CLOSEPOLY)
            here = start
        elif letter in "Mm":
            here = start = places[0] + (here if letter == "m" else 0)
            vertices.append(here)
            codes.append(Path.MOVETO)
            letter, places = "l", places[1:]
        if letter in COMMANDS:
            code, count = COMMANDS[letter]
            for group in places.reshape(-1, count, 2):
                vertices.extend(here + group)
                codes.extend([code] * count)
                here = here + group[-1]
    return Path(np.array(vertices) / 10, codes)


def circle(radius):
    return Path.unit_circle().transformed(Affine2D().scale(radius / 10))


def spread(shape):
    """Return each mark of a shape as a path and its own colours."""
    if "at" not in shape:
        return [(read(shape["d"]), shape)]
    steps = np.array(re.findall(r"-?\d+", shape["at"]), float).reshape(-1, 2)
    radii = [float(r) for r in str(shape.get("r", "0")).split()]
    marks = []
    for i, place in enumerate(steps.cumsum(axis=0) / 10):
        outline = read(shape["d"]) if "d" in shape else circle(radii[i % len(radii)])
        own = dict(shape)
        for name in {"fill", "stroke"} & shape.keys():
            every = [shape[name][k : k + 7] for k in range(0, len(shape[name]), 7)]
            own[name] = every[i % len(every)]
        marks.append((outline.transformed(Affine2D().translate(*place)), own))
    return marks


def paint(shapes, width, height):
    """Draw shapes by Agg, on nothing."""
    agg = RendererAgg(width, height, 72)
    up = Affine2D().scale(1, -1).translate(0, height)
    for shape in shapes:
        gc = agg.new_gc()
        bounds = [read(part) for part in shape.get("clip", "").split("|") if part]
        for part in bounds:
            gc.set_clip_path(TransformedPath(part, up))
        if len(bounds) == 2:  # Agg takes one path, and a box
            gc.set_clip_rectangle(bounds[0].get_extents(up))
        if "href" in shape:
            draw_image(agg, gc, shape, height)
            continue
        gc.set_snap(False)
        gc.set_antialiased("shape-rendering" not in shape)
        gc.set_capstyle(
            {"square": "projecting"}.get(
                shape.get("stroke-linecap"), shape.get("stroke-linecap", "butt")
            )
        )
        gc.set_joinstyle(shape.get("stroke-linejoin", "round"))
        gc.set_linewidth(shape.get("stroke-width", 0) / 10)
        if "stroke-dasharray" in shape:
            dashes = [int(n) / 10 for n in shape["stroke-dasharray"].split()]
            gc.set_dashes(shape.get("stroke-dashoffset", 0) / 10, dashes)
        for path, own in spread(shape):
            path.should_simplify = False
            face = None
            if "fill" in own:
                face = (*rgb(own["fill"]), own.get("fill-opacity", 1))
            if "stroke" in own:
                color = (*rgb(own["stroke"]), own.get("stroke-opacity", 1))
                gc.set_foreground(color, isRGBA=True)
            agg.draw_path(gc, path, up, face)
    return Image.fromarray(np.array(agg.buffer_rgba()))


def rgb(text):
    return [int(text[i : i + 2], 16) / 255 for i in (1, 3, 5)]


def draw_image(agg, gc, shape, height):
    data = base64.b64decode(shape["href"].removeprefix("data:image/png;base64,"))
    picture = Image.open(io.BytesIO(data)).convert("RGBA")
    x, y, wide, high = (round(shape[n] / 10) for n in ("x", "y", "width", "height"))
    cells = shape.get("image-rendering") == "pixelated"
    way = Image.Resampling.NEAREST if cells else Image.Resampling.BILINEAR
    colors = np.asarray(picture.resize((wide, high), way)).copy()
    colors[..., 3] = (colors[..., 3] * shape.get("opacity", 1)).astype(np.uint8)
    agg.draw_image(gc, x, height - y - high, colors[::-1])


@pytest.fixture
def drawn():
    """A function that draws a kind of artist, and records it."""

    def drawn(draw):
        figure, axes = plt.subplots(figsize=(4, 3))
        for artist in draw(axes):
            artist.set_animated(True)
        axes.set(xlim=(0, 1), ylim=(-2, 2))
        figure.set_dpi(DPI)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        return canvas, Recorder(canvas)

    yield drawn
    plt.close("all")


def recorded(canvas, recorder):
    found = moving_artists(canvas.figure)
    return [shape for artist in found for shape in recorder.shapes(artist)]


@pytest.mark.parametrize("kind", DRAWINGS)
def test_what_is_written_is_the_picture(kind, drawn):
    canvas, recorder = drawn(DRAWINGS[kind])
    background = Image.fromarray(np.array(canvas.buffer_rgba()))
    shapes = recorded(canvas, recorder)
    ours = Image.alpha_composite(background, paint(shapes, *background.size))
    agg = canvas.get_renderer()
    agg.clear()
    for artist in moving_artists(canvas.figure):
        artist.draw(agg)
    layer = Image.fromarray(np.array(canvas.buffer_rgba()))
    theirs = Image.alpha_composite(background, layer)
    apart = [
        (abs(np.asarray(one, int) - np.asarray(theirs, int)).max(axis=2) > 64).mean()
        for one in (ours, background)
    ]
    assert apart[0] <= 0.01
    assert apart[0] < apart[1]


PICTURES = ["hatching", "sketch", "shaded mesh", "mesh", "filter", "filled contours"]


@pytest.mark.parametrize("kind", DRAWINGS)
def test_only_what_cannot_be_written_becomes_a_picture(kind, drawn):
    shapes = recorded(*drawn(DRAWINGS[kind]))
    has_picture = any("href" in shape for shape in shapes)
    assert has_picture == ("image" in kind or "mesh" in kind or kind in PICTURES)


@pytest.mark.parametrize(
    ("draw", "reason"),
    [
        (lambda axes: axes.plot(X, X, visible=False), "invisible"),
        (lambda axes: axes.plot([], []), "no points"),
        (lambda axes: axes.plot(X, X * np.nan), "no numbers"),
        (lambda axes: axes.plot(X, X, "o", alpha=0), "transparent"),
        (lambda axes: [axes.scatter([], [])], "no dots"),
        (lambda axes: [axes.scatter(X, X, c="none")], "no colour"),
        (lambda axes: [axes.imshow(np.eye(3), visible=False)], "invisible image"),
        (
            lambda axes: [axes.imshow(np.zeros((0, 0)), extent=(0, 1, 0, 1))],
            "empty image",
        ),
        (lambda axes: [axes.text(0.5, 0.5, "")], "no letters"),
        (
            lambda axes: [axes.fill_between(X, X, hatch="/", visible=False)],
            "no hatching",
        ),
    ],
)
def test_what_is_not_seen_is_not_written(draw, reason, drawn):
    shapes = recorded(*drawn(draw))
    assert [shape for shape in shapes if "href" in shape or "at" in shape] == []
    outlines = [shape for shape in shapes if "clip" in shape]
    assert outlines == []


@pytest.mark.parametrize(
    "draw",
    [
        lambda axes: [axes.fill([0, 1, 1e9], [0, 1e9, 0])[0]],  # beyond all pixels
        lambda axes: [axes.scatter(np.tile(X, 11), np.tile(X, 11))],  # too many
        lambda axes: [axes.scatter(np.tile(X, 11), np.tile(X, 11), c=np.tile(X, 11))],
        lambda axes: [axes.imshow(np.eye(9), alpha=np.eye(9), extent=(0, 1, 0, 1))],
        lambda axes: [
            axes.imshow(np.eye(5), interpolation="bilinear", extent=(0, 1, 0, 1))
        ],
    ],
)
def test_what_would_be_wrong_or_long_becomes_a_picture(draw, drawn):
    shapes = recorded(*drawn(draw))
    assert all("href" in shape for shape in shapes if "stroke" not in shape)
    assert any("href" in shape for shape in shapes)


def test_a_picture_of_nothing_is_none(drawn):
    canvas, recorder = drawn(
        lambda axes: [axes.fill_between(X, X + 9, 12, hatch="/", clip_on=True)]
    )
    assert recorded(canvas, recorder) == []


def test_places_in_a_curve_are_steps_of_tenths(drawn):
    canvas, recorder = drawn(lambda axes: axes.plot([0, 0.5, 1], [-2, 0, 2]))
    (line,) = recorded(canvas, recorder)
    axes = canvas.figure.axes[0]
    ends = read(line["d"]).vertices[[0, -1]]
    corners = axes.transData.transform([(0, -2), (1, 2)])
    expected = np.column_stack([corners[:, 0], recorder.height - corners[:, 1]])
    np.testing.assert_allclose(ends, expected, atol=0.05)


@pytest.mark.parametrize("num_colors", [1, 2, 200, 256, 1000])
def test_a_png_has_the_colours(num_colors):
    levels = np.arange(40 * 40) % num_colors
    colors = np.zeros((40, 40, 4), np.uint8)
    colors[..., 0] = (levels % 256).reshape(40, 40)
    colors[..., 1] = (levels // 256 * 50).reshape(40, 40)
    colors[..., 3] = 255
    found = np.asarray(Image.open(io.BytesIO(png(colors))).convert("RGBA"))
    apart = abs(found.astype(int) - colors)
    assert apart.max() <= (0 if num_colors <= 256 else 40)


def test_the_reader_reads_a_path_written_by_hand():
    path = read("M10 20l30-10 0 20zm-5 5q10 0 20 20c1 1 2 2 30 30")
    assert path.codes.tolist() == [1, 2, 2, 79, 1, 3, 3, 4, 4, 4]
    expected = [[1, 2], [4, 1], [4, 3], [1, 2], [0.5, 2.5]]
    np.testing.assert_allclose(path.vertices[:5], expected)
    np.testing.assert_allclose(path.vertices[-1], [5.5, 7.5])
