"""The exercises of notebook 04, and the slips that people make in them."""

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
    """The M-step with other variances: a function of q, x and the right result."""

    def slipped(q, x):
        step = _round_m_step(q, x)
        return step._replace(variances=form(q, x, step))

    return slipped


def _with_means(means_of):
    """The M-step with other means, and the variances around these."""

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
            "N_k for D N_k: a round component averages D N_k squared deviations.",
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
            "N for N_k: a component has only its own share of the points.",
        ),
        Slip(
            _with_variances(lambda q, x, step: _squares(q, x, step.means) / len(x)),
            "N for D N_k: a component has only its own share of the points, and each "
            "of them brings D squared deviations.",
        ),
        Slip(
            _with_variances(lambda q, x, step: _squares(q, x, step.means)),
            "The variances are sums of squares. Expected weighted means.",
        ),
        Slip(
            _with_variances(lambda q, x, step: np.sqrt(step.variances)),
            "The third result is a sigma. Expected sigma squared.",
        ),
        Slip(
            _with_variances(
                lambda q, x, step: (
                    _squares(q, x, x.mean(axis=0)) / (x.shape[1] * q.sum(axis=0))
                )
            ),
            "The squares are taken around the mean of all data. Each component has its "
            "own mean.",
        ),
        Slip(
            _with_variances(
                lambda q, x, step: (
                    _squares(np.ones_like(q), x, step.means) / (x.shape[1] * len(x))
                )
            ),
            "The squares are not weighted: each one counts by its q.",
        ),
        Slip(
            _with_variances(
                lambda q, x, step: (
                    _squares(q**2, x, step.means) / (x.shape[1] * q.sum(axis=0))
                )
            ),
            "The squares are weighted by q squared: q stands outside of the square.",
        ),
        Slip(
            _with_variances(_full),
            "These are full matrices. A round component has one variance.",
        ),
        Slip(
            _with_variances(_per_dimension),
            "One variance per dimension. A round component has one for all.",
        ),
        Slip(
            lambda q, x: _round_m_step(q, x)._replace(weights=q.sum(axis=0)),
            "The weights are N_k and sum to N. Expected N_k / N.",
        ),
        Slip(
            lambda q, x: _round_m_step(q, x)._replace(
                weights=np.full(q.shape[1], 1 / q.shape[1])
            ),
            "The weights are all alike. Expected N_k / N.",
        ),
        Slip(
            lambda q, x: _round_m_step(q, x)._replace(weights=q.sum(axis=1)),
            "The weights are summed over the components, which gives 1 for each "
            "point. Sum over the points: axis=0.",
        ),
        Slip(
            lambda q, x: _round_m_step(q, x)._replace(weights=q.mean(axis=1)),
            "The weights are averaged over the components. Average over the points: "
            "axis=0.",
        ),
        Slip(
            _with_means(lambda q, x: q.T @ x / len(x)),
            "The means are divided by N. Each is divided by its own N_k.",
        ),
        Slip(
            _with_means(lambda q, x: q.T @ x),
            "The means are sums. Each is divided by its own N_k.",
        ),
        Slip(
            _with_means(lambda q, x: np.tile(x.mean(axis=0), (q.shape[1], 1))),
            "The means are those of all data. Each point counts by its q.",
        ),
    ),
    parts=("weights", "means", "variances"),
)


def _fits():
    rng = np.random.default_rng(42)
    cases = []
    n, k, d = 8, 3, 2
    for _ in range(2):  # of one shape, so that an answer is compiled once
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
            "N for N_k: each mean has only its own points to average.",
        ),
        Slip(
            lambda theta, q: np.linalg.inv(_step_matrices(theta, q)),
            "This is the inverse: it takes a step back to the slope.",
        ),
        Slip(
            lambda theta, q: np.linalg.inv(theta.covariances) / _mass(q),
            "The slope has the inverse of the covariance. The step must undo it.",
        ),
        Slip(
            lambda theta, q: theta.covariances,
            "1 / N_k is missing: the slope is a sum over points, the step a mean.",
        ),
        Slip(
            lambda theta, q: theta.covariances * _mass(q),
            "N_k as a factor: the slope is a sum over N_k points and the step a mean, "
            "so divide by it.",
        ),
        Slip(
            lambda theta, q: theta.covariances / theta.weights[:, None, None],
            "The weights are shares of N, and those before the M-step. Expected N_k.",
        ),
        Slip(
            lambda theta, q: (
                theta.covariances / (len(q) * theta.weights[:, None, None])
            ),
            "N times the old weights. They are those before the M-step; expected N_k, "
            "the sum of the responsibilities.",
        ),
        Slip(
            lambda theta, q: theta.covariances / (_mass(q) / len(q)),
            "The mean of the responsibilities for their sum: expected N_k.",
        ),
        Slip(
            lambda theta, q: np.eye(theta.means.shape[1]) / _mass(q),
            "The covariance is missing: the slope was divided by it.",
        ),
        Slip(
            lambda theta, q: np.linalg.cholesky(theta.covariances) / _mass(q),
            "This has a root of the covariance. The slope has the inverse of the "
            "covariance itself.",
        ),
        Slip(
            lambda theta, q: -_step_matrices(theta, q),
            "The sign is flipped: this step goes downhill.",
        ),
        Slip(
            lambda theta, q: 1 / q.sum(axis=0),
            "One number per component. Expected a matrix: the slope was multiplied by "
            "the inverse of the covariance.",
        ),
    ),
)

STEPS = 1500  # of EM, at most
NEAR = 1e-6  # nats from the top
PLAIN = 258  # steps that EM itself takes
SHARE = 0.6  # of them that are allowed
# The slowest error shrinks by this factor in a step of EM: the largest eigenvalue of
# EM's Jacobian at the top, and so the best stride by 1 - w (1 - r) = w - 1.
SLOWEST = 0.9718
BEST = 2 / (2 - SLOWEST)


@cache
def steps_to_the_top(stride: float) -> int:
    """Return how many steps of EM, each `stride` times as long, reach the top.

    The data are those of distance 2.5 in the notebook. The top is where EM ends.
    """
    short = _top() - _climb(stride)
    away = np.flatnonzero(~(np.abs(short) < NEAR))  # nan is away
    return int(away[-1]) + 1 if len(away) else 0


@cache
def _top():
    return _climb(1.0)[-1]


def _climb(stride):
    """The log-likelihood before each of STEPS steps; nan where there is none."""
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
            break  # a long stride has left the space of mixtures
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
        return "With a stride of 0 or less EM stands still or walks back."
    if stride < 1:
        return (
            "A part of an M-step still climbs, but slower. Make it longer, not shorter."
        )
    if stride == 1:
        return "That is EM itself."
    if stride < BEST:
        return "The right way, but not far enough. How long may a step be?"
    if stride < 2:
        return (
            "A little too far: an error that EM removes in one step comes back with "
            f"the other sign, {stride - 1:.4g} times as large. So it shrinks slowly."
        )
    return (
        "Too far: an error that EM removes in one step comes back with the other "
        "sign and as large, or larger. The proof is lost too: l falls."
    )


EXERCISES = {
    "round_m_step": ROUND_M_STEP,
    "step_matrices": STEP_MATRICES,
    "stride": Experiment(_judge_stride),
}
