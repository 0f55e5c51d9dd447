"""Case 2: a mixture of Gaussians, where we can sum over the latent z.

log p(x) = log sum_k weights_k N(x; means_k, covariances_k) can be computed, so gradient
ascent and EM are both possible, but its maximum has no closed form (S09).

Every function raises a ValueError if a shape does not fit, a number is not finite, the
weights do not sum to 1, a covariance is not positive (definite), a count is below 1, or
`key` is not a typed key.
"""

from typing import Annotated, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import logsumexp
from jax.scipy.stats import multivariate_normal
from jaxtyping import Array, Float, Int, Key

from helpers import _checks, gaussian
from helpers._checks import checked
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
    """A mixture of k Gaussians, with scikit-learn's names and shapes.

    Covariances of shape `k` are variances, sigma squared, of spherical components;
    covariances of shape `k d d` are full matrices.
    """

    weights: Annotated[Float[Array, " k"], _checks.simplex]
    means: Float[Array, "k d"]
    covariances: Annotated[
        Float[Array, " k"] | Float[Array, "k d d"], _checks.covariance
    ]


@checked
def log_joint(params: Mixture, x: Float[Array, "n d"]) -> Float[Array, "n k"]:
    """Log joint of each point and each component (S08, with the deck's slip corrected).

    log p(x, z=k) = log weights_k + log N(x; means_k, covariances_k)

    Args:
        params: the mixture; a weight of 0 gives exactly -inf.
        x: points `n d`.

    Returns:
        `n k` values, in nats. The functions in `bounds` take a model in this form.

    Source: deck, "Difficulties of MLE (2)"; Bishop 2006, eq. 9.10.
    """
    weights, means, covariances = params
    if covariances.ndim == 1:
        # `log_prob` is for one Gaussian at all points; `vmap` adds the components.
        by_component = jax.vmap(gaussian.log_prob, in_axes=(0, None), out_axes=1)
        log_densities = by_component(Gaussian(means, covariances), x)
    else:
        log_densities = _full_log_densities(means, covariances, x)
    return jnp.log(weights)[None, :] + log_densities


def _full_log_densities(means, covariances, x):
    """Log N(x; means_k, covariances_k) of each point and each component."""
    at_all_points = jax.vmap(multivariate_normal.logpdf, in_axes=(0, None, None))
    # `map` takes one component after another. With several devices on one processor,
    # all at once can deadlock (see `of_each` in `_fast/sufficient.py`).
    by_component = jax.lax.map(
        lambda component: at_all_points(x, *component), (means, covariances)
    )
    return by_component.T


@checked
def log_prob(params: Mixture, x: Float[Array, "n d"]) -> Float[Array, " n"]:
    """Log density of each point: log p(x) = log sum_k exp(log_joint_k) (S08).

    Args:
        params: the mixture.
        x: points `n d`.

    Returns:
        `n` log densities, in nats.

    Source: deck, "Difficulties of MLE (2)".
    """
    return logsumexp(log_joint(params, x), axis=1)


@checked
def log_likelihood(params: Mixture, x: Float[Array, "n d"]) -> Float[Array, ""]:
    """Log-likelihood of the data, a SUM over points (S02, S08).

    l(theta) = sum_i log sum_k p(x_i, z=k)

    Args:
        params: the mixture.
        x: points `n d`.

    Returns:
        scalar, in nats.

    Source: deck, "MLE Revisited".
    """
    return log_prob(params, x).sum()


@checked
def responsibilities(params: Mixture, x: Float[Array, "n d"]) -> Float[Array, "n k"]:
    """Posterior of z for each point by Bayes' rule (S16, S18).

    p(z=k | x) = p(x, z=k) / sum_j p(x, z=j)

    Args:
        params: the mixture.
        x: points `n d`.

    Returns:
        `n k` probabilities, each row summing to 1.

    Source: deck, "Evidence Lower Bound"; Bishop 2006, eq. 9.13.
    """
    return jax.nn.softmax(log_joint(params, x), axis=1)


@checked
def sample(
    key: Key[Array, ""], params: Mixture, num_samples: int
) -> tuple[Float[Array, "n d"], Int[Array, " n"]]:
    """Draw z with the weights as probabilities, then x from the z-th Gaussian.

    Args:
        key: a typed key.
        params: the mixture.
        num_samples: how many points, at least 1.

    Returns:
        points `n d`, and the component `n` that each was drawn from.

    Source: deck, "Difficulties of MLE (2)".
    """
    weights, means, covariances = params
    z_key, eps_key = jax.random.split(key)
    z = jax.random.categorical(z_key, jnp.log(weights), shape=(num_samples,))
    shape = (num_samples, means.shape[1])
    eps = jax.random.normal(eps_key, shape, means.dtype)
    if covariances.ndim == 1:
        noise = jnp.sqrt(covariances)[z][:, None] * eps
    else:
        roots = jnp.linalg.cholesky(covariances)
        noise = jnp.einsum("nij,nj->ni", roots[z], eps)
    return means[z] + noise, z


def _enough_points(x, num_components, **others):
    """Raise unless there are at least as many distinct points as components."""
    _checks.count("num_components", num_components, high=len(x))
    _checks.at_least_distinct("x", x, num_components)


def _spreads_in_all_directions(start, **arguments):
    """Raise if the covariance of the data is 0 in some direction."""
    _checks.covariance("covariance of x", start.covariances, "k", "k d d")


@checked(check_together=_enough_points, check_result=_spreads_in_all_directions)
def init_from_data(
    key: Key[Array, ""],
    x: Float[Array, "n d"],
    num_components: int,
    *,
    covariance_type: Literal["spherical", "full"] = "spherical",
) -> Mixture:
    """Starting point for EM: means by k-means++, equal weights, the data's covariance.

    The first mean is a random data point. Each further mean is a data point drawn with
    probability proportional to its squared distance from the nearest mean so far.

    Args:
        key: a typed key.
        x: points `n d`.
        num_components: k, at most the number of distinct points.
        covariance_type: "spherical" (covariances `k`) or "full" (`k d d`).

    Returns:
        Mixture in which every component has the covariance of the data.

    Raises:
        ValueError: also if `x` has fewer distinct points than components, or if its
            covariance is not positive definite.

    Source: Arthur and Vassilvitskii 2007, "k-means++".
    """
    differences = x - x.mean(axis=0)[None, :]
    if covariance_type == "spherical":
        spread = (differences**2).mean()
    else:
        spread = differences.T @ differences / len(x)
    return Mixture(
        weights=jnp.full(num_components, 1 / num_components, x.dtype),
        means=_kmeans_plus_plus(key, x, num_components),
        covariances=jnp.broadcast_to(spread, (num_components, *spread.shape)),
    )


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
