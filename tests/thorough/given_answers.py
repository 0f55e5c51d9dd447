"""Answers that people give to the exercises, for the tests of the judges.

The right ones come in several forms, the wrong ones with words of the hint they get.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.nn import log_softmax, softmax
from jax.scipy.special import logsumexp
from jax.scipy.stats import norm

from helpers import em, exercises, mixture
from helpers.exercises import notebook_03
from helpers.exercises.curve import posterior_moments

EXERCISES = {}
for table in exercises.EXERCISES.values():
    EXERCISES.update(table)


# Right answers as students write them: with whole arrays, and as plain loops.


def log_sum_exp(a):
    m = a.max(axis=1)
    return m + np.log(np.exp(a - m[:, None]).sum(axis=1))


def log_sum_exp_by_loops(a):
    results = []
    for row in a:
        largest = max(row)
        total = 0.0
        for entry in row:
            total += math.exp(entry - largest)
        results.append(largest + math.log(total))
    return results


def score(x, mu, sigma):
    in_sigma = ((x - mu) ** 2 / sigma**3 - 1 / sigma).sum()
    return jnp.array([((x - mu) / sigma**2).sum(), in_sigma])


def score_by_loops(x, mu, sigma):
    in_mu = 0.0
    in_sigma = 0.0
    for point in x:
        in_mu += (point - mu) / sigma**2
        in_sigma += (point - mu) ** 2 / sigma**3 - 1 / sigma
    return in_mu, in_sigma


def variance_estimate(x):
    return ((x - x.mean(axis=1, keepdims=True)) ** 2).sum(axis=1) / 6


def variance_estimate_by_loops(x):
    estimates = []
    for row in x:
        mean = 0.0
        for point in row:
            mean += point / len(row)
        total = 0.0
        for point in row:
            total += (point - mean) ** 2
        estimates.append(total / (len(row) + 1))
    return estimates


def shared_variance(x):
    return ((x - x.mean(axis=0)) ** 2).sum() / x.size


def shared_variance_by_loops(x):
    n, d = x.shape
    total = 0.0
    for j in range(d):
        mean = sum(x[i, j] for i in range(n)) / n
        for i in range(n):
            total += (x[i, j] - mean) ** 2
    return total / (n * d)


def pull(params, x, shares):
    away = x[:, None] - params.means
    total = (shares[:, :, None] * away).sum(axis=0)
    return total / params.covariances[:, None]


def slope_in_means(params, x):
    return pull(params, x, softmax(mixture.log_joint(params, x)))


def slope_in_means_by_loops(params, x):
    weights, means, variances = (np.asarray(field) for field in params)
    slopes = [[0.0, 0.0] for _ in weights]
    for point in np.asarray(x):
        logs = []
        for k in range(len(weights)):
            squares = (point[0] - means[k][0]) ** 2 + (point[1] - means[k][1]) ** 2
            log_density = -math.log(2 * math.pi * variances[k])
            log_density -= squares / (2 * variances[k])
            logs.append(math.log(weights[k]) + log_density)
        largest = max(logs)
        total = sum(math.exp(log - largest) for log in logs)
        for k in range(len(weights)):
            r = math.exp(logs[k] - largest) / total
            for j in range(2):
                slopes[k][j] += r * (point[j] - means[k][j]) / variances[k]
    return slopes


def kl(m, v, mp, vp):
    return 0.5 * jnp.sum(v / vp - 1 - jnp.log(v / vp) + (m - mp) ** 2 / vp)


def kl_by_loops(q_mean, q_variance, p_mean, p_variance):
    total = 0.0
    for i in range(len(q_mean)):
        ratio = float(q_variance[i] / p_variance[i])
        total += 0.5 * (ratio - 1 - math.log(ratio))
        total += 0.5 * (q_mean[i] - p_mean[i]) ** 2 / p_variance[i]
    return float(total)


def slope_in_logits(log_joint, a):
    ratio = log_joint - log_softmax(a)
    return softmax(a) * (ratio - (softmax(a) * ratio).sum(axis=1, keepdims=True))


def slope_in_logits_by_loops(log_joint, logits):
    slopes = []
    for p, a in zip(np.asarray(log_joint), np.asarray(logits), strict=True):
        largest = max(a)
        log_total = math.log(sum(math.exp(each - largest) for each in a)) + largest
        log_q = [each - log_total for each in a]
        q = [math.exp(each) for each in log_q]
        bound = sum(q[k] * (p[k] - log_q[k]) for k in range(len(a)))
        slopes.append([q[k] * (p[k] - log_q[k] - bound) for k in range(len(a))])
    return slopes


def round_m_step(q, x, *, divide_by=None, means=None):
    mass, d = q.sum(axis=0), x.shape[1]
    means = q.T @ x / mass[:, None] if means is None else means
    squares = ((x[:, None] - means) ** 2).sum(axis=2)
    divisor = d * mass if divide_by is None else divide_by
    return mass / len(x), means, (q * squares).sum(axis=0) / divisor


def round_m_step_by_loops(q, x):
    n, d = x.shape
    weights, means, variances = [], [], []
    for k in range(q.shape[1]):
        mass = sum(q[i, k] for i in range(n))
        mean = [sum(q[i, k] * x[i, j] for i in range(n)) / mass for j in range(d)]
        total = 0.0
        for i in range(n):
            for j in range(d):
                total += q[i, k] * (x[i, j] - mean[j]) ** 2
        weights.append(mass / n)
        means.append(mean)
        variances.append(total / (d * mass))
    return weights, means, variances


def step_matrices(theta, q):
    return theta.covariances / q.sum(axis=0)[:, None, None]


def step_matrices_by_loops(theta, q):
    matrices = []
    for k in range(q.shape[1]):
        mass = 0.0
        for i in range(q.shape[0]):
            mass += q[i, k]
        rows = [[entry / mass for entry in row] for row in theta.covariances[k]]
        matrices.append(rows)
    return matrices


def elbo(x, decoded, mean, sigma, sigma_x, *, over=jnp.sum, sign=-1, constant=1.0):
    squares = (x - decoded) ** 2 / (2 * sigma_x**2)
    log_scale = constant * 0.5 * jnp.log(2 * jnp.pi * sigma_x**2)
    kl = 0.5 * (sigma**2 - 1 - jnp.log(sigma**2) + mean**2).sum(axis=1)
    return -over(squares + log_scale, axis=1) + sign * kl


def elbo_by_loops(x, decoded, mean, sigma, sigma_x):
    found = []
    for i in range(len(x)):
        bound = 0.0
        for j in range(x.shape[1]):
            bound -= 0.5 * ((x[i, j] - decoded[i, j]) / sigma_x) ** 2
            bound -= 0.5 * math.log(2 * math.pi) + math.log(sigma_x)
        for j in range(mean.shape[1]):
            bound += 0.5 + math.log(sigma[i, j])
            bound -= 0.5 * (sigma[i, j] ** 2 + mean[i, j] ** 2)
        found.append(bound)
    return jnp.array(found)


def best_q(x, w, sigma_x, beta):
    precision = 1 + w @ w / (beta * sigma_x**2)
    return x @ w / (beta * sigma_x**2) / precision, 1 / precision


def best_q_by_loops(x, w, sigma_x, beta):
    squares = sum(float(each) ** 2 for each in w)
    variance = 1 / (1 + squares / (beta * sigma_x**2))
    means = []
    for point in x:
        product = sum(float(point[j] * w[j]) for j in range(len(w)))
        means.append(variance * product / (beta * sigma_x**2))
    return [means, variance]


def draw(key, mean, sigma, num_samples):
    return mean + sigma * jax.random.normal(key, (num_samples, len(mean)))


def draw_by_loops(key, mean, sigma, num_samples):
    rows = []
    for _ in range(num_samples):
        row = []
        for j in range(len(mean)):
            key, used = jax.random.split(key)
            row.append(mean[j] + sigma[j] * jax.random.normal(used))
        rows.append(jnp.stack(row))
    return jnp.stack(rows)


def logistic_slopes(f, u, location, scale):
    def average(location, scale):
        return jax.vmap(f)(location + scale * jnp.log(u / (1 - u))).mean()

    return jnp.array(jax.grad(average, argnums=(0, 1))(location, scale))


def logistic_slopes_by_loops(f, u, location, scale):
    in_location, in_scale = 0.0, 0.0
    for each in u:
        noise = math.log(each / (1 - each))
        slope = jax.grad(f)(location + scale * noise)
        in_location += slope / len(u)
        in_scale += slope * noise / len(u)
    return [in_location, in_scale]


def baseline(f):
    return (f.sum() - f) / (len(f) - 1)


def baseline_by_loops(f):
    baselines = []
    for i in range(len(f)):
        total = 0.0
        for j in range(len(f)):
            if j != i:
                total += f[j]
        baselines.append(total / (len(f) - 1))
    return jnp.array(baselines)


def marginal(x, decode, z=np.linspace(-8, 8, 1601)):  # noqa: B008
    squares = ((x[:, None, :] - decode(z)) ** 2).sum(axis=2)
    log_joint = -0.5 * (squares + z**2) - 1.5 * np.log(2 * np.pi)
    return logsumexp(log_joint, axis=1) + np.log(z[1] - z[0])


def marginal_by_loops(x, decode):
    spacing = 0.1
    logs = []
    for point in np.asarray(x):
        total = 0.0
        for step in range(-60, 61):
            z = spacing * step
            at_z = decode(z)
            squares = (point[0] - at_z[0]) ** 2 + (point[1] - at_z[1]) ** 2
            density = math.exp(-0.5 * (squares + z**2)) / (2 * math.pi) ** 1.5
            total += density * spacing
        logs.append(math.log(total))
    return logs


# The exact posterior's mean and sigma, as the notebooks' solutions have them.
FOR_SIXTEEN = posterior_moments(notebook_03.UPPER_POINT)[1:]

# The same answer twice: an array, and plain Python or another form of it.
RIGHT = {
    "log_sum_exp": (log_sum_exp, log_sum_exp_by_loops),
    "score": (score, score_by_loops),
    "variance_estimate": (variance_estimate, variance_estimate_by_loops),
    "shared_variance": (shared_variance, shared_variance_by_loops),
    "slope_in_means": (slope_in_means, slope_in_means_by_loops),
    "marginal": (marginal, marginal_by_loops),
    "kl_gaussians": (kl, kl_by_loops),
    "slope_in_logits": (slope_in_logits, slope_in_logits_by_loops),
    "q_for_sixteen": (FOR_SIXTEEN, [jnp.array([0.75]), np.float32(1.0)]),
    "round_m_step": (round_m_step, round_m_step_by_loops),
    "step_matrices": (step_matrices, step_matrices_by_loops),
    "stride": (1.9, jnp.array([1.945])),
    "one_sample_elbo": (elbo, elbo_by_loops),
    "best_q": (best_q, best_q_by_loops),
    "beta_for_rate": (2.9, np.array(2.9)),
    "draw_z": (draw, draw_by_loops),
    "logistic_slopes": (logistic_slopes, logistic_slopes_by_loops),
    "baseline": (baseline, baseline_by_loops),
}


# Other right answers, on which a judge could stumble.


def variance_by_list(x):
    return [np.sum((row - np.mean(row)) ** 2) / 5.5 for row in x]


def score_by_autodiff(x, mu, sigma):
    def log_likelihood(theta):
        return norm.logpdf(x, theta[0], theta[1]).sum()

    return jax.grad(log_likelihood)(jnp.array([mu, sigma]))


def score_by_differences(x, mu, sigma, h=1e-5):
    def log_likelihood(mu, sigma):
        return float(norm.logpdf(x, mu, sigma).sum())

    in_mu = log_likelihood(mu + h, sigma) - log_likelihood(mu - h, sigma)
    in_sigma = log_likelihood(mu, sigma + h) - log_likelihood(mu, sigma - h)
    return [in_mu / (2 * h), in_sigma / (2 * h)]


def slope_by_autodiff(params, x):
    return jax.grad(mixture.log_likelihood)(params, x).means


def kl_by_quadrature(m, v, mp, vp):
    eps = jnp.linspace(-12, 12, 4001)[:, None]
    z = m + jnp.sqrt(v) * eps
    log_q = norm.logpdf(z, m, jnp.sqrt(v))
    log_p = norm.logpdf(z, mp, jnp.sqrt(vp))
    return (norm.pdf(eps) * (log_q - log_p)).sum() * (eps[1, 0] - eps[0, 0])


def draw_by_rows(key, mean, sigma, num_samples):
    keys = jax.random.split(key, num_samples)
    return [mean + sigma * jax.random.normal(each, mean.shape) for each in keys]


def draw_by_quantiles(key, mean, sigma, num_samples):
    u = jax.random.uniform(key, (num_samples, len(mean)))
    return mean + sigma * norm.ppf(u)


def draw_by_cholesky(key, mean, sigma, num_samples):
    return jax.random.multivariate_normal(key, mean, jnp.diag(sigma**2), (num_samples,))


def marginal_under_jit(x, decode):
    return jax.jit(lambda x: marginal(x, decode))(x)


def marginal_under_vmap(x, decode):
    z = jnp.linspace(-6, 6, 601)
    return marginal(x, lambda _: jax.vmap(decode)(z), z=np.asarray(z))


MORE_RIGHT = [
    ("variance_estimate", variance_by_list),
    ("variance_estimate", lambda x: x.var(axis=1) * 5 / 6.9),
    ("variance_estimate", lambda x: [0.75 * np.var(row) * 5 / 4 for row in x]),
    ("score", score_by_autodiff),
    ("score", score_by_differences),
    ("score", lambda *args: tuple(map(float, score(*args)))),
    ("log_sum_exp", lambda a: logsumexp(a, axis=1)),
    ("log_sum_exp", lambda a: np.logaddexp.reduce(a, axis=1)),
    ("shared_variance", lambda x: float(x.var(axis=0).mean())),
    ("slope_in_means", slope_by_autodiff),
    ("slope_in_means", lambda *args: slope_in_means(*args).tolist()),
    ("kl_gaussians", kl_by_quadrature),
    ("best_q", lambda *args: list(best_q(*args))),
    ("draw_z", draw_by_rows),
    ("draw_z", draw_by_quantiles),
    ("draw_z", draw_by_cholesky),
    ("baseline", lambda f: jnp.roll(f, 1)),
    ("baseline", lambda f: [np.median(np.delete(f, i)) for i in range(8)]),
    ("baseline", lambda f: 26.0),
    ("marginal", marginal_under_jit),
    ("marginal", marginal_under_vmap),
    ("marginal", lambda x, d: marginal(x, d, z=np.linspace(-4.5, 4.5, 101))),
    ("marginal", lambda x, d: marginal(x, d, z=np.linspace(-4.0, 4.0, 50))),
    ("stride", 1.66),
    ("stride", 1.95),
]


# Wrong answers that people give, each with words of the hint that fits it.


def of_one(form):
    """Return a function that turns a right answer into a wrong one."""
    return lambda right: lambda *args: form(right(*args))


stopped, flipped = of_one(jax.lax.stop_gradient), of_one(jnp.negative)
summed, averaged = of_one(jnp.sum), of_one(jnp.mean)


def safe_but_not_added_again(a):
    m = a.max(axis=1)
    return np.log(np.exp(a - m[:, None]).sum(axis=1))


def subtracted(of_row):
    """Return log_sum_exp that subtracts a number other than the largest."""

    def answer(a):
        m = of_row(a)
        return m + np.log(np.exp(a - np.reshape(m, (-1, 1))).sum(axis=1))

    return answer


def score_half(in_mu=None, in_sigma=None):
    """Return the score with one of its halves in another form."""

    def answer(x, mu, sigma):
        first, second = score(x, mu, sigma)
        if in_mu:
            first = in_mu(x - mu, sigma)
        if in_sigma:
            second = in_sigma(x - mu, sigma)
        return first, second

    return answer


def slope_naive(params, x):
    joint = jnp.exp(mixture.log_joint(params, x))
    return pull(params, x, joint / joint.sum(axis=1, keepdims=True))


def slope_by_prior(params, x):
    return pull(params, x, jnp.tile(params.weights, (len(x), 1)))


def slope_by_sigma(params, x):
    return slope_in_means(params, x) * jnp.sqrt(params.covariances)[:, None]


def slope_without_variance(params, x):
    return slope_in_means(params, x) * params.covariances[:, None]


def slope_by_a_wrong_field(params, x):
    return slope_in_means(params, x) / params.variances[:, None]


def slope_weighed_twice(params, x):
    r = mixture.responsibilities(params, x) * params.weights
    return pull(params, x, r)


def kl_by(combine):
    return lambda m, v, mp, vp: 0.5 * jnp.sum(combine(v / vp, (m - mp) ** 2 / vp))


def slope_naive_softmax(log_joint, a):
    q = jnp.exp(a) / jnp.exp(a).sum(axis=1, keepdims=True)
    ratio = log_joint - jnp.log(q)
    return q * (ratio - (q * ratio).sum(axis=1, keepdims=True))


def slope_less_evidence(log_joint, a):
    posterior = log_softmax(log_joint)
    return softmax(a) * (posterior - log_softmax(a))


def slope_over_points(log_joint, a):
    return slope_in_logits(log_joint.T, a.T).T


def slope_averaged_over_points(log_joint, a):
    ratio = log_joint - log_softmax(a)
    return softmax(a) * (ratio - (softmax(a) * ratio).sum(axis=0))


def m_step_around_one_mean(q, x):
    weights, means, _ = round_m_step(q, x)
    return weights, means, round_m_step(q, x, means=x.mean(axis=0)[None])[2]


def m_step_by_n(q, x):
    return round_m_step(q, x, means=q.T @ x / len(x), divide_by=1)


def full_m_step(q, x):
    return em.m_step(q, x, covariance_type="full")


def m_step_with_counts(q, x):
    return em.m_step(q, x)._replace(weights=q.sum(axis=0))


def best_q_with(mean_beta=None, variance_beta=None):
    """Return best_q with beta replaced in one of its results."""

    def answer(x, w, sigma_x, beta):
        mean, _ = best_q(x, w, sigma_x, mean_beta or beta)
        _, variance = best_q(x, w, sigma_x, variance_beta or beta)
        return mean, variance

    return answer


def no_prior(x, w, sigma_x, beta):
    return x @ w / (w @ w), beta * sigma_x**2 / (w @ w)


def elbo_with(first):
    """Return the bound with another first term, of differences and sigma_x."""

    def answer(x, decoded, mean, sigma, sigma_x):
        of_kl = elbo(x, decoded, mean, sigma, sigma_x, over=lambda a, axis: 0.0)
        return first(x - decoded, sigma_x) + of_kl

    return answer


def constant_once(away, s):
    return -(away**2).sum(axis=1) / (2 * s**2) - 0.5 * np.log(2 * np.pi * s**2)


def half_missing(away, s):
    return -(away**2 / s**2 + 0.5 * np.log(2 * np.pi * s**2)).sum(axis=1)


def sigma_unsquared(away, s):
    return -(away**2 / (2 * s) + 0.5 * np.log(2 * np.pi * s**2)).sum(axis=1)


def draw_with_one_noise(key, mean, sigma, num_samples):
    columns = []
    for m, s in zip(mean, sigma, strict=True):
        columns.append(m + s * jax.random.normal(key, num_samples))
    return jnp.stack(columns, axis=1)


def draw_with(noise):
    """Return a sampler whose noise comes from another distribution."""

    def answer(key, mean, sigma, num_samples):
        return mean + sigma * noise(key, (num_samples, len(mean)))

    return answer


def uniform(key, shape):
    return jax.random.uniform(key, shape, minval=-math.sqrt(3), maxval=math.sqrt(3))


def logistic(key, shape):
    return jax.random.logistic(key, shape) * math.sqrt(3) / math.pi


def laplace(key, shape):
    return jax.random.laplace(key, shape) / math.sqrt(2)


def one_for_all(key, shape):
    return jax.random.normal(key, shape[1:]) * jnp.ones(shape)


def repeated(key, shape):
    return jnp.tile(jax.random.normal(key, (shape[0] // 10, shape[1])), (10, 1))


def gaussian_slopes(f, u, location, scale):
    eps = norm.ppf(u)
    slopes = jax.vmap(jax.grad(f))(location + scale * eps)
    return jnp.array([slopes.mean(), (slopes * eps).mean()])


def slopes_without_eps(f, u, location, scale):
    slopes = jax.vmap(jax.grad(f))(location + scale * jnp.log(u / (1 - u)))
    return jnp.array([slopes.mean(), slopes.mean()])


def marginal_with(change):
    """Return log p(x) where p(x, z) on the grid is summed in another way."""

    def answer(x, decode):
        z = jnp.linspace(-5, 5, 501)
        squares = ((x[:, None, :] - decode(z)) ** 2).sum(axis=2)
        return change(squares, z)

    return answer


LOG_2PI = math.log(2 * math.pi)

WRONG = {
    "log_sum_exp": [
        (lambda a: np.log(np.exp(a).sum(axis=1)), "overflows"),
        (lambda a: [math.log(sum(map(math.exp, row))) for row in a], ""),
        (lambda a: np.exp(a).sum(axis=1), "A logarithm is missing"),
        (lambda a: np.log(np.exp(a).mean(axis=1)), "mean over z"),
        (safe_but_not_added_again, "Add it again"),
        (subtracted(lambda a: a.max()), "each row needs its own"),
        (subtracted(lambda a: a[:, 0]), "the first entry"),
        (subtracted(lambda a: a[:, -1]), "the last entry"),
        (subtracted(lambda a: np.median(a, axis=1)), "the median"),
        (subtracted(lambda a: a.mean(axis=1)), "the mean of each row"),
        (subtracted(lambda a: a.min(axis=1)), "the smallest entry"),
        (subtracted(lambda a: np.abs(a).max(axis=1)), "absolute value"),
        (lambda a: log_sum_exp(a.T), "axis=1"),
        (lambda a: np.log(np.exp(a).sum(axis=0)), "axis=1"),
        (lambda a: a.max(axis=1), "The others count"),
        (lambda a: log_sum_exp(a)[:, None], "an axis of length 1 too many"),
    ],
    "score": [
        (lambda *args: score(*args) / len(args[0]), "a mean over the points"),
        (lambda *args: score(*args)[::-1], "swapped"),
        (flipped(score), "downhill"),
        (score_half(in_mu=lambda a, s: -a.sum() / s**2), "downhill"),
        (
            score_half(in_sigma=lambda a, s: len(a) / s - (a**2).sum() / s**3),
            "downhill",
        ),
        (score_half(in_mu=lambda a, s: a.sum() / s), "sigma squared, not by sigma"),
        (score_half(in_mu=lambda a, s: a / s**2), "one slope per point"),
        (score_half(in_sigma=lambda a, s: (a**2).sum() / s**3), "-log sigma has a"),
        (
            score_half(in_sigma=lambda a, s: (a**2).sum() / s**3 - 1 / s),
            "one -1/sigma for each point",
        ),
        (
            score_half(in_sigma=lambda a, s: (a**2).sum() / s**3 + len(a) / s),
            "divided by sigma",
        ),
        (
            score_half(in_sigma=lambda a, s: (a**2).sum() / s**2 - len(a) / s),
            "1/sigma^3",
        ),
        (lambda x, mu, sigma: 0.0, "2 results"),
        (lambda x, mu, sigma: jnp.array(0.0), "1 result;"),
        (lambda x, mu, sigma: (1.0, 2.0, 3.0), "3 results"),
        (lambda x, mu, sigma: {"mu": 0.0, "sigma": 0.0}, "a dictionary"),
    ],
    "variance_estimate": [
        (lambda x: x.var(axis=1), "the MLE"),
        (lambda x: x.var(axis=1, ddof=1), "unbiased"),
        (lambda x: x.std(axis=1), "standard deviation"),
        (lambda x: x.std(axis=1, ddof=1), "standard deviation"),
        (lambda x: ((x - x.mean()) ** 2).sum(axis=1) / 6, "a mean of its own"),
        (lambda x: ((x - x.mean()) ** 2).sum(axis=1) / 7, "a mean of its own"),
        (lambda x: ((x - x.mean(axis=0)) ** 2).sum(axis=1) / 6, "a mean of its own"),
        (lambda x: (x**2).sum(axis=1) / 6, "is not subtracted"),
        (lambda x: np.ones(len(x)), "does not depend on x"),
        (lambda x: np.full(len(x), x.var()), "does not depend on x"),
        (lambda x: x.var(axis=0), "axis=1"),
        (lambda x: x.var(), "axis=1"),
        (lambda x: variance_estimate(x) * 6, "some divisor"),
        (lambda x: variance_estimate(x) * 6 / 7, "by 7. That is too large"),
        (lambda x: variance_estimate(x) * 6 / 5.2, "by 5.2. That is too small"),
        (flipped(variance_estimate), "never below 0"),
        (lambda x: np.ptp(x, axis=1) ** 2, "parabola"),
    ],
    "shared_variance": [
        (lambda x: ((x - x.mean(axis=0)) ** 2).sum() / len(x), "as the slide does"),
        (lambda x: ((x - x.mean(axis=0)) ** 2).sum() / (2 * len(x)), "the plane"),
        (lambda x: ((x - x.mean(axis=0)) ** 2).sum() / (x.size - 1), "D N - 1"),
        (lambda x: jnp.sqrt(((x - x.mean(axis=0)) ** 2).mean()), "This is sigma"),
        (lambda x: x.var(), "its own: mean(axis=0)"),
        (lambda x: x.var(axis=1).mean(), "over its dimensions"),
        (lambda x: x.var(axis=0, ddof=1).mean(), "unbiased"),
        (lambda x: x.var(axis=0, ddof=1).sum(), "divide by N - 1"),
        (lambda x: x.var(axis=0), "a single one for all"),
        (lambda x: np.cov(x.T), "covariance matrix"),
        (lambda x: (x**2).mean(), "not subtracted"),
        (lambda x: ((x - x.mean(axis=1)) ** 2).mean(), "Two shapes do not fit"),
        (lambda x: shared_variance(x)[None], "an axis of length 1 too many"),
        (lambda x: x - x.mean(axis=0), "Expected one number"),
    ],
    "slope_in_means": [
        (slope_without_variance, "1/sigma^2 is missing"),
        (slope_by_a_wrong_field, "the fields weights, means, covariances"),
        (slope_by_prior, "the posterior's"),
        (slope_by_sigma, "not by sigma"),
        (slope_naive, "0/0"),
        (slope_weighed_twice, "weights twice"),
        (lambda p, x: slope_in_means(p, x) / len(x), "a mean over the points"),
        (flipped(slope_in_means), "The sign is flipped"),
        (
            lambda p, x: pull(p, x, jnp.ones((len(x), len(p.weights)))),
            "by the responsibility",
        ),
        (lambda p, x: em.m_step(mixture.responsibilities(p, x), x).means, "M-step"),
        (lambda p, x: slope_in_means(p, x).sum(axis=0), "a sum over the components"),
        (lambda p, x: slope_in_means(p, x).T, "rows and columns are swapped"),
    ],
    "marginal": [
        (marginal_with(lambda s, z: logsumexp(-0.5 * (s + z**2), axis=1)), ""),
        (
            marginal_with(
                lambda s, z: logsumexp(-0.5 * (s + z**2) - 1.5 * LOG_2PI, axis=1)
            ),
            "The spacing dz is missing",
        ),
        (
            marginal_with(
                lambda s, z: (
                    logsumexp(-0.5 * (s + z**2), axis=1) - 1.5 * LOG_2PI - math.log(501)
                )
            ),
            "a mean over the grid",
        ),
        (
            marginal_with(
                lambda s, z: (-0.5 * (s + z**2) - 1.5 * LOG_2PI).sum(axis=1) * 0.02
            ),
            "You summed the logarithms",
        ),
        (
            marginal_with(lambda s, z: (-0.5 * (s + z**2) - 1.5 * LOG_2PI).sum(axis=1)),
            "You summed the logarithms",
        ),
        (
            marginal_with(
                lambda s, z: logsumexp(-0.5 * s - LOG_2PI, axis=1) + math.log(0.02)
            ),
            "The prior p(z) is missing",
        ),
        (
            marginal_with(
                lambda s, z: logsumexp(-0.5 * s - LOG_2PI, axis=1) - math.log(501)
            ),
            "Weight each z by its prior",
        ),
        (of_one(jnp.exp)(marginal), "This is p(x)"),
        (
            marginal_with(
                lambda s, z: (
                    logsumexp(-0.5 * (s + z**2), axis=1)
                    - 2 / 3 * LOG_2PI
                    + math.log(0.02)
                )
            ),
            "the printed one, (2 pi)^(-2/3)",
        ),
        (
            marginal_with(
                lambda s, z: (
                    logsumexp(-0.5 * s * z**2, axis=1)
                    - 2 / 3 * LOG_2PI
                    + math.log(0.02)
                )
            ),
            "integrand as printed",
        ),
        (
            marginal_with(
                lambda s, z: (
                    logsumexp(-0.5 * s * z**2, axis=1) - 1.5 * LOG_2PI + math.log(0.02)
                )
            ),
            "z^2 times the squared distance",
        ),
        (
            marginal_with(
                lambda s, z: (
                    logsumexp(-0.5 * (s + z**2), axis=1) - LOG_2PI + math.log(0.02)
                )
            ),
            "The constant of one dimension is missing",
        ),
        (flipped(marginal), "The sign is flipped"),
        (summed(marginal), "a sum over the points"),
        (lambda x, d: marginal(x, d, z=np.linspace(-1, 1, 201)), "from -1 to 1"),
        (lambda x, d: marginal(x, d, z=np.linspace(-3, 3, 50)), "from -3 to 3"),
        (lambda x, d: marginal(x, d, z=np.linspace(-3.5, 3.5, 71)), "from -3.5 to 3.5"),
        (lambda x, d: marginal(x, d, z=np.arange(-6, 7.0)), "in steps of 1"),
        (lambda x, d: marginal_under_vmap(x, d) + 1.0, "off by the same number"),
        (lambda x, d: marginal(x, d)[:, None], "an axis of length 1 too many"),
        (lambda x, d: 0.9 * marginal(x, d), "0.9 times"),
    ],
    "kl_gaussians": [
        (lambda m, v, mp, vp: kl(mp, vp, m, v), "You swapped q and p"),
        (flipped(kl), "The sign is flipped"),
        (lambda m, v, mp, vp: kl(m, v**2, mp, vp**2), "sigma squared"),
        (lambda *args: 2 * kl(*args), "One half is missing in front."),
        (kl_by(lambda r, s: r - 1 - jnp.log(r) + 2 * s), "squared difference"),
        (kl_by(lambda r, s: r - 1 - 2 * jnp.log(r) + s), "of the logarithm"),
        (kl_by(lambda r, s: r - 1 + s), "logarithm of the ratio"),
        (kl_by(lambda r, s: r - 1 + jnp.log(r) + s), "wrong sign"),
        (kl_by(lambda r, s: r - jnp.log(r) + s), "-1 of each dimension"),
        (lambda *args: kl(*args) / len(args[0]), "a mean over the dimensions"),
    ],
    "slope_in_logits": [
        (lambda p, a: p - log_softmax(a) - 1, "the slope in q"),
        (lambda p, a: softmax(a) * (p - log_softmax(a)), "an average over q"),
        (slope_less_evidence, "under q: the bound"),
        (flipped(slope_in_logits), "of the divergence"),
        (slope_naive_softmax, "overflows"),
        (slope_over_points, "softmax goes over the points"),
        (slope_averaged_over_points, "average goes over the points"),
        (lambda p, a: slope_in_logits(p, a).sum(axis=0), "a sum over the points"),
        (lambda p, a: slope_in_logits(p, a) / len(p), "a mean over the points"),
    ],
    "q_for_sixteen": [
        ((1.25, 0.3), "covers only one peak"),
        ((0.0, 1.5), "mean is too low"),
        ((0.75, 0.6), "too narrow"),
        ((0.5, 3.0), "wider than both"),
        ((-0.9, 1.1), "sign of the mean"),
        ((2.5, 1.5), "mean is too high"),
        ([1, 2, 3], "3 numbers"),
    ],
    "round_m_step": [
        (
            lambda q, x: round_m_step(q, x, divide_by=q.sum(axis=0)),
            "the squares by N_k",
        ),
        (lambda q, x: round_m_step(q, x, divide_by=x.size), "You divide by D N."),
        (lambda q, x: round_m_step(q, x, divide_by=2 * q.sum(axis=0)), "the plane"),
        (m_step_around_one_mean, "own mean"),
        (full_m_step, "one variance"),
        (m_step_by_n, "Divide each by its own N_k"),
        (m_step_with_counts, "sum to N"),
        (lambda q, x: round_m_step(q.T, x), "Two shapes do not fit"),
        (lambda q, x: round_m_step(q, x)[:2], "3 results: weights, means, variances"),
    ],
    "step_matrices": [
        (lambda theta, q: theta.covariances / len(q), "You divide by N."),
        (lambda theta, q: theta.covariances, "1 / N_k is missing"),
        (
            lambda theta, q: step_matrices(
                theta._replace(covariances=jnp.linalg.inv(theta.covariances)), q
            ),
            "must undo it",
        ),
        (
            lambda theta, q: theta.covariances / theta.weights[:, None, None],
            "fractions of N",
        ),
        (
            lambda theta, q: theta.covariances / (8 * theta.weights[:, None, None]),
            "N times the weights before",
        ),
        (flipped(step_matrices), "downhill"),
        (lambda theta, q: 1 / q.sum(axis=0), "Expected a matrix"),
        (lambda theta, q: jnp.linalg.inv(step_matrices(theta, q)), "the inverse"),
    ],
    "stride": [
        (0.5, "more slowly"),
        (1, "EM itself"),
        (1.3, "not far enough"),
        (1.64, "not far enough"),
        (1.96, "A little too far"),
        (1.98, "0.98 times as large"),
        (1.999, "A little too far"),
        (2.2, "Too far"),
        (-1.0, "goes backwards"),
        ((1, 2), "one number"),
        (np.inf, "a finite number"),
    ],
    "one_sample_elbo": [
        (lambda *args: elbo(*args, over=jnp.mean), "a mean over the pixels"),
        (lambda *args: elbo(*args, sign=1), "subtract it"),
        (lambda *args: elbo(*args, sign=0), "The KL is missing"),
        (lambda *args: elbo(*args, constant=0.0), "constant is missing"),
        (elbo_with(constant_once), "the constant only once"),
        (elbo_with(half_missing), "in front of the squares"),
        (elbo_with(sigma_unsquared), "the squares by 2 sigma_x"),
        (lambda *args: elbo(*args, sign=-2), "in front of the KL"),
        (flipped(elbo), "the loss"),
        (averaged(elbo), "one bound per point"),
        (summed(elbo), "one bound per point"),
    ],
    "best_q": [
        (lambda x, w, s, beta: best_q(x, w, s, 1.0), "Where does beta"),
        (best_q_with(mean_beta=1.0), "Where does beta"),
        (best_q_with(variance_beta=1.0), "Where does beta"),
        (lambda x, w, s, beta: best_q(x, w, s, 1 / beta), "1 / beta in place of beta"),
        (no_prior, "The prior is missing"),
        (lambda x, w, s, beta: best_q(x, w, s**0.5, beta), "sigma_x squared"),
        (lambda *args: (best_q(*args)[0], jnp.sqrt(best_q(*args)[1])), "a sigma"),
        (lambda *args: (best_q(*args)[0], 1 / best_q(*args)[1]), "a precision"),
        (lambda *args: 1.0, "2 results: mean, variance"),
        (lambda *args: (1, 2, 3), "3 results"),
    ],
    "beta_for_rate": [
        (1.0, "own bound"),
        (2.0, "larger beta"),
        (9.0, "smaller beta"),
        (5.557, "one bit"),
        (0.347, "1 / beta in place of beta"),
        (0.0, "above 0"),
        ("large", "a text"),
    ],
    "draw_z": [
        (draw_with_one_noise, "All dimensions have the same noise"),
        (draw_with(lambda key, n: jax.random.normal(key, (n[0], 1))), "one column"),
        (draw_with(one_for_all), "All samples are equal"),
        (draw_with(repeated), "Some samples have the same noise"),
        (lambda key, m, s, n: draw(key, m, s**2, n), "sigma squared"),
        (lambda key, m, s, n: draw(key, m, s**0.5, n), "the root of sigma"),
        (lambda key, m, s, n: draw(key, m, 1.0, n), "not multiplied by sigma"),
        (lambda key, m, s, n: draw(key, m, s, n) + s, "The mean is wrong"),
        (
            lambda key, m, s, n: draw(key, m, jax.lax.stop_gradient(s), n),
            "while eps stays fixed",
        ),
        (stopped(draw), "The gradient is stopped"),
        (lambda key, m, s, n: draw(jax.random.key(0), m, s, n), "the key is not used"),
        (draw_with(jax.random.uniform), "Is the noise N(0, 1)"),
        (draw_with(uniform), "its tails are lighter"),
        (draw_with(lambda *args: jax.random.rademacher(*args) * 1.0), "only 2 values"),
        (draw_with(laplace), "its tails are heavier"),
        (draw_with(logistic), "its tails are heavier"),
        (draw_with(lambda *args: jnp.abs(jax.random.normal(*args))), "spread"),
        (draw_with(lambda *args: jax.random.normal(*args) / 0.0), "not finite"),
        (lambda *args: draw(*args).T, "one sample per row"),
        (lambda key, m, s, n: m, "(num_samples, len(mu))"),
    ],
    "logistic_slopes": [
        (gaussian_slopes, "Gaussian"),
        (slopes_without_eps, "multiply each slope by its eps"),
        (lambda f, u, m, s: jnp.zeros(2), "stopped"),
        (lambda f, u, m, s: logistic_slopes(f, 1 - u, m, s), "inverted the fraction"),
        (lambda f, u, m, s: logistic_slopes(f, u, m, s) * len(u), "took a sum"),
        (lambda f, u, m, s: logistic_slopes(f, u, m, s)[::-1], "swapped"),
        (flipped(logistic_slopes), "flipped"),
    ],
    "baseline": [
        (lambda f: f.mean(), "Leave the sample's own value out"),
        (lambda f: jnp.median(f), "Leave the sample's own value out"),
        (lambda f: f, "no variance, but no gradient"),
        (lambda f: jnp.zeros_like(f), "changes nothing"),
        (lambda f: 0.2 * baseline(f), "near the average of f. Yours is near"),
        (lambda f: 0.25 * jnp.roll(f, 1) + 2, "near the average"),
        (lambda f: f.sum() - f, "a sum in place of a mean"),
        (flipped(baseline), "The sign is flipped"),
        (lambda f: 80.0, "The variance has increased"),
        (lambda f: 26 + 1.6 * (jnp.roll(f, 1) - jnp.roll(f, 2)), "scatter"),
        (lambda f: f[:2], "one per sample"),
    ],
}
