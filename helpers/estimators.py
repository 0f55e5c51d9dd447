"""The gradient of E_q f(z) in q's own parameters, sample by sample (S31 to S33).

q = N(mean, diag(sigma)^2) is moved, and the average of f under it with it. All here is
in (mean, sigma), as an encoder gives them and as the slide has them: sigma is the
standard deviation, the root of the variance that `Gaussian` holds. A variance shared
by all dimensions counts as one sigma a dimension, all equal; the gradient in the
shared sigma is the sum over them.

Each function may be compiled, with f closed over: ten times faster where f is called
often, since otherwise every operation of f runs by itself.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from helpers import _checks, gaussian
from helpers.gaussian import Gaussian

__all__ = ["Gradients", "exact_gradient", "pathwise", "score_function"]

# NumPy's nodes are exact to rounding up to here, and memory ends at so many points.
MAX_NODES = 256
MAX_POINTS = 1_000_000


class Gradients(NamedTuple):
    """d E_q f / d mean and d E_q f / d sigma: one estimate a sample, or the truth."""

    mean: Float[Array, "*s d"]
    sigma: Float[Array, "*s d"]


def pathwise(
    key: Key[Array, ""],
    f: Callable[[Array], Array],
    q: Gaussian,
    *,
    num_samples: int,
) -> Gradients:
    """Pathwise estimates: the noise held still, z = mean + sigma eps moves (S33).

    grad E_q f(z) = E_eps grad f(mean + sigma eps),   eps ~ N(0, I)
    d / d mean = f'(z),   d / d sigma = f'(z) eps

    Unbiased where f is continuous. A jump of f has no slope, so what it contributes
    is missing: a step function gives 0.

    Args:
        key: a typed key; the same key gives `score_function` the same z.
        f: from one z `d` to a scalar.
        q: mean `d`, variance scalar or `d`.
        num_samples: how many, at least 1.

    Returns:
        Gradients, `s d` each: independent estimates, to be averaged, in units of f a
        unit of z.

    Raises:
        ValueError: q is no Gaussian of positive variance, f is no scalar, a slope of f
            is not finite, `num_samples` is below 1, or `key` is no key.

    Source: deck, "The Reparameterization Trick"; Kingma and Welling 2014; Rezende et
    al. 2014.
    """
    _, _, eps, z = _draw(key, f, q, num_samples)
    slopes = _checks.as_array("slope of f", jax.vmap(jax.grad(f))(z), "s d")
    return Gradients(slopes, slopes * eps)


def score_function(
    key: Key[Array, ""],
    f: Callable[[Array], Array],
    q: Gaussian,
    *,
    num_samples: int,
    baseline: float | Float[Array, ""] | Literal["leave_one_out"] | None = None,
) -> Gradients:
    """Score-function estimates: f weighs the slope of log q, z held still (S33).

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
        Gradients, `s d` each: to be averaged, in units of f a unit of z.

    Raises:
        ValueError: as `pathwise`; or a value of f or the baseline is not finite, or
            the baseline is another word.

    Source: Williams 1992 (REINFORCE); Mnih and Rezende 2016 (leave one out).
    """
    if isinstance(baseline, str):
        _checks.one_of("baseline", baseline, "leave_one_out")
        _checks.count("num_samples", num_samples, low=2)
    elif baseline is not None:
        baseline = _checks.as_array("baseline", baseline, "")
    _, sigma, eps, z = _draw(key, f, q, num_samples)
    weights = _checks.as_array("f(z)", jax.vmap(f)(z), "s")
    if isinstance(baseline, str):
        # f - mean of the others = (f - mean of all) s / (s - 1)
        weights = (weights - weights.mean()) * (num_samples / (num_samples - 1))
    elif baseline is not None:
        weights = weights - baseline
    return _weighted_scores(weights, eps, sigma)


def exact_gradient(
    f: Callable[[Array], Array], q: Gaussian, *, num_nodes: int
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
        Gradients, `d` each, in units of f a unit of z.

    Raises:
        ValueError: as `score_function`; or the nodes are too many for d, or too few
            for this f, so that the two rules disagree.

    Source: Davis and Rabinowitz 1984, section 3.6; the identity is Williams 1992.
    """
    num_nodes = _checks.count("num_nodes", num_nodes, low=3, high=MAX_NODES)
    mean, sigma = _mean_and_sigma(q)
    if num_nodes ** len(mean) > MAX_POINTS:
        raise ValueError(
            f"num_nodes: got {num_nodes}, which makes {num_nodes}^{len(mean)} points, "
            f"expected at most {MAX_POINTS}; use score_function"
        )
    _check_scalar(f, mean)
    fine, size = _gauss_hermite(f, mean, sigma, num_nodes)
    coarse, _ = _gauss_hermite(f, mean, sigma, num_nodes - 1)
    if not isinstance(size, jax.core.Tracer):
        change = np.max(np.abs(np.concatenate(fine) - np.concatenate(coarse)))
        if not change <= size:
            raise ValueError(
                f"num_nodes: got {num_nodes}, too few for this f: one node fewer "
                f"changes the gradient by {change:.1e}; give more, or a closed form "
                "where f has a jump or a kink"
            )
    return fine


def _gauss_hermite(f, mean, sigma, num_nodes):
    """The rule's gradient, and how far another good rule may be from it."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(num_nodes)
    axes = np.meshgrid(*[nodes] * len(mean), indexing="ij")
    masses = np.meshgrid(*[weights / weights.sum()] * len(mean), indexing="ij")
    eps = jnp.asarray(np.stack(axes, axis=-1).reshape(-1, len(mean)), mean.dtype)
    mass = jnp.asarray(np.prod(masses, axis=0).ravel(), mean.dtype)
    z = mean[None, :] + sigma[None, :] * eps
    values = _checks.as_array("f(z)", jax.vmap(f)(z), "s")
    # the score's mean is 0, so a constant taken off f takes rounding off the sum
    scores = _weighted_scores(values - mass @ values, eps, sigma)
    spread = jnp.max(mass @ jnp.abs(jnp.concatenate(scores, axis=1)))
    rounding = jnp.finfo(mean.dtype).eps * jnp.abs(values).max() / sigma.min()
    size = jnp.sqrt(jnp.finfo(mean.dtype).eps) * spread + 64 * rounding
    return Gradients(mass @ scores.mean, mass @ scores.sigma), size


def _weighted_scores(weights, eps, sigma):
    weights = weights[:, None] / sigma[None, :]
    return Gradients(weights * eps, weights * (eps**2 - 1))


def _draw(key, f, q, num_samples):
    """Mean and sigma `d`, the noise and the samples `s d`."""
    key, num_samples = _checks.key(key), _checks.count("num_samples", num_samples)
    mean, sigma = _mean_and_sigma(q)
    _check_scalar(f, mean)
    eps = jax.random.normal(key, (num_samples, len(mean)), mean.dtype)
    return mean, sigma, eps, mean[None, :] + sigma[None, :] * eps


def _mean_and_sigma(q):
    mean, variance = gaussian._checked(q, "q.")
    return mean, jnp.sqrt(jnp.broadcast_to(variance, mean.shape))


def _check_scalar(f, z):
    value = jax.eval_shape(f, z)
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if shape != () or not jnp.issubdtype(dtype, jnp.floating):
        raise ValueError(
            f"f: got {value} for a z of shape {z.shape}, expected one real number"
        )
