"""The compiled climb: one loop for EM and for any optimiser, and EM's Jacobian."""

from functools import partial

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from helpers import _sufficient
from helpers.mixture import Mixture


@partial(jax.jit, static_argnums=(4, 5, 6, 7))
def climb(params, x, tol, floor, optimizer, floored, num_steps, chunk_size):
    """Run EM (no optimiser) or an optimiser; the fields of an EMResult, in order."""
    columns, centre = _sufficient.in_columns(x, chunk_size)
    params = params._replace(means=params.means - centre[None, :])
    # EM and an optimiser differ only in what they climb with, and in how the expected
    # statistics become its next value
    if optimizer is None:
        state = params

        def params_of(state):
            return state

        def update(state, statistics):
            return _sufficient.maximise(statistics, state, floor if floored else None)
    else:
        free = unconstrained(params)
        state = free, optimizer.init(free)

        def params_of(state):
            return constrained(state[0])

        def update(state, statistics):
            free, memory = state
            # the chain rule from theta, whose gradient the statistics are, to `free`
            _, pull_back = jax.vjp(
                lambda free: _sufficient.natural(constrained(free)), free
            )
            (gradient,) = pull_back(-statistics / len(x))
            change, memory = optimizer.update(gradient, memory, free)
            return jax.tree.map(jnp.add, free, change), memory

    def step(carry):
        t, state, history, _, _ = carry
        params = params_of(state)
        log_likelihood, statistics = _sufficient.expected_statistics(
            _sufficient.natural(params), columns
        )
        gained = jnp.abs(log_likelihood - history[t - 1])  # nan at t = 0
        history = history.at[t].set(log_likelihood)
        converged = gained < tol * len(x)
        proposed = update(state, statistics)
        collapsed = _sufficient.collapsed(params_of(proposed), floor, floored)
        stop = converged | (t == num_steps) | (collapsed.any() & (not floored))
        state = jax.tree.map(partial(jnp.where, stop), state, proposed)
        report = statistics[:, 0] < 0.5, collapsed, converged
        return jnp.where(stop, t, t + 1), state, history, report, stop

    none = jnp.zeros(params.weights.shape, bool)
    history = jnp.full(num_steps + 1, jnp.nan, x.dtype)
    start = 0, state, history, (none, none, jnp.array(False)), jnp.array(False)
    t, state, history, (lost, collapsed, converged), _ = jax.lax.while_loop(
        lambda carry: ~carry[-1], step, start
    )
    params = params_of(state)
    equal = _sufficient.equal(params)
    params = params._replace(means=params.means + centre[None, :])
    return params, history, t, converged, lost, collapsed, equal


def unconstrained(params):
    """Log weights, means, and the log of variances or of Cholesky diagonals."""
    weights, means, covariances = params
    if covariances.ndim == 1:
        return jnp.log(weights), means, jnp.log(covariances)
    root = jnp.linalg.cholesky(covariances)
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
    columns, centre = _sufficient.in_columns(x)
    scale = jnp.sqrt((columns[:, 1:] ** 2).sum() / x.size)
    columns = jnp.concatenate([columns[:, :1], columns[:, 1:] / scale], axis=1)
    means = (params.means - centre[None, :]) / scale
    params = Mixture(params.weights, means, params.covariances / scale**2)
    free, as_tree = ravel_pytree(unconstrained(params))

    def em_map(free):
        params = constrained(as_tree(free))
        _, statistics = _sufficient.expected_statistics(
            _sufficient.natural(params), columns
        )
        return ravel_pytree(unconstrained(_sufficient.maximise(statistics, params)))[0]

    return jax.jacfwd(em_map)(free), jnp.abs(em_map(free) - free).max()
