"""What a trained VAE has learnt: log p(x) by importance sampling, and which units live.

For a z of any dimension, where quadrature has ended. Only the Gaussian likelihood.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax.scipy.special import logsumexp
from jaxtyping import Array, Bool, Float, Key

from helpers import _checks, decoder, gaussian, vae
from helpers.gaussian import Gaussian
from helpers.vae import VAE

__all__ = ["active_units", "distortion", "log_prob", "log_ratios", "unit_kl"]


def log_ratios(
    key: Key[Array, ""],
    params: VAE,
    x: Float[Array, "n d"],
    *,
    num_samples: int,
    sigma_x: float | Float[Array, ""] = 1.0,
) -> Float[Array, "n s"]:
    """Log of p(x, z) / q(z) for samples z of each point's own q.

    Args:
        key: a typed key; every point draws its own z.
        params: the VAE.
        x: points `n d`.
        num_samples: s, at least 1; one point's are in memory at a time.
        sigma_x: the known standard deviation of x given z.

    Returns:
        `n s` values, in nats. Their mean is the ELBO; see `log_prob`.

    Raises:
        ValueError: as `vae.encode`; or `num_samples` is below 1, `sigma_x` is not
            above 0, or `key` is no key.

    Source: Burda et al. 2016, "Importance Weighted Autoencoders".
    """
    key, num_samples = _checks.key(key), _checks.count("num_samples", num_samples)
    sigma_x = _checks.positive("sigma_x", sigma_x, "")
    return _log_ratios(
        num_samples, key, params.decoder, x, vae.encode(params, x), sigma_x
    )


def log_prob(
    key: Key[Array, ""],
    params: VAE,
    x: Float[Array, "n d"],
    *,
    num_samples: int,
    sigma_x: float | Float[Array, ""] = 1.0,
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

    Raises:
        ValueError: as `log_ratios`.

    Source: Burda et al. 2016, eq. 8.
    """
    ratios = log_ratios(key, params, x, num_samples=num_samples, sigma_x=sigma_x)
    return _log_mean_exp(ratios)


def unit_kl(params: VAE, x: Float[Array, "n d"]) -> Float[Array, " m"]:
    """KL of each latent unit, as a MEAN over points: their sum is the rate (S28).

    KL_j = 1/n sum_i 1/2 (v_ij - 1 - log v_ij + m_ij^2)

    Args:
        params: the VAE.
        x: points `n d`.

    Returns:
        `m` values, in nats a point, at least 0.

    Raises:
        ValueError: as `vae.encode`.

    Source: Kingma and Welling 2014, appendix B.
    """
    return _unit_kl(vae.encode(params, x))


def active_units(
    params: VAE, x: Float[Array, "n d"], *, threshold: float = 0.01
) -> Bool[Array, " m"]:
    """Which latent units know anything of x: the variance of their mean over points.

    Args:
        params: the VAE.
        x: points `n d`.
        threshold: the variance above which a unit is active.

    Returns:
        `m` truth values.

    Raises:
        ValueError: as `vae.encode`; or the threshold is negative.

    Source: Burda et al. 2016, section 5.3.
    """
    threshold = _checks.not_negative("threshold", threshold, "")
    return _variance(vae.encode(params, x).mean) > threshold


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

    Raises:
        ValueError: as `vae.elbo_terms`.

    Source: Alemi et al. 2018, "Fixing a broken ELBO", where it is in nats.
    """
    terms = vae.elbo_terms(key, params, x)  # sigma_x = 1
    return _squares(terms.reconstruction, x.shape[1])


@partial(jax.jit, static_argnums=0)
def _log_ratios(num_samples, key, theta, x, q, sigma_x):
    def one(each):
        key, point, *q = each
        q = Gaussian(*q)
        z = gaussian.sample(key, q, num_samples)
        noise = Gaussian(point, sigma_x**2)
        given_z = gaussian.log_prob(noise, decoder.decode(theta, z))
        prior = Gaussian(jnp.zeros_like(q.mean), jnp.ones_like(q.variance))
        return given_z + gaussian.log_prob(prior, z) - gaussian.log_prob(q, z)

    return jax.lax.map(one, (jax.random.split(key, len(x)), x, *q))


@jax.jit
def _log_mean_exp(ratios):
    return logsumexp(ratios, axis=1) - jnp.log(ratios.shape[1])


@jax.jit
def _unit_kl(q):
    return 0.5 * (q.variance - 1 - jnp.log(q.variance) + q.mean**2).mean(axis=0)


@jax.jit
def _variance(mean):
    return mean.var(axis=0)


@partial(jax.jit, static_argnums=1)
def _squares(reconstruction, d):
    return -2 * reconstruction.mean() - d * jnp.log(2 * jnp.pi)
