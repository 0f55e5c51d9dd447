"""Programs kept for a student's functions: right for each, and bounded in number."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from helpers import _functions, estimators
from helpers.gaussian import Gaussian

KEY = jax.random.key(0)
Q = Gaussian(jnp.array([0.5, -1.0, 0.2]), jnp.array([0.49, 1.69, 0.16]))


def test_many_functions_are_right_and_few_are_kept():
    for round_ in range(2):
        for n in range(_functions.KEPT + 4):
            f = functools.partial(lambda a, z: a * z.sum(), float(n))
            found = estimators.pathwise(KEY, f, Q, num_samples=1)
            np.testing.assert_array_equal(found.mean, n, err_msg=f"{round_}, {n}")
    assert _functions._program.cache_info().currsize <= _functions.KEPT
