"""What holds for all numbers: Hypothesis draws seeds, scales and dtypes.

Shapes are few, since each is compiled anew.
"""

import functools
import importlib
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats
from sklearn.mixture import GaussianMixture

from helpers import bounds, data, decoder, em, estimators, evaluate, gaussian
from helpers import mixture, vae
from helpers.decoder import Decoder
from helpers.gaussian import Gaussian
from helpers.mixture import Mixture
from helpers.vae import VAE

N, D, K, HIDDEN = 8, 2, 3, 3
KINDS = ["spherical", "full"]
seeds = st.integers(0, 2**32 - 1)
scales = st.floats(-12, 12).map(lambda exponent: 10.0**exponent)
dtypes = st.sampled_from(["float32", "float64"])
turns = st.integers(0, 3)
both_kinds = pytest.mark.parametrize("kind", KINDS)
few = settings(max_examples=4)  # where each example calls a function many times


class Problem(NamedTuple):
    """Points, and models for them, or the real numbers that these are made of."""

    x: jax.Array
    q: jax.Array
    normal: Gaussian
    other: Gaussian
    spherical: Mixture
    full: Mixture
    line: Gaussian
    decoder: Decoder
    vae: VAE
    z: jax.Array
    sigma_x: jax.Array


def layers(*sizes):
    return Decoder(
        tuple(zip(sizes[:-1], sizes[1:], strict=True)), tuple(zip(sizes[1:]))
    )


SHAPES = Problem(
    x=(N, D),
    q=(N, K),
    normal=Gaussian((D,), (D,)),
    other=Gaussian((D,), (D,)),
    spherical=Mixture((K,), (K, D), (K,)),
    full=Mixture((K,), (K, D), (K, D, D)),
    line=Gaussian((1,), (1,)),
    decoder=layers(1, HIDDEN, D),
    vae=VAE(layers(D, HIDDEN, 4), layers(2, HIDDEN, D)),
    z=(N, 2),
    sigma_x=(),
)


def free_numbers(seed, dtype="float64"):
    """Draw standard normal numbers in a Problem's shapes."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(
        lambda shape: jnp.asarray(rng.normal(size=shape), dtype),
        SHAPES,
        is_leaf=lambda leaf: all(isinstance(size, int) for size in leaf),
    )


@jax.jit
def problem(free):
    """Make variances of real numbers, and probabilities."""

    def positive(normal):
        return normal._replace(variance=jnp.exp(0.5 * normal.variance))

    roots = 0.5 * free.full.covariances
    covariances = (
        roots @ roots.swapaxes(1, 2) + 0.3 * jnp.eye(D, dtype=roots.dtype)[None]
    )
    variances = jnp.exp(0.5 * free.spherical.covariances)
    return free._replace(
        q=jax.nn.softmax(free.q, axis=1),
        normal=positive(free.normal),
        other=positive(free.other),
        line=positive(free.line),
        spherical=Mixture(
            jax.nn.softmax(free.spherical.weights), free.spherical.means, variances
        ),
        full=Mixture(jax.nn.softmax(free.full.weights), free.full.means, covariances),
        sigma_x=jnp.exp(0.3 * free.sigma_x),
    )


def bent(p):
    """The log joint of the first point as a function of z."""
    return lambda z: decoder.log_joint(p.decoder, p.x[:1], z, sigma_x=p.sigma_x)[0]


def wavy(z):
    return jnp.sin(z).sum() + (z**2).sum()


def on_both(function):
    """A function of an enumerable model and q, and of a model and a Gaussian q."""
    return lambda key, p: (
        function(key, mixture.log_joint(p.full, p.x), p.q, p.full.weights),
        function(key, bent(p), p.line, Gaussian(p.line.mean * 0, p.line.variance**0)),
    )


OPTIMIZER = optax.sgd(1e-2)
# Every public function, of a key and a Problem.
FUNCTIONS = {
    "gaussian.log_prob": lambda key, p: gaussian.log_prob(p.normal, p.x),
    "gaussian.fit_mle": lambda key, p: gaussian.fit_mle(p.x),
    "gaussian.sample": lambda key, p: gaussian.sample(key, p.normal, 4),
    "gaussian.kl_divergence": lambda key, p: gaussian.kl_divergence(p.normal, p.other),
    "gaussian.kl_to_standard_normal": lambda key, p: gaussian.kl_to_standard_normal(
        p.normal
    ),
    "mixture.log_joint": lambda key, p: mixture.log_joint(p.full, p.x),
    "mixture.log_prob": lambda key, p: mixture.log_prob(p.spherical, p.x),
    "mixture.log_likelihood": lambda key, p: mixture.log_likelihood(p.full, p.x),
    "mixture.responsibilities": lambda key, p: mixture.responsibilities(p.full, p.x),
    "mixture.sample": lambda key, p: mixture.sample(key, p.full, 4),
    "mixture.init_from_data": lambda key, p: mixture.init_from_data(
        key, p.x, K, covariance_type="full"
    ),
    "bounds.elbo": on_both(lambda key, joint, q, prior: bounds.elbo(joint, q)),
    "bounds.gap": on_both(lambda key, joint, q, prior: bounds.gap(joint, q)),
    "bounds.decompositions": on_both(
        lambda key, joint, q, prior: bounds.decompositions(joint, q, prior)
    ),
    "bounds.importance_weighted_bound": on_both(
        lambda key, joint, q, prior: bounds.importance_weighted_bound(
            key, joint, q, num_samples=4
        )
    ),
    "bounds.importance_weighted_bound_exact": lambda key, p: (
        bounds.importance_weighted_bound_exact(
            mixture.log_joint(p.full, p.x), p.q, num_samples=2
        )
    ),
    "decoder.init": lambda key, p: decoder.init(key, (1, HIDDEN, D)),
    "decoder.decode": lambda key, p: decoder.decode(p.decoder, p.z[:, :1]),
    "decoder.log_joint": lambda key, p: decoder.log_joint(
        p.decoder, p.x, p.z[:, :1], sigma_x=p.sigma_x
    ),
    "decoder.log_marginal_quadrature": lambda key, p: decoder.log_marginal_quadrature(
        p.decoder, p.x, sigma_x=p.sigma_x
    ),
    "decoder.log_marginal_importance": lambda key, p: decoder.log_marginal_importance(
        key, p.decoder, p.x, num_samples=4, proposal=p.line, sigma_x=p.sigma_x
    ),
    "decoder.posterior_on_grid": lambda key, p: decoder.posterior_on_grid(
        p.decoder, p.x, p.z[:, :1], sigma_x=p.sigma_x
    ),
    "decoder.sample": lambda key, p: decoder.sample(
        key, p.decoder, 4, sigma_x=p.sigma_x
    ),
    "em.e_step": lambda key, p: em.e_step(p.spherical, p.x),
    "em.m_step": lambda key, p: em.m_step(p.q, p.x, covariance_type="full"),
    "em.fit": lambda key, p: em.fit(p.full, p.x, num_steps=3, variance_floor=0.1),
    "em.gradient_ascent": lambda key, p: em.gradient_ascent(
        p.full, p.x, optimizer=OPTIMIZER, num_steps=3
    ),
    "estimators.pathwise": lambda key, p: estimators.pathwise(
        key, wavy, p.normal, num_samples=4
    ),
    "estimators.score_function": lambda key, p: estimators.score_function(
        key, wavy, p.normal, num_samples=4, baseline="leave_one_out"
    ),
    "estimators.exact_gradient": lambda key, p: estimators.exact_gradient(
        wavy, p.normal, num_nodes=40
    ),
    "vae.init": lambda key, p: vae.init(key, (D, HIDDEN, 1)),
    "vae.encode": lambda key, p: vae.encode(p.vae, p.x),
    "vae.decode": lambda key, p: vae.decode(p.vae, p.z, likelihood="bernoulli"),
    "vae.log_likelihood": lambda key, p: (
        vae.log_likelihood(p.vae, p.x, p.z, sigma_x=p.sigma_x),
        vae.log_likelihood(p.vae, p.q[:, :D], p.z, likelihood="bernoulli"),
    ),
    "vae.elbo_terms": lambda key, p: vae.elbo_terms(
        key, p.vae, p.x, sigma_x=p.sigma_x, num_samples=2
    ),
    "vae.fit": lambda key, p: vae.fit(
        key, p.vae, p.x, optimizer=OPTIMIZER, num_epochs=2, batch_size=4
    ),
    "vae.reconstruct": lambda key, p: vae.reconstruct(p.vae, p.x),
    "vae.sample": lambda key, p: vae.sample(key, p.vae, 4, sigma_x=p.sigma_x),
    "vae.latent_grid": lambda key, p: vae.latent_grid(p.vae, num_per_axis=3),
    "evaluate.log_ratios": lambda key, p: evaluate.log_ratios(
        key, p.vae, p.x, num_samples=4, sigma_x=p.sigma_x
    ),
    "evaluate.log_prob": lambda key, p: evaluate.log_prob(
        key, p.vae, p.x, num_samples=4, sigma_x=p.sigma_x
    ),
    "evaluate.unit_kl": lambda key, p: evaluate.unit_kl(p.vae, p.x),
    "evaluate.active_units": lambda key, p: evaluate.active_units(p.vae, p.x),
    "evaluate.distortion": lambda key, p: evaluate.distortion(key, p.vae, p.x),
    "data.two_moons": lambda key, p: data.two_moons(key, 4),
}
# They take no numbers, or wait for a fixed point (below), or speak of a result.
WITHOUT = {"data.digits", "data.old_faithful", "decoder.bent_line"}
WITHOUT |= {"em.convergence_rate", "em.faults"}
OF_A_KEY_ALONE = {"decoder.init", "vae.init", "data.two_moons"}
# Its loop is Python's, so that it can be interrupted.
UNCOMPILED = {"vae.fit"}
# JAX has no reverse mode for a loop whose end is not known, and truth has no slope.
SLOPELESS = UNCOMPILED | OF_A_KEY_ALONE
SLOPELESS |= {"em.fit", "em.gradient_ascent", "evaluate.active_units"}


def over(names):
    return pytest.mark.parametrize("name", sorted(names))


def test_every_public_function_is_here():
    modules = {name.split(".")[0] for name in FUNCTIONS}
    public = {
        f"{name}.{function}"
        for name in modules
        for module in [importlib.import_module(f"helpers.{name}")]
        for function in module.__all__
        if not isinstance(getattr(module, function), type)
    }
    assert FUNCTIONS.keys() | WITHOUT == public


def assert_close(one, other, rtol):
    """Assert that leaves agree, relative to the largest entry of each."""

    def compare(a, b):
        a, b = np.asarray(a, float), np.asarray(b, float)
        size = np.abs(b[np.isfinite(b)]).max(initial=0)
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * size)

    jax.tree.map(compare, one, other)


@over(FUNCTIONS.keys() - OF_A_KEY_ALONE)
@few
@given(seed=seeds, dtype=dtypes)
def test_results_have_the_dtype_of_the_arguments(name, seed, dtype):
    results = FUNCTIONS[name](jax.random.key(seed), problem(free_numbers(seed, dtype)))
    found = {leaf.dtype for leaf in jax.tree.leaves(results)}
    assert {str(d) for d in found if jnp.issubdtype(d, jnp.floating)} <= {dtype}


@functools.cache
def compiled_over_a_batch(name):
    return jax.jit(jax.vmap(lambda key, free: FUNCTIONS[name](key, problem(free))))


@over(FUNCTIONS.keys() - UNCOMPILED)
@few
@given(seed=seeds)
def test_jit_and_vmap_agree_with_the_plain_call(name, seed):
    keys = jax.random.split(jax.random.key(seed), 2)
    pair = [free_numbers([seed, i]) for i in range(2)]
    batch = compiled_over_a_batch(name)(
        keys, jax.tree.map(lambda *a: jnp.stack(a), *pair)
    )
    for i, free in enumerate(pair):
        plain = FUNCTIONS[name](keys[i], problem(free))
        assert_close(jax.tree.map(lambda leaf: leaf[i], batch), plain, 1e-9)  # noqa: B023


def weighed(name, free, key):
    """One number that depends on every number of the results."""
    leaves = jax.tree.leaves(FUNCTIONS[name](key, problem(free)))
    real = [leaf.ravel() for leaf in leaves if jnp.issubdtype(leaf.dtype, jnp.floating)]
    return sum(np.cos(np.arange(len(leaf))) @ leaf for leaf in real)


gradient = jax.jit(jax.grad(weighed, argnums=1), static_argnums=0)


@over(FUNCTIONS.keys() - SLOPELESS)
@few
@given(seed=seeds)
def test_grad_is_the_slope_of_the_plain_call(name, seed):
    key, free, way = jax.random.key(seed), free_numbers(seed), free_numbers([seed, 1])
    step = 1e-5
    ends = [
        weighed(name, jax.tree.map(lambda a, b: a + h * b, free, way), key)  # noqa: B023
        for h in (step, -step)
    ]
    slope = jax.tree.map(lambda a, b: (a * b).sum(), gradient(name, free, key), way)
    size = 1 + max(map(abs, ends))
    assert (
        abs(sum(jax.tree.leaves(slope)) - (ends[0] - ends[1]) / (2 * step))
        < 1e-6 * size
    )
