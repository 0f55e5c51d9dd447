"""The gradient of E_q f(z) in q's own parameters, sample by sample (S31 to S33).

q = N(mean, diag(sigma)^2) is moved, and the average of f under it with it. All here is
in (mean, sigma), as an encoder gives them and as the slide has them: sigma is the
standard deviation, the root of the variance that `Gaussian` holds. A variance shared
by all dimensions counts as one sigma per dimension, all equal; the gradient in the
shared sigma is the sum over them.

f is any function of one z `d` to a scalar, written with `jax.numpy`. It may be changed
or defined again at any time: a compiled version is used only while all that it is made
of is the same, see `_functions`.

Every function raises a ValueError where q is no Gaussian of positive variance, f is no
scalar, a value or slope of f is not finite, a count is below 1, or `key` is not a typed
key.
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

# NumPy's nodes are exact to rounding up to here, and memory ends at so many points.
MAX_NODES = 256
MAX_POINTS = 1_000_000


class Gradients(NamedTuple):
    """d E_q f / d mean and d E_q f / d sigma: one estimate per sample, or the truth."""

    mean: Float[Array, "*s d"]
    sigma: Float[Array, "*s d"]


def _finite_slopes(gradients, **_):
    _checks.as_array("slope of f", gradients.mean, "s d")
    return gradients


@checked(result=_finite_slopes)
def pathwise(
    key: Key[Array, ""],
    f: Callable[[Array], Array],
    q: Gaussian,
    *,
    num_samples: int,
) -> Gradients:
    """Pathwise estimates: the noise is fixed, z = mean + sigma eps moves (S33).

    grad E_q f(z) = E_eps grad f(mean + sigma eps),   eps ~ N(0, I)
    d / d mean = f'(z),   d / d sigma = f'(z) eps

    Unbiased where f is locally Lipschitz, as with kinks, and does not grow too fast. A
    jump of f has no slope, so what it contributes is missing: a step function gives 0.

    Args:
        key: a typed key; the same key gives `score_function` the same z.
        f: from one z `d` to a scalar.
        q: mean `d`, variance scalar or `d`.
        num_samples: how many, at least 1.

    Returns:
        Gradients, `s d` each: independent estimates, to be averaged, in units of f per
        unit of z.

    Source: deck, "The Reparameterization Trick"; Kingma and Welling 2014; Rezende et
    al. 2014.
    """
    eps, z = _draw(key, q, num_samples)
    _check_scalar(f, q.mean)
    # samples along the last axis, where the processor takes several at once
    slopes = jax.vmap(jax.grad(f), out_axes=1)(z).T
    return Gradients(slopes, slopes * eps)


def _finite_values(gradients, key, f, q, num_samples, **_):
    if not np.isfinite(gradients.mean).all():
        _, z = _draw(key, q, num_samples)
        _checks.as_array("f(z)", jax.vmap(f)(z), "s")
    _checks.as_array("f(z) times the score", gradients.sigma, "s d")
    return gradients


def _two_for_leave_one_out(num_samples, baseline, **_):
    if isinstance(baseline, str):
        _checks.count("num_samples", num_samples, low=2)


@checked(given=_two_for_leave_one_out, result=_finite_values)
def score_function(
    key: Key[Array, ""],
    f: Callable[[Array], Array],
    q: Gaussian,
    *,
    num_samples: int,
    baseline: float | Float[Array, ""] | Literal["leave_one_out"] | None = None,
) -> Gradients:
    """Score-function estimates: weight the gradient of log q by f(z) (S33).

    grad E_q f(z) = E_q [(f(z) - b) grad log q(z)]
    d log q / d mean = eps / sigma,   d log q / d sigma = (eps^2 - 1) / sigma

    Unbiased for any f, jumps too, since f is never differentiated. The score averages
    to 0, so a baseline b that does not depend on this z changes the variance only.

    Args:
        key: a typed key.
        f: from one z `d` to a scalar.
        q: mean `d`, variance scalar or `d`.
        num_samples: how many, at least 1; at least 2 for "leave_one_out".
        baseline: b: 0 if None, a constant, or for each sample the mean of f over all
            the other samples. The estimates of the last are unbiased but, sharing
            samples, not independent: the standard error of their mean is a little off.

    Returns:
        Gradients, `s d` each: to be averaged, in units of f per unit of z.

    Raises:
        ValueError: besides the above, the baseline is not finite or another word.

    Source: Williams 1992 (REINFORCE); Mnih and Rezende 2016 (leave one out).
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
            f"at most {MAX_POINTS}; use score_function"
        )


@checked(given=_points_that_memory_holds, compiled=False)
def exact_gradient(
    f: Callable[[Array], Array],
    q: Gaussian,
    *,
    num_nodes: Annotated[int, partial(_checks.count, low=3, high=MAX_NODES)],
) -> Gradients:
    """The gradient itself, by Gauss-Hermite quadrature over eps (S31, S33).

    grad E_q f(z) = sum_i w_i f(mean + sigma e_i) grad log q(mean + sigma e_i)

    Exact to rounding for polynomials of degree up to 2 num_nodes - 3, and converging
    exponentially for analytic f; a jump or a kink needs its closed form instead. The
    rule is compared with the one of a node fewer.

    Args:
        f: from one z `d` to a scalar.
        q: mean `d`, variance scalar or `d`.
        num_nodes: nodes of the rule on each axis, 3 to 256, with at most a million
            points `num_nodes^d` in all.

    Returns:
        Gradients, `d` each, in units of f per unit of z.

    Raises:
        ValueError: besides the above, the nodes are too many for d, or too few for
            this f, so that the two rules disagree.

    Source: Davis and Rabinowitz 1984, section 3.6; the identity is Williams 1992.
    """
    fine = _gauss_hermite(f, q, num_nodes)
    coarse = _gauss_hermite(f, q, num_nodes - 1)
    if not is_traced(fine.tolerance):
        change = np.abs(np.subtract(fine.gradients, coarse.gradients)).max()
        if not change <= fine.tolerance:
            raise ValueError(
                f"num_nodes: got {num_nodes}, too few for this f: one node fewer "
                f"changes the gradient by {change:.1e}; give more, or a closed form "
                "where f has a jump or a kink"
            )
    return fine.gradients


class Rule(NamedTuple):
    """A rule's gradients, and how far those of another good rule may be from them."""

    gradients: Gradients
    tolerance: Float[Array, ""]


def _finite_sum(rule, f, q, num_nodes):
    if not np.isfinite(rule.gradients).all():
        z, _, _ = _nodes(q, num_nodes)
        _checks.as_array("f(z)", jax.vmap(f)(z), "s")
    return rule


@checked(result=_finite_sum)
def _gauss_hermite(f: Callable[[Array], Array], q: Gaussian, num_nodes: int) -> Rule:
    z, eps, mass = _nodes(q, num_nodes)
    _check_scalar(f, q.mean)
    sigma = sigma_of(q)
    values = jax.vmap(f)(z)
    # the score's mean is 0, so a constant taken off f takes rounding off the sum
    terms = _times_the_score(values - mass @ values, eps, sigma)
    gradients = Gradients(mass @ terms.mean, mass @ terms.sigma)
    spread = jnp.max(mass @ jnp.abs(jnp.concatenate(terms, axis=1)))
    eps = jnp.finfo(sigma.dtype).eps
    rounding = 64 * eps * jnp.abs(values).max() / sigma.min()
    return Rule(gradients, jnp.sqrt(eps) * spread + rounding)


def _nodes(q, num_nodes):
    """The rule's points: z and eps `s d` and the mass of each `s`."""
    d, dtype = len(q.mean), q.mean.dtype
    nodes, weights = np.polynomial.hermite_e.hermegauss(num_nodes)
    axes = np.meshgrid(*[nodes] * d, indexing="ij")
    masses = np.meshgrid(*[weights / weights.sum()] * d, indexing="ij")
    eps = np.stack(axes, axis=-1).reshape(-1, d).astype(dtype)
    mass = np.prod(masses, axis=0).ravel().astype(dtype)
    return q.mean[None, :] + sigma_of(q)[None, :] * eps, eps, mass


def _times_the_score(weights, eps, sigma):
    """Weights times the slope of log q in mean and in sigma."""
    weights = weights[:, None] / sigma[None, :]
    return Gradients(weights * eps, weights * (eps**2 - 1))


def _draw(key, q, num_samples):
    """The noise and the samples `s d`."""
    eps = jax.random.normal(key, (num_samples, len(q.mean)), q.mean.dtype)
    return eps, q.mean[None, :] + sigma_of(q)[None, :] * eps


def sigma_of(q):
    """The standard deviation of each dimension `d`."""
    return jnp.broadcast_to(jnp.sqrt(q.variance), q.mean.shape)


def _check_scalar(f, z):
    # a new function, since JAX remembers the shape of one that it has met
    value = jax.eval_shape(lambda z: f(z), z)
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if shape != () or not jnp.issubdtype(dtype, jnp.floating):
        raise ValueError(
            f"f: got {value} for a z of shape {z.shape}, expected one real number"
        )
