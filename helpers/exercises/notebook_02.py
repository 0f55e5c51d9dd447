"""The exercises of notebook 02, and the slips that people make in them."""

import jax
import jax.numpy as jnp
import numpy as np

from helpers import decoder, gaussian, mixture
from helpers.exercises.judge import Experiment, Formula, numbers, right, wrong
from helpers.gaussian import Gaussian
from helpers.mixture import Mixture


def _clouds():
    rng = np.random.default_rng(21)
    scales = np.array([1.0, 2.0, 0.5])
    return [
        (jax.device_put(rng.normal(size=(n, d)) * scales[:d] + 4 * np.arange(d)),)
        for n, d in [(6, 2), (7, 3), (5, 1)]
    ]


def _shared_variance(x):
    return gaussian.fit_mle(x).variance


def _squares(x):
    return ((x - x.mean(axis=0)[None, :]) ** 2).sum()


SHARED_VARIANCE = Formula(
    _shared_variance,
    _clouds,
    (
        (
            lambda x: _squares(x) / len(x),
            "N for DN: the slide's slip. D dimensions bring D N squared deviations.",
        ),
        (
            lambda x: _squares(x) / (2 * len(x)),
            "2N is right in the plane. These points have another number of dimensions.",
        ),
        (
            lambda x: _squares(x) / (x.shape[1] * (len(x) - 1)),
            "N - 1 gives the unbiased variance. The maximum likelihood has N.",
        ),
        (lambda x: _squares(x), "A sum of squares. Wanted is their mean."),
        (
            lambda x: jnp.sqrt(_shared_variance(x)),
            "This is sigma. Wanted is sigma squared.",
        ),
        (
            lambda x: ((x - x.mean()) ** 2).mean(),
            "One mean for all columns. Each dimension has its own: mean(axis=0).",
        ),
        (
            lambda x: x.var(axis=0),
            "One variance for each dimension. This model has a single one for all.",
        ),
    ),
)


def _mixtures():
    rng = np.random.default_rng(22)
    cases = []
    for n, k in [(4, 3)] * 2:  # one shape, one program
        params = Mixture(
            weights=jax.device_put(rng.dirichlet(np.full(k, 4.0))),
            means=jax.device_put(rng.normal(size=(k, 2))),
            covariances=jax.device_put(rng.uniform(0.5, 2.0, size=k)),
        )
        cases.append((params, jax.device_put(rng.normal(size=(n, 2)))))
    params, x = cases[0]
    return [*cases, (params, x + 90.0)]  # where every density underflows


@jax.jit
def _slope_in_means(params, x):
    return jax.grad(mixture.log_likelihood)(params, x).means


def _with_shares(shares_of, power=1.0):
    """The slope in the means, with other shares or another power of the variance."""

    def form(params, x):
        away = x[:, None, :] - params.means[None, :, :]
        total = (shares_of(params, x)[:, :, None] * away).sum(axis=0)
        return total / (params.covariances**power)[:, None]

    return form


def _all_alike(params, x):
    return jnp.ones((len(x), len(params.weights)))


def _by_prior(params, x):
    return _all_alike(params, x) * params.weights[None, :]


def _by_density(params, x):
    return jnp.exp(mixture.log_joint(params, x))


def _naive(params, x):
    density = _by_density(params, x)
    return density / density.sum(axis=1, keepdims=True)


def _over_points(params, x):
    r = mixture.responsibilities(params, x)
    return r / r.sum(axis=0, keepdims=True)


SLOPE_IN_MEANS = Formula(
    _slope_in_means,
    _mixtures,
    (
        (
            _with_shares(_all_alike),
            "Each point pulls every mean with full weight here. Its pull is shared out "
            "by the responsibilities.",
        ),
        (
            _with_shares(_by_prior),
            "The shares are the prior's. Wanted are the posterior's, the "
            "responsibilities: they know x.",
        ),
        (
            _with_shares(_by_density),
            "The shares do not sum to 1 for a point: divide p(x, z) by p(x).",
        ),
        (
            _with_shares(_over_points),
            "Responsibilities sum to 1 over the components of a point, not over the "
            "points of a component. (Divided so, this is EM's step.)",
        ),
        (
            _with_shares(mixture.responsibilities, 0.5),
            "Divide by sigma squared, not by sigma: covariances are variances already.",
        ),
        (
            _with_shares(mixture.responsibilities, 2.0),
            "The covariances are variances already: do not square them.",
        ),
        (
            lambda *args: -_slope_in_means(*args),
            "The sign is turned round: the slope points from the mean to the points.",
        ),
        (
            lambda *args: _slope_in_means(*args) / len(args[1]),
            "A mean over the points. The log-likelihood is a sum over them.",
        ),
        (
            _with_shares(_naive),
            "Far away every density underflows, and 0/0 is no number. Divide before "
            "you leave the logarithm: jax.nn.softmax.",
        ),
    ),
)


@jax.jit
def _proposal_error(mean, sigma):
    """The relative root mean square error of p(x) from 16 draws."""
    curve, options = decoder.bent_line(), {"num_samples": 16, "sigma_x": 0.1}
    point = decoder.decode(curve, jnp.array([[1.2]]))
    truth = decoder.log_marginal_quadrature(curve, point, sigma_x=0.1)

    def one(key):
        options["proposal"] = Gaussian(mean[None], sigma**2)
        return decoder.log_marginal_importance(key, curve, point, **options) - truth

    logs = jax.vmap(one)(jax.random.split(jax.random.key(23), 1000))
    return jnp.sqrt((jnp.expm1(logs) ** 2).mean())


def mean_and_sigma(answer):
    """Return the two numbers of a Gaussian over z, the second above 0."""
    pair = numbers(answer, "answer")
    if pair.shape != (2,):
        raise ValueError(f"answer: got shape {pair.shape}, wanted a mean and a sigma")
    if not (np.isfinite(pair).all() and pair[1] > 0):
        raise ValueError(f"answer: got {pair}, wanted finite numbers and sigma above 0")
    return float(pair[0]), float(pair[1])


def _judge_proposal(answer):
    mean, sigma = mean_and_sigma(answer)
    error = float(_proposal_error(mean, sigma))
    came, wanted = f"a relative error of {error:.2f}", "at most 0.10"
    if error <= 0.10:
        return right(reached=f"{came}, wanted {wanted}")
    hint = "The sigma is wider than the posterior's: some draws are wasted."
    if (mean, sigma) == (0.0, 1.0):
        hint = "That is the prior. Where is the posterior of this point?"
    elif _proposal_error(mean, np.sqrt(sigma)) <= 0.10:
        hint = "Is the second number a variance? Wanted is sigma, its root."
    elif _proposal_error(-mean, sigma) <= 0.10:
        hint = "The sign of the mean is turned round."
    elif abs(mean - 1.2) > 0.02:
        hint = "The mean is not where the posterior is. Integrate z over it on a grid."
    elif sigma < 0.0238:
        hint = (
            "The sigma is narrower than the posterior's: the tails are hardly ever "
            "drawn, and weigh much when they are."
        )
    return wrong(came=came, wanted=wanted, hint=hint)


EXERCISES = {
    "shared_variance": SHARED_VARIANCE,
    "slope_in_means": SLOPE_IN_MEANS,
    "proposal": Experiment(_judge_proposal),
}
