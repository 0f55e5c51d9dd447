"""The variational autoencoder: one encoder network stands in for every E-step.

z ~ N(0, I), x given z ~ N(decode(z), sigma_x^2 I), and for each x the encoder names a
Gaussian q(z) = N(mean, diag(sigma)^2) (S25 to S27). Sums over dimensions everywhere and
every constant kept, so that reconstruction - kl is a bound on log p(x) in nats and can
be laid beside the log-likelihood of any other model.

The other likelihood, "bernoulli", reads the decoder's output as log odds, for pixels
that are 0 or 1; sigma_x plays no part in it. Of grey values between, it is a score and
not a density, and so not to be compared with one.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import ndtri
from jaxtyping import Array, Float, Key

from helpers import _checks, _train, decoder, gaussian
from helpers.decoder import Decoder
from helpers.gaussian import Gaussian

__all__ = [
    "VAE",
    "Diverged",
    "ElboTerms",
    "FitResult",
    "History",
    "decode",
    "elbo_terms",
    "encode",
    "fit",
    "init",
    "latent_grid",
    "log_likelihood",
    "reconstruct",
    "sample",
]

Likelihood = Literal["gaussian", "bernoulli"]


class VAE(NamedTuple):
    """Two networks of one kind: x `d` to mean and log sigma `2 m`, and z `m` to x."""

    encoder: Decoder
    decoder: Decoder


class ElboTerms(NamedTuple):
    """E_q log p(x given z) and KL(q, p(z)): their difference is the bound (S28)."""

    reconstruction: Float[Array, " n"]
    kl: Float[Array, " n"]


class History(NamedTuple):
    """The terms of each epoch, `t` each: MEANS over points, in nats a point."""

    training: ElboTerms  # as the epoch went, so on average half an epoch behind
    held_out: ElboTerms | None  # at the end of the epoch


class FitResult(NamedTuple):
    """What training learnt, and how it went."""

    params: VAE
    history: History


class Diverged(FloatingPointError):
    """Training met a number that is not finite; `result` is what was good before."""

    def __init__(self, message: str, result: FitResult):
        """Keep the result with the message."""
        super().__init__(message)
        self.result = result


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
    encoder_key, decoder_key = jax.random.split(_checks.key(key))
    sizes = [_checks.count("sizes", size) for size in sizes]
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
    mean, log_sigma = _encode(_checked(params), x)
    return Gaussian(mean, jnp.exp(2 * log_sigma))


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
    output = decoder.decode(_checked(params).decoder, z)
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
    params = _checked(params)
    x, sigma_x = _checked_data(params, x, sigma_x, likelihood)
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
    params = _checked(params)
    x, sigma_x = _checked_data(params, x, sigma_x, likelihood)
    latents = params.decoder.weights[0].shape[0]
    eps = jax.random.normal(key, (num_samples, len(x), latents), x.dtype)
    return _compiled(likelihood, params, x, eps, sigma_x)


def fit(
    key: Key[Array, ""],
    params: VAE,
    x: Float[Array, "n d"],
    *,
    optimizer: Any,
    num_epochs: int,
    batch_size: int = 128,
    held_out: Float[Array, "h d"] | None = None,
    num_samples: int = 1,
    beta: float | Float[Array, ""] = 1.0,
    sigma_x: float | Float[Array, ""] = 1.0,
    likelihood: Likelihood = "gaussian",
    terms: Callable[..., ElboTerms] | None = None,
    progress: bool | None = None,
) -> FitResult:
    """Raise the bound in both networks together, by stochastic gradient (S29).

    maximise  1/B sum_i [E_q log p(x_i given z) - beta KL(q_i, N(0, I))]

    Each epoch shuffles the points and takes them in batches of B; the n mod B left over
    by a shuffle sit that epoch out. The interrupt button ends the training and returns
    what was learnt so far, with a history as long as it went. The same optimiser object
    again, with data of the same shape, starts at once: nothing is compiled anew for
    another beta or sigma_x.

    Args:
        key: a typed key; the same key gives the same numbers.
        params: the start, from `init` or an earlier fit.
        x: points `n d`.
        optimizer: any from optax, which has the step size.
        num_epochs: how many, at least 1.
        batch_size: B, at most n.
        held_out: points `h d` that are only looked at.
        num_samples: samples of z for each point and step.
        beta: the weight of the KL, at least 0; the bound has 1.
        sigma_x: as `log_likelihood`.
        likelihood: as `log_likelihood`.
        terms: another estimator of the terms, `(params, x, eps, sigma_x) -> ElboTerms`
            with eps `s n m` from N(0, I); its gradient is followed, so it is also the
            place for another gradient.
        progress: a bar, in notebooks and terminals if None.

    Returns:
        FitResult.

    Raises:
        ValueError: as `elbo_terms`; or an option is out of range.
        Diverged: a term is not finite. The message has the epoch and the likely cause,
            the error's `result` the parameters and history up to the epoch before.

    Source: deck, "Variational Auto-Encoder"; Kingma and Welling 2014, algorithm 1;
    Higgins et al. 2017 (beta).
    """
    key, params = _checks.key(key), _checked(params)
    x, sigma_x = _checked_data(params, x, sigma_x, likelihood)
    if held_out is not None:
        held_out, _ = _checked_data(params, held_out, sigma_x, likelihood, "held_out")
    beta = _checks.not_negative("beta", beta, "")
    if not (hasattr(optimizer, "init") and hasattr(optimizer, "update")):
        raise ValueError(
            f"optimizer: got {type(optimizer).__name__}, wanted an optax optimiser"
        )
    dtype = jnp.result_type(x, *jax.tree.leaves(params))
    params, x, held_out, numbers = jax.tree.map(
        lambda leaf: leaf.astype(dtype), (params, x, held_out, (beta, sigma_x))
    )
    options = (
        *(terms or _TERMS[likelihood], optimizer),
        _checks.count("num_epochs", num_epochs),
        _checks.count("num_samples", num_samples),
        _checks.count("batch_size", batch_size, high=len(x)),
        *(params.decoder.weights[0].shape[0], progress),
    )
    params, values, finite = _train.run(key, params, x, held_out, numbers, options)
    training, seen = ElboTerms(*values.T[:2]), ElboTerms(*values.T[2:])
    history = History(training, None if held_out is None else seen)
    result = FitResult(params, history)
    if not finite:
        cause = _likely_cause(x, sigma_x, likelihood)
        raise Diverged(
            f"epoch {len(values) + 1} of {num_epochs}: the bound is not a finite "
            f"number. {cause} The parameters after epoch {len(values)} are in this "
            "error's `result`.",
            result,
        )
    return result


def reconstruct(
    params: VAE, x: Float[Array, "n d"], *, likelihood: Likelihood = "gaussian"
) -> Float[Array, "n d"]:
    """Decode the mean of each point's q: decode(encode(x).mean).

    Args:
        params: the VAE.
        x: points `n d`.
        likelihood: as `decode`.

    Returns:
        `n d`.

    Raises:
        ValueError: as `encode` and `decode`.

    Source: Kingma and Welling 2014.
    """
    return decode(params, encode(params, x).mean, likelihood=likelihood)


def sample(
    key: Key[Array, ""],
    params: VAE,
    num_samples: int,
    *,
    sigma_x: float = 1.0,
    likelihood: Likelihood = "gaussian",
) -> tuple[Float[Array, "n d"], Float[Array, "n m"]]:
    """Ancestral samples: z from the prior, then x given z, noise and all (S25).

    Args:
        key: a typed key.
        params: the VAE.
        num_samples: how many, at least 1.
        sigma_x: as `log_likelihood`.
        likelihood: as `log_likelihood`.

    Returns:
        points `n d`, and the latent `n m` that each came from: `decode` gives the
        picture without noise.

    Raises:
        ValueError: as `decoder.sample`; or the likelihood is another word.

    Source: deck, "Variational Auto-Encoder".
    """
    _checks.one_of("likelihood", likelihood, "gaussian", "bernoulli")
    params = _checked(params)
    if likelihood == "gaussian":
        return decoder.sample(key, params.decoder, num_samples, sigma_x=sigma_x)
    x_key, z_key = jax.random.split(_checks.key(key))
    _, z = decoder.sample(z_key, params.decoder, num_samples)
    probabilities = decode(params, z, likelihood=likelihood)
    drawn = jax.random.bernoulli(x_key, probabilities)
    return drawn.astype(probabilities.dtype), z


def latent_grid(
    params: VAE,
    *,
    num_per_axis: int = 20,
    mass: float = 0.95,
    likelihood: Likelihood = "gaussian",
) -> tuple[Float[Array, "rows columns d"], Float[Array, "rows columns 2"]]:
    """Decode a grid over a two-dimensional latent, laid out as its picture is.

    The grid's lines are quantiles of the prior, with as much of it between any two.

    Args:
        params: a VAE of a two-dimensional z.
        num_per_axis: how many lines each way, at least 2.
        mass: how much of the prior lies between the outermost lines, between 0 and 1.
        likelihood: as `decode`.

    Returns:
        means of x, `rows columns d`, and their z: the first grows from left to right,
        the second from the bottom row to the top.

    Raises:
        ValueError: z has not two dimensions, or an option is out of range.

    Source: Kingma and Welling 2014, figure 4.
    """
    params = _checked(params)
    latents = params.decoder.weights[0].shape[0]
    if latents != 2:
        raise ValueError(f"params: got a z of {latents} dimensions, wanted two")
    num_per_axis = _checks.count("num_per_axis", num_per_axis, low=2)
    mass = _checks.positive("mass", mass, "")
    if not mass < 1:
        raise ValueError(f"mass: got {mass}, wanted a number below 1")
    dtype = params.decoder.weights[0].dtype
    line = ndtri(0.5 + mass * jnp.linspace(-0.5, 0.5, num_per_axis)).astype(dtype)
    z = jnp.stack(jnp.meshgrid(line, line[::-1]), axis=-1)
    x = decode(params, z.reshape(-1, 2), likelihood=likelihood)
    return x.reshape(num_per_axis, num_per_axis, -1), z


def _encode(params, x):
    x = _checks.as_array("x", x, "n d", d=params.encoder.weights[0].shape[0])
    output = decoder.decode(params.encoder, x)
    return jnp.split(output, 2, axis=1)


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
_TERMS = {name: partial(_terms, name) for name in ("gaussian", "bernoulli")}


def _checked(params):
    """Both networks with sizes that chain, and that fit each other."""
    networks = []
    for name, network in zip(VAE._fields, params, strict=True):
        try:
            networks.append(Decoder(*map(tuple, decoder._checked(network))))
        except ValueError as error:
            raise ValueError(
                str(error).replace("params", f"params.{name}", 1)
            ) from None
    encoder, mirrored = networks
    d, m = mirrored.biases[-1].shape[0], mirrored.weights[0].shape[0]
    shape = encoder.weights[0].shape[0], encoder.biases[-1].shape[0]
    if shape != (d, 2 * m):
        raise ValueError(
            f"params.encoder: got {shape[0]} inputs and {shape[1]} outputs, wanted "
            f"{d} and {2 * m}: x's dimension, and twice the decoder's {m} inputs"
        )
    return VAE(encoder, mirrored)


def _checked_data(params, x, sigma_x, likelihood, name="x"):
    """Points that the likelihood allows, and sigma_x, each as an array."""
    _checks.one_of("likelihood", likelihood, "gaussian", "bernoulli")
    x = _checks.as_array(name, x, "n d", d=params.decoder.biases[-1].shape[0])
    if likelihood == "bernoulli":
        _checks.not_negative(name, x, "n d")
        if not isinstance(x, jax.core.Tracer) and (x > 1).any():
            raise ValueError(f"{name}: got {x.max()}, wanted entries from 0 to 1")
    return x, _checks.positive("sigma_x", sigma_x, "")


def _likely_cause(x, sigma_x, likelihood):
    """What to change first; a guess, from the scale of the data."""
    spread = jnp.std(x)
    if likelihood == "gaussian" and spread > 30 * sigma_x:
        return (
            f"The likely cause is sigma_x = {sigma_x:.3g} beside data that spread by "
            f"{spread:.3g}: the slope grows as 1 / sigma_x^2. Raise sigma_x, or lower "
            "the optimiser's step size."
        )
    return "The likely cause is the optimiser's step size: lower it."
