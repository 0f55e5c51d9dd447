"""The exercises of notebook 06, and the slips that people make in them."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logit
from jax.scipy.stats import norm

from helpers.exercises.judge import Experiment, Formula, called, numbers, right, wrong

DRAWS = 4000


def _drawn(output):
    z = numbers(output)
    if z.shape != (DRAWS, 2):
        raise ValueError(f"result: got shape {z.shape}, wanted {(DRAWS, 2)}")
    return z


def _judge_draw(answer):
    """Whether z = mean + sigma eps: its noise first, and then its slopes."""
    mean, sigma = jnp.array([1.0, -2.0]), jnp.array([0.5, 3.0])
    keys = jax.random.split(jax.random.key(61), 2)
    first, other = (_drawn(called(answer, key, mean, sigma, DRAWS)) for key in keys)
    eps = (first - np.asarray(mean)) / np.asarray(sigma)
    wanted = "z = mean + sigma eps, every eps drawn on its own from N(0, 1)"
    # four standard errors of a mean, a spread and a correlation of 4000 draws
    slack = 4 / np.sqrt(DRAWS)
    centre, spread = eps.mean(axis=0), eps.std(axis=0)
    correlation = np.corrcoef(eps.T)[0, 1]
    if np.allclose(first, other):
        return wrong(
            came="the same z for two keys",
            wanted=wanted,
            hint="The key is not used, or one was made inside.",
        )
    if np.abs(spread - np.asarray(sigma)).max() < 3 * slack:
        hint = "Sigma squared for sigma: the noise is too wide where sigma is above 1."
    elif np.abs(spread * np.sqrt(np.asarray(sigma)) - 1).max() < slack:
        hint = "The root of sigma. Sigma is no variance: use it as it is."
    elif np.abs(spread - 1).max() > slack:
        hint = "The spread is wrong. Is the noise normal, and multiplied by sigma?"
    elif np.abs(centre).max() > slack:
        hint = "The mean is wrong. Is the noise centred, as N(0, 1) is?"
    elif abs(correlation) > slack:
        hint = (
            "The key is reused: both dimensions got the same noise. Draw all of it in "
            "one call with its shape, or split the key."
        )
    else:
        return _judge_slopes(answer, keys[0], mean, sigma, eps)
    came = f"eps with mean {shown(centre)}, spread {shown(spread)}, "
    came += f"correlation {correlation:.2f}"
    return wrong(came=came, wanted=wanted, hint=hint)


def shown(pair):
    """Return two numbers to two digits."""
    return "({:.2f}, {:.2f})".format(*pair)


def _judge_slopes(answer, key, mean, sigma, eps):
    def means(mean, sigma):
        return called(answer, key, mean, sigma, DRAWS).mean(axis=0)

    in_mean, in_sigma = (
        numbers(jnp.diagonal(each)) for each in jax.jacfwd(means, (0, 1))(mean, sigma)
    )
    came = f"slopes of the average z {shown(in_mean)} in the mean, "
    came += f"{shown(in_sigma)} in sigma"
    wanted = f"(1.00, 1.00) and the average eps, {shown(eps.mean(axis=0))}"
    if np.allclose(in_mean, 1) and np.allclose(in_sigma, eps.mean(axis=0), atol=1e-6):
        return right(reached="the right distribution, and the right slopes")
    hint = "z must move with the mean and with sigma while eps stands still."
    if np.allclose(in_mean, 0) and np.allclose(in_sigma, 0):
        hint = (
            "The gradient is stopped: z no longer depends on mean and sigma. Did it "
            "go through NumPy, or stop_gradient?"
        )
    return wrong(came=came, wanted=wanted, hint=hint)


def square(z):
    """A function for the exercise."""
    return z**2


def sine(z):
    """A function for the exercise."""
    return jnp.sin(z)


def _uniforms():
    u = jax.device_put(np.random.default_rng(62).uniform(size=7))
    edge = jnp.array([1e-9, 0.5, 1 - 1e-9])
    return [(square, u, 0.7, 1.3), (sine, u, -2.0, 0.4), (square, edge, 3.0, 2.0)]


@partial(jax.jit, static_argnums=0)
def _logistic_slopes(f, u, location, scale):
    def average(theta):
        return jax.vmap(f)(theta[0] + theta[1] * logit(u)).mean()

    return jax.grad(average)(jnp.array([location, scale]))


def _from(noise, scores=None, sign=1):
    """The slopes with other noise, or with other factors beside f'(z)."""

    def form(f, u, location, scale):
        eps = noise(u)
        slopes = jax.vmap(jax.grad(f))(location + scale * eps)
        factors = eps if scores is None else scores(eps)
        return jnp.stack([slopes.mean(), (slopes * factors).mean()])

    return form


LOGISTIC_SLOPES = Formula(
    _logistic_slopes,
    _uniforms,
    (
        (
            _from(norm.ppf),
            "The noise is Gaussian. The logistic's quantile is log(u / (1 - u)).",
        ),
        (
            _from(logit, jnp.ones_like),
            "In the scale: dz / dscale = eps, so each slope is multiplied by its eps.",
        ),
        (
            lambda f, u, location, scale: (
                _logistic_slopes(f, u, location, scale) * len(u)
            ),
            "A sum over the samples. Wanted is their mean.",
        ),
        (
            _from(lambda u: -logit(u)),
            "u / (1 - u) stands upside down.",
        ),
        (
            _from(lambda u: u),
            "The noise is uniform. Put u through the logistic's quantile function.",
        ),
        (
            lambda f, u, location, scale: jnp.zeros(2),
            "All slopes are 0: the gradient is stopped. z must be made from location "
            "and scale inside the function that you differentiate.",
        ),
        (
            lambda f, u, location, scale: _logistic_slopes(f, u, location, scale**2),
            "The scale is used as it is, not squared.",
        ),
    ),
)


def _judge_baseline(answer):
    """Whether b_i does not know f_i, and the estimates scatter half as much."""
    z = 5.0 + np.random.default_rng(63).normal(size=(2000, 8))
    f, score = z**2, z - 5.0  # q = N(mean, 1) at mean = 5
    moved = f[0] + np.arange(8)[:, None] * 0  # one row a sample that is changed
    np.fill_diagonal(moved, f[0] + 1)
    before = _baselines(answer, f[:1])[0]
    after = np.diagonal(_baselines(answer, moved))
    if not np.allclose(before, after, atol=1e-9):
        hint = "Leave the sample's own value out: take the mean of the others."
        if np.allclose(after - before, 1):
            hint = "f minus itself is 0: no variance, and no gradient. " + hint
        return wrong(
            came="a baseline that changes with its own sample's f: a bias",
            wanted="one that does not depend on its own sample",
            hint=hint,
        )
    estimates = (f - _baselines(answer, f)) * score
    ratio = estimates.mean(axis=1).var() / (f * score).mean(axis=1).var()
    came, wanted = f"{ratio:.2f} of the variance", "at most 0.50"
    if ratio <= 0.5:
        return right(reached=f"{came}, wanted {wanted}")
    hint = "The baseline should be near the average of f."
    if np.allclose(before, 0):
        hint = "A baseline of 0 changes nothing."
    elif ratio > 1:
        hint = "The variance rose. " + hint + " Sign, or a sum for a mean?"
    return wrong(came=came, wanted=wanted, hint=hint)


def _baselines(answer, rows):
    baselines = []
    for row in rows:
        b = numbers(called(answer, jax.device_put(row)))
        if b.shape not in [(), row.shape]:
            raise ValueError(f"result: got shape {b.shape}, wanted {row.shape}")
        baselines.append(np.broadcast_to(b, row.shape))
    return np.array(baselines)


EXERCISES = {
    "draw_z": Experiment(_judge_draw),
    "logistic_slopes": LOGISTIC_SLOPES,
    "baseline": Experiment(_judge_baseline),
}
