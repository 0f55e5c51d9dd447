"""The exercises of notebook 04, and the slips that students often make in them."""

from functools import cache
from typing import NamedTuple

import jax
import numpy as np

from helpers.exercises.answers import one_number
from helpers.exercises.finding import right, wrong
from helpers.exercises.formula import Formula, Slip
from helpers.exercises.judge import Experiment
from helpers.mixture import Mixture


def _shares():
    rng = np.random.default_rng(41)
    cases = []
    for n, k, d in [(5, 2, 2), (5, 2, 3), (5, 2, 1)]:
        q = rng.dirichlet(np.ones(k), size=n)
        x = 2 + rng.normal(size=(n, d))
        cases.append((jax.device_put(q), jax.device_put(x)))
    return cases


class _RoundMixture(NamedTuple):
    """The M-step's results: weights `k`, means `k d`, variances `k`."""

    weights: np.ndarray
    means: np.ndarray
    variances: np.ndarray


def _round_m_step(q, x):
    mass = q.sum(axis=0)
    means = q.T @ x / mass[:, None]
    variances = _squares(q, x, means) / (x.shape[1] * mass)
    return _RoundMixture(mass / len(x), means, variances)


def _squares(q, x, means):
    """Weighted sums of squared distances from the means, `k`."""
    squares = ((x[:, None, :] - means) ** 2).sum(axis=2)
    return (q * squares).sum(axis=0)


def _with_variances(form):
    """The M-step with other variances, by a function of q, x and the right result."""

    def slipped(q, x):
        step = _round_m_step(q, x)
        return step._replace(variances=form(q, x, step))

    return slipped


def _with_means(means_of):
    """The M-step with other means, and with the variances around these means."""

    def slipped(q, x):
        means = means_of(q, x)
        variances = _squares(q, x, means) / (x.shape[1] * q.sum(axis=0))
        return _round_m_step(q, x)._replace(means=means, variances=variances)

    return slipped


def _full(q, x, step):
    away = x[:, None, :] - step.means
    sums = np.einsum("nk,nki,nkj->kij", q, away, away)
    return sums / q.sum(axis=0)[:, None, None]


def _per_dimension(q, x, step):
    squares = (x[:, None, :] - step.means) ** 2
    return (q[:, :, None] * squares).sum(axis=0) / q.sum(axis=0)[:, None]


ROUND_M_STEP = Formula(
    _round_m_step,
    _shares,
    (
        Slip(
            _with_variances(
                lambda q, x, step: _squares(q, x, step.means) / q.sum(axis=0)
            ),
            "You divide the squares by N_k. A round component averages D N_k squared "
            "deviations, so divide by D N_k.",
        ),
        Slip(
            _with_variances(
                lambda q, x, step: _squares(q, x, step.means) / (2 * q.sum(axis=0))
            ),
            "2 N_k is right in the plane. These points have another number of "
            "dimensions.",
        ),
        Slip(
            _with_variances(lambda q, x, step: _squares(q, x, step.means) / x.size),
            "You divide by D N. A component has only its own share of the points, so "
            "divide by D N_k.",
        ),
        Slip(
            _with_variances(lambda q, x, step: _squares(q, x, step.means) / len(x)),
            "You divide by N. A component has only its own share of the points, N_k, "
            "and each of them has D squared deviations: divide by D N_k.",
        ),
        Slip(
            _with_variances(lambda q, x, step: _squares(q, x, step.means)),
            "Your variances are sums of squares. Expected weighted means.",
        ),
        Slip(
            _with_variances(lambda q, x, step: np.sqrt(step.variances)),
            "Your third result is sigma. Expected sigma squared.",
        ),
        Slip(
            _with_variances(
                lambda q, x, step: (
                    _squares(q, x, x.mean(axis=0)) / (x.shape[1] * q.sum(axis=0))
                )
            ),
            "You took the squares around the mean of all the data. Each component has "
            "its own mean.",
        ),
        Slip(
            _with_variances(
                lambda q, x, step: (
                    _squares(np.ones_like(q), x, step.means) / (x.shape[1] * len(x))
                )
            ),
            "The squares are not weighted: multiply each one by its q.",
        ),
        Slip(
            _with_variances(
                lambda q, x, step: (
                    _squares(q**2, x, step.means) / (x.shape[1] * q.sum(axis=0))
                )
            ),
            "The squares are weighted by q squared: multiply by q after squaring.",
        ),
        Slip(
            _with_variances(_full),
            "You returned full matrices. A round component has one variance.",
        ),
        Slip(
            _with_variances(_per_dimension),
            "You returned one variance per dimension. A round component has a single "
            "one for all.",
        ),
        Slip(
            lambda q, x: _round_m_step(q, x)._replace(weights=q.sum(axis=0)),
            "Your weights are N_k, so they sum to N. Expected N_k / N.",
        ),
        Slip(
            lambda q, x: _round_m_step(q, x)._replace(
                weights=np.full(q.shape[1], 1 / q.shape[1])
            ),
            "Your weights are all equal. Expected N_k / N.",
        ),
        Slip(
            lambda q, x: _round_m_step(q, x)._replace(weights=q.sum(axis=1)),
            "You summed the weights over the components, which gives 1 for each "
            "point. Sum over the points: axis=0.",
        ),
        Slip(
            lambda q, x: _round_m_step(q, x)._replace(weights=q.mean(axis=1)),
            "You averaged the weights over the components. Average over the points: "
            "axis=0.",
        ),
        Slip(
            _with_means(lambda q, x: q.T @ x / len(x)),
            "You divided the means by N. Divide each by its own N_k.",
        ),
        Slip(
            _with_means(lambda q, x: q.T @ x),
            "Your means are sums. Divide each by its own N_k.",
        ),
        Slip(
            _with_means(lambda q, x: np.tile(x.mean(axis=0), (q.shape[1], 1))),
            "Every mean is the mean of all the data. Weight each point by its q.",
        ),
    ),
    parts=("weights", "means", "variances"),
)


def _fits():
    rng = np.random.default_rng(42)
    cases = []
    n, k, d = 8, 3, 2
    for _ in range(2):  # of the same shape, so that an answer is compiled only once
        roots = rng.normal(size=(k, d, d))
        theta = Mixture(
            weights=rng.dirichlet(np.full(k, 4.0)),
            means=rng.normal(size=(k, d)),
            covariances=roots @ roots.transpose(0, 2, 1) + np.eye(d),
        )
        q = _responsibilities(theta, rng.normal(size=(n, d)))
        cases.append((jax.device_put(theta), jax.device_put(q)))
    return cases


def _log_joint(theta, x):
    """Log p(x, z) of points `n d` under full covariances, `n k`."""
    inverses = np.linalg.inv(theta.covariances)
    away = x[:, None, :] - theta.means
    squares = ((away[:, :, None, :] @ inverses)[:, :, 0, :] * away).sum(axis=2)
    log_scales = np.log(np.linalg.det(2 * np.pi * theta.covariances))
    return np.log(theta.weights) - 0.5 * (log_scales + squares)


def _responsibilities(theta, x):
    log_joint = _log_joint(theta, x)
    density = np.exp(log_joint - log_joint.max(axis=1, keepdims=True))
    return density / density.sum(axis=1, keepdims=True)


def _step_matrices(theta, q):
    return theta.covariances / _mass(q)


def _mass(q):
    return q.sum(axis=0)[:, None, None]


STEP_MATRICES = Formula(
    _step_matrices,
    _fits,
    (
        Slip(
            lambda theta, q: theta.covariances / len(q),
            "You divide by N. Each mean averages only its own points: divide by N_k.",
        ),
        Slip(
            lambda theta, q: np.linalg.inv(_step_matrices(theta, q)),
            "This is the inverse: it turns a step into the slope, not the slope into a "
            "step.",
        ),
        Slip(
            lambda theta, q: np.linalg.inv(theta.covariances) / _mass(q),
            "The slope already contains the inverse of the covariance. The step must "
            "undo it.",
        ),
        Slip(
            lambda theta, q: theta.covariances,
            "1 / N_k is missing: the slope is a sum over points, the step a mean.",
        ),
        Slip(
            lambda theta, q: theta.covariances * _mass(q),
            "You multiplied by N_k. The slope is a sum over N_k points and the step is "
            "a mean, so divide by N_k.",
        ),
        Slip(
            lambda theta, q: theta.covariances / theta.weights[:, None, None],
            "The weights are fractions of N, and they are those before the M-step. "
            "Expected N_k.",
        ),
        Slip(
            lambda theta, q: (
                theta.covariances / (len(q) * theta.weights[:, None, None])
            ),
            "You divide by N times the weights before the M-step. Expected N_k, the "
            "sum of the responsibilities.",
        ),
        Slip(
            lambda theta, q: theta.covariances / (_mass(q) / len(q)),
            "You divide by the mean of the responsibilities. Expected their sum, N_k.",
        ),
        Slip(
            lambda theta, q: np.eye(theta.means.shape[1]) / _mass(q),
            "The covariance is missing: the slope contains its inverse, and the step "
            "must undo that.",
        ),
        Slip(
            lambda theta, q: np.linalg.cholesky(theta.covariances) / _mass(q),
            "You used a root of the covariance. The slope contains the inverse of the "
            "covariance itself.",
        ),
        Slip(
            lambda theta, q: -_step_matrices(theta, q),
            "The sign is flipped: this step goes downhill.",
        ),
        Slip(
            lambda theta, q: 1 / q.sum(axis=0),
            "You returned one number per component. Expected a matrix: the slope "
            "contains the inverse of the covariance.",
        ),
    ),
)

STEPS = 1500  # the largest number of steps that is tried
NEAR = 1e-6  # how close to the maximum, in nats, counts as there
PLAIN = 258  # how many steps EM itself takes
SHARE = 0.6  # the fraction of these that an answer may take
# A step of EM multiplies the slowest error by this factor r, the largest eigenvalue of
# EM's Jacobian at the maximum. With stride w the factors lie between 1 - w and
# 1 - w (1 - r), so the best w has 1 - w (1 - r) = w - 1.
SLOWEST = 0.9718
BEST = 2 / (2 - SLOWEST)


@cache
def steps_to_the_top(stride: float) -> int:
    """Return how many steps of EM, each `stride` times as long, reach the maximum.

    The data are those of distance 2.5 in the notebook. The maximum is where EM ends.
    """
    short = _top() - _climb(stride)
    away = np.flatnonzero(~(np.abs(short) < NEAR))  # nan counts as away
    return int(away[-1]) + 1 if len(away) else 0


@cache
def _top():
    return _climb(1.0)[-1]


def _climb(stride):
    """The log-likelihood before each of STEPS steps; nan if there is no mixture."""
    side = np.arange(500) % 2
    x = np.random.default_rng(2).normal(size=(500, 2))
    x[:, 0] += 2.5 * (side - 0.5)
    theta = Mixture(
        weights=np.full(2, 0.5),
        means=np.array([[-1.25, 0.0], [1.25, 0.0]]),
        covariances=np.stack([np.eye(2)] * 2),
    )
    climbed = np.full(STEPS, np.nan)
    for step in range(STEPS):
        determinants = np.linalg.det(theta.covariances)
        if not (np.min(determinants) > 0 and np.min(theta.weights) > 0):
            break  # with too long a stride, the parameters are no longer a mixture
        log_joint = _log_joint(theta, x)
        largest = log_joint.max(axis=1, keepdims=True)
        density = np.exp(log_joint - largest)
        total = density.sum(axis=1, keepdims=True)
        climbed[step] = (largest + np.log(total)).sum()
        new = _full_m_step(density / total, x)
        theta = Mixture(
            *(old + stride * (to - old) for old, to in zip(theta, new, strict=True))
        )
    return climbed


def _full_m_step(q, x):
    mass = q.sum(axis=0)
    means = q.T @ x / mass[:, None]
    away = x - means[:, None, :]
    covariances = (q.T[:, :, None] * away).transpose(0, 2, 1) @ away
    return Mixture(mass / len(x), means, covariances / mass[:, None, None])


def _judge_stride(answer):
    stride = one_number(answer)
    steps = steps_to_the_top(stride)
    allowed = round(SHARE * PLAIN)
    expected = f"at most {allowed} steps; EM itself takes {PLAIN}"
    reached = f"{steps} steps" if steps < STEPS else f"not there after {STEPS} steps"
    if steps <= allowed:
        return right(reached=reached, expected=expected)
    return wrong(reached=reached, expected=expected, hint=_stride_hint(stride))


def _stride_hint(stride):
    if stride <= 0:
        return "With a stride of 0 EM does not move, and below 0 it goes backwards."
    if stride < 1:
        return (
            "Part of an M-step still raises l, but more slowly. Make the steps longer, "
            "not shorter."
        )
    if stride == 1:
        return "That is EM itself."
    if stride < BEST:
        return "Longer steps are right, but not far enough yet. How long can they be?"
    if stride < 2:
        return (
            "A little too far: an error that EM removes in one step comes back with "
            f"the opposite sign, {stride - 1:.4g} times as large. So it shrinks slowly."
        )
    return (
        "Too far: an error that EM removes in one step comes back with the opposite "
        "sign, just as large or larger. The proof no longer holds either: l can fall."
    )


EXERCISES = {
    "round_m_step": ROUND_M_STEP,
    "step_matrices": STEP_MATRICES,
    "stride": Experiment(_judge_stride),
}
