"""Case 2: a mixture of Gaussians, whose latent z can be summed out.

log p(x) = log sum_k weights_k N(x; means_k, covariances_k) can be evaluated, so
gradient ascent and EM both apply; its maximum has no closed form (S09).
"""

from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import logsumexp
from jax.scipy.stats import multivariate_normal
from jaxtyping import Array, Float, Int, Key

from helpers import _checks, gaussian
from helpers.gaussian import Gaussian

__all__ = [
    "Mixture",
    "init_from_data",
    "log_joint",
    "log_likelihood",
    "log_prob",
    "responsibilities",
    "sample",
]


class Mixture(NamedTuple):
    """A mixture of k Gaussians, named and shaped as in scikit-learn.

    Covariances `k` are variances (spherical components, sigma squared);
    covariances `k d d` are full matrices.
    """

    weights: Float[Array, " k"]
    means: Float[Array, "k d"]
    covariances: Float[Array, " k"] | Float[Array, "k d d"]


def log_joint(params: Mixture, x: Float[Array, "n d"]) -> Float[Array, "n k"]:
    """Log joint of each point and each component (S08, with the deck's slip mended).

    log p(x, z=k) = log weights_k + log N(x; means_k, covariances_k)

    Args:
        params: the mixture; a weight of 0 gives -inf, exactly.
        x: points `n d`.

    Returns:
        `n k` values, in nats. This is the form in which a bound takes a model.

    Raises:
        ValueError: a shape does not fit, a number is not finite, the weights do not
            sum to 1, a covariance is not positive (definite).

    Source: deck, "Difficulties of MLE (2)"; Bishop 2006, eq. 9.10.
    """
    return _log_joint(*_checked(params, x))


@jax.jit  # one small program, where each operation alone would be compiled and kept
def _log_joint(weights, means, covariances, x):
    if covariances.ndim == 1:
        components = jax.vmap(gaussian.log_prob, in_axes=(0, None), out_axes=1)(
            Gaussian(means, covariances), x
        )
    else:
        of_points = jax.vmap(multivariate_normal.logpdf, in_axes=(0, None, None))
        # one after another: all at once can wait for ever (see `_fast`)
        components = jax.lax.map(
            lambda component: of_points(x, *component), (means, covariances)
        ).T
    return jnp.log(weights)[None, :] + components


def log_prob(params: Mixture, x: Float[Array, "n d"]) -> Float[Array, " n"]:
    """Log density of each point: log p(x) = log sum_k exp(log_joint_k) (S08).

    Args:
        params: the mixture.
        x: points `n d`.

    Returns:
        `n` log densities, in nats.

    Raises:
        ValueError: as `log_joint`.

    Source: deck, "Difficulties of MLE (2)".
    """
    return _log_prob(*_checked(params, x))


@jax.jit
def _log_prob(*args):
    return logsumexp(_log_joint(*args), axis=1)


def log_likelihood(params: Mixture, x: Float[Array, "n d"]) -> Float[Array, ""]:
    """Log-likelihood of the data, a SUM over points (S02, S08).

    l(theta) = sum_i log sum_k p(x_i, z=k)

    Args:
        params: the mixture.
        x: points `n d`.

    Returns:
        scalar, in nats.

    Raises:
        ValueError: as `log_joint`.

    Source: deck, "MLE Revisited".
    """
    return _log_likelihood(*_checked(params, x))


@jax.jit
def _log_likelihood(*args):
    return _log_prob(*args).sum()


def responsibilities(params: Mixture, x: Float[Array, "n d"]) -> Float[Array, "n k"]:
    """Posterior of z for each point by Bayes' rule (S16, S18).

    p(z=k given x) = p(x, z=k) / sum_j p(x, z=j)

    Args:
        params: the mixture.
        x: points `n d`.

    Returns:
        `n k` probabilities, each row summing to 1.

    Raises:
        ValueError: as `log_joint`.

    Source: deck, "Evidence Lower Bound"; Bishop 2006, eq. 9.13.
    """
    return _responsibilities(*_checked(params, x))


@jax.jit
def _responsibilities(*args):
    return jax.nn.softmax(_log_joint(*args), axis=1)


def sample(
    key: Key[Array, ""], params: Mixture, num_samples: int
) -> tuple[Float[Array, "n d"], Int[Array, " n"]]:
    """Draw z from the weights, then x from the z-th Gaussian.

    Args:
        key: a typed key.
        params: the mixture.
        num_samples: how many, at least 1.

    Returns:
        points `n d`, and the component `n` that each came from.

    Raises:
        ValueError: as `log_joint`; or `num_samples` is below 1, or `key` is no key.

    Source: deck, "Difficulties of MLE (2)", the two steps.
    """
    weights, means, covariances = _checked(params)
    shape = (_checks.count("num_samples", num_samples),)
    z_key, eps_key = jax.random.split(_checks.key(key))
    z = jax.random.categorical(z_key, jnp.log(weights), shape=shape)
    eps = jax.random.normal(eps_key, shape + means.shape[1:], means.dtype)
    if covariances.ndim == 1:
        noise = jnp.sqrt(covariances)[z][:, None] * eps
    else:
        noise = jnp.einsum("nij,nj->ni", jnp.linalg.cholesky(covariances)[z], eps)
    return means[z] + noise, z


def init_from_data(
    key: Key[Array, ""],
    x: Float[Array, "n d"],
    num_components: int,
    *,
    covariance_type: Literal["spherical", "full"] = "spherical",
) -> Mixture:
    """Starting point for EM: k-means++ means, equal weights, the data's covariance.

    Each next mean is a data point drawn with probability proportional to its squared
    distance from the nearest mean chosen so far.

    Args:
        key: a typed key.
        x: points `n d`.
        num_components: k, at most the number of distinct points.
        covariance_type: "spherical" (covariances `k`) or "full" (`k d d`).

    Returns:
        Mixture whose covariances all equal the data's own.

    Raises:
        ValueError: `x` is not `n d`, is not finite, has fewer distinct points than
            components, or spreads in too few directions for the covariance; a name
            or count is not one of those above.

    Source: Arthur and Vassilvitskii 2007, "k-means++".
    """
    key = _checks.key(key)
    x = _checks.as_array("x", x, "n d")
    _checks.one_of("covariance_type", covariance_type, "spherical", "full")
    num_components = _checks.count("num_components", num_components, high=len(x))
    _checks.at_least_distinct("x", x, num_components)
    start = _start(key, x, num_components, covariance_type == "full")
    _checks.covariance("covariance of x", start.covariances, "k", "k d d")
    return start


@partial(jax.jit, static_argnums=(2, 3))
def _start(key, x, num_components, full):
    centred = x - x.mean(axis=0)[None, :]
    spread = centred.T @ centred / len(x) if full else (centred**2).mean()
    covariances = jnp.broadcast_to(spread, (num_components, *spread.shape))
    weights = jnp.full(num_components, 1 / num_components, x.dtype)
    return Mixture(weights, _kmeans_plus_plus(key, x, num_components), covariances)


def _kmeans_plus_plus(key, x, num_components):
    first_key, key = jax.random.split(key)
    first = x[jax.random.randint(first_key, (), 0, len(x))]
    means = jnp.zeros((num_components, x.shape[1]), x.dtype).at[0].set(first)
    nearest = ((x - first[None, :]) ** 2).sum(axis=1)

    def choose(k, state):
        means, nearest = state
        chosen = jax.random.categorical(jax.random.fold_in(key, k), jnp.log(nearest))
        distance = ((x - x[chosen][None, :]) ** 2).sum(axis=1)
        return means.at[k].set(x[chosen]), jnp.minimum(nearest, distance)

    means, _ = jax.lax.fori_loop(1, num_components, choose, (means, nearest))
    return means


def _checked(params, *points):
    """Weights `k`, means `k d`, covariances `k` or `k d d`, and points, as arrays."""
    means = _checks.as_array("params.means", params.means, "k d")
    k, d = means.shape
    weights = _checks.simplex("params.weights", params.weights, "k", k=k)
    covariances = _checks.covariance(
        "params.covariances", params.covariances, "k", "k d d", k=k, d=d
    )
    points = [_checks.as_array("x", x, "n d", d=d) for x in points]
    return weights, means, covariances, *points
