"""The exercises of notebook 05, and the slips that people make in them."""

import jax
import numpy as np

from helpers.exercises.answers import beyond, one_number
from helpers.exercises.finding import UnfitError, right, wrong
from helpers.exercises.formula import Formula, Slip
from helpers.exercises.judge import Experiment

# The linear decoder x = w z + noise whose numbers the last exercise has.
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
    """KL(q, prior) of each dimension of z."""
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
            "A mean over the pixels. The log density is a sum over them; as a mean it "
            "is too weak against the KL.",
        ),
        Slip(
            _with_density(lambda away, s: -_squares(away, s).sum(axis=1)),
            "The constant is missing: -1/2 log(2 pi sigma_x^2) for each pixel.",
        ),
        Slip(
            _with_density(
                lambda away, s: -_squares(away, s).sum(axis=1) - _constant(s)
            ),
            "The constant comes once. Each pixel has one: -1/2 log(2 pi sigma_x^2).",
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
            "One half is missing in front of the squares: (x - decoded)^2 over 2 "
            "sigma_x^2.",
        ),
        Slip(
            _with_density(lambda away, s: 2 * _log_density(away, s).sum(axis=1)),
            "One half is missing in the log density.",
        ),
        Slip(
            _with_density(lambda away, s: -(away**2).sum(axis=1)),
            "The bare squared error. The log density has it over 2 sigma_x^2, and a "
            "constant.",
        ),
        Slip(
            _with_density(lambda away, s: -(away**2).mean(axis=1)),
            "The mean squared error. The log density is a sum over the pixels, of the "
            "squares over 2 sigma_x^2 and a constant.",
        ),
        Slip(
            _with_density(
                lambda away, s: (-(away**2) / (2 * s) - _constant(s)).sum(axis=1)
            ),
            "sigma_x for sigma_x squared below the squares.",
        ),
        Slip(
            _with_density(
                lambda away, s: (
                    -(away**2) / (2 * s) - 0.5 * np.log(2 * np.pi * s)
                ).sum(axis=1)
            ),
            "sigma_x for sigma_x squared: it is a standard deviation.",
        ),
        Slip(
            _with_density(
                lambda away, s: (-_squares(away, s) - 0.5 * np.log(2 * np.pi * s)).sum(
                    axis=1
                )
            ),
            "sigma_x for sigma_x squared in the constant.",
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
            "The first term, log p(x given z), is missing.",
        ),
        Slip(
            _with_kl(lambda mean, sigma: -_kl(mean, sigma).sum(axis=1)),
            "The KL is added. It is a price: subtract it.",
        ),
        Slip(
            _with_kl(lambda mean, sigma: 2 * _kl(mean, sigma).sum(axis=1)),
            "One half is missing in front of the KL.",
        ),
        Slip(
            _with_kl(lambda mean, sigma: _kl(mean, sigma).mean(axis=1)),
            "A mean over the dimensions of z. Independent dimensions add up.",
        ),
        Slip(
            _with_kl(lambda mean, sigma: _kl(mean, np.sqrt(sigma)).sum(axis=1)),
            "Sigma for sigma squared in the KL.",
        ),
        Slip(
            _with_kl(
                lambda mean, sigma: (
                    0.5 * (sigma**2 - 1 - np.log(sigma) + mean**2).sum(axis=1)
                )
            ),
            "In the KL: log sigma for log sigma^2, which is twice as much.",
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
            "A sum over the points. Expected one bound per point.",
        ),
        Slip(
            lambda *args: _one_sample_elbo(*args).mean(),
            "A mean over the points. Expected one bound per point.",
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
    return _posterior(x, w, beta * sigma_x**2)  # beta acts as if there were more noise


def _posterior(x, w, noise):
    variance = 1 / (1 + w @ w / noise)
    return variance * (x @ w) / noise, variance


def _with_variance(form):
    """The best q with another second result, made of the arguments and the right q."""

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
            "This is the posterior, right for beta = 1. Where does beta come in?",
        ),
        Slip(
            lambda x, w, sigma_x, beta: _posterior(x, w, sigma_x**2 / beta),
            "beta is upside down: it multiplies the KL, so it makes q more like the "
            "prior, not less.",
        ),
        Slip(
            lambda x, w, sigma_x, beta: _posterior(x, w, beta * sigma_x),
            "sigma_x for sigma_x squared.",
        ),
        Slip(
            lambda x, w, sigma_x, beta: _posterior(x, w, beta**2 * sigma_x**2),
            "beta comes in squared: the noise acts as beta sigma_x^2.",
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
            "The mean lacks one beta: it is variance times x.w over beta sigma_x^2.",
        ),
        Slip(
            lambda x, w, sigma_x, beta: (
                x @ w / (beta * sigma_x**2),
                _best_q(x, w, sigma_x, beta)[1],
            ),
            "The mean is the sum of evidence. Divide it by the precision, that is, "
            "multiply it by the variance.",
        ),
        Slip(
            lambda x, w, sigma_x, beta: (
                (x @ w) / (beta * sigma_x**2) / (1 + np.sum(w) / (beta * sigma_x**2)),
                1 / (1 + np.sum(w) / (beta * sigma_x**2)),
            ),
            "The sum of w for the sum of its squares, w @ w.",
        ),
        Slip(
            _with_variance(lambda x, w, sigma_x, beta, mean, variance: 1 / variance),
            "The second result is a precision. Expected the variance, 1 over it.",
        ),
        Slip(
            _with_variance(
                lambda x, w, sigma_x, beta, mean, variance: np.sqrt(variance)
            ),
            "The second result is a sigma. Expected the variance.",
        ),
        Slip(
            _with_variance(
                lambda x, w, sigma_x, beta, mean, variance: np.full(len(x), variance)
            ),
            "The variance is the same for all points. Expected it once, as one number.",
        ),
        Slip(
            lambda *args: (_best_q(*args)[0].mean(), _best_q(*args)[1]),
            "A mean over the points. Expected one mean of q per point.",
        ),
    ),
    parts=("mean", "variance"),
)


def rate(beta: float, squares: float = 5.0, noise: float = SIGMA_X**2) -> float:
    """Return the mean KL(q, prior) of the best q, over x from the decoder, in nats.

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
        return "That is the VAE's own bound: all that x tells about z."
    # A rate with a slip in it, and what it has at this beta.
    squares = W @ W
    slips = {
        "That is one bit, log 2 nats. Expected one nat.": nats / np.log(2),
        "beta is upside down: it multiplies the KL.": rate(1 / beta),
        "One half is missing in your KL.": 2 * nats,
        "The squared mean is missing in your KL.": nats
        - 0.5 * _of_mean(beta, squares, SIGMA_X**2),
        "Your x have no noise: E (x.w)^2 = |w|^4 + sigma_x^2 |w|^2.": nats
        - 0.5
        * (_variance(beta, squares, SIGMA_X**2) / (beta * SIGMA_X**2)) ** 2
        * SIGMA_X**2
        * squares,
        "sigma_x for sigma_x squared.": rate(beta, noise=SIGMA_X),
    }
    for hint, slipped in slips.items():
        if abs(slipped - 1) <= WITHIN:
            return hint
    if nats > 1:
        return "Too much of x gets through: a larger beta makes the KL dearer."
    return "Too little of x gets through: a smaller beta makes the KL cheaper."


EXERCISES = {
    "one_sample_elbo": ONE_SAMPLE_ELBO,
    "best_q": BEST_Q,
    "beta_for_rate": Experiment(_judge_beta),
}
