"""Every public function: its dtypes, and itself under jit, vmap and grad."""

import functools
import importlib
import operator

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from problems import (
    HIDDEN,
    D,
    K,
    N,
    assert_close,
    bent,
    dtypes,
    few,
    free_numbers,
    problem,
    seeds,
)

from helpers import (
    bounds,
    decoder,
    em,
    estimators,
    evaluate,
    gaussian,
    mixture,
    network,
    quadrature,
    vae,
)
from helpers.gaussian import Gaussian


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
    "network.init": lambda key, p: network.init(key, (D, HIDDEN, 1)),
    "network.apply": lambda key, p: network.apply(p.vae.encoder, p.x),
    "quadrature.log_integral": lambda key, p: quadrature.log_integral(
        mixture.log_joint(p.full, p.x), 0.1
    ),
    "quadrature.tabulate": lambda key, p: quadrature.tabulate(bent(p), p.line),
    "quadrature.values_on": lambda key, p: quadrature.values_on(bent(p), p.z[:, :1]),
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
    "decoder.sample": lambda key, p: decoder.sample(
        key, p.decoder, 4, sigma_x=p.sigma_x
    ),
    "em.e_step": lambda key, p: em.e_step(p.spherical, p.x),
    "em.m_step": lambda key, p: em.m_step(p.q, p.x, covariance_type="full"),
    "em.iterate": lambda key, p: em.iterate(p.spherical, p.x, num_steps=2),
    "em.fit": lambda key, p: em.fit(p.full, p.x, num_steps=3, variance_floor=0.1),
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
    "vae.decode": lambda key, p: vae.decode(p.vae, p.z),
    "vae.log_likelihood": lambda key, p: vae.log_likelihood(
        p.vae, p.x, p.z, sigma_x=p.sigma_x
    ),
    "vae.elbo_terms": lambda key, p: vae.elbo_terms(
        key, p.vae, p.x, sigma_x=p.sigma_x, num_samples=2
    ),
    "vae.step": lambda key, p: vae.step(
        key, p.vae, OPTIMIZER.init(p.vae), p.x, optimizer=OPTIMIZER, sigma_x=p.sigma_x
    ),
    "vae.minibatches": lambda key, p: vae.minibatches(key, N, 4),
    "vae.fit": lambda key, p: vae.fit(
        key, p.vae, p.x, optimizer=OPTIMIZER, num_epochs=2, batch_size=4
    ),
    "vae.reconstruct": lambda key, p: vae.reconstruct(p.vae, p.x),
    "vae.sample": lambda key, p: vae.sample(key, p.vae, 4, sigma_x=p.sigma_x),
    "evaluate.log_ratios": lambda key, p: evaluate.log_ratios(
        key, p.vae, p.x, num_samples=4, sigma_x=p.sigma_x
    ),
    "evaluate.log_prob": lambda key, p: evaluate.log_prob(
        key, p.vae, p.x, num_samples=4, sigma_x=p.sigma_x
    ),
    "evaluate.unit_kl": lambda key, p: evaluate.unit_kl(p.vae, p.x),
    "evaluate.active_units": lambda key, p: evaluate.active_units(p.vae, p.x),
    "evaluate.distortion": lambda key, p: evaluate.distortion(key, p.vae, p.x),
}
# They take no numbers, or wait for a fixed point (below), or speak of a result.
WITHOUT = {"decoder.bent_line"}
WITHOUT |= {"em.convergence_rate", "em.faults", "vae.last_result"}
OF_A_KEY_ALONE = {"network.init", "vae.init", "vae.minibatches"}
# Its loop is Python's, so that it can be interrupted.
UNCOMPILED = {"vae.fit"}
# JAX has no reverse mode for a loop whose end is not known, and truth has no slope.
SLOPELESS = UNCOMPILED | OF_A_KEY_ALONE
SLOPELESS |= {"em.fit", "evaluate.active_units"}
# A grid follows its q, which integrals over it do not: their slopes are checked above.
SLOPELESS |= {"quadrature.tabulate"}


def over(names):
    return pytest.mark.parametrize("name", sorted(names))


def test_every_public_function_is_here():
    modules = {name.split(".")[0] for name in FUNCTIONS}
    public = {
        f"{name}.{function}"
        for name in modules
        for module in [importlib.import_module(f"helpers.{name}")]
        for function in module.__all__
        if callable(getattr(module, function))
        if not isinstance(getattr(module, function), type)
    }
    assert FUNCTIONS.keys() | WITHOUT == public


@over(FUNCTIONS.keys() - OF_A_KEY_ALONE)
@few
@given(seed=seeds, dtype=dtypes)
def test_results_have_the_dtype_of_the_arguments(name, seed, dtype):
    results = FUNCTIONS[name](jax.random.key(seed), problem(free_numbers(seed, dtype)))
    found = {leaf.dtype for leaf in jax.tree.leaves(results)}
    assert {str(d) for d in found if jnp.issubdtype(d, jnp.floating)} <= {dtype}


def weighed(name, key, free):
    """One number that depends on every number of the results, and these."""
    results = FUNCTIONS[name](key, problem(free))
    real = [
        r for r in jax.tree.leaves(results) if jnp.issubdtype(r.dtype, jnp.floating)
    ]
    return sum(jnp.cos(jnp.arange(r.size)) @ r.ravel() for r in real), results


@functools.cache
def transformed(name):
    """Results, and where there is one the slope, of two calls in one program."""
    if name in SLOPELESS:
        return jax.jit(jax.vmap(lambda *args: ((), weighed(name, *args)[1])))
    slopes = jax.grad(functools.partial(weighed, name), argnums=1, has_aux=True)
    return jax.jit(jax.vmap(slopes))


@over(FUNCTIONS.keys() - UNCOMPILED)
@few
@given(seed=seeds)
def test_jit_vmap_and_grad_agree_with_the_plain_call(name, seed):
    keys = jax.random.split(jax.random.key(seed))
    free, way = free_numbers(seed), free_numbers([seed, 1])
    pair = jax.tree.map(lambda a, b: jnp.stack([a, b]), free, way)
    slopes, together = transformed(name)(keys, pair)
    for i, numbers in enumerate([free, way]):
        _, alone = weighed(name, keys[i], numbers)
        assert_close(jax.tree.map(operator.itemgetter(i), together), alone, 1e-9)
    if name not in SLOPELESS:
        ends = [
            weighed(name, keys[0], jax.tree.map(lambda a, b: a + h * b, free, way))[0]  # noqa: B023
            for h in (1e-5, -1e-5)
        ]
        slope = jax.tree.map(lambda a, b: (a[0] * b).sum(), slopes, way)
        error = sum(jax.tree.leaves(slope)) - (ends[0] - ends[1]) / 2e-5
        assert abs(error) < 1e-6 * (1 + max(map(abs, ends)))


@over(FUNCTIONS.keys() - UNCOMPILED)
def test_nothing_traced_outlives_its_function(no_leaks, name):
    # tracing alone: where leaks are looked for, nothing stays compiled
    trace = jax.make_jaxpr(lambda key, free: FUNCTIONS[name](key, problem(free)))
    trace(jax.random.key(0), free_numbers(0))


@pytest.mark.bad_input
@pytest.mark.parametrize("bad", [np.nan, np.inf])
@over(FUNCTIONS.keys() - OF_A_KEY_ALONE)
def test_numbers_that_are_not_finite_are_refused(as_user, name, bad):
    p = jax.tree.map(lambda leaf: np.full(leaf.shape, bad), problem(free_numbers(0)))
    with pytest.raises(ValueError, match=f"got {bad} .*expected finite numbers"):
        FUNCTIONS[name](jax.random.key(0), p)
