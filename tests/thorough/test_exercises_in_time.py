"""Right answers are fast enough even as plain loops, and verdicts are repeatable."""

import time

import pytest
from given_answers import EXERCISES, RIGHT, WRONG

from helpers.exercises import guard
from helpers.exercises.judge import judge


@pytest.mark.parametrize("name", RIGHT)
def test_plain_loops_take_a_small_part_of_the_time_limit(name, as_user):
    """After compiling, so that only the loops over the judge's inputs count."""
    exercise, answer = EXERCISES[name], RIGHT[name][1]
    assert judge(exercise, answer).state == "right"
    begun = time.process_time()
    assert judge(exercise, answer).state == "right"
    assert time.process_time() - begun < guard.SECONDS / 10


@pytest.mark.parametrize("name", RIGHT)
def test_a_verdict_says_the_same_each_time(name, as_user):
    exercise = EXERCISES[name]
    for answer in (..., RIGHT[name][0], WRONG[name][0][0]):
        assert judge(exercise, answer) == judge(exercise, answer)
