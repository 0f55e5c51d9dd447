"""EM, against scikit-learn, its own two steps, autodiff and its monotonicity."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from em_cases import KINDS, SPHERICAL, START, X, assert_close, both_kinds

from helpers import bounds, em, mixture
from helpers.mixture import Mixture


def bound(params, q, x):
    """The sum over points of S17."""
    return bounds.elbo(mixture.log_joint(params, x), q).sum()


# the two steps, as the slide reads


@both_kinds
def test_e_step_is_the_posterior(kind):
    expected = mixture.responsibilities(START[kind], X)
    np.testing.assert_allclose(em.e_step(START[kind], X), expected, rtol=1e-14)


@both_kinds
def test_e_step_makes_the_bound_tight(kind):
    q = em.e_step(START[kind], X)
    np.testing.assert_allclose(
        bound(START[kind], q, X), mixture.log_likelihood(START[kind], X), rtol=1e-13
    )


@both_kinds
def test_m_step_is_where_the_gradient_of_the_bound_vanishes(kind):
    q = em.e_step(START[kind], X)
    best = em.m_step(q, X, covariance_type=kind)
    gradient = jax.grad(bound)(best, q, X)
    # on the simplex a maximum has equal derivatives in all weights
    np.testing.assert_allclose(gradient.weights, len(X), rtol=1e-12)
    np.testing.assert_allclose(gradient.means, 0, atol=1e-9)
    np.testing.assert_allclose(gradient.covariances, 0, atol=1e-9)


@pytest.fixture(params=KINDS)
def proof(request):
    """q(t), q(t+1), theta(t), theta(t+1) and l, during a fit."""
    path, log_likelihoods = em.iterate(START[request.param], X, num_steps=2)
    first, theta, after = (
        jax.tree.map(lambda leaf, t=t: leaf[t], path) for t in range(3)
    )
    qs = em.e_step(first, X), em.e_step(theta, X)
    return *qs, (theta, after), log_likelihoods[1:]


def test_the_proof_as_printed_fails_in_its_last_two_relations(proof):
    old_q, _, (theta, after), (log_likelihood, _) = proof
    assert bound(after, old_q, X) < bound(theta, old_q, X) - 1e-3
    assert bound(theta, old_q, X) < log_likelihood - 1e-3


def test_the_corrected_proof_holds(proof):
    _, q, (theta, after), (log_likelihood, higher) = proof
    assert higher >= bound(after, q, X) >= bound(theta, q, X)
    np.testing.assert_allclose(bound(theta, q, X), log_likelihood, rtol=1e-13)


# iterate is the two steps in turn, and fit is iterate


@both_kinds
def test_iterate_alternates_e_steps_and_m_steps(kind):
    path = em.iterate(START[kind], X, num_steps=3)
    theta = START[kind]
    for t in range(4):
        of_path = jax.tree.map(lambda leaf, t=t: leaf[t], path.params)
        assert_close(of_path, theta, rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(
            path.log_likelihoods[t], mixture.log_likelihood(theta, X), rtol=1e-13
        )
        theta = em.m_step(em.e_step(theta, X), X, covariance_type=kind)
    assert len(path.log_likelihoods) == 4


def test_iterate_takes_a_friends_m_step():
    def friends(q, x):
        return em.m_step(q, x)._replace(weights=jnp.array([0.5, 0.25, 0.25]))

    path = em.iterate(SPHERICAL, X, num_steps=2, m_step=friends)
    np.testing.assert_array_equal(path.params.weights[1:], [[0.5, 0.25, 0.25]] * 2)
    own = em.iterate(SPHERICAL, X, num_steps=1)
    np.testing.assert_allclose(path.params.means[1], own.params.means[1], rtol=1e-14)


@pytest.mark.bad_input
def test_iterate_says_that_a_component_has_collapsed(as_user):
    start = SPHERICAL._replace(
        means=SPHERICAL.means.at[1].set(X[0]),
        covariances=SPHERICAL.covariances.at[1].set(1e-6),
    )
    with pytest.raises(ValueError, match=r"params: .* from step \d+ .* collapses"):
        em.iterate(start, X, num_steps=30)


@pytest.mark.bad_input
def test_iterate_says_that_a_friends_m_step_returns_no_mixture(as_user):
    with pytest.raises(ValueError, match=r"from step 1 \(params: got tuple"):
        em.iterate(SPHERICAL, X, num_steps=3, m_step=lambda q, x: (q, x))


def test_iterate_takes_an_m_step_in_numpy():
    def in_numpy(q, x):
        return Mixture(*map(np.asarray, em.m_step(q, x)))

    path = em.iterate(SPHERICAL, X, num_steps=3, m_step=in_numpy)
    own = em.iterate(SPHERICAL, X, num_steps=3)
    np.testing.assert_allclose(path.log_likelihoods, own.log_likelihoods, rtol=1e-14)


def test_an_m_step_that_is_not_a_function_is_refused(refused):
    with refused("m_step", "5", "a function"):
        em.iterate(SPHERICAL, X, num_steps=2, m_step=5)


@both_kinds
def test_fit_equals_iterate_at_every_step(kind):
    path = em.iterate(START[kind], X, num_steps=20)
    for num_steps in (1, 20):
        result = em.fit(START[kind], X, num_steps=num_steps, tol=0.0)
        np.testing.assert_allclose(
            result.log_likelihoods, path.log_likelihoods[: num_steps + 1], rtol=1e-10
        )
        last = jax.tree.map(lambda leaf, t=num_steps: leaf[t], path.params)
        assert_close(result.params, last, rtol=1e-10, atol=1e-12)


# monotone


# what ends a climb, and what it reports


@both_kinds
def test_a_good_fit_has_no_faults(kind):
    assert em.faults(em.fit(START[kind], X)) == []


@both_kinds
def test_a_weight_of_zero_stays_zero_and_is_reported(kind):
    start = START[kind]._replace(weights=jnp.array([0.6, 0.4, 0.0]))
    result = em.fit(start, X, num_steps=20, tol=0.0)
    others = em.fit(
        jax.tree.map(lambda leaf: leaf[:2], start), X, num_steps=20, tol=0.0
    )
    assert result.params.weights[2] == 0
    np.testing.assert_allclose(result.params.means[2], start.means[2], rtol=1e-14)
    assert result.lost.tolist() == [False, False, True]
    np.testing.assert_allclose(
        result.log_likelihoods, others.log_likelihoods, rtol=1e-12
    )


@both_kinds
def test_equal_components_stay_equal_and_are_reported(kind):
    equal = jax.tree.map(lambda leaf: leaf[jnp.array([0, 1, 1])], START[kind])
    start = equal._replace(weights=jnp.array([0.4, 0.3, 0.3]))
    result = em.fit(start, X, num_steps=500)
    assert result.equal.tolist() == [False, True, True]
    assert "component 2 equals another" in em.faults(result)[-1]


@both_kinds
def test_a_component_that_shrinks_onto_one_point_is_reported(kind):
    start = START[kind]._replace(
        means=START[kind].means.at[1].set(X[0]),
        covariances=START[kind].covariances.at[1].multiply(1e-6),
    )
    result = em.fit(start, X)
    assert result.collapsed.tolist() == [False, True, False]
    assert not result.converged
    assert "component 1 has collapsed" in em.faults(result)[0]
    assert all(jnp.isfinite(leaf).all() for leaf in result.params)


# where float32 ends


@pytest.mark.parametrize("function", [em.fit, mixture.init_from_data])
@pytest.mark.parametrize(
    ("given", "came"), [("float32", "1 distinct points"), ("float64", "1e+08")]
)
def test_points_that_float32_cannot_tell_apart_are_refused(
    refused, function, given, came
):
    x = np.array(X) + 1e8
    first = SPHERICAL if function is em.fit else jax.random.key(0)
    with jax.enable_x64(False), refused("x", came, "subtract each column's mean"):
        function(first, x.astype(given), *[3] * (function is not em.fit))


def test_no_nan_is_created_on_the_way():
    # these tests run with jax_debug_nans on
    assert jax.config.jax_debug_nans
    result = em.fit(SPHERICAL, X, num_steps=500)
    assert result.num_steps < 500
    assert jnp.isfinite(result.log_likelihoods).all()


def test_seconds_since_1970_are_points():
    seconds = 1_700_000_000 + 86_400 * np.arange(40).reshape(20, 2) ** 2
    start = mixture.init_from_data(jax.random.key(0), seconds, 2)
    result = em.fit(start, seconds, num_steps=5, tol=0.0)
    path = em.iterate(start, seconds, num_steps=5)
    np.testing.assert_allclose(result.log_likelihoods, path.log_likelihoods, rtol=1e-10)
    assert em.faults(result) == []


# bad input

DATES = np.array([["2020-01-01", "2020-01-02"]] * 5, "datetime64[s]")
FEW = np.array([[0.0, 0.0], [1.0, 1.0]] * 5)


@pytest.mark.parametrize(
    ("change", "argument", "came", "expected"),
    [
        ({"x": np.ones(5)}, "x", "shape (5,)", "(n, d)"),
        ({"x": np.ones((5, 3))}, "x", "shape (5, 3)", "d = 2"),
        ({"x": [[0.0, np.nan]]}, "x", "nan at index (0, 1)", "finite"),
        ({"x": DATES}, "x", "2020-01-01", "real numbers"),
        ({"x": FEW}, "x", "2 distinct points", "num_components = 3"),
        (
            {"params": SPHERICAL._replace(weights=np.array([0.5, 0.6, 0.2]))},
            "params.weights",
            "1.3",
            "a sum of 1",
        ),
        (
            {"params": SPHERICAL._replace(covariances=np.zeros(3))},
            "params.covariances",
            "0.0",
            "above 0",
        ),
        ({"params": tuple(SPHERICAL)}, "params", "tuple", "Mixture(weights, means"),
        ({"params": X, "x": SPHERICAL}, "params", "Array", "Mixture(weights, means"),
        ({"num_steps": 0}, "num_steps", "0", "at least 1"),
        ({"num_steps": 2.5}, "num_steps", "2.5", "whole number"),
        ({"tol": -1.0}, "tol", "-1.0", "at least 0"),
        ({"tol": np.nan}, "tol", "nan", "finite"),
        ({"chunk_size": 0}, "chunk_size", "0", "at least 1"),
    ],
)
def test_bad_input_is_refused(refused, change, argument, came, expected):
    given = {"params": SPHERICAL, "x": X, "num_steps": 3} | change
    with refused(argument, came, expected):
        em.fit(given.pop("params"), given.pop("x"), **given)


def test_a_negative_floor_is_refused(refused):
    with refused("variance_floor", "-1.0", "at least 0"):
        em.fit(SPHERICAL, X, variance_floor=-1.0)


@pytest.mark.parametrize(
    ("q", "argument", "came", "expected"),
    [
        (np.ones((272, 2)), "responsibilities", "in row 0", "a sum of 1"),
        (np.ones((3, 1)), "x", "shape (272, 2)", "n = 3"),
        (np.full((272, 2), [1, 0]), "responsibilities of a component", "0.0", "above"),
    ],
)
def test_bad_responsibilities_are_refused(refused, q, argument, came, expected):
    with refused(argument, came, expected):
        em.m_step(q, X)


def test_an_unknown_covariance_type_is_refused(refused):
    with refused("covariance_type", "'diag'", "'spherical' or 'full'"):
        em.m_step(np.ones((272, 1)), X, covariance_type="diag")


def test_a_rate_with_a_weight_of_zero_is_refused(refused):
    with refused("params.weights", "0.0 at index (2,)", "above 0"):
        em.convergence_rate(SPHERICAL._replace(weights=jnp.array([0.6, 0.4, 0])), X)
