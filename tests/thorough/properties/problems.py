"""Points and models for the property tests, made of drawn numbers.

Hypothesis draws seeds, scales and dtypes. Shapes are few, since each is compiled anew.
"""

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st

from helpers import decoder, gaussian, mixture, vae
from helpers.gaussian import Gaussian
from helpers.mixture import Mixture
from helpers.network import MLP
from helpers.vae import VAE

N, D, K, HIDDEN = 8, 2, 3, 3
KINDS = ["spherical", "full"]
seeds = st.integers(0, 2**32 - 1)
scales = st.floats(-12, 12).map(lambda exponent: 10.0**exponent)
dtypes = st.sampled_from(["float32", "float64"])
both_kinds = pytest.mark.parametrize("kind", KINDS)
few = settings(max_examples=2)  # where each example calls a function many times


class Problem(NamedTuple):
    """Points, and models for them, or the real numbers that these are made of."""

    x: jax.Array
    q: jax.Array
    normal: Gaussian
    other: Gaussian
    spherical: Mixture
    full: Mixture
    line: Gaussian
    decoder: MLP
    vae: VAE
    z: jax.Array
    sigma_x: jax.Array


def layers(*sizes):
    return MLP(tuple(itertools.pairwise(sizes)), tuple((size,) for size in sizes[1:]))


SHAPES = Problem(
    x=(N, D),
    q=(N, K),
    normal=Gaussian((D,), (D,)),
    other=Gaussian((D,), (D,)),
    spherical=Mixture((K,), (K, D), (K,)),
    full=Mixture((K,), (K, D), (K, D, D)),
    line=Gaussian((1,), (1,)),
    decoder=layers(1, HIDDEN, D),
    vae=VAE(layers(D, HIDDEN, 4), layers(2, HIDDEN, D)),
    z=(N, 2),
    sigma_x=(),
)


def free_numbers(seed, dtype="float64"):
    """Draw standard normal numbers in a Problem's shapes."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(
        lambda shape: jnp.asarray(rng.normal(size=shape), dtype),
        SHAPES,
        is_leaf=lambda leaf: all(isinstance(size, int) for size in leaf),
    )


@jax.jit
def problem(free):
    """Make variances of real numbers, and probabilities."""

    def positive(normal):
        return normal._replace(variance=jnp.exp(0.5 * normal.variance))

    roots = 0.5 * free.full.covariances
    covariances = (
        roots @ roots.swapaxes(1, 2) + 0.3 * jnp.eye(D, dtype=roots.dtype)[None]
    )
    variances = jnp.exp(0.5 * free.spherical.covariances)
    return free._replace(
        q=jax.nn.softmax(free.q, axis=1),
        normal=positive(free.normal),
        other=positive(free.other),
        line=positive(free.line),
        spherical=Mixture(
            jax.nn.softmax(free.spherical.weights), free.spherical.means, variances
        ),
        full=Mixture(jax.nn.softmax(free.full.weights), free.full.means, covariances),
        sigma_x=jnp.exp(0.3 * free.sigma_x),
    )


def bent(p):
    """The log joint of the first point as a function of z."""
    return lambda z: decoder.log_joint(p.decoder, p.x[:1], z, sigma_x=p.sigma_x)[0]


def assert_close(one, other, rtol):
    """Assert that leaves agree, relative to the largest entry of each."""

    def compare(a, b):
        a, b = np.asarray(a, float), np.asarray(b, float)
        size = np.abs(b[np.isfinite(b)]).max(initial=0)
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * size)

    jax.tree.map(compare, one, other)


def moved(params, rotation, scale, shift):
    """A model after space is rotated, stretched and shifted."""
    match params:
        case Gaussian(mean, variance):
            variance = rotation**2 @ variance if np.ndim(variance) else variance
            return Gaussian(scale * rotation @ mean + shift, scale**2 * variance)
        case Mixture(weights, means, covariances):
            means = scale * means @ rotation.T + shift[None, :]
            if covariances.ndim == 3:
                covariances = rotation[None] @ covariances @ rotation.T[None]
            return Mixture(weights, means, scale**2 * covariances)
        case MLP(weights, biases):
            last = scale * weights[-1] @ rotation.T
            bias = scale * rotation @ biases[-1] + shift
            return MLP((*weights[:-1], last), (*biases[:-1], bias))


class Motion(NamedTuple):
    """A turn, a stretch and a shift of the plane, and a dtype to compute in."""

    rotation: np.ndarray
    scale: float
    shift: np.ndarray
    dtype: str

    def of(self, params):
        return self.cast(moved(params, *self[:3]))

    def of_points(self, x):
        return self.cast(self.scale * x @ self.rotation.T + self.shift[None, :])

    def cast(self, tree):
        return jax.tree.map(lambda leaf: jnp.asarray(leaf, self.dtype), tree)


@st.composite
def motions(draw, dtypes=dtypes):
    # by right angles, under which a diagonal covariance stays diagonal, or any
    angle = draw(st.sampled_from([0.5 * np.pi, np.pi, 0.7]))
    cos, sin = np.cos(angle), np.sin(angle)
    scale = draw(scales)
    shift = scale * np.array(draw(st.tuples(*[st.floats(-3, 3)] * D)))
    return Motion(np.array([[cos, -sin], [sin, cos]]), scale, shift, draw(dtypes))


def numbers(seed):
    """A problem in NumPy's double precision, to be moved and cast."""
    return jax.tree.map(np.asarray, problem(free_numbers(seed)))


def digits_of(dtype):
    """A relative error that rounding stays below."""
    return {"float32": 2e-3, "float64": 1e-9}[dtype]


def isotropic(p):
    return Gaussian(p.normal.mean, p.normal.variance[0])


# By model: its parameters, log p(x), for which sigma_x is the unit of length.
LOG_DENSITIES = {
    "isotropic": (isotropic, lambda p, m, x, s: gaussian.log_prob(m, x)),
    "diagonal": (lambda p: p.normal, lambda p, m, x, s: gaussian.log_prob(m, x)),
    "spherical": (lambda p: p.spherical, lambda p, m, x, s: mixture.log_prob(m, x)),
    "full": (lambda p: p.full, lambda p, m, x, s: mixture.log_prob(m, x)),
    "log joint": (
        lambda p: p.decoder,
        lambda p, m, x, s: decoder.log_joint(m, x, p.z[:, :1], sigma_x=s),
    ),
    "quadrature": (
        lambda p: p.decoder,
        lambda p, m, x, s: decoder.log_marginal_quadrature(m, x, sigma_x=s),
    ),
    "vae": (
        lambda p: p.vae.decoder,
        lambda p, m, x, s: vae.log_likelihood(VAE(p.vae.encoder, m), x, p.z, sigma_x=s),
    ),
}
