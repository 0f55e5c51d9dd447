"""Real and synthetic data, none of which is downloaded."""

from importlib.resources import files

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from helpers import _checks

__all__ = ["digits", "old_faithful", "two_moons"]


def old_faithful() -> Float[np.ndarray, "272 2"]:
    """272 eruptions of the Old Faithful geyser, Yellowstone National Park.

    Returns:
        `272 2` in float64: the eruption's length in minutes, and the waiting time to
        the next eruption in minutes.

    Source: Haerdle 1991, "Smoothing Techniques: With Implementation in S", in the form
    that R carries as `faithful`. Azzalini and Bowman 1990, "A look at some data on the
    Old Faithful geyser", Applied Statistics 39, 357-365, use a fuller version of 299
    eruptions. Measurements of nature, free of copyright.
    """
    path = files("helpers") / "old_faithful.csv"
    with path.open() as table:
        return np.loadtxt(table, delimiter=",", skiprows=1)


def digits() -> tuple[Float[np.ndarray, "1797 64"], Int[np.ndarray, " 1797"]]:
    """1797 handwritten digits, 8 by 8 pixels, carried by scikit-learn.

    Returns:
        images `1797 64` in float64, each pixel from 0 to 1; labels `1797`, 0 to 9.

    Source: Alpaydin and Kaynak 1998, "Optical Recognition of Handwritten Digits",
    UCI Machine Learning Repository, licence CC BY 4.0.
    """
    # imported here: it takes longer than all of this package
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    return images / 16.0, labels


def two_moons(
    key: Key[Array, ""], num_samples: int, *, noise: float = 0.1
) -> tuple[Float[Array, "n 2"], Int[Array, " n"]]:
    """Two interleaved half circles of radius 1 with Gaussian noise.

    Args:
        key: a typed key.
        num_samples: how many, at least 2; the first moon has the odd one.
        noise: standard deviation, at least 0.

    Returns:
        points `n 2`, and the moon `n` (0 or 1) that each came from.

    Raises:
        ValueError: `num_samples` is below 2, `noise` is negative or not finite, or
            `key` is no key.

    Source: the same construction as scikit-learn's `make_moons`.
    """
    num_samples = _checks.count("num_samples", num_samples, low=2)
    noise = _checks.not_negative("noise", noise, "")
    angle_key, noise_key = jax.random.split(_checks.key(key))
    moon = (jnp.arange(num_samples) >= (num_samples + 1) // 2).astype(int)
    angle = jax.random.uniform(angle_key, (num_samples,), maxval=jnp.pi)
    upper = jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=1)
    lower = jnp.stack([1 - jnp.cos(angle), 0.5 - jnp.sin(angle)], axis=1)
    x = jnp.where(moon[:, None] == 0, upper, lower)
    return x + noise * jax.random.normal(noise_key, x.shape), moon
