"""The evidence lower bound: what any q(z) says about log p(x) (S13 to S17, S22 to S24).

A model comes in as its log joint, and no model is imported:

- where z can be enumerated, the array `n k` of log p(x_i, z=k), with q an array `n k`
  of probabilities: one value a point comes back;
- where it cannot, a function from z `s m` to the `s` values log p(x, z) of one x, with
  q a Gaussian over z: a scalar comes back. On a grid fine enough a smooth density is
  a table of probabilities, to rounding, so this case is the first one again.
"""

import itertools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp
from jaxtyping import Array, Float, Key

from helpers import _checks, gaussian, quadrature
from helpers.gaussian import Gaussian

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

LogJoint = Float[Array, "n k"] | Callable[[Array], Array]
Q = Float[Array, "n k"] | Gaussian
Value = Float[Array, "*n"]


class EnergyEntropy(NamedTuple):
    """E_q log p(x, z) and H(q) = -E_q log q(z): their sum is the bound (S22)."""

    energy: Value
    entropy: Value


class EvidenceKL(NamedTuple):
    """log p(x) and KL(q, p(z given x)): their difference is the bound (S23)."""

    log_evidence: Value
    kl: Value


class ReconstructionKL(NamedTuple):
    """E_q log p(x given z) and KL(q, p(z)): their difference is the bound (S24)."""

    reconstruction: Value
    kl: Value


class Decompositions(NamedTuple):
    """The three ways to write one bound, each as its two terms."""

    energy_entropy: EnergyEntropy
    evidence_kl: EvidenceKL
    reconstruction_kl: ReconstructionKL


def elbo(log_joint: LogJoint, q: Q, *, num_nodes: int | None = None) -> Value:
    """Evidence lower bound of each point, for any q (S13, S14, S22).

    ELBO(x; q) = sum_z q(z) log [p(x, z) / q(z)] <= log p(x)

    A q of 0 contributes exactly 0; its gradient, infinite in truth, is given as 0.

    Args:
        log_joint: `n k` values, -inf where p is 0; or the function of one x.
        q: `n k` probabilities, each row summing to 1; or a Gaussian over a z of one or
            two dimensions.
        num_nodes: nodes of the grid on each axis, odd; 2001 for one dimension and 401
            for two if None.

    Returns:
        `n` values (their sum is the bound of S17) or a scalar, in nats.

    Raises:
        ValueError: a shape does not fit, a number is not finite, q is not on the
            simplex, p(x, z) is 0 for every z, z has more dimensions than two, or the
            grid is too coarse or too short for this model and this q.

    Source: deck, "Evidence Lower Bound"; Jordan et al. 1999.
    """
    return _elbo(_table(log_joint, q, num_nodes))


def gap(log_joint: LogJoint, q: Q, *, num_nodes: int | None = None) -> Value:
    """How far the bound lies below log p(x): 0 only for the posterior (S15, S16).

    gap = log p(x) - ELBO(x; q)

    Args:
        log_joint: as `elbo`.
        q: as `elbo`.
        num_nodes: as `elbo`.

    Returns:
        `n` values or a scalar, in nats, at least 0 up to rounding.

    Raises:
        ValueError: as `elbo`.

    Source: deck, "Evidence Lower Bound".
    """
    return _gap(_table(log_joint, q, num_nodes))


def decompositions(
    log_joint: LogJoint,
    q: Q,
    prior: Float[Array, " k"] | Gaussian,
    *,
    num_nodes: int | None = None,
) -> Decompositions:
    """The bound's three forms, each term summed on its own (S22, S23, S24).

    ELBO = E_q log p(x, z) + H(q)
         = log p(x) - KL(q, p(z given x))         (1), the E-step's
         = E_q log p(x given z) - KL(q, p(z))     (2), the M-step's

    Args:
        log_joint: as `elbo`.
        q: as `elbo`.
        prior: p(z) as `k` probabilities (a mixture's weights), or as a Gaussian.
        num_nodes: as `elbo`.

    Returns:
        Decompositions, each term `n` values or a scalar, in nats. The entropy of a
        density, unlike that of probabilities, may be negative.

    Raises:
        ValueError: as `elbo`; or the prior is not on the simplex, or is 0 where q is
            not, so that log p(x given z) cannot be told from the joint.

    Source: deck, "Decompositions of ELBO".
    """
    table = _table(log_joint, q, num_nodes)
    if isinstance(q, Gaussian):
        log_prior = gaussian.log_prob(prior, table.z)
    else:
        prior = _checks.simplex("prior", prior, "k", k=table.mass.shape[1])
        traced = [isinstance(p, jax.core.Tracer) for p in (prior, table.mass)]
        if not any(traced) and np.any(
            np.asarray(table.mass)[:, np.asarray(prior) == 0]
        ):
            raise ValueError("prior: got 0 where q is not, expected entries above 0")
        log_prior = _log(prior)[None, :]
    return _decompositions(table, log_prior)


def importance_weighted_bound(
    key: Key[Array, ""], log_joint: LogJoint, q: Q, *, num_samples: int
) -> Value:
    """One unbiased draw of the bound that tightens with its number of samples.

    L_s = E log 1/s sum_j p(x, z_j) / q(z_j),   z_j ~ q
    ELBO = L_1 <= L_2 <= ... <= log p(x)

    The expectation is over keys: `vmap` over split keys, and average. A draw has a
    gradient in a Gaussian q, as its z moves with it (S32); in an enumerable q not.

    Args:
        key: a typed key; every point draws its own z.
        log_joint: as `elbo`.
        q: as `elbo`; a Gaussian may have any dimension.
        num_samples: s, at least 1.

    Returns:
        `n` values or a scalar, in nats.

    Raises:
        ValueError: as `elbo`; or `num_samples` is below 1, or `key` is no key.

    Source: Burda et al. 2016, "Importance Weighted Autoencoders", theorem 1.
    """
    key, num_samples = _checks.key(key), _checks.count("num_samples", num_samples)
    if isinstance(q, Gaussian):
        z = gaussian.sample(key, q, num_samples)
        log_ratios = quadrature.evaluate(log_joint, z) - gaussian.log_prob(q, z)
    else:
        table = _table(log_joint, q)
        shape = (num_samples, len(table.mass))
        z = jax.random.categorical(key, jnp.log(table.mass), shape=shape)
        log_ratios = jnp.take_along_axis(table.log_joint - table.log_q, z.T, axis=1)
    return logsumexp(log_ratios, axis=-1) - jnp.log(num_samples)


def importance_weighted_bound_exact(
    log_joint: Float[Array, "n k"], q: Float[Array, "n k"], *, num_samples: int
) -> Float[Array, " n"]:
    """The bound L_s itself, by enumerating all k^s draws of an enumerable z.

    Args:
        log_joint: as `elbo`, an array.
        q: as `elbo`, an array.
        num_samples: s, with k^s at most 100000.

    Returns:
        `n` values, in nats.

    Raises:
        ValueError: as `importance_weighted_bound`; or k^s is too large.

    Source: Burda et al. 2016.
    """
    table = _table(log_joint, q)
    num_samples, k = _checks.count("num_samples", num_samples), table.mass.shape[1]
    if k**num_samples > 100_000:
        raise ValueError(
            f"num_samples: got {num_samples}, which makes {k}^{num_samples} draws, "
            "expected at most 100000; use importance_weighted_bound"
        )
    draws = np.array(list(itertools.product(range(k), repeat=num_samples)))
    log_ratios = (table.log_joint - table.log_q)[:, draws]
    values = logsumexp(log_ratios, axis=-1) - jnp.log(num_samples)
    return _expect(table.mass[:, draws].prod(axis=-1), values)


def _table(log_joint, q, num_nodes=None):
    if isinstance(q, Gaussian):
        return quadrature.tabulate(log_joint, q, num_nodes)
    log_joint = _checks.log_density("log_joint", log_joint, "n k")
    n, k = log_joint.shape
    q = _checks.simplex("q", q, "n k", n=n, k=k)
    return quadrature.Table(log_joint, _log(q), q)


@jax.jit  # one small program, where each operation alone would be compiled and kept
def _elbo(table):
    return _expect(table.mass, table.log_joint - table.log_q)


@jax.jit
def _gap(table):
    return logsumexp(table.log_joint + table.log_cell, axis=-1) - _elbo(table)


@jax.jit
def _decompositions(table, log_prior):
    log_joint, log_q, mass, log_cell, _ = table
    log_evidence = logsumexp(log_joint + log_cell, axis=-1)
    log_posterior = log_joint - log_evidence[..., None]
    return Decompositions(
        EnergyEntropy(_expect(mass, log_joint), -_expect(mass, log_q)),
        EvidenceKL(log_evidence, _expect(mass, log_q - log_posterior)),
        ReconstructionKL(
            _expect(mass, log_joint - log_prior), _expect(mass, log_q - log_prior)
        ),
    )


def _log(probabilities):
    """Log with 0 in place of -inf: what it is multiplied with is 0 there."""
    # NumPy where it can: two programs fewer for each new shape
    xp = jnp if isinstance(probabilities, jax.core.Tracer) else np
    probabilities = xp.asarray(probabilities)
    return xp.log(xp.where(probabilities > 0, probabilities, 1))


def _expect(mass, values):
    # 0 log 0 = 0; the choice comes first, so that no gradient meets 0 * -inf
    return (mass * jnp.where(mass > 0, values, 0)).sum(axis=-1)
