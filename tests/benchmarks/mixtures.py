"""EM against scikit-learn and pomegranate: an iteration, a whole climb, 64 restarts."""

import warnings

import jax
import jax.numpy as jnp
import limits
import numpy as np
import torch
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from measure import TWO, both_ways, by_turns, rows_of
from pomegranate.distributions import Normal
from pomegranate.gmm import GeneralMixtureModel
from scipy.special import logsumexp
from scipy.stats import multivariate_normal
from sklearn.mixture import GaussianMixture

from helpers import em
from helpers.mixture import Mixture

# Before anything is computed; one device is used unless an array is spread over both.
jax.config.update("jax_num_cpu_devices", 2)

TYPES = "spherical", "full"
DTYPES = "float32", "float64"
# A selection of sizes that has each N, D and K, and N where the floors are.
SIZES = {
    "float32": (
        *((n, 2, 3) for n in (10**3, 10**4, 10**5, 10**6)),
        *((n, 16, 3) for n in (10**3, 10**4, 10**5)),
        *((10**5, 2, 16), (10**4, 16, 16), (10**4, 2, 64), (10**4, 16, 64)),
    ),
    "float64": (
        *((n, 2, 3) for n in (10**3, 10**5, 10**6)),
        *((10**4, 16, 3), (10**4, 16, 16), (10**4, 2, 64)),
    ),
}


def rows(quick):
    rates = limits.rates(quick)
    for dtype in DTYPES:
        with jax.enable_x64(dtype == "float64"):
            for n, d, k in [(500, 2, 3), (500, 16, 3)] if quick else SIZES[dtype]:
                for kind in TYPES:
                    jax.clear_caches()
                    yield from _iteration(n, d, k, kind, dtype, rates, quick)
            for kind in TYPES:
                # scikit-learn needs a minute for five climbs of 10^4 in 16 dimensions
                climbs = [(500, 2, 3)] if quick else [(10**4, 2, 3), (2000, 16, 16)]
                for n, d, k in climbs:
                    jax.clear_caches()
                    yield from _climb(n, d, k, kind, dtype, quick)
                yield from _restarts(100 if quick else 1000, kind, dtype, quick)


def _iteration(n, d, k, kind, dtype, rates, quick):
    """The time of a fit divided by its steps, with all that a user waits for."""
    x, start = problem(n, d, k, kind, dtype)
    steps = int(np.clip(2e7 / (n * d * k), 10, 200))
    steps = 5 if quick else steps
    points = jnp.asarray(x)
    runs = {
        "em.fit": lambda: jax.block_until_ready(
            em.fit(start, points, num_steps=steps, tol=0.0)
        ),
        "scikit-learn": lambda: sklearn_fit(start, x, kind, steps),
    }
    # pomegranate loops over components in Python, and its weights are float32
    if dtype == "float32" and k == 3 and (d == 2 or n == 10**4):
        runs["pomegranate"] = lambda: pomegranate_fit(start, x, kind, steps)
    if quick or n >= 10**5:  # fewer points are not worth it
        halves = spread(points)
        runs["em.fit" + TWO] = lambda: jax.block_until_ready(
            em.fit(start, halves, num_steps=steps, tol=0.0)
        )
    times, results = by_turns(runs, 2 if quick else 9)
    limit = _limit(n, d, k, kind, dtype, rates)
    truth = _truth(results, start, x, kind, steps)
    for ours, case, peers in both_ways(times):
        share = limit * steps / np.median(peers[ours][1:])
        yield from rows_of(
            peers,
            per=steps,
            floors=floors(d, dtype),
            part="EM, an iteration",
            case=f"N={n:.0e} D={d} K={k} {kind} {dtype}{case}",
            note=f"machine's limit {limit * 1e6:.3g} µs: {share:.0%}",
            wrong=_wrong(results[ours][-1], truth, x),
        )


def spread(leaves):
    """The rows of arrays as halves on two devices."""
    mesh = jax.make_mesh((2,), ("rows",), axis_types=(AxisType.Auto,))
    return jax.device_put(leaves, NamedSharding(mesh, PartitionSpec("rows")))


def _climb(n, d, k, kind, dtype, quick):
    """A whole fit from one start, with the same tolerance for all libraries."""
    x, start = problem(n, d, k, kind, dtype)
    tol, steps, points = 1e-5, 1000, jnp.asarray(x)
    runs = {
        "em.fit": lambda: jax.block_until_ready(
            em.fit(start, points, num_steps=steps, tol=tol)
        ),
        "scikit-learn": lambda: sklearn_fit(start, x, kind, steps, tol),
    }
    if dtype == "float32" and k == 3:
        runs["pomegranate"] = lambda: pomegranate_fit(start, x, kind, steps, tol)
    times, results = by_turns(runs, 2 if quick else 5)
    ours, theirs = results["em.fit"][-1], results["scikit-learn"][-1]
    yield from rows_of(
        times,
        part="EM, to equal log-likelihood",
        case=f"N={n:.0e} D={d} K={k} {kind} {dtype}",
        note=f"steps: {ours.num_steps}, scikit-learn {theirs.n_iter_}",
        wrong=_wrong(ours, _truth(results, start, x, kind, steps, tol), x, tol),
    )


def _restarts(n, kind, dtype, quick):
    """All starts in one program, against one fit after another."""
    num_starts, steps = (4, 5) if quick else (64, 100)
    x, _ = problem(n, 2, 3, kind, dtype)
    starts = [problem(n, 2, 3, kind, dtype, seed)[1] for seed in range(num_starts)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *starts)
    points = jnp.asarray(x)
    halves = spread(stacked)
    # the points themselves are on both devices
    mesh = halves.means.sharding.mesh
    copies = jax.device_put(points, NamedSharding(mesh, PartitionSpec()))

    def together(starts, points):
        fit = jax.vmap(lambda start: em.fit(start, points, num_steps=steps, tol=0.0))
        return jax.block_until_ready(fit(starts))

    runs = {
        "em.fit": lambda: together(stacked, points),
        "em.fit" + TWO: lambda: together(halves, copies),
        "scikit-learn": lambda: [
            sklearn_fit(start, x, kind, steps) for start in starts
        ],
    }
    times, results = by_turns(runs, 2 if quick else 5)
    theirs = [log_likelihood(*params_of(m), x) for m in results["scikit-learn"][-1]]
    for way, case, peers in both_ways(times):
        every = jax.tree.map(np.asarray, results[way][-1].params)
        ours = [log_likelihood(*each, x) for each in zip(*every, strict=True)]
        yield from rows_of(
            peers,
            floors={"scikit-learn": (40, 80)},
            part="EM, restarts",
            case=f"{num_starts} of {steps} steps, N={n} D=2 K=3 {kind} {dtype}{case}",
            wrong=_apart(np.median(ours), np.median(theirs), 1e-4)
            or _apart(max(ours), max(theirs), 1e-4),
        )


def problem(n, d, k, kind, dtype, seed=0):
    """Points from K overlapping Gaussians, and a start on K of them."""
    rng = np.random.default_rng([n, d, k])
    centres = 2 * rng.normal(size=(k, d))
    x = (centres[rng.integers(k, size=n)] + rng.normal(size=(n, d))).astype(dtype)
    means = x[np.random.default_rng(seed).choice(n, k, replace=False)]
    shape = np.ones(k) if kind == "spherical" else np.tile(np.eye(d), (k, 1, 1))
    start = np.full(k, 1 / k), means, x.var() * shape
    return x, Mixture(*(jnp.asarray(each, dtype) for each in start))


def sklearn_fit(start, x, kind, steps, tol=0.0):
    weights, means, covariances = map(np.asarray, start)
    precisions = (
        1 / covariances if covariances.ndim == 1 else np.linalg.inv(covariances)
    )
    model = GaussianMixture(
        len(weights),
        covariance_type=kind,
        max_iter=steps,
        tol=tol,
        reg_covar=0.0,
        weights_init=weights,
        means_init=means,
        precisions_init=precisions,
    )
    with warnings.catch_warnings():
        # that it has not converged after so many steps
        warnings.simplefilter("ignore")
        return model.fit(x)


def pomegranate_fit(start, x, kind, steps, tol=None):
    normals = [
        Normal(
            torch.tensor(np.asarray(mean)),
            # pomegranate keeps a spherical covariance as one variance a dimension
            torch.tensor(
                covariance if kind == "full" else np.full(len(mean), covariance)
            ),
            covariance_type={"full": "full", "spherical": "sphere"}[kind],
        )
        for mean, covariance in zip(*map(np.asarray, start[1:]), strict=True)
    ]
    model = GeneralMixtureModel(
        normals,
        priors=torch.tensor(np.asarray(start.weights)),
        max_iter=steps,
        tol=-np.inf if tol is None else tol * len(x),
    )
    return model.fit(torch.from_numpy(x))


def params_of(result):
    """Weights, means and covariances from the result of any library."""
    if isinstance(result, em.EMResult):
        return tuple(map(np.asarray, result.params))
    if isinstance(result, GaussianMixture):
        return result.weights_, result.means_, result.covariances_
    covariances = [normal.covs.numpy() for normal in result.distributions]
    means = np.stack([normal.means.numpy() for normal in result.distributions])
    return result.priors.numpy(), means, np.stack(covariances)


def log_likelihood(weights, means, covariances, x):
    """Mean over points, in nats and in double precision, by SciPy: the same judge."""
    weights = np.asarray(weights, float)
    weights = weights / weights.sum()
    terms = [
        multivariate_normal(np.asarray(mean, float), covariance).logpdf(x[:20_000])
        for mean, covariance in zip(means, covariances, strict=True)
    ]
    return logsumexp(terms, b=weights[:, None], axis=0).mean()


def floors(d, dtype):
    if dtype == "float32":
        sklearn = (20, 45) if d == 2 else (8, 15)
        return {
            "scikit-learn": sklearn,
            **({"pomegranate": (10, 30)} if d == 2 else {}),
        }
    return {"scikit-learn": (10, 15) if d == 2 else (5, 8)}


def _truth(results, start, x, kind, steps, tol=0.0):
    """Mean log-likelihood that scikit-learn reaches in double precision.

    In single precision scikit-learn itself is off by 3e-4 at a million points.
    """
    model = results["scikit-learn"][-1]
    if x.dtype != np.float64:
        weights, *others = (np.asarray(leaf, float) for leaf in start)
        # in double precision, K rounded weights do not sum to 1
        double = Mixture(weights / weights.sum(), *others)
        model = sklearn_fit(double, x.astype(float), kind, steps, tol)
    return log_likelihood(*params_of(model), x)


def _wrong(result, truth, x, tol=0.0):
    """A message if our log-likelihood differs."""
    tolerance = 10 * tol + (1e-9 if x.dtype == np.float64 else 2e-5)
    return _apart(log_likelihood(*params_of(result), x), truth, tolerance)


def _apart(ours, theirs, tolerance):
    if abs(ours - theirs) <= tolerance * (1 + abs(theirs)):
        return ""
    return f"log-likelihood {ours:.6f} nats per point, scikit-learn {theirs:.6f}"


def _limit(n, d, k, kind, dtype, rates):
    """Least seconds an iteration could take: each point read, its exps, its products.

    Two products of matrices, for the log joint and for the statistics, and one exp for
    each point and component.
    """
    features = d + 2 if kind == "spherical" else 1 + d + d * (d + 1) // 2
    size = np.dtype(dtype).itemsize
    return max(
        n * d * size / rates["read", dtype],
        n * k / rates["exp", dtype],
        4 * n * k * features / rates["product", dtype],
    )
