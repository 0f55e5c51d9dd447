"""The finding about an answer: right, wrong or not attempted, and why."""

from typing import NamedTuple


class Finding(NamedTuple):
    """A state, and rows that explain it, each with a label and a text."""

    state: str  # "not attempted", "right" or "wrong"
    rows: tuple[tuple[str, str], ...] = ()


class NotAttemptedError(Exception):
    """Raised if the answer is, or returns, what the stub has."""


class UnfitError(Exception):
    """Raised if an answer does not have the form that the task asks for."""

    def __init__(self, returned: str, expected: str, hint: str = ""):
        """Keep the rows of the verdict."""
        super().__init__(returned)
        self.returned = returned
        self.expected = expected
        self.hint = hint


def right(*, checked: str = "", reached: str = "", expected: str = "") -> Finding:
    """Return the finding for a right answer. Empty rows are left out.

    Args:
        checked: on which inputs a function was tried.
        reached: the result of an experiment.
        expected: the result that was required.
    """
    return Finding(
        "right",
        rows(
            ("checked", checked),
            ("your answer", reached),
            ("expected", expected),
        ),
    )


def wrong(
    *,
    given: str = "",
    error: str = "",
    returned: str = "",
    reached: str = "",
    expected: str = "",
    hint: str = "",
) -> Finding:
    """Return the finding for a wrong answer. Empty rows are left out.

    Args:
        given: an input for which it is wrong.
        error: the error that was raised, in words.
        returned: what a function returned.
        reached: the result of an experiment.
        expected: what was expected instead.
        hint: what the mistake may be.
    """
    return Finding(
        "wrong",
        rows(
            ("input", given),
            ("error", error),
            ("you returned", returned),
            ("your answer", reached),
            ("expected", expected),
            ("hint", hint),
        ),
    )


def rows(*pairs: tuple[str, str]) -> tuple[tuple[str, str], ...]:
    """Return the pairs whose text is not empty."""
    return tuple(pair for pair in pairs if pair[1])
