"""One Gaussian, against SciPy, closed forms and quadrature."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from helpers import gaussian
from helpers.gaussian import Gaussian

SCALAR = Gaussian(jnp.array([1.0, -2.0]), jnp.array(0.5))
DIAGONAL = Gaussian(jnp.array([1.0, -2.0]), jnp.array([0.5, 3.0]))
OTHER = Gaussian(jnp.array([0.2, 0.1]), jnp.array([2.0, 0.7]))
LINE = Gaussian(jnp.array([0.7]), jnp.array(0.3))
X = jax.random.normal(jax.random.key(0), (40, 2)) * 2 + 1

both_variances = pytest.mark.parametrize(
    "params", [SCALAR, DIAGONAL], ids=["scalar", "diagonal"]
)


def scipy_log_prob(params, x):
    covariance = np.diag(np.broadcast_to(params.variance, np.shape(params.mean)))
    return stats.multivariate_normal(params.mean, covariance).logpdf(x)


@both_variances
def test_log_prob_is_scipys(params):
    expected = scipy_log_prob(params, X)
    np.testing.assert_allclose(gaussian.log_prob(params, X), expected, rtol=1e-13)


def test_density_integrates_to_one_on_the_line():
    def density(x):
        return float(jnp.exp(gaussian.log_prob(LINE, jnp.array([[x]])))[0])

    total, _ = integrate.quad(density, -8, 8, points=[0.7])
    assert total == pytest.approx(1, abs=1e-10)


@both_variances
def test_density_integrates_to_one_in_the_plane(params):
    axis = jnp.linspace(-20, 20, 401)
    points = jnp.stack(jnp.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    total = jnp.exp(gaussian.log_prob(params, points)).sum() * (axis[1] - axis[0]) ** 2
    assert total == pytest.approx(1, abs=1e-12)


@both_variances
def test_log_prob_ignores_a_shift_of_points_and_mean(params):
    shift = jnp.array([3.0, -7.0])
    moved = gaussian.log_prob(
        params._replace(mean=params.mean + shift), X + shift[None, :]
    )
    np.testing.assert_allclose(moved, gaussian.log_prob(params, X), rtol=1e-12)


def test_gradient_in_the_mean_is_the_scaled_residual():
    gradient = jax.grad(lambda mean: gaussian.log_prob(Gaussian(mean, 0.5), X).sum())
    expected = ((X - SCALAR.mean[None, :]) / 0.5).sum(axis=0)
    np.testing.assert_allclose(gradient(SCALAR.mean), expected, rtol=1e-12)


def test_gradient_in_the_variance_is_the_closed_form():
    mean, variance = DIAGONAL
    squares = (X - mean[None, :]) ** 2
    expected = 0.5 * (squares / variance[None, :] - 1).sum(axis=0) / variance
    gradient = jax.grad(lambda v: gaussian.log_prob(Gaussian(mean, v), X).sum())
    np.testing.assert_allclose(gradient(variance), expected, rtol=1e-12)


def test_vmap_over_parameters_equals_a_loop():
    means = jnp.array([[0.0, 1.0], [2.0, 3.0], [-1.0, 0.5]])
    batch = Gaussian(means, jnp.array([0.5, 1.0, 2.0]))
    together = jax.vmap(gaussian.log_prob, in_axes=(0, None))(batch, X)
    one_by_one = [
        gaussian.log_prob(Gaussian(*each), X) for each in zip(*batch, strict=True)
    ]
    np.testing.assert_allclose(together, jnp.stack(one_by_one), rtol=1e-14)


@pytest.mark.parametrize(
    "function",
    [
        gaussian.log_prob,
        lambda params, x: gaussian.fit_mle(x),
        lambda params, x: gaussian.sample(jax.random.key(1), params, 5),
        lambda params, x: gaussian.kl_divergence(params, OTHER),
        lambda params, x: gaussian.kl_to_standard_normal(params),
    ],
    ids=["log_prob", "fit_mle", "sample", "kl_divergence", "kl_to_standard_normal"],
)
def test_compiled_equals_uncompiled(function):
    jax.tree.map(
        lambda compiled, plain: np.testing.assert_allclose(compiled, plain, rtol=1e-13),
        jax.jit(function)(DIAGONAL, X),
        function(DIAGONAL, X),
    )


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_dtype_is_kept(dtype):
    params = jax.tree.map(lambda leaf: leaf.astype(dtype), DIAGONAL)
    results = (
        gaussian.log_prob(params, X.astype(dtype)),
        gaussian.fit_mle(X.astype(dtype)),
        gaussian.sample(jax.random.key(1), params, 3),
        gaussian.kl_divergence(params, params),
        gaussian.kl_to_standard_normal(params),
    )
    assert {leaf.dtype for leaf in jax.tree.leaves(results)} == {jnp.dtype(dtype)}


@pytest.mark.parametrize("isotropic", [True, False])
def test_mle_has_numpys_moments(isotropic):
    mean, variance = gaussian.fit_mle(X, isotropic=isotropic)
    spread = np.var(X, axis=0)
    np.testing.assert_allclose(mean, np.mean(X, axis=0), rtol=1e-13)
    np.testing.assert_allclose(
        variance, spread.mean() if isotropic else spread, rtol=1e-13
    )


@pytest.mark.parametrize("isotropic", [True, False])
def test_mle_is_a_maximum(isotropic):
    mean, variance = gaussian.fit_mle(X, isotropic=isotropic)
    theta = jnp.concatenate([mean, jnp.atleast_1d(variance)])

    @jax.jit
    def log_likelihood(theta):
        variance = theta[2] if isotropic else theta[2:]
        return gaussian.log_prob(Gaussian(theta[:2], variance), X).sum()

    curvature = jnp.linalg.eigvalsh(jax.hessian(log_likelihood)(theta))
    np.testing.assert_allclose(jax.grad(log_likelihood)(theta), 0, atol=1e-11)
    assert (curvature < 0).all()


@pytest.mark.parametrize("isotropic", [True, False])
@pytest.mark.parametrize("x", [[[3.0, 4.0]], [[3.0, 4.0]] * 5], ids=["one", "equal"])
def test_mle_of_points_without_spread_is_the_exact_limit(x, isotropic):
    mean, variance = gaussian.fit_mle(jnp.array(x), isotropic=isotropic)
    assert mean.tolist() == [3.0, 4.0]
    assert jnp.all(variance == 0)


def test_a_variance_of_zero_is_refused(refused):
    fitted = gaussian.fit_mle([[3.0, 4.0]])
    with refused("params.variance", "0.0", "above 0"):
        gaussian.log_prob(fitted, [[3.0, 4.0]])


@both_variances
def test_samples_have_the_moments(params):
    num_samples = 40_000
    x = gaussian.sample(jax.random.key(2), params, num_samples)
    variance = np.broadcast_to(params.variance, (2,))
    mean_error = np.sqrt(variance / num_samples)
    variance_error = variance * np.sqrt(2 / num_samples)
    assert (abs(np.mean(x, axis=0) - params.mean) < 4 * mean_error).all()
    assert (abs(np.var(x, axis=0) - variance) < 4 * variance_error).all()
    assert abs(np.corrcoef(x.T)[0, 1]) < 4 / np.sqrt(num_samples)


def test_samples_have_the_distribution_function():
    x = gaussian.sample(jax.random.key(3), LINE, 5000)
    normal = stats.norm(0.7, np.sqrt(0.3))
    assert stats.kstest(x[:, 0], normal.cdf).pvalue > 0.001


def test_a_sample_moves_with_mean_and_scale_while_eps_stays():
    key = jax.random.key(4)
    eps = gaussian.sample(key, Gaussian(jnp.zeros(2), jnp.ones(())), 10)
    mean, variance = DIAGONAL
    expected = mean[None, :] + jnp.sqrt(variance)[None, :] * eps
    np.testing.assert_allclose(gaussian.sample(key, DIAGONAL, 10), expected, rtol=1e-14)


@pytest.mark.parametrize(
    ("q", "p"), [(SCALAR, OTHER), (DIAGONAL, SCALAR), (OTHER, DIAGONAL)]
)
def test_kl_is_the_expected_log_ratio_by_quadrature(q, p):
    nodes, weights = np.polynomial.hermite_e.hermegauss(10)
    eps = np.stack(np.meshgrid(nodes, nodes), axis=-1).reshape(-1, 2)
    mass = np.outer(weights, weights).ravel() / (2 * np.pi)
    z = np.asarray(q.mean) + np.sqrt(np.asarray(q.variance)) * eps
    expected = mass @ (scipy_log_prob(q, z) - scipy_log_prob(p, z))
    np.testing.assert_allclose(gaussian.kl_divergence(q, p), expected, rtol=1e-12)


def test_gradient_of_kl_is_the_closed_form():
    gradient = jax.grad(gaussian.kl_divergence)(DIAGONAL, OTHER)
    gap = DIAGONAL.mean - OTHER.mean
    np.testing.assert_allclose(gradient.mean, gap / OTHER.variance, rtol=1e-13)
    slope = 0.5 * (1 / OTHER.variance - 1 / DIAGONAL.variance)
    np.testing.assert_allclose(gradient.variance, slope, rtol=1e-13)


def test_kl_is_not_negative():
    means, scales = jax.random.normal(jax.random.key(5), (2, 500, 3))
    q = Gaussian(means, jnp.exp(3 * scales))
    p = jax.tree.map(lambda leaf: leaf[::-1], q)
    assert (jax.vmap(gaussian.kl_divergence)(q, p) >= 0).all()


@both_variances
def test_kl_of_a_gaussian_with_itself_is_exactly_zero(params):
    assert gaussian.kl_divergence(params, params) == 0


def test_kl_keeps_its_digits_for_gaussians_that_almost_agree():
    # KL(N(0, 1 + t) || N(0, 1)) = t^2 / 4 - t^3 / 6 + ..., far below one rounding of 1
    near = Gaussian(jnp.zeros(1), jnp.array(1 + 2**-30))
    kl = gaussian.kl_divergence(near, Gaussian(jnp.zeros(1), jnp.array(1.0)))
    assert kl == pytest.approx(2**-60 / 4, rel=1e-8)


@pytest.mark.parametrize("variance", [1e-6, 1e-12, 1e-20, 1e20])
def test_kl_keeps_its_digits_for_variances_far_apart(variance):
    q = Gaussian(jnp.zeros(1), jnp.array(variance))
    expected = 0.5 * (variance - 1 - np.log(variance))
    assert gaussian.kl_to_standard_normal(q) == pytest.approx(expected, rel=1e-12)


@both_variances
def test_kl_to_standard_normal_is_kl_divergence(params):
    standard = Gaussian(jnp.zeros(2), jnp.ones(2))
    np.testing.assert_allclose(
        gaussian.kl_to_standard_normal(params),
        gaussian.kl_divergence(params, standard),
        rtol=1e-14,
    )


def test_a_million_sigmas_away_is_finite_and_exact():
    sigma = np.sqrt(0.3)
    far = gaussian.log_prob(LINE, jnp.array([[0.7 + 1e6 * sigma]]))
    expected = -0.5 * np.log(2 * np.pi * 0.3) - 0.5e12
    assert far[0] == pytest.approx(expected, rel=1e-12)


def test_a_tiny_variance_is_finite_and_exact():
    params = Gaussian(jnp.zeros(1), jnp.array(1e-12))
    log_prob = gaussian.log_prob(params, jnp.array([[0.0], [1e-6]]))
    expected = stats.norm(0, 1e-6).logpdf([0, 1e-6])
    np.testing.assert_allclose(log_prob, expected, rtol=1e-13)


@pytest.mark.parametrize("kind", [list, np.array, jnp.array])
def test_lists_and_arrays_of_whole_numbers_are_points(as_user, kind):
    x = kind([[1, 2], [3, 4]])
    fitted = gaussian.fit_mle(x)
    expected = stats.multivariate_normal([2, 3]).logpdf([[1, 2], [3, 4]])
    assert fitted.mean.tolist() == [2.0, 3.0]
    np.testing.assert_allclose(gaussian.log_prob(fitted, x), expected, rtol=1e-14)


POINTS = np.ones((3, 2))
STANDARD = Gaussian([0.0, 0.0], 1.0)


@pytest.mark.parametrize(
    ("x", "came", "expected"),
    [
        (np.ones(272), "shape (272,)", "(n, d)"),
        (np.ones((2, 3, 2)), "shape (2, 3, 2)", "(n, d)"),
        (np.ones((0, 2)), "shape (0, 2)", "at least one"),
        ([[0.0, np.nan]], "nan at index (0, 1)", "finite"),
        ([[np.inf, 0.0]], "inf at index (0, 0)", "finite"),
        ([[1.0, 2.0], [3.0]], "list", "real numbers"),
        ("eruptions", "str", "real numbers"),
        (None, "NoneType", "real numbers"),
        ([[1j, 0]], "complex numbers", "real numbers"),
    ],
)
@pytest.mark.parametrize(
    "function",
    [gaussian.fit_mle, lambda x: gaussian.log_prob(STANDARD, x)],
    ids=["fit_mle", "log_prob"],
)
def test_bad_points_are_refused(refused, function, x, came, expected):
    with refused("x", came, expected):
        function(x)


def test_points_of_another_dimension_are_refused(refused):
    with refused("x", "shape (3, 3)", "d = 2"):
        gaussian.log_prob(STANDARD, np.ones((3, 3)))


@pytest.mark.parametrize(
    ("x", "advice"), [(np.ones(272), "x[:, None]"), (np.ones(2), "x[None, :]")]
)
def test_points_with_one_axis_get_advice(refused, x, advice):
    mean = [0.0] if x.size > 2 else [0.0, 0.0]
    with refused("x", str(x.shape), advice):
        gaussian.log_prob(Gaussian(mean, 1.0), x)


@pytest.mark.parametrize(
    ("params", "argument", "came", "expected"),
    [
        (Gaussian(0.0, 1.0), "mean", "shape ()", "(d)"),
        (Gaussian([0.0, np.nan], 1.0), "mean", "nan at index (1,)", "finite"),
        (Gaussian([0.0, 0.0], -1.0), "variance", "-1.0", "above 0"),
        (Gaussian([0.0, 0.0], 0), "variance", "0.0", "above 0"),
        (Gaussian([0.0, 0.0], [1.0, 0.0]), "variance", "index (1,)", "above 0"),
        (Gaussian([0.0, 0.0], [1.0] * 3), "variance", "shape (3,)", "d = 2"),
        (Gaussian([0.0, 0.0], np.eye(2)), "variance", "shape (2, 2)", "d = 2"),
        (Gaussian([0.0, 0.0], None), "variance", "NoneType", "real numbers"),
    ],
)
@pytest.mark.parametrize(
    ("prefix", "function"),
    [
        ("params", lambda params: gaussian.log_prob(params, POINTS)),
        ("params", lambda params: gaussian.sample(jax.random.key(0), params, 3)),
        ("q", lambda params: gaussian.kl_divergence(params, STANDARD)),
        ("p", lambda params: gaussian.kl_divergence(STANDARD, params)),
        ("q", gaussian.kl_to_standard_normal),
    ],
    ids=["log_prob", "sample", "kl_q", "kl_p", "kl_to_standard_normal"],
)
def test_bad_parameters_are_refused(
    refused, prefix, function, params, argument, came, expected
):
    with refused(f"{prefix}.{argument}", came, expected):
        function(params)


def test_kl_of_two_dimensions_and_three_is_refused(refused):
    with refused("p.mean", "shape (3,)", "d = 2"):
        gaussian.kl_divergence(STANDARD, Gaussian([0.0, 0.0, 0.0], 1.0))


@pytest.mark.parametrize(
    ("key", "num_samples", "argument", "came", "expected"),
    [
        (0, 3, "key", "int", "jax.random.key"),
        (None, 3, "key", "NoneType", "jax.random.key"),
        (jax.random.PRNGKey(0), 3, "key", "Array", "jax.random.key"),
        (jax.random.split(jax.random.key(0)), 3, "key", "Array", "one key"),
        (jax.random.key(0), 0, "num_samples", "0", "at least 1"),
        (jax.random.key(0), 2.5, "num_samples", "2.5", "whole number"),
        (jax.random.key(0), "3", "num_samples", "'3'", "whole number"),
    ],
)
def test_bad_requests_for_samples_are_refused(
    refused, key, num_samples, argument, came, expected
):
    with refused(argument, came, expected):
        gaussian.sample(key, STANDARD, num_samples)
