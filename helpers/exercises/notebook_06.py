"""The exercises of notebook 06, and the slips that students often make in them."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import ndtri

from helpers.exercises.answers import beyond, called, numbers
from helpers.exercises.finding import UnfitError, right, wrong
from helpers.exercises.formula import Formula, Slip
from helpers.exercises.judge import Experiment

# An answer is asked for DRAWS samples with each of KEYS keys. That is few enough for a
# plain loop, and enough to distinguish normal noise from logistic noise of the same
# variance.
DRAWS = 200
KEYS = 5
FEW = 20  # how many samples the slopes are judged with
MEAN = np.array([1.0, -2.0, 0.5])
SIGMA = np.array([0.5, 3.0, 1.5])

# How many standard errors a mean, a spread, a correlation or a shape may be off. A
# right answer exceeds this, for some key, about once in 10^5 times.
DEVIATIONS = 5.0


def _judge_draw(answer):
    """Judge whether z = mean + sigma eps: first by its noise, then by its slopes."""
    keys = jax.random.split(jax.random.key(61), KEYS)
    mean, sigma = jnp.asarray(MEAN), jnp.asarray(SIGMA)
    drawn = [_drawn(called(answer, key, mean, sigma, DRAWS)) for key in keys]
    eps = np.concatenate([(z - MEAN) / SIGMA for z in drawn])
    hint = _noise_hint(drawn, eps)
    if not hint:
        return _judge_slopes(answer, keys[0], mean, sigma)
    reached = f"eps = (z - mu) / sigma with mean {_pair(eps.mean(axis=0))} and "
    reached += f"spread {_pair(eps.std(axis=0))}"
    expected = "z = mu + sigma eps, with every eps drawn independently from N(0, 1)"
    return wrong(reached=reached, expected=expected, hint=hint)


def _drawn(output):
    z = numbers(output)
    expected = (DRAWS, len(MEAN))
    if z.shape == expected[::-1]:
        hint = "Rows and columns are swapped: return one sample per row."
        raise UnfitError(f"shape {z.shape}", f"shape {expected}", hint)
    if z.shape != expected:
        hint = "Draw eps with the shape (num_samples, len(mu))."
        raise UnfitError(f"shape {z.shape}", f"shape {expected}", hint)
    return z


def _pair(values):
    return "(" + ", ".join(f"{value:.2f}" for value in values) + ")"


def _noise_hint(drawn, eps):
    """Return what is wrong with the noise, or an empty string."""
    if np.ptp(eps[:DRAWS], axis=0).max() < 1e-6:
        return (
            "All samples are equal: eps has the shape of one sample. Draw it with the "
            "shape (num_samples, len(mu))."
        )
    if np.allclose(drawn[0], drawn[1]):
        return (
            "Two different keys gave the same z: the key is not used, or the function "
            "makes a key of its own."
        )
    if not np.isfinite(eps).all():
        return "Some of your z are not finite."
    values = len(np.unique(eps[:, 0]))
    if values < 20:
        return f"The noise takes only {values} values. Use jax.random.normal."
    if values < 0.6 * len(eps):
        return "Some samples have the same noise. Is a key used twice?"
    deviation = DEVIATIONS / np.sqrt(len(eps))
    spread = eps.std(axis=0)
    for others, hint in _spreads():
        if np.abs(spread / others - 1).max() < deviation:
            return hint
    if np.abs(spread - 1).max() > deviation:
        return "The spread is wrong. Is the noise N(0, 1), and multiplied by sigma?"
    if np.abs(eps.mean(axis=0)).max() > deviation:
        return "The mean is wrong. Is the noise centred, as N(0, 1) is?"
    if _same_noise(eps):
        return _REUSED
    return _shape_hint(eps)


_REUSED = (
    "All dimensions have the same noise: a key was used twice, or eps has one column. "
    "Draw all the noise in one call with its full shape, or split the key."
)


def _spreads():
    """The spread that eps would have after each slip in sigma, and the hint."""
    return [
        (SIGMA, "You multiplied by sigma squared. Expected sigma."),
        (
            1 / np.sqrt(SIGMA),
            "You multiplied by the root of sigma. Sigma is not a variance: use it as "
            "it is.",
        ),
        (1 / SIGMA, "The noise is not multiplied by sigma."),
    ]


def _same_noise(eps):
    correlations = np.corrcoef(eps.T)[np.triu_indices(len(MEAN), 1)]
    return np.abs(correlations).max() > DEVIATIONS / np.sqrt(len(eps))


def _shape_hint(eps):
    """Return what is wrong with the shape of the distribution, or an empty string.

    At this point the mean and the spread are right. Three numbers are compared with
    those of normal noise, each in standard errors: the largest difference between the
    distribution functions, the mean of |eps|, and the fourth moment of eps. The last
    two are sensitive to the tails.
    """
    from scipy.stats import kstest  # here, because it takes half a second to import

    noise = ((eps - eps.mean(axis=0)) / eps.std(axis=0)).ravel()
    root = np.sqrt(len(noise))
    distance = root * kstest(noise, "norm").statistic
    size = root * (np.abs(noise).mean() - np.sqrt(2 / np.pi)) / np.sqrt(1 - 3 / np.pi)
    fourth = root * ((noise**4).mean() - 3) / np.sqrt(24)
    if distance < 2.5 and abs(size) < DEVIATIONS and abs(fourth) < DEVIATIONS + 1:
        return ""
    tails = "heavier" if fourth > 0 else "lighter"
    return (
        "The mean and the spread are right, but the noise is not normal: its tails are "
        f"{tails}. Use jax.random.normal."
    )


def _judge_slopes(answer, key, mean, sigma):
    def means(mean, sigma):
        return jnp.asarray(called(answer, key, mean, sigma, FEW)).mean(axis=0)

    ones = jnp.ones_like(mean)
    zeros = jnp.zeros_like(mean)
    average, in_mean = jax.jvp(means, (mean, sigma), (ones, zeros))
    _, in_sigma = jax.jvp(means, (mean, sigma), (zeros, ones))
    in_mean, in_sigma = numbers(in_mean), numbers(in_sigma)
    eps = (numbers(average) - MEAN) / SIGMA
    reached = f"slopes of the average z {_pair(in_mean)} in mu, "
    reached += f"{_pair(in_sigma)} in sigma"
    expected = f"{_pair(np.ones(len(MEAN)))} and the average eps, {_pair(eps)}"
    if np.allclose(in_mean, 1, atol=1e-2) and np.allclose(in_sigma, eps, atol=1e-2):
        return right(reached="the right distribution, and the right slopes")
    hint = "z must change with mu and with sigma while eps stays fixed."
    if np.allclose(in_mean, 0) and np.allclose(in_sigma, 0):
        hint = (
            "The gradient is stopped: JAX cannot see that z depends on mu and sigma. "
            "Did you use NumPy, or stop_gradient?"
        )
    return wrong(reached=reached, expected=expected, hint=hint)


def square(z):
    """One of the functions f of the exercise."""
    return z**2


def sine(z):
    """Another function f of the exercise."""
    return jnp.sin(z)


SLOPES = {square: lambda z: 2 * z, sine: np.cos}


def _uniforms():
    u = jax.device_put(np.random.default_rng(62).uniform(size=7))
    edge = jnp.array([1e-9, 0.5, 1 - 1e-3])
    return [(square, u, 0.7, 1.3), (sine, u, -2.0, 0.4), (square, edge, 3.0, 2.0)]


def _logit(u):
    return np.log(u / (1 - u))


def _logistic_slopes(f, u, location, scale):
    return _with_noise(_logit)(f, u, location, scale)


def _with_noise(noise, factors_of=None):
    """The slopes with other noise, or with other factors in the slope of the scale."""

    def form(f, u, location, scale):
        eps = noise(u)
        slopes = SLOPES[f](location + scale * eps)
        factors = eps if factors_of is None else factors_of(eps, scale)
        return slopes.mean(), (slopes * factors).mean()

    return form


LOGISTIC_SLOPES = Formula(
    _logistic_slopes,
    _uniforms,
    (
        Slip(
            _with_noise(ndtri),
            "Your noise is Gaussian. The quantile function of the logistic "
            "distribution is log(u / (1 - u)).",
        ),
        Slip(
            _with_noise(lambda u: -_logit(u)),
            "You inverted the fraction: expected log(u / (1 - u)).",
        ),
        Slip(
            _with_noise(lambda u: u),
            "Your noise is uniform. Apply the quantile function of the logistic "
            "distribution to u.",
        ),
        Slip(
            _with_noise(lambda u: u / (1 - u)),
            "A logarithm is missing: the quantile function of the logistic "
            "distribution is log(u / (1 - u)).",
        ),
        Slip(
            _with_noise(lambda u: 1 / (1 + np.exp(-u))),
            "This is the distribution function F. Expected its inverse, log(u / (1 - "
            "u)).",
        ),
        Slip(
            _with_noise(_logit, lambda eps, scale: np.ones_like(eps)),
            "For the scale: dz / dscale = eps, so multiply each slope by its eps.",
        ),
        Slip(
            _with_noise(_logit, lambda eps, scale: scale * eps),
            "For the scale: dz / dscale = eps, not scale times eps.",
        ),
        Slip(
            _with_noise(_logit, lambda eps, scale: eps / scale),
            "For the scale: dz / dscale = eps, not divided by the scale.",
        ),
        Slip(
            _with_noise(_logit, lambda eps, scale: eps.mean()),
            "For the scale: take the mean of the products, not the product of the "
            "means.",
        ),
        Slip(
            lambda *args: _logistic_slopes(*args)[::-1],
            "The two slopes are swapped. Expected the slope in the location first.",
        ),
        Slip(
            lambda f, u, location, scale: np.multiply(
                _logistic_slopes(f, u, location, scale), len(u)
            ),
            "You took a sum over the samples. Expected the mean.",
        ),
        Slip(
            lambda f, u, location, scale: (
                SLOPES[f](location + scale * _logit(u)),
                SLOPES[f](location + scale * _logit(u)) * _logit(u),
            ),
            "You returned one slope per sample. Expected the mean.",
        ),
        Slip(
            lambda f, u, location, scale: np.zeros(2),
            "All slopes are 0: the gradient is stopped. Compute z from location and "
            "scale inside the function that you differentiate.",
        ),
        Slip(
            lambda f, u, location, scale: _logistic_slopes(f, u, location, scale**2),
            "You squared the scale. Use it as it is.",
        ),
        Slip(
            lambda *args: np.negative(_logistic_slopes(*args)),
            "The sign is flipped.",
        ),
    ),
    parts=("slope in the location", "slope in the scale"),
)

SAMPLES = 8
ROWS = 40  # few enough for a plain loop over pairs of samples
HALF = 0.5  # the fraction of the variance that an answer may leave


def _judge_baseline(answer):
    """Judge whether b_i is independent of f_i, and whether the variance is halved."""
    eps = _normal_rows()
    f = (5 + eps) ** 2
    own = _own_influence(answer, f[0])
    if np.abs(own).max() > 1e-6:
        hint = "Leave the sample's own value out: take the mean of the others."
        if np.allclose(own, 1, atol=1e-3):
            hint = "f minus itself is 0: no variance, but no gradient either. " + hint
        return wrong(
            reached="a baseline that depends on its own sample's f, which causes bias",
            expected="a baseline that does not depend on its own sample",
            hint=hint,
        )
    baselines = np.array([_baseline(answer, row) for row in f])
    ratio = _variance(eps, baselines) / _variance(eps, np.zeros_like(eps))
    reached = f"about {beyond(ratio, HALF)} of the variance without a baseline"
    expected = f"at most {HALF:.2f}"
    if ratio <= HALF:
        return right(reached=reached, expected=expected)
    return wrong(
        reached=reached, expected=expected, hint=_baseline_hint(ratio, baselines)
    )


def _normal_rows():
    """Numbers `ROWS SAMPLES` at evenly spaced quantiles of N(0, 1), in random order."""
    count = ROWS * SAMPLES
    eps = ndtri((np.arange(count) + 0.5) / count)
    eps = np.random.default_rng(63).permutation(eps / eps.std())
    return eps.reshape(ROWS, SAMPLES)


def _own_influence(answer, f):
    """How much each baseline changes if its own f changes by 1 or 1000, per unit."""
    before = _baseline(answer, f)
    influence = []
    for i in range(SAMPLES):
        for step in (1.0, 1000.0):
            moved = f.copy()
            moved[i] += step
            influence.append((_baseline(answer, moved)[i] - before[i]) / step)
    return np.array(influence)


def _baseline(answer, f):
    b = numbers(called(answer, jax.device_put(f)))
    if b.shape not in [(), f.shape]:
        raise UnfitError(f"shape {b.shape}", f"shape {f.shape}, one per sample")
    return np.broadcast_to(b, f.shape)


def _variance(eps, baselines):
    """The variance of the mean of (f - b) eps over the samples of a row.

    Given the other samples, b is fixed. So the expectation over a sample's own eps has
    a closed form, with f = (5 + eps)^2 and c = 25 - b:

    E[((f - b) eps)^2] = E[(c eps + 10 eps^2 + eps^3)^2] = c^2 + 6 c + 315

    and E[(f - b) eps] = 10. Two samples i and j are correlated only because each enters
    the other's baseline: E[b_i eps_j b_j eps_i]. This term is averaged over the rows.
    """
    c = 25 - baselines
    own = (c**2 + 6 * c + 315 - 100).mean()
    b = baselines - baselines.mean()  # a constant does not change this expectation
    crossed = np.einsum("ri,rj,rj,ri->r", b, eps, b, eps)
    shared = (crossed - ((b * eps) ** 2).sum(axis=1)).mean()
    return (own + shared / SAMPLES) / SAMPLES


def _baseline_hint(ratio, baselines):
    if np.allclose(baselines, 0):
        return "A baseline of 0 changes nothing."
    average = baselines.mean()
    if average < 0:
        return "The sign is flipped: the baseline is near minus the average of f."
    if average > 100:
        return (
            f"Your baselines are {average / 26:.2g} times the average of f. Did you "
            "take a sum in place of a mean?"
        )
    hint = "The baseline should be near the average of f."
    if ratio > 1:
        return "The variance has increased. " + hint
    if 4 < average < 6:
        return hint + " Yours is near the average of z."
    if baselines.std() > 20:
        return hint + " Yours scatter widely around it."
    return hint


EXERCISES = {
    "draw_z": Experiment(_judge_draw),
    "logistic_slopes": LOGISTIC_SLOPES,
    "baseline": Experiment(_judge_baseline),
}
