"""The autoencoder's model: two networks, and the terms of the bound between them.

What `vae` offers of it is public; it stands apart from the training.
"""

from collections.abc import Sequence
from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from helpers import _checks, decoder, gaussian
from helpers.decoder import Decoder
from helpers.gaussian import Gaussian

Likelihood = Literal["gaussian", "bernoulli"]


class VAE(NamedTuple):
    """Two networks of one kind: x `d` to mean and log sigma `2 m`, and z `m` to x."""

    encoder: Decoder
    decoder: Decoder


class ElboTerms(NamedTuple):
    """E_q log p(x given z) and KL(q, p(z)): their difference is the bound (S28)."""

    reconstruction: Float[Array, " n"]
    kl: Float[Array, " n"]


def init(key: Key[Array, ""], sizes: Sequence[int]) -> VAE:
    """Draw an encoder and a decoder that is its mirror image.

    Weights as `decoder.init` draws them, but log sigma starts at 0 for every x: each q
    starts as wide as the prior, whatever the scale of the data.

    Args:
        key: a typed key.
        sizes: units of each layer, from x to z: (64, 128, 8) has one hidden layer in
            each network, (64, 8) none, which is the linear VAE.

    Returns:
        VAE.

    Raises:
        ValueError: fewer than two sizes, a size below 1, or `key` is no key.

    Source: deck, "Variational Auto-Encoder"; Kingma and Welling 2014.
    """
    sizes = tuple(_checks.count("sizes", size) for size in sizes)
    return _init(_checks.key(key), sizes)


@partial(jax.jit, static_argnums=1)
def _init(key, sizes):
    encoder_key, decoder_key = jax.random.split(key)
    # before the encoder's, so that too few sizes are refused
    mirrored = decoder.init(decoder_key, sizes[::-1])
    encoder = decoder.init(encoder_key, [*sizes[:-1], 2 * sizes[-1]])
    last = encoder.weights[-1].at[:, sizes[-1] :].set(0)
    return VAE(encoder._replace(weights=(*encoder.weights[:-1], last)), mirrored)


def encode(params: VAE, x: Float[Array, "n d"]) -> Gaussian:
    """The encoder's q for each point (S26, S27).

    q_i(z) = N(mean_i, diag(sigma_i)^2),   mean_i, log sigma_i = encoder(x_i)

    Args:
        params: the VAE.
        x: points `n d`.

    Returns:
        Gaussian with mean `n m` and variance `n m`: one a row, for `jax.vmap`.

    Raises:
        ValueError: a shape does not fit or a number is not finite.

    Source: deck, "Variational Auto-Encoder"; Kingma and Welling 2014, appendix C.
    """
    params = checked(params)
    x = _checks.as_array("x", x, "n d", d=params.encoder.weights[0].shape[0])
    return _posterior(params, x)


def decode(
    params: VAE, z: Float[Array, "s m"], *, likelihood: Likelihood = "gaussian"
) -> Float[Array, "s d"]:
    """The mean of x for each z: no noise on it (S25).

    Args:
        params: the VAE.
        z: latents `s m`.
        likelihood: "gaussian" (any numbers) or "bernoulli" (probabilities of 1).

    Returns:
        `s d`.

    Raises:
        ValueError: a shape does not fit, a number is not finite, or the likelihood is
            another word.

    Source: deck, "Variational Auto-Encoder".
    """
    _checks.one_of("likelihood", likelihood, "gaussian", "bernoulli")
    output = decoder.decode(checked(params).decoder, z)
    return jax.nn.sigmoid(output) if likelihood == "bernoulli" else output


def log_likelihood(
    params: VAE,
    x: Float[Array, "n d"],
    z: Float[Array, "n m"],
    *,
    sigma_x: float | Float[Array, ""] = 1.0,
    likelihood: Likelihood = "gaussian",
) -> Float[Array, " n"]:
    """Log density of each point given its own latent, summed over dimensions (S25).

    gaussian:   -1/2 sum_d [log(2 pi sigma_x^2) + (x_d - decode(z)_d)^2 / sigma_x^2]
    bernoulli:  sum_d [x_d log p_d + (1 - x_d) log(1 - p_d)],   p = decode(z)

    Args:
        params: the VAE.
        x: points `n d`; from 0 to 1 for "bernoulli".
        z: latents `n m`, one for each point.
        sigma_x: the known standard deviation of x given z.
        likelihood: "gaussian" or "bernoulli".

    Returns:
        `n` values, in nats.

    Raises:
        ValueError: as `decode`; or `sigma_x` is not above 0, or `x` is not from 0 to 1
            for "bernoulli".

    Source: deck, "Variational Auto-Encoder"; Kingma and Welling 2014, appendix C.
    """
    params = checked(params)
    x, sigma_x = checked_data(params, x, sigma_x, likelihood)
    output = decoder.decode(params.decoder, z)
    _checks.as_array("z", z, "n m", n=len(x))
    if likelihood == "bernoulli":
        # log(1 + e^output) once, instead of two logarithms that overflow
        return (x * output - jax.nn.softplus(output)).sum(axis=1)
    noise = Gaussian(jnp.zeros(x.shape[1], output.dtype), sigma_x**2)
    return gaussian.log_prob(noise, x - output)


def elbo_terms(
    key: Key[Array, ""],
    params: VAE,
    x: Float[Array, "n d"],
    *,
    num_samples: int = 1,
    sigma_x: float | Float[Array, ""] = 1.0,
    likelihood: Likelihood = "gaussian",
) -> ElboTerms:
    """Both terms of each point's bound, as sums over dimensions (S28, S30, S32).

    ELBO_i = E_q log p(x_i given z) - KL(q_i, N(0, I))
    E_q log p ~ 1/S sum_s log p(x_i given mean_i + sigma_i eps_is),   eps ~ N(0, I)

    The KL is exact, and of weight 1: beta belongs to what `fit` maximises, and is no
    part of the bound.

    Args:
        key: a typed key.
        params: the VAE.
        x: points `n d`.
        num_samples: S, at least 1; memory grows with it.
        sigma_x: as `log_likelihood`.
        likelihood: as `log_likelihood`.

    Returns:
        ElboTerms, `n` each, in nats: an unbiased estimate and an exact value.

    Raises:
        ValueError: as `log_likelihood`; or `num_samples` is below 1, or `key` is no
            key.

    Source: deck, "Variational Auto-Encoder"; Kingma and Welling 2014, eq. 10.
    """
    key, num_samples = _checks.key(key), _checks.count("num_samples", num_samples)
    params = checked(params)
    x, sigma_x = checked_data(params, x, sigma_x, likelihood)
    latents = params.decoder.weights[0].shape[0]
    eps = jax.random.normal(key, (num_samples, len(x), latents), x.dtype)
    return _compiled(likelihood, params, x, eps, sigma_x)


def _encode(params, x):
    return jnp.split(decoder.decode(params.encoder, x), 2, axis=1)


@jax.jit  # one small program, where each operation alone would be compiled and kept
def _posterior(params, x):
    mean, log_sigma = _encode(params, x)
    return Gaussian(mean, jnp.exp(2 * log_sigma))


def _terms(likelihood, params, x, eps, sigma_x):
    """Both terms with the noise `s n m` given."""
    mean, log_sigma = _encode(params, x)
    z = mean[None, :, :] + jnp.exp(log_sigma)[None, :, :] * eps
    given_z = jax.vmap(
        lambda z: log_likelihood(params, x, z, sigma_x=sigma_x, likelihood=likelihood)
    )(z)
    q = Gaussian(mean, jnp.exp(2 * log_sigma))
    kl = jax.vmap(gaussian.kl_to_standard_normal)(q)
    return ElboTerms(given_z.mean(axis=0), kl)


# made once, since another function object would be compiled again
_compiled = jax.jit(_terms, static_argnums=0)
TERMS = {name: partial(_terms, name) for name in ("gaussian", "bernoulli")}


def checked(params):
    """Both networks with sizes that chain, and that fit each other."""
    networks = []
    for name, network in zip(VAE._fields, params, strict=True):
        try:
            networks.append(Decoder(*map(tuple, network.checked(network))))
        except ValueError as error:
            raise ValueError(
                str(error).replace("params", f"params.{name}", 1)
            ) from None
    encoder, mirrored = networks
    d, m = mirrored.biases[-1].shape[0], mirrored.weights[0].shape[0]
    shape = encoder.weights[0].shape[0], encoder.biases[-1].shape[0]
    if shape != (d, 2 * m):
        raise ValueError(
            f"params.encoder: got {shape[0]} inputs and {shape[1]} outputs, expected "
            f"{d} and {2 * m}: x's dimension, and twice the decoder's {m} inputs"
        )
    return VAE(encoder, mirrored)


def checked_data(params, x, sigma_x, likelihood, name="x"):
    """Points that the likelihood allows, and sigma_x, each as an array."""
    _checks.one_of("likelihood", likelihood, "gaussian", "bernoulli")
    x = _checks.as_array(name, x, "n d", d=params.decoder.biases[-1].shape[0])
    if likelihood == "bernoulli":
        _checks.not_negative(name, x, "n d")
        if not isinstance(x, jax.core.Tracer) and (x > 1).any():
            raise ValueError(f"{name}: got {x.max()}, expected entries from 0 to 1")
    return x, _checks.positive("sigma_x", sigma_x, "")
