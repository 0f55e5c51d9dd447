"""The mixture: its samples, and each precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_mixture import X, both_covariances

from helpers import mixture


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@both_covariances
def test_dtype_is_kept(params, dtype):
    params = jax.tree.map(lambda leaf: leaf.astype(dtype), params)
    x, key = X.astype(dtype), jax.random.key(1)
    kind = "spherical" if params.covariances.ndim == 1 else "full"
    results = (
        mixture.log_joint(params, x),
        mixture.log_likelihood(params, x),
        mixture.responsibilities(params, x),
        mixture.sample(key, params, 3)[0],
        mixture.init_from_data(key, x, 2, covariance_type=kind),
    )
    assert {leaf.dtype for leaf in jax.tree.leaves(results)} == {jnp.dtype(dtype)}


@both_covariances
def test_samples_have_each_components_weight_and_moments(params):
    num_samples = 30_000
    x, z = mixture.sample(jax.random.key(2), params, num_samples)
    matrices = params.covariances
    if matrices.ndim == 1:
        matrices = matrices[:, None, None] * jnp.eye(2)[None]
    for k, (weight, mean, matrix) in enumerate(
        zip(params.weights, params.means, matrices, strict=True)
    ):
        own = np.asarray(x[z == k])
        share_error = np.sqrt(weight * (1 - weight) / num_samples)
        variance = np.diag(matrix)
        # Isserlis: var of a product of two Gaussians, s_ii s_jj + s_ij^2
        entry_error = np.sqrt((np.outer(variance, variance) + matrix**2) / len(own))
        assert abs(len(own) / num_samples - weight) < 4 * share_error
        assert (abs(own.mean(0) - mean) < 4 * np.sqrt(variance / len(own))).all()
        assert (abs(np.cov(own.T) - matrix) < 4 * entry_error).all()
