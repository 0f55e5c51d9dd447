"""What a fit of EM reports, and inputs that float32 could not hold."""

import jax
import jax.numpy as jnp
import numpy as np
from em_cases import FULL, SPHERICAL, START, X, both_kinds
from test_em import bound

from helpers import em, mixture
from helpers.mixture import Mixture


@both_kinds
def test_no_other_parameters_raise_the_bound_more_than_the_m_step(kind):
    q = em.e_step(START[kind], X)
    best = em.m_step(q, X, covariance_type=kind)

    def other(key):
        weight_key, mean_key, root_key = jax.random.split(key, 3)
        tilt = jnp.exp(0.1 * jax.random.normal(weight_key, (3,)))
        weights = best.weights * tilt / (best.weights * tilt).sum()
        means = best.means + 0.1 * jax.random.normal(mean_key, (3, 2))
        if kind == "spherical":
            stretch = jnp.exp(0.1 * jax.random.normal(root_key, (3,)))
            return Mixture(weights, means, best.covariances * stretch)
        bend = jnp.eye(2)[None] + 0.1 * jax.random.normal(root_key, (3, 2, 2))
        return Mixture(weights, means, bend @ best.covariances @ bend.mT)

    others = jax.vmap(other)(jax.random.split(jax.random.key(0), 200))
    values = jax.jit(jax.vmap(lambda params: bound(params, q, X)))(others)
    assert (values < bound(best, q, X)).all()


def test_a_floor_keeps_the_climb_monotone():
    climbs = em.fit(FULL, X, num_steps=200, tol=0.0, variance_floor=0.1)
    steps = jnp.diff(climbs.log_likelihoods)
    assert (steps >= -1e-11 * jnp.abs(climbs.log_likelihoods[1:])).all()
    assert jnp.linalg.eigvalsh(climbs.params.covariances).min() >= 0.1 - 1e-12


def test_converged_says_whether_the_last_step_gained_less_than_tol():
    short = em.fit(SPHERICAL, X, num_steps=2, tol=1e-9)
    long = em.fit(SPHERICAL, X, num_steps=2000, tol=1e-9)
    gains = jnp.diff(long.log_likelihoods)[: long.num_steps]
    assert not short.converged
    assert short.num_steps == 2
    assert long.converged
    assert gains[-1] < 1e-9 * len(X) <= gains[:-1].min()
    reached = long.log_likelihoods[long.num_steps]
    assert (long.log_likelihoods[long.num_steps :] == reached).all()


@both_kinds
def test_with_a_floor_the_fit_continues_and_reports_it(kind):
    start = START[kind]._replace(
        means=START[kind].means.at[1].set(X[0]),
        covariances=START[kind].covariances.at[1].multiply(1e-6),
    )
    result = em.fit(start, X, variance_floor=1e-6, num_steps=1000)
    assert result.converged
    assert result.collapsed.tolist() == [False, True, False]


def test_whole_numbers_beyond_32_bits_are_points():
    x = 3_000_000_000 + np.arange(40).reshape(20, 2) ** 2
    start = mixture.init_from_data(jax.random.key(0), x, 2)
    path = em.iterate(start, x.astype(float), num_steps=3).log_likelihoods
    result = em.fit(start, x, num_steps=3, tol=0.0)
    np.testing.assert_allclose(result.log_likelihoods, path, rtol=1e-7)
