"""How time grows with N, K and D: the slope of its logarithm."""

import jax
import jax.numpy as jnp
import numpy as np
from measure import Row, by_turns
from mixtures import TYPES, problem

from helpers import em


def rows(quick):
    sweeps = {
        "N": [(n, 2, 3) for n in (10**3, 10**4, 10**5, 10**6)],
        "K": [(20_000, 2, k) for k in (4, 8, 16, 32, 64)],
        "D": [(20_000, d, 3) for d in (2, 4, 8, 16, 32)],
    }
    for kind in TYPES:
        for axis, sizes in sweeps.items():
            chosen = sizes[:2] if quick else sizes
            yield _swept(axis, chosen, kind, "float32", quick)


def _swept(axis, sizes, kind, dtype, quick):
    """The slope, fitted to the time per step in fits with equal work."""
    runs, steps = {}, {}
    for n, d, k in sizes:
        x, start = problem(n, d, k, kind, dtype)
        x = jnp.asarray(x)
        count = 10 if quick else int(np.clip(2e7 / (n * d * k), 10, 400))
        runs[n, d, k] = lambda x=x, start=start, count=count: jax.block_until_ready(
            em.fit(start, x, num_steps=count, tol=0.0)
        )
        steps[n, d, k] = count
    times, _ = by_turns(runs, 2 if quick else 5, seconds=5)
    medians = [np.median(times[size][1:]) / steps[size] for size in sizes]
    along = np.array([size["NDK".index(axis)] for size in sizes])
    slope = np.polyfit(np.log(along), np.log(medians), 1)[0]
    fixed = ", ".join(
        f"{name}={size}"
        for name, size in zip("NDK", sizes[0], strict=True)
        if name != axis
    )
    return Row(
        part="growth of a step's time",
        case=f"with {axis} from {along[0]} to {along[-1]}, {fixed}, {kind} {dtype}",
        ours=[float(slope)],
        unit=f"(slope: time grows as {axis} to this power)",
        note=", ".join(f"{t * 1e6:.3g}" for t in medians) + " µs",
    )
