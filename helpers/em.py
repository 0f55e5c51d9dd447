"""EM: climb the likelihood by making the bound tight, then raising it (S18 to S21).

`e_step` and `m_step` read as the slide does. `fit` makes the same climb in one compiled
loop, several times faster: the gradient of the log-likelihood in natural parameters is
what the M-step needs of the data (`helpers/_fast/sufficient.py` says how).
"""

from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from helpers import _checks, mixture
from helpers._fast import stream as _stream
from helpers._fast.climb import climb, em_jacobian
from helpers.mixture import Mixture

__all__ = [
    "EMResult",
    "convergence_rate",
    "e_step",
    "faults",
    "fit",
    "gradient_ascent",
    "m_step",
]


class EMResult(NamedTuple):
    """Where a climb ended, how it went, and which components went wrong.

    log_likelihoods[t] is l(theta(t)), a SUM over points in nats, for t from 0 (the
    start) to num_steps; beyond that it is nan. `params` are theta(num_steps).
    """

    params: Mixture
    log_likelihoods: Float[Array, " t"]
    num_steps: Int[Array, ""]
    converged: Bool[Array, ""]  # the last step gained less than the tolerance
    lost: Bool[Array, " k"]  # holds less than half a point
    collapsed: Bool[Array, " k"]  # its next variance is the floor, or mere rounding
    equal: Bool[Array, " k"]  # has the mean and covariance of another: a saddle


def e_step(params: Mixture, x: Float[Array, "n d"]) -> Float[Array, "n k"]:
    """E-step: each point's posterior, the best q for these parameters (S18).

    q_i(k) = p(z=k given x_i; theta) = p(x_i, z=k) / sum_j p(x_i, z=j)

    Args:
        params: the mixture.
        x: points `n d`.

    Returns:
        responsibilities `n k`, each row summing to 1.

    Raises:
        ValueError: as `mixture.log_joint`.

    Source: deck, "Expectation-Maximization (EM) Algorithm"; Bishop 2006, eq. 9.23.
    """
    return mixture.responsibilities(params, x)


def m_step(
    responsibilities: Float[Array, "n k"],
    x: Float[Array, "n d"],
    *,
    covariance_type: Literal["spherical", "full"] = "spherical",
) -> Mixture:
    """M-step: the parameters that maximise the bound for these q (S19).

    N_k = sum_i q_i(k),   weights_k = N_k / N,   means_k = sum_i q_i(k) x_i / N_k
    covariances_k = sum_i q_i(k) |x_i - means_k|^2 / (D N_k)                spherical
                  = sum_i q_i(k) (x_i - means_k) (x_i - means_k)^T / N_k    full

    Args:
        responsibilities: q as `n k` probabilities, each row summing to 1.
        x: points `n d`.
        covariance_type: "spherical" (covariances `k`) or "full" (`k d d`).

    Returns:
        Mixture. A component that holds one point alone gets the exact limit,
        covariance 0, which `mixture.log_joint` refuses.

    Raises:
        ValueError: a shape does not fit, a number is not finite, a row is not on the
            simplex, or a component has no responsibility at all and so no update.

    Source: deck, "Expectation-Maximization (EM) Algorithm"; Bishop 2006, eq. 9.24-26.
    """
    x = _checks.as_array("x", x, "n d")
    q = _checks.simplex("responsibilities", responsibilities, "n k", n=len(x))
    _checks.one_of("covariance_type", covariance_type, "spherical", "full")
    best = _maximum(q, x, covariance_type)
    _checks.positive("responsibilities of a component", best.weights, "k")
    return best


# one small program, where each operation alone would be compiled and kept
@partial(jax.jit, static_argnums=2)
def _maximum(q, x, covariance_type):
    counts = q.sum(axis=0)
    means = q.T @ x / counts[:, None]
    differences = x[:, None, :] - means[None, :, :]
    if covariance_type == "spherical":
        squares = (differences**2).mean(axis=2)
        covariances = (q * squares).sum(axis=0) / counts
    else:
        products = jnp.einsum("nk,nki,nkj->kij", q, differences, differences)
        covariances = products / counts[:, None, None]
    return Mixture(counts / len(x), means, covariances)


def fit(
    params: Mixture,
    x: Float[Array, "n d"] | np.memmap,
    *,
    num_steps: int = 100,
    tol: float = 1e-6,
    variance_floor: float = 0.0,
    chunk_size: int | None = None,
) -> EMResult:
    """Run EM: theta(t+1) = m_step(e_step(theta(t), x), x), until it settles.

    The climb stops after `num_steps`, or when a step changes the log-likelihood by
    less than `tol`, or just before a variance would become rounding (a component that
    falls onto one point makes the likelihood infinite). Nothing is repaired: a weight
    of 0 stays 0 and equal components stay equal, each reported in the result.
    `vmap` over starting points runs all of them in one program. Points spread over
    devices by `jax.sharding` stay there, and each step sums over the devices once.

    In float64 no step goes down by more than 1e-11 of l; in float32 late steps move
    both ways by about 1e-6 of it, since terms of the size mean^2 / variance cancel in
    each log density.

    Args:
        params: the start; its covariances choose spherical (`k`) or full (`k d d`).
        x: points `n d`; from `np.load(..., mmap_mode="r")` they stay on disk, and 4 MB
            of them are in memory at a time.
        num_steps: how many steps at most, at least 1.
        tol: nats a point; 0 runs all the steps.
        variance_floor: least variance in any direction. Above 0 the M-step maximises
            the bound under this constraint, so the climb is as monotone as without.
        chunk_size: points handled at a time, chosen if None. Beyond x, memory holds
            what a step needs of each point, its squares and products too, if that is
            at most 2^24 numbers in all; more are made anew in each step.

    Returns:
        EMResult.

    Raises:
        ValueError: as `mixture.log_joint`; or `x` has fewer distinct points than there
            are components, or an option is out of range.

    Source: Dempster, Laird and Rubin 1977; deck, "Convergence of EM Algorithm".
    """
    on_disk = isinstance(x, np.memmap)
    if on_disk:
        params = Mixture(*mixture._checked(params))
    else:
        params, x = _start(params, x)
    floor = _checks.not_negative("variance_floor", variance_floor, "")
    floored = isinstance(floor, jax.core.Tracer) or bool(np.asarray(floor) > 0)
    sizes = _sizes(num_steps, chunk_size)
    tol = _checks.not_negative("tol", tol, "")
    if on_disk:
        return EMResult(*_stream.climb(params, x, tol, floor, floored, *sizes))
    return EMResult(*climb(params, x, tol, floor, None, floored, *sizes))


def gradient_ascent(
    params: Mixture,
    x: Float[Array, "n d"],
    *,
    optimizer: Any,
    num_steps: int,
    tol: float = 0.0,
    chunk_size: int | None = None,
) -> EMResult:
    """Climb the log-likelihood by its gradient, the other way up (S03, S09).

    theta <- theta + optimizer(grad l(theta) / N), on unconstrained parameters: the
    weights' logarithms before normalising, the means, and the logarithms of the
    variances or of the diagonals of the Cholesky factors. A step costs one pass over
    the data, as a step of EM does.

    Args:
        params: the start; its covariances choose spherical (`k`) or full (`k d d`).
        x: points `n d`.
        optimizer: any `optax` optimiser, such as `optax.adam(0.05)`; it descends the
            MEAN negative log-likelihood.
        num_steps: how many steps at most, at least 1.
        tol: as `fit`.
        chunk_size: as `fit`.

    Returns:
        EMResult. A step too large shows as a fall in `log_likelihoods`; one that leaves
        the finite numbers stops the climb before it, with `collapsed` set.

    Raises:
        ValueError: as `fit`; or `optimizer` has no `init` and `update`.

    Source: deck, "Difficulties of MLE".
    """
    params, x = _start(params, x)
    if not (hasattr(optimizer, "init") and hasattr(optimizer, "update")):
        raise ValueError(
            f"optimizer: got {type(optimizer).__name__}, expected an optax optimiser"
        )
    sizes = _sizes(num_steps, chunk_size)
    tol = _checks.not_negative("tol", tol, "")
    return EMResult(*climb(params, x, tol, 0.0, optimizer, False, *sizes))


def convergence_rate(params: Mixture, x: Float[Array, "n d"]) -> Float[Array, ""]:
    """How fast EM settles at a fixed point: theta(t) - theta shrinks by this a step.

    rate = spectral radius of d M / d theta,   M(theta) = m_step(e_step(theta, x), x)

    It is the largest share of information that not knowing z takes away: near 0 for
    components far apart, near 1 where they overlap and EM crawls. The derivative is
    taken in unconstrained parameters; the direction along which all log weights rise
    together, which changes nothing, adds an eigenvalue of exactly 0.

    Args:
        params: a fixed point, as `fit` finds it with a small `tol`.
        x: points `n d`.

    Returns:
        scalar, no unit, below 1 at a strict maximum.

    Raises:
        ValueError: as `mixture.log_joint`; or a step of EM still moves `params`; or a
            component has weight 0 or no variance, so that there is no derivative.

    Source: Dempster, Laird and Rubin 1977, section 3; Meng and Rubin 1991.
    """
    params, x = _start(params, x)
    _checks.positive("params.weights", params.weights, "k")
    jacobian, moved = em_jacobian(params, x)
    if not np.isfinite(jacobian).all():
        raise ValueError("params: got a component without a derivative of its M-step")
    if np.asarray(moved) > np.cbrt(jnp.finfo(moved.dtype).eps):
        raise ValueError(
            f"params: got a point that a step of EM moves by {moved:.1e} of the data's "
            "spread, expected a fixed point; fit with a smaller tol"
        )
    # NumPy: JAX finds the eigenvalues of such a matrix on the CPU only
    return jnp.asarray(np.abs(np.linalg.eigvals(jacobian)).max(), moved.dtype)


def faults(result: EMResult) -> list[str]:
    """Say in words what went wrong with which component; empty if nothing did.

    Args:
        result: of one run of `fit` or `gradient_ascent`, not of a `vmap` over many.

    Returns:
        one sentence for each fault.
    """
    sentences = {
        "lost": "holds less than half a point: a weight of 0 stays 0",
        "collapsed": "has collapsed: its variance is the floor or mere rounding, and "
        "without a floor the likelihood has no upper bound there",
        "equal": "equals another component, and EM cannot part them: a saddle",
    }
    return [
        f"component {k} {sentence}"
        for field, sentence in sentences.items()
        for k in np.flatnonzero(getattr(result, field))
    ]


def _sizes(num_steps, chunk_size):
    if chunk_size is not None:
        chunk_size = _checks.count("chunk_size", chunk_size)
    return _checks.count("num_steps", num_steps), chunk_size


def _start(params, x):
    """Both checked and of one dtype."""
    params = Mixture(*mixture._checked(params))
    x = _checks.as_array("x", x, "n d", d=params.means.shape[1])
    _checks.at_least_distinct("x", x, len(params.weights))
    dtype = jnp.result_type(x, *params)
    return jax.tree.map(lambda leaf: leaf.astype(dtype), (params, x))
