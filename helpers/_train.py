"""The training loop: an epoch as one compiled scan, and what watches over it."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from tqdm.auto import tqdm


@partial(jax.jit, static_argnums=(0, 1, 2))
def epoch(terms, optimizer, sizes, key, t, params, memory, x, probe, numbers):
    """Each point once, in a new order; then both terms, there and on the probe."""
    num_batches, num_samples, batch_size = sizes
    probe, probe_eps = probe
    beta, sigma_x = numbers
    order_key, noise_key = jax.random.split(jax.random.fold_in(key, t))
    order = _shuffled(order_key, len(x))
    batches = order[: num_batches * batch_size].reshape(num_batches, batch_size)
    # all of the epoch's noise at once: a draw inside the loop costs more than a step
    shape = num_batches, num_samples, batch_size, probe_eps.shape[-1]
    eps = jax.random.normal(noise_key, shape, x.dtype)

    def loss(params, x, eps):
        reconstruction, kl = (term.mean() for term in terms(params, x, eps, sigma_x))
        return beta * kl - reconstruction, jnp.stack([reconstruction, kl])

    def step(state, inputs):
        params, memory = state
        batch, eps = inputs
        gradient, values = jax.grad(loss, has_aux=True)(params, x[batch], eps)
        change, memory = optimizer.update(gradient, memory, params)
        return (jax.tree.map(jnp.add, params, change), memory), values

    state, values = jax.lax.scan(step, (params, memory), (batches, eps))
    _, seen = loss(state[0], probe, probe_eps)
    return *state, jnp.concatenate([values.mean(axis=0), seen])


def _shuffled(key, n):
    """The numbers below n in a random order.

    To sort random bits is several times faster than `jax.random.permutation`, and to
    sort numbers that hold their places in the last bits as much faster again.
    """
    bits = jax.random.bits(key, (n,))
    if n > 2**16:  # too few bits would be left to chance
        return jnp.argsort(bits)
    last = jnp.array(2 ** (n - 1).bit_length() - 1, bits.dtype)
    return jnp.sort(bits & ~last | jnp.arange(n, dtype=bits.dtype)) & last


def _automatic(x):
    """X where it lies, but on a mesh that lets XLA choose how to move what moves.

    A shuffle takes its points from all the devices, which an explicit mesh refuses.
    """
    if not isinstance(getattr(x, "sharding", None), NamedSharding):
        return x
    mesh = Mesh(x.sharding.mesh.devices, x.sharding.mesh.axis_names)
    return jax.device_put(x, NamedSharding(mesh, x.sharding.spec))


def run(key, params, x, held_out, numbers, options):
    """Train until done, interrupted, or not finite; the last good parameters.

    Params are good when the terms were finite in all of an epoch and at its end, on
    the held-out data or else on some of the training data. Nothing is donated to the
    compiled epoch, since those at its start must outlive it.
    """
    terms, optimizer, num_epochs, num_samples, batch_size, latents, progress = options
    x = _automatic(x)
    probe = x[:batch_size] if held_out is None else _automatic(held_out)
    shape = num_samples, len(probe), latents
    key, eps, memory = _beginning(optimizer, shape, key, params)
    sizes = len(x) // batch_size, num_samples, batch_size
    history, finite = [], True
    # a bar that is not told off is off where it would fill a log file with lines
    hidden = None if progress is None else not progress
    try:
        with tqdm(total=num_epochs, unit="epoch", disable=hidden) as bar:
            for t in range(num_epochs):
                *state, values = epoch(
                    *(terms, optimizer, sizes, key, t),
                    *(params, memory, x, (probe, eps), numbers),
                )
                values = np.asarray(values)
                finite = bool(np.isfinite(values).all())
                if not finite:
                    break
                params, memory = state
                history.append(values)
                elbos = f"ELBO {values[0] - values[1]:.2f}"
                if held_out is not None:
                    elbos += f", held out {values[2] - values[3]:.2f}"
                bar.set_postfix_str(elbos, refresh=False)
                bar.update()
    except KeyboardInterrupt:
        pass  # what was learnt so far is the answer
    return params, np.reshape(history, (-1, 4)).astype(x.dtype), finite


@partial(jax.jit, static_argnums=(0, 1))  # one program for what would be fourteen
def _beginning(optimizer, shape, key, params):
    """The epochs' key, the probe's noise, and the optimiser's memory."""
    probe_key, key = jax.random.split(key)
    # the same noise each time: the curve moves because the parameters do
    eps = jax.random.normal(probe_key, shape, params.decoder.biases[-1].dtype)
    return key, eps, optimizer.init(params)
