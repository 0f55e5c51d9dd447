"""EM by other ways: scikit-learn, autodiff, `vmap`; one point; where it has no rate."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from em_cases import FULL, SPHERICAL, START, X, assert_close, blobs, both_kinds
from sklearn.mixture import GaussianMixture

from helpers import em, mixture
from helpers.mixture import Mixture


@both_kinds
def test_fit_agrees_with_scikit_learn_from_the_same_start(kind):
    start = START[kind]
    precisions = (
        1 / start.covariances if kind == "spherical" else np.linalg.inv(FULL[2])
    )
    peer = GaussianMixture(
        3,
        covariance_type=kind,
        reg_covar=0,
        tol=1e-13,
        max_iter=5000,
        weights_init=np.array(start.weights),
        means_init=np.array(start.means),
        precisions_init=np.array(precisions),
    ).fit(np.array(X))
    result = em.fit(start, X, num_steps=5000, tol=1e-13)
    expected = peer.score(np.array(X)) * len(X)
    reached = result.log_likelihoods[result.num_steps]
    np.testing.assert_allclose(reached, expected, rtol=1e-8)


@both_kinds
def test_vmap_over_starts_equals_a_loop(kind):
    keys = jax.random.split(jax.random.key(3), 4)
    starts = jax.vmap(
        lambda key: mixture.init_from_data(key, X, 3, covariance_type=kind)
    )(keys)
    together = jax.vmap(lambda start: em.fit(start, X, num_steps=50))(starts)
    for i in range(4):
        start, one = jax.tree.map(lambda leaf, i=i: leaf[i], (starts, together))
        assert_close(one, em.fit(start, X, num_steps=50), rtol=1e-8, atol=1e-10)


@both_kinds
@pytest.mark.parametrize("floor", [0.0, 0.01])
def test_one_point_and_one_component(kind, floor):
    x = jnp.array([[3.0, 4.0]])
    start = jax.tree.map(lambda leaf: leaf[:1], START[kind])
    start = start._replace(weights=jnp.ones(1))
    result = em.fit(start, x, variance_floor=floor)
    assert result.collapsed.tolist() == [True]
    if floor:
        assert result.params.means.tolist() == [[3.0, 4.0]]
        variances = np.diagonal(np.atleast_2d(result.params.covariances[0]))
        np.testing.assert_allclose(variances, floor)
    else:
        assert_close(result.params, start, rtol=1e-14)


def test_the_rate_ignores_units_and_origin():
    x, start = blobs(3.0)
    params = em.fit(start, x, num_steps=3000, tol=1e-15).params
    moved = Mixture(params.weights, 1e3 * params.means + 1e5, 1e6 * params.covariances)
    np.testing.assert_allclose(
        em.convergence_rate(moved, 1e3 * x + 1e5),
        em.convergence_rate(params, x),
        rtol=1e-6,
    )


def test_a_rate_away_from_a_fixed_point_is_refused(refused):
    with refused("params", "a step of EM moves", "a fixed point"):
        em.convergence_rate(SPHERICAL, X)


def test_a_component_on_one_point_alone_has_no_rate(refused):
    x = jnp.array([[0.0], [10.0], [10.5], [11.0], [12.0]])
    means = jnp.array([[0.0], [10.875]])
    alone = Mixture(jnp.array([0.2, 0.8]), means, jnp.array([1e-6, 0.5]))
    with refused("params", "M-step has no derivative", "more than a single point"):
        em.convergence_rate(alone, x)
