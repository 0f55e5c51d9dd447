"""Every exercise with a right answer, a wrong one and none; and its exact numbers."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from given_answers import (
    EXERCISES,
    RIGHT,
    WRONG,
    best_q,
    marginal,
    shared_variance,
    variance_estimate,
)
from jax.nn import softmax

from helpers import bounds, decoder, em, exercises, gaussian, mixture
from helpers.exercises import notebook_03, notebook_04, notebook_05
from helpers.exercises.answers import UnfitError, mean_and_sigma
from helpers.exercises.curve import curve, posterior_moments
from helpers.exercises.judge import judge
from helpers.gaussian import Gaussian

pytestmark = pytest.mark.usefixtures("as_in_a_notebook")


def test_every_exercise_is_answered_here():
    assert set(RIGHT) == set(WRONG) == set(EXERCISES)
    counted = sum(map(len, exercises.EXERCISES.values()))
    assert counted == len(EXERCISES)  # no name twice
    assert all(len(table) == 3 for table in exercises.EXERCISES.values())
    assert all(len(slips) >= 6 for slips in WRONG.values())


# The solutions are judged where the notebooks run, and many more answers in
# `tests/thorough/test_judges.py`.


@pytest.mark.parametrize("name", WRONG)
def test_a_slip_gets_its_hint(name):
    slip, words = next((slip, words) for slip, words in WRONG[name] if words)
    finding = judge(EXERCISES[name], slip)
    assert finding.state == "wrong", finding
    assert words in " ".join(dict(finding.rows).values()), finding


@pytest.mark.parametrize("name", RIGHT)
def test_the_stub_is_not_attempted(name):
    stubs = [..., None]
    if callable(RIGHT[name][0]):
        stubs += [lambda *args: ..., lambda *args: None]
    assert {judge(EXERCISES[name], stub).state for stub in stubs} == {"not attempted"}


# Where an answer is just beyond a bound, the message does not say otherwise.


def told(name, answer):
    rows = dict(judge(EXERCISES[name], answer).rows)
    return rows["your answer"], rows["expected"]


def test_a_number_just_beyond_a_bound_has_enough_digits():
    came, _ = told("variance_estimate", lambda x: variance_estimate(x) * 6 / 6.93)
    assert float(came.split()[-1]) > 0.345


def test_beyond_tells_a_number_from_its_bound():
    from helpers.exercises.answers import beyond

    assert beyond(0.0702, 0.07) == "0.0702"
    assert beyond(0.0698, 0.07) == "0.0698"
    assert beyond(0.07, 0.07) == "0.07"
    assert beyond(0.3, 0.07) == "0.30"
    assert beyond(1.0050001, 1.005, 3) == "1.0050001"
    tiny = np.nextafter(0.07, 1)
    assert float(beyond(tiny, 0.07)) == tiny


@pytest.mark.parametrize(("name", "ends"), [("stride", (1.5, 2.1))])
def test_the_hint_for_a_stride_points_to_the_best(name, ends):
    for stride in np.linspace(*ends, 7):
        finding = judge(EXERCISES[name], stride)
        if finding.state == "wrong":
            hint = dict(finding.rows)["hint"].lower()
            assert ("too far" in hint) == (stride > notebook_04.BEST)


# References that no helper gives, against autodiff, quadrature and brute force.


def test_the_step_of_step_matrices_is_the_m_step():
    for theta, q in EXERCISES["step_matrices"].cases():
        x = np.random.default_rng(0).normal(size=(len(q), theta.means.shape[1]))
        q = mixture.responsibilities(theta, x)
        slope = jax.grad(mixture.log_likelihood)(theta, jnp.asarray(x)).means
        matrices = EXERCISES["step_matrices"].reference(theta, q)
        stepped = theta.means + jnp.einsum("kij,kj->ki", matrices, slope)
        np.testing.assert_allclose(stepped, em.m_step(q, x).means, rtol=1e-10)


def test_the_references_are_what_the_helpers_compute():
    for q, x in EXERCISES["round_m_step"].cases():
        found = EXERCISES["round_m_step"].reference(np.asarray(q), np.asarray(x))
        for one, other in zip(found, em.m_step(q, x), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-10)
    for case in EXERCISES["kl_gaussians"].cases():
        q, p = Gaussian(*case[:2]), Gaussian(*case[2:])
        found = EXERCISES["kl_gaussians"].reference(*map(np.asarray, case))
        exact = gaussian.kl_divergence(q, p)
        np.testing.assert_allclose(found, exact, rtol=1e-10, atol=1e-14)
    for log_joint, logits in EXERCISES["slope_in_logits"].cases():
        slope = jax.grad(lambda a, p=log_joint: bounds.elbo(p, softmax(a)).sum())
        found = EXERCISES["slope_in_logits"].reference(
            np.asarray(log_joint), np.asarray(logits)
        )
        np.testing.assert_allclose(found, slope(logits), atol=1e-9)


def test_the_curve_is_the_bent_line():
    z = np.linspace(-3, 3, 13)
    line = decoder.bent_line()
    np.testing.assert_allclose(curve(z), decoder.decode(line, z[:, None]), atol=1e-12)
    for x, sigma_x in [(notebook_03.UPPER_POINT, 1.0), (curve(1.2), 0.1)]:
        exact = decoder.log_marginal_quadrature(line, x[None], sigma_x=sigma_x)
        found = posterior_moments(x, sigma_x)
        np.testing.assert_allclose(found.log_evidence, exact[0], rtol=1e-8)


def test_the_climb_is_em():
    """A stride of 1 takes the steps of `em`, and ends where it ends."""
    side = np.arange(500) % 2
    x = np.random.default_rng(2).normal(size=(500, 2))
    x[:, 0] += 2.5 * (side - 0.5)
    theta = mixture.Mixture(
        jnp.full(2, 0.5),
        jnp.array([[-1.25, 0.0], [1.25, 0.0]]),
        jnp.stack([jnp.eye(2)] * 2),
    )
    climbed = notebook_04._climb(1.0)
    for step in range(3):
        exact = mixture.log_likelihood(theta, x)
        np.testing.assert_allclose(climbed[step], exact, rtol=1e-12)
        q = mixture.responsibilities(theta, x)
        theta = em.m_step(q, x, covariance_type="full")
    # The slowest error shrinks by one factor a step, near the top.
    short = climbed[-1] - climbed[240:260]
    factor = (short[-1] / short[0]) ** (1 / 19)
    assert abs(np.sqrt(factor) - notebook_04.SLOWEST) < 1e-3
    assert notebook_04.steps_to_the_top(1.0) == notebook_04.PLAIN


def test_the_best_q_has_no_slope_in_the_weighted_bound():
    def bound(q, x, w, sigma_x, beta):  # in closed form
        mean, variance = q
        squares = ((x - mean * w) ** 2).sum() + variance * (w @ w)
        kl = 0.5 * (variance + mean**2 - 1 - jnp.log(variance))
        return -squares / (2 * sigma_x**2) - beta * kl

    slopes_of = jax.jit(jax.grad(bound))
    for x, *rest in EXERCISES["best_q"].cases():
        means, variance = EXERCISES["best_q"].reference(x, *rest)
        for one, mean in zip(x, means, strict=True):
            slopes = slopes_of((mean, variance), one, *rest)
            np.testing.assert_allclose(slopes, 0, atol=1e-6 * rest[-1])


def test_the_rate_is_the_average_of_the_kl():
    w, sigma_x, beta = notebook_05.W, notebook_05.SIGMA_X, 2.5
    rng = np.random.default_rng(1)
    z, noise = rng.normal(size=(100_000, 1)), rng.normal(size=(100_000, 2))
    mean, variance = best_q(z * w + sigma_x * noise, w, sigma_x, beta)
    kls = 0.5 * (variance - 1 - np.log(variance) + mean**2)
    error = 4 * kls.std() / np.sqrt(len(kls))
    assert abs(kls.mean() - notebook_05.rate(beta)) < error


def test_one_sample_of_the_bound_averages_to_the_bound():
    """If the decoder does not depend on z, the reconstruction is exact."""
    prior = Gaussian(jnp.zeros(2), jnp.ones(2))
    x, decoded, mean, sigma, sigma_x = EXERCISES["one_sample_elbo"].cases()[0]
    found = EXERCISES["one_sample_elbo"].reference(x, decoded, mean, sigma, sigma_x)
    for i in range(len(x)):
        q = Gaussian(mean[i], sigma[i] ** 2)
        given_z = gaussian.log_prob(Gaussian(decoded[i], sigma_x**2), x[i : i + 1])[0]
        exact = bounds.elbo(lambda z, c=given_z: c + gaussian.log_prob(prior, z), q)
        assert np.isclose(found[i], exact, rtol=1e-9)


@pytest.mark.parametrize("divisor", [4, 5, 5.5, 6, 7])
def test_the_error_of_a_divisor_is_exact(divisor):
    came, _ = told("variance_estimate", lambda x: variance_estimate(x) * 6 / divisor)
    c = 1 / divisor
    exact = 24 * c**2 - 8 * c + 1
    assert abs(float(came.split()[-1]) - exact) < 6e-4


BASELINES = [
    lambda f: np.zeros_like(f),
    lambda f: (f.sum(axis=1, keepdims=True) - f) / 7,
    lambda f: np.roll(f, 1, axis=1),
]


@pytest.mark.parametrize("of_rows", BASELINES)
def test_the_share_of_the_variance_is_that_of_many_samples(of_rows):
    eps = np.random.default_rng(9).normal(size=(200_000, 8))
    f = (5 + eps) ** 2
    many = ((f - of_rows(f)) * eps).mean(axis=1).var() / (f * eps).mean(axis=1).var()
    came, _ = told("baseline", lambda f: of_rows(np.asarray(f)[None])[0])
    assert abs(float(came.split()[1]) - many) < 0.03


def test_progress_counts_the_students_answers(capsys):
    def line():
        capsys.readouterr()
        exercises.progress("02")
        return capsys.readouterr().out.strip()

    assert line() == (
        "0 of 3 exercises solved (shared_variance: not attempted, "
        "slope_in_means: not attempted, marginal: not attempted)"
    )
    exercises.check("shared_variance", shared_variance, solution=True)
    assert line().startswith("0 of 3")
    exercises.check("shared_variance", shared_variance)
    exercises.check("marginal", lambda x, decode: -marginal(x, decode))
    assert line() == (
        "1 of 3 exercises solved (shared_variance: right, "
        "slope_in_means: not attempted, marginal: wrong)"
    )
    exercises.check("shared_variance", ...)
    assert line().startswith("0 of 3")


@pytest.mark.parametrize("notebook", ["7", 1, ["01"]])
def test_progress_of_no_notebook(refused, notebook):
    with refused("notebook", repr(notebook), '"01", "02"'):
        exercises.progress(notebook)


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (1.0, "one number"),
        (np.ones(3), "3 numbers"),
        ([1.0, [1.0, 2.0]], "arrays of shape"),
        ((np.nan, 1.0), "(nan, 1)"),
        ((1.0, 0.0), "sigma = 0"),
        (Gaussian(np.zeros(()), np.array(-1.0)), "variance = -1"),
    ],
)
def test_what_is_no_mean_and_sigma_is_named(answer, found):
    with pytest.raises(UnfitError, match=re.escape(found)):
        mean_and_sigma(answer)


def test_a_mean_and_sigma_may_be_an_array_or_a_gaussian():
    assert mean_and_sigma(np.array([0.5, 2.0])) == (0.5, 2.0)
    assert mean_and_sigma(Gaussian(np.array(0.5), np.array(4.0))) == (0.5, 2.0)
