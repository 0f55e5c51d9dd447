"""Case 1: one Gaussian, whose maximum likelihood estimate has a closed form.

The other models use these functions as building blocks: a mixture is a weighted sum of
Gaussians, a decoder puts a Gaussian around its output, and the variational
distribution q(z) is a Gaussian over z.

Every function raises a ValueError if a shape does not fit, a number is not finite, a
variance is not above 0, a count is below 1, or `key` is not a typed key.
"""

from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from helpers._checks import checked, positive

__all__ = [
    "Gaussian",
    "fit_mle",
    "kl_divergence",
    "kl_to_standard_normal",
    "log_prob",
    "sample",
]


class Gaussian(NamedTuple):
    """N(mean, variance I) if the variance is a scalar, N(mean, diag(variance)) if `d`.

    `variance` is sigma squared, not sigma.
    """

    mean: Float[Array, " d"]
    variance: Annotated[Float[Array, ""] | Float[Array, " d"], positive]


@checked
def log_prob(params: Gaussian, x: Float[Array, "n d"]) -> Float[Array, " n"]:
    """Log density of each point (S05, with the deck's slip corrected).

    log N(x; mean, variance)
        = -1/2 sum_d [log(2 pi variance_d) + (x_d - mean_d)^2 / variance_d]

    Args:
        params: mean `d`, variance scalar or `d`.
        x: points `n d`, one per row.

    Returns:
        `n` log densities, in nats.

    Source: deck, "Difficulties of MLE (1)"; Bishop 2006, eq. 2.43.
    """
    variance = jnp.broadcast_to(params.variance, params.mean.shape)
    squares = (x - params.mean[None, :]) ** 2 / variance[None, :]
    return -0.5 * (jnp.log(2 * jnp.pi * variance)[None, :] + squares).sum(axis=1)


@checked
def fit_mle(x: Float[Array, "n d"], *, isotropic: bool = True) -> Gaussian:
    """Maximum likelihood estimate in closed form (S06, and S07 corrected).

    mean = sum_i x_i / N
    variance = sum_i |x_i - mean|^2 / (D N)          isotropic
    variance_d = sum_i (x_id - mean_d)^2 / N         otherwise

    If there is only one point, or all points are equal, the variance is 0 (up to the
    rounding of the mean). The likelihood is then unbounded, and `log_prob` raises an
    error for a variance of 0.

    Args:
        x: points `n d`.
        isotropic: True for one variance shared by all dimensions, False for one each.

    Returns:
        Gaussian with mean `d` and variance scalar (isotropic) or `d`.

    Source: deck, "Difficulties of MLE (1)"; Bishop 2006, section 2.3.4.
    """
    mean = x.mean(axis=0)
    variances = ((x - mean[None, :]) ** 2).mean(axis=0)
    return Gaussian(mean, variances.mean() if isotropic else variances)


@checked
def sample(
    key: Key[Array, ""], params: Gaussian, num_samples: int
) -> Float[Array, "n d"]:
    """Draw points as mean + sigma eps with eps ~ N(0, I) and sigma^2 = variance (S32).

    Args:
        key: a typed key.
        params: mean `d`, variance scalar or `d`.
        num_samples: how many points to draw.

    Returns:
        `n d` points.

    Source: deck, "The Reparameterization Trick"; Kingma and Welling 2014.
    """
    shape = (num_samples, len(params.mean))
    eps = jax.random.normal(key, shape, params.mean.dtype)
    sigma = jnp.sqrt(jnp.broadcast_to(params.variance, params.mean.shape))
    return params.mean[None, :] + sigma[None, :] * eps


@checked
def kl_divergence(q: Gaussian, p: Gaussian) -> Float[Array, ""]:
    """Kullback-Leibler divergence of two Gaussians, in closed form (S23, S24).

    KL(q || p) = E_q log [q(z) / p(z)]
               = 1/2 sum_d [v_q / v_p - 1 - log(v_q / v_p) + (m_q - m_p)^2 / v_p]

    Args:
        q: the Gaussian over which the expectation is taken.
        p: the Gaussian that q is compared with, of the same dimension.

    Returns:
        scalar, in nats, 0 only if q = p.

    Source: Kingma and Welling 2014, appendix B.
    """
    q_variance = jnp.broadcast_to(q.variance, q.mean.shape)
    p_variance = jnp.broadcast_to(p.variance, p.mean.shape)
    squares = (q.mean - p.mean) ** 2 / p_variance
    # Near q = p, v_q / v_p - 1 is small; the difference keeps its digits.
    excess = (q_variance - p_variance) / p_variance
    log_ratio = _log_ratio(q_variance, p_variance, excess)
    return 0.5 * (excess - log_ratio + squares).sum()


def _log_ratio(q_variance, p_variance, excess):
    """log(v_q / v_p) to full precision, whether the ratio is near 1 or far from it."""
    near = jnp.abs(excess) < 0.5
    # The inner `where` keeps the branch that is not chosen finite: otherwise it would
    # make the gradient nan.
    near_one = jnp.log1p(jnp.where(near, excess, 0.0))
    far_from_one = jnp.log(q_variance) - jnp.log(p_variance)
    return jnp.where(near, near_one, far_from_one)


@checked
def kl_to_standard_normal(q: Gaussian) -> Float[Array, ""]:
    """KL(q || N(0, I)), the regulariser in the bound of the VAE (S28).

    KL = 1/2 sum_d [v_d - 1 - log v_d + m_d^2]

    Args:
        q: mean `d`, variance scalar or `d`.

    Returns:
        scalar, in nats.

    Source: Kingma and Welling 2014, appendix B.
    """
    prior = Gaussian(jnp.zeros_like(q.mean), jnp.ones((), q.mean.dtype))
    return kl_divergence(q, prior)
