"""The multilayer perceptron that `decoder` makes public: its parameters and output."""

import itertools
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from helpers import _checks


class Decoder(NamedTuple):
    """A multilayer perceptron's parameters: one `inputs outputs` matrix a layer."""

    weights: tuple[Float[Array, "inputs outputs"], ...]
    biases: tuple[Float[Array, " outputs"], ...]


def init(key: Key[Array, ""], sizes: Sequence[int]) -> Decoder:
    """Draw a decoder: weights N(0, 1 / inputs), biases 0.

    Args:
        key: a typed key.
        sizes: units of each layer, from z to x: (1, 16, 2) has one hidden layer,
            (1, 2) is linear.

    Returns:
        Decoder with `len(sizes) - 1` layers.

    Raises:
        ValueError: fewer than two sizes, a size below 1, or `key` is no key.

    Source: LeCun et al. 1998, "Efficient BackProp", section 4.6.
    """
    sizes = [_checks.count("sizes", size) for size in sizes]
    if len(sizes) < 2:
        raise ValueError(f"sizes: got {sizes}, expected at least z's and x's dimension")
    return _init(_checks.key(key), tuple(sizes))


@partial(jax.jit, static_argnums=1)
def _init(key, sizes):
    pairs = list(itertools.pairwise(sizes))
    weights = tuple(
        jax.random.normal(key, pair) / jnp.sqrt(pair[0])
        for key, pair in zip(jax.random.split(key, len(pairs)), pairs, strict=True)
    )
    return Decoder(weights, tuple(jnp.zeros(outputs) for _, outputs in pairs))


def decode(params: Decoder, z: Float[Array, "s m"]) -> Float[Array, "s d"]:
    """The network's output for each z: tanh layers, then a linear one (S10).

    Args:
        params: the decoder.
        z: latents `s m`, one a row.

    Returns:
        `s d`, the centres of p(x given z).

    Raises:
        ValueError: a shape does not fit or a number is not finite.

    Source: deck, "Difficulties of MLE (3)".
    """
    weights, biases = checked(params)
    z = _checks.as_array("z", z, "s m", m=weights[0].shape[0])
    return _decode(weights, biases, z)


@jax.jit  # one small program, where each operation alone would be compiled and kept
def _decode(weights, biases, hidden):
    for matrix, bias in zip(weights[:-1], biases[:-1], strict=True):
        hidden = jnp.tanh(hidden @ matrix + bias[None, :])
    return hidden @ weights[-1] + biases[-1][None, :]


def checked(params):
    """Weights and biases as arrays whose sizes chain from z to x."""
    if not len(params.weights) == len(params.biases) > 0:
        raise ValueError(
            f"params: got {len(params.weights)} weights and {len(params.biases)} "
            "biases, expected one of each for every layer, and at least one layer"
        )
    weights, biases, sizes = [], [], {}
    for layer, (weight, bias) in enumerate(
        zip(params.weights, params.biases, strict=True)
    ):
        name = f"params.weights[{layer}]"
        weights.append(_checks.as_array(name, weight, "inputs outputs", **sizes))
        outputs = weights[-1].shape[1]
        name = f"params.biases[{layer}]"
        biases.append(_checks.as_array(name, bias, "outputs", outputs=outputs))
        sizes = {"inputs": outputs}
    return weights, biases
