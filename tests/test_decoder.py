"""The decoder, against exact Gaussians where it is linear and quadrature where not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from helpers import decoder, network
from helpers.gaussian import Gaussian
from helpers.network import MLP

BENT = decoder.bent_line()
LINEAR = network.init(jax.random.key(0), (1, 2))._replace(
    biases=(jnp.array([0.5, -1.0]),)
)
PLANE = network.init(jax.random.key(1), (2, 3))
X = jnp.array([[0.0, 0.0], [2.5, 1.0], [-2.0, -3.0], [4.0, 4.0]])
Z = jnp.linspace(-3, 3, 7)[:, None]
SIGMAS = [0.3, 1.0]

both_sigmas = pytest.mark.parametrize("sigma_x", SIGMAS)


def linear_marginal(params, sigma_x):
    """N(x; b, W^T W + sigma_x^2 I), what a linear decoder makes of N(0, I)."""
    (weights,), (biases,) = jax.tree.map(np.asarray, tuple(params))
    covariance = weights.T @ weights + sigma_x**2 * np.eye(len(biases))
    return stats.multivariate_normal(biases, covariance)


def linear_posterior(params, x, sigma_x):
    """Mean and standard deviation of a one-dimensional z given each x."""
    (weights,), (biases,) = jax.tree.map(np.asarray, tuple(params))
    variance = 1 / (1 + (weights @ weights.T).item() / sigma_x**2)
    mean = variance * (np.asarray(x) - biases) @ weights[0] / sigma_x**2
    return mean, np.sqrt(variance)


def test_bent_line_is_its_formula():
    z = np.linspace(-4, 4, 101)
    expected = [
        3 * np.tanh(1.5 * z + 1.5) - 3 * np.tanh(1.5 * z - 1.5) - 3,
        3 * np.tanh(0.9 * z),
    ]
    decoded = decoder.decode(BENT, jnp.array(z)[:, None])
    np.testing.assert_allclose(decoded, np.stack(expected, axis=1), atol=1e-14)


def test_arms_of_the_bent_line_are_six_apart():
    lower, upper = decoder.decode(BENT, jnp.array([[-10.0], [10.0]]))
    np.testing.assert_allclose(upper - lower, [0, 6], atol=1e-5)


def test_a_point_between_the_arms_has_a_posterior_with_two_modes():
    z = jnp.linspace(-4, 4, 401)[:, None]
    log_joint = decoder.log_joint(BENT, jnp.array([[-2.0, 0.0]]), z)[0]
    inner = log_joint[1:-1]
    assert ((inner > log_joint[:-2]) & (inner > log_joint[2:])).sum() == 2


def test_decode_is_the_layers_written_out():
    params = network.init(jax.random.key(2), (2, 5, 4, 3))
    params = jax.tree.map(lambda leaf: leaf + 0.1, params)
    z = np.random.default_rng(0).normal(size=(6, 2))
    (a, b, c), (d, e, f) = jax.tree.map(np.asarray, tuple(params))
    expected = np.tanh(np.tanh(z @ a + d) @ b + e) @ c + f
    np.testing.assert_allclose(
        decoder.decode(params, jnp.array(z)), expected, rtol=1e-12
    )


def test_initial_weights_have_mean_zero_and_variance_one_over_inputs():
    inputs, outputs = 50, 400
    (weights,), (biases,) = network.init(jax.random.key(3), (inputs, outputs))
    scaled = np.ravel(weights) * np.sqrt(inputs)
    assert weights.shape == (inputs, outputs)
    assert (biases == 0).all()
    assert stats.kstest(scaled, "norm").pvalue > 0.001


def test_a_decoder_is_its_network():
    np.testing.assert_array_equal(decoder.decode(BENT, Z), network.apply(BENT, Z))


def test_initial_layers_differ():
    params = network.init(jax.random.key(3), (2, 2, 2))
    assert not np.allclose(*params.weights)


@both_sigmas
def test_log_joint_is_scipys_prior_plus_likelihood(sigma_x):
    centres = decoder.decode(BENT, Z)
    expected = np.array(
        [
            [
                stats.norm.logpdf(z[0])
                + stats.multivariate_normal(centre, sigma_x**2).logpdf(x)
                for z, centre in zip(Z, centres, strict=True)
            ]
            for x in X
        ]
    )
    log_joint = decoder.log_joint(BENT, X, Z, sigma_x=sigma_x)
    np.testing.assert_allclose(log_joint, expected, rtol=1e-12)


def test_sigma_x_is_one_unless_given():
    np.testing.assert_array_equal(
        decoder.log_joint(BENT, X, Z), decoder.log_joint(BENT, X, Z, sigma_x=1.0)
    )


@both_sigmas
def test_marginal_of_a_linear_decoder_is_the_exact_gaussian(sigma_x):
    np.testing.assert_allclose(
        decoder.log_marginal_quadrature(LINEAR, X, sigma_x=sigma_x),
        linear_marginal(LINEAR, sigma_x).logpdf(X),
        rtol=1e-12,
    )


@both_sigmas
def test_marginal_of_the_bent_line_is_scipys_integral(sigma_x):
    @jax.jit
    def joint(z, x):
        log_joint = decoder.log_joint(BENT, x[None], z[None, None], sigma_x=sigma_x)
        return jnp.exp(log_joint)[0, 0]

    expected = [
        integrate.quad(joint, -10, 10, args=(x,), points=[-1, 0, 1], epsabs=0)[0]
        for x in X
    ]
    log_marginal = decoder.log_marginal_quadrature(BENT, X, sigma_x=sigma_x)
    np.testing.assert_allclose(jnp.exp(log_marginal), expected, rtol=1e-9)


def test_marginal_integrates_to_one_over_the_plane():
    axis = jnp.linspace(-10, 10, 81)
    points = jnp.stack(jnp.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    log_marginal = decoder.log_marginal_quadrature(BENT, points, num_nodes=401)
    total = jnp.exp(log_marginal).sum() * 0.25**2
    np.testing.assert_allclose(total, 1, rtol=1e-10)


def test_gradient_of_the_marginal_is_the_exact_gaussians():
    def log_likelihood(biases):
        params = LINEAR._replace(biases=(biases,))
        return decoder.log_marginal_quadrature(params, X).sum()

    marginal = linear_marginal(LINEAR, 1.0)
    residuals = np.asarray(X) - marginal.mean
    expected = np.linalg.solve(marginal.cov, residuals.sum(axis=0))
    np.testing.assert_allclose(
        jax.grad(log_likelihood)(LINEAR.biases[0]), expected, rtol=1e-10
    )


@pytest.mark.parametrize("params", [LINEAR, BENT], ids=["linear", "bent"])
def test_importance_sampling_is_unbiased_from_the_prior(params):
    keys = jax.random.split(jax.random.key(4), 4000)
    estimates = jax.vmap(
        lambda key: decoder.log_marginal_importance(key, params, X, num_samples=5)
    )(keys)
    average, error = np.exp(estimates).mean(0), stats.sem(np.exp(estimates))
    expected = np.exp(decoder.log_marginal_quadrature(params, X))
    assert (abs(average - expected) < 4 * error).all()


def test_importance_sampling_from_the_exact_posterior_has_no_error():
    mean, scale = linear_posterior(LINEAR, X[:1], 1.0)
    proposal = Gaussian(jnp.array(mean), jnp.array(scale**2))
    estimate = decoder.log_marginal_importance(
        jax.random.key(5), LINEAR, X[:1], num_samples=1, proposal=proposal
    )
    expected = decoder.log_marginal_quadrature(LINEAR, X[:1])
    np.testing.assert_allclose(estimate, expected, rtol=1e-13)


def test_importance_sampling_agrees_with_a_two_dimensional_integral():
    keys = jax.random.split(jax.random.key(6), 4000)
    x = jnp.array([[0.5, -0.5, 1.0]])
    proposal = Gaussian(jnp.zeros(2), jnp.array([1.5, 0.8]))
    estimates = jax.vmap(
        lambda key: decoder.log_marginal_importance(
            key, PLANE, x, num_samples=5, proposal=proposal
        )
    )(keys)
    expected = linear_marginal(PLANE, 1.0).pdf(x)
    error = stats.sem(np.exp(estimates)[:, 0])
    assert abs(np.exp(estimates).mean() - expected) < 4 * error


def test_all_points_share_the_draws():
    def estimate(x):
        return decoder.log_marginal_importance(
            jax.random.key(7), BENT, x, num_samples=3
        )

    np.testing.assert_allclose(estimate(X)[1], estimate(X[1:2])[0], rtol=1e-14)


@pytest.mark.parametrize(
    ("params", "sigma_x"), [(LINEAR, 0.5), (PLANE, 1.0)], ids=["line", "plane"]
)
def test_samples_have_the_exact_marginals_moments(params, sigma_x):
    num_samples = 20_000
    x, _ = decoder.sample(jax.random.key(8), params, num_samples, sigma_x=sigma_x)
    exact = linear_marginal(params, sigma_x)
    variance = np.diag(exact.cov)
    entry_error = np.sqrt((np.outer(variance, variance) + exact.cov**2) / num_samples)
    mean_error = np.sqrt(variance / num_samples)
    assert (abs(np.mean(x, axis=0) - exact.mean) < 4 * mean_error).all()
    assert (abs(np.cov(x.T) - exact.cov) < 4 * entry_error).all()


def test_samples_lie_around_the_curve_at_their_own_latent():
    x, z = decoder.sample(jax.random.key(9), BENT, 5000, sigma_x=0.2)
    residuals = np.ravel(x - decoder.decode(BENT, z))
    assert stats.kstest(residuals, stats.norm(0, 0.2).cdf).pvalue > 0.001
    assert stats.kstest(np.ravel(z), "norm").pvalue > 0.001


FUNCTIONS = {
    "decode": lambda params, x, z: decoder.decode(params, z),
    "log_joint": decoder.log_joint,
    "quadrature": lambda params, x, z: decoder.log_marginal_quadrature(params, x),
    "importance": lambda params, x, z: decoder.log_marginal_importance(
        jax.random.key(0), params, x, num_samples=4
    ),
    "sample": lambda params, x, z: decoder.sample(jax.random.key(0), params, 4),
}
every_function = pytest.mark.parametrize(
    "function", FUNCTIONS.values(), ids=FUNCTIONS.keys()
)


@every_function
def test_compiled_equals_uncompiled(function):
    jax.tree.map(
        lambda compiled, plain: np.testing.assert_allclose(compiled, plain, rtol=1e-11),
        jax.jit(function)(BENT, X, Z),
        function(BENT, X, Z),
    )


@every_function
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_dtype_is_kept(function, dtype):
    arguments = jax.tree.map(lambda leaf: leaf.astype(dtype), (BENT, X, Z))
    results = jax.tree.leaves(function(*arguments))
    assert {leaf.dtype for leaf in results} == {jnp.dtype(dtype)}


def test_vmap_over_points_equals_a_loop():
    together = jax.vmap(lambda x: decoder.log_marginal_quadrature(BENT, x[None]))(X)
    at_once = decoder.log_marginal_quadrature(BENT, X)
    np.testing.assert_allclose(together[:, 0], at_once, rtol=1e-13)


def test_a_million_sigmas_away_is_finite_and_exact():
    far = jnp.array([[1e6, 0.0]])
    np.testing.assert_allclose(
        decoder.log_joint(BENT, far, jnp.zeros((1, 1))),
        [[-1.5 * np.log(2 * np.pi) - (1e6 - 6 * np.tanh(1.5) + 3) ** 2 / 2]],
        rtol=1e-14,
    )
    assert jnp.isfinite(decoder.log_marginal_quadrature(BENT, far)).all()


def test_a_tiny_sigma_is_finite_and_exact():
    z = jnp.array([[0.5]])
    centre = decoder.decode(BENT, z)
    log_joint = decoder.log_joint(BENT, centre, z, sigma_x=1e-6)
    expected = stats.norm.logpdf(0.5) - np.log(2 * np.pi * 1e-12)
    np.testing.assert_allclose(log_joint, [[expected]], rtol=1e-13)


def test_lists_are_points_and_parameters(as_user):
    params = MLP(([[2.0, 1.0]],), ([0.5, -1.0],))
    arrays = jax.tree.map(jnp.array, params, is_leaf=lambda leaf: type(leaf) is list)
    np.testing.assert_array_equal(
        decoder.log_marginal_quadrature(params, [[0, 1], [2, 3]]),
        decoder.log_marginal_quadrature(arrays, np.array([[0.0, 1.0], [2.0, 3.0]])),
    )


@pytest.mark.parametrize("sigma_x", [1e-2, 1e-3])
def test_too_few_nodes_for_sigma_x_are_refused(refused, sigma_x):
    with refused(
        "num_nodes", f"2001, which is too few for sigma_x = {sigma_x}", "more"
    ):
        decoder.log_marginal_quadrature(BENT, X, sigma_x=sigma_x)


def test_more_nodes_are_enough_where_few_are_not():
    x, sigma_x = decoder.decode(LINEAR, jnp.array([[0.123]])), 1e-2
    exact = linear_marginal(LINEAR, sigma_x).logpdf(x)
    quadrature = decoder.log_marginal_quadrature(
        LINEAR, x, sigma_x=sigma_x, num_nodes=20_001
    )
    np.testing.assert_allclose(quadrature[0], exact, rtol=1e-11)


@pytest.mark.parametrize(
    ("num_nodes", "expected"),
    [(2000, "odd"), (1, "at least 3"), (2001.0, "whole number"), (None, "whole")],
)
def test_bad_numbers_of_nodes_are_refused(refused, num_nodes, expected):
    with refused("num_nodes", str(num_nodes), expected):
        decoder.log_marginal_quadrature(BENT, X, num_nodes=num_nodes)


def test_a_two_dimensional_latent_is_refused_by_quadrature(refused):
    with refused("params", "2-dimensional z", "one dimension"):
        decoder.log_marginal_quadrature(PLANE, np.ones((1, 3)))


POINT, ZERO = np.zeros((1, 2)), np.zeros((1, 1))


@pytest.mark.parametrize(
    ("sigma_x", "came", "expected"),
    [
        (0, "0.0", "above 0"),
        (-1.0, "-1.0", "above 0"),
        (np.nan, "nan", "finite"),
        ([1.0, 1.0], "shape (2,)", "()"),
        ("wide", "str", "real numbers"),
    ],
)
@pytest.mark.parametrize(
    "function",
    [
        lambda **sigma: decoder.log_joint(BENT, POINT, ZERO, **sigma),
        lambda **sigma: decoder.log_marginal_quadrature(BENT, POINT, **sigma),
        lambda **sigma: decoder.log_marginal_importance(
            jax.random.key(0), BENT, POINT, num_samples=2, **sigma
        ),
        lambda **sigma: decoder.sample(jax.random.key(0), BENT, 2, **sigma),
    ],
    ids=["log_joint", "quadrature", "importance", "sample"],
)
def test_a_bad_sigma_x_is_refused(refused, function, sigma_x, came, expected):
    with refused("sigma_x", came, expected):
        function(sigma_x=sigma_x)


@pytest.mark.parametrize(
    ("x", "z", "argument", "came", "expected"),
    [
        (np.ones(2), ZERO, "x", "shape (2,)", "x[None, :]"),
        (np.ones((1, 3)), ZERO, "x", "shape (1, 3)", "d = 2"),
        (np.ones((0, 2)), ZERO, "x", "shape (0, 2)", "at least one"),
        ([[0.0, np.inf]], ZERO, "x", "inf at index (0, 1)", "finite"),
        (None, ZERO, "x", "NoneType", "real numbers"),
        (POINT, np.zeros(5), "z", "shape (5,)", "(s, m)"),
        (POINT, np.zeros((5, 2)), "z", "shape (5, 2)", "m = 1"),
        (POINT, [[np.nan]], "z", "nan at index (0, 0)", "finite"),
        (POINT, "z", "z", "str", "real numbers"),
    ],
)
def test_bad_points_and_latents_are_refused(refused, x, z, argument, came, expected):
    with refused(argument, came, expected):
        decoder.log_joint(BENT, x, z)


W, V, B = [[1.0, 2.0, 3.0]], [[1.0, 0.0]] * 3, [0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("params", "argument", "came", "expected"),
    [
        (MLP((W, V[:2]), (B, B[:2])), "weights[1]", "(2, 2)", "inputs = 3"),
        (MLP((W, V), (B, B)), "biases[1]", "shape (3,)", "outputs = 2"),
        (MLP(([1.0, 2.0],), (B[:2],)), "weights[0]", "(2,)", "(inputs, outputs)"),
        (MLP(([[np.nan, 1.0]],), (B[:2],)), "weights[0]", "nan", "finite"),
        (MLP((W,), ([0.0, np.inf, 0.0],)), "biases[0]", "inf", "finite"),
    ],
    ids=["weights do not chain", "long bias", "one axis", "nan", "inf"],
)
def test_bad_parameters_are_refused(refused, params, argument, came, expected):
    arrays = MLP(*(tuple(map(np.array, leaves)) for leaves in params))
    with refused(f"params.{argument}", came, expected):
        decoder.decode(arrays, ZERO)


@pytest.mark.parametrize(
    ("params", "argument", "came"),
    [
        (tuple(BENT), "params", "tuple"),
        (None, "params", "NoneType"),
        (MLP(None, None), "params.weights", "NoneType"),
        (MLP((np.ones((1, 2)),), np.zeros(2)), "params.biases", "ndarray"),
    ],
)
def test_what_is_not_a_network_is_refused(refused, params, argument, came):
    with refused(argument, came, "expected"):
        decoder.decode(params, ZERO)


def test_swapped_arguments_are_refused(refused):
    with refused("params", "ndarray", "MLP(weights, biases)"):
        decoder.log_joint(POINT, BENT, ZERO)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    "params",
    [MLP((), ()), MLP((np.array(W), np.array(V)), (np.zeros(3),))],
    ids=["no layer", "a bias is missing"],
)
def test_layers_that_do_not_pair_are_refused(as_user, params):
    with pytest.raises(ValueError, match=r"^params.*got.*expected"):
        decoder.decode(params, ZERO)


@pytest.mark.parametrize(
    ("key", "sizes", "argument", "came", "expected"),
    [
        (0, (1, 2), "key", "int", "jax.random.key"),
        (jax.random.key(0), (2,), "sizes", "(2,)", "at least two layers"),
        (jax.random.key(0), (), "sizes", "()", "at least two layers"),
        (jax.random.key(0), 64, "sizes", "64", "at least two layers"),
        (jax.random.key(0), None, "sizes", "None", "at least two layers"),
        (jax.random.key(0), (1, 0), "sizes", "0", "at least 1"),
        (jax.random.key(0), (1, -2), "sizes", "-2", "at least 1"),
        (jax.random.key(0), (1, 2.5), "sizes", "2.5", "whole number"),
        (jax.random.key(0), (1, None), "sizes", "None", "whole number"),
    ],
)
def test_bad_requests_for_a_decoder_are_refused(
    refused, key, sizes, argument, came, expected
):
    with refused(argument, came, expected):
        network.init(key, sizes)


@pytest.mark.parametrize(
    ("key", "num_samples", "argument", "came", "expected"),
    [
        (0, 3, "key", "int", "jax.random.key"),
        (jax.random.key(0), 0, "num_samples", "0", "at least 1"),
        (jax.random.key(0), 2.5, "num_samples", "2.5", "whole number"),
    ],
)
@pytest.mark.parametrize(
    "function",
    [
        lambda key, num_samples: decoder.sample(key, BENT, num_samples),
        lambda key, num_samples: decoder.log_marginal_importance(
            key, BENT, POINT, num_samples=num_samples
        ),
    ],
    ids=["sample", "importance"],
)
def test_bad_requests_for_samples_are_refused(
    refused, function, key, num_samples, argument, came, expected
):
    with refused(argument, came, expected):
        function(key, num_samples)
