"""EM's longer climbs: more dimensions, more data sets, its rate by other ways."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from em_cases import X, assert_close, blobs, both_kinds
from jax.flatten_util import ravel_pytree

from helpers import em
from helpers.mixture import Mixture


def random_start(key, x, k, kind):
    mean_key, weight_key, scale_key = jax.random.split(key, 3)
    n, d = x.shape
    means = x[jax.random.choice(mean_key, n, (k,), replace=False)]
    covariances = x.var() * jnp.exp(0.5 * jax.random.normal(scale_key, (k,)))
    if kind == "full":
        covariances = covariances[:, None, None] * jnp.eye(d, dtype=x.dtype)[None]
    weights = jax.random.dirichlet(weight_key, jnp.ones(k, x.dtype))
    start = Mixture(weights, means, covariances)
    return jax.tree.map(lambda leaf: leaf.astype(x.dtype), start)


@both_kinds
@pytest.mark.parametrize("n", [15, 16, 17, 33])
def test_chunks_do_not_change_the_climb(kind, n):
    start = random_start(jax.random.key(1), X, 2, kind)
    one = em.fit(start, X[:n], num_steps=3, tol=0.0, chunk_size=n)
    many = em.fit(start, X[:n], num_steps=3, tol=0.0, chunk_size=16)
    assert_close(many, one, rtol=1e-11, atol=1e-12)


@both_kinds
@pytest.mark.parametrize("d", [1, 3, 6])
def test_fit_equals_iterate_in_any_dimension(kind, d):
    x = jax.random.normal(jax.random.key(d), (150, d)) + jnp.arange(150)[:, None] % 3
    start = random_start(jax.random.key(1), x, 2, kind)
    path, log_likelihoods = em.iterate(start, x, num_steps=5)
    result = em.fit(start, x, num_steps=5, tol=0.0)
    np.testing.assert_allclose(result.log_likelihoods, log_likelihoods, rtol=1e-10)
    last = jax.tree.map(lambda leaf: leaf[-1], path)
    assert_close(result.params, last, rtol=1e-9, atol=1e-10)


@both_kinds
@pytest.mark.parametrize("d", [1, 2, 5, 16])
def test_no_step_of_em_goes_down(kind, d):
    def climb(key):
        centre_key, which_key, noise_key, start_key = jax.random.split(key, 4)
        centres = 2 * jax.random.normal(centre_key, (3, d))
        which = jax.random.randint(which_key, (120,), 0, 3)
        x = centres[which] + jax.random.normal(noise_key, (120, d))
        return em.fit(random_start(start_key, x, 3, kind), x, num_steps=60, tol=0.0)

    # 25 data sets for each of 8 cases: 200
    keys = jax.random.split(jax.random.key(d), 25)
    results = jax.vmap(climb)(keys)
    climbs = results.log_likelihoods
    steps, sizes = jnp.diff(climbs, axis=1), jnp.abs(climbs[:, 1:])
    # a collapse ends a climb: of its steps all but a few are made, in most climbs all
    assert (results.num_steps / 60).mean() > 0.8
    assert (results.num_steps == 60).mean() > 0.7
    assert (steps / sizes).min() >= -1e-11


@pytest.fixture(params=[1.5, 3.0])
def settled(request):
    x, start = blobs(request.param)
    return em.fit(start, x, num_steps=5000, tol=1e-15), start, x


def test_the_rate_is_that_of_the_climb(settled):
    result, start, x = settled
    final = ravel_pytree(em.fit(result.params, x, num_steps=3000, tol=0.0).params)[0]
    # late enough to be linear, early enough not to be rounding
    num_steps = jnp.argmax(result.log_likelihoods > result.log_likelihoods.max() - 1e-6)
    params = em.fit(start, x, num_steps=int(num_steps), tol=0.0).params
    errors = []
    for _ in range(4):
        errors.append(jnp.linalg.norm(ravel_pytree(params)[0] - final))
        params = em.m_step(em.e_step(params, x), x)
    measured = (errors[3] / errors[0]) ** (1 / 3)
    np.testing.assert_allclose(
        em.convergence_rate(result.params, x), measured, rtol=0.02
    )


def test_the_rate_is_that_of_plain_parameters(settled):
    result, _, x = settled
    # the last weight is what the others leave: no symmetry of the simplex
    flat, as_tree = ravel_pytree(result.params._replace(weights=jnp.ones(1)))
    flat = flat.at[0].set(result.params.weights[0])

    def em_map(flat):
        params = as_tree(flat)
        weights = jnp.stack([flat[0], 1 - flat[0]])
        new = em.m_step(em.e_step(params._replace(weights=weights), x), x)
        return ravel_pytree(new._replace(weights=new.weights[:1]))[0]

    eigenvalues = np.linalg.eigvals(jax.jacfwd(em_map)(flat))
    np.testing.assert_allclose(
        em.convergence_rate(result.params, x), abs(eigenvalues).max(), rtol=1e-6
    )


def test_overlap_slows_em():
    rates = []
    for distance in (4.0, 3.0, 2.0):
        x, start = blobs(distance)
        params = em.fit(start, x, num_steps=5000, tol=1e-14).params
        rates.append(em.convergence_rate(params, x))
    assert 0 < rates[0] < rates[1] < rates[2] < 1


@both_kinds
def test_many_points_take_hardly_any_memory_beyond_themselves(kind):
    def temporary(n):
        x = jax.ShapeDtypeStruct((n, 2), jnp.float32)
        shape = (3,) if kind == "spherical" else (3, 2, 2)
        start = Mixture(
            *(jax.ShapeDtypeStruct(s, jnp.float32) for s in ((3,), (3, 2), shape))
        )
        fit = jax.jit(lambda start, x: em.fit(start, x, num_steps=2))
        program = fit.lower(start, x).compile()
        return program.memory_analysis().temp_size_in_bytes

    # of 10^6 points a copy is held; of 10^8 one would be of 1200 MB
    assert temporary(10**8) < 2**19 < 2**23 < temporary(10**6)


@both_kinds
def test_points_too_many_to_copy_make_the_same_climb(kind):
    # far from 0, so that a wrong centre takes the digits
    rng = np.random.default_rng(0)
    few = rng.normal(size=(700_001, 2)) + 4 * rng.integers(2, size=(700_001, 1)) + 1e3
    start = random_start(jax.random.key(0), jnp.asarray(few), 2, kind)
    copied = em.fit(start, few, num_steps=3, tol=0.0)
    # 3 n numbers are more than 2^24; each point eight times changes nothing but l
    many = em.fit(start, np.tile(few, (8, 1)), num_steps=3, tol=0.0)
    assert_close(many.params, copied.params, rtol=1e-9)
    np.testing.assert_allclose(
        many.log_likelihoods, 8 * copied.log_likelihoods, rtol=1e-11
    )


@both_kinds
def test_in_float32_only_rounding_lowers_the_likelihood(kind):
    def climb(key):
        return em.fit(random_start(key, x, 3, kind), x, num_steps=200, tol=0.0)

    x = X.astype(jnp.float32)
    climbs = jax.vmap(climb)(jax.random.split(jax.random.key(0), 20)).log_likelihoods
    falls = -jnp.diff(climbs, axis=1) / jnp.abs(climbs[:, 1:])
    assert 1e-8 < falls.max() < 2e-6
