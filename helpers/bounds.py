"""The evidence lower bound (ELBO) on log p(x), for any distribution q(z).

The formulas are S13 to S17 and S22 to S24 of the deck. They need only the log joint
log p(x, z), so each function takes that in place of a model. There are two cases:

- z can be enumerated, as in a mixture. `log_joint` is an array `n k` that holds
  log p(x_i, z=k), -inf where p is 0, and `q` is an array `n k` of probabilities, each
  row summing to 1. The result has one value per point.
- z is continuous. `log_joint` is a function of z for one fixed x: it takes latents
  `s m` and returns the `s` values of log p(x, z). `q` is a Gaussian over z. The result
  is a scalar.

If the Gaussian q has one or two dimensions, both q and the joint are evaluated on a
fine grid of z. On such a grid a smooth density is as good as a table of probabilities
(the error is no larger than rounding), so the second case becomes the first, and each
formula is written only once. The keyword `num_nodes` sets the number of grid nodes per
axis; see `quadrature.tabulate`.

Every function raises a ValueError if a shape does not fit, a number is not finite, q is
not on the simplex, p(x, z) is 0 for every z, a count is below 1, `key` is not a typed
key, the grid would need more than two dimensions, or the grid is too coarse or does not
reach far enough for this model and this q.
"""

import itertools
from collections.abc import Callable
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp
from jaxtyping import Array, Float, Key

from helpers import _checks, gaussian, quadrature
from helpers._checks import is_traced
from helpers.gaussian import Gaussian
from helpers.quadrature import log_mean_exp

__all__ = [
    "Decompositions",
    "EnergyEntropy",
    "EvidenceKL",
    "ReconstructionKL",
    "decompositions",
    "elbo",
    "gap",
    "importance_weighted_bound",
    "importance_weighted_bound_exact",
]

LogJoint = Float[Array, "*n k"] | Callable[[Array], Array]
Q = Float[Array, "*n k"] | Gaussian
Value = Float[Array, "*n"]


read_log_joint = _checks.reader(Annotated[Float[Array, "n k"], _checks.log_density])
read_q = _checks.reader(Annotated[Float[Array, "n k"], _checks.simplex])
read_prior = _checks.reader(Annotated[Float[Array, " k"], _checks.simplex])
read_gaussian = _checks.reader(Gaussian)


class EnergyEntropy(NamedTuple):
    """E_q log p(x, z) and H(q) = -E_q log q(z); their sum is the bound (S22)."""

    energy: Value
    entropy: Value


class EvidenceKL(NamedTuple):
    """log p(x) and KL(q || p(z | x)); their difference is the bound (S23)."""

    log_evidence: Value
    kl: Value


class ReconstructionKL(NamedTuple):
    """E_q log p(x | z) and KL(q || p(z)); their difference is the bound (S24)."""

    reconstruction: Value
    kl: Value


class Decompositions(NamedTuple):
    """The same bound written in three ways, each with two terms."""

    energy_entropy: EnergyEntropy
    evidence_kl: EvidenceKL
    reconstruction_kl: ReconstructionKL


def expectation(q, values):
    """E_q of the values. Where q is 0 the contribution is 0, even if the value is -inf.

    The `where` comes before the product, so that no gradient contains 0 * -inf.
    """
    return (q * jnp.where(q > 0, values, 0)).sum(axis=-1)


def log_where_positive(probabilities):
    """Log of probabilities, but 0 where p is 0: there it is multiplied by 0 anyway."""
    return jnp.log(jnp.where(probabilities > 0, probabilities, 1))


def elbo(log_joint: LogJoint, q: Q, *, num_nodes: int | None = None) -> Value:
    """Evidence lower bound of each point, for any q (S13, S14, S22).

    ELBO(x; q) = E_q log [p(x, z) / q(z)] = sum_z q(z) log [p(x, z) / q(z)] <= log p(x)

    Where q is 0 the term is exactly 0. Its derivative would be infinite there; it is
    returned as 0.

    Args:
        log_joint: `n k` values, -inf where p is 0; or a function of z, for one x.
        q: `n k` probabilities, each row summing to 1; or a Gaussian over a z of one or
            two dimensions.
        num_nodes: number of grid nodes per axis, odd; if None, 2001 for one dimension
            and 401 for two.

    Returns:
        `n` values (their sum is the bound of S17) or a scalar, in nats.

    Source: deck, "Evidence Lower Bound"; Jordan et al. 1999.
    """
    table = _enumerated(log_joint, q, num_nodes)
    return _elbo(table.log_joint, table.q)


@jax.jit
def _elbo(log_joint, q):
    return expectation(q, log_joint - log_where_positive(q))


def gap(log_joint: LogJoint, q: Q, *, num_nodes: int | None = None) -> Value:
    """How far the bound lies below log p(x); 0 only if q is the posterior (S15, S16).

    gap = log p(x) - ELBO(x; q) = KL(q || p(z | x)),   log p(x) = log sum_z p(x, z)

    Args:
        log_joint: as `elbo`.
        q: as `elbo`.
        num_nodes: as `elbo`.

    Returns:
        `n` values or a scalar, in nats, at least 0 up to rounding.

    Source: deck, "Evidence Lower Bound".
    """
    table = _enumerated(log_joint, q, num_nodes)
    return _gap(table.log_joint, table.q)


@jax.jit
def _gap(log_joint, q):
    log_evidence = logsumexp(log_joint, axis=-1)
    return log_evidence - expectation(q, log_joint - log_where_positive(q))


def decompositions(
    log_joint: LogJoint,
    q: Q,
    prior: Float[Array, " k"] | Gaussian,
    *,
    num_nodes: int | None = None,
) -> Decompositions:
    """The three forms of the bound, each term computed on its own (S22, S23, S24).

    ELBO = E_q log p(x, z) + H(q)             `energy_entropy`
         = log p(x) - KL(q || p(z | x))       `evidence_kl`, form (1), for the E-step
         = E_q log p(x | z) - KL(q || p(z))   `reconstruction_kl`, (2), for the M-step

    Args:
        log_joint: as `elbo`.
        q: as `elbo`.
        prior: p(z) as `k` probabilities (a mixture's weights), or as a Gaussian.
        num_nodes: as `elbo`.

    Returns:
        Decompositions, each term `n` values or a scalar, in nats. The entropy of a
        density can be negative, unlike the entropy of probabilities.

    Raises:
        ValueError: also if the prior is not on the simplex, or if it is 0 where q is
            not: then log p(x | z) cannot be computed from the joint.

    Source: deck, "Decompositions of ELBO".
    """
    table = _enumerated(log_joint, q, num_nodes)
    log_prior = _log_prior(prior, table)
    return Decompositions(
        energy_entropy(table.log_joint, table.q, table.log_cell),
        evidence_kl(table.log_joint, table.q),
        reconstruction_kl(table.log_joint, table.q, log_prior),
    )


@jax.jit
def energy_entropy(log_joint, q, log_cell):
    """ELBO = E_q log p(x, z) + H(q),   H(q) = -E_q log q(z)   (S22).

    On a grid, both terms are those of densities: a probability divided by the volume of
    its cell. `log_cell` is the log of that volume, and 0 if z is enumerated.
    """
    energy = expectation(q, log_joint - log_cell)
    entropy = -expectation(q, log_where_positive(q) - log_cell)
    return EnergyEntropy(energy, entropy)


@jax.jit
def evidence_kl(log_joint, q):
    """ELBO = log p(x) - KL(q || p(z | x)),   p(z | x) = p(x, z) / p(x)   (S23)."""
    log_evidence = logsumexp(log_joint, axis=-1)
    log_posterior = log_joint - log_evidence[..., None]
    return EvidenceKL(
        log_evidence, expectation(q, log_where_positive(q) - log_posterior)
    )


@jax.jit
def reconstruction_kl(log_joint, q, log_prior):
    """ELBO = E_q log p(x | z) - KL(q || p(z)),   p(x | z) = p(x, z) / p(z)   (S24)."""
    log_likelihood = log_joint - log_prior
    kl_from_prior = expectation(q, log_where_positive(q) - log_prior)
    return ReconstructionKL(expectation(q, log_likelihood), kl_from_prior)


def importance_weighted_bound(
    key: Key[Array, ""], log_joint: LogJoint, q: Q, *, num_samples: int
) -> Value:
    """One unbiased estimate of L_s, the importance-weighted bound with s samples.

    L_s = E log 1/s sum_j p(x, z_j) / q(z_j),   z_j ~ q
    ELBO = L_1 <= L_2 <= ... <= log p(x)

    To estimate the expectation, split the key, `vmap` over the keys and average. The
    estimate can be differentiated with respect to a Gaussian q, because z is a
    differentiable function of its parameters (S32), but not if z is enumerated.

    Args:
        key: a typed key; every point draws its own z.
        log_joint: as `elbo`.
        q: as `elbo`; a Gaussian may have any dimension.
        num_samples: s, at least 1.

    Returns:
        `n` values or a scalar, in nats.

    Source: Burda et al. 2016, "Importance Weighted Autoencoders", theorem 1.
    """
    key = _checks.key(key)
    num_samples = _checks.count("num_samples", num_samples)
    if isinstance(q, Gaussian):
        z = gaussian.sample(key, q, num_samples)
        log_ratios = quadrature.values_on(log_joint, z) - gaussian.log_prob(q, z)
    else:
        log_joint, q, *_ = _enumerated(log_joint, q)
        z = jax.random.categorical(key, jnp.log(q), shape=(num_samples, len(q)))
        log_ratios = jnp.take_along_axis(log_joint - log_where_positive(q), z.T, axis=1)
    return log_mean_exp(log_ratios)


def importance_weighted_bound_exact(
    log_joint: Float[Array, "n k"], q: Float[Array, "n k"], *, num_samples: int
) -> Float[Array, " n"]:
    """L_s exactly, as a sum over all k^s ways to draw s samples of an enumerable z.

    L_s = sum_{z_1 ... z_s} q(z_1) ... q(z_s) log 1/s sum_j p(x, z_j) / q(z_j)

    Args:
        log_joint: as `elbo`, an array.
        q: as `elbo`, an array.
        num_samples: s, with k^s at most 100000.

    Returns:
        `n` values, in nats.

    Source: Burda et al. 2016.
    """
    log_joint, q, *_ = _enumerated(log_joint, q)
    num_samples, k = _checks.count("num_samples", num_samples), q.shape[1]
    if k**num_samples > 100_000:
        raise ValueError(
            f"num_samples: got {num_samples}, which makes {k}^{num_samples} draws, "
            "expected at most 100000 draws; use importance_weighted_bound instead"
        )
    draws = np.array(list(itertools.product(range(k), repeat=num_samples)))
    log_ratios = (log_joint - log_where_positive(q))[:, draws]
    probabilities = q[:, draws].prod(axis=-1)
    return expectation(probabilities, log_mean_exp(log_ratios))


def _enumerated(log_joint, q, num_nodes=None):
    """Return log_joint and q as arrays over the values of z, or over grid cells."""
    if isinstance(q, Gaussian):
        return quadrature.tabulate(log_joint, q, num_nodes=num_nodes)
    if callable(log_joint):
        raise ValueError(
            f"q: got {type(q).__name__}, expected a Gaussian(mean, variance), since "
            "log_joint is a function of z"
        )
    sizes = {}
    log_joint = read_log_joint("log_joint", log_joint, sizes)
    q = read_q("q", q, sizes)
    return quadrature.LogTable(log_joint, q, log_cell=0.0, z=None)


def _log_prior(prior, table):
    if table.z is not None:
        prior = read_gaussian("prior", prior, {"d": table.z.shape[1]})
        return gaussian.log_prob(prior, table.z) + table.log_cell
    prior = read_prior("prior", prior, {"k": table.q.shape[1]})
    if not (is_traced(prior) or is_traced(table.q)):
        without = np.asarray(prior) == 0
        if np.any(np.asarray(table.q)[:, without]):
            raise ValueError(
                "prior: got 0 where q is above 0, expected entries above 0 there"
            )
    return log_where_positive(prior)[None, :]
