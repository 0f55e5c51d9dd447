"""Every exercise by what people answer, and the checker by what code can do."""

import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.nn import log_softmax, softmax
from jax.scipy.stats import norm

from helpers import bounds, em, exercises, gaussian, mixture
from helpers.exercises import guard
from helpers.exercises import notebook_05 as of_vae
from helpers.exercises.judge import Formula, judge
from helpers.gaussian import Gaussian

EXERCISES = {k: v for table in exercises.EXERCISES.values() for k, v in table.items()}


@pytest.fixture(autouse=True)
def as_in_a_notebook(as_user):
    """Students may let jax.numpy add axes, and no state outlives a test."""
    jax.config.update("jax_numpy_rank_promotion", "allow")
    yield
    jax.config.update("jax_numpy_rank_promotion", "raise")
    exercises._states.clear()


# Answers as students write them. First the right one; then wrong ones, each with words
# of the hint that fits it.


def safe(a):
    m = a.max(axis=1)
    return m + np.log(np.exp(a - m[:, None]).sum(axis=1))


def safe_but_lost(a):
    m = a.max(axis=1)
    return np.log(np.exp(a - m[:, None]).sum(axis=1))


def safe_for_one_row(a):
    return a.max() + np.log(np.exp(a - a.max()).sum(axis=1))


def score(x, mu, sigma):
    in_sigma = ((x - mu) ** 2 / sigma**3 - 1 / sigma).sum()
    return jnp.array([((x - mu) / sigma**2).sum(), in_sigma])


def score_one(x, mu, sigma):
    in_sigma = ((x - mu) ** 2).sum() / sigma**3 - 1 / sigma
    return jnp.array([((x - mu) / sigma**2).sum(), in_sigma])


def score_sigma(x, mu, sigma):
    return jnp.array([((x - mu) / sigma).sum(), score(x, mu, sigma)[1]])


def score_no_log(x, mu, sigma):
    first, _ = score(x, mu, sigma)
    return jnp.array([first, ((x - mu) ** 2).sum() / sigma**3])


def pull(params, x, shares):
    away = x[:, None] - params.means
    total = (shares[:, :, None] * away).sum(axis=0)
    return total / params.covariances[:, None]


def slope_in_means(params, x):
    return pull(params, x, softmax(mixture.log_joint(params, x)))


def slope_naive(params, x):
    joint = jnp.exp(mixture.log_joint(params, x))
    return pull(params, x, joint / joint.sum(axis=1, keepdims=True))


def slope_by_prior(params, x):
    return pull(params, x, jnp.tile(params.weights, (len(x), 1)))


def slope_by_sigma(params, x):
    return slope_in_means(params, x) * jnp.sqrt(params.covariances)[:, None]


def kl(m, v, mp, vp):
    return 0.5 * jnp.sum(v / vp - 1 - jnp.log(v / vp) + (m - mp) ** 2 / vp)


def slope_in_logits(log_joint, a):
    ratio = log_joint - log_softmax(a)
    return softmax(a) * (ratio - (softmax(a) * ratio).sum(axis=1, keepdims=True))


def slope_naive_softmax(log_joint, a):
    q = jnp.exp(a) / jnp.exp(a).sum(axis=1, keepdims=True)
    ratio = log_joint - jnp.log(q)
    return q * (ratio - (q * ratio).sum(axis=1, keepdims=True))


def slope_less_evidence(log_joint, a):
    posterior = log_softmax(log_joint)
    return softmax(a) * (posterior - log_softmax(a))


def round_m_step(q, x, *, divide_by=None, means=None):
    mass, d = q.sum(axis=0), x.shape[1]
    means = q.T @ x / mass[:, None] if means is None else means
    squares = ((x[:, None] - means) ** 2).sum(axis=2)
    divisor = d * mass if divide_by is None else divide_by
    return mass / len(x), means, (q * squares).sum(axis=0) / divisor


def m_step_around_one_mean(q, x):
    weights, means, _ = round_m_step(q, x)
    return weights, means, round_m_step(q, x, means=x.mean(axis=0)[None])[2]


def m_step_by_n(q, x):
    means = q.T @ x / len(x)
    return round_m_step(q, x, means=means, divide_by=1)


def elbo(x, decoded, mean, sigma, sigma_x, *, over=jnp.sum, sign=-1, constant=1.0):
    squares = (x - decoded) ** 2 / (2 * sigma_x**2)
    log_scale = constant * 0.5 * jnp.log(2 * jnp.pi * sigma_x**2)
    kl = 0.5 * (sigma**2 - 1 - jnp.log(sigma**2) + mean**2).sum(axis=1)
    return -over(squares + log_scale, axis=1) + sign * kl


def best_q(x, w, sigma_x, beta):
    precision = 1 + w @ w / (beta * sigma_x**2)
    return x @ w / (beta * sigma_x**2) / precision, 1 / precision


def no_prior(x, w, sigma_x, beta):
    return x @ w / (w @ w), beta * sigma_x**2 / (w @ w)


def draw(key, mean, sigma, num_samples):
    return mean + sigma * jax.random.normal(key, (num_samples, len(mean)))


def draw_with_one_noise(key, mean, sigma, num_samples):
    columns = [m + s * jax.random.normal(key, num_samples) for m, s in zip(mean, sigma)]  # noqa: B905
    return jnp.stack(columns, axis=1)


def logistic_slopes(f, u, location, scale):
    def average(location, scale):
        return jax.vmap(f)(location + scale * jnp.log(u / (1 - u))).mean()

    return jnp.array(jax.grad(average, argnums=(0, 1))(location, scale))


def gaussian_slopes(f, u, location, scale):
    eps = norm.ppf(u)
    slopes = jax.vmap(jax.grad(f))(location + scale * eps)
    return jnp.array([slopes.mean(), (slopes * eps).mean()])


def slopes_without_eps(f, u, location, scale):
    slopes = jax.vmap(jax.grad(f))(location + scale * jnp.log(u / (1 - u)))
    return jnp.array([slopes.mean(), slopes.mean()])


def of_one(form):
    """Return what makes a wrong function of a right one."""
    return lambda right: lambda *args: form(right(*args))


stopped, turned = of_one(jax.lax.stop_gradient), of_one(jnp.negative)

ANSWERS = {
    "log_sum_exp": (
        safe,
        [
            (lambda a: np.log(np.exp(a).sum(axis=1)), "overflows"),
            (lambda a: np.exp(a).sum(axis=1), "A logarithm is missing"),
            (lambda a: np.log(np.exp(a).mean(axis=1)), "mean over z"),
            (safe_but_lost, "Add it again"),
            (safe_for_one_row, "each row needs its own"),
            (lambda a: np.log(np.exp(a).sum(axis=0)), "Over which axis"),
        ],
    ),
    "score": (
        score,
        [
            (lambda *args: score(*args) / len(args[0]), "A mean over the points"),
            (score_sigma, "divide by sigma squared, not by sigma"),
            (score_no_log, "-log sigma has a slope"),
            (score_one, "once for each point"),
            (turned(score), "downhill"),
        ],
    ),
    "variance_estimate": (
        lambda x: ((x - x.mean(axis=1, keepdims=True)) ** 2).sum(axis=1) / 6,
        [
            (lambda x: x.var(axis=1), "the MLE"),
            (lambda x: x.var(axis=1, ddof=1), "unbiased"),
            (lambda x: x.std(axis=1), "standard deviation"),
            (lambda x: np.ones(len(x)), "does not depend on the sample"),
            (lambda x: x.var(axis=0), "axis=1"),
        ],
    ),
    "shared_variance": (
        lambda x: ((x - x.mean(axis=0)) ** 2).sum() / x.size,
        [
            (lambda x: ((x - x.mean(axis=0)) ** 2).sum() / len(x), "N for DN"),
            (lambda x: ((x - x.mean(axis=0)) ** 2).sum() / (2 * len(x)), "the plane"),
            (lambda x: jnp.sqrt(((x - x.mean(axis=0)) ** 2).mean()), "This is sigma"),
            (lambda x: x.var(), "its own: mean(axis=0)"),
            (lambda x: x.var(axis=0, ddof=1).mean(), "unbiased"),
            (lambda x: x.var(axis=0), "a single one for all"),
        ],
    ),
    "slope_in_means": (
        slope_in_means,
        [
            (slope_by_prior, "the posterior's"),
            (slope_by_sigma, "not by sigma"),
            (slope_naive, "0/0"),
            (lambda p, x: slope_in_means(p, x) / len(x), "A mean over the points"),
            (turned(slope_in_means), "turned round"),
            (lambda p, x: pull(p, x, jnp.ones((len(x), len(p.weights)))), "shared out"),
        ],
    ),
    "proposal": (
        (1.2, 0.024),
        [
            ((0.0, 1.0), "the prior"),
            ((1.2, 0.024**2), "a variance"),
            ((1.2, 0.008), "narrower"),
            ((1.2, 0.1), "wider"),
            ((-1.2, 0.024), "sign of the mean"),
            ((0.9, 0.024), "not where the posterior is"),
        ],
    ),
    "kl_gaussians": (
        kl,
        [
            (lambda m, v, mp, vp: kl(mp, vp, m, v), "wrong way round"),
            (lambda m, v, mp, vp: kl(m, v**2, mp, vp**2), "sigma squared"),
            (lambda *args: 2 * kl(*args), "One half"),
            (
                lambda m, v, mp, vp: 0.5 * jnp.sum(v / vp - 1 + (m - mp) ** 2 / vp),
                "logarithm",
            ),
            (lambda *args: kl(*args) / len(args[0]), "A mean over the dimensions"),
        ],
    ),
    "slope_in_logits": (
        slope_in_logits,
        [
            (lambda p, a: p - log_softmax(a) - 1, "the slope in q"),
            (lambda p, a: softmax(a) * (p - log_softmax(a)), "an average over q"),
            (slope_less_evidence, "under q: the bound"),
            (turned(slope_in_logits), "of the divergence"),
            (slope_naive_softmax, "overflows"),
        ],
    ),
    "q_for_sixteen": (
        (0.75, 1.0),
        [
            ((1.25, 0.3), "sits on one mode"),
            ((0.0, 1.5), "nearer to the one that weighs more"),
            ((0.0, 0.3), "Too narrow"),
            ((0.5, 3.0), "Wider than both"),
            ((-1.3, 0.3), "positive z"),
        ],
    ),
    "round_m_step": (
        round_m_step,
        [
            (lambda q, x: round_m_step(q, x, divide_by=q.sum(axis=0)), "N_k for D N_k"),
            (lambda q, x: round_m_step(q, x, divide_by=x.size), "N for N_k"),
            (m_step_around_one_mean, "own mean"),
            (lambda q, x: em.m_step(q, x, covariance_type="full"), "one variance"),
            (m_step_by_n, "divided by its own N_k"),
            (
                lambda q, x: em.m_step(q, x)._replace(weights=q.sum(axis=0)),
                "sum to N",
            ),
        ],
    ),
    "step_matrices": (
        lambda theta, q: theta.covariances / q.sum(axis=0)[:, None, None],
        [
            (lambda theta, q: theta.covariances / len(q), "N for N_k"),
            (lambda theta, q: theta.covariances, "1 / N_k is missing"),
            (
                lambda theta, q: (
                    jnp.linalg.inv(theta.covariances) / q.sum(axis=0)[:, None, None]
                ),
                "must undo it",
            ),
            (
                lambda theta, q: theta.covariances / theta.weights[:, None, None],
                "shares of N",
            ),
        ],
    ),
    "stride": (
        1.9,
        [
            (0.5, "slower"),
            (1, "EM itself"),
            (1.3, "not far enough"),
            (2.2, "Too far"),
            (-1.0, "walks back"),
        ],
    ),
    "one_sample_elbo": (
        elbo,
        [
            (lambda *args: elbo(*args, over=jnp.mean), "A mean over the pixels"),
            (lambda *args: elbo(*args, sign=1), "take it off"),
            (lambda *args: elbo(*args, constant=0.0), "constant is missing"),
            (lambda *args: elbo(*args, sign=-2), "One half"),
            (lambda *args: elbo(*args).mean(), "one bound a point"),
        ],
    ),
    "best_q": (
        best_q,
        [
            (lambda x, w, s, beta: best_q(x, w, s, 1.0), "Where does beta"),
            (lambda x, w, s, beta: best_q(x, w, s, 1 / beta), "upside down"),
            (no_prior, "The prior is missing"),
            (lambda x, w, s, beta: best_q(x, w, s**0.5, beta), "sigma_x squared"),
            (
                lambda *args: (best_q(*args)[0], jnp.sqrt(best_q(*args)[1])),
                "the variance",
            ),
        ],
    ),
    "beta_for_rate": (
        2.9,
        [
            (1.0, "own bound"),
            (2.0, "larger beta"),
            (9.0, "smaller beta"),
            (5.557, "one bit"),
            (0.347, "upside down"),
            (0.0, "above 0"),
        ],
    ),
    "draw_z": (
        draw,
        [
            (draw_with_one_noise, "The key is reused"),
            (lambda key, m, s, n: draw(key, m, s**2, n), "Sigma squared"),
            (lambda key, m, s, n: draw(key, m, s**0.5, n), "The root of sigma"),
            (lambda key, m, s, n: draw(key, m, s, n) + s, "The mean is wrong"),
            (
                lambda key, m, s, n: draw(key, m, jax.lax.stop_gradient(s), n),
                "while eps stands still",
            ),
            (stopped(draw), "The gradient is stopped"),
            (lambda key, m, s, n: draw(jax.random.key(0), m, s, n), "not used"),
            (
                lambda key, m, s, n: m + s * jax.random.uniform(key, (n, 2)),
                "Is the noise normal",
            ),
        ],
    ),
    "logistic_slopes": (
        logistic_slopes,
        [
            (gaussian_slopes, "Gaussian"),
            (slopes_without_eps, "multiplied by its eps"),
            (lambda f, u, m, s: jnp.zeros(2), "stopped"),
            (lambda f, u, m, s: logistic_slopes(f, 1 - u, m, s), "upside down"),
            (lambda f, u, m, s: logistic_slopes(f, u, m, s) * len(u), "A sum"),
        ],
    ),
    "baseline": (
        lambda f: (f.sum() - f) / (len(f) - 1),
        [
            (lambda f: f.mean(), "Leave the sample's own value out"),
            (lambda f: f, "no variance, and no gradient"),
            (lambda f: jnp.zeros_like(f), "changes nothing"),
            (lambda f: 0.2 * (f.sum() - f) / (len(f) - 1), "near the average"),
            (lambda f: (f - f.sum()) / (len(f) - 1), "The variance rose"),
        ],
    ),
}


def test_every_exercise_is_answered_here():
    assert set(ANSWERS) == set(EXERCISES)
    assert sum(map(len, exercises.EXERCISES.values())) == len(
        EXERCISES
    )  # no name twice
    assert all(len(table) >= 3 for table in exercises.EXERCISES.values())
    assert all(len(slips) >= 3 for _, slips in ANSWERS.values())


@pytest.mark.parametrize("name", ANSWERS)
def test_the_right_answer_is_right(name):
    finding = judge(EXERCISES[name], ANSWERS[name][0])
    assert finding.state == "right", finding
    assert "hint" not in dict(finding.rows)


@pytest.mark.parametrize("name", ANSWERS)
def test_the_stub_is_not_attempted(name):
    stubs = [..., None]
    if callable(ANSWERS[name][0]):
        stubs += [lambda *args: ..., lambda *args: None]
    assert {judge(EXERCISES[name], stub).state for stub in stubs} == {"not attempted"}


WRONG = [
    pytest.param(name, *pair, id=f"{name}-{number}")
    for name, (_, slips) in ANSWERS.items()
    for number, pair in enumerate(slips)
]


@pytest.mark.parametrize(("name", "answer", "words"), WRONG)
def test_a_slip_gets_its_hint(name, answer, words):
    finding = judge(EXERCISES[name], answer)
    rows = dict(finding.rows)
    assert finding.state == "wrong"
    assert rows["came"]
    assert words in rows.get("hint", "") + rows["came"], finding
    assert ("input" in rows) == isinstance(EXERCISES[name], Formula)
    assert "Error" not in str(rows) or "ValueError" in rows["came"]


@pytest.mark.parametrize(
    "name", [k for k, e in EXERCISES.items() if e.__class__ is Formula]
)
def test_every_slip_that_an_exercise_knows_can_be_told(name):
    """Each wrong form differs from the reference, and its own hint is the one shown."""
    for form, hint in EXERCISES[name].slips:
        finding = judge(EXERCISES[name], form)
        assert finding.state == "wrong", hint
        assert dict(finding.rows)["hint"] == hint


# The references that no helper gives, against autodiff and quadrature.


def test_the_step_of_step_matrices_is_the_m_step():
    for theta, q in EXERCISES["step_matrices"].cases():
        x = jnp.asarray(
            np.random.default_rng(0).normal(size=(len(q), theta.means.shape[1]))
        )
        q = mixture.responsibilities(theta, x)
        slope = jax.grad(mixture.log_likelihood)(theta, x).means
        matrices = EXERCISES["step_matrices"].reference(theta, q)
        stepped = theta.means + jnp.einsum("kij,kj->ki", matrices, slope)
        np.testing.assert_allclose(stepped, em.m_step(q, x).means, rtol=1e-10)


def test_the_best_q_has_no_slope_in_the_weighed_bound():
    def bound(q, x, w, sigma_x, beta):  # in closed form
        mean, variance = q
        squares = ((x - mean * w) ** 2).sum() + variance * (w @ w)
        kl = gaussian.kl_to_standard_normal(Gaussian(mean[None], variance))
        return -squares / (2 * sigma_x**2) - beta * kl

    for x, *rest in EXERCISES["best_q"].cases():
        means, variance = EXERCISES["best_q"].reference(x, *rest)
        for one, mean in zip(x, means, strict=True):
            slopes = jax.grad(bound)((mean, variance), one, *rest)
            np.testing.assert_allclose(slopes, 0, atol=1e-6 * rest[-1])


def test_the_rate_is_the_average_of_the_kl():
    w, sigma_x, beta = of_vae.W, of_vae.SIGMA_X, 2.5
    rng = np.random.default_rng(1)
    z, noise = rng.normal(size=(100_000, 1)), rng.normal(size=(100_000, 2))
    mean, variance = best_q(z * w + sigma_x * noise, w, sigma_x, beta)
    kls = 0.5 * (variance - 1 - np.log(variance) + mean**2)
    error = 4 * kls.std() / np.sqrt(len(kls))
    assert abs(kls.mean() - of_vae._rate(beta)) < error


def test_one_sample_of_the_bound_averages_to_the_bound():
    """With a decoder that does not know z the reconstruction is exact."""
    prior = Gaussian(jnp.zeros(2), jnp.ones(2))
    x, decoded, mean, sigma, sigma_x = EXERCISES["one_sample_elbo"].cases()[0]
    found = EXERCISES["one_sample_elbo"].reference(x, decoded, mean, sigma, sigma_x)
    for i in range(len(x)):
        q = Gaussian(mean[i], sigma[i] ** 2)
        given_z = gaussian.log_prob(Gaussian(decoded[i], sigma_x**2), x[i : i + 1])[0]
        exact = bounds.elbo(lambda z, c=given_z: c + gaussian.log_prob(prior, z), q)
        assert np.isclose(found[i], exact, rtol=1e-9)


# The checker, by what code can do. Each of these is an answer to "shared_variance".


class Lazy:
    """Looks like an array until it is read."""

    shape, dtype = (), np.dtype(float)

    def __array__(self, *args, **kwargs):
        raise RuntimeError("nothing here")

    def __repr__(self):
        raise RuntimeError("not even a name")


class NamelessError(Exception):
    def __str__(self):
        raise RuntimeError("no words")


def raises(error):
    def answer(x):
        raise error

    return answer


def leaks(x):
    kept = []
    jax.grad(lambda scale: kept.append(scale * x) or scale)(1.0)
    return kept[0].var()


def recurses(x):
    return recurses(x)


def branches_on_a_tracer(x):
    return jax.jit(lambda y: y if y > 0 else -y)(x.var())


BAD = {
    "an error": (raises(KeyError("mu")), "KeyError: 'mu'"),
    "a wrong call": (lambda: 1.0, "TypeError"),
    "exit": (lambda x: sys.exit(3), "SystemExit"),
    "an interrupt": (raises(KeyboardInterrupt()), "KeyboardInterrupt"),
    "a base exception": (raises(BaseException("gone")), "BaseException: gone"),
    "an error without words": (raises(NamelessError()), "cannot say what it is"),
    "deep recursion": (recurses, "RecursionError"),
    "a leaked tracer": (leaks, "UnexpectedTracerError"),
    "a branch on a tracer": (branches_on_a_tracer, "TracerBoolConversionError"),
    "a lazy object": (lambda x: Lazy(), "nothing here"),
    "a word": (lambda x: "1.5", "str"),
    "a dictionary": (lambda x: {"variance": 1.5}, "dict"),
    "a complex number": (lambda x: 1j, "complex"),
    "nan": (lambda x: np.nan, "nan"),
    "infinity": (lambda x: -jnp.inf, "-inf"),
    "a wrong shape": (lambda x: jnp.ones((2, 3)), "shape (2, 3)"),
    "an empty array": (lambda x: jnp.ones(0), "shape (0,)"),
    "no function": (1.5, "wanted a function"),
    "jax's own error": (lambda x: x @ x, "TypeError"),
}


@pytest.mark.parametrize(("answer", "words"), BAD.values(), ids=BAD)
def test_whatever_it_does_it_is_wrong(answer, words):
    finding = judge(EXERCISES["shared_variance"], answer)
    assert finding.state == "wrong"
    assert words in dict(finding.rows)["came"]
    assert "Traceback" not in str(finding)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("proposal", "wide"),
        ("proposal", (1.0, -1.0)),
        ("proposal", (np.nan, 1.0)),
        ("proposal", 1.0),
        ("proposal", Lazy()),
        ("stride", (1, 2)),
        ("stride", np.inf),
        ("beta_for_rate", "large"),
        ("q_for_sixteen", [1, 2, 3]),
        ("baseline", lambda f: f[:2]),
        ("draw_z", lambda key, mean, sigma, num_samples: mean),
        ("variance_estimate", 3),
    ],
)
def test_whatever_it_is_it_is_wrong(name, value):
    assert judge(EXERCISES[name], value).state == "wrong"


TWICE = Formula(lambda x: 2 * x, lambda: [(np.arange(6.0).reshape(2, 3),)], ())


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda x: 2 * x.T, "rows and columns are exchanged"),
        (lambda x: x.sum(), "Over which axis"),
        (lambda x: 6 * x, "3 times what was wanted"),
        (lambda x: x / 0, "Not finite"),
    ],
)
def test_a_slip_that_no_exercise_lists_gets_a_general_hint(answer, words):
    assert words in dict(judge(TWICE, answer).rows)["hint"]


@pytest.mark.parametrize(
    ("answer", "came"),
    [(lambda *args: 1.0, "got one"), (lambda *args: (1, 2, 3), "got 3 results")],
)
def test_another_number_of_results_is_said(answer, came):
    rows = dict(judge(EXERCISES["best_q"], answer).rows)
    assert f"{came}, wanted 2 results: mean, variance" in rows["came"]


def test_a_stub_that_says_so_is_not_attempted():
    def answer(x):
        raise NotImplementedError

    assert judge(TWICE, answer).state == "not attempted"


def test_the_line_that_failed_is_shown():
    def answer(x):
        centre = x.mean(axis=0)
        return x.nothing_of_the_kind - centre

    finding = judge(EXERCISES["shared_variance"], answer)
    assert "x.nothing_of_the_kind - centre" in dict(finding.rows)["came"]


def test_an_input_that_only_the_last_case_has_is_shown():
    def answer(x):
        if x.shape[1] == 1:
            raise ZeroDivisionError
        return ((x - x.mean(axis=0)) ** 2).mean()

    rows = dict(judge(EXERCISES["shared_variance"], answer).rows)
    assert rows["input"].count("[") == 6  # five points of one dimension


def test_changing_an_argument_is_wrong_and_does_no_harm():
    def answer(a):
        m = a.max(axis=1)
        a -= m[:, None]
        return m + np.log(np.exp(a).sum(axis=1))

    for _ in range(2):  # the second time on arguments as fresh as the first
        finding = judge(EXERCISES["log_sum_exp"], answer)
        assert finding.state == "wrong"
        assert "a was changed" in dict(finding.rows)["came"]


def rows_of(answer):
    return dict(judge(EXERCISES["shared_variance"], answer).rows)


def test_what_is_printed_is_kept_and_cut(capsys):
    def answer(x):
        for i in range(10_000):
            print("round", i)
        return ((x - x.mean(axis=0)) ** 2).mean()

    finding = judge(EXERCISES["shared_variance"], answer)
    printed = dict(finding.rows)["printed"]
    assert finding.state == "right"
    assert printed.startswith("round 0\nround 1")
    assert printed.endswith("round 7 ... (cut)")
    (line,) = rows_of(lambda x: print("x" * 9999) or 1.0)["printed"].split("\n")
    assert len(line) == 400 + len(" ... (cut)")
    assert capsys.readouterr() == ("", "")


def test_warnings_of_an_answer_are_not_shown(recwarn):
    judge(EXERCISES["log_sum_exp"], lambda a: np.log(np.exp(a).sum(axis=1)))
    assert not recwarn.list


def forever(x):
    while True:
        x = x + 0


def forever_in_a_list(x):
    return [y for y in iter(int, 1)]


@pytest.mark.parametrize("answer", [forever, forever_in_a_list])
def test_an_endless_loop_is_ended(answer, monkeypatch):
    monkeypatch.setattr(guard, "SECONDS", 0.4)
    begin = time.monotonic()
    finding = judge(EXERCISES["shared_variance"], answer)
    rows = dict(finding.rows)
    assert time.monotonic() - begin < 5
    assert rows["came"] == "no answer within 0.4 seconds"
    assert "does not end" in rows["hint"]
    assert "note" not in rows  # nothing is left running


def test_a_loop_that_cannot_be_ended_is_left_behind(monkeypatch):
    monkeypatch.setattr(guard, "SECONDS", 0.4)
    let_go = []

    def compiled_loop_or_long_wait(x):
        while not let_go:
            try:
                time.sleep(0.01)
            except BaseException:
                continue

    rows = dict(judge(EXERCISES["shared_variance"], compiled_loop_or_long_wait).rows)
    let_go.append(True)
    assert rows["came"] == "no answer within 0.4 seconds"
    assert "Restart the kernel" in rows["note"]


def test_on_a_busy_machine_the_clock_alone_ends_nothing(monkeypatch):
    monkeypatch.setattr(guard, "SECONDS", 0.5)
    outcome = guard.run(lambda: time.sleep(0.8) or "an answer")  # others compute
    assert outcome.result == "an answer"


# What the reader sees.


def test_a_verdict_reads_the_same_as_text_and_as_html(capsys):
    exercises.check("shared_variance", lambda x: x.var())
    text = capsys.readouterr().out
    assert text.startswith("✗ shared_variance: wrong\n  input: x = [[")
    for label in ("came: ", "wanted: ", "hint: One mean for all columns"):
        assert f"\n  {label}" in text
    finding = judge(EXERCISES["shared_variance"], lambda x: "<script>")
    verdict = exercises.Verdict("<b>", finding._replace(rows=(("came", "<script>"),)))
    page = verdict._repr_html_()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "&lt;b&gt;: <b>wrong</b>" in page


def test_a_verdict_says_the_same_each_time():
    for name, (right, slips) in ANSWERS.items():
        for answer in (..., right, slips[0][0]):
            first, second = (judge(EXERCISES[name], answer) for _ in range(2))
            assert first == second


def test_an_unknown_name_is_told_and_breaks_nothing(capsys):
    assert exercises.check("shared_varaince", 1.0) is None
    assert "shared_variance" in capsys.readouterr().out


def test_progress_counts_the_students_answers(capsys):
    def line():
        capsys.readouterr()
        exercises.progress("02")
        return capsys.readouterr().out.strip()

    assert line() == (
        "0 of 3 exercises stand (shared_variance: not attempted, "
        "slope_in_means: not attempted, proposal: not attempted)"
    )
    exercises.check("shared_variance", ANSWERS["shared_variance"][0], solution=True)
    assert line().startswith("0 of 3")
    exercises.check("shared_variance", ANSWERS["shared_variance"][0])
    exercises.check("proposal", (0.0, 1.0))
    assert line() == (
        "1 of 3 exercises stand (shared_variance: right, "
        "slope_in_means: not attempted, proposal: wrong)"
    )
    exercises.check("shared_variance", ...)
    assert line().startswith("0 of 3")


def test_progress_of_no_notebook(refused):
    with refused("notebook", "'7'", "01, 02"):
        exercises.progress("7")
