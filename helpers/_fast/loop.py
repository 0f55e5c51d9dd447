"""EM as one compiled loop; and the Jacobian of its step.

The loop is in `_loop`. Each step computes the sums over the points (the E-step), and
from them the next parameters (the M-step).
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jaxlib
from jax.flatten_util import ravel_pytree
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Bool, Float, Int

from helpers import _functions
from helpers._fast import sufficient
from helpers._fast.sufficient import Components
from helpers.mixture import Mixture

# If n k d is at least this, a fit takes longer than XLA needs to optimise the program.
LARGE = 2**18
# Such programs are compiled with XLA's own defaults, which undo `course.QUICK`. The
# names of the options depend on the version of jaxlib.
SLOW_TO_COMPILE = {
    "0.10": {
        "xla_cpu_use_fusion_emitters": True,
        "xla_backend_optimization_level": 3,
    }
}


class Options(NamedTuple):
    """Options that are constants of the compiled program."""

    num_steps: int
    chunk_size: int | None
    floored: bool  # whether the variance floor is above 0


class Spread(NamedTuple):
    """The mesh over which the rows of x are spread, and along which of its axes."""

    mesh: Any
    axis: tuple


class Limits(NamedTuple):
    """The numbers that decide when the loop ends."""

    tol: Float[Array, ""]  # nats per point
    floor: Float[Array, ""]


class LoopState(NamedTuple):
    """What the loop passes from one step to the next."""

    step: Int[Array, ""]
    components: Components
    log_likelihood: Float[Array, ""]  # of the previous step
    history: Float[Array, " t"]
    lost: Bool[Array, " k"]
    collapsed: Bool[Array, " k"]
    least_variances: Float[Array, " k"]
    converged: Bool[Array, ""]
    stop: Bool[Array, ""]


class EMResult(NamedTuple):
    """The result of `em.fit`: parameters, log-likelihoods, and what went wrong.

    log_likelihoods[t] is l(theta(t)), a SUM over points, in nats, for t from 0 (the
    start) to num_steps. If the loop ended early, the last value is repeated. `params`
    are theta(num_steps). `em.faults` puts the other fields into words.
    """

    params: Mixture
    log_likelihoods: Float[Array, " t"]
    num_steps: Int[Array, ""]
    converged: Bool[Array, ""]  # the last step gained less than the tolerance
    lost: Bool[Array, " k"]  # the component's responsibilities sum to less than 0.5
    # its variance has reached its lower limit, or would in the next step
    collapsed: Bool[Array, " k"]
    equal: Bool[Array, " k"]  # it has the mean and covariance of another: a saddle
    least_variances: Float[Array, " k"]  # the floor, or where rounding error begins


def run(params, x, limits, options):
    """Run EM, and return an EMResult.

    If the points are spread over several devices, each device runs the same loop on its
    own points.
    """
    if inside_another_program(params, x, *limits):
        program = _part_of_another  # whose settings apply, also inside `vmap`
    elif x.size * len(params.weights) >= LARGE:
        program = _slowly_compiled
    else:
        program = _optimised()
    return program(params, x, limits, options, _spread(x))


def inside_another_program(*arguments):
    """Whether JAX is tracing, even if none of these arguments is traced."""
    new = jnp.zeros(())
    return any(
        isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves([arguments, new])
    )


def _spread(x):
    sharding = getattr(x, "sharding", None)
    if isinstance(x, jax.core.Tracer) or not isinstance(sharding, NamedSharding):
        return None
    axis = sharding.spec[0] if sharding.spec else None
    axis = axis if isinstance(axis, tuple) or axis is None else (axis,)
    return Spread(sharding.mesh, axis) if axis else None


def _run_on_devices(params, x, limits, options, spread):
    params, x, limits = of_one_dtype(params, x, limits)
    if spread is None:
        return _loop(params, x, limits, options, len(x), ())
    every = jax.shard_map(
        lambda *arrays: _loop(*arrays, options, len(x), spread.axis),
        mesh=spread.mesh,
        in_specs=(P(), P(spread.axis), P()),
        out_specs=P(),
    )
    return every(params, x, limits)


def of_one_dtype(params, x, *others):
    """Convert everything to the higher precision of the points and the parameters."""
    dtype = jnp.result_type(x, *params)
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), (params, x, *others))


_VERSION = ".".join(jaxlib.__version__.split(".")[:2])
_part_of_another = jax.jit(_run_on_devices, static_argnums=(3, 4))
_slowly_compiled = jax.jit(
    _run_on_devices,
    static_argnums=(3, 4),
    compiler_options=SLOW_TO_COMPILE.get(_VERSION),
)


@functools.cache
def _optimised():
    return _functions.optimised(_run_on_devices, static_argnums=(3, 4))


def _loop(params, x, limits, options, n, axis):
    chunk_size = options.chunk_size or sufficient.chunk_size_for(params)
    features_of = sufficient.features_for(params)
    points = sufficient.points_in_chunks(x, chunk_size, features_of, axis)
    start = sufficient.components_of(params, points.centre, axis)
    limits = limits._replace(tol=limits.tol * n)

    def step(now):
        sums = sufficient.sums(now.components, points, axis)
        return after_step(now, sums, limits, options, axis)

    last = jax.lax.while_loop(lambda now: ~now.stop, step, beginning(start, options))
    return outcome(last, points.centre)


def beginning(components, options):
    """The state with which the loop starts."""
    k, dtype = len(components.weights), components.means.dtype
    none = jnp.zeros(k, bool)
    return LoopState(
        step=jnp.array(0),
        components=components,
        log_likelihood=jnp.array(-jnp.inf, dtype),
        history=jnp.zeros(options.num_steps + 1, dtype),
        lost=none,
        collapsed=none,
        least_variances=jnp.zeros(k, dtype),
        converged=jnp.array(False),
        stop=jnp.array(False),
    )


def after_step(now, sums, limits, options, axis=()):
    """The loop's next state: take the M-step, or stop before it.

    `sums` are those of the E-step. `limits.tol` is a sum over all points.
    """
    moments = sufficient.moments(now.components, sums)
    floor = limits.floor if options.floored else None
    proposed = sufficient.maximise(now.components, moments, floor, axis)
    limit = limits.floor, options.floored, axis
    collapsed_now, least_now = sufficient.collapsed(now.components, *limit)
    collapsed, least = sufficient.collapsed(proposed, *limit)
    if not options.floored:
        collapsed = collapsed | collapsed_now
    converged = jnp.abs(sums.log_likelihood - now.log_likelihood) < limits.tol
    stop = converged | (now.step == options.num_steps)
    if not options.floored:
        stop = stop | collapsed.any()
    keep_if_stopped = functools.partial(jnp.where, stop)
    return LoopState(
        step=jnp.where(stop, now.step, now.step + 1),
        components=jax.tree.map(keep_if_stopped, now.components, proposed),
        log_likelihood=sums.log_likelihood,
        history=now.history.at[now.step].set(sums.log_likelihood),
        lost=sums.counts < 0.5,
        collapsed=collapsed,
        least_variances=jnp.where(jnp.isfinite(least), least, least_now),
        converged=converged,
        stop=stop,
    )


def outcome(last, centre):
    """The result of the loop; beyond its last step the last value is repeated."""
    reached = jnp.arange(len(last.history)) <= last.step
    return EMResult(
        params=sufficient.mixture_of(last.components, centre),
        log_likelihoods=jnp.where(reached, last.history, last.log_likelihood),
        num_steps=last.step,
        converged=last.converged,
        lost=last.lost,
        collapsed=last.collapsed,
        equal=sufficient.equal(last.components),
        least_variances=last.least_variances,
    )


def unconstrained(components):
    """Log weights, means, and log variances (or logs of the roots' diagonals)."""
    weights, means, roots = components
    if roots.ndim == 1:
        return jnp.log(weights), means, 2 * jnp.log(roots)
    diagonal = jnp.log(jnp.diagonal(roots, axis1=1, axis2=2))
    return jnp.log(weights), means, jnp.tril(roots, -1) + _diagonal(diagonal)


def constrained(free):
    """The components that belong to unconstrained numbers, whatever these are."""
    log_weights, means, roots = free
    weights = jax.nn.softmax(log_weights)
    if roots.ndim == 1:
        return Components(weights, means, jnp.exp(roots / 2))
    diagonal = jnp.exp(jnp.diagonal(roots, axis1=1, axis2=2))
    return Components(weights, means, jnp.tril(roots, -1) + _diagonal(diagonal))


def _diagonal(rows):
    return rows[:, :, None] * jnp.eye(rows.shape[1], dtype=rows.dtype)[None]


@jax.jit
def em_jacobian(params, x):
    """Jacobian of a step of EM in unconstrained numbers, and how far the step goes."""
    params, x = of_one_dtype(params, x)
    centre = x.mean(axis=0)
    scale = jnp.sqrt(((x - centre[None, :]) ** 2).mean())
    x = (x - centre[None, :]) / scale
    means = (params.means - centre[None, :]) / scale
    params = Mixture(params.weights, means, params.covariances / scale**2)
    points = sufficient.points_in_chunks(
        x, sufficient.chunk_size_for(params), sufficient.features_for(params)
    )
    free, as_tree = ravel_pytree(
        unconstrained(sufficient.components_of(params, points.centre))
    )

    def em_map(free):
        components = constrained(as_tree(free))
        sums = sufficient.sums(components, points)
        moments = sufficient.moments(components, sums)
        return ravel_pytree(unconstrained(sufficient.maximise(components, moments)))[0]

    return jax.jacfwd(em_map)(free), jnp.abs(em_map(free) - free).max()
