"""Functions that a test calls in the kernel of a notebook, where the explorers are."""

import io
import json
import time
import zlib
from base64 import b64encode

from ipywidgets.widgets.widget import _instances as open_widgets

from helpers.explorer import Explorer, positions


def explorers():
    """Return each explorer's controls in order: name, description and kind."""
    return {
        label: [
            (name, control.description, type(control).__name__)
            for name, control in explorer.controls.items()
        ]
        for label, explorer in Explorer.live.items()
    }


def at(label, **values):
    """Set controls, and return what is sent, and the picture as Matplotlib draws it."""
    explorer = Explorer.live[label]
    caption = explorer.set(**values)
    view, picture = explorer._view, io.BytesIO()
    explorer.picture.convert("RGB").save(picture, "PNG", compress_level=1)
    background = b64encode(view.background).decode()
    state = json.loads(zlib.decompress(view.state))
    assert caption == state["words"]
    return {
        "scene": view.scene,
        "state": state | {"background": f"data:image/webp;base64,{background}"},
        "picture": b64encode(picture.getvalue()).decode(),
    }


def ends(label):
    """Return what is shown at the start, and at both ends of each control alone."""
    explorer = Explorer.live[label]
    explorer.reset()
    shown = {"start": at(label)}
    for name, control in explorer.controls.items():
        places = positions(control)
        for key, value in {"Home": places[0], "End": places[-1]}.items():
            shown[f"{name} {key}"] = at(label, **{name: value})
        explorer.reset()
    return shown


def reset(label):
    """Put every control back where it started."""
    Explorer.live[label].reset()


def now(label):
    """Return the controls' values and the caption as the kernel has them."""
    explorer = Explorer.live[label]
    values = {name: control.value for name, control in explorer.controls.items()}
    return values, explorer.caption


def num_open_widgets():
    """Return how many widgets live in this kernel."""
    return len(open_widgets)


def kernel_times(label):
    """Return how many ms the kernel takes for each move of the controls' ranges."""
    explorer, times = Explorer.live[label], []
    for control in explorer.controls.values():
        before = control.value
        for value in positions(control)[::2]:
            start = time.perf_counter()
            control.value = value
            times.append(1000 * (time.perf_counter() - start))
        control.value = before
    return times
