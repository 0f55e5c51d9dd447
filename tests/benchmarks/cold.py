"""A first fit of few points, in a Python that has only just imported JAX."""

import tempfile

import numpy as np
from measure import Row, in_fresh_python

POINTS = """
import json, time
import numpy as np
rng = np.random.default_rng(0)
x = rng.normal(size=(1000, 2)) + 4 * rng.integers(2, size=(1000, 1))
x = x.astype(np.float32)
means = x[:3]
"""

OURS = """
import jax, sys
begin = time.perf_counter()
if "quick" in sys.argv:
    from helpers import course
    course.for_small_problems()
from helpers import em
from helpers.mixture import Mixture
imported = time.perf_counter()
start = Mixture(np.full(3, 1 / 3, np.float32), means, np.ones(3, np.float32))
jax.block_until_ready(em.fit(start, x, num_steps=100))
first = time.perf_counter()
jax.block_until_ready(em.fit(start, x, num_steps=100))
print(json.dumps([imported - begin, first - imported, time.perf_counter() - first]))
"""

THEIRS = """
from sklearn.mixture import GaussianMixture
import warnings
warnings.simplefilter("ignore")
begin = time.perf_counter()
GaussianMixture(
    3, covariance_type="spherical", tol=1e-6, weights_init=np.full(3, 1 / 3),
    means_init=means, precisions_init=np.ones(3),
).fit(x)
print(json.dumps([time.perf_counter() - begin]))
"""


def rows(quick):
    with tempfile.TemporaryDirectory() as folder:
        cached = {
            "JAX_COMPILATION_CACHE_DIR": folder,
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        }
        in_fresh_python(POINTS + OURS, **cached)
        turns = [
            (
                in_fresh_python(POINTS + OURS),
                in_fresh_python(POINTS + OURS, **cached),
                in_fresh_python(POINTS + OURS, "quick"),
                in_fresh_python(POINTS + THEIRS),
            )
            for _ in range(2 if quick else 5)
        ]
    ours, again, quickly, peers = zip(*turns, strict=True)
    theirs = [seconds for (seconds,) in peers]
    part = "cold start: helpers imported and one fit, N=1e3 D=2 K=3"
    for case, seen in (
        ("nothing compiled before", ours),
        ("JAX's compilation cache switched on, and filled by an earlier start", again),
        ("as the notebooks begin, with course.for_small_problems", quickly),
    ):
        imports, firsts, seconds = (np.median(each) for each in zip(*seen, strict=True))
        yield Row(
            part,
            case,
            ours=[importing + first for importing, first, _ in seen],
            peer="scikit-learn's fit",
            theirs=theirs,
            note=f"import {1e3 * imports:.0f} ms, first fit {1e3 * firsts:.0f} ms, "
            f"second {1e3 * seconds:.1f} ms",
        )
    # the floor is about the time itself, not the ratio
    yield Row(
        part,
        "beyond the import of JAX, as the notebooks begin",
        ours=[importing + first for importing, first, _ in quickly],
        floor=0.150,
        aim=0.150,
    )
