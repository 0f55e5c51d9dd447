"""EM over points that stay on disk: the same steps, one piece in memory at a time."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from helpers import _checks
from helpers._fast import loop, sufficient

# Bytes of points in memory at a time: a read of this size is efficient, and any
# machine has room for it.
PIECE = 2**22


class Piece(NamedTuple):
    """Some of the points: the first rows of a buffer. The other rows are padding."""

    start: int
    num_points: int
    rows: np.ndarray


def run(params, x, limits, options):
    """Run EM, and return an EMResult, as `loop.run` does."""
    if loop.inside_another_program():
        # The loop below is a Python loop, so it cannot be part of that program.
        with jax.ensure_compile_time_eval():
            return _python_loop(params, x, limits, options)
    return _python_loop(params, x, limits, options)


def _python_loop(params, x, limits, options):
    centre = _mean(x, len(params.weights))
    dtype = jnp.result_type(_dtype_of(x), *params)
    centre = jnp.asarray(centre, dtype)
    params, limits = jax.tree.map(
        lambda leaf: jnp.asarray(leaf, dtype), (params, limits)
    )
    start = _components_of(params, centre)
    chunk_size = options.chunk_size or sufficient.chunk_size_for(params)
    limits = limits._replace(tol=limits.tol * len(x))
    now = loop.beginning(start, options)
    while not now.stop:
        total = 0.0
        for piece in _pieces(x, dtype):
            sums = _sums_of(
                now.components, piece.rows, piece.num_points, centre, chunk_size
            )
            flat, as_sums = ravel_pytree(sums)
            # in double precision, and before the buffer is used for the next piece
            total = total + np.asarray(flat, float)
        sums = as_sums(jnp.asarray(total.astype(dtype)))
        now = _after_step(now, sums, limits, options)
    return _outcome(now, centre)


_components_of = jax.jit(sufficient.components_of)
_after_step = jax.jit(loop.after_step, static_argnums=3)
_outcome = jax.jit(loop.outcome)


@partial(jax.jit, static_argnums=4)
def _sums_of(components, rows, num_points, centre, chunk_size):
    chunks = sufficient.columns_around(centre, rows, num_points, chunk_size)
    features_of = sufficient.features_for(components)
    points = sufficient.Points(chunks, features_of, centre)
    return sufficient.sums(components, points)


def points_on_disk(name, x, **sizes):
    """Return points on disk if they meet the same conditions as points in memory."""
    d = sizes.get("d", x.shape[-1])
    if x.ndim != 2 or x.shape[1] != d:
        raise ValueError(f"{name}: got shape {x.shape}, expected (n, d) with d = {d}")
    # One row is enough to check the dtype; the values are checked piece by piece.
    _checks.as_array(name, np.nan_to_num(x[:1]), "n d")
    return x


def _dtype_of(x):
    """The dtype that these points would have in memory."""
    single = x.dtype.kind == "f" and x.dtype.itemsize <= 4
    return jnp.dtype(jnp.float32) if single else jnp.dtype(jnp.zeros(0).dtype)


def _mean(x, num_components):
    """The mean of the points, in double precision. This pass also checks each point."""
    dtype, total = _dtype_of(x), np.zeros(x.shape[1])
    first = np.nan_to_num(np.asarray(x[0], float))
    low, high = np.full((2, x.shape[1]), [[np.inf], [-np.inf]])
    for piece in _pieces(x, np.dtype(float)):
        rows = piece.rows[: piece.num_points]
        _finite("x", rows, piece.start, dtype)
        low = np.minimum(low, rows.min(axis=0))
        high = np.maximum(high, rows.max(axis=0))
        # A sum of large numbers loses digits; a sum of their differences hardly does.
        total += (rows - first[None, :]).sum(axis=0)
    if dtype == jnp.float32:
        _checks.told_apart("x", low, high)
    rows = (piece.rows[: piece.num_points] for piece in _pieces(x, dtype))
    _checks.at_least_distinct("x", x, num_components, rows)
    return first + total / len(x)


def _finite(name, rows, start, dtype):
    bad = np.argwhere(~(np.abs(rows) <= jnp.finfo(dtype).max))
    if len(bad):
        row, column = map(int, bad[0])
        came = rows[row, column]
        expected = "finite numbers"
        if np.isfinite(came):
            expected = "numbers that float32 can hold, up to 3.4e38"
        raise ValueError(
            f"{name}: got {came:.4g} at index {(start + row, column)}, expected "
            f"{expected}"
        )


def _pieces(x, dtype):
    """Yield the points piece by piece, each in the same buffer."""
    num_rows = min(len(x), max(1, PIECE // (x.shape[1] * dtype.itemsize)))
    buffer = np.zeros((num_rows, x.shape[1]), dtype)
    for start in range(0, len(x), num_rows):
        piece = x[start : start + num_rows]
        buffer[: len(piece)] = piece
        yield Piece(start, len(piece), buffer)
