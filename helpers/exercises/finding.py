"""What is found about an answer: a state, and rows that say why."""

from typing import NamedTuple


class Finding(NamedTuple):
    """A state, and rows of a label and a text."""

    state: str  # "not attempted", "right" or "wrong"
    rows: tuple[tuple[str, str], ...] = ()


class NotAttemptedError(Exception):
    """The answer is, or returns, what the stub has."""


class UnfitError(Exception):
    """The answer cannot be judged: it has another form than the task asks for."""

    def __init__(self, returned: str, expected: str, hint: str = ""):
        """Keep the rows of the verdict."""
        super().__init__(returned)
        self.returned = returned
        self.expected = expected
        self.hint = hint


def right(*, checked: str = "", reached: str = "", expected: str = "") -> Finding:
    """Return the finding of a right answer. Empty rows are left out.

    Args:
        checked: on what a function was tried.
        reached: what an experiment came to.
        expected: what it had to come to.
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
    """Return the finding of a wrong answer. Empty rows are left out.

    Args:
        given: the input for which it is wrong.
        error: what was raised, in words.
        returned: what a function returned.
        reached: what an experiment came to.
        expected: what was expected instead.
        hint: what the slip may be.
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
