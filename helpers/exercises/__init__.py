"""Self-checks: `check` says of an answer what is wrong with it, and never raises.

An exercise is a Formula (a function that must equal a reference on inputs that the
student has not seen) or an Experiment (something that must reach a number). Each
notebook's are in a module of their own.
"""

import html
from typing import Any, NamedTuple

from IPython.display import display

from helpers.exercises import (
    notebook_01,
    notebook_02,
    notebook_03,
    notebook_04,
    notebook_05,
    notebook_06,
)
from helpers.exercises.judge import Finding, judge, wrong

__all__ = ["check", "progress"]

# By notebook, in the order of the exercises; a name occurs once.
EXERCISES = {
    "01": notebook_01.EXERCISES,
    "02": notebook_02.EXERCISES,
    "03": notebook_03.EXERCISES,
    "04": notebook_04.EXERCISES,
    "05": notebook_05.EXERCISES,
    "06": notebook_06.EXERCISES,
}

MARKS = {"right": "✓", "wrong": "✗", "not attempted": "…"}
# The edge of the box, colour-blind-safe; the words say the same.
EDGES = {"right": "#009E73", "wrong": "#D55E00", "not attempted": "#888888"}

_states: dict[str, str] = {}  # of the student's own answers, by name


class Verdict(NamedTuple):
    """A finding about a named exercise, as HTML and as text."""

    name: str
    finding: Finding

    def __repr__(self):
        state = self.finding.state
        lines = [f"{MARKS[state]} {self.name}: {state}"]
        return "\n".join(lines + [f"  {k}: {text}" for k, text in self.finding.rows])

    def _repr_html_(self):
        state = self.finding.state
        rows = "".join(
            f"<tr><th style='text-align: left; vertical-align: top'>{label}</th>"
            "<td style='text-align: left; white-space: pre-wrap'>"
            f"{html.escape(text)}</td></tr>"
            for label, text in self.finding.rows
        )
        return (
            f"<div style='border-left: 5px solid {EDGES[state]}; padding-left: 1em'>"
            f"{MARKS[state]} {html.escape(self.name)}: <b>{state}</b>"
            + (f"<table>{rows}</table>" if rows else "")
            + "</div>"
        )


def check(name: str, answer: Any, *, solution: bool = False) -> None:
    """Show whether an answer is right; if not, for which input, and a hint.

    Whatever the answer does, nothing is raised: an error, a wrong shape, an endless
    loop (ended after some seconds) and a name that is not known become the verdict.

    Args:
        name: of the exercise.
        answer: the value or the function asked for; `...` or None if not attempted.
        solution: whether this is the course's solution, which is not counted by
            `progress`.
    """
    known = {k: v for table in EXERCISES.values() for k, v in table.items()}
    if name not in known:
        names = ", ".join(known)
        display(Verdict(str(name), wrong(came="an unknown name", wanted=names)))
        return
    finding = judge(known[name], answer)
    if not solution:
        _states[name] = finding.state
    display(Verdict(name + " (solution)" * solution, finding))


def progress(notebook: str) -> None:
    """Print which exercises of a notebook stand, in one line.

    Args:
        notebook: its number, such as "01".

    Raises:
        ValueError: there is no such notebook.
    """
    if notebook not in EXERCISES:
        wanted = ", ".join(EXERCISES)
        raise ValueError(f"notebook: got {notebook!r}, wanted one of {wanted}")
    states = {name: _states.get(name, "not attempted") for name in EXERCISES[notebook]}
    count = sum(state == "right" for state in states.values())
    words = ", ".join(f"{name}: {state}" for name, state in states.items())
    print(f"{count} of {len(states)} exercises stand ({words})")
