"""A mixture, against scikit-learn, SciPy and enumeration."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate
from sklearn.mixture import GaussianMixture

from helpers import gaussian, mixture
from helpers.gaussian import Gaussian
from helpers.mixture import Mixture

WEIGHTS = jnp.array([0.5, 0.3, 0.2])
MEANS = jnp.array([[0.0, 1.0], [2.0, -1.0], [-3.0, 0.5]])
SPHERICAL = Mixture(WEIGHTS, MEANS, jnp.array([0.5, 1.0, 2.0]))
FULL = Mixture(
    WEIGHTS,
    MEANS,
    jnp.array([[[2.0, 0.6], [0.6, 0.5]], [[1, 0], [0, 3.0]], [[1, -0.9], [-0.9, 1]]]),
)
X = jax.random.normal(jax.random.key(0), (30, 2)) * 2
MIXTURES = {"spherical": SPHERICAL, "full": FULL}

both_covariances = pytest.mark.parametrize(
    "params", MIXTURES.values(), ids=MIXTURES.keys()
)


def scikit_learns(params):
    """The same mixture as scikit-learn holds it."""
    covariance_type = "spherical" if params.covariances.ndim == 1 else "full"
    peer = GaussianMixture(len(params.weights), covariance_type=covariance_type)
    peer.weights_, peer.means_ = np.asarray(params.weights), np.asarray(params.means)
    peer.covariances_ = np.asarray(params.covariances)
    if covariance_type == "spherical":
        peer.precisions_cholesky_ = 1 / np.sqrt(peer.covariances_)
    else:
        lower = np.linalg.cholesky(np.linalg.inv(peer.covariances_))
        peer.precisions_cholesky_ = lower
    return peer


@both_covariances
def test_log_prob_is_scikit_learns(params):
    expected = scikit_learns(params).score_samples(np.asarray(X))
    np.testing.assert_allclose(mixture.log_prob(params, X), expected, rtol=1e-12)


@both_covariances
def test_responsibilities_are_scikit_learns(params):
    expected = scikit_learns(params).predict_proba(np.asarray(X))
    np.testing.assert_allclose(
        mixture.responsibilities(params, X), expected, rtol=1e-10
    )


@both_covariances
def test_responsibilities_of_a_point_sum_to_one(params):
    total = mixture.responsibilities(params, X).sum(axis=1)
    np.testing.assert_allclose(total, 1, rtol=1e-14)


@both_covariances
def test_responsibilities_are_the_joint_over_the_marginal(params):
    joint, marginal = mixture.log_joint(params, X), mixture.log_prob(params, X)
    np.testing.assert_allclose(
        mixture.responsibilities(params, X),
        jnp.exp(joint) / jnp.exp(marginal)[:, None],
        rtol=1e-12,
    )


@both_covariances
def test_log_likelihood_is_the_log_of_the_product(params):
    few = X[:5]
    expected = np.log(np.prod(np.exp(mixture.log_joint(params, few)).sum(axis=1)))
    np.testing.assert_allclose(
        mixture.log_likelihood(params, few), expected, rtol=1e-13
    )


def test_log_likelihood_is_a_sum_over_points():
    twice = mixture.log_likelihood(SPHERICAL, jnp.concatenate([X, X]))
    np.testing.assert_allclose(twice, 2 * mixture.log_likelihood(SPHERICAL, X))


def test_density_integrates_to_one_on_the_line():
    params = Mixture(WEIGHTS, MEANS[:, :1], SPHERICAL.covariances)

    @jax.jit
    def density(x):
        return jnp.exp(mixture.log_prob(params, x[None, None]))[0]

    total, _ = integrate.quad(density, -15, 15, points=[-3, 0, 2])
    assert total == pytest.approx(1, abs=1e-10)


@both_covariances
def test_density_integrates_to_one_in_the_plane(params):
    axis = jnp.linspace(-15, 15, 301)
    points = jnp.stack(jnp.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    total = jnp.exp(mixture.log_prob(params, points)).sum() * 0.1**2
    np.testing.assert_allclose(total, 1, rtol=1e-12)


def test_one_component_is_a_gaussian():
    params = Mixture(jnp.ones(1), MEANS[:1], jnp.array([0.5]))
    expected = gaussian.log_prob(Gaussian(MEANS[0], jnp.array(0.5)), X)
    np.testing.assert_allclose(mixture.log_prob(params, X), expected, rtol=1e-14)


def test_spherical_is_full_with_round_matrices():
    matrices = SPHERICAL.covariances[:, None, None] * jnp.eye(2)[None]
    np.testing.assert_allclose(
        mixture.log_joint(SPHERICAL, X),
        mixture.log_joint(SPHERICAL._replace(covariances=matrices), X),
        rtol=1e-13,
    )


@both_covariances
def test_order_of_components_does_not_matter(params):
    order = jnp.array([2, 0, 1])
    shuffled = jax.tree.map(lambda leaf: leaf[order], params)
    np.testing.assert_allclose(
        mixture.log_prob(shuffled, X), mixture.log_prob(params, X), rtol=1e-14
    )
    np.testing.assert_allclose(
        mixture.responsibilities(shuffled, X),
        mixture.responsibilities(params, X)[:, order],
        rtol=1e-12,
    )


@both_covariances
def test_a_shift_of_points_and_means_does_not_matter(params):
    shift = jnp.array([[3.0, -7.0]])
    moved = mixture.log_prob(params._replace(means=params.means + shift), X + shift)
    np.testing.assert_allclose(moved, mixture.log_prob(params, X), rtol=1e-12)


def test_gradient_in_the_means_weights_residuals_by_responsibility():
    def log_likelihood(means):
        return mixture.log_likelihood(SPHERICAL._replace(means=means), X)

    residuals = X[:, None, :] - MEANS[None]
    scaled = residuals / SPHERICAL.covariances[None, :, None]
    expected = (mixture.responsibilities(SPHERICAL, X)[:, :, None] * scaled).sum(axis=0)
    np.testing.assert_allclose(jax.grad(log_likelihood)(MEANS), expected, rtol=1e-11)


@both_covariances
@pytest.mark.parametrize(
    "function",
    [mixture.log_joint, mixture.log_likelihood, mixture.responsibilities],
    ids=lambda function: function.__name__,
)
def test_compiled_equals_uncompiled(function, params):
    np.testing.assert_allclose(
        jax.jit(function)(params, X), function(params, X), rtol=1e-12
    )


def test_vmap_over_parameters_equals_a_loop():
    batch = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf[::-1], leaf]), SPHERICAL)
    together = jax.vmap(mixture.log_joint, in_axes=(0, None))(batch, X)
    one_by_one = [
        mixture.log_joint(Mixture(*each), X) for each in zip(*batch, strict=True)
    ]
    np.testing.assert_allclose(together, jnp.stack(one_by_one), rtol=1e-14)


@both_covariances
def test_a_weight_of_zero_leaves_the_component_out_exactly(params):
    zero = params._replace(weights=jnp.array([0.6, 0.4, 0.0]))
    others = jax.tree.map(lambda leaf: leaf[:2], zero)
    assert (mixture.log_joint(zero, X)[:, 2] == -jnp.inf).all()
    assert (mixture.responsibilities(zero, X)[:, 2] == 0).all()
    np.testing.assert_allclose(
        mixture.log_prob(zero, X), mixture.log_prob(others, X), rtol=1e-14
    )


def test_a_component_of_weight_zero_has_no_gradient():
    def log_likelihood(means):
        return mixture.log_likelihood(
            Mixture(jnp.array([0.6, 0.4, 0.0]), means, SPHERICAL.covariances), X
        )

    gradient = jax.grad(log_likelihood)(MEANS)
    assert (gradient[2] == 0).all()
    assert jnp.isfinite(gradient).all()


@both_covariances
def test_a_million_sigmas_away_is_the_nearest_component_alone(params):
    far = jnp.array([[1e6, 2e6], [-1e6, 0.0]])
    joint = mixture.log_joint(params, far)
    assert jnp.isfinite(joint).all()
    np.testing.assert_array_equal(mixture.log_prob(params, far), joint.max(axis=1))
    assert set(mixture.responsibilities(params, far).ravel().tolist()) == {0, 1}


@pytest.mark.parametrize("full", [False, True])
def test_a_tiny_variance_is_finite_and_exact(full):
    covariances = jnp.full(3, 1e-12)
    if full:
        covariances = covariances[:, None, None] * jnp.eye(2)[None]
    params = Mixture(WEIGHTS, MEANS, covariances)
    expected = jnp.log(WEIGHTS) - jnp.log(2 * jnp.pi * 1e-12)
    np.testing.assert_allclose(mixture.log_prob(params, MEANS), expected, rtol=1e-12)


def test_a_component_of_weight_zero_is_never_drawn():
    params = SPHERICAL._replace(weights=jnp.array([0.6, 0.0, 0.4]))
    _, z = mixture.sample(jax.random.key(3), params, 1000)
    assert set(z.tolist()) == {0, 2}


@pytest.mark.parametrize("kind", MIXTURES)
def test_starting_means_are_different_data_points(kind):
    start = mixture.init_from_data(jax.random.key(4), X, 6, covariance_type=kind)
    rows = {tuple(row) for row in start.means.tolist()}
    assert len(rows) == 6
    assert rows <= {tuple(row) for row in X.tolist()}


def test_starting_weights_are_equal():
    start = mixture.init_from_data(jax.random.key(4), X, 6)
    np.testing.assert_allclose(start.weights, 1 / 6, rtol=1e-15)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("spherical", np.var(X, axis=0).mean()),
        ("full", np.cov(X.T, bias=True)),
    ],
)
def test_starting_covariances_are_the_datas(kind, expected):
    start = mixture.init_from_data(jax.random.key(4), X, 3, covariance_type=kind)
    for covariance in start.covariances:
        np.testing.assert_allclose(covariance, expected, rtol=1e-12)


def test_starting_means_are_drawn_as_kmeans_plus_plus_says():
    # every ordered choice of three of four points, with its probability
    x = np.array([[0.0], [1.0], [3.0], [7.0]])
    distance = (x - x.T) ** 2
    expected = {}
    for first, second, third in itertools.permutations(range(4), 3):
        nearest = np.minimum(distance[first], distance[second])
        expected[tuple(x[[first, second, third], 0])] = (
            distance[first, second] / distance[first].sum() * nearest[third]
        ) / (4 * nearest.sum())
    num_draws = 20_000
    keys = jax.random.split(jax.random.key(5), num_draws)
    starts = jax.vmap(lambda key: mixture.init_from_data(key, jnp.array(x), 3))(keys)
    drawn, counts = np.unique(starts.means[:, :, 0], axis=0, return_counts=True)
    frequency = {
        tuple(row): n / num_draws for row, n in zip(drawn, counts, strict=True)
    }
    assert frequency.keys() <= expected.keys()
    for choice, chance in expected.items():
        error = np.sqrt(chance * (1 - chance) / num_draws)
        assert abs(frequency.get(choice, 0) - chance) < 4 * error


def test_points_that_repeat_are_chosen_once():
    x = jnp.array([[0.0]] * 50 + [[1.0]] * 50)
    start = mixture.init_from_data(jax.random.key(6), x, 2)
    assert set(start.means.ravel().tolist()) == {0.0, 1.0}


def test_lists_of_whole_numbers_are_points(as_user):
    x = [[1, 2], [3, 4], [5, 5]]
    params = Mixture([0.5, 0.5], [[0, 0], [3, 4]], [1, 2])
    arrays = Mixture(*(jnp.array(each, float) for each in params))
    np.testing.assert_array_equal(
        mixture.log_prob(params, x), mixture.log_prob(arrays, jnp.array(x, float))
    )
    assert mixture.init_from_data(jax.random.key(0), x, 2).means.shape == (2, 2)


def test_a_turned_covariance_is_accepted_despite_its_rounding(as_user):
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(8, 8)))[0]
    round_one = turn @ np.diag(np.full(8, 0.7)) @ turn.T
    params = Mixture([1.0], np.zeros((1, 8)), round_one[None])
    expected = gaussian.log_prob(Gaussian(np.zeros(8), 0.7), np.ones((1, 8)))
    np.testing.assert_allclose(mixture.log_prob(params, np.ones((1, 8))), expected)


GOOD = Mixture([0.5, 0.5], [[0.0, 0.0], [1.0, 1.0]], [1.0, 2.0])
EYES = np.stack([np.eye(2), np.eye(2)])
ONE = [[0.0, 0.0]]
SKEW, FLAT = np.array([[1.0, 0.5], [0.0, 1.0]]), np.array([[1.0, 2.0], [2.0, 1.0]])


@pytest.mark.parametrize(
    ("field", "value", "came", "expected"),
    [
        ("weights", [0.5, 0.6], "sum of 1.1", "sum of 1"),
        ("weights", [1.5, -0.5], "-0.5 at index (1,)", "at least 0"),
        ("weights", [0.5, np.nan], "nan at index (1,)", "finite"),
        ("weights", None, "NoneType", "real numbers"),
        ("means", [0.0, 1.0], "shape (2,)", "(k, d)"),
        ("means", [[0.0, 0.0]], "shape (1, 2)", "k = 2"),
        ("means", [[0.0, np.inf], [1.0, 1.0]], "inf at index (0, 1)", "finite"),
        ("covariances", [1.0, 0.0], "0.0 at index (1,)", "above 0"),
        ("covariances", [1.0, -2.0], "-2.0 at index (1,)", "above 0"),
        ("covariances", [1.0] * 3, "shape (3,)", "(k) or (k, d, d)"),
        ("covariances", [[1.0, 1.0]] * 2, "shape (2, 2)", "(k) or (k, d, d)"),
        ("covariances", EYES[:, :1], "shape (2, 1, 2)", "d = 2"),
        ("covariances", np.stack([np.eye(2), FLAT]), "eigenvalue -1", "above 0"),
        ("covariances", np.stack([SKEW, np.eye(2)]), "matrix 0", "symmetric"),
    ],
)
@pytest.mark.parametrize(
    "function",
    [
        lambda params: mixture.log_joint(params, ONE),
        lambda params: mixture.log_prob(params, ONE),
        lambda params: mixture.log_likelihood(params, ONE),
        lambda params: mixture.responsibilities(params, ONE),
        lambda params: mixture.sample(jax.random.key(0), params, 2),
    ],
    ids=["log_joint", "log_prob", "log_likelihood", "responsibilities", "sample"],
)
def test_bad_parameters_are_refused(refused, function, field, value, came, expected):
    with refused(f"params.{field}", came, expected):
        function(GOOD._replace(**{field: value}))


def test_params_that_are_no_mixture_are_refused(refused):
    with refused("params", "tuple", "Mixture(weights, means, covariances)"):
        mixture.log_prob(tuple(GOOD), ONE)
    with refused("params", "list", "Mixture(weights, means, covariances)"):
        mixture.log_prob(ONE, GOOD)


@pytest.mark.parametrize(
    ("x", "came", "expected"),
    [
        (np.ones(2), "shape (2,)", "x[None, :]"),
        (np.ones((4, 3)), "shape (4, 3)", "d = 2"),
        (np.ones((0, 2)), "shape (0, 2)", "at least one"),
        ([[0.0, np.nan]], "nan at index (0, 1)", "finite"),
        ("waiting", "str", "real numbers"),
    ],
)
def test_bad_points_are_refused(refused, x, came, expected):
    with refused("x", came, expected):
        mixture.log_joint(GOOD, x)


@pytest.mark.parametrize(
    ("key", "num_samples", "argument", "came", "expected"),
    [
        (0, 3, "key", "int", "jax.random.key"),
        (jax.random.key(0), 0, "num_samples", "0", "at least 1"),
        (jax.random.key(0), 1.5, "num_samples", "1.5", "whole number"),
    ],
)
def test_bad_requests_for_samples_are_refused(
    refused, key, num_samples, argument, came, expected
):
    with refused(argument, came, expected):
        mixture.sample(key, GOOD, num_samples)


FOUR = [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]


@pytest.mark.parametrize(
    ("change", "argument", "came", "expected"),
    [
        ({"key": 0}, "key", "int", "jax.random.key"),
        ({"x": np.ones(272)}, "x", "shape (272,)", "(n, d)"),
        ({"x": [[0.0, np.nan]]}, "x", "nan at index (0, 1)", "finite"),
        ({"x": [[1.0, 2.0]] * 4}, "x", "1 distinct points", "num_components = 2"),
        ({"num_components": 5}, "num_components", "5", "1 to 4"),
        ({"num_components": 0}, "num_components", "0", "at least 1"),
        ({"num_components": "two"}, "num_components", "'two'", "whole number"),
        ({"covariance_type": "diag"}, "covariance_type", "'diag'", "'full'"),
    ],
)
def test_bad_requests_for_a_start_are_refused(
    refused, change, argument, came, expected
):
    good = {"key": jax.random.key(0), "x": FOUR, "num_components": 2}
    with refused(argument, came, expected):
        mixture.init_from_data(**(good | change))


@pytest.mark.bad_input
@pytest.mark.parametrize("slope", [0.0, 0.3, 1 / 3, 1.1, -2.1])
def test_full_covariances_of_points_on_a_line_are_refused(as_user, slope):
    steps = np.arange(6.0)
    x = np.stack([steps, slope * steps + 1], axis=1)
    with pytest.raises(ValueError, match=r"covariance of x: .* expected"):
        mixture.init_from_data(jax.random.key(0), x, 2, covariance_type="full")


def test_a_spherical_variance_of_equal_points_is_refused(refused):
    with refused("covariance of x", "0.0", "above 0"):
        mixture.init_from_data(jax.random.key(0), [[1.0, 2.0]] * 3, 1)
