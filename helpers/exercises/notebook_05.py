"""The exercises of notebook 05, and the slips that students often make in them."""

import jax
import numpy as np

from helpers.exercises.answers import beyond, one_number
from helpers.exercises.finding import UnfitError, right, wrong
from helpers.exercises.formula import Formula, Slip
from helpers.exercises.judge import Experiment

# The linear decoder x = w z + noise of the last exercise.
W = np.array([2.0, 1.0])
SIGMA_X = 0.5


def _codes():
    rng = np.random.default_rng(51)
    cases = []
    for n, d, m in [(3, 4, 2), (2, 3, 3)]:
        x = rng.normal(size=(n, d))
        decoded = rng.normal(size=(n, d))
        mean = rng.normal(size=(n, m))
        sigma = rng.uniform(0.2, 1.6, size=(n, m))
        cases.append((x, decoded, mean, sigma, 0.3))
    x, decoded, mean, sigma, _ = cases[0]
    cases.append((x, decoded, mean, 1e-3 * sigma, 1.0))
    return [(*map(jax.device_put, arrays), sigma_x) for *arrays, sigma_x in cases]


def _one_sample_elbo(x, decoded, mean, sigma, sigma_x):
    log_likelihood = _log_density(x - decoded, sigma_x).sum(axis=1)
    return log_likelihood - _kl(mean, sigma).sum(axis=1)


def _log_density(away, sigma_x):
    """Log density of each pixel."""
    return -_squares(away, sigma_x) - _constant(sigma_x)


def _squares(away, sigma_x):
    return away**2 / (2 * sigma_x**2)


def _constant(sigma_x):
    return 0.5 * np.log(2 * np.pi * sigma_x**2)


def _kl(mean, sigma):
    """KL(q || p(z)) of each dimension of z."""
    return 0.5 * (sigma**2 - 1 - np.log(sigma**2) + mean**2)


def _with_density(form):
    """The bound with another first term, from differences `n d` and sigma_x."""
    return lambda x, decoded, mean, sigma, sigma_x: (
        form(x - decoded, sigma_x) - _kl(mean, sigma).sum(axis=1)
    )


def _with_kl(form):
    """The bound with another second term, from mean and sigma `n m`."""
    return lambda x, decoded, mean, sigma, sigma_x: (
        _log_density(x - decoded, sigma_x).sum(axis=1) - form(mean, sigma)
    )


ONE_SAMPLE_ELBO = Formula(
    _one_sample_elbo,
    _codes,
    (
        Slip(
            _with_density(lambda away, s: _log_density(away, s).mean(axis=1)),
            "You took a mean over the pixels. The log density is a sum over them; a "
            "mean makes it too small compared with the KL.",
        ),
        Slip(
            _with_density(lambda away, s: -_squares(away, s).sum(axis=1)),
            "The constant is missing: -1/2 log(2 pi sigma_x^2) for each pixel.",
        ),
        Slip(
            _with_density(
                lambda away, s: -_squares(away, s).sum(axis=1) - _constant(s)
            ),
            "You added the constant only once. Each pixel has one: -1/2 log(2 pi "
            "sigma_x^2).",
        ),
        Slip(
            _with_density(
                lambda away, s: (
                    -_squares(away, s).sum(axis=1) + away.shape[1] * _constant(s)
                )
            ),
            "The constant has the wrong sign: -1/2 log(2 pi sigma_x^2) for each pixel.",
        ),
        Slip(
            _with_density(
                lambda away, s: (-_squares(away, s) - _constant(1.0)).sum(axis=1)
            ),
            "sigma_x is missing in the constant: -1/2 log(2 pi sigma_x^2) for each "
            "pixel.",
        ),
        Slip(
            _with_density(
                lambda away, s: (-_squares(away, s) - 2 * _constant(s)).sum(axis=1)
            ),
            "One half is missing in the constant: -1/2 log(2 pi sigma_x^2) for each "
            "pixel.",
        ),
        Slip(
            _with_density(
                lambda away, s: (-2 * _squares(away, s) - _constant(s)).sum(axis=1)
            ),
            "One half is missing in front of the squares: (x - decoded)^2 / (2 "
            "sigma_x^2).",
        ),
        Slip(
            _with_density(lambda away, s: 2 * _log_density(away, s).sum(axis=1)),
            "One half is missing in the log density.",
        ),
        Slip(
            _with_density(lambda away, s: -(away**2).sum(axis=1)),
            "Your first term is the squared error alone. In the log density it is "
            "divided by 2 sigma_x^2, and there is a constant.",
        ),
        Slip(
            _with_density(lambda away, s: -(away**2).mean(axis=1)),
            "Your first term is the mean squared error. The log density is a sum over "
            "the pixels, with the squares divided by 2 sigma_x^2 and a constant.",
        ),
        Slip(
            _with_density(
                lambda away, s: (-(away**2) / (2 * s) - _constant(s)).sum(axis=1)
            ),
            "You divide the squares by 2 sigma_x. Expected sigma_x squared there.",
        ),
        Slip(
            _with_density(
                lambda away, s: (
                    -(away**2) / (2 * s) - 0.5 * np.log(2 * np.pi * s)
                ).sum(axis=1)
            ),
            "You used sigma_x as the variance. It is a standard deviation: square it.",
        ),
        Slip(
            _with_density(
                lambda away, s: (-_squares(away, s) - 0.5 * np.log(2 * np.pi * s)).sum(
                    axis=1
                )
            ),
            "You used sigma_x in the constant. Expected sigma_x squared there.",
        ),
        Slip(
            _with_density(lambda away, s: -_log_density(away, s).sum(axis=1)),
            "The log density has the wrong sign: expected the bound, not a loss.",
        ),
        Slip(
            _with_kl(lambda mean, sigma: 0.0),
            "The KL is missing: this is the first term only.",
        ),
        Slip(
            lambda x, decoded, mean, sigma, sigma_x: -_kl(mean, sigma).sum(axis=1),
            "The first term, log p(x | z), is missing.",
        ),
        Slip(
            _with_kl(lambda mean, sigma: -_kl(mean, sigma).sum(axis=1)),
            "You added the KL. It lowers the bound: subtract it.",
        ),
        Slip(
            _with_kl(lambda mean, sigma: 2 * _kl(mean, sigma).sum(axis=1)),
            "One half is missing in front of the KL.",
        ),
        Slip(
            _with_kl(lambda mean, sigma: _kl(mean, sigma).mean(axis=1)),
            "You took a mean over the dimensions of z. For independent dimensions, the "
            "divergences add up: take the sum.",
        ),
        Slip(
            _with_kl(lambda mean, sigma: _kl(mean, np.sqrt(sigma)).sum(axis=1)),
            "In the KL: you used sigma as the variance. Expected sigma squared.",
        ),
        Slip(
            _with_kl(
                lambda mean, sigma: (
                    0.5 * (sigma**2 - 1 - np.log(sigma) + mean**2).sum(axis=1)
                )
            ),
            "In the KL: you used log sigma. Expected log sigma^2, which is twice as "
            "large.",
        ),
        Slip(
            _with_kl(
                lambda mean, sigma: (
                    0.5 * (sigma**2 - 1 + np.log(sigma**2) + mean**2).sum(axis=1)
                )
            ),
            "In the KL: the logarithm has the wrong sign, expected -log sigma^2.",
        ),
        Slip(
            _with_kl(
                lambda mean, sigma: (
                    0.5 * (sigma**2 - np.log(sigma**2) + mean**2).sum(axis=1)
                )
            ),
            "In the KL: the -1 of each dimension is missing.",
        ),
        Slip(
            _with_kl(lambda mean, sigma: _kl(0.0, sigma).sum(axis=1)),
            "In the KL: the squared mean is missing.",
        ),
        Slip(
            lambda *args: -_one_sample_elbo(*args),
            "The sign is flipped: this is the loss. Expected the bound.",
        ),
        Slip(
            lambda *args: _one_sample_elbo(*args).sum(),
            "You took a sum over the points. Expected one bound per point.",
        ),
        Slip(
            lambda *args: _one_sample_elbo(*args).mean(),
            "You took a mean over the points. Expected one bound per point.",
        ),
    ),
)


def _linear():
    rng = np.random.default_rng(52)
    settings = [(4, 2, 0.5, 3.0), (4, 2, 0.2, 0.4), (3, 3, 1.5, 1.0), (4, 2, 0.5, 1e4)]
    cases = []
    for n, d, sigma_x, beta in settings:
        x = jax.device_put(rng.normal(size=(n, d)))
        w = jax.device_put(rng.normal(size=d))
        cases.append((x, w, sigma_x, beta))
    return cases


def _best_q(x, w, sigma_x, beta):
    return _posterior(x, w, beta * sigma_x**2)  # beta has the effect of more noise


def _posterior(x, w, noise):
    variance = 1 / (1 + w @ w / noise)
    return variance * (x @ w) / noise, variance


def _with_variance(form):
    """The best q with another second result, from the arguments and the right q."""

    def slipped(*args):
        mean, variance = _best_q(*args)
        return mean, form(*args, mean, variance)

    return slipped


BEST_Q = Formula(
    _best_q,
    _linear,
    (
        Slip(
            lambda x, w, sigma_x, beta: _posterior(x, w, sigma_x**2),
            "This is the posterior, the best q for beta = 1. Where does beta enter?",
        ),
        Slip(
            lambda x, w, sigma_x, beta: _posterior(x, w, sigma_x**2 / beta),
            "You used 1 / beta in place of beta: beta multiplies the KL, so it makes q "
            "more like the prior, not less.",
        ),
        Slip(
            lambda x, w, sigma_x, beta: _posterior(x, w, beta * sigma_x),
            "You used sigma_x as the variance. Expected sigma_x squared.",
        ),
        Slip(
            lambda x, w, sigma_x, beta: _posterior(x, w, beta**2 * sigma_x**2),
            "You used beta squared: the effective noise is beta sigma_x^2.",
        ),
        Slip(
            lambda x, w, sigma_x, beta: (
                (x @ w) / (w @ w),
                beta * sigma_x**2 / (w @ w),
            ),
            "The prior is missing: its precision is 1, and precisions add up.",
        ),
        Slip(
            lambda x, w, sigma_x, beta: (
                beta * _posterior(x, w, beta * sigma_x**2)[0],
                _best_q(x, w, sigma_x, beta)[1],
            ),
            "In the mean, a factor 1 / beta is missing: it is the variance times x.w / "
            "(beta sigma_x^2).",
        ),
        Slip(
            lambda x, w, sigma_x, beta: (
                x @ w / (beta * sigma_x**2),
                _best_q(x, w, sigma_x, beta)[1],
            ),
            "In the mean, the precision is missing: divide x.w / (beta sigma_x^2) by "
            "it, that is, multiply by the variance.",
        ),
        Slip(
            lambda x, w, sigma_x, beta: (
                (x @ w) / (beta * sigma_x**2) / (1 + np.sum(w) / (beta * sigma_x**2)),
                1 / (1 + np.sum(w) / (beta * sigma_x**2)),
            ),
            "You used the sum of w. Expected the sum of its squares, w @ w.",
        ),
        Slip(
            _with_variance(lambda x, w, sigma_x, beta, mean, variance: 1 / variance),
            "Your second result is a precision. Expected the variance, which is 1 / "
            "precision.",
        ),
        Slip(
            _with_variance(
                lambda x, w, sigma_x, beta, mean, variance: np.sqrt(variance)
            ),
            "Your second result is a sigma. Expected the variance.",
        ),
        Slip(
            _with_variance(
                lambda x, w, sigma_x, beta, mean, variance: np.full(len(x), variance)
            ),
            "You returned one variance per point. It is the same for all points, so "
            "expected one number.",
        ),
        Slip(
            lambda *args: (_best_q(*args)[0].mean(), _best_q(*args)[1]),
            "You took a mean over the points. Expected one mean of q per point.",
        ),
    ),
    parts=("mean", "variance"),
)


def rate(beta: float, squares: float = 5.0, noise: float = SIGMA_X**2) -> float:
    """Return the rate of the best q in nats: the mean KL(q || p(z)) over the model's x.

    Args:
        beta: the weight of the KL.
        squares: |w|^2.
        noise: sigma_x^2.
    """
    variance = _variance(beta, squares, noise)
    return 0.5 * (variance - 1 - np.log(variance) + _of_mean(beta, squares, noise))


def _variance(beta, squares, noise):
    return 1 / (1 + squares / (beta * noise))


def _of_mean(beta, squares, noise):
    """E mean^2, where E (x.w)^2 = |w|^4 + sigma_x^2 |w|^2."""
    scale = _variance(beta, squares, noise) / (beta * noise)
    return scale**2 * (squares**2 + noise * squares)


WITHIN = 0.005  # nats


def _judge_beta(answer):
    beta = one_number(answer)
    if beta <= 0:
        raise UnfitError(f"{beta:g}", "a number above 0")
    nats = rate(beta)
    bound = 1 + WITHIN if nats > 1 else 1 - WITHIN
    reached = f"a rate of {beyond(nats, bound, 3)} nats"
    expected = f"1 nat, to within {WITHIN}"
    if abs(nats - 1) <= WITHIN:
        return right(reached=reached, expected=expected)
    return wrong(reached=reached, expected=expected, hint=_beta_hint(beta, nats))


def _beta_hint(beta, nats):
    if beta == 1:
        return (
            "That is the VAE's own bound: the best q is the posterior, which holds all "
            "that x tells us about z."
        )
    # For each slip, the rate that a student with this slip would find at this beta.
    squares = W @ W
    slips = {
        "That is one bit, log 2 nats. Expected one nat.": nats / np.log(2),
        "You used 1 / beta in place of beta: beta multiplies the KL.": rate(1 / beta),
        "One half is missing in your KL.": 2 * nats,
        "The squared mean is missing in your KL.": nats
        - 0.5 * _of_mean(beta, squares, SIGMA_X**2),
        "The noise of x is missing: E (x.w)^2 = |w|^4 + sigma_x^2 |w|^2.": nats
        - 0.5
        * (_variance(beta, squares, SIGMA_X**2) / (beta * SIGMA_X**2)) ** 2
        * SIGMA_X**2
        * squares,
        "You used sigma_x as the variance. Expected sigma_x squared.": rate(
            beta, noise=SIGMA_X
        ),
    }
    for hint, slipped in slips.items():
        if abs(slipped - 1) <= WITHIN:
            return hint
    if nats > 1:
        return (
            "q keeps too much information about x: a larger beta weights the KL more."
        )
    return "q keeps too little information about x: a smaller beta weights the KL less."


EXERCISES = {
    "one_sample_elbo": ONE_SAMPLE_ELBO,
    "best_q": BEST_Q,
    "beta_for_rate": Experiment(_judge_beta),
}
