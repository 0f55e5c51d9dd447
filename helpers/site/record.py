"""Record every explorer of a running notebook: this runs in the notebook's kernel."""

import itertools
import json
import time
from base64 import b64encode
from pathlib import Path
from typing import NamedTuple

from helpers.explorer import Explorer
from helpers.explorer.controls import SLIDERS, SWITCHES
from helpers.explorer.pad import Pad
from helpers.explorer.widget import webp
from helpers.site import pack
from helpers.site.places import in_words, of_controls, readouts

__all__ = ["Recording", "new_explorers", "recorded"]


class Recording(NamedTuple):
    """An explorer's recorded states.

    Attributes:
        text: of the pack's file.
        num_states: how many there are.
        num_controls: how many controls can be moved.
    """

    text: str
    num_states: int
    num_controls: int


_known = {}


def new_explorers(prefix, folder):
    """Record the explorers that were made since the last call.

    A later cell may give another meaning to a name that an explorer's drawing function
    uses, so this is called directly after each cell.

    Args:
        prefix: of the packs' names, such as "01".
        folder: where the packs are written.

    Returns:
        For every explorer so far, by the id of its widget: its pack's name, label and
        caption at the start, the numbers of states and of controls that can be moved,
        the bytes of the pack and the seconds that it took.
    """
    for explorer in Explorer.live.values():
        if explorer.model_id not in _known:
            name = f"{prefix}-{len(_known) + 1}"
            before = time.perf_counter()
            recording = recorded(explorer, name)
            path = Path(folder, f"{name}.js")
            path.write_text(recording.text, encoding="utf-8")
            _known[explorer.model_id] = {
                "pack": name,
                "label": explorer.label,
                "words": explorer.caption,
                "states": recording.num_states,
                "controls": recording.num_controls,
                "bytes": len(recording.text),
                "seconds": time.perf_counter() - before,
            }
    return _known


def recorded(explorer, name, **options):
    """Record an explorer's states in a pack.

    Args:
        explorer: at its initial values; left unchanged.
        name: of the pack.
        options: how places are chosen: see `of_controls`.
    """
    controls = explorer.controls
    places = of_controls(explorer.label, controls, play=explorer.play, **options)
    moving = {name: each for name, each in places.items() if len(each.values) > 1}
    every = itertools.product(*(each.values for each in places.values()))
    settings = (dict(zip(places, values, strict=True)) for values in every)
    backgrounds, pictures = {}, []
    latest, number = None, 0
    columns = {"words": [], "error": [], "background": []}
    for shown in explorer.recorded(settings):
        columns["words"].append(shown.words)
        columns["error"].append(shown.error)
        if shown.background is not None and shown.background is not latest:
            latest = shown.background
            number = backgrounds.setdefault(latest.tobytes(), len(backgrounds))
            if number == len(pictures):
                pictures.append(latest)
        columns["background"].append(str(number))
        for index, shapes in enumerate(shown.shapes):
            texts = columns.setdefault(index, [])
            texts += ["[]"] * (len(columns["words"]) - 1 - len(texts))
            texts.append(json.dumps(shapes, separators=(",", ":")))
    num_states = len(columns["words"])
    patterns = {"words": pack.NUMBERS, "error": None, "background": None}
    for kind, texts in columns.items():
        texts += ["[]"] * (num_states - len(texts))
        columns[kind] = (texts, patterns.get(kind, pack.SHAPE_PIECES))
    axes, grips = _grips(explorer, moving)
    scene = {
        "label": explorer.label,
        "scene": explorer.scene | {"axes": axes},
        "controls": [
            {
                "label": controls[each].description,
                "kind": _kind(controls[each]),
                "texts": readouts(controls[each], place.values),
                "start": place.start,
            }
            for each, place in moving.items()
        ],
        "play": list(moving).index(explorer.play) if explorer.play in moving else None,
        "fixed": [
            [controls[each].description, *readouts(controls[each], place.values)]
            for each, place in places.items()
            if each not in moving
        ],
        "pads": [
            controls[each].description
            for each in places
            if isinstance(controls[each], Pad)
        ],
        "grid": _grid(controls, moving, num_states),
        "grips": grips,
        "backgrounds": [
            f"data:image/webp;base64,{b64encode(webp(each)).decode()}"
            for each in pictures
        ],
    }
    return Recording(pack.written(name, scene, columns), num_states, len(moving))


def _kind(control):
    if isinstance(control, SLIDERS):
        return "range"
    return "checkbox" if isinstance(control, SWITCHES) else "select"


def _grips(explorer, moving):
    """Return the axes that take the pointer, and what moves in which of them.

    A control's places stand in parts of the picture, so the page needs to know nothing
    of an axis' scale.
    """
    names = list(moving)
    width, height = (
        side * explorer.scene["sharpness"] for side in explorer.scene["size"]
    )
    boxes, axes, grips = [], [], []
    for grip in explorer.grips:
        x = grip.x if grip.x in moving else None
        y = grip.y if grip.y in moving else None
        if x is None and y is None:
            continue
        left, bottom, right, top = grip.axes.bbox.extents.tolist()
        box = [left / width, 1 - top / height]
        box += [(right - left) / width, (top - bottom) / height]
        if box not in boxes:
            boxes.append(box)
            axes.append([])
        at = boxes.index(box)
        axes[at] += [explorer.controls[name].description for name in (x, y) if name]
        (x_low, _), (y_low, _) = grip.axes.get_xlim(), grip.axes.get_ylim()
        to_pixels = grip.axes.transData.transform
        places = {"axes": at, "x": None, "y": None}
        if x is not None:
            across = to_pixels([(value, y_low) for value in moving[x].values])[:, 0]
            places["x"] = [names.index(x), _rounded(across / width)]
        if y is not None:
            up = to_pixels([(x_low, value) for value in moving[y].values])[:, 1]
            places["y"] = [names.index(y), _rounded(1 - up / height)]
        grips.append(places)
    scene_axes = [
        {"box": box, "title": f"Drag to move {' and '.join(dict.fromkeys(labels))}"}
        for box, labels in zip(boxes, axes, strict=True)
    ]
    return scene_axes, grips


def _rounded(parts):
    return [round(part, 6) for part in parts.tolist()]


def _grid(controls, moving, num_states):
    """Return one sentence that says how coarse the grid of states is."""
    sliders = [
        f"“{controls[name].description}” {in_words(controls[name], places)}"
        for name, places in moving.items()
        if isinstance(controls[name], SLIDERS)
    ]
    whole = all(places.is_whole for places in moving.values())
    states = f"This page holds {num_states:,} recorded states"
    if whole:
        return f"{states}: every position of the controls."
    if not sliders:
        return f"{states}."
    listed = ", ".join(sliders[:-1]) + " and " * (len(sliders) > 1) + sliders[-1]
    return f"{states}: {listed}. In the notebook, the sliders move in finer steps."
