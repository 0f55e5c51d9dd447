"""Points, starts and a comparison that the tests of EM share."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import data
from helpers.mixture import Mixture

KINDS = ["spherical", "full"]
both_kinds = pytest.mark.parametrize("kind", KINDS)


def geyser():
    x = jnp.array(data.old_faithful())
    return (x - x.mean(axis=0)[None, :]) / x.std(axis=0)[None, :]


X = geyser()
SPHERICAL = Mixture(
    jnp.array([0.5, 0.3, 0.2]),
    jnp.array([[-1.0, -1.0], [1.0, 0.5], [0.2, 0.9]]),
    jnp.array([0.5, 1.0, 0.3]),
)
FULL = SPHERICAL._replace(
    covariances=SPHERICAL.covariances[:, None, None] * jnp.eye(2)[None]
)
START = {"spherical": SPHERICAL, "full": FULL}


def assert_close(one, other, **tolerance):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **tolerance), one, other)


def blobs(distance):
    x = jax.random.normal(jax.random.key(5), (400, 2))
    x = x + jnp.where(jnp.arange(400) < 200, distance, 0)[:, None]
    means = jnp.array([[0.0, 0.0], [distance, distance]])
    return x, Mixture(jnp.array([0.5, 0.5]), means, jnp.ones(2))
