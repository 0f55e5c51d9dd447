"""The decoder `bent_line` of notebooks 02 and 03 in NumPy, and its exact posterior."""

from typing import NamedTuple

import numpy as np

Numbers = float | np.ndarray


class Moments(NamedTuple):
    """log p(x) of a point in nats, and the mean and sigma of its posterior."""

    log_evidence: float
    mean: float
    sigma: float


def curve(z: Numbers) -> Numbers:
    """Return the points `... 2` of `decoder.bent_line` for latents of any shape."""
    z = np.asarray(z, dtype=float)
    first = 3 * np.tanh(1.5 * z + 1.5) - 3 * np.tanh(1.5 * z - 1.5) - 3
    return np.stack([first, 3 * np.tanh(0.9 * z)], axis=-1)


def log_normal(x: Numbers, mean: Numbers, sigma: Numbers = 1.0) -> Numbers:
    """Return log N(x; mean, sigma^2 I) over the last axis."""
    logs = -0.5 * ((x - mean) / sigma) ** 2 - np.log(sigma) - 0.5 * np.log(2 * np.pi)
    return logs.sum(axis=-1)


def log_sum_exp(logs: np.ndarray) -> Numbers:
    """Return the log of the sum of exponentials over the last axis."""
    largest = logs.max(axis=-1)
    return largest + np.log(np.exp(logs - largest[..., None]).sum(axis=-1))


def log_mean_exp(logs: np.ndarray) -> Numbers:
    """Return the log of the mean of exponentials over the last axis."""
    return log_sum_exp(logs) - np.log(logs.shape[-1])


def posterior_moments(x: np.ndarray, sigma_x: float = 1.0) -> Moments:
    """Return the moments of the posterior of z at a point `2`, by quadrature."""
    z = np.linspace(-10, 10, 8001)
    log_joint = log_normal(x, curve(z), sigma_x) + log_normal(0.0, z[:, None])
    log_evidence = log_sum_exp(log_joint) + np.log(z[1] - z[0])
    weights = np.exp(log_joint - log_sum_exp(log_joint))
    mean = (weights * z).sum()
    sigma = np.sqrt((weights * (z - mean) ** 2).sum())
    return Moments(float(log_evidence), float(mean), float(sigma))
