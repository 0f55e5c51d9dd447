"""The estimators of gradients, averaged over many draws, and in each precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_estimators import (
    ESTIMATORS,
    EXPONENTIAL,
    KEY,
    MEAN,
    ONE,
    QUADRATIC,
    Q,
    every_estimator,
    exponential,
    quadratic,
    standard_errors,
    step,
)

from helpers import estimators, gaussian
from helpers.gaussian import Gaussian


@pytest.mark.parametrize(
    ("f", "truth"), [(quadratic, QUADRATIC), (exponential, EXPONENTIAL)]
)
@every_estimator
def test_estimates_average_to_the_closed_form(name, f, truth):
    estimates = ESTIMATORS[name](KEY, f, Q, num_samples=20_000)
    for deviations in standard_errors(estimates, truth):
        assert jnp.abs(deviations).max() < 4


def test_leave_one_out_subtracts_the_mean_of_the_others():
    plain = estimators.score_function(KEY, quadratic, Q, num_samples=6)
    found = ESTIMATORS["leave one out"](KEY, quadratic, Q, num_samples=6)
    values = np.array(jax.vmap(quadratic)(gaussian.sample(KEY, Q, 6)))
    others = np.array([np.delete(values, s).mean() for s in range(6)])
    for leaf, bare in zip(found, plain, strict=True):
        expected = bare / values[:, None] * (values - others)[:, None]
        np.testing.assert_allclose(leaf, expected, rtol=1e-10)


def test_a_good_baseline_lowers_the_variance():
    spreads = [
        ESTIMATORS[name](KEY, quadratic, Q, num_samples=5000).mean.var(axis=0).sum()
        for name in ("score", "leave one out", "pathwise")
    ]
    assert spreads[0] > 1.5 * spreads[1] > 1.5 * spreads[2]


def test_a_shared_variance_counts_as_one_sigma_per_dimension():
    shared = Gaussian(MEAN, jnp.array(0.49))
    apart = Gaussian(MEAN, jnp.full(3, 0.49))
    for name, estimator in ESTIMATORS.items():
        pair = [estimator(KEY, quadratic, q, num_samples=4) for q in (shared, apart)]
        np.testing.assert_allclose(*map(jnp.stack, pair), rtol=1e-14, err_msg=name)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_precision_is_kept(dtype):
    def f(z):
        return jnp.sin(z[0])

    q = Gaussian(*(leaf.astype(dtype) for leaf in ONE))
    exact = estimators.exact_gradient(f, q, num_nodes=16)
    found = [exact, *(run(KEY, f, q, num_samples=4) for run in ESTIMATORS.values())]
    assert {leaf.dtype for leaf in jax.tree.leaves(found)} == {jnp.dtype(dtype)}
    expected = np.cos(0.3) * np.exp(-0.32)
    rtol = 100 * jnp.finfo(dtype).eps
    np.testing.assert_allclose(exact.mean, [expected], rtol=rtol)


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_the_check_does_not_depend_on_the_scale_of_f(scale, refused):
    found = estimators.exact_gradient(
        lambda z: scale * jnp.sin(z[0]), ONE, num_nodes=20
    )
    np.testing.assert_allclose(found.mean, scale * np.cos(0.3) * np.exp(-0.32))
    with refused("num_nodes", "got 20", "closed form"):
        estimators.exact_gradient(lambda z: scale * step(z), ONE, num_nodes=20)
