"""Draw figures in one style. Most functions take an `Axes` and return its artists.

Each quantity has the same colour in all six notebooks: use
`axes.plot(x, y, **INK["elbo"])`.
"""

import html
import io
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from IPython import get_ipython
from IPython.display import HTML, display
from jaxtyping import Array, Float, Int
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Ellipse
from matplotlib.text import Annotation
from PIL import Image

from helpers.gaussian import Gaussian
from helpers.mixture import Mixture

__all__ = [
    "COLORS",
    "COMPONENTS",
    "DIGITS",
    "INK",
    "contours",
    "ellipses",
    "image_grid",
    "label_end",
    "labelled_points",
    "mosaic",
    "road",
    "show",
    "show_images",
    "subplots",
    "table",
    "use_course_style",
]

# The colours of Okabe and Ito 2008, which can be distinguished with every common form
# of colour blindness. Their yellow is left out, since a thin yellow line is hard to see
# on white.
COLORS = {
    "blue": "#0072B2",
    "orange": "#D55E00",
    "green": "#009E73",
    "purple": "#CC79A7",
    "sky": "#56B4E9",
    "amber": "#E69F00",
    "black": "#000000",
}

# The colour and line of each quantity, as keyword arguments for `plot`. Those of
# "gap_area" are for `fill_between`, and those of "data" also work for `scatter`.
INK = {
    # log p(x), l(theta), the ground truth
    "log_p": {"color": COLORS["black"], "linestyle": "-", "linewidth": 2},
    # the bound: ELBO, F(q, theta)
    "elbo": {"color": COLORS["blue"], "linestyle": "-", "linewidth": 2},
    # KL(q || posterior)
    "gap": {"color": COLORS["orange"], "linestyle": "-", "linewidth": 2},
    "gap_area": {"color": COLORS["orange"], "alpha": 0.25, "linewidth": 0},
    # KL(q || prior), the regulariser
    "kl_prior": {"color": COLORS["amber"], "linestyle": "-", "linewidth": 2},
    "reconstruction": {"color": COLORS["sky"], "linestyle": "-", "linewidth": 2},
    "q": {"color": COLORS["purple"], "linestyle": "-", "linewidth": 2},
    # the exact posterior p(z | x)
    "posterior": {"color": COLORS["green"], "linestyle": "-", "linewidth": 2},
    "prior": {"color": "#808080", "linestyle": "--", "linewidth": 2},
    "data": {"color": "#404040", "linestyle": "none", "marker": "o"},
    # The four gradient estimators of 06 have colours from Paul Tol's "muted" scheme.
    "pathwise": {"color": "#332288", "linestyle": "-", "linewidth": 2},
    "score_function": {"color": "#882255", "linestyle": "--", "linewidth": 2},
    "constant_baseline": {"color": "#117733", "linestyle": "-.", "linewidth": 2},
    "leave_one_out": {"color": "#999933", "linestyle": ":", "linewidth": 2},
}

# The colours of the components of a mixture. Use them only in the plane of x: on an
# axis of nats, the same colours stand for the quantities above.
COMPONENTS = (COLORS["blue"], COLORS["orange"], COLORS["green"])

# A colour for each digit from 0 to 9: those above, and three of Paul Tol's "muted".
DIGITS = (*COLORS.values(), "#882255", "#999933", "#332288")

# The margin and corners of a stored picture, in pixels at the size as displayed.
MARGIN = 8
CORNER_RADIUS = 8


def use_course_style() -> None:
    """Set the course's colours, sizes and layout for all later figures.

    It starts from Matplotlib's own defaults and ignores the user's matplotlibrc: there,
    an origin at the bottom would turn images upside down, and white text would be
    invisible on white. Only the backend, and other settings that do not concern the
    style, stay as the user has set them.
    """
    mpl.rcdefaults()
    plt.rcParams.update(
        {
            "axes.prop_cycle": plt.cycler(color=list(COLORS.values())),
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlesize": 11,
            "axes.titlelocation": "left",
            "axes.labelsize": 10,
            "contour.linewidth": 1,
            "contour.negative_linestyle": "solid",
            "figure.constrained_layout.use": True,
            "figure.dpi": 96,
            "savefig.dpi": 144,
            "figure.facecolor": "white",
            "font.size": 10,
            "image.cmap": "cividis",
            "legend.frameon": False,
            "lines.linewidth": 2,
        }
    )


def subplots(rows: int = 1, columns: int = 1, *, figsize, **options):
    """Return a figure and its axes like `plt.subplots`, but do not show it yet.

    A notebook shows every open pyplot figure at the end of the cell. This figure is
    shown only by `show` or by an `Explorer`.

    Args:
        rows: rows of axes.
        columns: columns of axes.
        figsize: width and height in inches.
        **options: passed to `Figure.subplots`, such as `sharex`.

    Returns:
        The figure, and one `Axes` or an array of them.
    """
    figure = Figure(figsize=figsize)
    return figure, figure.subplots(rows, columns, **options)


def show(figure: Figure, *, alt: str) -> None:
    """Display a figure with its alternative text.

    The text goes into the picture's metadata, where nbconvert's classic template finds
    it. JupyterLab and nbconvert's default template do not use it, so the text is also
    in a line that can be unfolded below the picture. The picture has a small white
    margin and rounded corners, so that it looks like a card on a dark page.

    Without a kernel, in a notebook that was converted to a script, the text is printed.

    Args:
        figure: a Matplotlib figure.
        alt: what the figure shows, in words.

    Raises:
        ValueError: if `alt` is blank.
    """
    if not alt.strip():
        raise ValueError(f"alt: got {alt!r}, expected what the figure shows, in words")
    if not _in_kernel():
        plt.close(figure)
        print(f"[Figure: {alt}]")
        return
    png = _as_card(figure)
    plt.close(figure)  # a pyplot figure would be shown a second time
    width = round(figure.bbox.width) + 2 * MARGIN
    display(
        {"image/png": b64encode(png).decode(), "text/plain": alt},
        metadata={"image/png": {"alt": alt, "width": width}},
        raw=True,
    )
    display(
        HTML(
            '<details><summary style="font-size: 0.85em">This figure in words'
            f"</summary>{html.escape(alt)}</details>"
        )
    )


def _in_kernel():
    return getattr(get_ipython(), "kernel", None) is not None


def _as_card(figure):
    """Return the figure as a PNG with a white margin and transparent round corners."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", pil_kwargs={"compress_level": 0})
    picture = Image.open(buffer)
    scale = picture.width / figure.bbox.width  # stored pixels per displayed pixel
    margin = round(scale * MARGIN)
    size = (picture.width + 2 * margin, picture.height + 2 * margin)
    card = Image.new("RGB", size, "white")
    card.paste(picture, (margin, margin), picture)
    opacity = _rounded(card.height, card.width, scale)
    # With a palette the file is a third as large. No colour changes by more than a few
    # of its 256 levels, and with `kmeans` the colours of large areas are kept: without
    # it, a grey area may turn green. The last 16 entries of the palette are white, from
    # transparent to opaque.
    cut = card.quantize(
        240, Image.Quantize.MAXCOVERAGE, kmeans=1, dither=Image.Dither.NONE
    )
    colors = cut.getpalette()[: 3 * 240]
    pixels = np.where(opacity == 255, np.asarray(cut), 240 + (opacity + 8.0) // 17)
    card = Image.fromarray(np.uint8(pixels)).convert("P")
    card.putpalette(colors + [255] * (3 * 256 - len(colors)))
    opacities = bytes(240 * [255] + [17 * level for level in range(16)])
    buffer = io.BytesIO()
    card.save(
        buffer,
        format="PNG",
        dpi=(96 * scale, 96 * scale),
        transparency=opacities,
        optimize=True,
    )
    return buffer.getvalue()


def _rounded(height, width, scale):
    """Return the opacity of each pixel: 255, and 0 in the corners with smooth edges."""
    radius = scale * CORNER_RADIUS
    # How far each pixel lies beyond the centre of the circle in its corner.
    across, up = (
        np.maximum(abs(np.arange(size) + 0.5 - size / 2) - (size / 2 - radius), 0)
        for size in (width, height)
    )
    distance = np.hypot(across, up[:, None])
    return np.uint8(255 * np.clip(radius - distance + 0.5, 0, 1))


def label_end(
    axes: Axes,
    line: Line2D | tuple[Any, Any],
    text: str,
    *,
    raised: float = 0.0,
    **style,
) -> Annotation:
    """Write a label to the right of the end of a curve, in the curve's colour.

    It replaces a legend: `label_end(axes, *axes.plot(x, y), "ELBO")`, or
    `label_end(axes, (x, y), "ELBO", color=...)` for a curve that was drawn in another
    way. A pale colour is darkened until it is legible on white. The end is the last
    point within the limits of the axes, so set the limits first. The layout of the
    course leaves room for the text, so it is not cut off at the edge of the figure.

    Args:
        axes: where the curve is.
        line: one line that `plot` returned, or a pair with the x and y of its points.
        text: the label; mathematics goes between dollar signs.
        raised: how far to raise the text, in points, if two curves end close together.
        **style: passed to `annotate`, for example `color`.

    Returns:
        Matplotlib's annotation.

    Raises:
        ValueError: if no point of the curve is finite and within the limits, or x and y
            differ in length.
    """
    if isinstance(line, Line2D):
        style = {"color": _darkened(line.get_color())} | style
        line = line.get_data()
    x, y = (np.asarray(each, float) for each in line)
    if x.ndim != 1 or x.shape != y.shape:
        raise ValueError(
            f"line: got x of shape {x.shape} and y of shape {y.shape}, expected (n,) "
            "for both"
        )
    left, right = sorted(axes.get_xlim())
    bottom, top = sorted(axes.get_ylim())
    inside = (left <= x) & (x <= right) & (bottom <= y) & (y <= top)  # nan is not
    if not inside.any():
        raise ValueError(
            f"line: got {len(x)} points, expected at least one within the axes' "
            f"limits, x from {left:g} to {right:g} and y from {bottom:g} to {top:g}"
        )
    end = np.flatnonzero(inside)[-1]
    place = {
        "xytext": (5, raised),
        "textcoords": "offset points",
        "va": "center",
        "annotation_clip": False,
    }
    return axes.annotate(text, (x[end], y[end]), **(place | style))


def _darkened(color):
    """Darken a colour until its contrast on white is 4.5 to 1, as text needs."""
    rgb = np.array(to_rgb(color))
    while 1.05 / (_luminance(rgb) + 0.05) < 4.5:
        rgb *= 0.98
    return tuple(rgb)


def _luminance(rgb):
    """Return the relative luminance, as WCAG 2 defines it."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


def ellipses(
    axes: Axes,
    params: Gaussian | Mixture,
    *,
    num_sigmas: Sequence[float] = (1.0, 2.0),
    colors: Sequence[str] = tuple(COLORS.values()),
    **style,
) -> list[Ellipse]:
    """Draw ellipses around each component, at the given numbers of standard deviations.

    Args:
        axes: where to draw.
        params: a Gaussian or a Mixture in two dimensions.
        num_sigmas: the sizes of the ellipses, in standard deviations.
        colors: one per component; they repeat if there are more components.
        **style: passed to each `Ellipse`, such as `animated=True`.

    Returns:
        The ellipses, component by component.

    Raises:
        ValueError: if the means are not in two dimensions.
    """
    patches = []
    for index, (mean, covariance) in enumerate(_components(params)):
        lengths, directions = np.linalg.eigh(covariance)
        angle = np.degrees(np.arctan2(*directions[::-1, 1]))
        for num_sigma in num_sigmas:
            width, height = 2 * num_sigma * np.sqrt(lengths[::-1])
            look = {"fill": False, "edgecolor": colors[index % len(colors)], "lw": 1.5}
            patch = Ellipse(mean, width, height, angle=angle, **(look | style))
            patches.append(axes.add_patch(patch))
    return patches


def contours(
    axes: Axes,
    function: Callable[[Float[np.ndarray, "m 2"]], Float[np.ndarray, " m"]],
    *,
    num: int = 100,
    filled: bool = False,
    **style,
):
    """Draw contour lines of a function of two variables within the limits of the axes.

    Args:
        axes: where to draw; set its limits first.
        function: takes points `m 2` and returns their `m` values.
        num: number of grid points per axis.
        filled: whether to fill the areas between the levels.
        **style: passed to Matplotlib, such as `levels`.

    Returns:
        Matplotlib's contour set.

    Raises:
        ValueError: if the function does not return `m` values.
    """
    across = np.linspace(*axes.get_xlim(), num)
    up = np.linspace(*axes.get_ylim(), num)
    points = np.stack(np.meshgrid(across, up), axis=-1).reshape(-1, 2)
    values = np.asarray(function(points))
    if values.shape != (num * num,):
        raise ValueError(
            f"function: got shape {values.shape} for {num * num} points, expected one "
            "value per point"
        )
    draw = axes.contourf if filled else axes.contour
    return draw(across, up, values.reshape(num, num), **style)


def image_grid(
    axes: Axes, images: Float[np.ndarray, "rows columns height width"], **style
):
    """Draw images edge to edge in one grid, with a thin gap between them.

    Args:
        axes: where to draw; its ticks and frame are removed.
        images: grey values, `rows columns height width`.
        **style: passed to `imshow`.

    Returns:
        Matplotlib's image.

    Raises:
        ValueError: if `images` does not have four axes.
    """
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    return axes.imshow(mosaic(images), **({"cmap": "gray_r"} | style))


def mosaic(images: Float[np.ndarray, "rows columns height width"]) -> np.ndarray:
    """Join images into the single picture that `image_grid` draws, for `set_data`.

    Raises:
        ValueError: if `images` does not have four axes.
    """
    images = np.asarray(images)
    if images.ndim != 4:
        raise ValueError(
            f"images: got shape {images.shape}, expected (rows, columns, height, width)"
        )
    framed = np.pad(images, ((0, 0), (0, 0), (1, 0), (1, 0)), constant_values=np.nan)
    rows, columns, height, width = framed.shape
    return framed.swapaxes(1, 2).reshape(rows * height, columns * width)[1:, 1:]


def show_images(
    rows: Mapping[str, Float[np.ndarray, "n d"] | Float[Array, "n d"]], *, alt: str
) -> None:
    """Display rows of square grey images, with the name of each row on its left.

    Args:
        rows: for each name, the same number of flat images; 0 is white, 1 is black.
        alt: as for `show`.

    Raises:
        ValueError: if the images are not square, the rows differ in shape, or `alt` is
            blank.
    """
    shapes = sorted({np.shape(images) for images in rows.values()})
    side = round(shapes[0][-1] ** 0.5) if len(shapes) == 1 else 0
    if not side or shapes[0] != (shapes[0][0], side * side):
        raise ValueError(
            f"rows: got shapes {shapes}, expected one (n, d) for all, d a square number"
        )
    images = np.reshape([*rows.values()], (len(rows), -1, side, side))
    figure, axes = subplots(figsize=(0.62 * images.shape[1] + 1.4, 0.64 * len(rows)))
    image_grid(axes, images, vmin=0, vmax=1)
    axes.set_yticks((side + 1) * np.arange(len(rows)) + (side - 1) / 2, labels=rows)
    axes.tick_params(length=0)
    axes.set_anchor("E")  # leave the remaining width to the names
    show(figure, alt=alt)


def labelled_points(
    axes: Axes, points: Float[np.ndarray, "n 2"], labels: Int[np.ndarray, " n"], **style
) -> list[PathCollection]:
    """Draw each point as its label, with a different colour for each label.

    Args:
        axes: where to draw.
        points: `n 2`.
        labels: `n` whole numbers from 0 to 9.
        **style: passed to `scatter`.

    Returns:
        Matplotlib's collections, one per label.
    """
    points = np.asarray(points)
    labels = np.asarray(labels)
    collections = []
    for label in np.unique(labels):
        look = {"marker": f"${label}$", "s": 30, "lw": 0.2, "color": DIGITS[label]}
        look |= style
        collections.append(axes.scatter(*points[labels == label].T, **look))
    return collections


def _components(params):
    """Yield the mean `2` and covariance `2 2` of each component, as NumPy arrays."""
    if isinstance(params, Gaussian):
        means = np.asarray(params.mean)[None]
        spreads = [np.asarray(params.variance)]
    else:
        means = np.asarray(params.means)
        spreads = np.asarray(params.covariances)
    if means.shape[1] != 2:
        raise ValueError(
            f"params: got means of shape {means.shape}, expected two dimensions"
        )
    for mean, spread in zip(means, spreads, strict=True):
        yield mean, spread if spread.ndim == 2 else spread * np.eye(2)


# The six notebooks, each with the position of its box along the road, in inches.
STRETCHES = {
    "MLE revisited": 0.80,
    "Three cases": 2.52,
    "ELBO": 3.89,
    "EM": 4.92,
    "VAE": 5.89,
    "Reparameterization": 7.53,
}


def road(stretch: str) -> None:
    """Display the road from MLE to EM to VAE, with one stretch highlighted.

    Args:
        stretch: "MLE revisited", "Three cases", "ELBO", "EM", "VAE" or
            "Reparameterization".

    Raises:
        ValueError: if `stretch` is not one of these.
    """
    if stretch not in [*STRETCHES]:
        raise ValueError(f"stretch: got {stretch!r}, expected one of {[*STRETCHES]}")
    figure, axes = subplots(figsize=(8.5, 0.8))
    axes.set(xlim=(0, 8.5), ylim=(-0.4, 0.4))
    axes.set_axis_off()
    along = np.linspace(0, 8.5, 400)
    height = 0.09 * np.sin(2.8 * along)
    axes.plot(along, height, color="0.90", linewidth=13)
    axes.plot(along, height, color="white", linewidth=1.5, dashes=(5, 4))
    for name, place in STRETCHES.items():
        lit = name == stretch
        box = {
            "boxstyle": "round,pad=0.45,rounding_size=0.4",
            "facecolor": COLORS["blue"] if lit else "white",
            "edgecolor": COLORS["blue"] if lit else "0.75",
        }
        axes.text(
            place,
            0,
            name,
            color="white" if lit else "0.30",
            fontsize=11,
            ha="center",
            va="center",
            bbox=box,
        )
    *first, last = STRETCHES
    show(
        figure,
        alt=f"The road of this course in six stretches: {', '.join(first)} and "
        f"{last}. The stretch of this notebook, {stretch}, is highlighted.",
    )


def table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Display a table with a heading above each column, as HTML and as plain text.

    A column of numbers is aligned on the right, a column of words on the left.

    Args:
        heads: the headings, one per column, with the unit: "spread (min)".
        rows: one cell per column; format the numbers first: f"{spread:.2f}".

    Raises:
        ValueError: if a row has more or fewer cells than there are headings.
    """
    rows = [[str(cell) for cell in row] for row in rows]
    for index, row in enumerate(rows):
        if len(row) != len(heads):
            raise ValueError(
                f"rows[{index}]: got {len(row)} cells, expected {len(heads)}, one per "
                "heading"
            )
    display(_Table(heads, rows))


class _Table:
    """A table that Jupyter shows as HTML, and other programs as text."""

    def __init__(self, heads, rows):
        self.lines = [list(heads), *rows]
        columns = zip(*self.lines, strict=True)
        self.on_the_right = [all(map(_is_number, cells[1:])) for cells in columns]

    def __repr__(self):
        widths = [max(map(len, cells)) for cells in zip(*self.lines, strict=True)]
        lines = [
            "  ".join(
                cell.rjust(width) if right else cell.ljust(width)
                for cell, width, right in zip(
                    line, widths, self.on_the_right, strict=True
                )
            ).rstrip()
            for line in self.lines
        ]
        rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
        return "\n".join([lines[0], rule, *lines[1:]])

    def _repr_html_(self):
        head = self._html_row(self.lines[0], "th")
        body = "".join(self._html_row(line, "td") for line in self.lines[1:])
        return f"<table><thead>{head}</thead><tbody>{body}</tbody></table>"

    def _html_row(self, line, tag):
        cells = ""
        for cell, right in zip(line, self.on_the_right, strict=True):
            side = "right" if right else "left"
            cells += f'<{tag} style="text-align: {side}">{html.escape(cell)}</{tag}>'
        return f"<tr>{cells}</tr>"


def _is_number(cell):
    """Whether a cell is a number, with a sign, an exponent or a percent sign."""
    try:
        float(cell.replace(",", "").replace("\u2212", "-").rstrip(" %"))
    except ValueError:
        return False
    return True
