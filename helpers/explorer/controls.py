"""Labelled controls for an explorer, and the places that each can be in."""

import numbers

import ipywidgets as widgets
import numpy as np

__all__ = ["choice", "positions", "slider", "toggle"]

# On a narrow page the label stands above its slider, which else had no room to move.
LOOK = {
    "style": {"description_width": "16em"},
    "layout": {"width": "min(42em, 98%)", "height": "auto", "flex_flow": "row wrap"},
}


def slider(label, low, high, value, *, step=None, log=False):
    """Return a labelled slider from `low` to `high`, both included.

    Args:
        label: what moves, with its unit: "sigma (min)".
        low: smallest value. Whole numbers throughout give a slider of whole numbers.
        high: largest value.
        value: where it starts: at the position nearest to it. The page holds nothing
            between two positions, and would move the control there by itself.
        step: distance of two positions; a hundredth of the range if None.
        log: equal ratios instead of equal steps; `low` must be above 0, and `step` is
            in powers of ten.

    Raises:
        ValueError: `low`, `value`, `high` are not finite and in order, `step` is not
            above 0, or a log slider's `low` is not above 0.
    """
    if not (low <= value <= high and low < high and np.isfinite([low, high]).all()):
        raise ValueError(
            f"{label}: got low={low}, value={value}, high={high}, wanted low <= value "
            "<= high, with low below high and both finite"
        )
    if step is not None and not (np.isfinite(step) and step > 0):
        raise ValueError(f"{label}: got step={step}, wanted a number above 0")
    if log:
        if low <= 0:
            raise ValueError(f"{label}: got low={low}, wanted above 0 for a log slider")
        kind, (low, high, start) = widgets.FloatLogSlider, np.log10([low, high, value])
    elif all(isinstance(n, numbers.Integral) for n in (low, high, value, step or 1)):
        kind, step, start = widgets.IntSlider, step or 1, value
    else:
        kind, start = widgets.FloatSlider, value
    step = step or (high - low) / 100
    on_grid = low + round((start - low) / step) * step
    nearest = min(on_grid, high, key=lambda position: abs(position - start))
    if abs(nearest - start) > 1e-9 * step:
        value = 10**nearest if log else nearest
    return kind(value, min=low, max=high, step=step, description=label, **LOOK)


def choice(label, options, value=None):
    """Return a labelled list to choose one from; the first option if `value` is None.

    Raises:
        ValueError: there are no options, or `value` is not one of them.
    """
    options = list(options)
    value = options[0] if value is None and options else value
    if value not in options:
        raise ValueError(f"{label}: got {value!r}, wanted one of {options}")
    return widgets.Dropdown(options=options, value=value, description=label, **LOOK)


def toggle(label, value=False):
    """Return a labelled check box."""
    return widgets.Checkbox(value, description=label, **LOOK)


def positions(control):
    """Return values from one end of a control to the other: all, or some 21 of them."""
    if isinstance(control, widgets.Dropdown):
        return list(control.options)
    if isinstance(control, widgets.Checkbox):
        return [False, True]
    if isinstance(control, widgets.IntSlider):
        every = range(control.min, control.max + 1, control.step)
        return [*every[:: max(1, len(every) // 20)], control.max]
    ends = np.linspace(control.min, control.max, 21)
    if isinstance(control, widgets.FloatLogSlider):
        return [float(control.base**power) for power in ends]
    return [float(value) for value in ends]
