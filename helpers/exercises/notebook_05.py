"""The exercises of notebook 05, and the slips that people make in them."""

import jax
import jax.numpy as jnp
import numpy as np

from helpers import gaussian
from helpers.exercises.judge import Experiment, Formula, numbers, right, wrong
from helpers.gaussian import Gaussian

# A linear decoder x = w z + noise whose numbers the last exercise has.
W, SIGMA_X = np.array([2.0, 1.0]), 0.5


def _codes():
    rng = np.random.default_rng(51)
    cases = []
    for n, d, m in [(3, 5, 2), (2, 4, 3)]:
        x, decoded = rng.normal(size=(2, n, d))
        mean, sigma = rng.normal(size=(n, m)), rng.uniform(0.2, 1.6, size=(n, m))
        cases.append((*map(jax.device_put, (x, decoded, mean, sigma)), 0.3))
    x, decoded, mean, sigma, _ = cases[0]
    return [*cases, (x, decoded, mean, 1e-6 * sigma, 1.0)]


@jax.jit
def _one_sample_elbo(x, decoded, mean, sigma, sigma_x):
    zero = Gaussian(jnp.zeros(x.shape[1]), sigma_x**2)
    kl = jax.vmap(gaussian.kl_to_standard_normal)(Gaussian(mean, sigma**2))
    return gaussian.log_prob(zero, x - decoded) - kl


def _elbo_form(combine):
    """A form of the bound from the exact log density, its constant, KL, and so on."""

    def form(x, decoded, mean, sigma, sigma_x):
        squares = (x - decoded) ** 2 / (2 * sigma_x**2)
        log_scale = 0.5 * jnp.log(2 * jnp.pi * sigma_x**2)
        kl = 0.5 * (sigma**2 - 1 - 2 * jnp.log(sigma) + mean**2)
        return combine(squares, log_scale, kl, mean, sigma, sigma_x)

    return form


def _sum(terms):
    return terms.sum(axis=1)


ONE_SAMPLE_ELBO = Formula(
    _one_sample_elbo,
    _codes,
    (
        (
            _elbo_form(
                lambda squares, c, kl, *_: -(squares + c).mean(axis=1) - _sum(kl)
            ),
            "A mean over the pixels. The log density is a sum over them; as a mean it "
            "is too weak against the KL.",
        ),
        (
            _elbo_form(lambda squares, c, kl, *_: -_sum(squares) - _sum(kl)),
            "The constant is missing: -1/2 log(2 pi sigma_x^2) for each pixel.",
        ),
        (
            _elbo_form(
                lambda squares, c, kl, mean, sigma, sigma_x: (
                    -_sum(2 * sigma_x**2 * squares) - _sum(kl)
                )
            ),
            "The bare squared error. The log density has it over 2 sigma_x^2, and a "
            "constant.",
        ),
        (
            _elbo_form(lambda squares, c, kl, *_: -_sum(squares + c) + _sum(kl)),
            "The KL is added. It is a price: take it off.",
        ),
        (
            _elbo_form(lambda squares, c, kl, *_: -_sum(squares + c) - 2 * _sum(kl)),
            "One half is missing in front of the KL.",
        ),
        (
            _elbo_form(lambda squares, c, kl, *_: -_sum(squares + c) - kl.mean(axis=1)),
            "A mean over the dimensions of z. Independent dimensions add up.",
        ),
        (
            _elbo_form(
                lambda squares, c, kl, mean, sigma, _: (
                    -_sum(squares + c)
                    - 0.5 * _sum(sigma - 1 - jnp.log(sigma) + mean**2)
                )
            ),
            "Sigma for sigma squared in the KL.",
        ),
        (
            lambda *args: _one_sample_elbo(*args).sum(),
            "A sum over the points. Wanted is one bound a point.",
        ),
        (
            lambda *args: _one_sample_elbo(*args).mean(),
            "A mean over the points. Wanted is one bound a point.",
        ),
    ),
)


def _linear():
    rng = np.random.default_rng(52)
    cases = [(4, 2, 0.5, 3.0), (3, 3, 0.2, 0.4), (2, 1, 1.5, 1.0), (2, 2, 0.5, 1e4)]
    return [
        (
            jax.device_put(rng.normal(size=(n, d))),
            jax.device_put(rng.normal(size=d)),
            s,
            beta,
        )
        for n, d, s, beta in cases
    ]


@jax.jit
def _best_q(x, w, sigma_x, beta):
    noise = beta * sigma_x**2  # beta acts as if the noise were larger
    variance = 1 / (1 + (w**2).sum() / noise)
    return variance * (x * w[None, :]).sum(axis=1) / noise, variance


def _no_prior(x, w, sigma_x, beta):
    squares = (w**2).sum()
    return (x * w[None, :]).sum(axis=1) / squares, beta * sigma_x**2 / squares


def _as_sigma(x, w, sigma_x, beta):
    mean, variance = _best_q(x, w, sigma_x, beta)
    return mean, jnp.sqrt(variance)


BEST_Q = Formula(
    _best_q,
    _linear,
    (
        (
            lambda x, w, sigma_x, beta: _best_q(x, w, sigma_x, 1.0),
            "This is the posterior, right for beta = 1. Where does beta come in?",
        ),
        (
            lambda x, w, sigma_x, beta: _best_q(x, w, sigma_x, 1 / beta),
            "beta stands upside down: it weighs the KL, so it makes q more like the "
            "prior, not less.",
        ),
        (
            lambda x, w, sigma_x, beta: _best_q(x, w, jnp.sqrt(sigma_x), beta),
            "sigma_x for sigma_x squared.",
        ),
        (_no_prior, "The prior is missing: its precision is 1, and precisions add up."),
        (_as_sigma, "The second result is a sigma. Wanted is the variance."),
    ),
    parts=("mean", "variance"),
)


def _rate(beta):
    """The mean KL(q, prior) of the best q, over x from the decoder, in nats."""
    noise, squares = beta * SIGMA_X**2, (W**2).sum()
    variance = 1 / (1 + squares / noise)
    of_mean = variance**2 * (squares**2 + SIGMA_X**2 * squares) / noise**2
    return 0.5 * (variance - 1 - np.log(variance) + of_mean)


def _judge_beta(answer):
    beta = numbers(answer, "answer")
    if beta.shape != () or not (np.isfinite(beta) and beta > 0):
        raise ValueError(f"answer: got {beta}, wanted one finite number above 0")
    rate = _rate(float(beta))
    came, wanted = f"a rate of {rate:.3f} nats", "1 nat, to 0.005"
    if abs(rate - 1) <= 0.005:
        return right(reached=f"{came}, wanted {wanted}")
    hint = "Too much of x gets through: a larger beta makes the KL dearer."
    if abs(rate - np.log(2)) <= 0.005:
        hint = "That is one bit, log 2 nats. Wanted is one nat."
    elif abs(_rate(1 / float(beta)) - 1) <= 0.005:
        hint = "beta stands upside down: it weighs the KL."
    elif beta == 1:
        hint = "That is the VAE's own bound: all that z can tell about x."
    elif rate < 1:
        hint = "Too little of x gets through: a smaller beta makes the KL cheaper."
    return wrong(came=came, wanted=wanted, hint=hint)


EXERCISES = {
    "one_sample_elbo": ONE_SAMPLE_ELBO,
    "best_q": BEST_Q,
    "beta_for_rate": Experiment(_judge_beta),
}
