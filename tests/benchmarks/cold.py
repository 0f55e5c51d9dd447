"""A first fit of few points, in a Python that has only just imported JAX."""

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
import jax
begin = time.perf_counter()
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
    pairs = [
        (in_fresh_python(POINTS + OURS), in_fresh_python(POINTS + THEIRS))
        for _ in range(2 if quick else 7)
    ]
    imports, firsts, seconds = zip(*[ours for ours, _ in pairs], strict=True)
    common = {"part": "cold start, N=1e3 D=2 K=3", "floor": 0.150, "aim": 0.150}
    theirs = [seconds for _, (seconds,) in pairs]
    yield Row(
        case="em.fit beyond the import of JAX, helpers imported too",
        ours=[sum(each) for each in zip(imports, firsts, strict=True)],
        note=f"of it, importing helpers {1e3 * min(imports):.0f} ms at least; a second "
        f"fit {1e3 * min(seconds):.1f} ms; scikit-learn's first "
        f"{1e3 * min(theirs):.0f} ms",
        **common,
    )
