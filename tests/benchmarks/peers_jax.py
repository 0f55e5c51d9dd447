"""The same VAE in flax and in numpyro, laid out as their own examples are."""

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
from helpers.network import MLP


class Network(linen.Module):
    """Two layers, tanh between them."""

    hidden: int
    outputs: int

    @linen.compact
    def __call__(self, x):
        x = linen.tanh(linen.Dense(self.hidden)(x))
        return linen.Dense(self.outputs)(x)


def flax_trainer(start, x, optimizer, batch_size):
    """A step compiled, and called for each batch: `(key, epochs) -> VAE`."""
    networks = [Network(*(len(bias) for bias in network.biases)) for network in start]
    params = [{"params": _as_flax(network)} for network in start]

    @jax.jit
    def step(state, batch, key):
        def loss(params):
            output = networks[0].apply(params[0], batch)
            mean, log_sigma = jnp.split(output, 2, axis=1)
            z = mean + jnp.exp(log_sigma) * jax.random.normal(key, mean.shape)
            logits = networks[1].apply(params[1], z)
            score = optax.sigmoid_binary_cross_entropy(logits, batch).sum(axis=1)
            kl = 0.5 * mean**2 + 0.5 * jnp.exp(2 * log_sigma) - 0.5 - log_sigma
            return (score + kl.sum(axis=1)).mean()

        return state.apply_gradients(grads=jax.grad(loss)(state.params))

    def train(key, epochs):
        state = TrainState.create(apply_fn=None, params=params, tx=optimizer)
        for _ in range(epochs):
            key, order_key = jax.random.split(key)
            order = jax.random.permutation(order_key, len(x))
            for batch in order.reshape(-1, batch_size):
                key, step_key = jax.random.split(key)
                state = step(state, x[batch], step_key)
        trained = [_from_flax(network["params"]) for network in state.params]
        return jax.block_until_ready(vae.VAE(*trained))

    return train


def numpyro_trainer(start, x, optimizer, batch_size):
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
            # unvalidated, since grey pixels are outside the support
            likelihood = dist.Bernoulli(logits=decode(z), validate_args=False)
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


def _from_flax(params):
    layers = [params["Dense_0"], params["Dense_1"]]
    return MLP(
        tuple(layer["kernel"] for layer in layers),
        tuple(layer["bias"] for layer in layers),
    )
