"""The limits of the machine: memory bandwidth, exp, and matrix products."""

import jax
import jax.numpy as jnp
import numpy as np
from measure import Row, by_turns

DTYPES = "float32", "float64"


def rates(quick=False):
    """Bytes read, exps and operations of a matrix product per second, by dtype."""
    return {
        (what, dtype): float(np.max(work / np.array(seconds)))
        for (what, dtype), (work, seconds) in _timed(quick).items()
    }


def rows(quick):
    units = {"read": "GB/s", "exp": "1e9/s", "product": "GFLOP/s"}
    for (what, dtype), (work, seconds) in _timed(quick).items():
        speeds = [work / t / 1e9 for t in seconds]
        yield Row("limits", f"{what}, {dtype}", speeds, unit=units[what])


def _timed(quick):
    timed = {}
    for dtype in DTYPES:
        with jax.enable_x64(dtype == "float64"):
            for what, (work, run) in _runs(dtype, 20 if quick else 1).items():
                times, _ = by_turns({what: run}, 2 if quick else 7)
                timed[what, dtype] = work, times[what][1:]
    return timed


def _runs(dtype, smaller):
    """The amount of work of each kind, and a function that does it on all cores."""
    key = jax.random.key(0)
    long = jnp.ones(2**27 // smaller // np.dtype(dtype).itemsize, dtype)
    # two vectors that stay in a core's own cache, one for each of two cores
    short = jax.random.normal(key, (2, 2**12), dtype)
    passes = 2**12 // smaller
    square = jax.random.normal(key, (2048 // min(smaller, 8),) * 2, dtype)

    @jax.jit
    def exps(x):
        return jax.lax.fori_loop(0, passes, lambda _, x: jnp.exp(-x), x)

    def run(function, *arguments):
        return lambda: jax.block_until_ready(function(*arguments))

    return {
        "read": (long.nbytes, run(jax.jit(jnp.sum), long)),
        "exp": (short.size * passes, run(exps, short)),
        "product": (2 * len(square) ** 3, run(jax.jit(jnp.matmul), square, square)),
    }
