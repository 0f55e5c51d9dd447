"""Case 3: a decoder network bends z into x, and z can no longer be summed out.

z ~ N(0, I) and x given z ~ N(decode(z), sigma_x^2 I) (S10, S25). While z has one
dimension the integral over it is still cheap, so here the truth is known: by
quadrature, to rounding. With more dimensions only sampling is left.

In all functions `params` is the network from z `m` to x `d`, and `sigma_x` the known
standard deviation of x given z. Each raises a ValueError where a shape does not fit, a
number is not finite, `sigma_x` is not above 0, a count is below 1, or `key` is not a
typed key.
"""

from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp
from jaxtyping import Array, Float, Key

from helpers import gaussian, network, quadrature
from helpers._checks import Positive, checked, is_traced, reader
from helpers.gaussian import Gaussian
from helpers.network import MLP, init

__all__ = [
    "bent_line",
    "decode",
    "init",
    "log_joint",
    "log_marginal_importance",
    "log_marginal_quadrature",
    "posterior_on_grid",
    "sample",
]

NUM_NODES = quadrature.NUM_NODES[1]


def bent_line() -> MLP:
    """The 1-3-2 decoder of the notebooks, its weights written out: a horseshoe.

    x_1 = 3 tanh(1.5 z + 1.5) - 3 tanh(1.5 z - 1.5) - 3
    x_2 = 3 tanh(0.9 z)

    Its two arms are about 6 apart, so a point between them has a posterior with two
    modes: no Gaussian q can be exact there.
    """
    hidden, output = [[1.5, 1.5, 0.9]], [[3.0, 0.0], [-3.0, 0.0], [0.0, 3.0]]
    params = MLP(
        weights=(np.array(hidden), np.array(output)),
        biases=(np.array([1.5, -1.5, 0.0]), np.array([-3.0, 0.0])),
    )
    return jax.device_put(params)


@checked
def decode(params: MLP, z: Float[Array, "s m"]) -> Float[Array, "s d"]:
    """The centre of p(x given z) for each z: the network's output (S10).

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
    """Log joint of every point with every latent (S10, S25).

    log p(x, z) = log N(z; 0, I) + log N(x; decode(z), sigma_x^2 I)

    Args:
        params: the decoder.
        x: points `n d`.
        z: latents `s m`.
        sigma_x: the standard deviation of x given z.

    Returns:
        `n s` values, in nats: the same layout as a mixture's log joint.

    Source: deck, "Difficulties of MLE (3)"; Kingma and Welling 2014.
    """

    def log_likelihood(centre):
        return gaussian.log_prob(Gaussian(centre, sigma_x**2), x)

    log_prior = gaussian.log_prob(prior(params), z)
    return log_prior[None, :] + jax.vmap(log_likelihood, out_axes=1)(decode(params, z))


def prior(params: MLP) -> Gaussian:
    """p(z) = N(0, I) over the latent that the network takes (S10).

    Args:
        params: the decoder.

    Returns:
        Gaussian with mean `m` and variance scalar, of the network's precision.

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

    The rule is checked against itself with every other node. Under `jit`, where there
    are no values to look at, this check is left out.

    Args:
        params: a decoder of a one-dimensional z.
        x: points `n d`.
        sigma_x: the standard deviation of x given z.
        num_nodes: nodes of the rule, odd.

    Returns:
        `n` values, in nats.

    Raises:
        ValueError: besides the above, z has more dimensions than one; or the nodes are
            too few for this `sigma_x`, so that the two rules disagree.

    Source: deck, "Difficulties of MLE (3)", first line of the integral.
    """
    log_marginal, change = _integral_over_z(params, x, sigma_x, num_nodes)
    if not is_traced(log_marginal):
        eps = jnp.finfo(log_marginal.dtype).eps
        allowed = np.sqrt(eps) * (1 + np.abs(np.asarray(log_marginal)))
        if (np.asarray(change) > allowed).any():
            raise ValueError(
                f"num_nodes: got {num_nodes}, too few for sigma_x = {sigma_x}: half as "
                f"many change log p(x) by {change.max():.1e} nats; give more"
            )
    return log_marginal


def _integral_over_z(params, x, sigma_x, num_nodes):
    latents = len(params.weights[0])
    if latents != 1:
        raise ValueError(
            f"params: got a decoder of a {latents}-dimensional z, expected one "
            "dimension; use log_marginal_importance"
        )
    z, spacing = np.linspace(
        -quadrature.Z_MAX, quadrature.Z_MAX, num_nodes, retstep=True
    )
    z = z.astype(params.weights[0].dtype)[:, None]
    log_heights = log_joint(params, x, z, sigma_x=sigma_x)
    return quadrature.log_integral(log_heights, float(spacing))


def _over_z(name, q, sizes):
    """A Gaussian over the network's inputs `m`, not over the points `d`."""
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

    Without a proposal q is the prior, which is plain Monte Carlo. The average inside
    the logarithm is unbiased; its logarithm is too low on average (S13).

    Args:
        key: a typed key; all points share the draws.
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
    return logsumexp(log_ratios, axis=1) - jnp.log(num_samples)


@checked(compiled=False)
def posterior_on_grid(
    params: MLP,
    x: Float[Array, "n d"],
    z: Float[Array, "s m"],
    *,
    sigma_x: Positive = 1.0,
) -> Float[Array, "n s"]:
    """Exact posterior density of a one-dimensional z at chosen values (S16).

    p(z given x) = p(x, z) / p(x), with p(x) by quadrature, checked as there

    Args:
        params: a decoder of a one-dimensional z.
        x: points `n d`.
        z: where to evaluate, `s 1`; any values, in any order.
        sigma_x: the standard deviation of x given z.

    Returns:
        `n s` densities, per unit of z.

    Raises:
        ValueError: as `log_marginal_quadrature`; or a posterior so narrow that its
            height is not known to a thousandth.

    Source: deck, "Evidence Lower Bound".
    """
    log_marginal, change = _integral_over_z(params, x, sigma_x, NUM_NODES)
    if not is_traced(log_marginal):
        # a density needs log p(x) to so many nats, however large it is
        worst = np.asarray(change).argmax()
        if change[worst] > 1e-3:
            raise ValueError(
                f"x: got a point, x[{worst}], whose posterior is too narrow for the "
                f"{NUM_NODES} nodes of the quadrature, expected one nearer to the "
                f"curve or a sigma_x above {sigma_x}"
            )
    return _ratio(log_joint(params, x, z, sigma_x=sigma_x), log_marginal)


@jax.jit
def _ratio(log_joint, log_marginal):
    return jnp.exp(log_joint - log_marginal[:, None])


@checked
def sample(
    key: Key[Array, ""], params: MLP, num_samples: int, *, sigma_x: Positive = 1.0
) -> tuple[Float[Array, "n d"], Float[Array, "n m"]]:
    """Ancestral samples: z from the prior, then x around decode(z) (S10, S25).

    Args:
        key: a typed key.
        params: the decoder.
        num_samples: how many, at least 1.
        sigma_x: the standard deviation of x given z.

    Returns:
        points `n d`, and the latent `n m` that each came from.

    Source: deck, "Difficulties of MLE (3)".
    """
    z_key, x_key = jax.random.split(key)
    z = gaussian.sample(z_key, prior(params), num_samples)
    centres = decode(params, z)
    noise = jax.random.normal(x_key, centres.shape, centres.dtype)
    return centres + sigma_x * noise, z
