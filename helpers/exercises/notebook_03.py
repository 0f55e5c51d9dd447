"""The exercises of notebook 03, and the slips that people make in them."""

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


KL_GAUSSIANS = Formula(
    _kl_gaussians,
    _gaussians,
    (
        Slip(
            lambda q_mean, q_variance, p_mean, p_variance: _kl_gaussians(
                p_mean, p_variance, q_mean, q_variance
            ),
            "The wrong way round: this is KL(p, q). Average over q, the first one.",
        ),
        Slip(
            lambda *args: -_kl_gaussians(*args),
            "The sign is flipped: expected E_q[log q - log p], which is never below 0.",
        ),
        Slip(
            lambda q_mean, q_variance, p_mean, p_variance: _kl_gaussians(
                q_mean, q_variance**2, p_mean, p_variance**2
            ),
            "The variances are squared as if they were sigmas. They are sigma squared.",
        ),
        Slip(
            lambda q_mean, q_variance, p_mean, p_variance: _kl_gaussians(
                q_mean, np.sqrt(q_variance), p_mean, np.sqrt(p_variance)
            ),
            "Sigma for sigma squared: the roots of the variances came in.",
        ),
        Slip(
            lambda q_mean, q_variance, p_mean, p_variance: (
                0.5
                * (
                    q_variance / p_variance
                    - 1
                    - np.log(q_variance / p_variance)
                    + (q_mean - p_mean) ** 2 / q_variance
                ).sum()
            ),
            "The squared difference of the means is divided by q's variance. It comes "
            "from log p, so it is divided by p's.",
        ),
        Slip(
            lambda q_mean, q_variance, p_mean, p_variance: (
                0.5
                * (
                    q_variance / p_variance
                    - 1
                    - np.log(q_variance / p_variance)
                    + (q_mean - p_mean) ** 2
                ).sum()
            ),
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
            "A mean over the dimensions. Independent dimensions add up.",
        ),
        Slip(
            _kl_form(lambda r, squares: 0.5 * ((r - np.log(r) + squares).sum() - 1)),
            "-1 comes once for each dimension, not once in all.",
        ),
        Slip(
            _kl_form(lambda r, squares: 0.5 * (r - 1 - np.log(r) + squares)),
            "One number per dimension. Independent dimensions add up.",
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


_slope_of_q = _logit_form(
    lambda q, log_p, log_q: q * (log_p - log_q - _average(q, log_p - log_q))
)


def _slope_in_logits(log_joint, logits):
    return _slope_of_q(log_joint, logits)


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
            "This is the slope in q. The logits move q through the softmax: "
            "dq_j / da_k = q_j ((j = k) - q_k).",
        ),
        Slip(
            _logit_form(lambda q, log_p, log_q: log_p - log_q),
            "This is the slope in q, up to a constant. The logits move q through the "
            "softmax: dq_j / da_k = q_j ((j = k) - q_k).",
        ),
        Slip(
            _logit_form(lambda q, log_p, log_q: q * (log_p - log_q)),
            "Only q_k as a factor: softmax lowers the other states when it raises one. "
            "So an average over q has to be subtracted.",
        ),
        Slip(
            _logit_form(lambda q, log_p, log_q: q * (log_p - log_q - 1)),
            "dq_j / da_k = q_j ((j = k) - q_k) has two terms. One is missing.",
        ),
        Slip(
            _logit_form(lambda q, log_p, log_q: q * (1 - q) * (log_p - log_q)),
            "Only the diagonal of the softmax's slope: a_k moves the other q_j as "
            "well, by -q_j q_k.",
        ),
        Slip(
            _logit_form(lambda q, log_p, log_q: q * (1 - q) * (log_p - log_q - 1)),
            "Only the diagonal of the softmax's slope: a_k moves the other q_j as "
            "well, by -q_j q_k.",
        ),
        Slip(
            _logit_form(_less_evidence),
            "log p(x) is subtracted. Expected the average under q: the bound.",
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
            "A plain mean over the states is subtracted. Expected the average under q.",
        ),
        Slip(
            _logit_form(lambda q, log_p, log_q: q * (log_p - _average(q, log_p))),
            "The entropy is missing: -log q has a slope as well.",
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
            "A mean over the points. Each row is the slope for a point of its own.",
        ),
        Slip(
            _over_points,
            "The softmax goes over the points. Each row is a q of its own, so it goes "
            "over the states: axis=1.",
        ),
        Slip(
            _logit_form(_average_over_points),
            "The average goes over the points. Each row has a bound of its own, a sum "
            "over its states: axis=1.",
        ),
        Slip(
            _logit_form(
                lambda q, log_p, log_q: (
                    q * (log_p - log_q - np.sum(q * (log_p - log_q)))
                )
            ),
            "The average goes over the whole table. Each row has a bound of its own: "
            "sum over axis=1.",
        ),
        Slip(
            lambda log_joint, logits: _slope_in_logits(log_joint, logits).sum(axis=0),
            "A sum over the points. Each row is the slope for a point of its own.",
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
    """Return how far L_k is below log p(x) at UPPER_POINT, by an average of 20,000."""
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
            "This q sits on one mode, which is best for one sample. With 16 samples q "
            "may be wide: draws that miss cost little, a mode never drawn costs more."
        )
    # What helps most, of four small steps.
    steps = {
        "Too narrow: one of the modes is hardly ever drawn. Make sigma larger.": (
            mean,
            1.1 * sigma,
        ),
        "Wider than both modes together, so that many of the 16 draws are wasted. "
        "Make sigma smaller.": (mean, sigma / 1.1),
        "The mean is too low: the mode at positive z weighs more.": (
            mean + 0.1,
            sigma,
        ),
        "The mean is too high: the mode at negative z is hardly ever drawn.": (
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
