"""A model and a Gaussian q over z, tabulated on a grid.

By the trapezoidal rule: for smooth integrands that vanish at both ends its error falls
exponentially in the number of nodes (Trefethen and Weideman 2014), so that sums over
the table are integrals to rounding. The table checks this of itself.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from helpers import _checks, gaussian
from helpers.gaussian import Gaussian

# The least half-width, beyond which the prior has 2e-23 of its mass, and the nodes of
# an axis by dimension.
Z_MAX = 10.0
NUM_NODES = {1: 2001, 2: 401}


class Table(NamedTuple):
    """A model and a q, value by value of z along the last axis.

    Mass is q(z) times the cell that z stands for; an enumerated z has a cell of 1.
    """

    log_joint: Array
    log_q: Array
    mass: Array
    log_cell: Array | float = 0.0
    z: Array | None = None


def tabulate(log_joint, q, num_nodes):
    """Evaluate a function z `s m` -> log p(x, z) `s` and a q on a grid around both."""
    mean = _checks.as_array("q.mean", q.mean, "m")
    variance = _checks.positive("q.variance", q.variance, "", "m", m=len(mean))
    if len(mean) not in NUM_NODES:
        raise ValueError(
            f"q.mean: got {len(mean)} dimensions, expected one or two for a grid; use "
            "importance_weighted_bound"
        )
    num_nodes = NUM_NODES[len(mean)] if num_nodes is None else num_nodes
    num_nodes = _checks.count("num_nodes", num_nodes, low=3)
    if num_nodes % 2 == 0:
        raise ValueError(f"num_nodes: got {num_nodes}, expected an odd number")
    z, log_q, mass, log_cell = _density_on_grid(Gaussian(mean, variance), num_nodes)
    table = Table(evaluate(log_joint, z), log_q, mass, log_cell, z)
    if not isinstance(table.mass + table.log_joint, jax.core.Tracer):
        _check(table, (num_nodes,) * len(mean))
    return table


@partial(jax.jit, static_argnums=1)
def _density_on_grid(q, num_nodes):
    reach = jnp.maximum(Z_MAX, jnp.abs(q.mean) + 10 * jnp.sqrt(q.variance))
    # the integral does not depend on the grid, so no gradient goes through it
    reach = jax.lax.stop_gradient(reach)
    axes = reach[:, None] * jnp.linspace(-1, 1, num_nodes, dtype=reach.dtype)[None, :]
    z = jnp.stack(jnp.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(reach))
    log_q = gaussian.log_prob(q, z)
    log_cell = jnp.log(2 * reach / (num_nodes - 1)).sum()
    return z, log_q, jnp.exp(log_q + log_cell), log_cell


def _check(table, shape):
    """Raise unless every other node gives the same, and nothing is cut off."""
    tolerance = np.sqrt(jnp.finfo(table.mass.dtype).eps)
    log_joint, mass = (
        np.asarray(leaf, float) for leaf in (table.log_joint, table.mass)
    )
    joint = np.exp(log_joint - log_joint.max())
    edge = np.pad(np.zeros([size - 2 for size in shape], bool), 1, constant_values=True)
    cut = joint[edge.ravel()].max()
    if cut > tolerance:
        raise ValueError(
            f"log_joint: got p(x, z) still {cut:.1e} of its peak at the grid's edge, "
            "expected a density that vanishes there; rescale z"
        )
    energy = np.where(mass > 0, mass * log_joint, 0)
    every_other = (slice(None, None, 2),) * len(shape)
    for what, cells in ("q(z)", mass), ("p(x, z)", joint), ("E_q log p(x, z)", energy):
        fine, coarse = cells.sum(), cells.reshape(shape)[every_other].sum()
        error = abs(coarse * 2 ** len(shape) - fine) / (1 + abs(fine))
        if not error <= tolerance:
            raise ValueError(
                f"num_nodes: got {shape[0]}, too few for {what}: half as many change "
                f"its integral by {error:.1e} of itself; give more"
            )


def evaluate(log_joint, z):
    """The model's log joint at each z, checked."""
    return _checks.log_density("log_joint(z)", log_joint(z), "s", s=len(z))
