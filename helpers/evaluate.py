"""What a trained VAE has learned: log p(x) by importance sampling, and active units.

For a z of any dimension, where quadrature is out of reach.

Every function raises a ValueError where a shape does not fit, a number is not finite,
`sigma_x` is not above 0, a count is below 1, or `key` is not a typed key.
"""

import jax
import jax.numpy as jnp
from jax.scipy.special import logsumexp
from jaxtyping import Array, Bool, Float, Key

from helpers import decoder, gaussian, vae
from helpers._checks import NotNegative, Positive, checked
from helpers.gaussian import Gaussian
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
    """Log of p(x, z) / q(z) for samples z of each point's own q.

    log p(x, z) - log q(z),   z ~ q = N(mean, diag(sigma)^2) from the encoder

    Args:
        key: a typed key; every point draws its own z.
        params: the VAE.
        x: points `n d`.
        num_samples: s, at least 1; one point's are in memory at a time.
        sigma_x: the known standard deviation of x given z.

    Returns:
        `n s` values, in nats. Their mean is the ELBO; see `log_prob`.

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

    On average too low, and the less so the more samples.

    Args:
        key: as `log_ratios`.
        params: the VAE.
        x: points `n d`.
        num_samples: s; 1 gives draws of the ELBO.
        sigma_x: as `log_ratios`.

    Returns:
        `n` estimates, in nats.

    Source: Burda et al. 2016, eq. 8.
    """
    ratios = log_ratios(key, params, x, num_samples=num_samples, sigma_x=sigma_x)
    return logsumexp(ratios, axis=1) - jnp.log(num_samples)


@checked
def unit_kl(params: VAE, x: Float[Array, "n d"]) -> Float[Array, " m"]:
    """KL of each latent unit, as a MEAN over points: their sum is the rate (S28).

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
    """Which latent units carry information on x: those whose mean varies over points.

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
    """Squared error of a point decoded from a draw of its q, as a MEAN over points.

    1/n sum_i |x_i - decode(z_i)|^2,   z_i ~ q_i

    Args:
        key: a typed key.
        params: the VAE.
        x: points `n d`.

    Returns:
        scalar, in x's units squared, summed over dimensions.

    Source: Alemi et al. 2018, "Fixing a broken ELBO", where it is in nats.
    """
    mean, variance = vae.encode(params, x)
    z = mean + jnp.sqrt(variance) * jax.random.normal(key, mean.shape, mean.dtype)
    return ((x - vae.decode(params, z)) ** 2).sum(axis=1).mean()
