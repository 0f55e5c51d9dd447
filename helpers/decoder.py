"""Case 3: a decoder network bends z into x, and z can no longer be summed out.

z ~ N(0, I) and x given z ~ N(decode(z), sigma_x^2 I) (S10, S25). While z has one
dimension the integral over it is still cheap, so here the truth is known: by
quadrature, to rounding. With more dimensions only sampling is left.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp
from jaxtyping import Array, Float, Key

from helpers import _checks, gaussian, quadrature
from helpers.gaussian import Gaussian
from helpers.network import Decoder, checked, decode, init

__all__ = [
    "Decoder",
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


def bent_line() -> Decoder:
    """The 1-3-2 decoder of the notebooks, its weights written out: a horseshoe.

    x_1 = 3 tanh(1.5 z + 1.5) - 3 tanh(1.5 z - 1.5) - 3
    x_2 = 3 tanh(0.9 z)

    Its two arms are about 6 apart, so a point between them has a posterior with two
    modes: no Gaussian q can be exact there.
    """
    return jax.device_put(
        Decoder(
            weights=(
                np.array([[1.5, 1.5, 0.9]]),
                np.array([[3.0, 0.0], [-3.0, 0.0], [0.0, 3.0]]),
            ),
            biases=(np.array([1.5, -1.5, 0.0]), np.array([-3.0, 0.0])),
        )
    )


def log_joint(
    params: Decoder,
    x: Float[Array, "n d"],
    z: Float[Array, "s m"],
    *,
    sigma_x: float | Float[Array, ""] = 1.0,
) -> Float[Array, "n s"]:
    """Log joint of every point with every latent (S10, S25).

    log p(x, z) = log N(z; 0, I) + log N(x; decode(z), sigma_x^2 I)

    Args:
        params: the decoder.
        x: points `n d`.
        z: latents `s m`.
        sigma_x: the known standard deviation of x given z.

    Returns:
        `n s` values, in nats: the same layout as a mixture's log joint.

    Raises:
        ValueError: a shape does not fit, a number is not finite, `sigma_x` is not
            above 0.

    Source: deck, "Difficulties of MLE (3)"; Kingma and Welling 2014.
    """
    return _log_joint(*_checked(params, x, z, sigma_x))


@jax.jit  # one small program, where each operation alone would be compiled and kept
def _log_joint(params, x, z, sigma_x):
    given_z = jax.vmap(
        lambda centre: gaussian.log_prob(Gaussian(centre, sigma_x**2), x), out_axes=1
    )(decode(params, z))
    return given_z + gaussian.log_prob(_prior(params), z)[None, :]


def log_marginal_quadrature(
    params: Decoder,
    x: Float[Array, "n d"],
    *,
    sigma_x: float | Float[Array, ""] = 1.0,
    num_nodes: int = NUM_NODES,
) -> Float[Array, " n"]:
    """Exact log p(x) for a one-dimensional z (S11, S12).

    log p(x) = log integral p(x, z) dz, by the trapezoidal rule on [-10, 10]

    The integrand is smooth and vanishes at both ends, so the rule's error falls
    exponentially in the number of nodes (Trefethen and Weideman 2014). It is checked
    here against the same rule with every other node. Under `jit`, where there are no
    values to look at, this check is left out.

    Args:
        params: a decoder of a one-dimensional z.
        x: points `n d`.
        sigma_x: the known standard deviation of x given z.
        num_nodes: nodes of the rule, odd.

    Returns:
        `n` values, in nats.

    Raises:
        ValueError: as `log_joint`; or z has more dimensions than one; or the nodes
            are too few for this `sigma_x`, so that the two rules disagree.

    Source: deck, "Difficulties of MLE (3)", first line of the integral.
    """
    log_marginal, change = _quadrature(params, x, sigma_x, num_nodes)
    if not isinstance(log_marginal, jax.core.Tracer):
        eps = jnp.finfo(log_marginal.dtype).eps
        if (np.asarray(change) > np.sqrt(eps) * (1 + np.abs(log_marginal))).any():
            raise ValueError(
                f"num_nodes: got {num_nodes}, too few for sigma_x = {sigma_x}: half as "
                f"many change log p(x) by {change.max():.1e} nats; give more"
            )
    return log_marginal


def log_marginal_importance(
    key: Key[Array, ""],
    params: Decoder,
    x: Float[Array, "n d"],
    *,
    num_samples: int,
    proposal: Gaussian | None = None,
    sigma_x: float | Float[Array, ""] = 1.0,
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
        sigma_x: the known standard deviation of x given z.

    Returns:
        `n` estimates, in nats.

    Raises:
        ValueError: as `log_joint`; or `num_samples` is below 1, or `key` is no key.

    Source: deck, "Difficulties of MLE (3)"; Burda et al. 2016.
    """
    q = _prior(params) if proposal is None else proposal
    z = gaussian.sample(key, q, num_samples)
    log_q = gaussian.log_prob(q, z)
    return _log_mean_exp(log_joint(params, x, z, sigma_x=sigma_x), log_q)


@jax.jit
def _log_mean_exp(log_joint, log_q):
    return logsumexp(log_joint - log_q[None, :], axis=1) - jnp.log(len(log_q))


def posterior_on_grid(
    params: Decoder,
    x: Float[Array, "n d"],
    z: Float[Array, "s 1"],
    *,
    sigma_x: float | Float[Array, ""] = 1.0,
) -> Float[Array, "n s"]:
    """Exact posterior density of a one-dimensional z at chosen values (S16).

    p(z given x) = p(x, z) / p(x), with p(x) by quadrature, checked as there

    Args:
        params: a decoder of a one-dimensional z.
        x: points `n d`.
        z: where to evaluate, `s 1`; any values, in any order.
        sigma_x: the known standard deviation of x given z.

    Returns:
        `n s` densities, per unit of z.

    Raises:
        ValueError: as `log_marginal_quadrature`; or a posterior so narrow that its
            height is not known to a thousandth.

    Source: deck, "Evidence Lower Bound".
    """
    log_marginal, change = _quadrature(params, x, sigma_x, NUM_NODES)
    if not isinstance(log_marginal, jax.core.Tracer):
        # a density needs log p(x) to so many nats, however large it is
        change = np.asarray(change)
        worst = change.argmax()
        if change[worst] > 1e-3:
            raise ValueError(
                f"x: got a point, x[{worst}], whose posterior is too narrow for the "
                f"quadrature's {NUM_NODES} nodes, expected one nearer to the curve or a "
                f"sigma_x above {sigma_x}"
            )
    return _density(*_checked(params, x, z, sigma_x), log_marginal)


@jax.jit
def _density(params, x, z, sigma_x, log_marginal):
    return jnp.exp(_log_joint(params, x, z, sigma_x) - log_marginal[:, None])


def sample(
    key: Key[Array, ""],
    params: Decoder,
    num_samples: int,
    *,
    sigma_x: float | Float[Array, ""] = 1.0,
) -> tuple[Float[Array, "n d"], Float[Array, "n m"]]:
    """Ancestral samples: z from the prior, then x around decode(z) (S10, S25).

    Args:
        key: a typed key.
        params: the decoder.
        num_samples: how many, at least 1.
        sigma_x: the known standard deviation of x given z.

    Returns:
        points `n d`, and the latent `n m` that each came from.

    Raises:
        ValueError: as `log_joint`; or `num_samples` is below 1, or `key` is no key.

    Source: deck, "Difficulties of MLE (3)".
    """
    key, num_samples = _checks.key(key), _checks.count("num_samples", num_samples)
    params = Decoder(*map(tuple, checked(params)))
    sigma_x = _checks.positive("sigma_x", sigma_x, "")
    return _sample(key, params, sigma_x, num_samples)


@partial(jax.jit, static_argnums=3)
def _sample(key, params, sigma_x, num_samples):
    z_key, x_key = jax.random.split(key)
    z = gaussian.sample(z_key, _prior(params), num_samples)
    centres = decode(params, z)
    noise = jax.random.normal(x_key, centres.shape, centres.dtype)
    return centres + sigma_x * noise, z


def _prior(params):
    first = checked(params)[0][0]
    return Gaussian(np.zeros(len(first), first.dtype), np.ones((), first.dtype))


def _checked(params, x, z, sigma_x):
    """Decoder, points `n d`, latents `s m` and sigma_x, as arrays."""
    weights, biases = map(tuple, checked(params))
    z = _checks.as_array("z", z, "s m", m=weights[0].shape[0])
    x = _checks.as_array("x", x, "n d", d=weights[-1].shape[1])
    sigma_x = _checks.positive("sigma_x", sigma_x, "")
    return Decoder(weights, biases), x, z, sigma_x


def _quadrature(params, x, sigma_x, num_nodes):
    """Log p(x), and how far the rule with every other node is from it."""
    prior = _prior(params)
    if len(prior.mean) != 1:
        raise ValueError(
            f"params: got a decoder of a {len(prior.mean)}-dimensional z, expected one "
            "dimension; use log_marginal_importance"
        )
    num_nodes = _checks.count("num_nodes", num_nodes, low=3)
    if num_nodes % 2 == 0:
        raise ValueError(f"num_nodes: got {num_nodes}, expected an odd number")
    z = np.linspace(
        -quadrature.Z_MAX, quadrature.Z_MAX, num_nodes, dtype=prior.mean.dtype
    )
    return _trapezoid(*_checked(params, x, z[:, None], sigma_x))


@jax.jit
def _trapezoid(params, x, z, sigma_x):
    heights, spacing = (
        _log_joint(params, x, z, sigma_x),
        2 * quadrature.Z_MAX / (len(z) - 1),
    )
    fine = logsumexp(heights, axis=1) + jnp.log(spacing)
    coarse = logsumexp(heights[:, ::2], axis=1) + jnp.log(2 * spacing)
    return fine, jnp.abs(fine - coarse)
