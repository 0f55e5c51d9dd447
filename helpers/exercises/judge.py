"""What an exercise is, and how an answer to one is judged."""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from helpers.exercises import guard

RTOL = 1e-5


class Finding(NamedTuple):
    """What was found: a state, and rows of a label and a text that say why."""

    state: str  # "not attempted", "right" or "wrong"
    rows: tuple[tuple[str, str], ...] = ()


class Formula(NamedTuple):
    """An exercise whose answer is a function that must equal a reference.

    `cases` makes the arguments to try. A slip is a wrong form and its hint: an answer
    that gives what the wrong form gives gets the hint. `parts` names the results if
    there are several.
    """

    reference: Callable[..., Any]
    cases: Callable[[], list[tuple]]
    slips: tuple[tuple[Callable[..., Any], str], ...]
    parts: tuple[str, ...] = ()


class Experiment(NamedTuple):
    """An exercise whose answer must reach a number: `judge` says whether it does.

    It takes the answer, and raises a ValueError that says what came and what was
    wanted where it cannot be judged.
    """

    judge: Callable[[Any], Finding]


class NotAttemptedError(Exception):
    """The answer is, or returns, what the stub has."""


def right(**rows) -> Finding:
    """Return the finding of a right answer, with rows by label."""
    return Finding("right", tuple(rows.items()))


def wrong(**rows) -> Finding:
    """Return the finding of a wrong answer: came, wanted, hint. Empty rows are left."""
    return Finding(
        "wrong", tuple((label, text) for label, text in rows.items() if text)
    )


def judge(exercise: Formula | Experiment, answer: Any) -> Finding:
    """Judge an answer, whatever it does.

    Args:
        exercise: what is wanted.
        answer: a student's value or function.

    Returns:
        Finding. The rows of a wrong one say for which input, what came, what was
        wanted, and a hint where the slip is a known one.
    """
    tried = []  # the inputs so far: the last one is where an error came from

    def job():
        try:
            if isinstance(exercise, Formula):
                return _try_all(exercise, answer, tried)
            return exercise.judge(attempted(answer))
        except NotAttemptedError as error:
            return Finding("not attempted", (("note", str(error)),))
        except NotImplementedError:
            return Finding("not attempted")

    outcome = guard.run(job)
    finding = outcome.result
    if outcome.error:
        rows = {"input": _inputs(exercise.reference, tried[-1])} if tried else {}
        finding = wrong(**rows, came=outcome.error, hint=outcome.hint)
    rows = [*finding.rows]
    if outcome.alive:
        why = "It still runs, in compiled code or in a wait. Restart the kernel."
        rows.append(("note", why))
    rows.append(("printed", outcome.printed))
    return Finding(finding.state, tuple(row for row in rows if row[1]))


def attempted(answer):
    """Return an answer, or raise NotAttemptedError if it is the stub's."""
    if answer is ... or answer is None:
        raise NotAttemptedError
    return answer


def called(answer, *args):
    """Return what an answer gives for some arguments; NotAttemptedError if nothing."""
    if not callable(attempted(answer)):
        kind = type(answer).__name__
        raise ValueError(f"answer: got {kind}, wanted a function, without brackets")
    output = answer(*args)
    if output is None:
        raise NotAttemptedError("The function returned nothing. Is `return` there?")
    return attempted(output)


def numbers(output: Any, name: str = "") -> np.ndarray:
    """Return what an answer gave as an array of doubles.

    Raises:
        ValueError: it is not made of real numbers.
    """
    array = np.asarray(output)
    if array.dtype.kind in "OUScmM":
        kind = type(output).__name__
        raise ValueError(f"{name or 'result'}: got {kind}, wanted real numbers")
    return array.astype(float)


def _try_all(exercise, answer, tried):
    cases = exercise.cases()
    for case in cases:
        tried.append(case)
        given = [a.copy() if isinstance(a, np.ndarray) else a for a in case]
        output = called(answer, *given)
        came = _parts(exercise, output)
        expected = _parts(exercise, exercise.reference(*case))
        finding = _compared(exercise, case, came, expected)
        changed = [
            name
            for name, before, after in zip(_names(exercise), case, given, strict=True)
            if isinstance(before, np.ndarray)
            and not np.array_equal(before, after, equal_nan=True)
        ]
        if changed and not finding:
            name = changed[0]
            finding = {
                "came": f"the right numbers, but {name} was changed",
                "wanted": f"{name} as it was: the caller may need it again",
                "hint": f"Make something new: {name} = {name} - 1, not {name} -= 1.",
            }
        if finding:
            return wrong(input=_inputs(exercise.reference, case), **finding)
    return right(checked=f"on {len(cases)} inputs that you have not seen")


def _parts(exercise, output):
    """What a function returned, part by part."""
    if not exercise.parts:
        return [numbers(output)]
    wanted = f"{len(exercise.parts)} results: {', '.join(exercise.parts)}"
    if not isinstance(output, tuple | list) or len(output) != len(exercise.parts):
        came = f"{len(output)} results" if isinstance(output, tuple | list) else "one"
        raise ValueError(f"result: got {came}, wanted {wanted}")
    return [numbers(*pair) for pair in zip(output, exercise.parts, strict=True)]


def _compared(exercise, case, came, expected):
    """Rows on the first part that is wrong; nothing if all are right."""
    names = exercise.parts or ("",)
    for name, one, other in zip(names, came, expected, strict=True):
        if _same(one, other):
            continue
        hint = _slip(exercise, case, came) or _general_hint(one, other)
        label = f"{name} = " if name else ""
        if one.shape != other.shape:
            rows = f"{label}shape {one.shape}", f"{label}shape {other.shape}"
        elif one.size <= 8:
            rows = f"{label}{shown(one)}", f"{label}{shown(other)}"
        else:
            at = tuple(map(int, np.argwhere(~_close(one, other))[0]))
            place = f"{name or 'result'}{list(at)} = "
            rows = f"{place}{one[at]:.6g}", f"{place}{other[at]:.6g}"
        return {"came": rows[0], "wanted": rows[1], "hint": hint}
    return {}


def _close(one, other):
    return np.isclose(one, other, rtol=RTOL, atol=1e-8, equal_nan=True)


def _same(one, other):
    return one.shape == other.shape and bool(_close(one, other).all())


def _slip(exercise, case, came):
    for form, hint in exercise.slips:
        slipped = _parts(exercise, form(*case))
        if all(map(_same, came, slipped)):
            return hint
    return ""


def _general_hint(came, wanted):
    if came.shape != wanted.shape:
        if came.shape == wanted.shape[::-1] and _same(came.T, wanted):
            return "The numbers are right, but rows and columns are exchanged."
        return (
            "The shape is not the one that was asked for. Over which axis do you sum?"
        )
    if not np.isfinite(came).all() and np.isfinite(wanted).all():
        return "Not finite: a division by 0, an overflow, or the logarithm of 0?"
    with np.errstate(all="ignore"):
        ratios = came / wanted
    ratios = ratios[np.isfinite(ratios) & (wanted != 0)]
    if len(ratios) > 1 and _same(ratios, np.full_like(ratios, ratios[0])):
        return f"Everything is {ratios[0]:.4g} times what was wanted."
    return ""


def shown(value: Any) -> str:
    """Return a value as short text: an array by its entries, if there are few."""
    if callable(value):
        return value.__name__
    if isinstance(value, tuple):
        fields = getattr(value, "_fields", range(len(value)))
        texts = [f"{k}={shown(v)}" for k, v in zip(fields, value, strict=True)]
        return f"{type(value).__name__}({', '.join(texts)})"
    array = np.asarray(value)
    if array.size > 12:
        return f"an array {array.shape}, first entry {array.flat[0]:.6g}"
    rounded = {"float_kind": lambda number: f"{number:.6g}"}
    return " ".join(np.array2string(array, separator=", ", formatter=rounded).split())


def _names(exercise):
    return list(inspect.signature(exercise.reference).parameters)


def _inputs(reference, case):
    names = inspect.signature(reference).parameters
    return "; ".join(f"{k} = {shown(v)}" for k, v in zip(names, case, strict=True))
