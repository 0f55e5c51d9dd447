"""EM for a mixture: make the bound tight, maximise it, repeat (S18 to S21).

`e_step`, `m_step` and the loop `iterate` are written as on the slide. `fit` takes the
same steps several times faster, and stops by itself when it has converged or when a
component collapses.

Every function raises a ValueError if a shape does not fit, a number is not finite,
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
from jaxtyping import Array, Float

from helpers import _checks, mixture
from helpers._checks import checked
from helpers._fast import loop as _loop
from helpers._fast import stream as _stream
from helpers._fast.loop import EMResult
from helpers.mixture import Mixture

__all__ = [
    "EMPath",
    "EMResult",
    "convergence_rate",
    "e_step",
    "faults",
    "fit",
    "iterate",
    "m_step",
]


class EMPath(NamedTuple):
    """The parameters and the log-likelihood at each step t = 0, ..., num_steps.

    `params` is a Mixture whose fields have an additional first axis `t`: the means of
    theta(t) are `params.means[t]`. log_likelihoods[t] is l(theta(t)), a SUM over
    points, in nats.
    """

    params: Mixture
    log_likelihoods: Float[Array, " t"]


@checked
def e_step(params: Mixture, x: Float[Array, "n d"]) -> Float[Array, "n k"]:
    """E-step: the posterior of each point, which is the best q for this theta (S18).

    q_i(k) = p(z=k | x_i; theta) = p(x_i, z=k) / sum_j p(x_i, z=j)

    Args:
        params: the mixture.
        x: points `n d`.

    Returns:
        responsibilities `n k`, each row summing to 1.

    Source: deck, "Expectation-Maximization (EM) Algorithm"; Bishop 2006, eq. 9.23.
    """
    return mixture.responsibilities(params, x)


def _no_component_is_empty(responsibilities, **others):
    """Raise if a component's responsibilities are all 0: the M-step divides by N_k."""
    counts = responsibilities.sum(axis=0)
    _checks.positive("responsibilities of a component", counts, "k")


@checked(check_together=_no_component_is_empty)
def m_step(
    responsibilities: Annotated[Float[Array, "n k"], _checks.simplex],
    x: Float[Array, "n d"],
    *,
    covariance_type: Literal["spherical", "full"] = "spherical",
) -> Mixture:
    """M-step: the parameters that maximise the bound for fixed q (S19).

    N_k = sum_i q_i(k),   weights_k = N_k / N,   means_k = sum_i q_i(k) x_i / N_k
    covariances_k = sum_i q_i(k) |x_i - means_k|^2 / (D N_k)                spherical
                  = sum_i q_i(k) (x_i - means_k) (x_i - means_k)^T / N_k    full

    Args:
        responsibilities: q as `n k` probabilities, each row summing to 1.
        x: points `n d`.
        covariance_type: "spherical" (covariances `k`) or "full" (`k d d`).

    Returns:
        Mixture. A component that holds a single point gets covariance 0, for which
        `mixture.log_joint` then raises an error.

    Raises:
        ValueError: also if the responsibilities of a component are all 0.

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
    """EM as on the slide: alternate E-steps and M-steps (S18 to S20).

    q(t+1) = e_step(theta(t), x),   theta(t+1) = m_step(q(t+1), x)

    Args:
        params: theta(0). Its covariances are spherical (`k`) or full (`k d d`), and
            stay so.
        x: points `n d`.
        num_steps: how many E- and M-steps to take, at least 1.
        m_step: an M-step to use in place of this module's, a function of q and x.

    Returns:
        EMPath with num_steps + 1 entries, the first of which is theta(0).

    Raises:
        ValueError: also if a component collapses onto a point, or if `m_step` does not
            return a mixture.

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
    """Add to an error in which step it occurred, and what to do about it."""
    try:
        yield
    except ValueError as error:
        raise ValueError(
            f"params: got no valid mixture from step {t} ({error}), expected a start "
            "from which no component collapses onto a point; take fewer steps, or use "
            "em.fit, which stops before that"
        ) from error


def _m_step_for(params):
    """Return the M-step for the kind of covariances that the mixture has."""
    covariance_type = "spherical" if params.covariances.ndim == 1 else "full"
    return partial(m_step, covariance_type=covariance_type)


def _enough_points(params, x, **options):
    """Raise unless there are at least as many distinct points as components."""
    if not isinstance(x, np.memmap):  # points on disk are checked piece by piece
        _checks.at_least_distinct("x", x, len(params.weights))


def _points(name, value, *shapes, **sizes):
    """Return points as an array, but leave points that are on disk there."""
    if isinstance(value, np.memmap):
        return _stream.points_on_disk(name, value, **sizes)
    return _checks.as_array(name, value, *shapes, **sizes)


def _limit(name, value, *shapes, **sizes):
    """Return a number of at least 0, without sending a Python float to the device."""
    if type(value) is float and 0 <= value < np.inf:
        return np.float64(value)
    return _checks.not_negative(name, value, *shapes, **sizes)


Limit = Annotated[float | Float[Array, ""], _limit]


@checked(check_together=_enough_points, compiled=False)
def fit(
    params: Mixture,
    x: Annotated[Float[Array, "n d"] | np.memmap, _points],
    *,
    num_steps: int = 100,
    tol: Limit = 1e-6,
    variance_floor: Limit = 0.0,
    chunk_size: int | None = None,
) -> EMResult:
    """Run EM: theta(t+1) = m_step(e_step(theta(t), x), x), until it converges.

    The steps are those of `iterate`, but each takes only one pass over the data. The
    loop stops after `num_steps`, or when a step changes the log-likelihood by less than
    `tol`, or just before a variance becomes so small that it is only rounding error (a
    component that shrinks onto one point makes the likelihood infinite). Nothing is
    repaired: a weight of 0 stays 0, and equal components stay equal. The result reports
    both. `vmap` over starting points runs all of them in one program. Points spread
    over devices by `jax.sharding` stay where they are; each step sums over the devices
    once.

    Rounding: in float64, no step lowers l by more than 1e-11 of its size. In float32,
    late steps change l by about 1e-6 of its size, up or down. In float32, an outlier
    with a component of its own (reported as `collapsed`) costs precision: if it is a
    million times farther away than the other points are spread, l has a relative error
    of up to 2e-4, and steps can lower it by up to 5e-5 of its size.

    Args:
        params: the start. Its covariances are spherical (`k`) or full (`k d d`), and
            stay so.
        x: points `n d`. Points from `np.load(..., mmap_mode="r")` stay on disk, and
            only 4 MB of them are in memory at a time (all, under `vmap` over starts).
        num_steps: maximum number of steps, at least 1.
        tol: nats per point; with 0, all the steps are taken.
        variance_floor: smallest variance allowed in any direction. If it is above 0,
            the M-step maximises the bound under this constraint, so l still never
            decreases.
        chunk_size: how many points to process at a time; chosen for you if None.
            Besides x, memory holds a copy of the points (with their squares and
            products, where that saves time) if that is at most 2^24 numbers.

    Returns:
        EMResult.

    Raises:
        ValueError: also if `x` has fewer distinct points than there are components.

    Source: Dempster, Laird and Rubin 1977; deck, "Convergence of EM Algorithm".
    """
    floored = _checks.is_traced(variance_floor) or bool(variance_floor > 0)
    limits = _loop.Limits(tol, variance_floor)
    options = _loop.Options(num_steps, chunk_size, floored)
    if isinstance(x, np.memmap):
        if not any(map(_checks.is_traced, (*params, *limits))):
            return _stream.run(params, x, limits, options)
        x = _checks.as_array("x", np.asarray(x), "n d")
    return _loop.run(params, x, limits, options)


@checked(check_together=_enough_points, compiled=False)
def convergence_rate(params: Mixture, x: Float[Array, "n d"]) -> Float[Array, ""]:
    """How fast EM converges: near the fixed point each step scales the error by this.

    rate = spectral radius of d M / d theta,   M(theta) = m_step(e_step(theta, x), x)

    It is the largest fraction of the information that is missing because z is not
    observed: near 0 if the components are far apart, near 1 if they overlap, where EM
    is slow. The derivative is taken with respect to unconstrained parameters. Adding
    the same number to all log weights changes nothing; that direction has an eigenvalue
    of exactly 0.

    Args:
        params: a fixed point of EM, such as the result of `fit` with a small `tol`.
        x: points `n d`.

    Returns:
        scalar, without a unit, below 1 at a strict maximum.

    Raises:
        ValueError: also if a step of EM still changes `params`, or if a component has
            weight 0 or no variance, where the derivative does not exist.

    Source: Dempster, Laird and Rubin 1977, section 3; Meng and Rubin 1991.
    """
    _checks.positive("params.weights", params.weights, "k")
    jacobian, moved = _loop.em_jacobian(params, x)
    if not np.isfinite(jacobian).all():
        raise ValueError(
            "params: got a component whose M-step has no derivative, expected one that "
            "holds more than a single point"
        )
    if np.asarray(moved) > np.cbrt(jnp.finfo(moved.dtype).eps):
        raise ValueError(
            f"params: got a point that a step of EM moves by {moved:.1e} of the data's "
            "spread, expected a fixed point; fit with a smaller tol"
        )
    # JAX finds the eigenvalues of a matrix that is not symmetric on the CPU only.
    return jnp.asarray(np.abs(np.linalg.eigvals(jacobian)).max(), moved.dtype)


def faults(result: EMResult) -> list[str]:
    """Describe in words what went wrong with which component.

    Args:
        result: of one run of `fit`, not of a `vmap` over many.

    Returns:
        one sentence per fault; an empty list if nothing went wrong.
    """
    sentences = [
        f"component {k} holds less than half a point: its responsibilities sum to less "
        "than 0.5"
        for k in np.flatnonzero(result.lost)
    ]
    for k in np.flatnonzero(result.collapsed):
        least = float(result.least_variances[k])
        dtype = result.params.means.dtype
        sentence = (
            f"component {k} has collapsed: in some direction its variance falls to "
            f"{least:.2g} or below, which is variance_floor, or so small that {dtype} "
            "cannot distinguish it from 0. Without a floor the likelihood has no upper "
            "bound there: set variance_floor, or choose fewer components, or another "
            "start"
        )
        sentences.append(sentence + _ADVICE * (dtype == jnp.float32))
    sentences += [
        f"component {k} equals another component, and EM cannot separate them: a saddle"
        for k in np.flatnonzero(result.equal)
    ]
    return sentences


_ADVICE = (
    "; a point far from all others costs float32 precision: leave it out, or compute "
    'in float64 after jax.config.update("jax_enable_x64", True)'
)
