"""Case 1: one Gaussian, whose maximum likelihood estimate has a closed form.

Everything else stands on these few lines: a mixture is a sum of them, a decoder
puts one around its output, and a variational posterior is one over z.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from helpers import _checks

__all__ = [
    "Gaussian",
    "fit_mle",
    "kl_divergence",
    "kl_to_standard_normal",
    "log_prob",
    "sample",
]


class Gaussian(NamedTuple):
    """N(mean, variance I) for a scalar variance, N(mean, diag(variance)) for `d`.

    The variance is sigma squared, not sigma.
    """

    mean: Float[Array, " d"]
    variance: Float[Array, ""] | Float[Array, " d"]


def log_prob(params: Gaussian, x: Float[Array, "n d"]) -> Float[Array, " n"]:
    """Log density of each point (S05, with the deck's slip mended).

    log N(x; mean, variance)
        = -1/2 sum_d [log(2 pi variance_d) + (x_d - mean_d)^2 / variance_d]

    Args:
        params: mean `d`, variance scalar or `d`.
        x: points `n d`, one a row.

    Returns:
        `n` log densities, in nats.

    Raises:
        ValueError: a shape does not fit, a number is not finite, a variance is not
            above 0.

    Source: deck, "Difficulties of MLE (1)"; Bishop 2006, eq. 2.43.
    """
    mean, variance = _checked(params)
    x = _checks.as_array("x", x, "n d", d=mean.shape[0])
    return _log_prob(mean, variance, x)


@jax.jit  # one small program, where each operation alone would be compiled and kept
def _log_prob(mean, variance, x):
    variance = jnp.broadcast_to(variance, mean.shape)
    squares = (x - mean[None, :]) ** 2 / variance[None, :]
    return -0.5 * (jnp.log(2 * jnp.pi * variance)[None, :] + squares).sum(axis=1)


def fit_mle(x: Float[Array, "n d"], *, isotropic: bool = True) -> Gaussian:
    """Maximum likelihood estimate in closed form (S06, and S07 mended).

    mean = sum_i x_i / N
    variance = sum_i |x_i - mean|^2 / (D N)          isotropic
    variance_d = sum_i (x_id - mean_d)^2 / N         otherwise

    One point gives the exact limit: variance 0. Points that all agree give it up to
    the rounding of their mean. The likelihood then has no upper bound, and `log_prob`
    refuses a variance of 0.

    Args:
        x: points `n d`.
        isotropic: one variance shared by all dimensions, or one for each.

    Returns:
        Gaussian with mean `d` and variance scalar (isotropic) or `d`.

    Raises:
        ValueError: `x` is not `n d`, is empty, or is not finite.

    Source: deck, "Difficulties of MLE (1)"; Bishop 2006, section 2.3.4.
    """
    return _fit_mle(_checks.as_array("x", x, "n d"), isotropic)


@partial(jax.jit, static_argnums=1)
def _fit_mle(x, isotropic):
    mean = x.mean(axis=0)
    variances = ((x - mean[None, :]) ** 2).mean(axis=0)
    return Gaussian(mean, variances.mean() if isotropic else variances)


def sample(
    key: Key[Array, ""], params: Gaussian, num_samples: int
) -> Float[Array, "n d"]:
    """Draw points as mean + sqrt(variance) * eps with eps ~ N(0, I) (S32).

    Args:
        key: a typed key.
        params: mean `d`, variance scalar or `d`.
        num_samples: how many, at least 1.

    Returns:
        `n d` points.

    Raises:
        ValueError: as `log_prob`; or `num_samples` is below 1, or `key` is no key.

    Source: deck, "The Reparameterization Trick"; Kingma and Welling 2014.
    """
    key = _checks.key(key)
    mean, variance = _checked(params)
    return _sample(key, mean, variance, _checks.count("num_samples", num_samples))


@partial(jax.jit, static_argnums=3)
def _sample(key, mean, variance, num_samples):
    eps = jax.random.normal(key, (num_samples, len(mean)), mean.dtype)
    scale = jnp.sqrt(jnp.broadcast_to(variance, mean.shape))
    return mean[None, :] + scale[None, :] * eps


def kl_divergence(q: Gaussian, p: Gaussian) -> Float[Array, ""]:
    """Kullback-Leibler divergence of two Gaussians in closed form (S23, S24).

    KL(q, p) = 1/2 sum_d [v_q / v_p - 1 - log(v_q / v_p) + (m_q - m_p)^2 / v_p]

    Args:
        q: the Gaussian whose samples are averaged over.
        p: the Gaussian it is compared with, of the same dimension.

    Returns:
        scalar, in nats, 0 only for q = p.

    Raises:
        ValueError: as `log_prob`; or the dimensions differ.

    Source: Kingma and Welling 2014, appendix B.
    """
    q_mean, q_variance = _checked(q, "q.")
    p_mean, p_variance = _checked(p, "p.")
    _checks.as_array("q.mean", q_mean, "d", d=p_mean.shape[0])
    return _kl_divergence(q_mean, q_variance, p_mean, p_variance)


@jax.jit
def _kl_divergence(q_mean, q_variance, p_mean, p_variance):
    q_variance, p_variance = (
        jnp.broadcast_to(variance, p_mean.shape)
        for variance in (q_variance, p_variance)
    )
    # Near q = p the logarithm of 1 + t cancels against t, unless it is taken of t; far
    # from it t loses the digits of a small ratio. The inner `where` keeps the unused
    # branch finite, since its gradient counts.
    t = (q_variance - p_variance) / p_variance
    near = jnp.abs(t) < 0.5
    far_log = jnp.log(q_variance) - jnp.log(p_variance)
    log_ratio = jnp.where(near, jnp.log1p(jnp.where(near, t, 0.0)), far_log)
    squares = (q_mean - p_mean) ** 2 / p_variance
    return 0.5 * (t - log_ratio + squares).sum()


def kl_to_standard_normal(q: Gaussian) -> Float[Array, ""]:
    """KL(q, N(0, I)): the regulariser of the VAE's bound (S28).

    KL = 1/2 sum_d [v_d - 1 - log v_d + m_d^2]

    Args:
        q: mean `d`, variance scalar or `d`.

    Returns:
        scalar, in nats.

    Raises:
        ValueError: as `log_prob`.

    Source: Kingma and Welling 2014, appendix B.
    """
    mean, _ = _checked(q, "q.")
    return kl_divergence(q, Gaussian(jnp.zeros_like(mean), jnp.ones((), mean.dtype)))


def _checked(params, prefix="params."):
    """Mean `d` and variance, a scalar or `d`, as arrays."""
    mean = _checks.as_array(f"{prefix}mean", params.mean, "d")
    variance = _checks.positive(
        f"{prefix}variance", params.variance, "", "d", d=mean.shape[0]
    )
    return mean, variance
