"""Record Matplotlib artists as shapes that a browser can paint; see `view.js`.

`Recorder` is what Matplotlib calls a renderer. An artist that draws itself with this
renderer produces shapes instead of pixels. A shape is a dictionary of SVG attributes,
with all lengths in whole tenths of a pixel, so a curve of 200 points takes about a
kilobyte. Whatever cannot be expressed like this (hatching, shading, a filter) becomes a
picture of that artist alone, drawn by Agg.
"""

import base64
import functools
import io

import numpy as np
from matplotlib.backend_bases import RendererBase
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.image import AxesImage
from matplotlib.path import Path
from matplotlib.transforms import Affine2D
from PIL import Image

__all__ = ["Recorder", "moving_artists", "packed", "png"]

# Lengths are whole numbers of 1 / PARTS of a pixel.
PARTS = 10
# Shapes with more characters than this take longer to send and paint than a picture.
LONGEST = 12_000
# A collection of more paths than this is drawn as a picture.
MANY = 2000
# Browsers cannot paint with larger lengths than this.
FARTHEST = 1e5
# Matplotlib's own limit: an image magnified more than this is shown cell by cell.
CELLS = 3
# The interpolations that a browser has too.
SCALED = ("nearest", "none", "auto", "antialiased", "bilinear")
# Between two cells, a browser interpolates colours and Matplotlib interpolates values.
# The two may differ by this many levels of 255; on an edge this is only a blur.
EVEN = 40
# The names in SVG; None for what the view does by default.
CAPS = {"butt": None, "round": "round", "projecting": "square"}
JOINS = {"round": None, "miter": "miter", "bevel": "bevel"}
COLORS = ("fill", "stroke")
CURVES = {Path.CURVE3: ("q", 2), Path.CURVE4: ("c", 3)}


class NotWritableError(Exception):
    """Raised for what cannot be written as shapes."""


class Recorder(RendererBase):
    """Record the artists of a figure as shapes.

    Args:
        canvas: the canvas of the figure, which draws what cannot be written as shapes.
    """

    def __init__(self, canvas: FigureCanvasAgg):
        """See the class."""
        super().__init__()
        self._canvas = canvas
        # Agg rounds the size of a picture down to whole pixels.
        self.width, self.height = map(int, canvas.figure.bbox.size)
        self.dpi = canvas.figure.dpi
        # Matplotlib counts pixels from the bottom, a browser from the top.
        self._downwards = Affine2D().scale(1, -1).translate(0, self.height)
        self._shapes = []

    def shapes(self, artist):
        """Return what an artist draws, as a list of shapes from back to front."""
        self._shapes = []
        try:
            if not (isinstance(artist, AxesImage) and self._write_cells(artist)):
                artist.draw(self)
        except NotWritableError:
            return self._picture_of(artist)
        is_picture = any("href" in shape for shape in self._shapes)
        texts = [shape.get(name, "") for shape in self._shapes for name in ("d", "at")]
        length = sum(map(len, texts))
        if length > LONGEST and not is_picture:
            return self._picture_of(artist)
        return self._shapes

    # What Matplotlib asks of a renderer.

    def get_canvas_width_height(self):
        """Return the size of the picture in pixels."""
        return self.width, self.height

    def points_to_pixels(self, points):
        """Return a length in points as pixels."""
        return points * self.dpi / 72

    def get_text_width_height_descent(self, s, prop, ismath):
        """Return the size of a text by Agg, so that it is put where Agg puts it."""
        agg = self._canvas.get_renderer()
        return agg.get_text_width_height_descent(s, prop, ismath)

    def start_filter(self):
        """Raise NotWritableError: a filter works on pixels."""
        raise NotWritableError

    def draw_gouraud_triangles(self, gc, triangles_array, colors_array, transform):
        """Raise NotWritableError: SVG cannot interpolate colours in a triangle."""
        raise NotWritableError

    def draw_text(self, gc, x, y, s, prop, angle, ismath=False, mtext=None):
        """Record a text as the outlines of its letters."""
        self._draw_text_as_path(gc, x, y, s, prop, angle, ismath, mtext)

    def draw_path(self, gc, path, transform, rgbFace=None):
        """Record one path."""
        # As in Agg, only lines are simplified, and clipped to the picture.
        is_line = rgbFace is None
        cleaned = path.cleaned(
            transform + self._downwards,
            remove_nans=True,
            clip=(-1, -1, self.width + 1, self.height + 1) if is_line else None,
            simplify=is_line and path.should_simplify,
            curves=True,
            stroke_width=self.points_to_pixels(gc.get_linewidth()),
            snap=gc.get_snap(),
        )
        style = self._style(gc, rgbFace)
        written = _written(cleaned)
        if written and ("fill" in style or "stroke" in style):
            self._shapes.append({"d": written} | style)

    def draw_markers(self, gc, marker_path, marker_trans, path, trans, rgbFace=None):
        """Record one marker, and all the places where it is drawn."""
        if len(path.vertices) > MANY:
            raise NotWritableError
        places = (trans + self._downwards).transform(path.vertices)
        # Agg puts each marker on a whole pixel: on the corner of the pixel if the sides
        # of the marker are snapped to pixels, and otherwise on its centre.
        is_snapped = _is_snapped(gc, marker_path.transformed(marker_trans))
        places = np.floor(places + 0.5) + (0 if is_snapped else 0.5)
        matrices = [marker_trans.get_matrix()]
        self._add_marks(gc, marker_path, matrices, places, [self._style(gc, rgbFace)])

    def draw_path_collection(
        self,
        gc,
        master_transform,
        paths,
        all_transforms,
        offsets,
        offset_trans,
        facecolors,
        edgecolors,
        linewidths,
        linestyles,
        antialiaseds,
        urls,
        offset_position,
        *,
        hatchcolors=None,
    ):
        """Record paths. A path that is drawn at many places is recorded only once."""
        if max(len(paths), len(all_transforms), len(offsets)) > MANY:
            raise NotWritableError
        alike = all(len(look) == 1 for look in (linewidths, linestyles, antialiaseds))
        if len(paths) != 1 or len(offsets) < 2 or not alike:
            super().draw_path_collection(
                gc,
                master_transform,
                paths,
                all_transforms,
                offsets,
                offset_trans,
                facecolors,
                edgecolors,
                linewidths,
                linestyles,
                antialiaseds,
                urls,
                offset_position,
                hatchcolors=hatchcolors,
            )
            return
        own = self.new_gc()
        own.copy_properties(gc)
        own.set_linewidth(linewidths[0] if len(edgecolors) else 0)
        own.set_dashes(*linestyles[0])
        own.set_antialiased(antialiaseds[0])
        looks, known = [], {}
        faces = np.asarray(facecolors).tolist() or [None]
        edges = np.asarray(edgecolors).tolist() or [None]
        for i in range(max(len(faces), len(edges))):
            face, edge = faces[i % len(faces)], edges[i % len(edges)]
            # Marks that are equally opaque differ in nothing but their colours.
            alphas = (face and face[3], edge and edge[3])
            if alphas not in known:
                if edge is not None:
                    own.set_foreground(edge, isRGBA=True)
                known[alphas] = self._style(own, face)
            look = dict(known[alphas])
            for name, color in zip(COLORS, (face, edge), strict=True):
                if name in look:
                    look[name] = _hex(color)
            looks.append(look)
        places = (offset_trans + self._downwards).transform(offsets)
        master = master_transform.get_matrix()
        matrices = master @ all_transforms if len(all_transforms) else [master]
        self._add_marks(own, paths[0], matrices, places, looks)

    def draw_quad_mesh(self, *arguments):
        """Raise NotWritableError: it has too many cells."""
        raise NotWritableError

    def draw_image(self, gc, x, y, im, transform=None):
        """Record an image that Matplotlib has resampled to the picture's pixels."""
        height, width = im.shape[:2]
        top = self.height - round(y) - height
        self._add_image(gc, im[::-1], (round(x), top, width, height))

    # How it is written.

    def _style(self, gc, face):
        """Return the SVG attributes that determine how a path is painted."""
        if gc.get_hatch() or gc.get_sketch_params():
            raise NotWritableError
        style = self._clip(gc)
        if face is not None:
            forced = gc.get_forced_alpha() or len(face) == 3
            alpha = gc.get_alpha() if forced else face[3]
            style |= _paint("fill", face, alpha)
        width = self.points_to_pixels(gc.get_linewidth())
        ink = _paint("stroke", gc.get_rgb(), gc.get_rgb()[3]) if width else {}
        if ink:
            style |= ink
            style["stroke-width"] = _number(width)
            cap, join = CAPS[gc.get_capstyle()], JOINS[gc.get_joinstyle()]
            style |= {"stroke-linecap": cap} if cap else {}
            style |= {"stroke-linejoin": join} if join else {}
            offset, dashes = gc.get_dashes()
            if dashes is not None:
                lengths = [_number(self.points_to_pixels(each)) for each in dashes]
                style["stroke-dasharray"] = " ".join(map(str, lengths))
                if offset:
                    style["stroke-dashoffset"] = _number(self.points_to_pixels(offset))
        if not gc.get_antialiased():
            style["shape-rendering"] = "crispEdges"
        return style

    def _clip(self, gc):
        """Return the boundary of the visible part, as the attribute `clip`.

        If there are both a box and a path, the attribute holds one after the other.
        """
        bounds = []
        box = gc.get_clip_rectangle()
        if box is not None:
            # Agg's clipping box ends at whole pixels.
            left, bottom, right, top = np.floor(box.extents + 0.5).tolist()
            sides = left, self.height - top, right - left, top - bottom
            left, top, width, height = _whole(sides).tolist()
            bounds.append(f"M{left} {top}l{width} 0 0 {height} {-width} 0z")
        path, transform = gc.get_clip_path()
        if path is not None:
            bounds.append(
                _written(path.cleaned(transform + self._downwards, curves=True))
            )
        return {"clip": "|".join(bounds)} if bounds else {}

    def _add_marks(self, gc, path, matrices, places, looks):
        """Add one path at many places, with one shape per run of marks that look alike.

        Within a shape, marks can differ in place and colour, and circles in radius.

        Args:
            gc: the graphics context, which says how outlines snap to pixels.
            path: the path, around the origin.
            matrices: transforms to apply before the path is moved to its place; they
                repeat if there are more places.
            places: in pixels from the top left.
            looks: the styles; they repeat too.
        """
        outlines = [self._outline(gc, path, matrix) for matrix in matrices]
        split = [_split(look) for look in looks]
        here = np.isfinite(places).all(axis=1)
        runs = []
        for i in here.nonzero()[0]:
            outline, radius = outlines[i % len(outlines)]
            rest, colors = split[i % len(split)]
            form = (outline, rest, colors.keys())
            if not colors:
                continue
            if not runs or runs[-1][0] != form:
                runs.append((form, []))
            runs[-1][1].append((i, radius, colors))
        for (outline, rest, names), marks in runs:
            which, radii, colors = zip(*marks, strict=True)
            steps = np.diff(_whole(places[list(which)]), axis=0, prepend=0)
            shape = {"at": _joined(steps.ravel().tolist())} | rest
            if outline is None:
                every = radii if len(set(radii)) > 1 else radii[:1]
                shape["r"] = " ".join(map(str, every))
            else:
                shape["d"] = outline
            for name in names:
                each = [color[name] for color in colors]
                same = len(set(each)) == 1
                shape[name] = each[0] if same else "".join(each)
            self._shapes.append(shape)

    def _outline(self, gc, path, matrix):
        """Return a path around its place, or for a circle None and the radius."""
        (a, b, x), (c, d, y), _ = matrix
        # A circle that is snapped to whole pixels is not a circle any more.
        size = None if gc.get_snap() else _circle_size(path)
        if size is not None and not (b or c or x or y) and abs(a) == abs(d):
            return None, _number(size * abs(a))
        cleaned = path.cleaned(
            Affine2D(matrix) + Affine2D().scale(1, -1),
            curves=True,
            stroke_width=self.points_to_pixels(gc.get_linewidth()),
            snap=gc.get_snap(),
        )
        return "m" + _written(cleaned)[1:], None

    def _write_cells(self, artist):
        """Record an image by its own cells, if each is several pixels wide.

        Returns:
            Whether that was possible.
        """
        cells, to_pixels = artist.get_array(), artist.get_transform()
        if not artist.get_visible() or not cells.size:
            return True
        if not to_pixels.is_affine or np.ndim(artist.get_alpha()):
            return False
        left, right, bottom, top = artist.get_extent()
        matrix = to_pixels.get_matrix()
        (x0, y0), (x1, y1) = to_pixels.transform([(left, bottom), (right, top)])
        size = min(abs(x1 - x0) / cells.shape[1], abs(y1 - y0) / cells.shape[0])
        interpolation = artist.get_interpolation()
        least = CELLS if interpolation in ("auto", "antialiased", "bilinear") else 1
        can_be = interpolation in SCALED and size > least
        if not can_be or matrix[0, 1] or matrix[1, 0]:
            return False
        if interpolation == "bilinear" and not _is_even(artist, cells):
            return False
        colors = artist.to_rgba(cells, bytes=True)
        if artist.origin == "lower":
            colors = colors[::-1]
        if y1 < y0:
            colors, y0, y1 = colors[::-1], y1, y0
        if x1 < x0:
            colors, x0, x1 = colors[:, ::-1], x1, x0
        gc = self.new_gc()
        gc.set_alpha(artist.get_alpha())
        if artist.get_clip_on():
            gc.set_clip_rectangle(artist.get_clip_box())
            gc.set_clip_path(artist.get_clip_path())
        x0, x1, y0, y1 = (round(each) for each in (x0, x1, y0, y1))
        self._add_image(gc, colors, (x0, self.height - y1, x1 - x0, y1 - y0))
        if interpolation != "bilinear":
            self._shapes[-1]["image-rendering"] = "pixelated"
        return True

    def _add_image(self, gc, colors, box):
        """Add an image, first row at the top, in a box (left, top, width, height)."""
        data = base64.b64encode(png(colors)).decode()
        shape = {"href": f"data:image/png;base64,{data}"}
        names = ("x", "y", "width", "height")
        shape |= dict(zip(names, _whole(box).tolist(), strict=True))
        if gc.get_alpha() not in (None, 1):
            shape["opacity"] = round(float(gc.get_alpha()), 3)
        self._shapes.append(shape | self._clip(gc))

    def _picture_of(self, artist):
        """Return an artist as one image, drawn by Agg."""
        agg = self._canvas.get_renderer()
        agg.clear()
        artist.draw(agg)
        layer = np.asarray(self._canvas.buffer_rgba())
        rows, columns = (layer[..., 3].any(axis=axis).nonzero()[0] for axis in (1, 0))
        self._shapes = []
        if len(rows):
            (top, bottom), (left, right) = rows[[0, -1]], columns[[0, -1]]
            drawn = layer[top : bottom + 1, left : right + 1]
            box = (left, top, right + 1 - left, bottom + 1 - top)
            self._add_image(self.new_gc(), drawn, box)
        return self._shapes


def moving_artists(figure):
    """Return the artists with `animated=True`, from back to front.

    If an image moves, the frame of its axes is among them, because the image covers
    half of the frame.
    """
    found = []
    for owner in (*figure.axes, figure):
        moving = [part for part in owner.get_children() if part.get_animated()]
        found += sorted(moving, key=lambda part: part.zorder)
        if any(isinstance(part, AxesImage) for part in moving):
            found += owner.spines.values()
    return found


def png(colors):
    """Return RGBA pixels as a PNG with a palette, which is smaller and faster to make.

    If there are more than 256 colours, each is replaced by a similar one.
    """
    colors = np.ascontiguousarray(colors)
    height, width = colors.shape[:2]
    picture = Image.fromarray(colors)
    counted = picture.getcolors(256)
    if counted is None:
        picture = picture.quantize(256, method=Image.Quantize.FASTOCTREE)
        colors = np.asarray(picture.convert("RGBA"))
        counted = picture.convert("RGBA").getcolors(256)
    palette = np.array([color for _, color in counted], np.uint8).view(np.uint32)
    palette = np.sort(palette.ravel())
    places = np.searchsorted(palette, colors.view(np.uint32).reshape(height, width))
    picture = Image.fromarray(places.astype(np.uint8))
    picture.putpalette(palette.tobytes(), "RGBA")
    return packed(picture, "PNG", compress_level=5)  # a quarter less time than 6


def packed(picture, form, **options):
    """Return a picture as the bytes of an image file."""
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


def _whole(lengths):
    """Return lengths in pixels as whole numbers of 1 / PARTS of a pixel."""
    lengths = np.asarray(lengths, float)
    if not (np.abs(lengths) < FARTHEST).all():
        raise NotWritableError
    return np.rint(lengths * PARTS).astype(int)


def _number(length):
    return int(_whole(length))


def _joined(numbers):
    """Return whole numbers as text; no space is needed before a minus sign."""
    return " ".join(map(str, numbers)).replace(" -", "-")


def _paint(name, color, alpha):
    """Return the attributes of a fill or stroke; empty if it is invisible."""
    if not alpha:
        return {}
    paint = {name: _hex(color)}
    if alpha < 1:
        paint[f"{name}-opacity"] = round(float(alpha), 3)
    return paint


def _hex(color):
    red, green, blue = (round(255 * float(each)) for each in color[:3])
    return f"#{red:02x}{green:02x}{blue:02x}"


@functools.lru_cache(maxsize=64)
def _circle_size(path):
    """Return the radius of a path that is a circle around the origin, or None."""
    unit = Path.unit_circle().vertices
    if path.vertices.shape != unit.shape:
        return None
    size = path.vertices.max()
    return size if np.allclose(path.vertices, size * unit, atol=1e-9 * size) else None


def _is_even(artist, cells):
    """Return whether the colour between two cells is about the mean of theirs."""
    if cells.ndim != 2:
        return True
    colors = artist.to_rgba(cells) * 255
    for mean in (lambda a: (a[1:] + a[:-1]) / 2, lambda a: (a[:, 1:] + a[:, :-1]) / 2):
        apart = artist.to_rgba(mean(cells)) * 255 - mean(colors)
        if abs(apart).max(initial=0) > EVEN:
            return False
    return True


def _is_snapped(gc, path):
    """Return whether Agg snaps the sides of a path to whole pixels."""
    if gc.get_snap() is not None:
        return gc.get_snap()
    if path.codes is not None and np.isin(path.codes, list(CURVES)).any():
        return False
    steps = np.abs(np.diff(path.vertices, axis=0))
    return bool((steps.min(axis=1) < 1e-4).all())


def _split(style):
    """Return a style without its colours, and the colours."""
    colors = {name: style[name] for name in COLORS if name in style}
    return {name: style[name] for name in style if name not in colors}, colors


def _written(path):
    """Return a cleaned path in SVG's notation, each point relative to the last."""
    codes = path.codes
    ends = np.equal(codes, Path.CLOSEPOLY) | np.equal(codes, Path.STOP)
    places = _whole(np.where(ends[:, None], 0, path.vertices)).tolist()
    parts, here, start, letter, i = [], (0, 0), (0, 0), "", 0
    while codes[i] != Path.STOP:  # by which every cleaned path ends
        code, (x, y) = codes[i], places[i]
        i += 1
        if code == Path.CLOSEPOLY:
            parts.append("z")
            here, letter = start, "z"
            continue
        name, num_places = CURVES.get(code, ("l", 1))
        if code == Path.MOVETO:
            name = "m" if parts else "M"
            start = (x, y)
        numbers = [x - here[0], y - here[1]]
        for x, y in places[i : i + num_places - 1]:
            numbers += [x - here[0], y - here[1]]
        i += num_places - 1
        is_stay = name == letter == "l" and numbers == [0, 0]
        if not is_stay:
            # The same letter again is left out, but after a move it would be a line.
            repeated = name == letter and code != Path.MOVETO
            between = "" if numbers[0] < 0 else " "
            parts.append((between if repeated else name) + _joined(numbers))
        here, letter = (x, y), name
    is_drawn = any(part[0] not in "Mm" for part in parts)
    return "".join(parts) if is_drawn else ""
