"""EM: climb the likelihood by making the bound tight, then raising it (S18 to S21).

`e_step`, `m_step` and their loop `iterate` read as the slide does. `fit` makes the same
climb several times faster, and stops by itself where the climb has settled or fails.

Every function raises a ValueError where a shape does not fit, a number is not finite,
probabilities do not sum to 1, a covariance is not positive (definite), or an option is
out of range.
"""

import contextlib
from collections.abc import Callable
from functools import partial
from typing import Annotated, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from helpers import _checks, mixture
from helpers._checks import Optimizer, checked
from helpers._fast import climb as _climb
from helpers._fast import stream as _stream
from helpers.mixture import Mixture

__all__ = [
    "EMPath",
    "EMResult",
    "convergence_rate",
    "e_step",
    "faults",
    "fit",
    "gradient_ascent",
    "iterate",
    "m_step",
]


class EMPath(NamedTuple):
    """The parameters and the log-likelihood of each step, t from 0 to num_steps.

    `params` is a Mixture whose fields have a first axis `t`: `params.means[t]` are the
    means of theta(t). log_likelihoods[t] is l(theta(t)), a SUM over points in nats.
    """

    params: Mixture
    log_likelihoods: Float[Array, " t"]


class EMResult(NamedTuple):
    """Where a climb ended, how it went, and which components went wrong.

    log_likelihoods[t] is l(theta(t)), a SUM over points in nats, for t from 0 (the
    start) to num_steps; after a climb that ended early the last value is repeated.
    `params` are theta(num_steps).
    """

    params: Mixture
    log_likelihoods: Float[Array, " t"]
    num_steps: Int[Array, ""]
    converged: Bool[Array, ""]  # the last step gained less than the tolerance
    lost: Bool[Array, " k"]  # holds less than half a point
    collapsed: Bool[Array, " k"]  # its variance, or its next one, is at the least
    equal: Bool[Array, " k"]  # has the mean and covariance of another: a saddle
    least_variances: Float[Array, " k"]  # the floor, or what rounding leaves


@checked
def e_step(params: Mixture, x: Float[Array, "n d"]) -> Float[Array, "n k"]:
    """E-step: each point's posterior, the best q for these parameters (S18).

    q_i(k) = p(z=k given x_i; theta) = p(x_i, z=k) / sum_j p(x_i, z=j)

    Args:
        params: the mixture.
        x: points `n d`.

    Returns:
        responsibilities `n k`, each row summing to 1.

    Source: deck, "Expectation-Maximization (EM) Algorithm"; Bishop 2006, eq. 9.23.
    """
    return jax.nn.softmax(mixture.log_joint(params, x), axis=1)


def _no_component_is_empty(responsibilities, **others):
    """Raise where a component has no responsibility, and so no update."""
    counts = responsibilities.sum(axis=0)
    _checks.positive("responsibilities of a component", counts, "k")


@checked(given=_no_component_is_empty)
def m_step(
    responsibilities: Annotated[Float[Array, "n k"], _checks.simplex],
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
        ValueError: also where a component has no responsibility at all.

    Source: deck, "Expectation-Maximization (EM) Algorithm"; Bishop 2006, eq. 9.24-26.
    """
    q = responsibilities
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


@checked(compiled=False)
def iterate(
    params: Mixture,
    x: Float[Array, "n d"],
    *,
    num_steps: int,
    m_step: Annotated[Callable | None, _checks.function] = None,
) -> EMPath:
    """EM as the slide says it: an E-step, an M-step, and again (S18 to S20).

    q(t+1) = e_step(theta(t), x),   theta(t+1) = m_step(q(t+1), x)

    Args:
        params: theta(0); its covariances choose spherical (`k`) or full (`k d d`).
        x: points `n d`.
        num_steps: how often, at least 1.
        m_step: another M-step to try out, a function of q and x.

    Returns:
        EMPath with num_steps + 1 entries, theta(0) being the first.

    Raises:
        ValueError: also where a component collapses onto a point, or `m_step` returns
            no mixture.

    Source: deck, "Expectation-Maximization (EM) Algorithm".
    """
    if m_step is None:
        m_step = _m_step_for(params)
    thetas = [params]
    log_likelihoods = [mixture.log_likelihood(params, x)]
    for t in range(num_steps):
        with _errors_named_by_step(t + 1):
            q = e_step(thetas[t], x)
            theta = m_step(q, x)
            thetas.append(theta)
            log_likelihoods.append(mixture.log_likelihood(theta, x))
    path = jax.tree.map(lambda *of_steps: jnp.stack(of_steps), *thetas)
    return EMPath(path, jnp.stack(log_likelihoods))


@contextlib.contextmanager
def _errors_named_by_step(t):
    """Say of an error in which step it came, and what to do."""
    try:
        yield
    except ValueError as error:
        raise ValueError(
            f"params: got no mixture from step {t} ({error}), expected a climb on "
            "which no component collapses onto a point: take fewer steps, or use "
            "em.fit, which stops before it"
        ) from error


def _m_step_for(params):
    """The M-step that makes the kind of covariances that the mixture has."""
    covariance_type = "spherical" if params.covariances.ndim == 1 else "full"
    return partial(m_step, covariance_type=covariance_type)


def _enough_points(params, x, **options):
    """Raise unless there is a distinct point for each component."""
    if not isinstance(x, np.memmap):  # on disk they are looked at piece by piece
        _checks.at_least_distinct("x", x, len(params.weights))


def _points(name, value, *shapes, **sizes):
    """Return points as an array, or as they are if they are on disk."""
    if isinstance(value, np.memmap):
        return _stream.checked(name, value, **sizes)
    return _checks.as_array(name, value, *shapes, **sizes)


def _limit(name, value, *shapes, **sizes):
    """Return a number of at least 0; Python's own are not sent to the device here."""
    if type(value) is float and 0 <= value < np.inf:
        return np.float64(value)
    return _checks.not_negative(name, value, *shapes, **sizes)


Limit = Annotated[float | Float[Array, ""], _limit]


@checked(given=_enough_points, compiled=False)
def fit(
    params: Mixture,
    x: Annotated[Float[Array, "n d"] | np.memmap, _points],
    *,
    num_steps: int = 100,
    tol: Limit = 1e-6,
    variance_floor: Limit = 0.0,
    chunk_size: int | None = None,
) -> EMResult:
    """Run EM: theta(t+1) = m_step(e_step(theta(t), x), x), until it settles.

    The climb of `iterate` in one pass over the data per step. It stops after
    `num_steps`, or when a step changes the log-likelihood by less than `tol`, or just
    before a variance would become rounding (a component that falls onto one point makes
    the likelihood infinite). Nothing is repaired: a weight of 0 stays 0 and equal
    components stay equal, each reported in the result. `vmap` over starting points runs
    all of them in one program. Points spread over devices by `jax.sharding` stay there,
    and each step sums over the devices once.

    In float64 no step goes down by more than 1e-11 of l; in float32 late steps move
    both ways by about 1e-6 of it. An outlier that has a component to itself, which
    `collapsed` then reports, takes digits from float32: at a million times the spread
    of the other points, l is wrong by up to 2e-4 of it, and steps fall by up to 5e-5.

    Args:
        params: the start; its covariances choose spherical (`k`) or full (`k d d`).
        x: points `n d`; from `np.load(..., mmap_mode="r")` they stay on disk, and 4 MB
            of them are in memory at a time (under `vmap` over starts, all of them).
        num_steps: how many steps at most, at least 1.
        tol: nats per point; 0 runs all the steps.
        variance_floor: least variance in any direction. Above 0 the M-step maximises
            the bound under this constraint, so the climb is as monotone as without.
        chunk_size: points handled at a time, chosen if None. Beyond x, memory holds a
            copy of the points, with their squares and products where these save time,
            if that is at most 2^24 numbers in all.

    Returns:
        EMResult.

    Raises:
        ValueError: also where `x` has fewer distinct points than there are components.

    Source: Dempster, Laird and Rubin 1977; deck, "Convergence of EM Algorithm".
    """
    floored = _checks.is_traced(variance_floor) or bool(variance_floor > 0)
    limits = _climb.Limits(tol, variance_floor)
    options = _climb.Options(num_steps, chunk_size, floored)
    if isinstance(x, np.memmap):
        if not any(map(_checks.is_traced, (*params, *limits))):
            return EMResult(*_stream.climb(params, x, limits, options))
        x = _checks.as_array("x", np.asarray(x), "n d")
    return EMResult(*_climb.climb(params, x, limits, options))


@checked(given=_enough_points, compiled=False)
def gradient_ascent(
    params: Mixture,
    x: Float[Array, "n d"],
    *,
    optimizer: Optimizer,
    num_steps: int,
    tol: Limit = 0.0,
    chunk_size: int | None = None,
) -> EMResult:
    """Climb the log-likelihood by its gradient, the other way up (S03, S09).

    theta <- theta + optimizer(grad l(theta) / N), on unconstrained parameters: the
    weights' logarithms before normalising, the means, and the logarithms of the
    variances or of the diagonals of the Cholesky factors. A step costs one pass over
    the data, as a step of EM does; an optimiser that searches along a line takes more.

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
        ValueError: as `fit`.

    Source: deck, "Difficulties of MLE".
    """
    limits = _climb.Limits(tol, floor=0.0)
    options = _climb.Options(num_steps, chunk_size, optimizer=optimizer)
    return EMResult(*_climb.climb(params, x, limits, options))


@checked(given=_enough_points, compiled=False)
def convergence_rate(params: Mixture, x: Float[Array, "n d"]) -> Float[Array, ""]:
    """How fast EM settles at a fixed point: each step shrinks the error by this factor.

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
        ValueError: also where a step of EM still moves `params`, or a component has
            weight 0 or no variance, so that there is no derivative.

    Source: Dempster, Laird and Rubin 1977, section 3; Meng and Rubin 1991.
    """
    _checks.positive("params.weights", params.weights, "k")
    jacobian, moved = _climb.em_jacobian(params, x)
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
    sentences = [
        f"component {k} holds less than half a point: a weight of 0 stays 0"
        for k in np.flatnonzero(result.lost)
    ]
    for k in np.flatnonzero(result.collapsed):
        least = float(result.least_variances[k])
        dtype = result.params.means.dtype
        sentence = (
            f"component {k} has collapsed: in some direction its variance falls to "
            f"{least:.2g} or below, which is variance_floor or what {dtype} cannot "
            "tell from 0 there. Without a floor the likelihood has no upper bound "
            "there: set variance_floor, or choose fewer components, or another start"
        )
        sentences.append(sentence + _ADVICE * (dtype == jnp.float32))
    sentences += [
        f"component {k} equals another component, and EM cannot separate them: a saddle"
        for k in np.flatnonzero(result.equal)
    ]
    return sentences


_ADVICE = (
    "; a point far from all others takes digits from float32: leave it out, or compute "
    'in float64 after jax.config.update("jax_enable_x64", True)'
)
