"""Bounds, divergences, total mass, and other people's numbers, at any scale."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from problems import (
    LOG_DENSITIES,
    D,
    K,
    Motion,
    N,
    assert_close,
    bent,
    both_kinds,
    digits_of,
    dtypes,
    few,
    free_numbers,
    isotropic,
    motions,
    moved,
    numbers,
    problem,
    scales,
    seeds,
)
from scipy import special, stats
from sklearn.mixture import GaussianMixture

from helpers import bounds, decoder, em, estimators, evaluate, gaussian, mixture, vae
from helpers.gaussian import Gaussian
from helpers.mixture import Mixture


@given(seed=seeds, scale=scales, dtype=dtypes, hole=st.booleans())
def test_no_bound_is_above_log_p(seed, scale, dtype, hole):
    rng = np.random.default_rng(seed)
    joint = (scale * rng.normal(size=(N, K))).astype(dtype)
    q = rng.dirichlet(np.full(K, 0.3), N)
    if hole:  # where q is 0, the model may be 0 too
        q[:, 0], joint[:, 0] = 0, -np.inf
    q = (q / q.sum(axis=1, keepdims=True)).astype(dtype)
    joint, q = jnp.asarray(joint), jnp.asarray(q)
    log_p = special.logsumexp(np.asarray(joint, float), axis=1)
    climb = [
        np.asarray(
            bounds.importance_weighted_bound_exact(joint, q, num_samples=s), float
        )
        for s in (1, 2, 3)
    ]
    error = 64 * np.finfo(dtype).eps * (1 + scale)
    elbo = np.asarray(bounds.elbo(joint, q), float)
    assert (np.diff([*climb, log_p], axis=0) >= -error).all()
    assert (abs(elbo - climb[0]) <= error).all()
    assert (
        abs(np.asarray(bounds.gap(joint, q), float) - (log_p - elbo)) <= error
    ).all()


@given(seed=seeds, mean=st.floats(-3, 3), log_variance=st.floats(-6, 2))
def test_no_gaussian_q_has_a_bound_above_log_p(seed, mean, log_variance):
    p = problem(free_numbers(seed))
    q = Gaussian(jnp.array([mean]), jnp.exp(jnp.array([log_variance])))
    log_p = decoder.log_marginal_quadrature(p.decoder, p.x[:1], sigma_x=p.sigma_x)[0]
    gap = bounds.gap(bent(p), q)
    assert gap >= -1e-9 * (1 + abs(log_p))
    assert abs(bounds.elbo(bent(p), q) + gap - log_p) <= 1e-9 * (1 + abs(log_p) + gap)


@given(seed=seeds, size=st.tuples(scales, scales), dtype=dtypes)
def test_no_divergence_is_negative(seed, size, dtype):
    rng = np.random.default_rng(seed)
    q, p = (
        Gaussian(
            *(s * np.array([rng.normal(size=D), rng.gamma(1, s, D) + 1e-3 * s])).astype(
                dtype
            )
        )
        for s in size
    )
    kl = gaussian.kl_divergence(*(jax.tree.map(jnp.asarray, g) for g in (q, p)))
    mean, variance, p_mean, p_variance = (np.asarray(a, float) for a in (*q, *p))
    ratio = variance / p_variance
    terms = ratio, np.log(ratio) + 1, (mean - p_mean) ** 2 / p_variance
    exact = 0.5 * (terms[0] - terms[1] + terms[2]).sum()
    assert kl >= 0
    assert abs(kl - exact) <= 32 * np.finfo(dtype).eps * (1 + np.abs(terms).sum())
    assert gaussian.kl_divergence(*[jax.tree.map(jnp.asarray, q)] * 2) == 0


@given(seed=seeds, scale=scales, dtype=dtypes)
def test_the_rate_of_a_vae_is_not_negative_and_its_units_share_it(seed, scale, dtype):
    p = problem(free_numbers(seed, dtype))
    x = p.x * jnp.asarray(scale, dtype)
    kl = vae.elbo_terms(jax.random.key(seed), p.vae, x).kl
    units = evaluate.unit_kl(p.vae, x)
    assert kl.min() >= 0
    assert units.min() >= -4 * jnp.finfo(dtype).eps
    assert_close(units.sum(), kl.mean(), digits_of(dtype))


NODES = np.stack(np.meshgrid(*[np.linspace(-24, 24, 193)] * D), axis=-1).reshape(-1, D)


@pytest.mark.parametrize("name", ["isotropic", "diagonal", "spherical", "full"])
@few
@given(seed=seeds, scale=scales, dtype=dtypes)
def test_a_density_integrates_to_one(name, seed, scale, dtype):
    p = numbers(seed)
    params_of, log_density = LOG_DENSITIES[name]
    m = Motion(np.eye(D), scale, np.zeros(D), dtype)
    heights = log_density(p, m.of(params_of(p)), m.of_points(NODES), None)
    cell = 2 * np.log(scale * 0.25)
    assert np.exp(np.asarray(heights, float) + cell).sum() == pytest.approx(
        1, abs=digits_of(dtype)
    )


@given(seed=seeds)
def test_a_posterior_integrates_to_one(seed):
    p = problem(free_numbers(seed))
    z = jnp.linspace(-10, 10, 4001)[:, None]
    log_joint = decoder.log_joint(p.decoder, p.x, z, sigma_x=p.sigma_x)
    log_p = decoder.log_marginal_quadrature(p.decoder, p.x, sigma_x=p.sigma_x)
    density = np.exp(log_joint - log_p[:, None])
    np.testing.assert_allclose(density.sum(axis=1) * 20 / 4000, 1, rtol=1e-9)


@given(seed=seeds, motion=motions(st.just("float64")))
def test_densities_are_scipys_and_scikit_learns(seed, motion):
    p = numbers(seed)
    x, one, full = motion.of_points(p.x), isotropic(p), motion.of(p.full)
    one = motion.of(one)
    normal = stats.norm(one.mean, np.sqrt(one.variance))
    assert_close(gaussian.log_prob(one, x), normal.logpdf(x).sum(axis=1), 1e-9)
    theirs = GaussianMixture(K)
    theirs.weights_, theirs.means_, theirs.covariances_ = map(np.asarray, full)
    roots = np.linalg.cholesky(np.linalg.inv(theirs.covariances_))
    theirs.precisions_cholesky_ = roots
    assert_close(mixture.log_prob(full, x), theirs.score_samples(x), 1e-9)
    assert_close(mixture.responsibilities(full, x), theirs.predict_proba(x), 1e-9)


@both_kinds
@given(seed=seeds, scale=scales)
def test_em_never_goes_down_at_any_scale(kind, seed, scale):
    p = problem(free_numbers(seed))
    params = getattr(p, kind)
    params = moved(params, jnp.eye(D), scale, jnp.zeros(D))
    floor = 0.01 * scale**2
    climb = em.fit(params, scale * p.x, num_steps=20, tol=0.0, variance_floor=floor)
    values = climb.log_likelihoods
    assert (jnp.diff(values) >= -1e-11 * (1 + jnp.abs(values[1:]))).all()


PAIR = (
    np.random.default_rng(0).normal(size=(60, D)) + 3.0 * (np.arange(60) % 2)[:, None]
)


@both_kinds
@few
@given(motion=motions(st.just("float64")))
def test_the_rate_of_em_is_below_one_in_any_space(kind, motion):
    start = Mixture(
        np.array([0.4, 0.6]), np.array([[0.0, 0.0], [3.0, 3.0]]), np.ones(2)
    )
    if kind == "full":
        start = start._replace(covariances=np.stack([np.eye(2)] * 2))

    def rate(motion):
        x = motion.of_points(PAIR)
        end = em.fit(motion.of(start), x, num_steps=400, tol=0.0)
        assert em.faults(end) == []
        return float(em.convergence_rate(end.params, x))

    expected = rate(Motion(np.eye(D), 1.0, np.zeros(D), "float64"))
    assert 0 < expected < 1
    assert rate(motion) == pytest.approx(expected, rel=1e-5)


@given(seed=seeds, scale=scales, constant=st.floats(-10, 10))
def test_estimators_of_a_quadratic_are_what_algebra_says(seed, scale, constant):
    key, p, rng = jax.random.key(seed), numbers(seed), np.random.default_rng(seed)
    bend, slope = rng.normal(size=(D, D)), rng.normal(size=D)
    q = Motion(np.eye(D), scale, np.zeros(D), "float64").of(p.normal)
    mean, sigma = np.asarray(q.mean), np.sqrt(q.variance)

    # of z in units of the scale, and so a number near 1 wherever q is
    def f(z):
        z = z / scale
        return z @ bend @ z + slope @ z + constant

    exact = estimators.exact_gradient(f, q, num_nodes=5)
    expected = ((bend + bend.T) @ mean / scale + slope) / scale
    assert_close(exact.mean, expected, 1e-9)
    assert_close(exact.sigma, 2 * np.diag(bend) * sigma / scale**2, 1e-9)
    # the two draw the same z, and a constant has no slope and no effect
    options = {"num_samples": 4}
    one = estimators.pathwise(key, f, q, **options)
    z = gaussian.sample(key, q, 4)
    assert_close(one.mean, jax.vmap(jax.grad(f))(z), 1e-9)
    less = functools.partial(estimators.score_function, key, q=q, **options)
    assert_close(
        less(f, baseline="leave_one_out"),
        less(lambda z: f(z) - constant, baseline="leave_one_out"),
        1e-9,
    )
    assert_close(less(f, baseline=constant), less(lambda z: f(z) - constant), 1e-9)
