"""The variational autoencoder: an encoder network replaces the E-step.

The model is z ~ N(0, I) and x | z ~ N(decode(z), sigma_x^2 I). EM would compute a q(z)
for each point in an E-step. Here one network, the encoder, takes a point x and returns
the mean and sigma of q(z) = N(mean, diag(sigma)^2) (S25 to S27).

`elbo_terms` computes the bound, and `step` takes one gradient step of training, as in
algorithm 1 of Kingma and Welling. `fit` repeats that step.

All terms are sums over dimensions, and no constant is dropped. So reconstruction - kl
is a bound on log p(x) in nats, which can be compared with the log-likelihood of any
other model.

Every function raises a ValueError if a shape does not fit, a number is not finite,
`sigma_x` is not above 0, a count is below 1, or `key` is not a typed key.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, Key

from helpers import _checks, _functions, _train, decoder, gaussian, network
from helpers._checks import NotNegative, Optimizer, Positive, checked
from helpers.gaussian import Gaussian
from helpers.network import MLP, Sizes

__all__ = [
    "VAE",
    "Diverged",
    "ElboTerms",
    "FitResult",
    "History",
    "Interrupted",
    "StepResult",
    "decode",
    "elbo_terms",
    "encode",
    "fit",
    "init",
    "last_result",
    "log_likelihood",
    "minibatches",
    "reconstruct",
    "sample",
    "step",
]


class VAE(NamedTuple):
    """Two networks: the encoder takes x `d` to the mean and log sigma of q, `2 m`.

    The decoder takes z `m` to the mean of x, `d`.
    """

    encoder: MLP
    decoder: MLP

    def _valid(self, name, sizes):
        """Check that the two networks fit each other; see `_checks.checked`."""
        read = _checks.reader(MLP)
        of_encoder = {}
        encoder = read(f"{name}.encoder", self.encoder, of_encoder)
        decoder = read(f"{name}.decoder", self.decoder, sizes)
        inputs, outputs = of_encoder["m"], of_encoder["d"]
        d, m = sizes["d"], sizes["m"]
        if (inputs, outputs) != (d, 2 * m):
            raise ValueError(
                f"{name}.encoder: got {inputs} inputs and {outputs} outputs, expected "
                f"{d} and {2 * m}: the dimension of x, and twice the decoder's {m} "
                "inputs"
            )
        return VAE(encoder, decoder)


class ElboTerms(NamedTuple):
    """E_q log p(x | z) and KL(q || p(z)); their difference is the bound (S28)."""

    reconstruction: Float[Array, "*n"]
    kl: Float[Array, "*n"]


class StepResult(NamedTuple):
    """The result of a step. The terms are MEANS over the minibatch, before the step."""

    params: VAE
    opt_state: Any
    terms: ElboTerms


class History(NamedTuple):
    """The terms of each epoch, `t` each: MEANS over points, in nats per point."""

    training: ElboTerms  # averaged over the epoch's steps: about half an epoch behind
    held_out: ElboTerms | None  # with the parameters at the end of the epoch


class FitResult(NamedTuple):
    """The trained VAE, and how the bound changed during training."""

    params: VAE
    history: History


class Diverged(FloatingPointError):
    """Raised if a number is no longer finite. See `last_result`."""


class Interrupted(KeyboardInterrupt):
    """Raised if training is interrupted. See `last_result`."""


@checked
def init(key: Key[Array, ""], sizes: Sizes) -> VAE:
    """Draw random weights for an encoder, and for a decoder with the reversed layers.

    The weights are drawn by `network.init`, except that log sigma starts at 0 for every
    x. So every q starts with the variance of the prior, whatever the scale of the data.

    Args:
        key: a typed key.
        sizes: number of units in each layer, from x to z. (64, 128, 8) has one hidden
            layer in each network; (64, 8) has none, which is the linear VAE.

    Returns:
        VAE.

    Source: deck, "Variational Auto-Encoder"; Kingma and Welling 2014.
    """
    *layers, m = sizes
    encoder_key, decoder_key = jax.random.split(key)
    encoder = network.init(encoder_key, (*layers, 2 * m))
    head = encoder.weights[-1].at[:, m:].set(0)
    encoder = encoder._replace(weights=(*encoder.weights[:-1], head))
    return VAE(encoder, network.init(decoder_key, sizes[::-1]))


@checked
def encode(params: VAE, x: Float[Array, "n d"]) -> Gaussian:
    """The encoder's q for each point (S26, S27).

    q_i(z) = N(mean_i, diag(sigma_i)^2),   mean_i, log sigma_i = encoder(x_i)

    Args:
        params: the VAE.
        x: points `n d`.

    Returns:
        Gaussian with mean `n m` and variance `n m`: one q per row, for `jax.vmap`.

    Source: deck, "Variational Auto-Encoder"; Kingma and Welling 2014, appendix C.
    """
    mean, log_sigma = jnp.split(network.apply(params.encoder, x), 2, axis=1)
    return Gaussian(mean, jnp.exp(2 * log_sigma))


@checked
def decode(params: VAE, z: Float[Array, "s m"]) -> Float[Array, "s d"]:
    """The mean of x for each z, without noise (S25).

    Args:
        params: the VAE.
        z: latents `s m`.

    Returns:
        `s d`.

    Source: deck, "Variational Auto-Encoder".
    """
    return decoder.decode(params.decoder, z)


@checked
def log_likelihood(
    params: VAE,
    x: Float[Array, "n d"],
    z: Float[Array, "n m"],
    *,
    sigma_x: Positive = 1.0,
) -> Float[Array, " n"]:
    """Log density of each point given its own latent, summed over dimensions (S25).

    log p(x | z) = -1/2 sum_d [log(2 pi sigma_x^2) + (x_d - decode(z)_d)^2 / sigma_x^2]

    Args:
        params: the VAE.
        x: points `n d`.
        z: latents `n m`, one for each point.
        sigma_x: the known standard deviation of x given z.

    Returns:
        `n` values, in nats.

    Source: deck, "Variational Auto-Encoder"; Kingma and Welling 2014, appendix C.
    """
    residuals = x - decode(params, z)
    noise = Gaussian(jnp.zeros(x.shape[1], residuals.dtype), sigma_x**2)
    return gaussian.log_prob(noise, residuals)


@checked
def elbo_terms(
    key: Key[Array, ""],
    params: VAE,
    x: Float[Array, "n d"],
    *,
    num_samples: int = 1,
    sigma_x: Positive = 1.0,
) -> ElboTerms:
    """Both terms of each point's bound, as sums over dimensions (S28, S30, S32).

    ELBO_i = E_q log p(x_i | z) - KL(q_i || N(0, I))
    E_q log p(x_i | z) ~ 1/S sum_s log p(x_i | z_is),   z_is = mean_i + sigma_i eps_is
    with eps_is ~ N(0, I)

    The KL is computed exactly and has weight 1: beta is part of what `fit` maximises,
    not of the bound.

    Args:
        key: a typed key.
        params: the VAE.
        x: points `n d`.
        num_samples: S, at least 1; more samples take more memory.
        sigma_x: the known standard deviation of x given z.

    Returns:
        ElboTerms, `n` values each, in nats: an unbiased estimate of the first term, and
        the exact KL.

    Source: deck, "Variational Auto-Encoder"; Kingma and Welling 2014, eq. 10.
    """
    eps = draw_eps(key, params, x, num_samples)
    return pathwise_terms(params, x, eps, sigma_x)


def draw_eps(key, params, x, num_samples):
    """Draw noise `s n m` from N(0, I), for the samples z = mean + sigma eps (S32)."""
    latents = len(params.decoder.weights[0])
    return jax.random.normal(key, (num_samples, len(x), latents), x.dtype)


def pathwise_terms(params, x, eps, sigma_x):
    """Both terms of the bound for given noise: z = mean + sigma eps (S32).

    For fixed eps, z is a differentiable function of the encoder's weights, so the
    gradient of these terms is the pathwise gradient.
    """
    q = encode(params, x)

    def reconstruction(eps):
        z = q.mean + jnp.sqrt(q.variance) * eps
        return log_likelihood(params, x, z, sigma_x=sigma_x)

    kl = jax.vmap(gaussian.kl_to_standard_normal)(q)
    return ElboTerms(jax.vmap(reconstruction)(eps).mean(axis=0), kl)


# The type of `pathwise_terms`, and of what can replace it in `step` and `fit`: a
# function (params, x, eps, sigma_x) -> ElboTerms. `elbo_terms` draws its own noise from
# a key; here the noise is an argument, so that the code of such a function shows how z
# depends on params, which is the path that the gradient takes (S31 to S33).
Terms = Callable[..., ElboTerms]


@checked
def step(
    key: Key[Array, ""],
    params: VAE,
    opt_state: Any,
    batch: Float[Array, "b d"],
    *,
    optimizer: Optimizer,
    num_samples: int = 1,
    beta: NotNegative = 1.0,
    sigma_x: Positive = 1.0,
    terms: Terms = pathwise_terms,
) -> StepResult:
    """A gradient step for both networks, algorithm 1 of Kingma and Welling (S29, S33).

    repeat
        batch <- a random minibatch of B points                 see `minibatches`
        eps <- random samples from N(0, I)
        g <- gradient of the batch's mean bound with respect to (theta, phi), given eps
        theta, phi <- updated with g                            by the optimiser

    Args:
        key: a typed key, a new one for each step.
        params: the VAE.
        opt_state: the state of the optimiser; `optimizer.init(params)` at first.
        batch: the minibatch `b d`.
        optimizer: from optax, with its step size.
        num_samples: number of samples of z per point.
        beta: the weight of the KL, at least 0; in the bound it is 1.
        sigma_x: the known standard deviation of x given z.
        terms: as in `fit`.

    Returns:
        StepResult.

    Source: deck, "Variational Auto-Encoder"; Kingma and Welling 2014, algorithm 1;
    Higgins et al. 2017 (beta).
    """
    eps = draw_eps(key, params, batch, num_samples)

    def loss(params):
        reconstruction, kl = terms(params, batch, eps, sigma_x)
        means = ElboTerms(reconstruction.mean(), kl.mean())
        return -(means.reconstruction - beta * means.kl), means

    gradient, means = jax.grad(loss, has_aux=True)(params)
    updates, opt_state = _updates(optimizer, gradient, opt_state, params)
    params = optax.apply_updates(params, updates)
    return StepResult(params, opt_state, means)


def _updates(optimizer, gradient, opt_state, params):
    """What the optimiser adds to the parameters, and its next state."""
    expected = jax.eval_shape(optimizer.init, params)
    if jax.tree.structure(opt_state) != jax.tree.structure(expected):
        raise ValueError(
            f"opt_state: got {type(opt_state).__name__}, expected "
            "optimizer.init(params) or what the last step returned"
        )
    try:
        return optimizer.update(gradient, opt_state, params)
    except TypeError as error:
        raise ValueError(
            f"optimizer: got one that needs more than a gradient ({error}), expected "
            "one for minibatches, such as optax.adam(1e-3)"
        ) from error


@checked
def minibatches(
    key: Key[Array, ""], num_points: int, batch_size: int
) -> Int[Array, "batches size"]:
    """Shuffle the points into the minibatches of one epoch.

    Each point is in at most one minibatch. If `batch_size` does not divide
    `num_points`, the points that are left over are not used in this epoch.

    Args:
        key: a typed key, a new one for each epoch.
        num_points: n.
        batch_size: B, at most n.

    Returns:
        `n // B` rows, each with the indices of B points: `x[rows]` is `batches B d`.

    Source: Kingma and Welling 2014, section 2.3.
    """
    _checks.count("batch_size", batch_size, high=num_points)
    num_batches = num_points // batch_size
    order = _shuffled(key, num_points).astype(int)
    return order[: num_batches * batch_size].reshape(num_batches, batch_size)


def _shuffled(key, n):
    """The numbers from 0 to n - 1 in a random order.

    Sorting random bits is several times faster than `jax.random.permutation`.
    """
    return jnp.argsort(jax.random.bits(key, (n,)))


def _batch_within_points(x, batch_size, **_):
    _checks.count("batch_size", batch_size, high=len(x))


@checked(check_together=_batch_within_points, compiled=False)
def fit(
    key: Key[Array, ""],
    params: VAE,
    x: Float[Array, "n d"],
    *,
    optimizer: Optimizer,
    num_epochs: int,
    batch_size: int = 128,
    held_out: Float[Array, "h d"] | None = None,
    num_samples: int = 1,
    beta: NotNegative = 1.0,
    sigma_x: Positive = 1.0,
    terms: Terms | None = None,
    progress: bool | None = None,
) -> FitResult:
    """Train both networks together: `step`, repeated over minibatches (S29).

    maximise  1/B sum_i [E_q log p(x_i | z) - beta KL(q_i || N(0, I))]

    It runs this loop, with one compiled program per epoch:

        probe_key, key = jax.random.split(key)
        for t in range(num_epochs):
            order_key, noise_key = jax.random.split(jax.random.fold_in(key, t))
            rows = minibatches(order_key, len(x), batch_size)
            for step_key, batch in zip(jax.random.split(noise_key, len(rows)), x[rows]):
                params, opt_state, _ = step(step_key, params, opt_state, batch, ...)

    The interrupt button raises `Interrupted`, which also ends a loop over several fits.
    `last_result()` returns what was learned so far.

    If you pass the same optimiser object again, with data of the same shape, nothing is
    compiled again, even if beta or sigma_x has changed.

    Args:
        key: a typed key; the same key gives the same numbers.
        params: the start, from `init` or from an earlier fit.
        x: points `n d`.
        optimizer: from optax, with its step size.
        num_epochs: number of epochs, at least 1.
        batch_size: B, at most n.
        held_out: points `h d` that are used only to measure the bound.
        num_samples: number of samples of z per point and step.
        beta: the weight of the KL, at least 0; in the bound it is 1.
        sigma_x: the known standard deviation of x given z.
        terms: another function that estimates the two terms, `(params, x, eps,
            sigma_x) -> ElboTerms` with eps `s n m` from N(0, I). Training follows its
            gradient, so this is how to try another gradient estimator.
        progress: whether to show a bar with the remaining time; if None, it is shown
            in notebooks and terminals.

    Returns:
        FitResult.

    Raises:
        ValueError: also if an option is out of range.
        Interrupted: if the interrupt button was pressed.
        Diverged: if a term is not finite. The message names the epoch and the likely
            cause; `last_result()` returns the parameters and history of the epochs
            before.

    Source: deck, "Variational Auto-Encoder"; Kingma and Welling 2014, algorithm 1;
    Higgins et al. 2017 (beta).
    """
    dtype = jnp.result_type(x, *jax.tree.leaves(params))
    params, x, held_out, beta, sigma_x = jax.tree.map(
        lambda leaf: leaf if leaf.dtype == dtype else leaf.astype(dtype),
        (params, x, held_out, beta, sigma_x),
    )
    x = _train.on_automatic_mesh(x)
    probe = x[:batch_size] if held_out is None else _train.on_automatic_mesh(held_out)
    begin = _functions.compiled(_begin, optimizer=optimizer, num_samples=num_samples)
    key, opt_state, probe_eps = begin(key, params, probe)
    epoch = _functions.compiled(
        _epoch,
        optimizer=optimizer,
        batch_size=batch_size,
        num_samples=num_samples,
        terms=pathwise_terms if terms is None else terms,
    )
    watched = _train.watch(
        lambda t, state: epoch(key, t, state, x, probe, probe_eps, beta, sigma_x),
        (params, opt_state),
        num_epochs,
        caption=_caption_with_held_out if held_out is not None else _caption,
        progress=progress,
    )
    result = FitResult(watched.state[0], _history(watched.epochs, dtype, held_out))
    if watched.ended != "done":
        _raise(watched, result, num_epochs, x, sigma_x)
    return result


def _begin(key, params, probe, *, optimizer, num_samples):
    """The key for the epochs, the optimiser's state, and noise for the measurements.

    At the end of every epoch the bound is measured with this same noise, so the curve
    changes only because the parameters change.
    """
    probe_key, key = jax.random.split(key)
    probe_eps = draw_eps(probe_key, params, probe, num_samples)
    return key, optimizer.init(params), probe_eps


def _epoch(
    key,
    t,
    state,
    x,
    probe,
    probe_eps,
    beta,
    sigma_x,
    *,
    optimizer,
    batch_size,
    num_samples,
    terms,
):
    """Take a step with each minibatch, then measure the bound on the probe points."""
    order_key, noise_key = jax.random.split(jax.random.fold_in(key, t))
    rows = minibatches(order_key, len(x), batch_size)

    def one_step(state, key_and_rows):
        step_key, batch_rows = key_and_rows
        params, opt_state = state
        result = step(
            step_key,
            params,
            opt_state,
            x[batch_rows],
            optimizer=optimizer,
            num_samples=num_samples,
            beta=beta,
            sigma_x=sigma_x,
            terms=terms,
        )
        return (result.params, result.opt_state), result.terms

    keys = jax.random.split(noise_key, len(rows))
    state, during = jax.lax.scan(one_step, state, (keys, rows))
    at_the_end = terms(state[0], probe, probe_eps, sigma_x)
    means = [jax.tree.map(jnp.mean, each) for each in (during, at_the_end)]
    return state, History(*means)


def _caption(report):
    return f"ELBO {report.training.reconstruction - report.training.kl:.2f}"


def _caption_with_held_out(report):
    held_out = report.held_out.reconstruction - report.held_out.kl
    return f"{_caption(report)}, held out {held_out:.2f}"


def _history(epochs, dtype, held_out):
    """Turn the reports of the epochs into arrays over epochs."""
    columns = np.reshape([jax.tree.leaves(report) for report in epochs], (-1, 4))
    columns = [jnp.asarray(column, dtype) for column in columns.T]
    at_the_end = None if held_out is None else ElboTerms(*columns[2:])
    return History(ElboTerms(*columns[:2]), at_the_end)


# What `last_result` returns.
_kept = []


def last_result() -> FitResult | None:
    """What the last interrupted or diverged fit had learned; None if there was none.

    Returns:
        FitResult: the parameters and history of the epochs before it ended.
    """
    return _kept[-1] if _kept else None


def _raise(watched, result, num_epochs, x, sigma_x):
    _kept[:] = [result]
    num_good = len(watched.epochs)
    if watched.ended == "interrupted":
        raise Interrupted(
            f"interrupted after {num_good} of {num_epochs} epochs; what was learned so "
            "far is vae.last_result()"
        )
    raise Diverged(
        f"epoch {num_good + 1} of {num_epochs}: the bound is not a finite number. "
        f"{_likely_cause(x, sigma_x)} vae.last_result() returns the parameters after "
        f"epoch {num_good}."
    )


def _likely_cause(x, sigma_x):
    """What to change first: a guess from the scale of the data."""
    spread = jnp.std(x)
    if spread > 30 * sigma_x:
        return (
            f"The likely cause is sigma_x = {sigma_x:.3g}, which is small for data "
            f"with a standard deviation of {spread:.3g}: the gradient grows as "
            "1 / sigma_x^2. Raise sigma_x, or lower the optimiser's step size."
        )
    return "The likely cause is the optimiser's step size: lower it."


@checked
def reconstruct(params: VAE, x: Float[Array, "n d"]) -> Float[Array, "n d"]:
    """Encode each point and decode the mean of its q: decode(encode(x).mean).

    Args:
        params: the VAE.
        x: points `n d`.

    Returns:
        `n d`.

    Source: Kingma and Welling 2014.
    """
    return decode(params, encode(params, x).mean)


@checked
def sample(
    key: Key[Array, ""], params: VAE, num_samples: int, *, sigma_x: Positive = 1.0
) -> tuple[Float[Array, "n d"], Float[Array, "n m"]]:
    """Ancestral sampling: z from the prior, then x from p(x | z), with its noise (S25).

    Args:
        key: a typed key.
        params: the VAE.
        num_samples: how many samples, at least 1.
        sigma_x: the known standard deviation of x given z.

    Returns:
        points `n d`, and the latent `n m` that each was generated from; `decode` of
        that latent is the picture without noise.

    Source: deck, "Variational Auto-Encoder".
    """
    return decoder.sample(key, params.decoder, num_samples, sigma_x=sigma_x)
