"""Integrals over z by the trapezoidal rule: exact values to compare estimates with.

If the integrand is smooth and vanishes at both ends, the error of the rule decreases
exponentially with the number of nodes (Trefethen and Weideman 2014), so these integrals
are exact up to rounding. Each one is compared with the same rule on every other node.

Every function raises a ValueError if a shape does not fit, a number is not finite, a
variance is not above 0, the number of nodes is even or below 3, or there are too few
nodes or they do not reach far enough.
"""

import functools
from collections.abc import Callable
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp
from jaxtyping import Array, Float

from helpers import _checks, gaussian
from helpers._checks import checked, is_traced
from helpers.gaussian import Gaussian

__all__ = [
    "Z_MAX",
    "Integral",
    "LogTable",
    "log_integral",
    "tabulate",
    "values_on",
]

# Every grid reaches at least from -Z_MAX to Z_MAX: beyond it the prior N(0, 1) has a
# probability of only 2e-23.
Z_MAX = 10.0
# The number of nodes per axis, by the dimension of z.
NUM_NODES = {1: 2001, 2: 401}


def odd(name, value):
    """Return a number of nodes that is odd, so that every other node is a rule too."""
    value = _checks.count(name, value, low=3)
    if value % 2 == 0:
        raise ValueError(f"{name}: got {value}, expected an odd number")
    return value


NumNodes = Annotated[int, odd]


class Integral(NamedTuple):
    """The log of an integral, and how much it changes if half the nodes are omitted."""

    log_value: Float[Array, " n"]
    change: Float[Array, " n"]


@checked
def log_integral(
    log_heights: Annotated[Float[Array, "n s"], _checks.log_density],
    spacing: _checks.Positive,
) -> Integral:
    """Log of an integral, from the log of the integrand at evenly spaced nodes.

    log integral f(z) dz = log sum_s f(z_s) + log spacing

    The trapezoidal rule would give the two end points half weight. That makes no
    difference here, since the integrand vanishes there.

    Args:
        log_heights: log f at the nodes, `n s`: one integral per row.
        spacing: the distance between neighbouring nodes.

    Returns:
        Integral, `n` values each.

    Source: Trefethen and Weideman 2014, section 2.
    """
    every = logsumexp(log_heights, axis=1) + jnp.log(spacing)
    every_other = logsumexp(log_heights[:, ::2], axis=1) + jnp.log(2 * spacing)
    return Integral(every, jnp.abs(every - every_other))


@jax.jit
def log_mean_exp(log_values):
    """Log of the mean over the last axis: log 1/s sum_j exp(log_values_j).

    With log_values_j = log p(x, z_j) / q(z_j) and z_j ~ q it is the importance-weighted
    estimate of log p(x), which needs samples where `log_integral` needs a grid.
    """
    return logsumexp(log_values, axis=-1) - jnp.log(log_values.shape[-1])


class LogTable(NamedTuple):
    """A model and a Gaussian q on a grid of z, as if z could only be in `s` cells.

    On a fine grid, a smooth density becomes a table of probabilities: q(z) times the
    volume of a cell. The density p(x, z) is multiplied by the same volume, so every
    formula for probabilities holds for the table. The volume cancels in the bound; the
    entropy and the energy on their own need `log_cell` to become those of densities.
    """

    log_joint: Float[Array, " s"]
    q: Float[Array, " s"]
    log_cell: Float[Array, ""]
    z: Float[Array, "s m"]


def tabulate(
    log_joint: Callable[[Array], Array], q: Gaussian, *, num_nodes: int | None = None
) -> LogTable:
    """Tabulate log p(x, z) and a Gaussian q on a grid around q and the prior.

    Args:
        log_joint: from z `s m` to `s` values of log p(x, z), for one x.
        q: a Gaussian over a z of one or two dimensions.
        num_nodes: number of nodes per axis, odd; if None, 2001 for one dimension and
            401 for two.

    Returns:
        LogTable, whose sums equal the integrals up to rounding.
    """
    _checks.function("log_joint", log_joint)
    q = _checks.reader(Gaussian)("q", q, {})
    m = len(q.mean)
    if m not in NUM_NODES:
        raise ValueError(
            f"q.mean: got {m} dimensions, expected one or two for a grid; use "
            "importance_weighted_bound instead"
        )
    num_nodes = NUM_NODES[m] if num_nodes is None else odd("num_nodes", num_nodes)
    z, probabilities, log_cell = _gaussian_on_grid(q, num_nodes)
    log_cells = values_on(log_joint, z) + log_cell
    table = LogTable(log_cells, probabilities, log_cell, z)
    if not is_traced(table.q + table.log_joint):
        _check(table, (num_nodes,) * m)
    return table


@functools.partial(jax.jit, static_argnums=1)
def _gaussian_on_grid(q, num_nodes):
    reach = jnp.maximum(Z_MAX, jnp.abs(q.mean) + 10 * jnp.sqrt(q.variance))
    # The integral does not depend on where the grid ends, so it needs no gradient.
    reach = jax.lax.stop_gradient(reach)
    axes = reach[:, None] * jnp.linspace(-1, 1, num_nodes, dtype=reach.dtype)[None, :]
    z = jnp.stack(jnp.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(reach))
    log_cell = jnp.log(2 * reach / (num_nodes - 1)).sum()
    log_q = gaussian.log_prob(q, z) + log_cell
    # A probability below the smallest float is set to 0; its log has no useful slope.
    least = jnp.log(jnp.finfo(log_q.dtype).tiny)
    return z, jnp.where(log_q > least, jnp.exp(log_q), 0), log_cell


def values_on(log_joint: Callable[[Array], Array], z: Float[Array, "s m"]) -> Array:
    """Evaluate the model's log joint at each z, and check what it returns.

    Args:
        log_joint: from z `s m` to `s` values, -inf where the density is 0.
        z: `s m`.

    Returns:
        `s` values, in nats.
    """
    return _checks.log_density("log_joint(z)", log_joint(z), "s", s=len(z))


def _check(table, shape):
    """Raise unless half the nodes give the same integrals, and nothing is cut off."""
    tolerance = np.sqrt(jnp.finfo(table.q.dtype).eps)
    log_joint, q = np.asarray(table.log_joint, float), np.asarray(table.q, float)
    joint = np.exp(log_joint - log_joint.max())
    edge = np.pad(np.zeros([size - 2 for size in shape], bool), 1, constant_values=True)
    cut = joint[edge.ravel()].max()
    if cut > tolerance:
        raise ValueError(
            f"log_joint: got a p(x, z) that is still {cut:.1e} of its maximum at the "
            "edge of the grid, expected a density that vanishes there; rescale z"
        )
    # Densities are compared, because the energy must not depend on the size of a cell.
    log_density = np.where(q > 0, log_joint - float(table.log_cell), 0)
    energy = q * log_density
    every_other = (slice(None, None, 2),) * len(shape)
    for what, cells in ("q(z)", q), ("p(x, z)", joint), ("E_q log p(x, z)", energy):
        fine, coarse = cells.sum(), cells.reshape(shape)[every_other].sum()
        error = abs(coarse * 2 ** len(shape) - fine) / (1 + abs(fine))
        if not error <= tolerance:
            raise ValueError(
                f"num_nodes: got {shape[0]}, which is too few for {what}: with half as "
                f"many, its integral changes by a relative {error:.1e}; use more nodes"
            )
