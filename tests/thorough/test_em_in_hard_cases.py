"""EM where it is numerically hard: float32, offsets, narrow components, outliers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from em_cases import KINDS, SPHERICAL, START, X, both_kinds
from sklearn import datasets

from helpers import em, mixture
from helpers.mixture import Mixture


def both_precisions(start, x, **options):
    """The same numbers fitted in float32 and, since it holds them too, in float64."""
    start = jax.tree.map(jnp.float32, start)
    x = jnp.asarray(x, jnp.float32)
    low = em.fit(start, x, **options)
    start = jax.tree.map(jnp.float64, start)
    start = start._replace(weights=start.weights / start.weights.sum())
    return low, em.fit(start, x.astype(jnp.float64), **options)


three_keys = pytest.mark.parametrize("seed", [0, 1, 2])


@three_keys
def test_float32_fits_columns_of_very_different_units(seed):
    x = datasets.load_wine().data
    key = jax.random.key(seed)
    start = mixture.init_from_data(key, x, 3, covariance_type="full")
    low, high = both_precisions(start, x, num_steps=15, tol=0.0)
    assert em.faults(low) == []
    np.testing.assert_allclose(low.log_likelihoods, high.log_likelihoods, rtol=2e-6)
    by_hand = em.iterate(start, x, num_steps=15).log_likelihoods
    np.testing.assert_allclose(low.log_likelihoods, by_hand, rtol=2e-6)


@three_keys
def test_float32_does_not_fall_where_columns_are_nearly_dependent(seed):
    x = datasets.load_diabetes().data
    key = jax.random.key(seed)
    start = mixture.init_from_data(key, x, 3, covariance_type="full")
    low, high = both_precisions(start, x, num_steps=100, tol=0.0)
    falls = -jnp.diff(low.log_likelihoods) / jnp.abs(low.log_likelihoods[1:])
    assert falls.max() < 1e-6
    # a column of two values alone lets a component collapse, in either precision
    np.testing.assert_array_equal(low.collapsed, high.collapsed)
    # and there the last l, of a variance about to be lost, has fewer digits than others
    last = min(int(low.num_steps), int(high.num_steps))
    sound = last + 1 - int(low.collapsed.any())
    ours, exact = low.log_likelihoods, high.log_likelihoods
    np.testing.assert_allclose(ours[:sound], exact[:sound], rtol=1e-6)
    np.testing.assert_allclose(ours[last], exact[last], rtol=5e-4)


@both_kinds
def test_an_outlier_does_not_make_the_float32_likelihood_wrong(kind):
    x = jnp.concatenate([X, jnp.full((1, 2), 1e6)])
    start = START[kind]._replace(means=SPHERICAL.means.at[0].set(1e6))
    low, high = both_precisions(start, x, variance_floor=0.01, num_steps=200)
    np.testing.assert_allclose(
        low.log_likelihoods[-1], high.log_likelihoods[-1], rtol=5e-5
    )
    (sentence,) = em.faults(low)
    assert sentence.startswith("component 0 has collapsed")
    assert "variance_floor" in sentence
    assert "float32" in sentence
    assert "jax_enable_x64" in sentence
    assert "jax_enable_x64" not in em.faults(high)[0]


@both_kinds
@pytest.mark.parametrize("offset", [0.0, 1e4, -1e4])
def test_an_offset_does_not_cost_float32_its_digits(kind, offset):
    # what rounding the data themselves loses is not the climb's fault
    x = (X + offset).astype(jnp.float32)
    start = START[kind]._replace(means=START[kind].means + offset)
    start = start._replace(weights=jnp.array([0.5, 0.25, 0.25]))
    low = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), start)
    high = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), low)
    result = em.fit(low, x, num_steps=10, tol=0.0)
    exact = em.fit(high, x.astype(jnp.float64), num_steps=10, tol=0.0)
    assert result.params.covariances.dtype == jnp.float32
    np.testing.assert_allclose(
        result.params.covariances, exact.params.covariances, rtol=2e-5, atol=1e-6
    )
    np.testing.assert_allclose(result.log_likelihoods, exact.log_likelihoods, rtol=2e-6)


def test_a_narrow_component_is_fitted_as_by_iterate():
    # too narrow, and too far from the centre, for |x - mean|^2 to be multiplied out
    cloud = jax.random.normal(jax.random.key(0), (100, 2))
    x = jnp.concatenate([cloud, 50 + 1e-4 * cloud[:20]])
    start = Mixture(
        jnp.array([0.8, 0.2]), jnp.array([[0.0, 0.0], [50.0, 50.0]]), jnp.ones(2)
    )
    for kind in KINDS:
        if kind == "full":
            start = start._replace(
                covariances=start.covariances[:, None, None] * jnp.eye(2)[None]
            )
        result = em.fit(start, x, num_steps=5, tol=0.0)
        path = em.iterate(start, x, num_steps=5)
        np.testing.assert_allclose(
            result.log_likelihoods, path.log_likelihoods, rtol=1e-10
        )
