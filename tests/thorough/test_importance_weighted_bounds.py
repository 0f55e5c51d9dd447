"""The importance-weighted bound, averaged over many draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_bounds import ANY_Q, KEYS, LOG_JOINT, MIXTURE, X

from helpers import bounds, mixture


@pytest.mark.parametrize("num_samples", [1, 2, 5])
def test_importance_weighted_bound_averages_to_its_exact_value(num_samples):
    draws = jax.vmap(
        lambda key: bounds.importance_weighted_bound(
            key, LOG_JOINT, ANY_Q, num_samples=num_samples
        )
    )(jax.random.split(KEYS[4], 4000))
    exact = bounds.importance_weighted_bound_exact(
        LOG_JOINT, ANY_Q, num_samples=num_samples
    )
    # five standard errors: 20 points are looked at
    assert (abs(draws.mean(0) - exact) < 5 * draws.std(0) / np.sqrt(4000)).all()


def test_more_samples_tighten_the_bound():
    climb = jnp.stack(
        [
            bounds.importance_weighted_bound_exact(LOG_JOINT, ANY_Q, num_samples=s)
            for s in range(1, 8)
        ]
        + [mixture.log_prob(MIXTURE, X)]
    )
    assert (jnp.diff(climb, axis=0) > 0).all()
