"""The VAE with other estimators of its terms, in float32, and on many points."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_vae import (
    KEY,
    MOMENTUM,
    PLANE,
    X3,
    assert_same,
    fit,
    score_function_terms,
)

from helpers import vae
from helpers.vae import ElboTerms


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_precision_is_kept(dtype):
    params, x = jax.tree.map(lambda leaf: leaf.astype(dtype), (PLANE, X3))
    result = fit(KEY, params, x, num_epochs=1, held_out=x)
    terms = vae.elbo_terms(KEY, params, x)
    after = vae.step(KEY, params, MOMENTUM.init(params), x, optimizer=MOMENTUM)
    found = {leaf.dtype for leaf in jax.tree.leaves((result, terms, after))}
    assert found == {jnp.dtype(dtype)}


def test_terms_given_are_the_ones_whose_gradient_is_followed():
    usual, other = (
        fit(KEY, PLANE, X3, num_epochs=1, batch_size=20, terms=terms)
        for terms in (None, score_function_terms)
    )
    # one step: the same value, the same slope in the decoder, another in the encoder
    assert_same(usual.history, other.history, rtol=1e-12)
    assert_same(usual.params.decoder, other.params.decoder, rtol=1e-9, atol=1e-12)
    assert not np.allclose(
        usual.params.encoder.weights[0], other.params.encoder.weights[0]
    )


def test_terms_that_read_a_number_are_never_stale():
    weight, weights = 1.0, [1.0]

    def reads_a_number(params, x, eps, sigma_x):
        reconstruction, kl = vae.pathwise_terms(params, x, eps, sigma_x)
        return ElboTerms(weight * reconstruction, kl)

    def reads_a_list(params, x, eps, sigma_x):
        reconstruction, kl = vae.pathwise_terms(params, x, eps, sigma_x)
        return ElboTerms(weights[0] * reconstruction, kl)

    for terms in reads_a_number, reads_a_list:
        weight, weights[0] = 1.0, 1.0
        whole = fit(KEY, PLANE, X3, num_epochs=1, terms=terms)
        weight, weights[0] = 0.5, 0.5
        half = fit(KEY, PLANE, X3, num_epochs=1, terms=terms)
        first = [run.history.training.reconstruction[0] for run in (whole, half)]
        assert first[1] > 0.7 * first[0]  # both are negative


def test_large_data_are_shuffled_without_a_trend_in_32_bits(as_user):
    num_points = 60_000
    with jax.enable_x64(False):
        (order,) = vae.minibatches(jax.random.key(0), num_points, num_points)
    assert sorted(np.asarray(order)) == list(range(num_points))
    share = (np.diff(order) > 0).mean()
    # the share of ascents in a random order: mean 1/2, variance about 1/(12 n)
    assert abs(share - 0.5) < 4 / np.sqrt(12 * num_points)
