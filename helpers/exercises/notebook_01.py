"""The exercises of notebook 01, and the slips that students often make in them."""

import jax
import numpy as np
from scipy.special import gammaincinv

from helpers.exercises.answers import beyond, called, numbers
from helpers.exercises.finding import UnfitError, right, wrong
from helpers.exercises.formula import Formula, Slip
from helpers.exercises.judge import Experiment

# The mean squared error over sigma^4, for samples of 5: it is 0.36 for the MLE, 0.5 for
# the unbiased estimate, and 2 / 6 with the best divisor.
LEAST_ERROR = 0.345


def _tables():
    rng = np.random.default_rng(1)
    a = rng.normal(size=(4, 3))
    rows_far_apart = a + np.array([[-1000.0], [0.0], [600.0], [1000.0]])
    # If anything but its largest entry is subtracted from each row, some row overflows.
    columns_far_apart = np.array(
        [
            [-1000.0, 0.3, -5.0],
            [0.5, 900.0, -900.0],
            [800.0, 0.2, -0.3],
            [1500.0, 0.1, -0.4],
            [0.2, 0.7, -800.0],
            [-900.0, -901.2, -900.7],
        ]
    )
    impossible = a.copy()
    impossible[1, 2] = -np.inf  # a z with probability 0
    tables = [a, a - 400, a - 1000, a + 1000]
    tables += [rows_far_apart, columns_far_apart, impossible]
    return [(table,) for table in tables]


def _log_sum_exp(a):
    return _subtracted(a, a.max(axis=1, keepdims=True))


def _subtracted(a, m):
    """Log sum e^a = m + log sum e^(a - m), for one m per row."""
    return m[:, 0] + np.log(np.exp(a - m).sum(axis=1))


LOG_SUM_EXP = Formula(
    _log_sum_exp,
    _tables,
    (
        Slip(
            lambda a: np.log(np.exp(a).sum(axis=1)),
            "exp() overflows above 709 and is 0 below -745. First subtract the largest "
            "entry m of each row: log sum e^a = m + log sum e^(a - m).",
        ),
        Slip(
            lambda a: np.exp(a).sum(axis=1),
            "A logarithm is missing: this is the sum itself.",
        ),
        Slip(
            lambda a: np.log(np.exp(a).mean(axis=1)),
            "You took the mean over z. Expected the sum over z.",
        ),
        Slip(
            lambda a: _log_sum_exp(a) - np.log(a.shape[1]),
            "You took the mean over z. Expected the sum over z.",
        ),
        Slip(
            lambda a: a.sum(axis=1),
            "You added up the logarithms, which gives the log of a product. Expected "
            "the log of the sum of the exponentials.",
        ),
        Slip(
            lambda a: _log_sum_exp(a) - a.max(axis=1),
            "You subtracted the largest entry of each row. Add it again at the end.",
        ),
        Slip(
            lambda a: _log_sum_exp(a) - 2 * a.max(axis=1),
            "You subtracted the largest entry of each row. At the end, add it; you "
            "subtracted it once more.",
        ),
        Slip(
            lambda a: _subtracted(a, np.full((len(a), 1), a.max())),
            "You subtracted the largest entry of the whole table. A row far below it "
            "still underflows: each row needs its own maximum.",
        ),
        Slip(
            lambda a: _subtracted(a, a[:, :1]),
            "You subtracted the first entry of each row. If another entry is far "
            "larger, exp() still overflows: subtract the largest.",
        ),
        Slip(
            lambda a: _subtracted(a, a[:, -1:]),
            "You subtracted the last entry of each row. If another entry is far "
            "larger, exp() still overflows: subtract the largest.",
        ),
        Slip(
            lambda a: _subtracted(a, np.median(a, axis=1, keepdims=True)),
            "You subtracted the median of each row. If the largest entry is far above "
            "it, exp() still overflows: subtract the largest.",
        ),
        Slip(
            lambda a: _subtracted(a, a.mean(axis=1, keepdims=True)),
            "You subtracted the mean of each row. If the largest entry is far above "
            "it, exp() still overflows: subtract the largest.",
        ),
        Slip(
            lambda a: _subtracted(a, a.min(axis=1, keepdims=True)),
            "You subtracted the smallest entry of each row, so exp() still overflows: "
            "subtract the largest.",
        ),
        Slip(
            lambda a: _subtracted(a, np.abs(a).max(axis=1, keepdims=True)),
            "You subtracted the largest absolute value. In a row of large negative "
            "numbers everything underflows: subtract the largest number, with its "
            "sign.",
        ),
        Slip(
            lambda a: a.max(axis=1),
            "You returned only the largest entry. The others count too.",
        ),
        Slip(
            lambda a: _log_sum_exp(a.T),
            "You summed over the points, down each column. Expected a sum over z, "
            "along each row: axis=1.",
        ),
        Slip(
            lambda a: np.log(np.exp(a).sum(axis=0)),
            "You summed over the points, down each column. Expected a sum over z, "
            "along each row: axis=1.",
        ),
    ),
)


def _samples():
    x = 3.5 + 1.1 * np.random.default_rng(11).normal(size=6)
    samples = [(x, 3.0, 0.8), (x, 3.5, 1.3), (x - 9, -4.0, 2.5), (x[:1], 3.0, 0.5)]
    return [(jax.device_put(points), mu, sigma) for points, mu, sigma in samples]


def _score(x, mu, sigma):
    return _in_mu(x, mu, sigma), _in_sigma(x, mu, sigma)


def _in_mu(x, mu, sigma):
    return (x - mu).sum() / sigma**2


def _in_sigma(x, mu, sigma):
    return ((x - mu) ** 2).sum() / sigma**3 - len(x) / sigma


def _with_mu(form):
    """The score with another form of its first half."""
    return lambda x, mu, sigma: (form(x, mu, sigma), _in_sigma(x, mu, sigma))


def _with_sigma(form):
    """The score with another form of its second half."""
    return lambda x, mu, sigma: (_in_mu(x, mu, sigma), form(x, mu, sigma))


SCORE = Formula(
    _score,
    _samples,
    (
        Slip(
            lambda x, mu, sigma: np.divide(_score(x, mu, sigma), len(x)),
            "You took a mean over the points. The log-likelihood is a sum over them.",
        ),
        Slip(
            lambda *args: np.negative(_score(*args)),
            "The sign is flipped: this slope points downhill.",
        ),
        Slip(
            lambda *args: _score(*args)[::-1],
            "The two slopes are swapped. Expected the slope in mu first.",
        ),
        Slip(
            _with_mu(lambda x, mu, sigma: (x - mu).sum() / sigma),
            "In mu: divide by sigma squared, not by sigma.",
        ),
        Slip(
            _with_mu(lambda x, mu, sigma: (x - mu).sum()),
            "In mu: the factor 1/sigma^2 is missing.",
        ),
        Slip(
            _with_mu(lambda x, mu, sigma: 2 * _in_mu(x, mu, sigma)),
            "In mu: the 2 from the square cancels against the 1/2 in front.",
        ),
        Slip(
            _with_mu(lambda x, mu, sigma: (x - mu) / sigma**2),
            "In mu: you returned one slope per point. Expected their sum.",
        ),
        Slip(
            _with_sigma(lambda x, mu, sigma: ((x - mu) ** 2).sum() / sigma**3),
            "In sigma: -log sigma has a slope as well, -1/sigma for each point.",
        ),
        Slip(
            _with_sigma(
                lambda x, mu, sigma: ((x - mu) ** 2).sum() / sigma**3 - 1 / sigma
            ),
            "In sigma: there is one -1/sigma for each point, so n of them in all.",
        ),
        Slip(
            _with_sigma(
                lambda x, mu, sigma: ((x - mu) ** 2).sum() / sigma**3 + len(x) / sigma
            ),
            "In sigma: the density is divided by sigma, so its logarithm contains -log "
            "sigma, whose slope is -1/sigma for each point.",
        ),
        Slip(
            _with_sigma(
                lambda x, mu, sigma: -((x - mu) ** 2).sum() / sigma**3 - len(x) / sigma
            ),
            "In sigma: the derivative of -1/(2 sigma^2) is +1/sigma^3.",
        ),
        Slip(
            _with_sigma(
                lambda x, mu, sigma: (
                    ((x - mu) ** 2).sum() / (2 * sigma**3) - len(x) / sigma
                )
            ),
            "In sigma: the derivative of -1/(2 sigma^2) is 1/sigma^3, without the 2.",
        ),
        Slip(
            _with_sigma(lambda x, mu, sigma: _in_sigma(x, mu, sigma) / (2 * sigma)),
            "Your second slope is the one in sigma squared. Expected the slope in "
            "sigma: by the chain rule, it is 2 sigma times as large.",
        ),
        Slip(
            _with_sigma(
                lambda x, mu, sigma: ((x - mu) ** 2).sum() / sigma**2 - len(x) / sigma
            ),
            "In sigma: the derivative of -1/(2 sigma^2) is 1/sigma^3.",
        ),
        Slip(
            _with_sigma(
                lambda x, mu, sigma: (x - mu).sum() / sigma**3 - len(x) / sigma
            ),
            "In sigma: square the differences x - mu before you sum them.",
        ),
        Slip(
            _with_sigma(lambda x, mu, sigma: (x - mu) ** 2 / sigma**3 - 1 / sigma),
            "In sigma: you returned one slope per point. Expected their sum.",
        ),
    ),
    parts=("slope in mu", "slope in sigma"),
)


def _rows_of_five(n=400):
    """Samples of 5, each from its own Gaussian, and the true variances `n`.

    The sums of squares divided by sigma^2 have exactly the first two moments of a
    chi-squared distribution with 4 degrees of freedom. So the mean squared error of any
    multiple of them is exact.
    """
    rng = np.random.default_rng(12)
    sums = 2 * gammaincinv(4 / 2, (np.arange(n) + 0.5) / n)  # quantiles
    sums = 4 + (sums - sums.mean()) * np.sqrt(8) / sums.std()
    directions = rng.normal(size=(n, 5))
    directions -= directions.mean(axis=1, keepdims=True)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    centres = 10 * rng.normal(size=(n, 1))
    scatter = rng.normal(size=(n, 1)) / np.sqrt(5)
    sigma = np.exp(rng.normal(size=n))
    x = scatter + rng.permutation(np.sqrt(sums))[:, None] * directions
    return centres + sigma[:, None] * x, sigma**2


def _judge_variance(answer):
    x, truth = _rows_of_five()
    estimates = numbers(called(answer, x.copy()))
    if estimates.shape != (len(x),):
        raise UnfitError(
            f"shape {estimates.shape} from x of shape {x.shape}",
            f"shape {(len(x),)}, one estimate per row",
            "Each row is a sample of its own: use axis=1.",
        )
    error = ((estimates / truth - 1) ** 2).mean()
    reached = f"a relative mean squared error of {beyond(error, LEAST_ERROR, 3)}"
    expected = f"at most {LEAST_ERROR}"
    if error <= LEAST_ERROR:
        return right(reached=reached, expected=expected)
    hint = _variance_hint(estimates, x)
    return wrong(reached=reached, expected=expected, hint=hint)


def _variance_hint(estimates, x):
    squares = ((x - x.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)
    divisor = _ratio(squares, estimates)
    if divisor is not None:
        return _divisor_hint(divisor)
    if _ratio(squares, estimates**2) is not None:
        return "This is a standard deviation. Expected its square, the variance."
    for mean in (x.mean(), x.mean(axis=0)):
        if _ratio(((x - mean) ** 2).sum(axis=1), estimates) is not None:
            return (
                "You used one mean for all rows. Each row is a sample with a mean of "
                "its own: x.mean(axis=1, keepdims=True)."
            )
    if _ratio((x**2).sum(axis=1), estimates) is not None:
        return "The mean of the row is not subtracted."
    if np.allclose(estimates, estimates[0]):
        return "The estimate is the same for every row: it does not depend on x."
    return (
        "Try c times the sum of squares around the row's own mean. The error is a "
        "parabola in c. Where is its minimum?"
    )


def _ratio(one, other):
    """The constant ratio of two arrays, or None if the ratio is not constant."""
    with np.errstate(all="ignore"):
        ratios = one / other
    same = np.isfinite(ratios).all() and np.allclose(ratios, ratios[0])
    return float(ratios[0]) if same else None


def _divisor_hint(divisor):
    if np.isclose(divisor, 5):
        return (
            "You divide by n, which gives the MLE. It is too low on average, and still "
            "its error is smaller than that of the unbiased estimate. Go further in "
            "that direction."
        )
    if np.isclose(divisor, 4):
        return (
            "You divide by n - 1, which makes the estimate unbiased. But it has a "
            "larger variance, and the error counts both bias and variance. Which "
            "divisor makes the sum small?"
        )
    if np.isclose(divisor, 1):
        return "This is a sum of squares. Expected an average, with some divisor."
    if divisor < 0:
        return "The sign is flipped: a variance is never below 0."
    size = "small" if divisor < 6 else "large"
    return f"You divide the sum of squares by {divisor:.3g}. That is too {size}."


EXERCISES = {
    "score": SCORE,
    "variance_estimate": Experiment(_judge_variance),
    "log_sum_exp": LOG_SUM_EXP,
}
