"""The variational autoencoder: one encoder network stands in for every E-step.

z ~ N(0, I), x given z ~ N(decode(z), sigma_x^2 I), and for each x the encoder names a
Gaussian q(z) = N(mean, diag(sigma)^2) (S25 to S27). Sums over dimensions everywhere and
every constant kept, so that reconstruction - kl is a bound on log p(x) in nats and can
be laid beside the log-likelihood of any other model.

The other likelihood, "bernoulli", reads the decoder's output as log odds, for pixels
that are 0 or 1; sigma_x plays no part in it. Of grey values between, it is a score and
not a density, and so not to be compared with one.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import ndtri
from jaxtyping import Array, Float, Key

from helpers import _autoencoder, _checks, _train, decoder
from helpers._autoencoder import (
    VAE,
    ElboTerms,
    Likelihood,
    decode,
    elbo_terms,
    encode,
    init,
    log_likelihood,
)

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
    key, params = _checks.key(key), _autoencoder.checked(params)
    x, sigma_x = _autoencoder.checked_data(params, x, sigma_x, likelihood)
    if held_out is not None:
        held_out, _ = _autoencoder.checked_data(
            params, held_out, sigma_x, likelihood, "held_out"
        )
    beta = _checks.not_negative("beta", beta, "")
    if not (hasattr(optimizer, "init") and hasattr(optimizer, "update")):
        raise ValueError(
            f"optimizer: got {type(optimizer).__name__}, expected an optax optimiser"
        )
    dtype = jnp.result_type(x, *jax.tree.leaves(params))
    params, x, held_out, numbers = jax.tree.map(
        lambda leaf: leaf.astype(dtype), (params, x, held_out, (beta, sigma_x))
    )
    options = (
        *(terms or _autoencoder.TERMS[likelihood], optimizer),
        _checks.count("num_epochs", num_epochs),
        _checks.count("num_samples", num_samples),
        _checks.count("batch_size", batch_size, high=len(x)),
        *(params.decoder.weights[0].shape[0], progress),
    )
    params, values, finite = _train.run(key, params, x, held_out, numbers, options)
    columns = [jnp.asarray(column) for column in values.T]
    training, seen = ElboTerms(*columns[:2]), ElboTerms(*columns[2:])
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
    sigma_x: float | Float[Array, ""] = 1.0,
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
    params = _autoencoder.checked(params)
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
    params = _autoencoder.checked(params)
    latents = params.decoder.weights[0].shape[0]
    if latents != 2:
        raise ValueError(f"params: got a z of {latents} dimensions, expected two")
    num_per_axis = _checks.count("num_per_axis", num_per_axis, low=2)
    mass = _checks.positive("mass", mass, "")
    if not isinstance(mass, jax.core.Tracer) and not mass < 1:
        raise ValueError(f"mass: got {mass}, expected a number below 1")
    z = _quantiles(mass, num_per_axis, params.decoder.weights[0].dtype)
    x = decode(params, z.reshape(-1, 2), likelihood=likelihood)
    return x.reshape(num_per_axis, num_per_axis, -1), z


@partial(jax.jit, static_argnums=(1, 2))  # one program for what would be thirty
def _quantiles(mass, num_per_axis, dtype):
    line = ndtri(0.5 + mass * jnp.linspace(-0.5, 0.5, num_per_axis)).astype(dtype)
    return jnp.stack(jnp.meshgrid(line, line[::-1]), axis=-1)


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
