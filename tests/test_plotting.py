"""Figures: where their lines are, and what the page gets."""

import html
import io
import itertools
from base64 import b64decode
from types import SimpleNamespace

import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.font_manager import FontProperties
from PIL import Image

from helpers import plotting
from helpers.gaussian import Gaussian
from helpers.mixture import Mixture

MATRICES = jnp.array([[[2.0, 0.8], [0.8, 0.5]], [[1.0, 0.0], [0.0, 3.0]]])
MEANS = jnp.array([[1.0, -1.0], [0.0, 2.0]])
COMPONENTS = {
    "scalar": (Gaussian(MEANS[0], jnp.array(0.5)), [0.5 * np.eye(2)]),
    "diagonal": (Gaussian(MEANS[0], jnp.array([0.5, 2.0])), [np.diag([0.5, 2.0])]),
    "spherical": (
        Mixture(jnp.array([0.5, 0.5]), MEANS, jnp.array([0.5, 2.0])),
        [0.5 * np.eye(2), 2 * np.eye(2)],
    ),
    "full": (Mixture(jnp.array([0.5, 0.5]), MEANS, MATRICES), np.asarray(MATRICES)),
}


@pytest.fixture
def axes():
    """Axes of a new figure, closed afterwards."""
    figure, axes = plt.subplots()
    yield axes
    plt.close(figure)


@pytest.fixture
def shown(monkeypatch):
    """What a kernel was given to display, as (data, metadata), oldest first."""
    shown = []
    in_kernel = SimpleNamespace(kernel="any")
    monkeypatch.setattr(plotting, "get_ipython", lambda: in_kernel)

    def display(data, *, metadata=None, raw=False):
        shown.append((data if raw else {"text/html": data.data}, metadata))

    monkeypatch.setattr(plotting, "display", display)
    return shown


@pytest.mark.parametrize("name", COMPONENTS)
def test_ellipses_lie_at_their_mahalanobis_distance(axes, name):
    params, matrices = COMPONENTS[name]
    num_sigmas = (1.0, 2.5)
    patches = plotting.ellipses(axes, params, num_sigmas=num_sigmas)
    means = np.atleast_2d(params[0] if isinstance(params, Gaussian) else params.means)
    expected = [
        (mean, matrix, distance)
        for mean, matrix in zip(means, matrices, strict=True)
        for distance in num_sigmas
    ]
    for patch, (mean, matrix, distance) in zip(patches, expected, strict=True):
        corners = patch.get_patch_transform().transform(
            [[np.cos(t), np.sin(t)] for t in np.linspace(0, 2 * np.pi, 17)]
        )
        gaps = corners - mean
        squares = np.einsum("ni,ij,nj->n", gaps, np.linalg.inv(matrix), gaps)
        np.testing.assert_allclose(np.sqrt(squares), distance, rtol=1e-10)


def test_ellipses_take_styles_and_colours_in_turn(axes):
    params, _ = COMPONENTS["full"]
    patches = plotting.ellipses(
        axes, params, num_sigmas=[1.0], colors=["red", "blue"], lw=3, animated=True
    )
    colors = [patch.get_edgecolor()[:3] for patch in patches]
    assert colors == [to_rgb("red"), to_rgb("blue")]
    assert all(patch.get_linewidth() == 3 for patch in patches)
    assert all(patch.get_animated() and patch.axes is axes for patch in patches)


@pytest.mark.parametrize("dimension", [1, 3])
def test_ellipses_outside_the_plane_are_refused(refused, axes, dimension):
    params = Gaussian(jnp.zeros(dimension), jnp.array(1.0))
    with refused("params", f"(1, {dimension})", "two dimensions"):
        plotting.ellipses(axes, params)


@pytest.mark.parametrize("filled", [False, True])
def test_contours_lie_where_the_function_has_its_levels(axes, filled):
    axes.set(xlim=(-2, 3), ylim=(-1, 4))
    levels = [0.5, 1.0, 2.0]
    drawn = plotting.contours(
        axes,
        lambda points: 2 * points[:, 0] - points[:, 1],
        num=20,
        filled=filled,
        levels=levels,
    )
    assert drawn.levels.tolist() == levels
    assert drawn.filled == filled
    if not filled:
        for level, path in zip(levels, drawn.get_paths(), strict=True):
            across, up = path.vertices.T
            np.testing.assert_allclose(2 * across - up, level, atol=1e-12)


def test_contours_cover_the_limits_corner_to_corner(axes):
    axes.set(xlim=(-2, 3), ylim=(-1, 4))
    seen = []

    def function(points):
        seen.append(points)
        return points.sum(axis=1)

    plotting.contours(axes, function, num=7)
    (points,) = seen
    assert points.shape == (49, 2)
    assert points.min(axis=0).tolist() == [-2, -1]
    assert points.max(axis=0).tolist() == [3, 4]


@pytest.mark.parametrize("shape", [(25, 1), (5, 5), (3,), ()])
def test_a_function_without_one_value_per_point_is_refused(refused, axes, shape):
    with refused("function", f"shape {shape}", "one value per point"):
        plotting.contours(axes, lambda points: np.zeros(shape), num=5)


def test_images_are_in_their_rows_and_columns_with_gaps(axes):
    images = np.random.default_rng(0).uniform(size=(2, 3, 4, 5))
    mosaic = plotting.image_grid(axes, images).get_array()
    assert mosaic.shape == (2 * 5 - 1, 3 * 6 - 1)
    for row, column in np.ndindex(2, 3):
        cell = mosaic[5 * row : 5 * row + 4, 6 * column : 6 * column + 5]
        np.testing.assert_array_equal(cell, images[row, column])
    assert np.ma.count(mosaic) == images.size


def test_a_grid_of_images_takes_styles_and_has_no_ticks_or_frame(axes):
    image = plotting.image_grid(axes, np.zeros((1, 1, 2, 2)), cmap="viridis", vmax=3)
    assert image.get_cmap().name == "viridis"
    assert image.get_clim()[1] == 3
    assert axes.get_xticks().size == axes.get_yticks().size == 0
    assert not any(spine.get_visible() for spine in axes.spines.values())


def test_a_mosaic_is_the_picture_that_a_grid_draws(axes):
    first, then = np.random.default_rng(0).uniform(size=(2, 2, 3, 4, 5))
    image = plotting.image_grid(axes, first)
    image.set_data(plotting.mosaic(then))
    expected = plotting.image_grid(axes, then).get_array()
    np.testing.assert_array_equal(image.get_array(), expected)


def test_named_rows_of_images_are_shown_with_their_names(monkeypatch):
    drawn = []
    monkeypatch.setattr(plotting, "show", lambda figure, *, alt: drawn.append(figure))
    names = ["reconstructed", "b", "c", "d", "e"]
    rows = {name: jnp.full((12, 64), float(row)) for row, name in enumerate(names)}
    with plt.rc_context():
        plotting.use_course_style()  # as in a notebook: it chooses the layout
        plotting.show_images(rows, alt="Five rows.")
        drawn[0].draw_without_rendering()
    (axes,) = drawn[0].axes
    (image,) = axes.images
    labels = axes.get_yticklabels()
    assert [label.get_text() for label in labels] == names
    for row, y in enumerate(axes.get_yticks()):
        assert (image.get_array()[int(y), :8] == row).all()
    # inside the picture, and not cut off at its edge
    assert min(label.get_window_extent().x0 for label in labels) >= 0


@pytest.mark.parametrize(
    "rows",
    [
        {},
        {"not square": np.zeros((3, 15))},
        {"three": np.zeros((3, 16)), "two": np.zeros((2, 16))},
        {"already square": np.zeros((3, 4, 4))},
    ],
)
def test_rows_that_do_not_stack_are_refused(refused, rows):
    with refused("rows", "shapes", "d a square"):
        plotting.show_images(rows, alt="Rows.")


def test_points_are_drawn_as_their_labels(axes):
    points, labels = np.random.default_rng(0).normal(size=(30, 2)), np.arange(30) % 10
    found = plotting.labelled_points(axes, points, labels, s=50)
    assert len(found) == 10
    for label, collection in enumerate(found):
        np.testing.assert_array_equal(collection.get_offsets(), points[label::10])
        assert (collection.get_sizes() == 50).all()
    shapes = {str(collection.get_paths()[0].vertices) for collection in found}
    assert len(shapes) == 10


@pytest.mark.parametrize("shape", [(8, 8), (10, 8, 8)])
def test_images_without_four_axes_are_refused(refused, axes, shape):
    with refused("images", f"shape {shape}", "(rows, columns, height, width)"):
        plotting.image_grid(axes, np.zeros(shape))


def picture_of(data):
    return Image.open(io.BytesIO(b64decode(data["image/png"])))


def test_show_gives_the_picture_its_words_and_size(axes, shown):
    axes.figure.set_size_inches(4, 2)
    plotting.show(axes.figure, alt="A line that rises.")
    data, metadata = shown[0]
    width = axes.figure.bbox.width + 2 * plotting.MARGIN
    assert metadata["image/png"] == {"alt": "A line that rises.", "width": width}
    assert data["text/plain"] == "A line that rises."
    picture = picture_of(data)
    assert picture.format == "PNG"
    scale = picture.width / width
    height = axes.figure.bbox.height + 2 * plotting.MARGIN
    assert picture.height == pytest.approx(scale * height, abs=1)


def test_a_shown_figure_is_a_white_card_with_round_corners(axes, shown):
    axes.imshow(np.random.default_rng(0).uniform(size=(30, 30)))
    with plt.rc_context({"savefig.dpi": 144, "figure.facecolor": "white"}):
        plain = io.BytesIO()
        axes.figure.savefig(plain, format="png")
        plotting.show(axes.figure, alt="Noise.")
    card = np.asarray(picture_of(shown[0][0]).convert("RGBA"))
    plain = np.asarray(Image.open(plain))
    margin = (card.shape[0] - plain.shape[0]) // 2
    scale = plain.shape[1] / axes.figure.bbox.width
    assert margin == round(scale * plotting.MARGIN)
    inside = card[margin:-margin, margin:-margin]
    # the palette's colors are those of the figure to a few steps of 256
    np.testing.assert_allclose(inside.astype(int), plain.astype(int), atol=10)
    colors, opacity = card[..., :3], card[..., 3]
    frame = np.ones(opacity.shape, bool)
    frame[margin:-margin, margin:-margin] = False
    assert (colors[frame] == 255).all()
    # transparent outside a quarter of a circle, whichever corner one looks at
    for corner in (opacity, opacity[::-1], opacity[:, ::-1], opacity[::-1, ::-1]):
        radius = scale * plotting.CORNER_RADIUS
        square = corner[: int(radius) + 1, : int(radius) + 1]
        assert square[0, 0] == 0
        assert square[-1, -1] == 255
        outside = (1 - square / 255).sum()
        assert outside == pytest.approx((1 - np.pi / 4) * radius**2, rel=0.02)
        rest = corner[: corner.shape[0] // 2, : corner.shape[1] // 2].copy()
        rest[: int(radius) + 1, : int(radius) + 1] = 255
        assert (rest == 255).all()


def test_a_shown_figure_keeps_its_greys_beside_a_map_of_many_colours(axes, shown):
    greys = np.linspace(0.6, 0.99, 9)
    for bottom, grey in enumerate(greys):
        axes.axhspan(bottom, bottom + 1, color=str(grey), lw=0)
    axes.figure.colorbar(plt.cm.ScalarMappable(cmap="viridis"), ax=axes)
    axes.set(ylim=(0, 9))
    plotting.show(axes.figure, alt="Grey bands beside a bar of many colours.")
    card = np.asarray(picture_of(shown[0][0]).convert("RGBA"))[..., :3].astype(int)
    for grey in greys:
        near = abs(card - round(255 * grey)).max(axis=2) <= 1
        assert near.sum() > 1000, grey


def test_show_writes_the_words_beneath_as_text(axes, shown):
    alt = "Where p < q & <b>r</b>."
    plotting.show(axes.figure, alt=alt)
    words = shown[1][0]["text/html"]
    assert words.startswith("<details>")
    assert html.escape(alt) in words
    assert "<b>" not in words


def test_a_figure_of_subplots_waits_to_be_shown(shown):
    before = plt.get_fignums()
    figure, axes = plotting.subplots(2, 3, figsize=(6, 4), sharex=True)
    assert plt.get_fignums() == before
    assert figure.get_size_inches().tolist() == [6, 4]
    assert axes.shape == (2, 3)
    axes[0, 0].set_xlim(3, 7)
    assert axes[1, 2].get_xlim() == (3, 7)
    plotting.show(figure, alt="Six panels.")
    assert shown[0][0]["text/plain"] == "Six panels."


def test_show_closes_the_figure(axes, shown):
    plotting.show(axes.figure, alt="Nothing yet.")
    assert not plt.fignum_exists(axes.figure.number)


@pytest.mark.parametrize("alt", ["", "  \n"])
def test_a_figure_without_words_is_refused(refused, axes, shown, alt):
    with refused("alt", repr(alt), "what the figure shows"):
        plotting.show(axes.figure, alt=alt)
    assert shown == []


def test_without_a_kernel_the_words_are_printed(axes, capsys):
    plotting.show(axes.figure, alt="A line that rises.")
    assert capsys.readouterr().out == "[Figure: A line that rises.]\n"
    assert not plt.fignum_exists(axes.figure.number)


def test_course_style_holds_for_later_figures():
    with plt.rc_context():
        plotting.use_course_style()
        figure, axes = plt.subplots()
        lines = axes.plot(np.eye(2))
        first_two = list(plotting.COLORS.values())[:2]
        assert [line.get_color() for line in lines] == first_two
        assert not axes.spines["top"].get_visible()
        plt.close(figure)


def test_no_text_is_smaller_than_ten_points():
    with plt.rc_context():
        plotting.use_course_style()
        names = [n for n in plt.rcParams if n.endswith(("labelsize", "titlesize"))]
        names += [n for n in plt.rcParams if n.endswith("fontsize")]
        assert len(names) >= 8
        for name in ["font.size", *names]:
            size = plt.rcParams[name]
            if size is not None:  # then it is that of other text
                assert FontProperties(size=size).get_size_in_points() >= 10, name
        # a point is 1/72 inch at the width that a browser is told: 96 pixels an inch
        assert plt.rcParams["figure.dpi"] == 96


# look.md: quantity, colour, line.
TABLE = {
    "log_p": ("black", "-"),
    "elbo": ("blue", "-"),
    "gap": ("orange", "-"),
    "kl_prior": ("amber", "-"),
    "reconstruction": ("sky", "-"),
    "q": ("purple", "-"),
    "posterior": ("green", "-"),
}
ESTIMATORS = ["pathwise", "score_function", "constant_baseline", "leave_one_out"]


@pytest.mark.parametrize("name", TABLE)
def test_a_quantity_is_drawn_in_its_colour(axes, name):
    (line,) = axes.plot([0, 1], **plotting.INK[name])
    color, linestyle = TABLE[name]
    assert line.get_color() == plotting.COLORS[color]
    assert line.get_linestyle() == linestyle
    assert line.get_linewidth() == 2


def test_the_prior_is_grey_and_dashed(axes):
    (line,) = axes.plot([0, 1], **plotting.INK["prior"])
    assert len(set(to_rgb(line.get_color()))) == 1
    assert line.get_linestyle() == "--"


def test_data_are_dark_grey_dots(axes):
    (line,) = axes.plot([0, 1], **plotting.INK["data"])
    assert (line.get_linestyle(), line.get_marker()) == ("None", "o")
    (red, *others) = to_rgb(line.get_color())
    assert others == [red, red]
    assert red < 0.3
    dots = axes.scatter([0, 1], [0, 1], **plotting.INK["data"])
    assert tuple(dots.get_facecolor()[0][:3]) == (red, red, red)


def test_the_gap_is_filled_with_a_quarter_of_its_colour(axes):
    area = axes.fill_between([0, 1], [0, 1], [1, 2], **plotting.INK["gap_area"])
    (color,) = area.get_facecolor()
    assert tuple(color) == (*to_rgb(plotting.INK["gap"]["color"]), 0.25)
    assert area.get_linewidth() == 0


def test_the_four_estimators_share_neither_colour_nor_line(axes):
    inks = [plotting.INK[name] for name in ESTIMATORS]
    others = {ink["color"] for ink in plotting.INK.values() if ink not in inks}
    assert len({ink["color"] for ink in inks} - others) == 4
    assert len({ink["linestyle"] for ink in inks}) == 4
    assert all(axes.plot([0, 1], **ink) for ink in inks)


def test_components_are_blue_orange_and_green():
    names = ("blue", "orange", "green")
    assert tuple(plotting.COLORS[name] for name in names) == plotting.COMPONENTS


@pytest.fixture
def course_axes():
    """Two panels as a notebook draws them."""
    with plt.rc_context():
        plotting.use_course_style()
        _, axes = plotting.subplots(1, 2, figsize=(6, 2.5))
        yield axes


def test_a_label_is_just_right_of_the_end_and_not_cut_off(course_axes):
    t = np.linspace(0, 1, 20)
    labels = []
    for axes in course_axes:
        lines = axes.plot(t, t**2, **plotting.INK["log_p"])
        labels.append(plotting.label_end(axes, *lines, r"$\log p(x)$, the truth"))
    figure = course_axes[0].figure
    figure.draw_without_rendering()
    extents = [label.get_window_extent() for label in labels]
    for axes, extent in zip(course_axes, extents, strict=True):
        x, y = axes.transData.transform([1, 1])
        assert 0 < extent.x0 - x < 10
        assert extent.y0 < y < extent.y1
        assert extent.x1 <= figure.bbox.x1
    # nor written over the next panel
    assert extents[0].x1 <= course_axes[1].get_tightbbox().x0


def test_a_label_takes_styles_and_can_be_raised(axes):
    (line,) = axes.plot([0, 1], [0, 1])
    low = plotting.label_end(axes, line, "low")
    high = plotting.label_end(axes, line, "high", raised=9.0, color="red", rotation=10)
    axes.figure.draw_without_rendering()
    shift = high.get_transform().transform((0, 9)) - low.get_transform().transform(
        (0, 0)
    )
    assert shift == pytest.approx([0, 9 * axes.figure.dpi / 72])
    assert (high.get_color(), high.get_rotation()) == ("red", 10)


@pytest.mark.parametrize(
    ("y", "limits", "end"),
    [
        ([0.0, 1.0, 4.0, 9.0], None, 3),
        ([0.0, 1.0, 4.0, np.nan], None, 2),
        ([0.0, 1.0, 4.0, np.inf], None, 2),
        ([0.0, 1.0, 4.0, 9.0], (0, 5), 2),  # the rest is cut off
        ([0.0, 1.0, 4.0, 9.0], (5, 0), 2),  # upside down
        ([9.0, 1.0, 4.0, 0.0], (0.5, 5), 2),
    ],
)
def test_a_curve_ends_at_its_last_point_in_view(axes, y, limits, end):
    axes.plot(y)
    if limits:
        axes.set_ylim(*limits)
    label = plotting.label_end(axes, (np.arange(4), y), "end")
    assert label.xy == pytest.approx([end, y[end]])


def test_a_label_needs_an_end_in_view(refused, axes):
    axes.set(xlim=(0, 1), ylim=(2, 3))
    with refused("line", "2 points", "x from 0 to 1 and y from 2 to 3"):
        plotting.label_end(axes, ([0, 1], [0, 1]), "far below")


@pytest.mark.parametrize("line", [([0, 1], [0]), ([0, 1], [[0, 1]]), (0, 1)])
def test_a_label_needs_x_and_y_of_one_length(refused, axes, line):
    with refused("line", "x of shape", "expected (n,) for both"):
        plotting.label_end(axes, line, "no curve")


@pytest.mark.parametrize("name", plotting.INK)
def test_a_label_is_as_dark_as_text_must_be(axes, name):
    (line,) = axes.plot([0, 1], color=plotting.INK[name]["color"])
    color = np.array(plotting.label_end(axes, line, name).get_color())
    # WCAG 2, 1.4.3: text needs a contrast of 4.5 to 1
    assert 1.05 / (_luminance(color) + 0.05) >= 4.5
    # of the curve's own hue
    own = np.array(to_rgb(line.get_color()))
    np.testing.assert_allclose(color * own.max(), own * color.max(), atol=1e-12)
    # and left alone where it is dark enough
    if 1.05 / (_luminance(own) + 0.05) >= 4.5:
        assert (color == own).all()


def _luminance(color):
    """Relative luminance as WCAG 2 defines it."""
    parts = np.array(to_rgb(color))
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


@pytest.mark.parametrize(
    "color",
    [
        *(plotting.COLORS[name] for name in ("blue", "orange", "green", "black")),
        *(plotting.INK[name]["color"] for name in ["prior", "data", *ESTIMATORS]),
    ],
)
def test_colours_of_lines_stand_out_from_white(color):
    # WCAG 2, 1.4.11: graphics need a contrast of 3 to 1
    assert 1.05 / (_luminance(color) + 0.05) >= 3


@pytest.mark.parametrize("stretch", plotting.STRETCHES)
def test_the_road_highlights_one_stretch_and_names_it(monkeypatch, stretch):
    drawn = []
    monkeypatch.setattr(
        plotting, "show", lambda figure, *, alt: drawn.append((figure, alt))
    )
    with plt.rc_context():
        plotting.use_course_style()
        plotting.road(stretch)
        figure, alt = drawn[0]
        figure.draw_without_rendering()
    (axes,) = figure.axes
    lit = [
        text.get_text()
        for text in axes.texts
        if to_rgb(text.get_bbox_patch().get_facecolor()) != to_rgb("white")
    ]
    assert lit == [stretch]
    assert [text.get_text() for text in axes.texts] == list(plotting.STRETCHES)
    assert alt.endswith(f"The stretch of this notebook, {stretch}, is highlighted.")
    boxes = [text.get_bbox_patch().get_window_extent() for text in axes.texts]
    assert all(box.x1 < after.x0 for box, after in itertools.pairwise(boxes))
    assert boxes[0].x0 > 0
    assert boxes[-1].x1 < figure.bbox.x1


@pytest.mark.parametrize("stretch", ["mle", "", 1, None, ["EM"]])
def test_a_stretch_that_the_road_does_not_have_is_refused(refused, shown, stretch):
    with refused("stretch", repr(stretch), "'MLE revisited'"):
        plotting.road(stretch)
    assert shown == []


@pytest.fixture
def tables(monkeypatch):
    """The tables that were displayed, oldest first."""
    tables = []
    monkeypatch.setattr(plotting, "display", tables.append)
    return tables


def test_a_table_aligns_numbers_on_the_right_and_words_on_the_left(tables):
    plotting.table(
        ["check", "value (nats)", "bias"],
        [["gradient", -1131.41, "+0.5 %"], ["grid", "2e-15", "\u22127.7 %"]],
    )
    assert repr(tables[0]).splitlines() == [
        "check     value (nats)    bias",
        "------------------------------",
        "gradient      -1131.41  +0.5 %",
        "grid             2e-15  \u22127.7 %",
    ]
    page = tables[0]._repr_html_()
    assert page.count("<tr>") == 3
    assert '<td style="text-align: left">gradient</td>' in page
    assert '<td style="text-align: right">-1131.41</td>' in page
    assert '<th style="text-align: right">value (nats)</th>' in page


def test_what_a_table_holds_is_text_and_no_markup(tables):
    plotting.table(["<b>p</b>"], [["x < y & z"]])
    page = tables[0]._repr_html_()
    assert html.escape("<b>p</b>") in page
    assert html.escape("x < y & z") in page
    assert "<b>" not in page
    assert "x < y & z" in repr(tables[0])


def test_a_row_that_does_not_fit_its_heads_is_refused(refused, tables):
    with refused("rows[1]", "1 cells", "2, one per head"):
        plotting.table(["n", "spread (min)"], [[10, 0.35], [30]])
    assert tables == []
