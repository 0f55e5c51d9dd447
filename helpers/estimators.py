"""Estimate the gradient of E_q f(z) with respect to the parameters of q (S31 to S33).

q = N(mean, diag(sigma)^2), and the question is how E_q f(z) changes when mean or sigma
does. As on the slide, and as an encoder returns it, sigma is the standard deviation:
the square root of the variance in `Gaussian`. If all dimensions share one variance,
each still has its own sigma here, and these are equal; the gradient with respect to the
shared sigma is the sum over the dimensions.

f is any function that takes one z `d` to a scalar, written with `jax.numpy`. You may
change f, or what it reads, at any time: a compiled version is used only as long as
nothing that it is made of has changed; see `_functions`.

Every function raises a ValueError if q is not a Gaussian with a positive variance, f
does not return a scalar, a value or derivative of f is not finite, a count is below 1,
or `key` is not a typed key.
"""

from collections.abc import Callable
from functools import partial
from typing import Annotated, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from helpers import _checks
from helpers._checks import checked, is_traced
from helpers.gaussian import Gaussian

__all__ = ["Gradients", "exact_gradient", "pathwise", "score_function"]

# Up to here NumPy's Gauss-Hermite nodes are exact up to rounding.
MAX_NODES = 256
# More points than this would take too much memory.
MAX_POINTS = 1_000_000


class Gradients(NamedTuple):
    """d E_q f / d mean and d E_q f / d sigma: one estimate per sample, or exact."""

    mean: Float[Array, "*s d"]
    sigma: Float[Array, "*s d"]


def _finite_slopes(gradients, **_):
    _checks.as_array("slope of f", gradients.mean, "s d")


@checked(check_result=_finite_slopes)
def pathwise(
    key: Key[Array, ""],
    f: Callable[[Array], Array],
    q: Gaussian,
    *,
    num_samples: int,
) -> Gradients:
    """Pathwise estimates: differentiate f(mean + sigma eps) with eps held fixed (S33).

    grad E_q f(z) = E_eps grad f(mean + sigma eps),   eps ~ N(0, I)
    d / d mean = f'(z),   d / d sigma = f'(z) eps

    Unbiased if f is locally Lipschitz (kinks are allowed) and its slope does not grow
    too fast. A bounded f is not enough: the slope of sin(exp(z^2)) grows too fast.

    If f has a jump, the contribution of the jump is missing, because no slope of f
    contains it: for a step function the estimates are all 0.

    Args:
        key: a typed key; with the same key, `score_function` draws the same z.
        f: a function of one z `d` that returns a scalar.
        q: mean `d`, variance scalar or `d`.
        num_samples: number of samples, at least 1.

    Returns:
        Gradients, `s d` each: independent estimates, to be averaged, in units of f per
        unit of z.

    Source: deck, "The Reparameterization Trick"; Kingma and Welling 2014; Rezende et
    al. 2014.
    """
    eps, z = _draw(key, q, num_samples)
    _check_scalar(f, q.mean)
    # With the samples along the last axis, the processor computes several at once.
    slopes = jax.vmap(jax.grad(f), out_axes=1)(z).T
    return Gradients(slopes, slopes * eps)


def _finite_values(gradients, key, f, q, num_samples, **_):
    if not np.isfinite(gradients.mean).all():
        _, z = _draw(key, q, num_samples)
        _checks.as_array("f(z)", jax.vmap(f)(z), "s")
    _checks.as_array("f(z) times the score", gradients.sigma, "s d")


def _two_for_leave_one_out(num_samples, baseline, **_):
    if isinstance(baseline, str):
        _checks.count("num_samples", num_samples, low=2)


@checked(check_together=_two_for_leave_one_out, check_result=_finite_values)
def score_function(
    key: Key[Array, ""],
    f: Callable[[Array], Array],
    q: Gaussian,
    *,
    num_samples: int,
    baseline: float | Float[Array, ""] | Literal["leave_one_out"] | None = None,
) -> Gradients:
    """Score-function estimates: multiply the gradient of log q by f(z) (S33).

    grad E_q f(z) = E_q [(f(z) - b) grad log q(z)]
    d log q / d mean = eps / sigma,   d log q / d sigma = (eps^2 - 1) / sigma

    Unbiased for any f, even one with jumps, since f is never differentiated. The score
    has expectation 0, so a baseline b that does not depend on the sample's own z
    changes only the variance.

    Args:
        key: a typed key.
        f: a function of one z `d` that returns a scalar.
        q: mean `d`, variance scalar or `d`.
        num_samples: number of samples, at least 1; at least 2 for "leave_one_out".
        baseline: b. None means 0; a number is a constant baseline; "leave_one_out" is,
            for each sample, the mean of f over all the other samples. Estimates with
            "leave_one_out" are unbiased, but not independent, since they share samples:
            the usual standard error of their mean is only approximate.

    Returns:
        Gradients, `s d` each: estimates to be averaged, in units of f per unit of z.

    Raises:
        ValueError: also if the baseline is not finite or is an unknown word.

    Source: Williams 1992 (REINFORCE); Kool, van Hoof and Welling 2019 (leave one out).
    """
    eps, z = _draw(key, q, num_samples)
    _check_scalar(f, q.mean)
    values = jax.vmap(f)(z)
    if baseline is None:
        advantage = values
    elif isinstance(baseline, str):
        # f - mean of the others = (f - mean of all) s / (s - 1)
        advantage = (values - values.mean()) * (num_samples / (num_samples - 1))
    else:
        advantage = values - baseline
    return _times_the_score(advantage, eps, sigma_of(q))


def _points_that_memory_holds(q, num_nodes, **_):
    d = len(q.mean)
    if num_nodes**d > MAX_POINTS:
        raise ValueError(
            f"num_nodes: got {num_nodes}, which makes {num_nodes}^{d} points, expected "
            f"at most {MAX_POINTS} points; use score_function instead"
        )


@checked(check_together=_points_that_memory_holds, compiled=False)
def exact_gradient(
    f: Callable[[Array], Array],
    q: Gaussian,
    *,
    num_nodes: Annotated[int, partial(_checks.count, low=3, high=MAX_NODES)],
) -> Gradients:
    """The exact gradient, by Gauss-Hermite quadrature over eps (S31, S33).

    grad E_q f(z) = sum_i w_i f(mean + sigma e_i) grad log q(mean + sigma e_i)

    For polynomials of degree up to 2 num_nodes - 3 the result is exact up to rounding;
    for analytic f it converges exponentially. If f has a jump or a kink, use a closed
    form instead. The result is compared with that of a rule with one node fewer.

    Args:
        f: a function of one z `d` that returns a scalar.
        q: mean `d`, variance scalar or `d`.
        num_nodes: number of nodes per axis, 3 to 256, with at most a million points
            `num_nodes^d` in all.

    Returns:
        Gradients, `d` each, in units of f per unit of z.

    Raises:
        ValueError: also if there are too many nodes for this d, or too few for this f,
            so that the two rules disagree.

    Source: Davis and Rabinowitz 1984, section 3.6; the identity is Williams 1992.
    """
    fine = _gauss_hermite(f, q, num_nodes)
    coarse = _gauss_hermite(f, q, num_nodes - 1)
    if not is_traced(fine.tolerance):
        change = np.abs(np.subtract(fine.gradients, coarse.gradients)).max()
        if not change <= fine.tolerance:
            raise ValueError(
                f"num_nodes: got {num_nodes}, which is too few for this f: with one "
                f"node fewer, the gradient changes by {change:.1e}; use more nodes, or "
                "a closed form if f has a jump or a kink"
            )
    return fine.gradients


class Rule(NamedTuple):
    """The gradients by a rule, and how far those by another good rule may differ."""

    gradients: Gradients
    tolerance: Float[Array, ""]


def _finite_sum(rule, f, q, num_nodes):
    if not np.isfinite(rule.gradients).all():
        z, _, _ = _nodes(q, num_nodes)
        _checks.as_array("f(z)", jax.vmap(f)(z), "s")


@checked(check_result=_finite_sum)
def _gauss_hermite(f: Callable[[Array], Array], q: Gaussian, num_nodes: int) -> Rule:
    z, eps, mass = _nodes(q, num_nodes)
    _check_scalar(f, q.mean)
    sigma = sigma_of(q)
    values = jax.vmap(f)(z)
    # The score has mean 0, so subtracting a constant from f changes only the rounding.
    terms = _times_the_score(values - mass @ values, eps, sigma)
    gradients = Gradients(mass @ terms.mean, mass @ terms.sigma)
    spread = jnp.max(mass @ jnp.abs(jnp.concatenate(terms, axis=1)))
    machine_eps = jnp.finfo(sigma.dtype).eps
    rounding = 64 * machine_eps * jnp.abs(values).max() / sigma.min()
    return Rule(gradients, jnp.sqrt(machine_eps) * spread + rounding)


def _nodes(q, num_nodes):
    """The points of the rule, z and eps `s d`, and their weights `s`."""
    d, dtype = len(q.mean), q.mean.dtype
    nodes, weights = np.polynomial.hermite_e.hermegauss(num_nodes)
    axes = np.meshgrid(*[nodes] * d, indexing="ij")
    masses = np.meshgrid(*[weights / weights.sum()] * d, indexing="ij")
    eps = np.stack(axes, axis=-1).reshape(-1, d).astype(dtype)
    mass = np.prod(masses, axis=0).ravel().astype(dtype)
    return q.mean[None, :] + sigma_of(q)[None, :] * eps, eps, mass


def _times_the_score(weights, eps, sigma):
    """Weights times the gradient of log q with respect to mean and sigma."""
    weights = weights[:, None] / sigma[None, :]
    return Gradients(weights * eps, weights * (eps**2 - 1))


def _draw(key, q, num_samples):
    """Draw the noise eps and the samples z, `s d` each."""
    eps = jax.random.normal(key, (num_samples, len(q.mean)), q.mean.dtype)
    return eps, q.mean[None, :] + sigma_of(q)[None, :] * eps


def sigma_of(q):
    """The standard deviation of each dimension `d`."""
    return jnp.broadcast_to(jnp.sqrt(q.variance), q.mean.shape)


def _check_scalar(f, z):
    # A new function each time, because JAX caches the shapes of one that it knows.
    value = jax.eval_shape(lambda z: f(z), z)
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if shape != () or not jnp.issubdtype(dtype, jnp.floating):
        raise ValueError(
            f"f: got {value} for a z of shape {z.shape}, expected one real number"
        )
