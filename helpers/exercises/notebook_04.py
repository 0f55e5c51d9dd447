"""The exercises of notebook 04, and the slips that people make in them."""

import jax
import jax.numpy as jnp
import numpy as np

from helpers import em, mixture
from helpers.exercises.judge import Experiment, Formula, numbers, right, wrong
from helpers.mixture import Mixture


def _shares():
    rng = np.random.default_rng(41)
    cases = []
    for n, k, d in [(5, 2, 2), (6, 3, 3), (5, 2, 1)]:
        q = rng.dirichlet(np.ones(k), size=n)
        cases.append((jax.device_put(q), jax.device_put(rng.normal(size=(n, d)) + 2)))
    return cases


@jax.jit
def _round_m_step(q, x):
    return em.m_step(q, x)


def _with(**forms):
    """The M-step with some of its fields by another form."""
    return lambda q, x: _round_m_step(q, x)._replace(
        **{field: form(q, x) for field, form in forms.items()}
    )


def _squares(q, x, means=None):
    means = _round_m_step(q, x).means if means is None else means
    squares = ((x[:, None, :] - means[None, :, :]) ** 2).sum(axis=2)
    return (q * squares).sum(axis=0)


def _around_one_mean(q, x):
    means = jnp.broadcast_to(x.mean(axis=0)[None, :], (q.shape[1], x.shape[1]))
    return _squares(q, x, means) / (x.shape[1] * q.sum(axis=0))


ROUND_M_STEP = Formula(
    _round_m_step,
    _shares,
    (
        (
            _with(covariances=lambda q, x: _squares(q, x) / q.sum(axis=0)),
            "N_k for D N_k: a round component averages D N_k squared deviations.",
        ),
        (
            _with(covariances=lambda q, x: _squares(q, x) / (x.shape[1] * len(x))),
            "N for N_k: a component has only its own share of the points.",
        ),
        (
            _with(covariances=lambda q, x: _squares(q, x)),
            "The covariances are sums of squares. Wanted are weighted means.",
        ),
        (
            _with(covariances=lambda q, x: jnp.sqrt(_round_m_step(q, x).covariances)),
            "The covariances are sigmas. Wanted is sigma squared.",
        ),
        (
            _with(covariances=_around_one_mean),
            "The squares are taken around the mean of all data. Each component has its "
            "own mean.",
        ),
        (
            _with(covariances=lambda q, x: em.m_step(q, x, covariance_type="full")[2]),
            "These are full matrices. A round component has one variance.",
        ),
        (
            _with(weights=lambda q, x: q.sum(axis=0)),
            "The weights are N_k and sum to N. Wanted is N_k / N.",
        ),
        (
            lambda q, x: _with(
                covariances=lambda q, x: _squares(q, x, q.T @ x / len(x))
            )(q, x)._replace(means=q.T @ x / len(x)),
            "The means are sums divided by N. Each is divided by its own N_k.",
        ),
        (
            _with(means=lambda q, x: q.T @ x / len(x)),
            "The means are divided by N. Each is divided by its own N_k.",
        ),
    ),
    parts=("weights", "means", "covariances"),
)


def _fits():
    rng = np.random.default_rng(42)
    cases = []
    for n, k, d in [(8, 3, 2)] * 2:  # one shape, one program
        roots = rng.normal(size=(k, d, d))
        covariances = roots @ roots.transpose(0, 2, 1) + np.eye(d)
        weights = rng.dirichlet(np.full(k, 4.0))
        params = Mixture(weights, rng.normal(size=(k, d)), covariances)
        x = jax.device_put(rng.normal(size=(n, d)))
        params = jax.tree.map(jax.device_put, params)
        cases.append((params, mixture.responsibilities(params, x)))
    return cases


@jax.jit
def _step_matrices(theta, q):
    return theta.covariances / q.sum(axis=0)[:, None, None]


STEP_MATRICES = Formula(
    _step_matrices,
    _fits,
    (
        (
            lambda theta, q: theta.covariances / len(q),
            "N for N_k: each mean has only its own points to average.",
        ),
        (
            lambda theta, q: jnp.linalg.inv(_step_matrices(theta, q)),
            "This is the inverse: it takes a step back to the slope.",
        ),
        (
            lambda theta, q: (
                jnp.linalg.inv(theta.covariances) / q.sum(axis=0)[:, None, None]
            ),
            "The slope has the inverse of the covariance. The step must undo it.",
        ),
        (
            lambda theta, q: theta.covariances,
            "1 / N_k is missing: the slope is a sum over points, the step a mean.",
        ),
        (
            lambda theta, q: theta.covariances / theta.weights[:, None, None],
            "The weights are shares of N, and those before the M-step. Wanted is N_k.",
        ),
        (
            lambda theta, q: (
                jnp.eye(theta.means.shape[1])[None] / q.sum(axis=0)[:, None, None]
            ),
            "The covariance is missing: the slope was divided by it.",
        ),
        (
            lambda theta, q: -_step_matrices(theta, q),
            "The sign is turned round: this step goes downhill.",
        ),
    ),
)


@jax.jit
def _climb(stride):
    """1500 steps of EM, each made `stride` times as long."""
    noise, side = np.random.default_rng(2).normal(size=(500, 2)), np.arange(500) % 2
    x = jax.device_put(noise + 2.5 * np.stack([side - 0.5, 0 * side], axis=1))
    means = jnp.array([[-1.25, 0.0], [1.25, 0.0]])
    start = Mixture(jnp.full(2, 0.5), means, jnp.stack([jnp.eye(2)] * 2))

    def step(theta, _):
        q = mixture.responsibilities(theta, x)
        new = em.m_step(q, x, covariance_type="full")
        longer = jax.tree.map(lambda a, b: a + stride * (b - a), theta, new)
        return longer, mixture.log_likelihood(theta, x)

    return jax.lax.scan(step, start, length=1500)[1]


def _steps(stride):
    short = np.asarray(_climb(1.0))[-1] - np.asarray(_climb(stride))
    away = np.flatnonzero(~(np.abs(short) < 1e-6))  # nan is away
    return int(away[-1]) + 1 if len(away) else 0


def _judge_stride(answer):
    stride = numbers(answer, "answer")
    if stride.shape != ():
        raise ValueError(f"answer: got shape {stride.shape}, wanted one number")
    if not np.isfinite(stride):
        raise ValueError(f"answer: got {stride}, wanted a finite number")
    steps, plain = _steps(float(stride)), _steps(1.0)
    came, wanted = f"{steps} steps", f"at most {round(0.6 * plain)}; EM takes {plain}"
    if steps > 1400:
        came = "never at rest in 1500 steps"
    if steps <= 0.6 * plain:
        return right(reached=f"{came}, wanted {wanted}")
    hint = "The right way, but not far enough. How long may a step be?"
    if stride <= 0:
        hint = "With a stride of 0 or less EM stands still or walks back."
    elif stride < 1:
        hint = (
            "A part of an M-step still climbs, but slower. Make it longer, not shorter."
        )
    elif stride == 1:
        hint = "That is EM itself."
    elif stride >= 2:
        hint = (
            "Too far: an error that EM removes in one step comes back with the other "
            "sign and as large, or larger. The proof is gone too: l falls."
        )
    return wrong(came=came, wanted=wanted, hint=hint)


EXERCISES = {
    "round_m_step": ROUND_M_STEP,
    "step_matrices": STEP_MATRICES,
    "stride": Experiment(_judge_stride),
}
