"""The measurements of a trained VAE, against quadrature and closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import decoder, evaluate, vae
from helpers.vae import VAE

KEYS = jax.random.split(jax.random.key(0), 6)
BENT = VAE(vae.init(KEYS[0], (2, 5, 1)).encoder, decoder.bent_line())
PLANE = vae.init(KEYS[1], (3, 7, 2))
X, _ = decoder.sample(KEYS[2], BENT.decoder, 30, sigma_x=0.7)
X3 = jax.random.normal(KEYS[3], (40, 3))


@pytest.fixture(scope="module")
def ratios():
    return evaluate.log_ratios(KEYS[4], BENT, X, num_samples=20_000, sigma_x=0.7)


def test_the_mean_ratio_is_the_probability(ratios):
    exact = decoder.log_marginal_quadrature(BENT.decoder, X, sigma_x=0.7)
    relative = np.exp(ratios - exact[:, None])
    error = relative.std(axis=1, ddof=1) / np.sqrt(20_000)
    assert np.abs((relative.mean(axis=1) - 1) / error).max() < 4


def test_the_mean_log_ratio_is_the_bound(ratios):
    options = {"num_samples": 20_000, "sigma_x": 0.7}
    terms = vae.elbo_terms(KEYS[5], BENT, X, **options)
    error = ratios.std(axis=1, ddof=1) * np.sqrt(2 / 20_000)
    away = ratios.mean(axis=1) - (terms.reconstruction - terms.kl)
    assert np.abs(away / error).max() < 4


def test_log_prob_averages_before_the_logarithm(ratios):
    found = evaluate.log_prob(KEYS[4], BENT, X, num_samples=20_000, sigma_x=0.7)
    expected = np.log(np.exp(ratios).mean(axis=1))
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_the_units_kls_add_up_to_the_kl():
    params = jax.tree.map(lambda leaf: leaf + 0.1, PLANE)
    found = evaluate.unit_kl(params, X3)
    assert found.shape == (2,)
    total = vae.elbo_terms(KEYS[5], params, X3).kl.mean()
    np.testing.assert_allclose(found.sum(), total, rtol=1e-12)


def test_a_unit_cut_off_from_x_is_not_active():
    last = PLANE.encoder.weights[-1].at[:, 1].set(0)
    encoder = PLANE.encoder._replace(weights=(*PLANE.encoder.weights[:-1], last))
    params = PLANE._replace(encoder=encoder)
    assert evaluate.active_units(params, X3).tolist() == [True, False]
    above = float(vae.encode(params, X3).mean[:, 0].var()) * 1.01
    assert not evaluate.active_units(params, X3, threshold=above).any()


def test_distortion_is_the_squared_error_of_a_draw():
    narrow = PLANE.encoder.biases[-1].at[2:].set(-30.0)  # log sigma: z is the mean
    encoder = PLANE.encoder._replace(biases=(*PLANE.encoder.biases[:-1], narrow))
    params = PLANE._replace(encoder=encoder)
    expected = ((X3 - vae.reconstruct(params, X3)) ** 2).sum(axis=1).mean()
    found = evaluate.distortion(KEYS[5], params, X3)
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    assert evaluate.distortion(KEYS[5], PLANE, X3) > expected


@pytest.mark.parametrize(
    ("argument", "came", "call"),
    [
        ("key", "got int", lambda: evaluate.log_prob(0, PLANE, X3, num_samples=1)),
        (
            "num_samples",
            "got 0",
            lambda: evaluate.log_prob(KEYS[0], PLANE, X3, num_samples=0),
        ),
        (
            "sigma_x",
            "got -1.0",
            lambda: evaluate.log_ratios(
                KEYS[0], PLANE, X3, num_samples=1, sigma_x=-1.0
            ),
        ),
        (
            "x",
            "got shape (40, 2)",
            lambda: evaluate.unit_kl(PLANE, jnp.asarray(X3[:, :2])),
        ),
        (
            "threshold",
            "got -1.0",
            lambda: evaluate.active_units(PLANE, X3, threshold=-1.0),
        ),
    ],
)
def test_bad_arguments_are_refused(argument, came, call, refused):
    with refused(argument, came, "expected"):
        call()
