"""Judge an answer to an exercise, whatever the answer does."""

from collections.abc import Callable
from typing import Any, NamedTuple

from helpers.exercises import guard
from helpers.exercises.answers import attempted
from helpers.exercises.finding import (
    Finding,
    NotAttemptedError,
    UnfitError,
    rows,
    wrong,
)
from helpers.exercises.formula import Formula, inputs, try_all


class Experiment(NamedTuple):
    """An exercise that has a judge of its own.

    `judge` takes the answer and returns a Finding, or raises UnfitError if the answer
    does not have the right form.
    """

    judge: Callable[[Any], Finding]


def judge(exercise: Formula | Experiment, answer: Any) -> Finding:
    """Judge an answer, whatever it does.

    Args:
        exercise: the exercise.
        answer: a student's value or function.

    Returns:
        Finding. If the answer is wrong, the rows give an input, what the student
        returned, what was expected, and a hint if the mistake is a known one.
    """
    tried = []  # the inputs so far; an error comes from the last one

    def given():
        return inputs(exercise, tried[-1]) if tried else ""

    def job():
        try:
            if isinstance(exercise, Formula):
                return try_all(exercise, answer, tried)
            return exercise.judge(attempted(answer))
        except NotAttemptedError as error:
            return Finding("not attempted", rows(("note", str(error))))
        except NotImplementedError as error:
            if guard.is_a_stub(error):
                return Finding("not attempted")
            raise
        except UnfitError as error:
            return wrong(
                given=given(),
                returned=error.returned,
                expected=error.expected,
                hint=error.hint,
            )

    outcome = guard.run(job)
    finding = outcome.result
    if outcome.error:
        finding = wrong(given=given(), error=outcome.error, hint=outcome.hint)
    alive = (
        "Your code is still running, in compiled code or in a wait, and cannot be "
        "stopped. Restart the kernel."
    )
    notes = rows(
        ("note", alive if outcome.alive else ""),
        ("printed", outcome.printed),
    )
    return Finding(finding.state, finding.rows + notes)
