"""At which places of an explorer's controls its states are recorded.

In the notebook every position of every slider can be reached; for two sliders these are
often ten thousand states or more. On the page each control gets places of its own:

- a list and a check box keep all of theirs, a pad its samples;
- a slider that has a play button keeps all of its positions;
- of the others, the one with the most places is thinned until all combinations together
  are at most `MOST` states. The places left are equally far apart, counted from where
  the slider starts, and both ends are among them;
- `CHOSEN` says for some explorers, by their labels, which places matter instead.
"""

import math
from typing import NamedTuple

import ipywidgets as widgets

from helpers.explorer.controls import CHOICES, SLIDERS, SWITCHES, positions
from helpers.explorer.pad import Pad

__all__ = ["CHOSEN", "START", "Every", "Places", "of_controls"]

# States of one explorer, where nothing else is said.
MOST = 1700
# How many positions of a slider become one place: so steps stay numbers that read well.
STRIDES = (1, 2, 4, 5, 10, 20, 25, 40, 50, 100, 200, 500)

# The control stays at its start.
START = "start"


class Every(NamedTuple):
    """Every so many positions of a slider, counted from its start."""

    stride: int


# By an explorer's label and a control's name: START, `Every` or a list of values.
CHOSEN = {
    # Four free coordinates of the starting means: no grid of a useful size is fine
    # enough to drag them, and EM's steps from the given start are what the text reads.
    "EM stepper": {
        "first_x": START,
        "first_y": START,
        "second_x": START,
        "second_y": START,
    },
    # The first half-steps are the long ones; the staircase depends on where it begins.
    "Staircase": {
        "m": Every(5),
        "a": Every(5),
        "half_steps": [*range(9), 10, 12, 16, 20],
    },
    # The best Gaussian is searched for anew at each place, which takes long.
    "Posterior, best Gaussian, encoder": {"x1": Every(4), "x2": Every(4)},
    # The means are dragged; sigma matters at its ends and around its start.
    "Noise held still": {
        "mu_1": Every(5),
        "mu_2": Every(5),
        "sigma": [0.05, 0.25, 0.5, 0.75, 1.05],
    },
    # The curve depends on c, sigma and d, and b is a dot on it, whose places are cheap.
    "The baseline": {
        "b": Every(10),
        "c": Every(5),
        "sigma": Every(5),
        "d": [1, 2, 4, 8],
    },
}


class Places(NamedTuple):
    """Where a control is recorded.

    Attributes:
        values: from one end of the control to the other.
        start: which of them it starts at.
        stride: of a slider thinned evenly, how many positions became one; else 1.
        is_whole: whether the control has no other places in the notebook.
    """

    values: list
    start: int
    stride: int
    is_whole: bool


def of_controls(label, controls, *, play=None, chosen=None, most=MOST):
    """Return the places of each control by name.

    Args:
        label: the explorer's.
        controls: its widgets by name, each where it starts.
        play: the name of the slider with a play button.
        chosen: places per explorer label; `CHOSEN` if None.
        most: limit on states if nothing is chosen.

    Raises:
        ValueError: `chosen` names no control of the explorer, or a value that its
            control cannot take, or says START or `Every` of a list.
    """
    said = (CHOSEN if chosen is None else chosen).get(label, {})
    for name in said:
        if name not in controls:
            raise ValueError(
                f"places of {label!r}: got {name!r}, expected one of {list(controls)}"
            )
    places = {
        name: _said_places(label, name, control, said.get(name, Every(1)))
        for name, control in controls.items()
    }
    thinned = [
        name
        for name, control in controls.items()
        if isinstance(control, SLIDERS) and name not in said and name != play
    ]
    while thinned and math.prod(len(each.values) for each in places.values()) > most:
        name = max(thinned, key=lambda each: len(places[each].values))
        larger = [each for each in STRIDES if each > places[name].stride]
        if not larger:
            break
        places[name] = _every(controls[name], larger[0])
    return places


def _said_places(label, name, control, said):
    """Return the places chosen for one control."""
    if said == START:
        return Places([control.value], 0, 1, False)
    if isinstance(said, Every) and isinstance(control, SLIDERS):
        return _every(control, said.stride)
    whole = positions(control) if not isinstance(control, SLIDERS) else None
    values = whole if isinstance(said, Every) else list(said)
    if control.value not in values:
        raise ValueError(
            f"places of {label!r}, {name}: got {values}, expected the start "
            f"{control.value!r} among them"
        )
    is_whole = values == whole and not isinstance(control, Pad)
    return Places(values, values.index(control.value), 1, is_whole)


def _every(control, stride):
    """Return a slider's positions from its start, `stride` apart, and both its ends."""
    low, high, step = control.min, control.max, control.step
    is_log = isinstance(control, widgets.FloatLogSlider)
    start = math.log(control.value, control.base) if is_log else control.value
    num_steps = math.floor((high - low) / step + 1e-9)
    every = [low + index * step for index in range(num_steps + 1)]
    if high - every[-1] > 1e-9 * step:  # the end is a position too
        every.append(high)
    at = min(range(len(every)), key=lambda index: abs(every[index] - start))
    last = len(every) - 1
    chosen = sorted({0, last, *range(at % stride, last + 1, stride)})
    places = [min(every[index], high) for index in chosen]
    if is_log:
        values = [float(control.base**place) for place in places]
    elif isinstance(control, widgets.IntSlider):
        values = places
    else:
        values = [float(place) for place in places]
    values[chosen.index(at)] = control.value
    return Places(values, chosen.index(at), stride, stride == 1)


def readouts(control, values):
    """Return the text shown beside a control for each value."""
    if isinstance(control, SLIDERS):
        return [_formatted(value, control.readout_format) for value in values]
    if isinstance(control, CHOICES):
        words = dict(zip(control._options_values, control._options_labels, strict=True))
        return [words[value] for value in values]
    if isinstance(control, SWITCHES):
        return ["on" if value else "off" for value in values]
    return [value or "nothing" for value in values]  # of a pad


def _formatted(value, form):
    """Return a number as ipywidgets writes it beside a slider, by D3's rules."""
    if form.endswith("g"):
        # JavaScript's toPrecision, which is what D3 does: zeros at the end stay.
        digits = int(form[1:-1] or 6) if form.startswith(".") else 6
        power = int(f"{value:.{digits - 1}e}".partition("e")[2])
        if -6 <= power < digits:
            text = f"{value:.{digits - 1 - power}f}"
        else:
            mantissa, _, _ = f"{value:.{digits - 1}e}".partition("e")
            text = f"{mantissa}e{power:+d}"
    else:
        text = format(value, form)
    return text.replace("-", "\N{MINUS SIGN}", 1) if text.startswith("-") else text


def in_words(control, places):
    """Return how far apart a slider's places are: "in steps of 0.05"."""
    if places.is_whole:
        return "at every position"
    if places.stride == 1:
        return f"at {len(places.values)} values"
    step = places.stride * control.step
    if isinstance(control, widgets.FloatLogSlider):
        return f"in factors of {control.base**step:.3g}"
    return f"in steps of {step:.6g}"
