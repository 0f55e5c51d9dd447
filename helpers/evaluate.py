"""Measure what a trained VAE has learned: log p(x), the KL of each unit, active units.

Everything works for a z of any dimension, where quadrature would be too expensive.

Every function raises a ValueError if a shape does not fit, a number is not finite,
`sigma_x` is not above 0, a count is below 1, or `key` is not a typed key.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from helpers import decoder, gaussian, vae
from helpers._checks import NotNegative, Positive, checked
from helpers.gaussian import Gaussian
from helpers.quadrature import log_mean_exp
from helpers.vae import VAE

__all__ = ["active_units", "distortion", "log_prob", "log_ratios", "unit_kl"]


@checked
def log_ratios(
    key: Key[Array, ""],
    params: VAE,
    x: Float[Array, "n d"],
    *,
    num_samples: int,
    sigma_x: Positive = 1.0,
) -> Float[Array, "n s"]:
    """Log importance weights: log p(x, z) / q(z) for samples z of each point's q.

    log p(x, z) - log q(z),   z ~ q = N(mean, diag(sigma)^2) from the encoder

    Args:
        key: a typed key; every point draws its own z.
        params: the VAE.
        x: points `n d`.
        num_samples: s, at least 1; memory holds the samples of one point at a time.
        sigma_x: the known standard deviation of x given z.

    Returns:
        `n s` values, in nats. Their mean over s estimates the ELBO; see `log_prob`.

    Source: Burda et al. 2016, "Importance Weighted Autoencoders".
    """

    def of_one_point(each):
        key, point, mean, variance = each
        q = Gaussian(mean, variance)
        z = gaussian.sample(key, q, num_samples)
        log_joint = decoder.log_joint(params.decoder, point[None], z, sigma_x=sigma_x)
        return log_joint[0] - gaussian.log_prob(q, z)

    q = vae.encode(params, x)
    keys = jax.random.split(key, len(x))
    return jax.lax.map(of_one_point, (keys, x, q.mean, q.variance))


@checked
def log_prob(
    key: Key[Array, ""],
    params: VAE,
    x: Float[Array, "n d"],
    *,
    num_samples: int,
    sigma_x: Positive = 1.0,
) -> Float[Array, " n"]:
    """Importance-weighted estimate of log p(x), with the encoder's q.

    log p(x) ~ log 1/s sum_j p(x, z_j) / q(z_j),   z_j ~ q

    The estimate is too low on average; the bias shrinks with more samples.

    Args:
        key: as `log_ratios`.
        params: the VAE.
        x: points `n d`.
        num_samples: s; with 1 the result is a one-sample estimate of the ELBO.
        sigma_x: as `log_ratios`.

    Returns:
        `n` estimates, in nats.

    Source: Burda et al. 2016, eq. 8.
    """
    ratios = log_ratios(key, params, x, num_samples=num_samples, sigma_x=sigma_x)
    return log_mean_exp(ratios)


@checked
def unit_kl(params: VAE, x: Float[Array, "n d"]) -> Float[Array, " m"]:
    """KL(q || p(z)) of each latent unit, as a MEAN over points (S28).

    The sum over the units is called the rate.

    KL_j = 1/n sum_i 1/2 (v_ij - 1 - log v_ij + m_ij^2)

    Args:
        params: the VAE.
        x: points `n d`.

    Returns:
        `m` values, in nats per point, at least 0.

    Source: Kingma and Welling 2014, appendix B.
    """
    mean, variance = vae.encode(params, x)
    return 0.5 * (variance - 1 - jnp.log(variance) + mean**2).mean(axis=0)


@checked
def active_units(
    params: VAE, x: Float[Array, "n d"], *, threshold: NotNegative = 0.01
) -> Bool[Array, " m"]:
    """Which latent units carry information about x: their mean varies with the point.

    Var_x(mean_j(x)) > threshold

    Args:
        params: the VAE.
        x: points `n d`.
        threshold: the variance above which a unit is active, at least 0.

    Returns:
        `m` truth values.

    Source: Burda et al. 2016, section 5.3.
    """
    return vae.encode(params, x).mean.var(axis=0) > threshold


@checked
def distortion(
    key: Key[Array, ""], params: VAE, x: Float[Array, "n d"]
) -> Float[Array, ""]:
    """Squared error of a point decoded from a sample of its q, as a MEAN over points.

    1/n sum_i |x_i - decode(z_i)|^2,   z_i ~ q_i

    Args:
        key: a typed key.
        params: the VAE.
        x: points `n d`.

    Returns:
        scalar, in x's units squared, summed over dimensions.

    Source: Alemi et al. 2018, "Fixing a broken ELBO", which measures it in nats.
    """
    mean, variance = vae.encode(params, x)
    z = mean + jnp.sqrt(variance) * jax.random.normal(key, mean.shape, mean.dtype)
    return ((x - vae.decode(params, z)) ** 2).sum(axis=1).mean()
