"""EM over points that stay on disk: the same steps, one piece in memory at a time."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from helpers._fast import climb as _climb
from helpers._fast import sufficient

# Bytes of points in memory at a time: large beside a read, small beside a machine.
PIECE = 2**22


def climb(params, x, tol, floor, floored, num_steps, chunk_size):
    """Run EM; the fields of an EMResult, in order."""
    dtype = jnp.result_type(x.dtype, *params)
    centre = jnp.asarray(_mean(x, params.means.shape[1]), dtype)
    params = jax.tree.map(lambda leaf: leaf.astype(dtype), params)
    params = params._replace(means=params.means - centre[None, :])
    chunk_size = chunk_size or sufficient.chunk_size_for(params)
    carry = _climb.beginning(params, len(params.weights), num_steps, dtype)
    while not carry[-1]:
        theta, total = _natural(carry[1]), 0.0
        for _, num_points, piece in _pieces(x, dtype):
            seen = _pass(theta, piece, num_points, centre, chunk_size)
            # in double precision, and before the next piece takes this one's place
            total += np.asarray(seen, float)
        carry = _step(carry, total.astype(dtype), tol * len(x), floor, floored)
    return jax.jit(_climb.fields)(*carry[:-1], centre)


def _mean(x, d):
    """The points' mean, in double precision; each point looked at, as an array's is."""
    if x.ndim != 2 or x.shape[1] != d:
        raise ValueError(f"x: got shape {x.shape}, expected (n, d) with d = {d}")
    if not np.issubdtype(x.dtype, np.floating):
        raise ValueError(f"x: got {x.dtype} on disk, expected floating numbers")
    total = np.zeros(d)
    for start, num_points, piece in _pieces(x, x.dtype):
        bad = np.argwhere(~np.isfinite(piece[:num_points]))
        if len(bad):
            where = int(bad[0, 0]) + start, int(bad[0, 1])
            raise ValueError(
                f"x: got {x[where]} at index {where}, expected finite numbers"
            )
        total += piece[:num_points].sum(axis=0, dtype=float)
    return total / len(x)


_natural = jax.jit(sufficient.natural)


@partial(jax.jit, static_argnums=4)
def _pass(theta, piece, num_points, centre, chunk_size):
    columns = sufficient.columns_around(centre, piece, num_points, chunk_size)
    return ravel_pytree(sufficient.expected_statistics(theta, columns))[0]


@partial(jax.jit, static_argnums=4)
def _step(carry, total, tol, floor, floored):
    seen = total[0], total[1:].reshape(len(carry[1].weights), -1)
    proposed = sufficient.maximise(seen[1], carry[1], floor if floored else None)
    collapsed = sufficient.collapsed(proposed, floor, floored)
    return _climb.advanced(carry, seen, proposed, collapsed, tol, floored)


def _pieces(x, dtype):
    """Where each piece starts and its number of points, which lead the one buffer."""
    rows = min(len(x), max(1, PIECE // (x.shape[1] * dtype.itemsize)))
    buffer = np.zeros((rows, x.shape[1]), dtype)
    for start in range(0, len(x), rows):
        piece = x[start : start + rows]
        buffer[: len(piece)] = piece
        yield start, len(piece), buffer
