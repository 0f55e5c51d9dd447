"""A first fit of few points in a new Python, with all imports counted on both sides."""

import tempfile

import numpy as np
from measure import Row, in_fresh_python

POINTS = """
import json, sys, time
import numpy as np
rng = np.random.default_rng(0)
x = rng.normal(size=(1000, 2)) + 4 * rng.integers(2, size=(1000, 1))
x = x.astype(np.float32)
means = x[:3]
begin = time.perf_counter()
"""

# How long it takes to import, to fit, and to fit again.
OURS = """
import jax
if "notebook" in sys.argv:
    from helpers import course
    course.start()
    jax.config.update("jax_enable_x64", False)
imported = time.perf_counter()
from helpers import em
from helpers.mixture import Mixture
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
imported = time.perf_counter()

def fit():
    GaussianMixture(
        3, covariance_type="spherical", tol=1e-6, weights_init=np.full(3, 1 / 3),
        means_init=means, precisions_init=np.ones(3),
    ).fit(x)

fit()
first = time.perf_counter()
fit()
print(json.dumps([imported - begin, first - imported, time.perf_counter() - first]))
"""


def rows(quick):
    with tempfile.TemporaryDirectory() as caches:
        kept = {"XDG_CACHE_HOME": caches}
        in_fresh_python(POINTS + OURS, "notebook", **kept)  # fills it
        turns = [
            (
                in_fresh_python(POINTS + OURS),
                in_fresh_python(POINTS + OURS, "notebook", COURSE_CACHE="off"),
                in_fresh_python(POINTS + OURS, "notebook", **kept),
                in_fresh_python(POINTS + THEIRS),
            )
            for _ in range(2 if quick else 5)
        ]
    *ours, theirs = np.transpose(turns, (1, 2, 0))
    part = "cold start: imports and one fit, N=1e3 D=2 K=3"
    cases = (
        "nothing compiled before",
        "as the notebooks begin, first run",
        "as the notebooks begin, run again",
    )
    for case, seen in zip(cases, ours, strict=True):
        yield Row(
            part,
            case,
            ours=(seen[0] + seen[1]).tolist(),
            peer="scikit-learn",
            theirs=(theirs[0] + theirs[1]).tolist(),
            note=f"{_in_words(seen)}; theirs {_in_words(theirs)}",
        )
    # The floor is about the time itself, not the ratio.
    yield Row(
        part,
        "beyond what is imported first, as the notebooks begin, first run",
        ours=ours[1][1].tolist(),
        floor=0.150,
        aim=0.150,
    )


def _in_words(seconds):
    imports, first, second = 1e3 * np.median(seconds, axis=1)
    return f"imports {imports:.0f} ms, first fit {first:.0f}, second {second:.1f}"
