"""The bound, against enumeration, quadrature and closed forms."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from helpers import bounds, decoder, gaussian, mixture
from helpers.gaussian import Gaussian
from helpers.mixture import Mixture

KEYS = jax.random.split(jax.random.key(0), 8)
MIXTURE = Mixture(
    jnp.array([0.5, 0.3, 0.2]),
    jnp.array([[0.0, 1.0], [2.0, -1.0], [-3.0, 0.5]]),
    jnp.array([0.5, 1.0, 2.0]),
)
X = 2 * jax.random.normal(KEYS[0], (20, 2))
LOG_JOINT = mixture.log_joint(MIXTURE, X)
POSTERIOR = mixture.responsibilities(MIXTURE, X)
ANY_Q = jax.random.dirichlet(KEYS[1], jnp.ones(3), (20,))
STANDARD = Gaussian(jnp.zeros(1), jnp.ones(1))
BENT = decoder.bent_line()
# between the horseshoe's arms, so that the posterior has two modes
POINT = jnp.array([[1.5, 0.0]])
GAUSSIANS = [
    Gaussian(jnp.array([mean]), jnp.array(variance))
    for mean, variance in [(0.0, 1.0), (1.2, 0.05), (-3.0, 0.5), (2.0, 9.0)]
]
every_gaussian = pytest.mark.parametrize("q", GAUSSIANS)


def bent_joint(z):
    return decoder.log_joint(BENT, POINT, z)[0]


def scipy_expectation(q, function):
    """E_q function(z) by adaptive quadrature."""
    normal = stats.norm(float(q.mean[0]), np.sqrt(float(q.variance)))
    low, high = normal.mean() - 12 * normal.std(), normal.mean() + 12 * normal.std()

    def integrand(z):
        return normal.pdf(z) * function(z)

    edges = np.linspace(low, high, 13)
    options = {"epsabs": 1e-13, "epsrel": 1e-13}
    return sum(
        integrate.quad(integrand, *pair, **options)[0]
        for pair in itertools.pairwise(edges)
    )


@jax.jit
def bent_value(z):
    return bent_joint(z[None, None])[0]


def test_elbo_is_the_sum_over_z():
    expected = [
        sum(q * (log_joint - np.log(q)) for q, log_joint in zip(*row, strict=True))
        for row in zip(np.asarray(ANY_Q), np.asarray(LOG_JOINT), strict=True)
    ]
    np.testing.assert_allclose(bounds.elbo(LOG_JOINT, ANY_Q), expected, rtol=1e-13)


def test_elbo_is_never_above_log_prob():
    q = jax.random.dirichlet(KEYS[2], jnp.full(3, 0.5), (500, 20))
    values = jax.vmap(lambda q: bounds.elbo(LOG_JOINT, q))(q)
    assert (values <= mixture.log_prob(MIXTURE, X)[None, :] + 1e-13).all()


def test_the_gap_is_zero_for_the_posterior():
    np.testing.assert_allclose(bounds.gap(LOG_JOINT, POSTERIOR), 0, atol=1e-13)


def test_no_perturbed_q_is_better_than_the_posterior():
    best = bounds.elbo(LOG_JOINT, POSTERIOR)
    noise = jax.random.normal(KEYS[3], (100, *POSTERIOR.shape))
    for size in 1e-3, 0.1, 1.0:
        q = jax.nn.softmax(jnp.log(POSTERIOR)[None] + size * noise, axis=-1)
        worse = jax.vmap(lambda q: bounds.elbo(LOG_JOINT, q))(q)
        assert (worse <= best[None, :] + 1e-13).all()


def test_gap_is_the_divergence_from_the_posterior():
    expected = stats.entropy(np.asarray(ANY_Q), np.asarray(POSTERIOR), axis=1)
    np.testing.assert_allclose(bounds.gap(LOG_JOINT, ANY_Q), expected, rtol=1e-10)


def test_the_three_forms_are_one_number():
    forms = bounds.decompositions(LOG_JOINT, ANY_Q, MIXTURE.weights)
    elbo = bounds.elbo(LOG_JOINT, ANY_Q)
    for value in (
        forms.energy_entropy.energy + forms.energy_entropy.entropy,
        forms.evidence_kl.log_evidence - forms.evidence_kl.kl,
        forms.reconstruction_kl.reconstruction - forms.reconstruction_kl.kl,
    ):
        np.testing.assert_allclose(value, elbo, rtol=1e-12)


def test_each_term_equals_its_definition():
    forms = bounds.decompositions(LOG_JOINT, ANY_Q, MIXTURE.weights)
    q, weights = np.asarray(ANY_Q), np.broadcast_to(MIXTURE.weights, ANY_Q.shape)
    log_likelihood = LOG_JOINT - jnp.log(MIXTURE.weights)[None, :]
    for term, expected in (
        (forms.energy_entropy.energy, (ANY_Q * LOG_JOINT).sum(axis=1)),
        (forms.energy_entropy.entropy, stats.entropy(q, axis=1)),
        (forms.evidence_kl.log_evidence, mixture.log_prob(MIXTURE, X)),
        (forms.evidence_kl.kl, stats.entropy(q, np.asarray(POSTERIOR), axis=1)),
        (forms.reconstruction_kl.reconstruction, (q * log_likelihood).sum(axis=1)),
        (forms.reconstruction_kl.kl, stats.entropy(q, weights, axis=1)),
    ):
        np.testing.assert_allclose(term, expected, rtol=1e-10, atol=1e-14)


def test_the_forms_are_the_same_compiled():
    forms = bounds.decompositions(LOG_JOINT, ANY_Q, MIXTURE.weights)
    compiled = jax.jit(bounds.decompositions)(LOG_JOINT, ANY_Q, MIXTURE.weights)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), compiled, forms
    )


def test_a_forgotten_q_is_named():
    with pytest.raises(TypeError, match="argument: 'q'"):
        bounds.elbo(LOG_JOINT)


def test_a_wide_q_in_single_precision_has_its_closed_form():
    # where the prior itself is below the smallest float
    q = Gaussian(jnp.array([2.0], jnp.float32), jnp.array(9.0, jnp.float32))

    def log_joint(z):
        return gaussian.log_prob(Gaussian(jnp.zeros(1, z.dtype), 1.0), z)

    forms = bounds.decompositions(log_joint, q, Gaussian([0.0], 1.0))
    expected = gaussian.kl_to_standard_normal(q)
    np.testing.assert_allclose(forms.reconstruction_kl.kl, expected, rtol=1e-5)
    np.testing.assert_allclose(forms.reconstruction_kl.reconstruction, 0, atol=1e-5)


def test_zeros_of_q_contribute_exactly_zero():
    q = jnp.array([[0.25, 0.75, 0.0]])
    log_joint = jnp.array([[-1.0, -2.0, -jnp.inf]])
    same = bounds.elbo(log_joint[:, :2], q[:, :2])
    assert bounds.elbo(log_joint, q) == same
    assert bounds.gap(log_joint, q) == bounds.gap(log_joint[:, :2], q[:, :2])


@pytest.mark.parametrize("function", [bounds.elbo, bounds.gap])
def test_gradients_stay_finite_at_zeros_of_q(function):
    q = jnp.array([[0.25, 0.75, 0.0]])
    log_joint = jnp.array([[-1.0, -2.0, -jnp.inf]])
    gradients = jax.grad(lambda *args: function(*args).sum(), argnums=(0, 1))(
        log_joint, q
    )
    assert all(jnp.isfinite(leaf).all() for leaf in gradients)


def test_mass_where_the_model_has_none_makes_the_bound_minus_infinity():
    log_joint = jnp.array([[-1.0, -jnp.inf]])
    assert bounds.elbo(log_joint, jnp.array([[0.5, 0.5]])) == -jnp.inf


def test_gradient_in_the_model_is_q():
    gradient = jax.grad(lambda log_joint: bounds.elbo(log_joint, ANY_Q).sum())
    np.testing.assert_allclose(gradient(LOG_JOINT), ANY_Q, rtol=1e-14)


@every_gaussian
def test_elbo_of_a_gaussian_q_is_scipys_quadrature(q):
    energy = scipy_expectation(q, lambda z: float(bent_value(z)))
    entropy = 0.5 * np.log(2 * np.pi * np.e * q.variance)
    np.testing.assert_allclose(bounds.elbo(bent_joint, q), energy + entropy, atol=1e-10)


@every_gaussian
def test_log_evidence_does_not_depend_on_q(q):
    forms = bounds.decompositions(bent_joint, q, STANDARD)
    expected = decoder.log_marginal_quadrature(BENT, POINT)[0]
    total = bounds.elbo(bent_joint, q) + forms.evidence_kl.kl
    np.testing.assert_allclose(total, expected, atol=1e-12)


@every_gaussian
def test_terms_of_a_gaussian_q_have_their_closed_forms(q):
    forms = bounds.decompositions(bent_joint, q, STANDARD)
    entropy = 0.5 * np.log(2 * np.pi * np.e * q.variance)
    np.testing.assert_allclose(forms.energy_entropy.entropy, entropy, rtol=1e-12)
    np.testing.assert_allclose(
        forms.reconstruction_kl.kl, gaussian.kl_to_standard_normal(q), rtol=1e-12
    )


@pytest.mark.parametrize("dimension", [1, 2])
def test_the_gap_is_zero_for_a_gaussian_posterior(dimension):
    x = jnp.arange(1.0, 1 + dimension)

    # z ~ N(0, I) and x | z ~ N(z, I / 3), so z | x ~ N(3 x / 4, I / 4)
    def log_joint(z):
        prior = Gaussian(jnp.zeros(dimension), jnp.ones(()))
        noise = gaussian.log_prob(Gaussian(x, jnp.array(1 / 3)), z)
        return gaussian.log_prob(prior, z) + noise

    posterior = Gaussian(0.75 * x, jnp.array(0.25))
    assert abs(bounds.gap(log_joint, posterior)) < 1e-13
    marginal = gaussian.log_prob(Gaussian(jnp.zeros(dimension), 4 / 3), x[None])[0]
    np.testing.assert_allclose(bounds.elbo(log_joint, posterior), marginal, rtol=1e-13)


def test_gradient_in_a_gaussian_q_is_that_of_the_closed_form():
    # for a standard normal joint the bound is -KL(q || N(0, 1))
    def log_joint(z):
        return gaussian.log_prob(STANDARD, z)

    q = GAUSSIANS[1]
    gradient = jax.grad(lambda q: bounds.elbo(log_joint, q))(q)
    expected = jax.grad(lambda q: -gaussian.kl_to_standard_normal(q))(q)
    np.testing.assert_allclose(gradient.mean, expected.mean, rtol=1e-10)
    np.testing.assert_allclose(gradient.variance, expected.variance, rtol=1e-10)


def test_vmap_over_one_gaussian_q_per_point_equals_a_loop():
    x = X[:3] * 0.5
    means = jnp.array([[0.1], [-0.5], [1.0]])

    def one(x, mean):
        q = Gaussian(mean, jnp.array(0.3))
        return bounds.elbo(lambda z: decoder.log_joint(BENT, x[None], z)[0], q)

    loop = [one(*pair) for pair in zip(x, means, strict=True)]
    np.testing.assert_allclose(jax.vmap(one)(x, means), jnp.stack(loop), rtol=1e-12)


def test_one_sample_is_the_elbo():
    exact = bounds.importance_weighted_bound_exact(LOG_JOINT, ANY_Q, num_samples=1)
    np.testing.assert_allclose(exact, bounds.elbo(LOG_JOINT, ANY_Q), rtol=1e-13)


def test_with_the_posterior_as_q_one_sample_is_exact():
    value = bounds.importance_weighted_bound(
        KEYS[5], LOG_JOINT, POSTERIOR, num_samples=1
    )
    np.testing.assert_allclose(value, mixture.log_prob(MIXTURE, X), rtol=1e-12)


def test_one_sample_of_a_gaussian_q_averages_to_the_elbo():
    draws = jax.vmap(
        lambda key: bounds.importance_weighted_bound(
            key, bent_joint, GAUSSIANS[0], num_samples=1
        )
    )(jax.random.split(KEYS[6], 20_000))
    error = draws.std() / np.sqrt(20_000)
    assert abs(draws.mean() - bounds.elbo(bent_joint, GAUSSIANS[0])) < 4 * error


def test_importance_weighted_bound_takes_a_z_of_many_dimensions():
    q = Gaussian(jnp.zeros(7), jnp.ones(()))
    value = bounds.importance_weighted_bound(
        KEYS[7], lambda z: gaussian.log_prob(q, z) - 1.5, q, num_samples=4
    )
    assert value == pytest.approx(-1.5)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_dtype_is_kept(dtype):
    q = jax.nn.softmax(jnp.log(ANY_Q).astype(dtype), axis=1)
    forms = bounds.decompositions(
        LOG_JOINT.astype(dtype), q, jnp.array([0.25, 0.5, 0.25], dtype)
    )
    assert {leaf.dtype for leaf in jax.tree.leaves(forms)} == {jnp.dtype(dtype)}


@pytest.mark.parametrize(
    ("log_joint", "q", "argument", "came", "expected"),
    [
        (LOG_JOINT, ANY_Q[:, :2], "q", "shape (20, 2)", "k = 3"),
        (LOG_JOINT, ANY_Q[0], "q", "shape (3,)", "(n, k)"),
        (LOG_JOINT[0], ANY_Q, "log_joint", "shape (3,)", "(n, k)"),
        (LOG_JOINT, 2 * ANY_Q, "q", "in row 0", "a sum of 1"),
        ([[0.0, 0.0]], [[1.5, -0.5]], "q", "-0.5 at index (0, 1)", "at least 0"),
        ([[np.nan, 0.0]], [[0.5, 0.5]], "log_joint", "nan at index (0, 0)", "finite"),
        ([[np.inf, 0.0]], [[0.5, 0.5]], "log_joint", "inf at index (0, 0)", "finite"),
        ([[-np.inf] * 2], [[0.5, 0.5]], "log_joint", "-inf for every z", "finite"),
        (bent_joint, Gaussian(np.zeros(3), 1.0), "q.mean", "3 dimensions", "one or"),
        (bent_joint, Gaussian([0.0], -1.0), "q.variance", "-1.0", "above 0"),
        (bent_joint, ANY_Q, "q", "ArrayImpl", "Gaussian(mean, variance)"),
        (LOG_JOINT, STANDARD, "log_joint", "ArrayImpl", "a function"),
        (None, ANY_Q, "log_joint", "NoneType", "real numbers"),
        (LOG_JOINT, None, "q", "NoneType", "real numbers"),
        (lambda z: z, STANDARD, "log_joint(z)", "(2001, 1)", "(s)"),
        (bent_joint, Gaussian([0.0], 1e-6), "num_nodes", "2001", "use more nodes"),
        (lambda z: 0 * z[:, 0], STANDARD, "log_joint", "edge of the grid", "rescale"),
    ],
)
@pytest.mark.parametrize("function", [bounds.elbo, bounds.gap])
def test_bad_input_is_refused(
    refused, function, log_joint, q, argument, came, expected
):
    with refused(argument, came, expected):
        function(log_joint, q)


@pytest.mark.parametrize(
    ("num_nodes", "came", "expected"), [(4, "4", "odd"), (1, "1", "at least 3")]
)
def test_bad_grids_are_refused(refused, num_nodes, came, expected):
    with refused("num_nodes", came, expected):
        bounds.elbo(bent_joint, STANDARD, num_nodes=num_nodes)


def test_a_narrow_q_is_exact_on_a_finer_grid():
    q = Gaussian(jnp.array([1.2]), jnp.array(1e-5))
    coarse = bent_value(jnp.array(1.2)) + 0.5 * np.log(2 * np.pi * np.e * 1e-5)
    value = bounds.elbo(bent_joint, q, num_nodes=40001)
    # beyond the point's own value there is only half the curvature times 1e-5
    curvature = jax.grad(jax.grad(bent_value))(1.2)
    assert abs(value - coarse - 0.5e-5 * curvature) < 1e-8


@pytest.mark.parametrize(
    ("prior", "came", "expected"),
    [
        ([0.5, 0.5], "shape (2,)", "k = 3"),
        ([0.5, 0.6, 0.1], "1.2", "a sum of 1"),
        ([0.5, 0.5, 0.0], "0 where q is above 0", "above 0 there"),
    ],
)
def test_bad_priors_are_refused(refused, prior, came, expected):
    with refused("prior", came, expected):
        bounds.decompositions(LOG_JOINT, ANY_Q, prior)


@pytest.mark.parametrize(
    ("key", "num_samples", "argument", "came", "expected"),
    [
        (0, 3, "key", "int", "jax.random.key"),
        (KEYS[0], 0, "num_samples", "0", "at least 1"),
        (KEYS[0], 2.5, "num_samples", "2.5", "whole number"),
    ],
)
def test_bad_requests_for_samples_are_refused(
    refused, key, num_samples, argument, came, expected
):
    with refused(argument, came, expected):
        bounds.importance_weighted_bound(key, LOG_JOINT, ANY_Q, num_samples=num_samples)


def test_too_many_draws_to_enumerate_are_refused(refused):
    with refused("num_samples", "3^20", "100000"):
        bounds.importance_weighted_bound_exact(LOG_JOINT, ANY_Q, num_samples=20)
