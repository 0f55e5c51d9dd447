"""The estimators, against closed forms and against the exact gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import estimators, gaussian
from helpers.estimators import Gradients
from helpers.gaussian import Gaussian

MEAN = jnp.array([0.5, -1.0, 0.2])
SIGMA = jnp.array([0.7, 1.3, 0.4])
Q = Gaussian(MEAN, SIGMA**2)
ONE = Gaussian(jnp.array([0.3]), jnp.array([0.64]))
KEY = jax.random.key(0)
A = jnp.array([[1.0, 0.4, -0.2], [0.4, -0.5, 0.3], [-0.2, 0.3, 0.8]])
B = jnp.array([0.6, -0.3, 0.9])
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


def quadratic(z):
    return z @ A @ z + B @ z + 4.0


def exponential(z):
    return jnp.exp(B @ z)


def step(z):
    return jnp.where(z[0] > 0, 1.0, 0.0)


# E = mean A mean + tr(A diag(sigma^2)) + B mean + 4
QUADRATIC = Gradients(2 * A @ MEAN + B, 2 * jnp.diagonal(A) * SIGMA)
# E = exp(B mean + sum (B sigma)^2 / 2)
HEIGHT = jnp.exp(B @ MEAN + ((B * SIGMA) ** 2).sum() / 2)
EXPONENTIAL = Gradients(B * HEIGHT, B**2 * SIGMA * HEIGHT)


def standard_errors(estimates, truth):
    """How many standard errors each mean is from the truth."""
    return [
        (leaf.mean(axis=0) - exact) / (leaf.std(axis=0, ddof=1) / jnp.sqrt(len(leaf)))
        for leaf, exact in zip(estimates, truth, strict=True)
    ]


@pytest.mark.parametrize(
    ("f", "truth"), [(quadratic, QUADRATIC), (exponential, EXPONENTIAL)]
)
def test_exact_gradient_is_the_closed_form(f, truth):
    found = estimators.exact_gradient(f, Q, num_nodes=24)
    for leaf, expected in zip(found, truth, strict=True):
        np.testing.assert_allclose(leaf, expected, rtol=1e-11)


def test_exact_gradient_is_the_slope_of_the_quadrature():
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    nodes, weights = jnp.array(nodes), jnp.array(weights / np.sqrt(2 * np.pi))

    def expectation(mean, sigma):
        z = mean[None, :] + sigma[None, :] * nodes[:, None]
        return weights @ jnp.sin(3 * z[:, 0])

    slopes = jax.grad(expectation, argnums=(0, 1))(ONE.mean, jnp.sqrt(ONE.variance))
    found = estimators.exact_gradient(lambda z: jnp.sin(3 * z[0]), ONE, num_nodes=60)
    for leaf, slope in zip(found, slopes, strict=True):
        np.testing.assert_allclose(leaf, slope, rtol=1e-11)


def test_polynomials_are_exact_up_to_the_stated_degree():
    # E z^7 is a polynomial in mean and sigma; 5 nodes are exact up to 2 * 5 - 3 = 7
    mean, sigma = 0.3, 0.8
    found = estimators.exact_gradient(lambda z: z[0] ** 5, ONE, num_nodes=5)
    # E z^5 = m^5 + 10 m^3 s^2 + 15 m s^4
    expected = Gradients(
        5 * mean**4 + 30 * mean**2 * sigma**2 + 15 * sigma**4,
        20 * mean**3 * sigma + 60 * mean * sigma**3,
    )
    for leaf, value in zip(found, expected, strict=True):
        np.testing.assert_allclose(leaf[0], value, rtol=1e-13)
    coarse = estimators.exact_gradient(lambda z: z[0] ** 7, ONE, num_nodes=20)
    fine = jax.jit(
        lambda: estimators.exact_gradient(lambda z: z[0] ** 7, ONE, num_nodes=5)
    )()
    np.testing.assert_allclose(jnp.stack(coarse), jnp.stack(fine), rtol=1e-12)


def test_score_function_is_f_times_the_slope_of_log_q():
    estimates = estimators.score_function(KEY, quadratic, Q, num_samples=5)
    # the same key draws the same noise
    z = gaussian.sample(KEY, Q, 5)

    def log_q(mean, sigma, z):
        return gaussian.log_prob(Gaussian(mean, sigma**2), z[None])[0]

    scores = jax.vmap(jax.grad(log_q, argnums=(0, 1)), (None, None, 0))(MEAN, SIGMA, z)
    values = jax.vmap(quadratic)(z)[:, None]
    for leaf, score in zip(estimates, scores, strict=True):
        np.testing.assert_allclose(leaf, values * score, rtol=1e-11)


def test_pathwise_is_the_slope_with_the_noise_held_fixed():
    estimates = estimators.pathwise(KEY, exponential, Q, num_samples=5)
    eps = jax.random.normal(KEY, (5, 3))

    def value(mean, sigma, eps):
        return exponential(mean + sigma * eps)

    slopes = jax.vmap(jax.grad(value, argnums=(0, 1)), (None, None, 0))(
        MEAN, SIGMA, eps
    )
    for leaf, slope in zip(estimates, slopes, strict=True):
        np.testing.assert_allclose(leaf, slope, rtol=1e-12)


def test_leave_one_out_is_unbiased_with_two_samples():
    # averaged over many keys, each with the fewest samples there can be
    @jax.jit
    def average(key):
        estimates = ESTIMATORS["leave one out"](key, quadratic, Q, num_samples=2)
        return jax.tree.map(lambda leaf: leaf.mean(axis=0), estimates)

    averages = jax.vmap(average)(jax.random.split(KEY, 20_000))
    for deviations in standard_errors(averages, QUADRATIC):
        assert jnp.abs(deviations).max() < 4


def test_the_score_function_handles_a_jump_and_pathwise_misses_it():
    # P(z_0 > 0) = Phi(mean / sigma), so its slope in the mean is the density at 0
    q = Gaussian(jnp.array([0.4]), jnp.array([0.25]))
    density = jnp.exp(-0.5 * 0.8**2) / jnp.sqrt(2 * jnp.pi) / 0.5
    truth = Gradients(density, -density * 0.8)
    score = estimators.score_function(KEY, step, q, num_samples=20_000)
    for deviations in standard_errors(score, truth):
        assert jnp.abs(deviations).max() < 4
    path = estimators.pathwise(KEY, step, q, num_samples=100)
    assert not jnp.concatenate(path).any()


@every_estimator
def test_the_same_key_gives_the_same_estimates_compiled_or_not(name):
    def estimate(key):
        return ESTIMATORS[name](key, exponential, Q, num_samples=50)

    first = jnp.stack(estimate(KEY))
    assert first.shape == (2, 50, 3)
    np.testing.assert_array_equal(first, jnp.stack(estimate(KEY)))
    np.testing.assert_allclose(first, jnp.stack(jax.jit(estimate)(KEY)), rtol=1e-12)


def test_a_constant_has_no_gradient():
    found = estimators.exact_gradient(lambda z: 1e9 + 0 * z[0], ONE, num_nodes=20)
    np.testing.assert_allclose(jnp.stack(found), 0, atol=1e-5)


@pytest.mark.parametrize(
    "f",
    [step, lambda z: jnp.abs(z[0] - 0.3), lambda z: jnp.sin(60 * z[0])],
    ids=["jump", "kink", "too fast"],
)
@pytest.mark.parametrize("num_nodes", [31, 32])
def test_too_few_nodes_are_refused(f, num_nodes, refused):
    with refused("num_nodes", f"got {num_nodes}", "one node fewer"):
        estimators.exact_gradient(f, ONE, num_nodes=num_nodes)


def test_a_grid_that_is_too_large_is_refused(refused):
    q = Gaussian(jnp.zeros(4), jnp.ones(4))
    with refused("num_nodes", "64^4 points", "at most 1000000"):
        estimators.exact_gradient(quadratic, q, num_nodes=64)


@pytest.mark.parametrize("num_nodes", [2, 257, 4.5])
def test_numbers_of_nodes_out_of_range_are_refused(num_nodes, refused):
    with refused("num_nodes", f"got {num_nodes}", "expected"):
        estimators.exact_gradient(quadratic, Q, num_nodes=num_nodes)


GOOD = {"key": KEY, "f": quadratic, "q": Q, "num_samples": 3}


@pytest.mark.parametrize(
    ("argument", "came", "change"),
    [
        ("key", "got int", {"key": 0}),
        ("num_samples", "got 0", {"num_samples": 0}),
        ("q.variance", "got -1.0", {"q": Gaussian(jnp.zeros(1), -jnp.ones(1))}),
        ("q.mean", "got shape ()", {"q": Gaussian(jnp.array(0.0), jnp.array(1.0))}),
        ("f", "shape=(3,)", {"f": lambda z: z}),
        ("f", "int", {"f": lambda z: jnp.argmax(z)}),
    ],
)
@every_estimator
def test_bad_arguments_are_refused(name, argument, came, change, refused):
    arguments = GOOD | change
    with refused(argument, came, "expected"):
        ESTIMATORS[name](
            *(arguments[n] for n in ("key", "f", "q")),
            num_samples=arguments["num_samples"],
        )


def test_infinite_values_of_f_are_refused(refused):
    with refused("slope of f", "nan", "finite numbers"):
        estimators.pathwise(KEY, lambda z: jnp.sqrt(z[0] - 9), Q, num_samples=3)
    for call in (
        lambda f: estimators.score_function(KEY, f, Q, num_samples=3),
        lambda f: estimators.exact_gradient(f, Q, num_nodes=4),
    ):
        with refused("f(z)", "nan", "finite numbers"):
            call(lambda z: jnp.log(z[0] - 99))


@pytest.mark.parametrize(
    ("argument", "came", "options"),
    [
        ("baseline", "'mean'", {"baseline": "mean"}),
        ("baseline", "nan", {"baseline": float("nan")}),
        ("num_samples", "got 1", {"num_samples": 1, "baseline": "leave_one_out"}),
    ],
)
def test_bad_baselines_are_refused(argument, came, options, refused):
    with refused(argument, came, "expected"):
        estimators.score_function(KEY, quadratic, Q, **{"num_samples": 3} | options)
