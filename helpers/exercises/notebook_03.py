"""The exercises of notebook 03, and the slips that students often make in them."""

import jax
import numpy as np

from helpers.exercises.answers import beyond, mean_and_sigma
from helpers.exercises.curve import curve, log_mean_exp, log_normal, posterior_moments
from helpers.exercises.finding import right, wrong
from helpers.exercises.formula import Formula, Slip
from helpers.exercises.judge import Experiment


def _gaussians():
    rng = np.random.default_rng(31)
    cases = []
    for d in (3, 1):
        q_mean, p_mean = rng.normal(size=(2, d))
        q_variance, p_variance = rng.uniform(0.3, 2.5, size=(2, d))
        cases.append((q_mean, q_variance, p_mean, p_variance))
    q_mean, q_variance, p_mean, p_variance = cases[0]
    cases.append((q_mean, 1e-4 * q_variance, p_mean, p_variance))
    cases.append((q_mean, q_variance, q_mean, q_variance))
    return [tuple(map(jax.device_put, case)) for case in cases]


def _kl_gaussians(q_mean, q_variance, p_mean, p_variance):
    ratio = q_variance / p_variance
    squares = (q_mean - p_mean) ** 2 / p_variance
    return 0.5 * (ratio - 1 - np.log(ratio) + squares).sum()


def _kl_form(combine):
    """A form of the divergence from the ratio of variances and the squares."""

    def form(q_mean, q_variance, p_mean, p_variance):
        squares = (q_mean - p_mean) ** 2 / p_variance
        return combine(q_variance / p_variance, squares)

    return form


def _with_distance(distance):
    """The divergence with another term for the distance of the means."""

    def form(q_mean, q_variance, p_mean, p_variance):
        of_variances = _kl_gaussians(q_mean, q_variance, q_mean, p_variance)
        return of_variances + 0.5 * distance((q_mean - p_mean) ** 2, q_variance)

    return form


KL_GAUSSIANS = Formula(
    _kl_gaussians,
    _gaussians,
    (
        Slip(
            lambda q_mean, q_variance, p_mean, p_variance: _kl_gaussians(
                p_mean, p_variance, q_mean, q_variance
            ),
            "You swapped q and p: this is KL(p || q). Average over q, the first one.",
        ),
        Slip(
            lambda *args: -_kl_gaussians(*args),
            "The sign is flipped: expected E_q[log q - log p], which is never below 0.",
        ),
        Slip(
            lambda q_mean, q_variance, p_mean, p_variance: _kl_gaussians(
                q_mean, q_variance**2, p_mean, p_variance**2
            ),
            "You squared the variances as if they were sigmas. They are sigma squared.",
        ),
        Slip(
            lambda q_mean, q_variance, p_mean, p_variance: _kl_gaussians(
                q_mean, np.sqrt(q_variance), p_mean, np.sqrt(p_variance)
            ),
            "You used sigma in place of sigma squared: do not take square roots of the "
            "variances.",
        ),
        Slip(
            _with_distance(lambda squares, q_variance: (squares / q_variance).sum()),
            "You divided the squared difference of the means by q's variance. It comes "
            "from log p, so divide it by p's variance.",
        ),
        Slip(
            _with_distance(lambda squares, q_variance: squares.sum()),
            "The squared difference of the means is not divided by p's variance.",
        ),
        Slip(
            _kl_form(lambda r, squares: (r - 1 - np.log(r) + squares).sum()),
            "One half is missing in front.",
        ),
        Slip(
            _kl_form(lambda r, squares: (0.5 * (r - 1 + squares) - np.log(r)).sum()),
            "One half is missing in front of the logarithm: log sigma is half of log "
            "sigma^2.",
        ),
        Slip(
            _kl_form(lambda r, squares: (0.5 * (r - 1 - np.log(r)) + squares).sum()),
            "One half is missing in front of the squared difference of the means.",
        ),
        Slip(
            _kl_form(lambda r, squares: 0.5 * (r - 1 + squares).sum()),
            "The logarithm of the ratio of the variances is missing.",
        ),
        Slip(
            _kl_form(lambda r, squares: 0.5 * (r - 1 + np.log(r) + squares).sum()),
            "The logarithm has the wrong sign: expected -log(q_variance / p_variance).",
        ),
        Slip(
            _kl_form(lambda r, squares: 0.5 * (r - np.log(r) + squares).sum()),
            "The -1 of each dimension is missing: for q = p this is not 0.",
        ),
        Slip(
            _kl_form(lambda r, squares: 0.5 * (r - 1 - np.log(r) - squares).sum()),
            "The squared difference of the means has the wrong sign: the farther "
            "apart, the larger the divergence.",
        ),
        Slip(
            _kl_form(lambda r, squares: 0.5 * (r - 1 - np.log(r)).sum()),
            "The difference of the means is missing.",
        ),
        Slip(
            _kl_form(lambda r, squares: 0.5 * (-1 - np.log(r) + squares).sum()),
            "The ratio of the variances is missing: under q, (z - q_mean)^2 averages "
            "to q_variance.",
        ),
        Slip(
            _kl_form(lambda r, squares: 0.5 * (r - 1 - np.log(r) + squares).mean()),
            "You took a mean over the dimensions. For independent dimensions, the "
            "divergences add up: take the sum.",
        ),
        Slip(
            _kl_form(lambda r, squares: 0.5 * ((r - np.log(r) + squares).sum() - 1)),
            "There is one -1 for each dimension, not one in all.",
        ),
        Slip(
            _kl_form(lambda r, squares: 0.5 * (r - 1 - np.log(r) + squares)),
            "You returned one number per dimension. For independent dimensions, the "
            "divergences add up: take the sum.",
        ),
    ),
)


def _logits():
    rng = np.random.default_rng(32)
    log_joint = rng.normal(size=(4, 3)) - 2
    logits = rng.normal(size=(4, 3))
    cases = [(log_joint, logits), (log_joint, log_joint), (log_joint, logits + 800)]
    return [tuple(map(jax.device_put, case)) for case in cases]


def _log_softmax(logits, axis=1):
    shifted = logits - logits.max(axis=axis, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True))


def _average(q, values):
    return (q * values).sum(axis=1, keepdims=True)


def _logit_form(combine):
    """A form of the slope from q, log p(x, z) and log q."""

    def form(log_joint, logits):
        log_q = _log_softmax(logits)
        return combine(np.exp(log_q), log_joint, log_q)

    return form


_slope_in_logits = _logit_form(
    lambda q, log_p, log_q: q * (log_p - log_q - _average(q, log_p - log_q))
)


def _less_evidence(q, log_p, log_q):
    return q * (_log_softmax(log_p) - log_q)


def _naive_softmax(log_joint, logits):
    q = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    ratios = log_joint - np.log(q)
    return q * (ratios - _average(q, ratios))


def _over_points(log_joint, logits):
    log_q = _log_softmax(logits, axis=0)
    q = np.exp(log_q)
    ratios = log_joint - log_q
    return q * (ratios - (q * ratios).sum(axis=0, keepdims=True))


def _average_over_points(q, log_p, log_q):
    ratios = log_p - log_q
    return q * (ratios - (q * ratios).sum(axis=0, keepdims=True))


SLOPE_IN_LOGITS = Formula(
    _slope_in_logits,
    _logits,
    (
        Slip(
            _logit_form(lambda q, log_p, log_q: log_p - log_q - 1),
            "This is the slope in q. The logits change q through the softmax, so use "
            "the chain rule with dq_j / da_k = q_j ((j = k) - q_k).",
        ),
        Slip(
            _logit_form(lambda q, log_p, log_q: log_p - log_q),
            "This is the slope in q, up to a constant. The logits change q through the "
            "softmax, so use the chain rule with dq_j / da_k = q_j ((j = k) - q_k).",
        ),
        Slip(
            _logit_form(lambda q, log_p, log_q: q * (log_p - log_q)),
            "The factor q_k alone is not enough: when a logit rises, the softmax also "
            "lowers all the other states. So you must subtract an average over q.",
        ),
        Slip(
            _logit_form(lambda q, log_p, log_q: q * (log_p - log_q - 1)),
            "dq_j / da_k = q_j ((j = k) - q_k) has two terms. One of them is missing.",
        ),
        Slip(
            _logit_form(lambda q, log_p, log_q: q * (1 - q) * (log_p - log_q)),
            "You used only the diagonal of the softmax's derivative: a_k changes the "
            "other q_j as well, with slope -q_j q_k.",
        ),
        Slip(
            _logit_form(lambda q, log_p, log_q: q * (1 - q) * (log_p - log_q - 1)),
            "You used only the diagonal of the softmax's derivative: a_k changes the "
            "other q_j as well, with slope -q_j q_k.",
        ),
        Slip(
            _logit_form(_less_evidence),
            "You subtracted log p(x). Expected the average under q: the bound.",
        ),
        Slip(
            _logit_form(
                lambda q, log_p, log_q: log_p - log_q - _average(q, log_p - log_q)
            ),
            "The factor q_k is missing.",
        ),
        Slip(
            _logit_form(
                lambda q, log_p, log_q: (
                    q * (log_p - log_q - (log_p - log_q).mean(axis=1, keepdims=True))
                )
            ),
            "You subtracted a plain mean over the states. Expected the average under "
            "q.",
        ),
        Slip(
            _logit_form(lambda q, log_p, log_q: q * (log_p - _average(q, log_p))),
            "The entropy is missing: -log q depends on the logits as well.",
        ),
        Slip(
            _logit_form(
                lambda q, log_p, log_q: q * (log_p + log_q - _average(q, log_p + log_q))
            ),
            "log q has the wrong sign: the bound is E_q[log p(x, z) - log q(z)].",
        ),
        Slip(
            lambda log_joint, logits: -_slope_in_logits(log_joint, logits),
            "The sign is flipped: this is the slope of the divergence.",
        ),
        Slip(
            lambda log_joint, logits: _slope_in_logits(log_joint, logits) / len(logits),
            "You took a mean over the points. Each row is the slope for its own point.",
        ),
        Slip(
            _over_points,
            "Your softmax goes over the points. Each row is a separate q, so the "
            "softmax goes over the states: axis=1.",
        ),
        Slip(
            _logit_form(_average_over_points),
            "Your average goes over the points. Each row has its own bound, a sum "
            "over the states: axis=1.",
        ),
        Slip(
            _logit_form(
                lambda q, log_p, log_q: (
                    q * (log_p - log_q - np.sum(q * (log_p - log_q)))
                )
            ),
            "Your average goes over the whole table. Each row has its own bound: sum "
            "over axis=1.",
        ),
        Slip(
            lambda log_joint, logits: _slope_in_logits(log_joint, logits).sum(axis=0),
            "You took a sum over the points. Each row is the slope for its own point.",
        ),
        Slip(
            _naive_softmax,
            "exp() of large logits overflows. Use jax.nn.softmax and log_softmax.",
        ),
    ),
)

UPPER_POINT = np.array([-2.0, 0.3])
WITHIN = 0.07  # nats below log p(x)


def lost(mean: float, sigma: float, num_samples: int = 16) -> float:
    """Return how far L_k is below log p(x) at UPPER_POINT, an average of 20,000."""
    eps = np.random.default_rng(33).normal(size=(20_000, num_samples))
    z = mean + sigma * eps
    log_q = -0.5 * eps**2 - np.log(sigma) - 0.5 * np.log(2 * np.pi)
    log_weights = log_normal(UPPER_POINT, curve(z)) + log_normal(0.0, z[..., None])
    bound = log_mean_exp(log_weights - log_q).mean()
    return posterior_moments(UPPER_POINT).log_evidence - bound


def _judge_sixteen(answer):
    mean, sigma = mean_and_sigma(answer)
    gap = lost(mean, sigma)
    reached = f"L_16 is {beyond(gap, WITHIN)} nats below log p(x)"
    expected = f"at most {WITHIN:.2f} nats"
    if gap <= WITHIN:
        return right(reached=reached, expected=expected)
    hint = _sixteen_hint(mean, sigma)
    return wrong(reached=reached, expected=expected, hint=hint)


def _sixteen_hint(mean, sigma):
    if lost(-mean, sigma) <= WITHIN:
        return "The sign of the mean is flipped: more of the posterior is at z > 0."
    if sigma < 0.5 and 1.0 < abs(mean) < 1.6:
        return (
            "This q covers only one peak, which is best with one sample. With 16 "
            "samples, q can be wide: a few samples in the wrong place cost little, but "
            "a peak that is never sampled costs more."
        )
    # Of four small steps, the hint is the one that helps most.
    steps = {
        "This q is too narrow: one of the peaks is hardly ever sampled. Make the scale "
        "larger.": (mean, 1.1 * sigma),
        "This q is wider than both peaks together, so many of the 16 samples are "
        "wasted. Make the scale smaller.": (mean, sigma / 1.1),
        "The mean is too low: the peak at positive z has more of the probability.": (
            mean + 0.1,
            sigma,
        ),
        "The mean is too high: the peak at negative z is hardly ever sampled.": (
            mean - 0.1,
            sigma,
        ),
    }
    return min(steps, key=lambda hint: lost(*steps[hint]))


EXERCISES = {
    "kl_gaussians": KL_GAUSSIANS,
    "slope_in_logits": SLOPE_IN_LOGITS,
    "q_for_sixteen": Experiment(_judge_sixteen),
}
