"""The exercises of notebook 03, and the slips that people make in them."""

import jax
import jax.numpy as jnp
import numpy as np

from helpers import bounds, decoder, gaussian
from helpers.exercises.judge import Experiment, Formula, right, wrong
from helpers.exercises.notebook_02 import mean_and_sigma
from helpers.gaussian import Gaussian


def _gaussians():
    rng = np.random.default_rng(31)
    cases = []
    for d in (1, 3):
        means, variances = rng.normal(size=(2, d)), rng.uniform(0.3, 2.5, size=(2, d))
        q, p = zip(means, variances, strict=True)
        cases.append(tuple(map(jax.device_put, (*q, *p))))
    q_mean, q_variance, *p = cases[1]
    narrow = (q_mean, 1e-8 * q_variance, *p)
    return [*cases, narrow, (q_mean, q_variance, q_mean, q_variance)]


def _kl_gaussians(q_mean, q_variance, p_mean, p_variance):
    return gaussian.kl_divergence(
        Gaussian(q_mean, q_variance), Gaussian(p_mean, p_variance)
    )


def _kl_terms(q_mean, q_variance, p_mean, p_variance):
    ratio = q_variance / p_variance
    return ratio, jnp.log(ratio), (q_mean - p_mean) ** 2 / p_variance


def _kl_form(combine):
    return lambda *args: combine(*_kl_terms(*args))


KL_GAUSSIANS = Formula(
    _kl_gaussians,
    _gaussians,
    (
        (
            lambda q_mean, q_variance, p_mean, p_variance: _kl_gaussians(
                p_mean, p_variance, q_mean, q_variance
            ),
            "The wrong way round: this is KL(p, q). Average over q, the first one.",
        ),
        (
            lambda q_mean, q_variance, p_mean, p_variance: _kl_gaussians(
                q_mean, q_variance**2, p_mean, p_variance**2
            ),
            "The variances are squared as if they were sigmas. They are sigma squared.",
        ),
        (
            lambda q_mean, q_variance, p_mean, p_variance: _kl_gaussians(
                q_mean, jnp.sqrt(q_variance), p_mean, jnp.sqrt(p_variance)
            ),
            "Sigma for sigma squared: the roots of the variances came in.",
        ),
        (
            _kl_form(lambda r, log_r, m: (r - 1 - log_r + m).sum()),
            "One half is missing in front.",
        ),
        (
            _kl_form(lambda r, log_r, m: 0.5 * (r - 1 + m).sum()),
            "The logarithm of the ratio of the variances is missing.",
        ),
        (
            _kl_form(lambda r, log_r, m: 0.5 * (r - log_r + m).sum()),
            "The -1 of each dimension is missing: for q = p this is not 0.",
        ),
        (
            _kl_form(lambda r, log_r, m: 0.5 * (r - 1 - log_r + m).mean()),
            "A mean over the dimensions. Independent dimensions add up.",
        ),
        (
            _kl_form(lambda r, log_r, m: 0.5 * ((r - log_r + m).sum() - 1)),
            "-1 comes once for each dimension, not once in all.",
        ),
        (
            _kl_form(lambda r, log_r, m: 0.5 * (r - 1 - log_r + m)),
            "One number a dimension. Independent dimensions add up.",
        ),
    ),
)


def _logits():
    rng = np.random.default_rng(32)
    log_joint = rng.normal(size=(4, 3)) - 2
    logits = rng.normal(size=(4, 3))
    pairs = [(log_joint, logits), (log_joint, log_joint), (log_joint, logits + 800)]
    return [tuple(map(jax.device_put, pair)) for pair in pairs]


@jax.jit
def _slope_in_logits(log_joint, logits):
    return jax.grad(lambda a: bounds.elbo(log_joint, jax.nn.softmax(a)).sum())(logits)


def _logit_form(combine):
    """A form of the slope from q, log p(x, z), log q, and the bound of the point."""

    def form(log_joint, logits):
        q, log_q = jax.nn.softmax(logits), jax.nn.log_softmax(logits)
        bound = (q * (log_joint - log_q)).sum(axis=1, keepdims=True)
        return combine(q, log_joint, log_q, bound)

    return form


def _less_evidence(q, log_joint, log_q, bound):
    evidence = jax.nn.logsumexp(log_joint, axis=1, keepdims=True)
    return q * (log_joint - log_q - evidence)


def _naive_softmax(log_joint, logits):
    q = jnp.exp(logits) / jnp.exp(logits).sum(axis=1, keepdims=True)
    ratios = log_joint - jnp.log(q)
    return q * (ratios - (q * ratios).sum(axis=1, keepdims=True))


SLOPE_IN_LOGITS = Formula(
    _slope_in_logits,
    _logits,
    (
        (
            _logit_form(lambda q, log_p, log_q, bound: log_p - log_q - 1),
            "This is the slope in q. The logits move q through the softmax: "
            "dq_j / da_k = q_j ((j = k) - q_k).",
        ),
        (
            _logit_form(lambda q, log_p, log_q, bound: q * (log_p - log_q)),
            "Only q_k as a factor: softmax lowers the other states when it raises one. "
            "So an average over q has to be taken off.",
        ),
        (
            _logit_form(lambda q, log_p, log_q, bound: q * (log_p - log_q - 1)),
            "dq_j / da_k = q_j ((j = k) - q_k) has two terms. One is missing.",
        ),
        (
            _logit_form(_less_evidence),
            "log p(x) is taken off. It must be the average under q: the bound.",
        ),
        (
            _logit_form(lambda q, log_p, log_q, bound: log_p - log_q - bound),
            "The factor q_k is missing.",
        ),
        (
            _logit_form(
                lambda q, log_p, log_q, bound: (
                    q * (log_p - (q * log_p).sum(axis=1, keepdims=True))
                )
            ),
            "The entropy is missing: -log q has a slope as well.",
        ),
        (
            lambda *args: -_slope_in_logits(*args),
            "The sign is turned round: this is the slope of the divergence.",
        ),
        (
            _naive_softmax,
            "exp() of large logits overflows. Use jax.nn.softmax and log_softmax.",
        ),
    ),
)


@jax.jit
def _lost(mean, sigma):
    """How far L_16 is below log p(x) at (-2, 0.3), by an average over 4000 keys."""
    curve, x = decoder.bent_line(), jnp.array([[-2.0, 0.3]])
    q = Gaussian(mean[None], sigma**2)

    def one(key):
        return bounds.importance_weighted_bound(
            key, lambda z: decoder.log_joint(curve, x, z)[0], q, num_samples=16
        )

    draws = jax.vmap(one)(jax.random.split(jax.random.key(33), 4000))
    return decoder.log_marginal_quadrature(curve, x)[0] - draws.mean()


def _judge_sixteen(answer):
    mean, sigma = mean_and_sigma(answer)
    lost = float(_lost(mean, sigma))
    came, wanted = f"L_16 is {lost:.2f} nats below log p(x)", "at most 0.07 nats"
    if lost <= 0.07:
        return right(reached=f"{came}, wanted {wanted}")
    hint = "Let q cover both modes, and be nearer to the one that weighs more."
    if mean < -0.25:
        hint = "The posterior has more of its mass at positive z."
    elif sigma < 0.7 and mean > 0.9:
        hint = (
            "This q sits on one mode, which is best for one sample. With 16 samples q "
            "may be wide: draws that miss cost little, a mode never drawn costs more."
        )
    elif sigma < 0.7:
        hint = "Too narrow: the modes are hardly ever drawn."
    elif sigma > 1.6:
        hint = "Wider than both modes together: many of the 16 draws are wasted."
    return wrong(came=came, wanted=wanted, hint=hint)


EXERCISES = {
    "kl_gaussians": KL_GAUSSIANS,
    "slope_in_logits": SLOPE_IN_LOGITS,
    "q_for_sixteen": Experiment(_judge_sixteen),
}
