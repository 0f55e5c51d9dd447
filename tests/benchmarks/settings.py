"""EM on many points under the notebooks' compiler settings, against JAX's defaults.

XLA reads its flags once, so each fit runs in a Python of its own.
"""

import numpy as np
from measure import Row, in_fresh_python

FIT = """
import json, sys, time
import jax
import numpy as np
from helpers import course, em
from helpers.mixture import Mixture

n, kind, num_steps = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
setting = sys.argv[4]
if setting == "notebooks":
    course.for_small_problems()
jax.config.update("jax_enable_x64", True)
rng = np.random.default_rng(0)
x = jax.numpy.asarray(rng.normal(size=(n, 2)) + 4 * rng.integers(2, size=(n, 1)))
shape = np.ones(3) if kind == "spherical" else np.tile(np.eye(2), (3, 1, 1))
start = Mixture(np.full(3, 1 / 3), np.asarray(x[:3]), shape)
seconds = []
for _ in range(4):
    begin = time.perf_counter()
    result = jax.block_until_ready(em.fit(start, x, num_steps=num_steps, tol=0.0))
    seconds.append(time.perf_counter() - begin)
print(json.dumps([seconds[0], min(seconds[1:]), float(result.log_likelihoods[-1])]))
"""


def rows(quick):
    n = 1000 if quick else 100_000
    num_steps = 5 if quick else 100
    for kind in "spherical", "full":
        turns = [
            [
                in_fresh_python(FIT, n, kind, num_steps, setting)
                for setting in ("notebooks", "defaults")
            ]
            for _ in range(1 if quick else 5)
        ]
        ours, theirs = np.transpose(turns, (1, 2, 0))
        gap = np.abs(ours[2] - theirs[2]).max() / np.abs(theirs[2]).max()
        yield Row(
            part="EM under the notebooks' settings, one fit",
            case=f"N={n:.0e} D=2 K=3 {kind} float64, {num_steps} steps",
            ours=ours[1].tolist(),
            peer="JAX's defaults",
            theirs=theirs[1].tolist(),
            first=(np.median(ours[0]), np.median(theirs[0])),
            floor=1 / 1.2,
            aim=1.0,
            wrong="" if gap < 1e-9 else f"log-likelihoods apart by {gap:.0e}",
        )
