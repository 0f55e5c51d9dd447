"""Memory that a fit takes beyond its data, as the operating system counts it."""

from concurrent.futures import ThreadPoolExecutor

from measure import Row, in_fresh_python

# The fit before the one that is measured compiles, and takes what is taken once; what
# it freed goes back to the system first. Linux resets the greatest memory used so far
# when a 5 is written to clear_refs.
COUNT = """
import ctypes, gc, json, sys, time
from pathlib import Path

def used(field):
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024

def beyond(fit, first, x):
    fit(first)
    time.sleep(0.5)
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    held = used("VmRSS")
    fit(x)
    print(json.dumps(used("VmHWM") - held))

import numpy as np
n, d, kind = int(sys.argv[1]), 2, sys.argv[2]
rng = np.random.default_rng(0)
x = rng.normal(size=(n, d)).astype(np.float32)
x += 4 * rng.integers(2, size=(n, 1), dtype=np.int8)
"""

OURS = """
import jax, jax.numpy as jnp
from helpers import em, mixture
start = mixture.init_from_data(jax.random.key(0), x[:1000], 3, covariance_type=kind)
x = jnp.asarray(x)
beyond(lambda x: jax.block_until_ready(em.fit(start, x, num_steps=3, tol=0.0)), x, x)
"""

THEIRS = """
import warnings
warnings.simplefilter("ignore")
from sklearn.mixture import GaussianMixture
model = GaussianMixture(
    3, covariance_type=kind, max_iter=1, tol=0.0, weights_init=np.full(3, 1 / 3),
    means_init=x[:3], precisions_init=np.ones(3) if kind == "spherical" else
    np.tile(np.eye(2), (3, 1, 1)),
)
beyond(model.fit, x[:1000], x)  # a second step takes what the first does
"""


def rows(quick):
    with ThreadPoolExecutor(2) as pool:  # time is not measured here
        for kind in "spherical", "full":
            for n in (10**5,) if quick else (10**5, 10**6, 10**7):
                floor, aim = (10, 1) if n == 10**7 else (None, None)
                ours, theirs = pool.map(
                    lambda fit, n=n, kind=kind: in_fresh_python(COUNT + fit, n, kind),
                    (OURS, THEIRS),
                )
                size = f"data {n * 8 / 2**20:.3g} MiB"
                yield Row(
                    part="memory of a fit beyond its data",
                    case=f"N={n:.0e} D=2 K=3 {kind} float32, {size}",
                    ours=[ours],
                    unit="MiB",
                    floor=floor,
                    aim=aim,
                    note=f"scikit-learn {theirs:.0f} MiB",
                )
