"""How an answer to an exercise is judged, whatever it does."""

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
    """An exercise whose answer must reach a number: `judge` says whether it does.

    It takes the answer, and raises UnfitError where it cannot be judged.
    """

    judge: Callable[[Any], Finding]


def judge(exercise: Formula | Experiment, answer: Any) -> Finding:
    """Judge an answer, whatever it does.

    Args:
        exercise: what is expected.
        answer: a student's value or function.

    Returns:
        Finding. The rows of a wrong one say for which input, what came, what was
        expected, and a hint where the slip is a known one.
    """
    tried = []  # the inputs so far: the last one is where an error came from

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
    alive = "It still runs, in compiled code or in a wait. Restart the kernel."
    notes = rows(
        ("note", alive if outcome.alive else ""),
        ("printed", outcome.printed),
    )
    return Finding(finding.state, finding.rows + notes)
