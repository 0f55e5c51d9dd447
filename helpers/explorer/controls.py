"""Labelled controls for an explorer, and the positions that each of them can take."""

import math
import numbers
from collections.abc import Mapping

import ipywidgets as widgets
import numpy as np

from helpers.explorer.pad import Pad

__all__ = [
    "SLIDERS",
    "check_control",
    "check_value",
    "choice",
    "nearest",
    "onwards",
    "positions",
    "slider",
]

SLIDERS = (widgets.IntSlider, widgets.FloatSlider, widgets.FloatLogSlider)
CHOICES = (
    widgets.Dropdown,
    widgets.RadioButtons,
    widgets.Select,
    widgets.SelectionSlider,
    widgets.ToggleButtons,
)
SWITCHES = (widgets.Checkbox, widgets.ToggleButton)

# On a narrow page the label is above its slider, because there is no room beside it.
LOOK = {
    "style": {"description_width": "16em"},
    "layout": {"width": "min(42em, 98%)", "height": "auto", "flex_flow": "row wrap"},
}


def slider(label, low, high, value, *, step=None, log=False):
    """Return a labelled slider from `low` to `high`, both included.

    Args:
        label: what the slider changes, with its unit: "sigma (min)".
        low: smallest value. If all arguments are whole numbers, so are the positions.
        high: largest value.
        value: the start; the slider starts at the position nearest to it, because the
            page cannot show a value between two positions.
        step: distance between two positions; a hundredth of the range if None.
        log: use equal ratios instead of equal steps. `low` must be above 0, and `step`
            is in powers of ten.

    Raises:
        ValueError: if `low`, `value`, `high` are not finite and in order, `step` is not
            above 0, or the `low` of a log slider is not above 0.
    """
    if not (low <= value <= high and low < high and np.isfinite([low, high]).all()):
        raise ValueError(
            f"{label}: got low={low}, value={value}, high={high}, expected "
            "low <= value <= high, with low below high and both finite"
        )
    if step is not None and not (np.isfinite(step) and step > 0):
        raise ValueError(f"{label}: got step={step}, expected a number above 0")
    if log:
        if low <= 0:
            raise ValueError(
                f"{label}: got low={low}, expected above 0 for a log slider"
            )
        kind, (low, high, start) = widgets.FloatLogSlider, np.log10([low, high, value])
    elif all(isinstance(n, numbers.Integral) for n in (low, high, value, step or 1)):
        kind, step, start = widgets.IntSlider, step or 1, value
    else:
        kind, start = widgets.FloatSlider, value
    step = step or (high - low) / 100
    nearest = _on_grid(start, low, high, step)
    if abs(nearest - start) > 1e-9 * step:
        value = 10**nearest if log else nearest
    return kind(value, min=low, max=high, step=step, description=label, **LOOK)


def nearest(control, value):
    """Return the value of a slider at the position nearest to a number."""
    low, high, step = control.min, control.max, control.step
    if isinstance(control, widgets.FloatLogSlider):
        base = control.base
        position = np.log(max(value, float(base) ** low)) / np.log(base)
        return float(base ** _on_grid(position, low, high, step))
    place = _on_grid(value, low, high, step)
    return int(place) if isinstance(control, widgets.IntSlider) else float(place)


def onwards(control, before, now):
    """Return where a slider goes if it goes on as it did from `before` to `now`.

    That is one step further, or None if it was not one step, if the slider is at its
    end, or if the control is not a slider.
    """
    if not isinstance(control, SLIDERS) or not control.step:
        return None
    is_log = isinstance(control, widgets.FloatLogSlider)
    length = math.log(now / before, control.base) if is_log else now - before
    if not math.isclose(abs(length), control.step, rel_tol=1e-6):
        return None
    further = nearest(control, now * (now / before) if is_log else now + length)
    return None if further == nearest(control, now) else further


def _on_grid(place, low, high, step):
    """Return the nearest position: a whole number of steps from `low`, or `high`."""
    place = max(low, min(place, high))
    on_grid = low + round((place - low) / step) * step
    return min(on_grid, high, key=lambda position: abs(position - place))


def choice(label, options, value=None):
    """Return a labelled drop-down list; it starts at the first option by default.

    Raises:
        ValueError: if there are no options, or `value` is not one of them.
    """
    options = list(options)
    value = options[0] if value is None and options else value
    if value not in options:
        raise ValueError(f"{label}: got {value!r}, expected one of {options}")
    return widgets.Dropdown(options=options, value=value, description=label, **LOOK)


def positions(control):
    """Return the values from one end of a control to the other: all, or about 21."""
    if isinstance(control, CHOICES):
        return _option_values(control)
    if isinstance(control, SWITCHES):
        return [False, True]
    if isinstance(control, Pad):
        return control.values
    if isinstance(control, widgets.IntSlider):
        every = range(control.min, control.max + 1, control.step)
        return [*every[:: max(1, len(every) // 20)], control.max]
    ends = np.linspace(control.min, control.max, 21)
    if isinstance(control, widgets.FloatLogSlider):
        return [float(control.base**power) for power in ends]
    return [float(value) for value in ends]


def check_control(name, control):
    """Raise if an explorer cannot use this control.

    Raises:
        ValueError: if it is not a slider, a check box, a list with one choice or a pad,
            or if it has no label.
    """
    if not isinstance(control, (*SLIDERS, *CHOICES, *SWITCHES, Pad)):
        raise ValueError(
            f"controls[{name!r}]: got {type(control).__name__}, expected a slider of "
            "one number, a list to choose one from, a check box or a pad"
        )
    if not control.description.strip():
        raise ValueError(
            f"controls[{name!r}]: got {type(control).__name__} without a description, "
            "expected a labelled widget"
        )


def check_value(name, control, value):
    """Raise if a control cannot take this value as it is.

    Raises:
        ValueError: if it is not a number within the slider's range, or not an option.
    """
    if isinstance(control, (*CHOICES, Pad)):
        is_pad = isinstance(control, Pad)
        options = control.values if is_pad else _option_values(control)
        if value not in options:
            raise ValueError(f"{name}: got {value!r}, expected one of {options}")
        return
    if isinstance(control, SWITCHES):
        if not isinstance(value, bool):
            raise ValueError(f"{name}: got {value!r}, expected True or False")
        return
    low, high = control.min, control.max
    if isinstance(control, widgets.FloatLogSlider):
        low, high = control.base**low, control.base**high
    kind = "number"
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if isinstance(control, widgets.IntSlider):
        kind = "whole number"
        is_number = is_number and value == np.floor(value)
    # The page rounds values, so an end may come back slightly outside the range.
    slack = 1e-9 * (high - low)
    if not (is_number and low - slack <= value <= high + slack):
        raise ValueError(
            f"{name}: got {value!r}, expected a {kind} from {low:.6g} to {high:.6g}"
        )


def _option_values(control):
    """Return the values of a list's options, which may have labels of their own."""
    options = control.options
    if isinstance(options, Mapping):
        return list(options.values())
    if all(isinstance(each, list | tuple) and len(each) == 2 for each in options):
        return [value for _, value in options]
    return list(options)
