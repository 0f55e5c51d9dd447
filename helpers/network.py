"""A multilayer perceptron: layers with tanh, and a last layer that is linear.

The decoder of case 3 is such a network, and so are the encoder and the decoder of the
VAE.

Every function raises a ValueError if a shape does not fit, a number is not finite, a
size is below 1, or `key` is not a typed key.
"""

import itertools
from collections.abc import Sequence
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from helpers import _checks
from helpers._checks import checked

__all__ = ["MLP", "apply", "init"]


class MLP(NamedTuple):
    """Weights and biases, one of each per layer; a layer's output is the next's input.

    In the shapes of functions that take a network, `m` is the number of inputs of the
    first layer and `d` the number of outputs of the last.
    """

    weights: tuple[Float[Array, "inputs outputs"], ...]
    biases: tuple[Float[Array, " outputs"], ...]

    def _valid(self, name, sizes):
        """Check that the sizes of the layers match; see `_checks.checked`."""
        for field, value in zip(self._fields, self, strict=True):
            if not isinstance(value, tuple | list):
                raise ValueError(
                    f"{name}.{field}: got {type(value).__name__}, expected a tuple of "
                    "arrays, one per layer"
                )
        if not len(self.weights) == len(self.biases) > 0:
            raise ValueError(
                f"{name}: got {len(self.weights)} weights and {len(self.biases)} "
                "biases, expected one of each for every layer, and at least one layer"
            )
        weights, biases, known = [], [], {}
        for layer, (weight, bias) in enumerate(
            zip(self.weights, self.biases, strict=True)
        ):
            where = f"{name}.weights[{layer}]"
            weights.append(_checks.as_array(where, weight, "inputs outputs", **known))
            known = {"outputs": weights[-1].shape[1]}
            where = f"{name}.biases[{layer}]"
            biases.append(_checks.as_array(where, bias, "outputs", **known))
            known = {"inputs": known["outputs"]}
        sizes |= {"m": len(weights[0]), "d": len(biases[-1])}
        return MLP(tuple(weights), tuple(biases))


def valid_sizes(name, sizes):
    """Return the number of units in each layer, as a tuple of at least two counts."""
    try:
        units = tuple(sizes)
    except TypeError:
        units = ()
    if len(units) < 2:
        raise ValueError(
            f"{name}: got {sizes!r:.60}, expected the number of units of at least two "
            "layers, such as (2, 16, 1)"
        )
    return tuple(_checks.count(name, size) for size in units)


Sizes = Annotated[Sequence[int], valid_sizes]


@checked
def init(key: Key[Array, ""], sizes: Sizes) -> MLP:
    """Draw random weights from N(0, 1 / inputs), and set the biases to 0.

    Args:
        key: a typed key.
        sizes: number of units in each layer, starting with the inputs: (1, 16, 2) has
            one hidden layer, (1, 2) is linear.

    Returns:
        MLP with `len(sizes) - 1` layers.

    Source: LeCun et al. 1998, "Efficient BackProp", section 4.6.
    """
    shapes = list(itertools.pairwise(sizes))
    keys = jax.random.split(key, len(shapes))
    # As many numbers for every layer as the largest takes: one random draw compiles
    # much faster than one per layer.
    most = max(inputs * outputs for inputs, outputs in shapes)
    numbers = jax.vmap(lambda key: jax.random.normal(key, (most,)))(keys)
    weights = tuple(
        row[: inputs * outputs].reshape(inputs, outputs) / jnp.sqrt(inputs)
        for row, (inputs, outputs) in zip(numbers, shapes, strict=True)
    )
    biases = tuple(jnp.zeros(outputs) for _, outputs in shapes)
    return MLP(weights, biases)


@checked
def apply(params: MLP, inputs: Float[Array, "n m"]) -> Float[Array, "n d"]:
    """The network's output for each row of the inputs (S10).

    hidden = tanh(hidden W + b) in every layer except the last, which is hidden W + b

    Args:
        params: the network.
        inputs: `n m`, one row per input.

    Returns:
        `n d`.

    Source: deck, "Difficulties of MLE (3)"; Bishop 2006, section 5.1.
    """
    *hidden_layers, last_layer = zip(params.weights, params.biases, strict=True)
    hidden = inputs
    for weights, biases in hidden_layers:
        hidden = jnp.tanh(hidden @ weights + biases[None, :])
    weights, biases = last_layer
    return hidden @ weights + biases[None, :]
