"""One compiled loop for EM and for any optimiser; and the Jacobian of EM's step.

The loop is in `_climb_here`. Each step first computes the sums over the points that
both methods need (the E-step), then asks the method for the next parameters: `_em`
applies the M-step, `_ascent` lets an optimiser follow the gradient.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jaxlib
import optax
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
    floored: bool = False  # whether the variance floor is above 0
    optimizer: Any = None  # None means EM


class Spread(NamedTuple):
    """The mesh over which the rows of x are spread, and along which of its axes."""

    mesh: Any
    axis: tuple


class Limits(NamedTuple):
    """The numbers that decide when the loop ends."""

    tol: Float[Array, ""]  # nats per point
    floor: Float[Array, ""]


class Climb(NamedTuple):
    """The state of the loop."""

    step: Int[Array, ""]
    state: Any  # for EM, Components; else unconstrained numbers and optimiser's state
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


def climb(params, x, limits, options):
    """Run EM, or the optimiser in the options, and return an EMResult.

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


def _climb(params, x, limits, options, spread):
    params, x, limits = of_one_dtype(params, x, limits)
    if spread is None:
        return _climb_here(params, x, limits, options, len(x), ())
    every = jax.shard_map(
        lambda *arrays: _climb_here(*arrays, options, len(x), spread.axis),
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
_part_of_another = jax.jit(_climb, static_argnums=(3, 4))
_slowly_compiled = jax.jit(
    _climb, static_argnums=(3, 4), compiler_options=SLOW_TO_COMPILE.get(_VERSION)
)


@functools.cache
def _optimised():
    return _functions.optimised(_climb, static_argnums=(3, 4))


def _climb_here(params, x, limits, options, n, axis):
    chunk_size = options.chunk_size or sufficient.chunk_size_for(params)
    features_of = sufficient.features_for(params)
    points = sufficient.points_in_chunks(x, chunk_size, features_of, axis)
    start = sufficient.components_of(params, points.centre, axis)
    method = _em if options.optimizer is None else _ascent
    state, components_in, update = method(start, points, limits, options, n, axis)

    def step(climb):
        components = components_in(climb.state)
        sums = sufficient.sums(components, points, axis)
        moments = sufficient.moments(components, sums)
        proposed = update(climb.state, sums.log_likelihood, moments)
        return advanced(
            climb,
            sums,
            (components, components_in(proposed)),
            proposed,
            limits._replace(tol=limits.tol * n),
            options,
            axis,
        )

    first = beginning(state, start, options)
    last = jax.lax.while_loop(lambda climb: ~climb.stop, step, first)
    return outcome(last, components_in(last.state), points.centre)


def _em(start, points, limits, options, n, axis):
    """EM: its starting state, the components of a state, and the next state."""
    floor = limits.floor if options.floored else None

    def update(components, _, moments):
        return sufficient.maximise(components, moments, floor, axis)

    return start, lambda components: components, update


def _ascent(start, points, limits, options, n, axis):
    """Gradient ascent by any optimiser, on unconstrained numbers; the same three."""
    optimizer = optax.with_extra_args_support(options.optimizer)

    def gradient(free, moments):
        seen_by = constrained(free)

        def loss(free):
            return -sufficient.bound(constrained(free), seen_by, moments) / n

        return jax.grad(loss)(free)

    # Optimisers with a line search evaluate the loss at several places before a step.
    @jax.custom_vjp
    def loss(free):
        return loss_and_gradient(free)[0]

    def loss_and_gradient(free):
        components = constrained(free)
        sums = sufficient.sums(components, points, axis)
        moments = sufficient.moments(components, sums)
        return -sums.log_likelihood / n, gradient(free, moments)

    def pull_back(gradient, weight):
        return (jax.tree.map(lambda leaf: weight * leaf, gradient),)

    loss.defvjp(loss_and_gradient, pull_back)

    def update(state, log_likelihood, moments):
        free, memory = state
        slope = gradient(free, moments)
        change, memory = optimizer.update(
            slope, memory, free, value=-log_likelihood / n, grad=slope, value_fn=loss
        )
        return optax.apply_updates(free, change), memory

    free = unconstrained(start)
    return (free, optimizer.init(free)), lambda state: constrained(state[0]), update


def beginning(state, components, options):
    """The value with which the loop starts."""
    k, dtype = len(components.weights), components.means.dtype
    none = jnp.zeros(k, bool)
    return Climb(
        step=jnp.array(0),
        state=state,
        log_likelihood=jnp.array(-jnp.inf, dtype),
        history=jnp.zeros(options.num_steps + 1, dtype),
        lost=none,
        collapsed=none,
        least_variances=jnp.zeros(k, dtype),
        converged=jnp.array(False),
        stop=jnp.array(False),
    )


def advanced(climb, sums, components, proposed, limits, options, axis=()):
    """The loop's next value: take the proposed step, or stop before it.

    `components` are the current ones and the proposed ones. `limits.tol` is a sum over
    all points.
    """
    limit = limits.floor, options.floored, axis
    now, least_now = sufficient.collapsed(components[0], *limit)
    collapsed, least = sufficient.collapsed(components[1], *limit)
    if not options.floored:
        collapsed = collapsed | now
    converged = jnp.abs(sums.log_likelihood - climb.log_likelihood) < limits.tol
    stop = converged | (climb.step == options.num_steps)
    if not options.floored:
        stop = stop | collapsed.any()
    return Climb(
        step=jnp.where(stop, climb.step, climb.step + 1),
        state=jax.tree.map(functools.partial(jnp.where, stop), climb.state, proposed),
        log_likelihood=sums.log_likelihood,
        history=climb.history.at[climb.step].set(sums.log_likelihood),
        lost=sums.counts < 0.5,
        collapsed=collapsed,
        least_variances=jnp.where(jnp.isfinite(least), least, least_now),
        converged=converged,
        stop=stop,
    )


def outcome(climb, components, centre):
    """The result of the loop; beyond its last step the last value is repeated."""
    reached = jnp.arange(len(climb.history)) <= climb.step
    return EMResult(
        params=sufficient.mixture_of(components, centre),
        log_likelihoods=jnp.where(reached, climb.history, climb.log_likelihood),
        num_steps=climb.step,
        converged=climb.converged,
        lost=climb.lost,
        collapsed=climb.collapsed,
        equal=sufficient.equal(components),
        least_variances=climb.least_variances,
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
