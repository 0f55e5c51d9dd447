"""The exercises of notebook 01, and the slips that people make in them."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp

from helpers import gaussian
from helpers.exercises.judge import Experiment, Formula, called, numbers, right, wrong
from helpers.gaussian import Gaussian

# For a sample of 5, divided by sigma^4: the MLE has 0.36, the unbiased one 0.5, and the
# least of all divisors 2 / 6.
LEAST_ERROR = 0.345


def _tables():
    rng = np.random.default_rng(1)
    a = rng.normal(size=(4, 3))
    far_apart = a + np.array([[-1000.0], [0.0], [600.0], [1000.0]])
    impossible = a.copy()
    impossible[1, 2] = -np.inf  # a z of probability 0
    return [(a,), (a - 1000,), (a + 1000,), (far_apart,), (impossible,)]


def _log_sum_exp(a):
    return logsumexp(jnp.asarray(a), axis=1)


def _in_numpy(form):
    """A wrong form that may overflow, without its warnings."""

    def quiet(a):
        with np.errstate(all="ignore"):
            return form(np.asarray(a))

    return quiet


def _taken_out(a, largest):
    return np.log(np.exp(a - largest).sum(axis=1))


LOG_SUM_EXP = Formula(
    _log_sum_exp,
    _tables,
    (
        (
            _in_numpy(lambda a: np.log(np.exp(a).sum(axis=1))),
            "exp() overflows above 709 and is 0 below -745. First take the largest "
            "entry out of each row: log sum e^a = m + log sum e^(a - m).",
        ),
        (
            _in_numpy(lambda a: np.exp(a).sum(axis=1)),
            "A logarithm is missing: this is the sum itself.",
        ),
        (
            _in_numpy(lambda a: np.log(np.exp(a).mean(axis=1))),
            "This is a mean over z. Wanted is the sum.",
        ),
        (
            _in_numpy(lambda a: a.sum(axis=1)),
            "The logarithms are added up: that is the log of a product. Wanted is the "
            "log of the sum of the exponentials.",
        ),
        (
            _in_numpy(lambda a: _taken_out(a, a.max(axis=1, keepdims=True))),
            "You took the largest entry out of each row. Add it again at the end.",
        ),
        (
            _in_numpy(lambda a: a.max() + _taken_out(a, a.max())),
            "You took the largest entry of the whole table out. A row far below it "
            "still underflows: each row needs its own.",
        ),
        (
            _in_numpy(lambda a: a.max(axis=1)),
            "This is the largest entry only. The others count too.",
        ),
    ),
)


def _samples():
    x = gaussian.sample(jax.random.key(11), Gaussian(jnp.array([3.5]), 1.2), 6)[:, 0]
    return [(x, 3.0, 0.8), (x, 3.5, 1.3), (x - 9, -4.0, 2.5), (x[:1], 3.0, 0.5)]


@jax.jit
def _score(x, mu, sigma):
    def log_likelihood(theta):
        params = Gaussian(theta[:1], theta[1] ** 2)
        return gaussian.log_prob(params, x[:, None]).sum()

    return jax.grad(log_likelihood)(jnp.array([mu, sigma]))


def _score_form(in_mu, in_sigma):
    """A form of the score from its two halves, functions of n, differences, sigma."""

    def form(x, mu, sigma):
        away = x - mu
        return jnp.stack([each(len(x), away, sigma) for each in (in_mu, in_sigma)])

    return form


def _in_mu(n, away, sigma):
    return away.sum() / sigma**2


def _in_sigma(n, away, sigma):
    return (away**2).sum() / sigma**3 - n / sigma


SCORE = Formula(
    _score,
    _samples,
    (
        (
            lambda *args: _score(*args) / len(args[0]),
            "A mean over the points. The log-likelihood is a sum over them.",
        ),
        (lambda *args: -_score(*args), "The sign is turned round: this is downhill."),
        (
            _score_form(lambda n, away, sigma: away.sum() / sigma, _in_sigma),
            "In mu: divide by sigma squared, not by sigma.",
        ),
        (
            _score_form(_in_mu, lambda n, away, sigma: (away**2).sum() / sigma**3),
            "In sigma: -log sigma has a slope as well, -1/sigma for each point.",
        ),
        (
            _score_form(
                _in_mu, lambda n, away, sigma: (away**2).sum() / sigma**3 - 1 / sigma
            ),
            "In sigma: -1/sigma comes once for each point, so n times in all.",
        ),
        (
            _score_form(
                _in_mu,
                lambda n, away, sigma: _in_sigma(n, away, sigma) / (2 * sigma),
            ),
            "The second slope is in sigma squared. Wanted is the one in sigma: by the "
            "chain rule, 2 sigma times as much.",
        ),
        (
            _score_form(
                _in_mu,
                lambda n, away, sigma: (away**2).sum() / sigma**2 - n / sigma,
            ),
            "In sigma: the derivative of -1/(2 sigma^2) is 1/sigma^3.",
        ),
    ),
)


def _judge_variance(answer):
    rng, worst = np.random.default_rng(12), 0.0
    for sigma in (1.0, 3.0):
        x = 4.0 + sigma * rng.normal(size=(200_000, 5))
        estimates = numbers(called(answer, x.copy()))
        if estimates.shape != (len(x),):
            return wrong(
                came=f"shape {estimates.shape} from x of shape {x.shape}",
                wanted=f"shape {(len(x),)}",
                hint="Each row is a sample of its own: use axis=1.",
            )
        error = ((estimates / sigma**2 - 1) ** 2).mean()
        worst = max(worst, error)
        hint = _variance_hint(estimates, x, sigma)
    came = f"a relative mean squared error of {worst:.2f}"
    wanted = f"at most {LEAST_ERROR}"
    if not worst <= LEAST_ERROR:
        return wrong(came=came, wanted=wanted, hint=hint)
    return right(reached=f"{came}, wanted {wanted}")


def _variance_hint(estimates, x, sigma):
    away = x - x.mean(axis=1, keepdims=True)
    squares = (away**2).sum(axis=1)
    known = {
        "Divided by n: the MLE. It is too low on average, and still better here than "
        "the unbiased one. Go on in that direction.": squares / 5,
        "Divided by n - 1: unbiased. But it scatters more, and the error counts bias "
        "and scatter. Which divisor makes their sum small?": squares / 4,
        "This is a standard deviation. Wanted is its square.": np.sqrt(squares / 5),
        "This too is a standard deviation. Wanted is its square.": np.sqrt(squares / 4),
        "A sum of squares. Wanted is an average, with some divisor.": squares,
    }
    for hint, form in known.items():
        if np.allclose(estimates, form):
            return hint
    if np.allclose(estimates, estimates[0]):
        return "The estimate does not depend on the sample."
    return (
        "For c times the sum of squares the error is a parabola in c. Where is it low?"
    )


EXERCISES = {
    "log_sum_exp": LOG_SUM_EXP,
    "score": SCORE,
    "variance_estimate": Experiment(_judge_variance),
}
