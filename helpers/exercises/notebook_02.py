"""The exercises of notebook 02, and the slips that students often make in them."""

from typing import NamedTuple

import jax
import numpy as np

from helpers.exercises.answers import called, numbers
from helpers.exercises.curve import curve, log_normal, log_sum_exp
from helpers.exercises.finding import right, wrong
from helpers.exercises.formula import Formula, Slip, general_hint, shown
from helpers.exercises.judge import Experiment
from helpers.mixture import Mixture


def _clouds():
    rng = np.random.default_rng(21)
    scales = np.array([1.0, 2.0, 0.5])
    cases = []
    for n, d in [(5, 3), (6, 2), (4, 1)]:
        centre = 1 + 4 * np.arange(d)
        cases.append((jax.device_put(centre + scales[:d] * rng.normal(size=(n, d))),))
    return cases


def _shared_variance(x):
    return ((x - x.mean(axis=0)) ** 2).mean()


def _squares(x):
    return ((x - x.mean(axis=0)) ** 2).sum()


SHARED_VARIANCE = Formula(
    _shared_variance,
    _clouds,
    (
        Slip(
            lambda x: _squares(x) / len(x),
            "You divide by N, as the slide does. But D dimensions give D N squared "
            "deviations, so divide by D N.",
        ),
        Slip(
            lambda x: _squares(x) / (2 * len(x)),
            "2N is right in the plane. These points have another number of dimensions.",
        ),
        Slip(
            lambda x: _squares(x) / (x.shape[1] * (len(x) - 1)),
            "You divide by D (N - 1). N - 1 gives the unbiased variance; maximum "
            "likelihood has N.",
        ),
        Slip(
            lambda x: _squares(x) / (x.size - 1),
            "You divide by D N - 1. Maximum likelihood divides by D N, without the -1.",
        ),
        Slip(
            lambda x: _squares(x) / (len(x) - 1),
            "You divide by N - 1. But D dimensions give D N squared deviations, and "
            "maximum likelihood does not subtract 1.",
        ),
        Slip(
            lambda x: _squares(x) / x.shape[1],
            "You divide by D only: the mean over the points is missing.",
        ),
        Slip(_squares, "This is a sum of squares. Expected their mean."),
        Slip(
            lambda x: np.sqrt(_shared_variance(x)),
            "This is sigma. Expected sigma squared.",
        ),
        Slip(
            lambda x: ((x - x.mean()) ** 2).mean(),
            "You used one mean for all columns. Each dimension has its own: "
            "mean(axis=0).",
        ),
        Slip(
            lambda x: x.var(ddof=1),
            "You used one mean for all columns. Each dimension has its own: "
            "mean(axis=0).",
        ),
        Slip(
            lambda x: ((x - x.mean(axis=1, keepdims=True)) ** 2).mean(),
            "You used a mean for each point, over its dimensions. Each dimension has "
            "its own mean, over the points: mean(axis=0).",
        ),
        Slip(
            lambda x: (x**2).mean(),
            "The mean is not subtracted.",
        ),
        Slip(
            lambda x: x.var(axis=0),
            "You returned one variance per dimension. This model has a single one for "
            "all.",
        ),
        Slip(
            lambda x: x.var(axis=1),
            "You returned one variance per point. This model has a single one for all "
            "points and dimensions.",
        ),
        Slip(
            lambda x: (x - x.mean(axis=0)).T @ (x - x.mean(axis=0)) / len(x),
            "You returned a covariance matrix. This model has a single variance for "
            "all dimensions.",
        ),
        Slip(
            lambda x: np.cov(x.T),
            "You returned a covariance matrix. This model has a single variance for "
            "all dimensions.",
        ),
    ),
)


def _mixtures():
    rng = np.random.default_rng(22)
    cases = []
    n, k = 4, 3
    for _ in range(2):  # of the same shape, so that an answer is compiled only once
        params = Mixture(
            weights=rng.dirichlet(np.full(k, 4.0)),
            means=rng.normal(size=(k, 2)),
            covariances=rng.uniform(0.5, 2.0, size=k),
        )
        cases.append((jax.device_put(params), jax.device_put(rng.normal(size=(n, 2)))))
    params, x = cases[0]
    return [*cases, (params, x + 90.0)]  # where every density underflows


def _log_joint(params, x):
    """Log p(x, z) of points `n 2` and round components, `n k`."""
    sigma = np.sqrt(params.covariances)[:, None]
    return np.log(params.weights) + log_normal(x[:, None, :], params.means, sigma)


def _responsibilities(params, x):
    log_joint = _log_joint(params, x)
    return np.exp(log_joint - log_sum_exp(log_joint)[:, None])


def _with_shares(shares_of, power=1.0):
    """The slope in the means, with other shares or another power of the variance."""

    def form(params, x):
        away = x[:, None, :] - params.means
        total = (shares_of(params, x)[:, :, None] * away).sum(axis=0)
        return total / (params.covariances**power)[:, None]

    return form


def _slope_in_means(params, x):
    return _with_shares(_responsibilities)(params, x)


def _all_alike(params, x):
    return np.ones((len(x), len(params.weights)))


def _by_prior(params, x):
    return _all_alike(params, x) * params.weights


def _by_density(params, x):
    return np.exp(_log_joint(params, x))


def _by_likelihood(params, x):
    """As if all weights were equal."""
    density = _log_joint(params, x) - np.log(params.weights)
    return np.exp(density - log_sum_exp(density)[:, None])


def _naive(params, x):
    density = _by_density(params, x)
    return density / density.sum(axis=1, keepdims=True)


def _over_points(params, x):
    r = _responsibilities(params, x)
    return r / r.sum(axis=0, keepdims=True)


def _per_point(params, x):
    away = x[:, None, :] - params.means
    weighed = _responsibilities(params, x)[:, :, None] * away
    return weighed / params.covariances[:, None]


SLOPE_IN_MEANS = Formula(
    _slope_in_means,
    _mixtures,
    (
        Slip(
            _with_shares(_responsibilities, 0.0),
            "The factor 1/sigma^2 is missing: divide the slope in each mean by its "
            "variance, params.covariances[k].",
        ),
        Slip(
            _with_shares(_all_alike),
            "You count each point fully for every mean. Multiply x - mean by the "
            "responsibility of the component for the point.",
        ),
        Slip(
            _with_shares(_by_prior),
            "You multiplied by the prior's weights. Expected the posterior's, which "
            "are the responsibilities: they depend on x.",
        ),
        Slip(
            _with_shares(_by_density),
            "Your responsibilities do not sum to 1 for each point: divide p(x, z) by "
            "p(x).",
        ),
        Slip(
            _with_shares(_by_likelihood),
            "The weights are missing in the responsibilities: they are proportional "
            "to weight times density.",
        ),
        Slip(
            _with_shares(lambda p, x: _responsibilities(p, x) * p.weights),
            "You multiplied by the weights twice: the responsibilities contain them "
            "already.",
        ),
        Slip(
            _with_shares(_over_points),
            "Responsibilities sum to 1 over the components of a point, not over the "
            "points of a component. (Normalised your way, and without 1/sigma^2, this "
            "would be the step of EM.)",
        ),
        Slip(
            _with_shares(_over_points, 0.0),
            "This is the step of EM, the new mean minus the old one. For the slope, "
            "divide by sigma^2, not by the sum of the responsibilities.",
        ),
        Slip(
            lambda p, x: _with_shares(_over_points, 0.0)(p, x) + p.means,
            "This is the M-step's new mean. Expected the slope at the old one.",
        ),
        Slip(
            _with_shares(_responsibilities, 0.5),
            "Divide by sigma squared, not by sigma: covariances are variances already.",
        ),
        Slip(
            _with_shares(_responsibilities, 2.0),
            "The covariances are variances already: do not square them.",
        ),
        Slip(
            lambda params, x: -_slope_in_means(params, x),
            "The sign is flipped: the slope points from the mean to the points.",
        ),
        Slip(
            lambda params, x: _slope_in_means(params, x) / len(x),
            "You took a mean over the points. The log-likelihood is a sum over them.",
        ),
        Slip(
            lambda params, x: _slope_in_means(params, x).sum(axis=0),
            "You took a sum over the components. Each mean has a slope of its own.",
        ),
        Slip(
            _per_point,
            "You returned one slope per point. Expected their sum over the points.",
        ),
        Slip(
            lambda params, x: _per_point(params, x).sum(axis=1),
            "You summed over the components. Expected the sum over the points: axis=0.",
        ),
        Slip(
            _with_shares(_naive),
            "Far from all the means every density underflows, and 0/0 is not a number. "
            "Normalise in log space: jax.nn.softmax(log_joint) does it.",
        ),
    ),
)


def _log_marginal(x, decode, z):
    """Log p(x) of points `n 2` by a sum over an even grid `s`."""
    log_joint = log_normal(x[:, None, :], decode(z)) + log_normal(0.0, z[:, None])
    return log_sum_exp(log_joint) + np.log(z[1] - z[0])


class _Watched:
    """A decoder that remembers at which latents it was evaluated."""

    def __init__(self, decode):
        self.decode = decode
        self.latents = []

    def __call__(self, z):
        if not isinstance(z, jax.core.Tracer):
            self.latents.append(np.ravel(z).astype(float))
        return self.decode(z)

    def grid(self):
        """Return the answer's grid, or a usual one if its grid is not even."""
        z = np.unique(np.concatenate([*self.latents, []]))
        gaps = np.diff(z)
        even = len(z) > 2 and np.allclose(gaps, gaps[0], rtol=1e-3)
        return z if even else np.linspace(-8, 8, 4001)


def _decode(z):
    """The decoder that the answer is given: it takes z `s` to points `s 2`."""
    z = jax.numpy.asarray(z)
    first = 3 * jax.numpy.tanh(1.5 * z + 1.5) - 3 * jax.numpy.tanh(1.5 * z - 1.5) - 3
    return jax.numpy.stack([first, 3 * jax.numpy.tanh(0.9 * z)], axis=-1)


class _Wrong(NamedTuple):
    """What a wrong form gives for the points of a case, and its hint."""

    values: np.ndarray
    hint: str


def _marginal_slips(x, z):
    """What the wrong forms give on the student's own grid, with their hints."""
    gap = z[1] - z[0]
    log_likelihood = log_normal(x[:, None, :], curve(z))
    log_prior = log_normal(0.0, z[:, None])
    squares = ((x[:, None, :] - curve(z)) ** 2).sum(axis=2)
    right_one = log_sum_exp(log_likelihood + log_prior) + np.log(gap)
    log_2pi = np.log(2 * np.pi)
    without_prior = log_sum_exp(log_likelihood) + np.log(gap)
    of_logs = log_likelihood + log_prior
    printed_powers = -0.5 * z**2 * squares - 2 / 3 * log_2pi
    return (
        _Wrong(
            right_one - np.log(gap),
            "The spacing dz is missing: an integral is the sum of heights times dz.",
        ),
        _Wrong(
            right_one - np.log(gap) - np.log(len(z)),
            "You took a mean over the grid. An integral is the sum of heights times "
            "dz.",
        ),
        _Wrong(
            of_logs.sum(axis=1) * gap,
            "You summed the logarithms. Expected the logarithm of the sum: compute "
            "p(x, z), sum it over the grid, and then take the logarithm (logsumexp).",
        ),
        _Wrong(
            of_logs.sum(axis=1),
            "You summed the logarithms. Expected the logarithm of the sum: compute "
            "p(x, z), sum it over the grid, and then take the logarithm (logsumexp).",
        ),
        _Wrong(
            without_prior,
            "The prior p(z) is missing: p(x) is the integral of p(x | z) p(z).",
        ),
        _Wrong(
            without_prior - np.log(gap),
            "The prior p(z) and the spacing dz are missing: p(x) is the integral of "
            "p(x | z) p(z).",
        ),
        _Wrong(
            without_prior - np.log(gap) - np.log(len(z)),
            "You took a plain mean over the grid. Weight each z by its prior density "
            "p(z), times the spacing dz.",
        ),
        _Wrong(
            np.exp(right_one),
            "This is p(x). Expected its logarithm.",
        ),
        _Wrong(
            right_one + 3 / 2 * log_2pi - 2 / 3 * log_2pi,
            "Your constant is the printed one, (2 pi)^(-2/3). Two dimensions of x and "
            "one of z give (2 pi)^(-3/2).",
        ),
        _Wrong(
            log_sum_exp(printed_powers) + np.log(gap),
            "This is the integrand as printed on the slide. The exponent should be z^2 "
            "plus the squared distance, and the constant (2 pi)^(-3/2).",
        ),
        _Wrong(
            log_sum_exp(printed_powers - 5 / 6 * log_2pi) + np.log(gap),
            "You have z^2 times the squared distance, as on the slide. When densities "
            "are multiplied, their exponents add up: z^2 plus the squared distance.",
        ),
        _Wrong(
            right_one + 0.5 * log_2pi,
            "The constant of one dimension is missing: x has two dimensions and z has "
            "one, so the constant of p(x, z) is (2 pi)^(-3/2).",
        ),
        _Wrong(
            right_one + log_2pi,
            "The constant of p(x | z) is missing, or that of two dimensions: the "
            "constant of p(x, z) is (2 pi)^(-3/2).",
        ),
        _Wrong(
            right_one + 1.5 * log_2pi,
            "The constant is missing: for p(x, z) it is (2 pi)^(-3/2).",
        ),
        _Wrong(
            log_sum_exp(-squares - z**2 - 1.5 * log_2pi) + np.log(gap),
            "One half is missing in the exponents: -1/2 times the squares.",
        ),
        _Wrong(-right_one, "The sign is flipped: this is -log p(x)."),
        _Wrong(
            right_one.sum(),
            "You took a sum over the points. Expected one log p(x) per point.",
        ),
        _Wrong(
            right_one.mean(),
            "You took a mean over the points. Expected one log p(x) per point.",
        ),
    )


MARGINAL_TOLERANCE = 1e-3  # nats: what the task allows


def _judge_marginal(answer):
    """Judge whether the answer is log p(x), for points `n 2` and a decoder of z."""
    rng = np.random.default_rng(24)
    latents = np.array([-1.4, -0.6, 0.1, 0.8, 1.7])
    near = curve(latents) + rng.normal(size=(5, 2))
    between = np.array([[-2.0, 0.3], [0.5, 0.0]])
    beyond = np.array([[-3.5, 4.0], [-4.0, -3.5]])  # past the ends: z near 2 and -2
    for x in (near, between, beyond):
        decode = _Watched(_decode)
        returned = numbers(called(answer, jax.device_put(x), decode))
        truth = _log_marginal(x, curve, np.linspace(-10, 10, 4001))
        if _near(returned, truth):
            continue
        hint = _marginal_hint(returned, truth, x, decode.grid())
        if returned.shape == truth.shape:
            came, expected = shown(returned), shown(truth)
        else:
            came, expected = f"shape {returned.shape}", f"shape {truth.shape}"
        return wrong(returned=came, expected=expected, hint=hint)
    return right(checked="on 9 points that you have not seen")


def _near(returned, truth):
    same_shape = returned.shape == truth.shape
    return same_shape and np.allclose(returned, truth, rtol=0, atol=MARGINAL_TOLERANCE)


def _marginal_hint(returned, truth, x, grid):
    if _near(returned, _log_marginal(x, curve, grid)):
        return (
            f"The formula is right, but not the grid, from {grid[0]:.3g} to "
            f"{grid[-1]:.3g} in steps of {grid[1] - grid[0]:.3g}. It must reach to "
            "where p(x, z) vanishes, and its steps must be smaller than the width of "
            "the posterior."
        )
    for slip in _marginal_slips(x, grid):
        if _near(returned, slip.values):
            return slip.hint
    same_shape = returned.shape == truth.shape
    if same_shape and np.ptp(returned - truth) < MARGINAL_TOLERANCE:
        return (
            "Every log p(x) is off by the same number. Look at the spacing dz and at "
            "the constants of the densities."
        )
    return general_hint(returned, truth)


EXERCISES = {
    "shared_variance": SHARED_VARIANCE,
    "slope_in_means": SLOPE_IN_MEANS,
    "marginal": Experiment(_judge_marginal),
}
