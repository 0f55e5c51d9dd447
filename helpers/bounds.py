"""The evidence lower bound: what any q(z) says about log p(x) (S13 to S17, S22 to S24).

A model comes in as its log joint, so no model is imported:

- where z can be enumerated, `log_joint` is the array `n k` of log p(x_i, z=k), -inf
  where p is 0, and `q` an array `n k` of probabilities, each row summing to 1: one
  value per point comes back;
- where it cannot, `log_joint` is a function from z `s m` to the `s` values log p(x, z)
  of one x, and `q` a Gaussian over z: a scalar comes back. A Gaussian of one or two
  dimensions is laid on a grid, where a smooth density is a table of probabilities, to
  rounding: this case becomes the first one, and the formulas below hold for both. The
  keyword `num_nodes` says how many nodes each axis has, see `quadrature.tabulate`.

Every function raises a ValueError where a shape does not fit, a number is not finite, q
is not on the simplex, p(x, z) is 0 for every z, a count is below 1, `key` is not a
typed key, a grid would need more than two dimensions, or a grid is too coarse or too
short for this model and this q.
"""

import functools
import inspect
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


MODEL = _checks.reader(Annotated[Float[Array, "n k"], _checks.log_density])
PROBABILITIES = _checks.reader(Annotated[Float[Array, "n k"], _checks.simplex])
PRIOR = _checks.reader(Annotated[Float[Array, " k"], _checks.simplex])
DENSITY = _checks.reader(Gaussian)


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


def for_any_z(formula):
    """Check the arguments, lay a Gaussian q on a grid, and compile the formula.

    So a formula that is written for a z that can be enumerated holds for both kinds.
    """
    compiled = jax.jit(formula)

    @functools.wraps(formula)
    def of_model_and_q(log_joint, q=None, *, num_nodes=None):
        table = _enumerated(log_joint, q, num_nodes)
        return compiled(table.log_joint, table.q)

    signature = inspect.signature(formula)
    option = inspect.Parameter(
        "num_nodes", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=int | None
    )
    of_model_and_q.__signature__ = signature.replace(
        parameters=[*signature.parameters.values(), option]
    )
    return of_model_and_q


@for_any_z
def elbo(log_joint: LogJoint, q: Q) -> Value:
    """Evidence lower bound of each point, for any q (S13, S14, S22).

    ELBO(x; q) = E_q log [p(x, z) / q(z)] = sum_z q(z) log [p(x, z) / q(z)] <= log p(x)

    A q of 0 contributes exactly 0; its gradient, infinite in truth, is given as 0.

    Args:
        log_joint: `n k` values, -inf where p is 0; or the function of one x.
        q: `n k` probabilities, each row summing to 1; or a Gaussian over a z of one or
            two dimensions.
        num_nodes: nodes of the grid on each axis, odd; 2001 for one dimension and 401
            for two if None.

    Returns:
        `n` values (their sum is the bound of S17) or a scalar, in nats.

    Source: deck, "Evidence Lower Bound"; Jordan et al. 1999.
    """
    return expectation(q, log_joint - log(q))


@for_any_z
def gap(log_joint: LogJoint, q: Q) -> Value:
    """How far the bound lies below log p(x): 0 only for the posterior (S15, S16).

    gap = log p(x) - ELBO(x; q),   log p(x) = log sum_z p(x, z)

    Args:
        log_joint: as `elbo`.
        q: as `elbo`.
        num_nodes: as `elbo`.

    Returns:
        `n` values or a scalar, in nats, at least 0 up to rounding.

    Source: deck, "Evidence Lower Bound".
    """
    log_evidence = logsumexp(log_joint, axis=-1)
    return log_evidence - expectation(q, log_joint - log(q))


def decompositions(
    log_joint: LogJoint,
    q: Q,
    prior: Float[Array, " k"] | Gaussian,
    *,
    num_nodes: int | None = None,
) -> Decompositions:
    """The bound's three forms, each term summed on its own (S22, S23, S24).

    ELBO = E_q log p(x, z) + H(q)                 `energy_entropy`
         = log p(x) - KL(q, p(z given x))         `evidence_kl`, (1), the E-step's
         = E_q log p(x given z) - KL(q, p(z))     `reconstruction_kl`, (2), the M-step's

    Args:
        log_joint: as `elbo`.
        q: as `elbo`.
        prior: p(z) as `k` probabilities (a mixture's weights), or as a Gaussian.
        num_nodes: as `elbo`.

    Returns:
        Decompositions, each term `n` values or a scalar, in nats. The entropy of a
        density, unlike that of probabilities, may be negative.

    Raises:
        ValueError: besides the above, the prior is not on the simplex, or is 0 where q
            is not, so that log p(x given z) cannot be told from the joint.

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

    On a grid both are of densities: probabilities divided by the volume of a cell.
    """
    energy = expectation(q, log_joint - log_cell)
    entropy = -expectation(q, log(q) - log_cell)
    return EnergyEntropy(energy, entropy)


@jax.jit
def evidence_kl(log_joint, q):
    """ELBO = log p(x) - KL(q, p(z given x)),   p(z given x) = p(x, z) / p(x) (S23)."""
    log_evidence = logsumexp(log_joint, axis=-1)
    log_posterior = log_joint - log_evidence[..., None]
    return EvidenceKL(log_evidence, expectation(q, log(q) - log_posterior))


@jax.jit
def reconstruction_kl(log_joint, q, log_prior):
    """ELBO = E_q log p(x given z) - KL(q, p(z)) (S24).

    p(x given z) = p(x, z) / p(z)
    """
    log_likelihood = log_joint - log_prior
    kl_from_prior = expectation(q, log(q) - log_prior)
    return ReconstructionKL(expectation(q, log_likelihood), kl_from_prior)


def importance_weighted_bound(
    key: Key[Array, ""], log_joint: LogJoint, q: Q, *, num_samples: int
) -> Value:
    """One unbiased draw of the bound that tightens with its number of samples.

    L_s = E log 1/s sum_j p(x, z_j) / q(z_j),   z_j ~ q
    ELBO = L_1 <= L_2 <= ... <= log p(x)

    The expectation is over keys: `vmap` over split keys, and average. A draw has a
    gradient in a Gaussian q, since its z moves with q (S32), but none in an enumerable
    one.

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
        log_ratios = jnp.take_along_axis(log_joint - log(q), z.T, axis=1)
    return log_mean_exp(log_ratios)


def importance_weighted_bound_exact(
    log_joint: Float[Array, "n k"], q: Float[Array, "n k"], *, num_samples: int
) -> Float[Array, " n"]:
    """The bound L_s itself, by enumerating all k^s draws of an enumerable z.

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
            "expected at most 100000; use importance_weighted_bound"
        )
    draws = np.array(list(itertools.product(range(k), repeat=num_samples)))
    log_ratios = (log_joint - log(q))[:, draws]
    probabilities = q[:, draws].prod(axis=-1)
    return expectation(probabilities, log_mean_exp(log_ratios))


def _enumerated(log_joint, q, num_nodes=None):
    """A model and a q as arrays over the values of z, or over the cells of a grid."""
    if isinstance(q, Gaussian):
        return quadrature.tabulate(log_joint, q, num_nodes=num_nodes)
    if callable(log_joint):
        raise ValueError(
            f"q: got {type(q).__name__}, expected a Gaussian(mean, variance), since "
            "log_joint is a function of z"
        )
    sizes = {}
    log_joint = MODEL("log_joint", log_joint, sizes)
    q = PROBABILITIES("q", q, sizes)
    return quadrature.LogTable(log_joint, q, log_cell=0.0, z=None)


def _log_prior(prior, table):
    if table.z is not None:
        prior = DENSITY("prior", prior, {"d": table.z.shape[1]})
        return gaussian.log_prob(prior, table.z) + table.log_cell
    prior = PRIOR("prior", prior, {"k": table.q.shape[1]})
    if not (is_traced(prior) or is_traced(table.q)):
        without = np.asarray(prior) == 0
        if np.any(np.asarray(table.q)[:, without]):
            raise ValueError("prior: got 0 where q is not, expected entries above 0")
    return log(prior)[None, :]


def expectation(q, values):
    """E_q of the values, where a q of 0 contributes 0 even to -inf."""
    # the choice comes first, so that no gradient meets 0 * -inf
    return (q * jnp.where(q > 0, values, 0)).sum(axis=-1)


def log(probabilities):
    """Log of probabilities, with 0 in place of -inf: it is multiplied by 0 there."""
    return jnp.log(jnp.where(probabilities > 0, probabilities, 1))


@jax.jit
def log_mean_exp(log_values):
    """Log of the mean over the last axis."""
    return logsumexp(log_values, axis=-1) - jnp.log(log_values.shape[-1])
