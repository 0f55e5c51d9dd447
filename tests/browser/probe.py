"""What a test asks in a notebook's own kernel, where the explorers are."""

from hashlib import sha256

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
    """Set controls, and return the caption and a checksum of the pictures sent."""
    explorer = Explorer.live[label]
    caption = explorer.set(**values)
    sent = explorer._still.value, explorer._moving.value
    return caption, sha256(b"".join(sent)).hexdigest()


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
