"""Long trainings of the VAE, against a closed form and on the digits."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import linalg, stats

from helpers import data, gaussian, vae

KEYS = jax.random.split(jax.random.key(0), 8)
KEY = KEYS[0]


def bound(terms):
    return terms.reconstruction - terms.kl


def principal_components(x, m):
    """Probabilistic PCA: mean log-likelihood, sigma and axes, in closed form."""
    x = np.asarray(x)
    d = x.shape[1]
    values, vectors = np.linalg.eigh(np.cov(x.T, bias=True))
    noise = values[: d - m].mean()
    kept = np.log(values[d - m :]).sum()
    total = d * np.log(2 * np.pi) + kept + (d - m) * np.log(noise) + d
    return -0.5 * total, np.sqrt(noise), vectors[:, d - m :]


def test_the_linear_vae_is_probabilistic_pca():
    keys = jax.random.split(KEYS[5], 3)
    x = jax.random.normal(keys[0], (500, 2)) @ jax.random.normal(keys[1], (2, 6))
    x = x + 1.0 + 0.5 * jax.random.normal(keys[2], (500, 6))
    expected, sigma_x, axes = principal_components(x, 2)
    optimizer = optax.adam(optax.cosine_decay_schedule(0.03, 3000))
    options = {"optimizer": optimizer, "num_epochs": 600, "batch_size": 100}
    result = vae.fit(KEY, vae.init(KEY, (6, 2)), x, sigma_x=sigma_x, **options)
    (weights,), (biases,) = jax.tree.map(np.asarray, tuple(result.params.decoder))
    covariance = weights.T @ weights + sigma_x**2 * np.eye(6)
    found = stats.multivariate_normal(biases, covariance).logpdf(x).mean()
    assert 0 <= expected - found < 1e-3 * abs(expected)
    # the encoder finds the posterior too, so the bound is as high
    terms = vae.elbo_terms(KEY, result.params, x, num_samples=200, sigma_x=sigma_x)
    np.testing.assert_allclose(bound(terms).mean(), expected, rtol=2e-3)
    assert linalg.subspace_angles(weights.T, axes).max() < 0.02


@pytest.fixture(scope="module")
def trained_on_digits():
    x = jnp.asarray(data.digits()[0], jnp.float32)
    start = jax.tree.map(
        lambda leaf: leaf.astype(jnp.float32), vae.init(KEY, (64, 64, 8))
    )
    options = {"optimizer": optax.adam(3e-3), "num_epochs": 20, "sigma_x": 0.3}
    return x, start, vae.fit(KEYS[6], start, x[:1500], held_out=x[1500:], **options)


def test_training_raises_the_bound_on_digits(trained_on_digits):
    x, start, (params, history) = trained_on_digits
    before, after = (
        bound(vae.elbo_terms(KEY, p, x[1500:], sigma_x=0.3)).mean()
        for p in (start, params)
    )
    # as good as one Gaussian of any mean and a variance for each pixel, and better
    one = gaussian.fit_mle(x[:1500], isotropic=False)
    one = one._replace(variance=one.variance + 0.3**2)
    assert after > gaussian.log_prob(one, x[1500:]).mean() > before
    assert bound(history.training)[-1] > bound(history.training)[0]
    np.testing.assert_allclose(bound(history.held_out)[-1], after, atol=1.0)
    assert jnp.mean((vae.reconstruct(params, x) - x) ** 2) < 0.5 * jnp.var(x)


def test_float32_is_kept(trained_on_digits):
    x, _, (params, history) = trained_on_digits
    terms = vae.elbo_terms(KEY, params, x[:5])
    assert {leaf.dtype for leaf in jax.tree.leaves((params, history, terms))} == {
        jnp.dtype("float32")
    }
