"""Case 3: a decoder network maps z nonlinearly to x, so log p(x) has no closed form.

z ~ N(0, I) and x | z ~ N(decode(z), sigma_x^2 I) (S10, S25). If z has one dimension,
the integral over z can still be computed by quadrature, with no error beyond rounding,
so there the true log p(x) and the true posterior are known. In more dimensions we have
to sample.

In all functions `params` is the network from z `m` to x `d`, and `sigma_x` is the known
standard deviation of x given z. Each function raises a ValueError if a shape does not
fit, a number is not finite, `sigma_x` is not above 0, a count is below 1, or `key` is
not a typed key.
"""

from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from helpers import gaussian, network, quadrature
from helpers._checks import Positive, checked, is_traced, reader
from helpers.gaussian import Gaussian
from helpers.network import MLP
from helpers.quadrature import log_mean_exp

__all__ = [
    "bent_line",
    "decode",
    "log_joint",
    "log_marginal_importance",
    "log_marginal_quadrature",
    "sample",
]

NUM_NODES = quadrature.NUM_NODES[1]


def bent_line() -> MLP:
    """The decoder of the notebooks, of 1, 3 and 2 units: a curve like a horseshoe.

    x_1 = 3 tanh(1.5 z + 1.5) - 3 tanh(1.5 z - 1.5) - 3
    x_2 = 3 tanh(0.9 z)

    The two arms of the curve are about 6 apart, so a point between them has a posterior
    with two modes, which no Gaussian q can match exactly.
    """
    hidden, output = [[1.5, 1.5, 0.9]], [[3.0, 0.0], [-3.0, 0.0], [0.0, 3.0]]
    params = MLP(
        weights=(np.array(hidden), np.array(output)),
        biases=(np.array([1.5, -1.5, 0.0]), np.array([-3.0, 0.0])),
    )
    return jax.device_put(params)


@checked
def decode(params: MLP, z: Float[Array, "s m"]) -> Float[Array, "s d"]:
    """The mean of p(x | z) for each z, which is the network's output (S10).

    Args:
        params: the decoder.
        z: latents `s m`, one per row.

    Returns:
        `s d`.

    Source: deck, "Difficulties of MLE (3)".
    """
    return network.apply(params, z)


@checked
def log_joint(
    params: MLP,
    x: Float[Array, "n d"],
    z: Float[Array, "s m"],
    *,
    sigma_x: Positive = 1.0,
) -> Float[Array, "n s"]:
    """Log joint of every pair of a point and a latent (S10, S25).

    log p(x, z) = log N(z; 0, I) + log N(x; decode(z), sigma_x^2 I)

    Args:
        params: the decoder.
        x: points `n d`.
        z: latents `s m`.
        sigma_x: the standard deviation of x given z.

    Returns:
        `n s` values, in nats, laid out like a mixture's log joint.

    Source: deck, "Difficulties of MLE (3)"; Kingma and Welling 2014.
    """

    def log_likelihood(centre):
        return gaussian.log_prob(Gaussian(centre, sigma_x**2), x)

    log_prior = gaussian.log_prob(prior(params), z)
    return log_prior[None, :] + jax.vmap(log_likelihood, out_axes=1)(decode(params, z))


def prior(params: MLP) -> Gaussian:
    """The prior p(z) = N(0, I), of as many dimensions as the network has inputs (S10).

    Args:
        params: the decoder.

    Returns:
        Gaussian with mean `m` and a scalar variance, in the network's dtype.

    Source: deck, "Difficulties of MLE (3)".
    """
    weights = params.weights[0]
    return Gaussian(jnp.zeros(len(weights), weights.dtype), jnp.ones((), weights.dtype))


@checked(compiled=False)
def log_marginal_quadrature(
    params: MLP,
    x: Float[Array, "n d"],
    *,
    sigma_x: Positive = 1.0,
    num_nodes: quadrature.NumNodes = NUM_NODES,
) -> Float[Array, " n"]:
    """Exact log p(x) for a one-dimensional z (S11, S12).

    log p(x) = log integral p(x, z) dz, by the trapezoidal rule on [-10, 10]

    The result is compared with the same rule on every other node. Inside `jit` there
    are no values to compare, so this check is skipped.

    Args:
        params: a decoder of a one-dimensional z.
        x: points `n d`.
        sigma_x: the standard deviation of x given z.
        num_nodes: number of nodes of the rule, odd.

    Returns:
        `n` values, in nats.

    Raises:
        ValueError: also if z has more than one dimension, or if there are too few nodes
            for this `sigma_x`, so that the two rules disagree.

    Source: deck, "Difficulties of MLE (3)", first line of the integral.
    """
    log_marginal, change = _integral_over_z(params, x, sigma_x, num_nodes)
    if not is_traced(log_marginal):
        eps = jnp.finfo(log_marginal.dtype).eps
        allowed = np.sqrt(eps) * (1 + np.abs(np.asarray(log_marginal)))
        if (np.asarray(change) > allowed).any():
            raise ValueError(
                f"num_nodes: got {num_nodes}, which is too few for sigma_x = {sigma_x}:"
                f" with half as many, log p(x) changes by {change.max():.1e} nats; use "
                "more nodes"
            )
    return log_marginal


def _integral_over_z(params, x, sigma_x, num_nodes):
    latents = len(params.weights[0])
    if latents != 1:
        raise ValueError(
            f"params: got a decoder of a {latents}-dimensional z, expected one "
            "dimension; use log_marginal_importance instead"
        )
    z, spacing = np.linspace(
        -quadrature.Z_MAX, quadrature.Z_MAX, num_nodes, retstep=True
    )
    z = z.astype(params.weights[0].dtype)[:, None]
    log_heights = log_joint(params, x, z, sigma_x=sigma_x)
    return quadrature.log_integral(log_heights, float(spacing))


def _over_z(name, q, sizes):
    """Check a Gaussian over z, whose dimension is the `m` of the network's inputs."""
    return reader(Gaussian)(name, q, {"d": sizes["m"]})


@checked
def log_marginal_importance(
    key: Key[Array, ""],
    params: MLP,
    x: Float[Array, "n d"],
    *,
    num_samples: int,
    proposal: Annotated[Gaussian, _over_z] | None = None,
    sigma_x: Positive = 1.0,
) -> Float[Array, " n"]:
    """Importance sampling estimate of log p(x), for a z of any dimension (S11).

    log p(x) ~ log 1/S sum_s p(x, z_s) / q(z_s),   z_s ~ q

    Without a proposal, q is the prior, which is plain Monte Carlo. The average inside
    the logarithm is an unbiased estimate of p(x); its logarithm is too low on average,
    by Jensen's inequality (S13).

    Args:
        key: a typed key; all points share the same samples of z.
        params: the decoder.
        x: points `n d`.
        num_samples: S, at least 1.
        proposal: the Gaussian q(z); the prior N(0, I) if None.
        sigma_x: the standard deviation of x given z.

    Returns:
        `n` estimates, in nats.

    Source: deck, "Difficulties of MLE (3)"; Burda et al. 2016.
    """
    q = prior(params) if proposal is None else proposal
    z = gaussian.sample(key, q, num_samples)
    log_q = gaussian.log_prob(q, z)
    log_ratios = log_joint(params, x, z, sigma_x=sigma_x) - log_q[None, :]
    return log_mean_exp(log_ratios)


@checked
def sample(
    key: Key[Array, ""], params: MLP, num_samples: int, *, sigma_x: Positive = 1.0
) -> tuple[Float[Array, "n d"], Float[Array, "n m"]]:
    """Ancestral sampling: draw z from the prior, then x from p(x | z) (S10, S25).

    Args:
        key: a typed key.
        params: the decoder.
        num_samples: how many samples, at least 1.
        sigma_x: the standard deviation of x given z.

    Returns:
        points `n d`, and the latent `n m` that each was generated from.

    Source: deck, "Difficulties of MLE (3)".
    """
    z_key, x_key = jax.random.split(key)
    z = gaussian.sample(z_key, prior(params), num_samples)
    centres = decode(params, z)
    noise = jax.random.normal(x_key, centres.shape, centres.dtype)
    return centres + sigma_x * noise, z
