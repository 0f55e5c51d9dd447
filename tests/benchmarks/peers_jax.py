"""The same VAE in plain optax, in flax and in numpyro, as their own examples do it."""

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
import optax
from flax import linen
from flax.training.train_state import TrainState
from jax import lax
from numpyro.infer import SVI, TraceMeanField_ELBO

from helpers import vae


class Network(linen.Module):
    """Two layers, tanh between them."""

    hidden: int
    outputs: int

    @linen.compact
    def __call__(self, x):
        x = linen.tanh(linen.Dense(self.hidden)(x))
        return linen.Dense(self.outputs)(x)


def optax_trainer(start, x, optimizer, batch_size, sigma_x):
    """The loop that a user of JAX writes: a compiled step, called for each batch."""

    @jax.jit
    def step(params, state, batch, key):
        def loss(params):
            return negative_elbo(
                lambda x: _forward(params.encoder, x),
                lambda z: _forward(params.decoder, z),
                batch,
                key,
                sigma_x,
            )

        updates, state = optimizer.update(jax.grad(loss)(params), state, params)
        return optax.apply_updates(params, updates), state

    def train(key, epochs):
        params, state = start, optimizer.init(start)
        for batch, step_key in _batches(key, x, epochs, batch_size):
            params, state = step(params, state, batch, step_key)
        return jax.block_until_ready(params)

    return train


def flax_trainer(start, x, optimizer, batch_size, sigma_x):
    """A step compiled, and called for each batch: `(key, epochs) -> VAE`."""
    networks = [Network(*(len(bias) for bias in network.biases)) for network in start]
    params = [{"params": _as_flax(network)} for network in start]

    @jax.jit
    def step(state, batch, key):
        def loss(params):
            return negative_elbo(
                lambda x: networks[0].apply(params[0], x),
                lambda z: networks[1].apply(params[1], z),
                batch,
                key,
                sigma_x,
            )

        return state.apply_gradients(grads=jax.grad(loss)(state.params))

    def train(key, epochs):
        state = TrainState.create(apply_fn=None, params=params, tx=optimizer)
        for batch, step_key in _batches(key, x, epochs, batch_size):
            state = step(state, batch, step_key)
        trained = [
            _from_flax(network["params"], like)
            for network, like in zip(state.params, start, strict=True)
        ]
        return jax.block_until_ready(vae.VAE(*trained))

    return train


def negative_elbo(encode, decode, x, key, sigma_x):
    """Mean over the batch, without the constant of the likelihood."""
    mean, log_sigma = jnp.split(encode(x), 2, axis=1)
    z = mean + jnp.exp(log_sigma) * jax.random.normal(key, mean.shape)
    score = ((x - decode(z)) ** 2).sum(axis=1) / (2 * sigma_x**2)
    kl = 0.5 * mean**2 + 0.5 * jnp.exp(2 * log_sigma) - 0.5 - log_sigma
    return (score + kl.sum(axis=1)).mean()


def _batches(key, x, epochs, batch_size):
    """Each batch of each epoch, in a new order, with a key for its step."""
    for _ in range(epochs):
        key, order_key = jax.random.split(key)
        order = jax.random.permutation(order_key, len(x))
        for batch in order.reshape(-1, batch_size):
            key, step_key = jax.random.split(key)
            yield x[batch], step_key


def numpyro_trainer(start, x, optimizer, batch_size, sigma_x):
    """SVI with an epoch compiled as one loop: `(key, epochs) -> VAE`."""
    latents = start.decoder.weights[0].shape[0]

    def network(name, inputs):
        part = getattr(start, name)
        layers = (lambda key, shape: (shape, part)), _forward
        return numpyro.module(name, layers, inputs)

    def model(batch):
        decode = network("decoder", (batch_size, latents))
        with numpyro.plate("batch", batch_size):
            z = numpyro.sample("z", dist.Normal(0, 1).expand([latents]).to_event(1))
            likelihood = dist.Normal(decode(z), sigma_x)
            numpyro.sample("x", likelihood.to_event(1), obs=batch)

    def guide(batch):
        encode = network("encoder", batch.shape)
        mean, log_sigma = jnp.split(encode(batch), 2, axis=1)
        with numpyro.plate("batch", batch_size):
            q = dist.Normal(mean, jnp.exp(log_sigma)).to_event(1)
            numpyro.sample("z", q)

    svi = SVI(model, guide, optimizer, TraceMeanField_ELBO())

    @jax.jit
    def epoch(state, order):
        def step(i, carry):
            total, state = carry
            batch = x[lax.dynamic_slice_in_dim(order, i * batch_size, batch_size)]
            state, loss = svi.update(state, batch)
            return total + loss, state

        return lax.fori_loop(0, len(x) // batch_size, step, (0.0, state))

    def train(key, epochs):
        key, start_key = jax.random.split(key)
        state = svi.init(start_key, x[:batch_size])
        for _ in range(epochs):
            key, order_key = jax.random.split(key)
            _, state = epoch(state, jax.random.permutation(order_key, len(x)))
        params = svi.get_params(state)
        trained = [params[f"{name}$params"] for name in vae.VAE._fields]
        return jax.block_until_ready(vae.VAE(*trained))

    return train


def _forward(network, x):
    (first, second), (bias, last) = network
    return jnp.tanh(x @ first + bias) @ second + last


def _as_flax(network):
    return {
        f"Dense_{layer}": {"kernel": weight, "bias": bias}
        for layer, (weight, bias) in enumerate(zip(*network, strict=True))
    }


def _from_flax(params, like):
    layers = [params["Dense_0"], params["Dense_1"]]
    return like._replace(
        weights=tuple(layer["kernel"] for layer in layers),
        biases=tuple(layer["bias"] for layer in layers),
    )
