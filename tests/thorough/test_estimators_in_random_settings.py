"""The estimators in 100 random settings, against the exact gradient."""

import jax
import jax.numpy as jnp
import pytest

from helpers import estimators
from helpers.gaussian import Gaussian

KEY = jax.random.key(0)
ESTIMATORS = {
    "pathwise": estimators.pathwise,
    "score": estimators.score_function,
    "constant": lambda *args, **options: estimators.score_function(
        *args, baseline=0.7, **options
    ),
    "leave one out": lambda *args, **options: estimators.score_function(
        *args, baseline="leave_one_out", **options
    ),
}
every_estimator = pytest.mark.parametrize("name", ESTIMATORS)


def standard_errors(estimates, truth):
    """How many standard errors each mean is from the truth."""
    return [
        (leaf.mean(axis=0) - exact) / (leaf.std(axis=0, ddof=1) / jnp.sqrt(len(leaf)))
        for leaf, exact in zip(estimates, truth, strict=True)
    ]


def random_setting(key):
    """A network's scalar output, a q of its sigma, and a key: all different."""
    keys = jax.random.split(key, 5)
    d = 2
    matrix = 0.5 * jax.random.normal(keys[0], (d, 4))
    out = jax.random.normal(keys[1], (4,))
    mean = jax.random.normal(keys[2], (d,))
    sigma = jax.random.uniform(keys[3], (d,), minval=0.2, maxval=1.0)
    return (lambda z: jnp.tanh(z @ matrix) @ out), Gaussian(mean, sigma**2), keys[4]


@pytest.fixture(scope="module")
def settings():
    """How far each estimator is from the truth, and the truth from a finer rule's."""

    @jax.jit
    @jax.vmap
    def run(key):
        f, q, key = random_setting(key)
        truth = estimators.exact_gradient(f, q, num_nodes=40)
        # traced, the rule does not check itself
        finer = estimators.exact_gradient(f, q, num_nodes=60)
        return jnp.stack(finer) - jnp.stack(truth), {
            name: jnp.stack(
                standard_errors(estimator(key, f, q, num_samples=2000), truth)
            )
            for name, estimator in ESTIMATORS.items()
        }

    return run(jax.random.split(KEY, 100))


@every_estimator
def test_within_four_standard_errors_in_100_random_settings(name, settings):
    deviations = settings[1][name]
    assert deviations.shape == (100, 2, 2)
    assert jnp.abs(deviations).max() < 4
    # and not because the errors are too wide: 400 numbers of about unit spread
    assert 0.85 < deviations.std() < 1.15


def test_the_truth_of_the_random_settings_is_one(settings):
    # the mean of 2000 estimates has a standard error of about 0.01
    assert jnp.abs(settings[0]).max() < 1e-5
