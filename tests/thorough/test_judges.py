"""Every judge with many answers: the right are accepted, each slip gets its hint."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from given_answers import EXERCISES, MORE_RIGHT, RIGHT, WRONG

from helpers.exercises.formula import Formula
from helpers.exercises.judge import judge

pytestmark = pytest.mark.usefixtures("as_in_a_notebook")

ALL_RIGHT = MORE_RIGHT + [(name, each) for name in RIGHT for each in RIGHT[name]]


@pytest.mark.parametrize(("name", "answer"), ALL_RIGHT)
def test_a_right_answer_is_right(name, answer):
    finding = judge(EXERCISES[name], answer)
    assert finding.state == "right", finding
    assert not {"hint", "error"} & set(dict(finding.rows))


SLIPS = [
    pytest.param(name, *pair, id=f"{name}-{number}")
    for name, slips in WRONG.items()
    for number, pair in enumerate(slips)
]


@pytest.mark.parametrize(("name", "answer", "words"), SLIPS)
def test_a_slip_gets_its_hint(name, answer, words):
    finding = judge(EXERCISES[name], answer)
    rows = dict(finding.rows)
    assert finding.state == "wrong", finding
    told = [rows.get(label) for label in ("you returned", "your answer", "error")]
    (came,) = filter(None, told)
    assert "expected" in rows or "error" in rows
    said = f"{came}; {rows.get('expected', '')} {rows.get('hint', '')}"
    assert words in said, finding
    assert ("input" in rows) == isinstance(EXERCISES[name], Formula)


FORMULAS = [k for k, e in EXERCISES.items() if isinstance(e, Formula)]


@pytest.mark.parametrize("name", FORMULAS)
def test_every_known_slip_is_recognised(name):
    """Each wrong form differs from the reference, and its own hint is the one shown."""
    for slip in EXERCISES[name].slips:
        finding = judge(EXERCISES[name], in_numpy(slip.form))
        assert finding.state == "wrong", slip.hint
        assert dict(finding.rows)["hint"] == slip.hint


def in_numpy(form):
    """Return an answer that converts JAX arrays to NumPy and applies the form."""

    def answer(*args):
        with np.errstate(all="ignore"):
            return form(*jax.tree.map(to_numpy, args))

    return answer


def to_numpy(argument):
    return argument if callable(argument) else np.asarray(argument, dtype=float)


# Any floating type.

TYPES = [np.float32, np.float16, jnp.bfloat16, np.longdouble]


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("name", FORMULAS)
def test_an_answer_may_have_any_floating_type(name, dtype):
    right = RIGHT[name][0]

    def answer(*args):
        return jax.tree.map(lambda a: np.asarray(a).astype(dtype), right(*args))

    assert judge(EXERCISES[name], answer).state == "right"
    _, (wrong, _), *_ = WRONG[name][1:]

    def wrong_answer(*args):
        return jax.tree.map(lambda a: np.asarray(a).astype(dtype), wrong(*args))

    assert judge(EXERCISES[name], wrong_answer).state == "wrong"


@pytest.mark.parametrize("name", FORMULAS)
def test_an_answer_may_compute_in_single_precision(name):
    right = RIGHT[name][0]

    def answer(*args):
        return right(*jax.tree.map(to_single, args))

    assert judge(EXERCISES[name], answer).state == "right"


def to_single(argument):
    if callable(argument) or isinstance(argument, float):
        return argument
    return jnp.asarray(argument, dtype=jnp.float32)
