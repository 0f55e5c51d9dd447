"""The compiled climb: one loop for EM and for any optimiser, and EM's Jacobian."""

from functools import partial

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from helpers._fast import sufficient
from helpers.mixture import Mixture


def climb(params, x, tol, floor, *options):
    """Run EM (no optimiser) or an optimiser; the fields of an EMResult, in order.

    Where the points lie on several devices, each runs the same climb on its own.
    """
    return _climb(params, x, tol, floor, *options, _mesh_and_axis(x))


def _mesh_and_axis(x):
    """The mesh over which the rows of x are spread, and along which axes of it."""
    sharding = getattr(x, "sharding", None)
    if isinstance(x, jax.core.Tracer) or not isinstance(sharding, NamedSharding):
        return None
    axis = sharding.spec[0] if sharding.spec else None
    axis = axis if isinstance(axis, tuple) or axis is None else (axis,)
    return (sharding.mesh, axis) if axis else None


@partial(jax.jit, static_argnums=range(4, 9))
def _climb(params, x, tol, floor, *options):
    *options, spread = options
    if spread is None:
        return _climb_here(params, x, tol, floor, options, len(x), ())
    mesh, axis = spread
    every = jax.shard_map(
        lambda *arrays: _climb_here(*arrays, options, len(x), axis),
        mesh=mesh,
        in_specs=(P(), P(axis), P(), P()),
        out_specs=P(),
    )
    return every(params, x, tol, floor)


def _climb_here(params, x, tol, floor, options, n, axis):
    optimizer, floored, num_steps, chunk_size = options
    chunk_size = chunk_size or sufficient.chunk_size_for(params)
    chunks, features_of, centre = sufficient.in_chunks(params, x, chunk_size, axis)
    params = params._replace(means=params.means - centre[None, :])
    # EM and an optimiser differ only in what they climb with, and in how the expected
    # statistics become its next value
    if optimizer is None:
        state = params

        def params_of(state):
            return state

        def update(state, statistics):
            least = floor if floored else None
            return sufficient.maximise(statistics, state, least, axis)
    else:
        free = unconstrained(params, axis)
        state = free, optimizer.init(free)

        def params_of(state):
            return constrained(state[0])

        def update(state, statistics):
            free, memory = state
            # the chain rule from theta, whose gradient the statistics are, to `free`
            _, pull_back = jax.vjp(
                lambda free: sufficient.natural(constrained(free), axis), free
            )
            (gradient,) = pull_back(-statistics / n)
            change, memory = optimizer.update(gradient, memory, free)
            return jax.tree.map(jnp.add, free, change), memory

    def step(carry):
        theta = sufficient.natural(params_of(carry[1]), axis)
        seen = sufficient.expected_statistics(theta, chunks, axis, features_of)
        proposed = update(carry[1], seen[1])
        collapsed = sufficient.collapsed(params_of(proposed), floor, floored, axis)
        return advanced(carry, seen, proposed, collapsed, tol * n, floored)

    start = beginning(state, len(params.weights), num_steps, x.dtype)
    *end, _ = jax.lax.while_loop(lambda carry: ~carry[-1], step, start)
    end[1] = params_of(end[1])
    return fields(*end, centre)


def beginning(state, num_components, num_steps, dtype):
    """The loop's first value: t, state, history, report, and whether to stop."""
    none = jnp.zeros(num_components, bool)
    history = jnp.full(num_steps + 1, jnp.nan, dtype)
    report = none, none, jnp.array(False)
    return jnp.array(0), state, history, report, jnp.array(False)


def advanced(carry, seen, proposed, collapsed, tol, floored):
    """The loop's next value: the step that is proposed, or its end before it."""
    t, state, history, _, _ = carry
    log_likelihood, statistics = seen
    gained = jnp.abs(log_likelihood - history[t - 1])  # nan at t = 0
    history = history.at[t].set(log_likelihood)
    converged = gained < tol
    stop = converged | (t == len(history) - 1) | (collapsed.any() & (not floored))
    state = jax.tree.map(partial(jnp.where, stop), state, proposed)
    report = statistics[:, 0] < 0.5, collapsed, converged
    return jnp.where(stop, t, t + 1), state, history, report, stop


def fields(t, params, history, report, centre):
    """The fields of an EMResult, in order, with the data's centre put back."""
    lost, collapsed, converged = report
    equal = sufficient.equal(params)
    params = params._replace(means=params.means + centre[None, :])
    return params, history, t, converged, lost, collapsed, equal


def unconstrained(params, axis=()):
    """Log weights, means, and the log of variances or of Cholesky diagonals."""
    weights, means, covariances = params
    if covariances.ndim == 1:
        return jnp.log(weights), means, jnp.log(covariances)
    root = sufficient.of_each(jnp.linalg.cholesky, covariances, axis)
    diagonal = jnp.diagonal(root, axis1=1, axis2=2)
    return jnp.log(weights), means, jnp.tril(root, -1) + _diagonal(jnp.log(diagonal))


def constrained(free):
    """The mixture that any unconstrained numbers stand for."""
    log_weights, means, roots = free
    weights = jax.nn.softmax(log_weights)
    if roots.ndim == 1:
        return Mixture(weights, means, jnp.exp(roots))
    diagonal = jnp.diagonal(roots, axis1=1, axis2=2)
    roots = jnp.tril(roots, -1) + _diagonal(jnp.exp(diagonal))
    return Mixture(weights, means, jnp.einsum("kil,kjl->kij", roots, roots))


def _diagonal(rows):
    return rows[:, :, None] * jnp.eye(rows.shape[1], dtype=rows.dtype)[None]


@jax.jit
def em_jacobian(params, x):
    """Jacobian of the EM map in unconstrained numbers, and how far a step moves."""
    columns, centre = sufficient.in_columns(x, sufficient.chunk_size_for(params))
    scale = jnp.sqrt((columns[:, 1:] ** 2).sum() / x.size)
    columns = jnp.concatenate([columns[:, :1], columns[:, 1:] / scale], axis=1)
    means = (params.means - centre[None, :]) / scale
    params = Mixture(params.weights, means, params.covariances / scale**2)
    free, as_tree = ravel_pytree(unconstrained(params))

    def em_map(free):
        params = constrained(as_tree(free))
        _, statistics = sufficient.expected_statistics(
            sufficient.natural(params), columns
        )
        return ravel_pytree(unconstrained(sufficient.maximise(statistics, params)))[0]

    return jax.jacfwd(em_map)(free), jnp.abs(em_map(free) - free).max()
