"""Estimates of a gradient, sample by sample, against torch's batched autograd.

Inside `jit`, and without it, as a student calls them.
"""

import jax
import jax.numpy as jnp
import numpy as np
import torch
from jax.sharding import NamedSharding, PartitionSpec
from measure import TWO, by_turns, rows_of

from helpers import estimators
from helpers.gaussian import Gaussian

D, HIDDEN = 8, 64

WITHOUT_JIT = " without jit"

# Before anything is computed; one device is used unless an array is spread over both.
jax.config.update("jax_num_cpu_devices", 2)


def rows(quick):
    matrix = np.random.default_rng(0).normal(size=(D, HIDDEN)).astype(np.float32)
    mean, sigma = np.linspace(-1, 1, D, dtype=np.float32), np.float32(0.5)
    # a sum of squares is all noise and memory, a network is all arithmetic
    functions = {
        "sum of squares": (lambda z: (z**2).sum(), lambda z: (z**2).sum(dim=1)),
        "small network": (
            lambda z: (jnp.tanh(z @ matrix) ** 2).sum(),
            lambda z: (torch.tanh(z @ torch.from_numpy(matrix)) ** 2).sum(dim=1),
        ),
    }
    for n in (1000,) if quick else (1000, 100_000):
        for name, (f, batched) in functions.items():
            for estimator in "pathwise", "score_function":
                yield from _compared(name, f, batched, estimator, mean, sigma, n, quick)


def _compared(name, f, batched, estimator, mean, sigma, n, quick):
    q = Gaussian(jnp.asarray(mean), jnp.asarray(sigma) ** 2)
    function = getattr(estimators, estimator)
    one, two = (
        jax.jit(lambda key: function(key, f, q, num_samples=n), out_shardings=where)
        for where in (None, NamedSharding(jax.make_mesh((2,), "s"), PartitionSpec("s")))
    )

    def plain(key):
        return function(key, f, q, num_samples=n)

    seeds = iter(range(10**6))

    def called(estimate):
        return lambda: jax.block_until_ready(estimate(jax.random.key(next(seeds))))

    theirs = {"pathwise": pathwise, "score_function": score_function}[estimator]
    runs = {estimator: called(one), estimator + WITHOUT_JIT: called(plain)}
    if quick or n >= 10**5:  # fewer samples are not worth a second device
        runs[estimator + TWO] = called(two)
    runs["torch"] = lambda: theirs(batched, mean, sigma, n)
    times, results = by_turns(runs, 2 if quick else 21)
    last = {who: [np.asarray(g) for g in found[-1]] for who, found in results.items()}
    # Of few samples, where calling takes longer than computing, only the plain call
    # has a floor: a student waits for that.
    in_jit = (1.0, 1.7) if n >= 10**5 else (None, None)
    floors = {
        estimator: in_jit,
        estimator + WITHOUT_JIT: (1.0, 1.2) if n >= 10**5 else (1 / 1.5, 1.0),
        estimator + TWO: in_jit,
    }
    for way in [way for way in floors if way in runs]:
        yield from rows_of(
            {way: times[way], "torch": times["torch"]},
            per=n,
            floors={"torch": floors[way]},
            part="estimators, per sample",
            case=f"{way}, {name}, D={D}, {n} samples, float32",
            wrong=_apart(np.hstack(last[way]), np.hstack(last["torch"])),
        )


def pathwise(f, mean, sigma, n):
    """Slopes at z, and slopes times eps: one per sample."""
    eps = torch.randn(n, len(mean))
    z = (torch.from_numpy(mean) + sigma * eps).requires_grad_()
    (slopes,) = torch.autograd.grad(f(z).sum(), z)
    return slopes, slopes * eps


@torch.no_grad()
def score_function(f, mean, sigma, n):
    """f(z) times the slope of log q: one per sample."""
    eps = torch.randn(n, len(mean))
    weights = (f(torch.from_numpy(mean) + sigma * eps) / sigma)[:, None]
    return weights * eps, weights * (eps**2 - 1)


def _apart(ours, theirs):
    """A message if the two averages differ by more than their noise."""
    gap = np.abs(ours.mean(axis=0) - theirs.mean(axis=0))
    error = np.sqrt((ours.var(axis=0) + theirs.var(axis=0)) / len(ours))
    worst = (gap / error).max()
    return "" if worst < 5 else f"averages apart by {worst:.1f} standard errors"
