"""Checks of the exercises: `check` shows what is wrong with an answer; it never raises.

An exercise is either a Formula, a function that must equal a reference on inputs that
the student has not seen, or an Experiment, which has a judge of its own. There is one
module of exercises for each notebook.
"""

import difflib
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
from helpers.exercises.finding import Finding, wrong
from helpers.exercises.judge import judge

__all__ = ["check", "progress"]

# By notebook, in the order of the exercises. Each name occurs only once.
EXERCISES = {
    "01": notebook_01.EXERCISES,
    "02": notebook_02.EXERCISES,
    "03": notebook_03.EXERCISES,
    "04": notebook_04.EXERCISES,
    "05": notebook_05.EXERCISES,
    "06": notebook_06.EXERCISES,
}

MARKS = {"right": "✓", "wrong": "✗", "not attempted": "…"}
# The colour of the box's edge, colour-blind-safe; the words say the same.
EDGES = {"right": "#009E73", "wrong": "#D55E00", "not attempted": "#888888"}

_states: dict[str, str] = {}  # by name, the state of the student's own answers


class Verdict(NamedTuple):
    """The finding about one exercise, shown as HTML or as text."""

    name: str
    finding: Finding

    def __repr__(self):
        state = self.finding.state
        lines = [f"{MARKS[state]} {self.name}: {state}"]
        for label, text in self.finding.rows:
            lines.append(f"  {label}: {text}")
        return "\n".join(lines)

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
    """Show whether an answer is right; if not, for which input, with a hint.

    Nothing is raised, whatever the answer does: an error, a wrong shape, an endless
    loop (stopped after some seconds) or an unknown name is shown as the verdict.

    Args:
        name: the name of the exercise.
        answer: the value or the function asked for; `...` or None if not attempted.
        solution: True for the course's own solution, which `progress` does not count.
    """
    known = {}
    for exercises in EXERCISES.values():
        known.update(exercises)
    if not isinstance(name, str) or name not in known:
        display(_unknown(name, list(known)))
        return
    finding = judge(known[name], answer)
    if not solution:
        _states[name] = finding.state
    display(Verdict(name + " (solution)" * solution, finding))


def _unknown(name, known):
    if not isinstance(name, str):
        finding = wrong(
            returned=f"a name of type {type(name).__name__}",
            expected='the name in quotes, as in check("score", score)',
        )
        return Verdict("unknown exercise", finding)
    closest = difflib.get_close_matches(name, known, n=1)
    finding = wrong(
        error="there is no exercise with this name",
        expected=f"one of {', '.join(known)}",
        hint=f"Did you mean {closest[0]}?" if closest else "",
    )
    return Verdict(name, finding)


def progress(notebook: str) -> None:
    """Print how many exercises of a notebook are solved, in one line.

    Args:
        notebook: the number of the notebook, such as "01".

    Raises:
        ValueError: if there is no such notebook.
    """
    if not isinstance(notebook, str) or notebook not in EXERCISES:
        known = ", ".join(f'"{number}"' for number in EXERCISES)
        raise ValueError(f"notebook: got {notebook!r}, expected one of {known}")
    states = {name: _states.get(name, "not attempted") for name in EXERCISES[notebook]}
    count = sum(state == "right" for state in states.values())
    words = ", ".join(f"{name}: {state}" for name, state in states.items())
    print(f"{count} of {len(states)} exercises solved ({words})")
