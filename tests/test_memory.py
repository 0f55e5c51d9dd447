"""Memory that compiled programs hold is given back, on request."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

from helpers import memory

PROGRAMS = """
import jax
import psutil
from helpers import memory


def taken():
    return psutil.Process().memory_info().rss / 1e6


def compiled(sizes):
    for n in sizes:
        jax.jit(lambda x: x @ x.T)(jax.numpy.ones((n, 3))).block_until_ready()


compiled(range(1, 3))
before = taken()
compiled(range(3, 63))
between = taken()
memory.give_back()
print(between - before, taken() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc returns it at once")
def test_memory_of_programs_is_given_back():
    python = [sys.executable, "-c", PROGRAMS]
    run = subprocess.run(python, capture_output=True, text=True, check=True)
    grown, left = map(float, run.stdout.split())
    assert grown > 60  # more than a MB for each of 60 programs
    assert left < grown / 3


def test_functions_and_arrays_outlive_it():
    triple, x = jax.jit(lambda x: 3 * x), jnp.arange(4.0)
    before = triple(x)
    memory.give_back()
    assert (triple(x) == before).all()
    assert (before == jnp.array([0.0, 3.0, 6.0, 9.0])).all()
