"""Exercises whose answer is a function that must equal a reference."""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from helpers.exercises.answers import called, kind, numbers, precision
from helpers.exercises.finding import Finding, UnfitError, right, wrong

RTOL = 1e-5  # relative tolerance for doubles; finite differences are good enough
SINGLE = 1e-3  # relative tolerance for an answer that was computed in float32
SHOWN = 16  # arrays of at most this many entries are written out


class Slip(NamedTuple):
    """A common mistake: a wrong form of the function, and the hint for it."""

    form: Callable[..., Any]
    hint: str


class Formula(NamedTuple):
    """An exercise whose answer is a function that must equal a reference.

    The reference and the slips are written in NumPy and compute in doubles. `cases`
    makes the arguments to try: small enough for an answer with plain loops, and such
    that every slip differs from the reference. If there are several results, `parts`
    names them.
    """

    reference: Callable[..., Any]
    cases: Callable[[], list[tuple]]
    slips: tuple[Slip, ...]
    parts: tuple[str, ...] = ()


class _Part(NamedTuple):
    """One part of a result: its values in doubles, and the tolerance for them."""

    values: np.ndarray
    rtol: float = RTOL
    atol: float = 1e-8


def try_all(exercise: Formula, answer: Any, tried: list[tuple]) -> Finding:
    """Compare an answer with the reference, case by case.

    Args:
        exercise: the exercise.
        answer: the student's function.
        tried: each case is appended here, so that the input of an error is known.
    """
    cases = exercise.cases()
    for case in cases:
        tried.append(case)
        given = [a.copy() if isinstance(a, np.ndarray) else a for a in case]
        output = called(answer, *given)
        returned = _parts_of(exercise, output)
        finding = _compared(exercise, case, returned)
        if not finding:
            finding = _changed(exercise, case, given)
        if finding:
            return wrong(given=inputs(exercise, case), **finding)
    return right(checked=f"on {len(cases)} inputs that you have not seen")


def inputs(exercise: Formula, case: tuple) -> str:
    """Return the arguments of a case as text, by name."""
    pairs = zip(_names(exercise), case, strict=True)
    return "; ".join(f"{name} = {shown(value)}" for name, value in pairs)


def _names(exercise):
    return list(inspect.signature(exercise.reference).parameters)


def _parts_of(exercise, output):
    """Split what a student's function returned into its parts."""
    if not exercise.parts:
        return [_part(output, "")]
    expected = f"{len(exercise.parts)} results: {', '.join(exercise.parts)}"
    if isinstance(output, dict) or not hasattr(output, "__len__"):
        raise UnfitError(kind(output), expected)
    if getattr(output, "shape", None) == () or len(output) != len(exercise.parts):
        count = 1 if getattr(output, "shape", None) == () else len(output)
        raise UnfitError(f"{count} result" + "s" * (count != 1), expected)
    return [_part(one, name) for one, name in zip(output, exercise.parts, strict=True)]


def _part(output, name):
    values = numbers(output, name)
    eps = precision(output)
    if eps <= np.finfo(float).eps:
        return _Part(values)
    return _Part(values, rtol=max(SINGLE, 4 * eps), atol=1e-5)


def _exact(exercise, form, case):
    """What the reference or a slip returns, part by part, computed in doubles."""
    doubles = [_as_doubles(argument) for argument in case]
    with np.errstate(all="ignore"):
        output = form(*doubles)
    if exercise.parts:
        return [np.asarray(one, dtype=float) for one in output]
    return [np.asarray(output, dtype=float)]


def _as_doubles(argument):
    if callable(argument):
        return argument
    return jax.tree.map(lambda leaf: np.asarray(leaf, dtype=float), argument)


def _compared(exercise, case, returned):
    """The rows about the first part that is wrong; empty if all are right."""
    expected = _exact(exercise, exercise.reference, case)
    names = exercise.parts or ("",)
    for index, name in enumerate(names):
        one = returned[index]
        other = expected[index]
        if _same(one, other):
            continue
        label = f"{name} = " if name else ""
        if one.values.shape != other.shape:
            text = f"shape {one.values.shape}"
            expected_text = f"shape {other.shape}" if other.shape else "one number"
        elif one.values.size <= 8:
            text, expected_text = shown(one.values), shown(other)
        else:
            at = tuple(int(i) for i in np.argwhere(~_close(one, other))[0])
            label = f"{name or 'result'}{list(at)} = "
            text, expected_text = shown(one.values[at]), shown(other[at])
        hint = _slip(exercise, case, returned, expected, index)
        return {
            "returned": label + text,
            "expected": label + expected_text,
            "hint": hint or general_hint(one.values, other),
        }
    return {}


def _changed(exercise, case, given):
    """The rows about an argument that the answer has changed, if there is one."""
    for name, before, after in zip(_names(exercise), case, given, strict=True):
        if isinstance(before, np.ndarray) and not np.array_equal(before, after, True):
            return {
                "returned": f"the right numbers, but {name} was changed",
                "expected": f"{name} unchanged, since the caller may need it again",
                "hint": f"Make a new array: {name} = {name} - 1, not {name} -= 1.",
            }
    return {}


def _close(one, expected):
    finite = np.abs(expected[np.isfinite(expected)])
    largest = finite.max() if finite.size else 0.0
    # An entry near 0 may be a difference of larger numbers, with their rounding error.
    atol = one.atol + 1e-3 * one.rtol * largest
    return np.isclose(one.values, expected, rtol=one.rtol, atol=atol, equal_nan=True)


def _same(one, expected):
    same_shape = one.values.shape == expected.shape
    return same_shape and bool(_close(one, expected).all())


def _slip(exercise, case, returned, expected, index):
    """The hint of the slip that explains the whole answer, or its first wrong part.

    A slip that explains only the wrong part is used only if no slip explains all parts.
    """
    of_part = ""
    for slip in exercise.slips:
        slipped = _exact(exercise, slip.form, case)
        if all(map(_same, returned, slipped)):
            return slip.hint
        wrong_here = not _same(_Part(slipped[index]), expected[index])
        if not of_part and wrong_here and _same(returned[index], slipped[index]):
            of_part = slip.hint
    return of_part


def general_hint(returned: np.ndarray, expected: np.ndarray) -> str:
    """Return a hint for any exercise, from how the numbers differ."""
    if returned.shape != expected.shape:
        return _shape_hint(returned, expected)
    if not np.isfinite(returned).all() and np.isfinite(expected).all():
        return (
            "Some numbers are not finite. Is there a division by 0, an overflow, or "
            "the logarithm of 0?"
        )
    if returned.size > 1 and _alike(returned[::-1], expected):
        return "The numbers are right, but in the opposite order."
    if expected.size and np.abs(expected).max() > 0:
        largest = np.argmax(np.abs(expected))
        ratio = returned.flat[largest] / expected.flat[largest]
        if _alike(returned, ratio * expected):
            if np.isclose(ratio, -1):
                return "The sign is flipped."
            return f"Your result is {ratio:.4g} times what was expected."
    difference = np.mean(returned - expected)
    if returned.size > 2 and _alike(returned, expected + difference):
        size = "large" if difference > 0 else "small"
        return f"Every number is too {size} by the same {abs(difference):.4g}."
    if returned.size > 1:
        count = int(np.isclose(returned, expected, rtol=RTOL).sum())
        if count:
            return f"{count} of {returned.size} numbers are right."
    return ""


def _shape_hint(returned, expected):
    if returned.shape == expected.shape[::-1] and _alike(returned.T, expected):
        return "The numbers are right, but rows and columns are swapped."
    if returned.size == expected.size and _alike(returned.ravel(), expected.ravel()):
        return "The numbers are right, but there is an axis of length 1 too many."
    if expected.ndim == 0:
        return "Expected one number: is a sum or a mean missing?"
    if returned.ndim == 0 and _alike(returned, expected.sum()):
        return "This is the sum of the expected numbers. Keep them apart: axis=..."
    if returned.ndim == 0 and _alike(returned, expected.mean()):
        return "This is the mean of the expected numbers. Keep them apart: axis=..."
    return "The shape is not the one that was asked for. Over which axis do you sum?"


def _alike(one, other):
    return one.shape == other.shape and np.allclose(one, other, rtol=RTOL)


def shown(value: Any) -> str:
    """Return a value as short text; an array by its entries if there are few."""
    if callable(value):
        return value.__name__
    if isinstance(value, tuple):
        pairs = zip(value._fields, value, strict=True)
        fields = ", ".join(f"{name}={shown(each)}" for name, each in pairs)
        return f"{type(value).__name__}({fields})"
    array = np.asarray(value)
    if array.size > SHOWN:
        return f"an array {array.shape}, first entry {array.flat[0]:.6g}"
    rounded = {"float_kind": lambda number: f"{number:.6g}"}
    return " ".join(np.array2string(array, separator=", ", formatter=rounded).split())
