"""Right answers are fast enough even as plain loops, and verdicts are repeatable."""

import importlib.util
import time
from pathlib import Path

import pytest

from helpers.exercises import guard
from helpers.exercises.judge import judge


def answers():
    """Load the right answers from the quick tests, whose folder is no package."""
    path = Path(__file__).parents[1] / "test_exercises.py"
    spec = importlib.util.spec_from_file_location("exercises_answered", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


ANSWERED = answers()


@pytest.mark.parametrize("name", ANSWERED.RIGHT)
def test_plain_loops_take_a_small_part_of_the_time_limit(name, as_user):
    """After compiling, so that only the loops over the judge's inputs count."""
    exercise, answer = ANSWERED.EXERCISES[name], ANSWERED.RIGHT[name][1]
    assert judge(exercise, answer).state == "right"
    begun = time.process_time()
    assert judge(exercise, answer).state == "right"
    assert time.process_time() - begun < guard.SECONDS / 10


@pytest.mark.parametrize("name", ANSWERED.RIGHT)
def test_a_verdict_says_the_same_each_time(name, as_user):
    exercise = ANSWERED.EXERCISES[name]
    for answer in (..., ANSWERED.RIGHT[name][0], ANSWERED.WRONG[name][0][0]):
        assert judge(exercise, answer) == judge(exercise, answer)
