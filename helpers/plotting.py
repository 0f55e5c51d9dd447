"""Figures in one style: each function takes an `Axes` and returns its artists."""

import html
import io
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import HTML, display
from jaxtyping import Array, Float, Int
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse

from helpers.gaussian import Gaussian
from helpers.mixture import Mixture

__all__ = [
    "COLORS",
    "contours",
    "ellipses",
    "image_grid",
    "labelled_points",
    "mosaic",
    "road",
    "show",
    "show_images",
    "subplots",
    "table",
    "use_course_style",
]

# Okabe and Ito 2008: told apart with every common form of colour blindness. Their
# yellow is left out, since a thin yellow line is hard to see on white.
COLORS = {
    "blue": "#0072B2",
    "orange": "#D55E00",
    "green": "#009E73",
    "purple": "#CC79A7",
    "sky": "#56B4E9",
    "amber": "#E69F00",
    "black": "#000000",
}


def use_course_style() -> None:
    """Set the course's colours, sizes and layout for all later figures."""
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
    """Return a figure and its axes like `plt.subplots`, which no cell shows unasked.

    A notebook shows each open pyplot figure at the end of its cell. This one waits for
    `show`, or for an `Explorer`.

    Args:
        rows: rows of axes.
        columns: columns of axes.
        figsize: width and height in inches.
        **options: passed to `Figure.subplots`, `sharex` among others.

    Returns:
        The figure, and one `Axes` or an array of them.
    """
    figure = Figure(figsize=figsize)
    return figure, figure.subplots(rows, columns, **options)


def show(figure: Figure, *, alt: str) -> None:
    """Display a figure with its alternative text.

    The words go into the picture's metadata, where nbconvert's classic template finds
    them, and into a line to unfold beneath: JupyterLab and nbconvert's own template
    give a stored picture no alternative text.

    Args:
        figure: a Matplotlib figure.
        alt: what it shows, in words.

    Raises:
        ValueError: `alt` is blank.
    """
    if not alt.strip():
        raise ValueError("alt: got nothing, wanted what the figure shows in words")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    plt.close(figure)  # a pyplot figure would be shown a second time
    width = round(figure.bbox.width)
    display(
        {"image/png": b64encode(buffer.getvalue()).decode(), "text/plain": alt},
        metadata={"image/png": {"alt": alt, "width": width}},
        raw=True,
    )
    display(
        HTML(
            '<details><summary style="font-size: 0.85em">This figure in words'
            f"</summary>{html.escape(alt)}</details>"
        )
    )


def ellipses(
    axes: Axes,
    params: Gaussian | Mixture,
    *,
    num_sigmas: Sequence[float] = (1.0, 2.0),
    colors: Sequence[str] = tuple(COLORS.values()),
    **style,
) -> list[Ellipse]:
    """Draw each 2-D component as the ellipses at some standard deviations.

    Args:
        axes: where to draw.
        params: a Gaussian or a Mixture in two dimensions.
        num_sigmas: the ellipses' sizes, in standard deviations.
        colors: one a component, taken in turn.
        **style: passed to each `Ellipse`, `animated=True` among others.

    Returns:
        The ellipses, component by component.

    Raises:
        ValueError: the means are not in two dimensions.
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
    """Draw the level lines of a function of two variables over the axes' limits.

    Args:
        axes: where to draw; set its limits first.
        function: takes points `m 2`, gives their `m` values.
        num: grid points along each axis.
        filled: fill between the levels.
        **style: passed to Matplotlib, `levels` among others.

    Returns:
        Matplotlib's contour set.

    Raises:
        ValueError: the function's values are not `m`.
    """
    across = np.linspace(*axes.get_xlim(), num)
    up = np.linspace(*axes.get_ylim(), num)
    points = np.stack(np.meshgrid(across, up), axis=-1).reshape(-1, 2)
    values = np.asarray(function(points))
    if values.shape != (num * num,):
        raise ValueError(
            f"function: gave shape {values.shape} for {num * num} points, wanted one "
            "value a point"
        )
    draw = axes.contourf if filled else axes.contour
    return draw(across, up, values.reshape(num, num), **style)


def image_grid(
    axes: Axes, images: Float[np.ndarray, "rows columns height width"], **style
):
    """Draw images edge to edge in one grid, with a thin gap between them.

    Args:
        axes: where to draw; its ticks are taken away.
        images: `rows columns height width`, grey values.
        **style: passed to `imshow`.

    Returns:
        Matplotlib's image.

    Raises:
        ValueError: `images` has not four axes.
    """
    axes.set(xticks=[], yticks=[])
    return axes.imshow(mosaic(images), **({"cmap": "gray_r"} | style))


def mosaic(images: Float[np.ndarray, "rows columns height width"]) -> np.ndarray:
    """Join images to the one picture that `image_grid` draws: for its `set_data`.

    Raises:
        ValueError: `images` has not four axes.
    """
    images = np.asarray(images)
    if images.ndim != 4:
        raise ValueError(
            f"images: got shape {images.shape}, wanted (rows, columns, height, width)"
        )
    framed = np.pad(images, ((0, 0), (0, 0), (1, 0), (1, 0)), constant_values=np.nan)
    rows, columns, height, width = framed.shape
    return framed.swapaxes(1, 2).reshape(rows * height, columns * width)[1:, 1:]


def show_images(
    rows: Mapping[str, Float[np.ndarray, "n d"] | Float[Array, "n d"]], *, alt: str
) -> None:
    """Display rows of square grey images, each with its name at the left.

    Args:
        rows: as many images a row, each flat; drawn white at 0 and black at 1.
        alt: as `show`.

    Raises:
        ValueError: the images are not square, the rows differ in shape, or `alt` is
            blank.
    """
    shapes = sorted({np.shape(images) for images in rows.values()})
    side = round(shapes[0][-1] ** 0.5) if len(shapes) == 1 else 0
    if not side or shapes[0] != (shapes[0][0], side * side):
        raise ValueError(f"rows: got shapes {shapes}, wanted one (n, d), d a square")
    images = np.reshape([*rows.values()], (len(rows), -1, side, side))
    figure, axes = subplots(figsize=(0.62 * images.shape[1] + 1.4, 0.64 * len(rows)))
    image_grid(axes, images, vmin=0, vmax=1)
    axes.set_yticks((side + 1) * np.arange(len(rows)) + (side - 1) / 2, labels=rows)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_anchor("E")  # what width is left over is for the names
    show(figure, alt=alt)


def labelled_points(
    axes: Axes, points: Float[np.ndarray, "n 2"], labels: Int[np.ndarray, " n"], **style
) -> list[PathCollection]:
    """Draw each point as its label: told apart without any colour.

    Args:
        axes: where to draw.
        points: `n 2`.
        labels: `n` whole numbers from 0 to 9.
        **style: passed to `scatter`.

    Returns:
        Matplotlib's collections, one a label.
    """
    points, labels, colors = np.asarray(points), np.asarray(labels), [*COLORS.values()]
    collections = []
    for label in np.unique(labels):
        color = colors[label % len(colors)]
        look = {"marker": f"${label}$", "s": 30, "lw": 0.2, "color": color} | style
        collections.append(axes.scatter(*points[labels == label].T, **look))
    return collections


def _components(params):
    """Mean `2` and covariance `2 2` of each component, as NumPy arrays."""
    if isinstance(params, Gaussian):
        means, spreads = np.asarray(params.mean)[None], [np.asarray(params.variance)]
    else:
        means, spreads = np.asarray(params.means), np.asarray(params.covariances)
    if means.shape[1] != 2:
        raise ValueError(
            f"params: got means of shape {means.shape}, wanted two dimensions"
        )
    for mean, spread in zip(means, spreads, strict=True):
        yield mean, spread if spread.ndim == 2 else spread * np.eye(2)


# The six notebooks, each with the place of its box along the road, in inches.
STRETCHES = {
    "MLE revisited": 0.80,
    "Three cases": 2.52,
    "ELBO": 3.89,
    "EM": 4.92,
    "VAE": 5.89,
    "Reparameterization": 7.53,
}


def road(stretch: str) -> None:
    """Display the road from MLE to EM to VAE, with one stretch of it lit.

    Args:
        stretch: "MLE revisited", "Three cases", "ELBO", "EM", "VAE" or
            "Reparameterization".

    Raises:
        ValueError: `stretch` is not one of these.
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
        f"{last}. Lit is this notebook's stretch, {stretch}.",
    )


def table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Display a table with a head above each column, as HTML and as plain text.

    A column of numbers is aligned on the right, a column of words on the left.

    Args:
        heads: one per column, with the unit: "spread (min)".
        rows: one cell per column; format numbers yourself: f"{spread:.2f}".

    Raises:
        ValueError: a row has more or fewer cells than there are heads.
    """
    rows = [[str(cell) for cell in row] for row in rows]
    for index, row in enumerate(rows):
        if len(row) != len(heads):
            raise ValueError(
                f"rows[{index}]: got {len(row)} cells, expected {len(heads)}, one per "
                "head"
            )
    display(_Table(heads, rows))


class _Table:
    """What Jupyter shows as HTML, and everything else as text."""

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
