"""A mixture in natural parameters and sufficient statistics: the fast form of EM.

With features phi(x) = (1, x, squares and products of x) a component's log joint is
linear in them, log p(x, z=k) = theta_k . phi(x), and so

    d/d theta_k  sum_i log sum_j exp(theta_j . phi(x_i)) = sum_i r_ik phi(x_i)

(Fisher's identity): the gradient of the log-likelihood IS the expected sufficient
statistics, the sums that the M-step divides. One pass over the data gives both.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from helpers.mixture import Mixture


def in_columns(x, chunk_size, axis=()):
    """Centred points as `chunks (1 + d) size`: row 0 is 1 for a point, 0 for padding.

    Columns make each operation run along memory, and a chunk stays in cache. Squares
    are expanded, so the mean must go first, or it would take all the digits.
    Within `shard_map` the mean is over all the devices along `axis`, as many points
    on each.
    """
    centre = jax.lax.pmean(x.mean(axis=0), axis)
    # a mean of large numbers is itself rounded; the second pass mends that
    centre = centre + jax.lax.pmean((x - centre[None, :]).mean(axis=0), axis)
    return columns_around(centre, x, len(x), chunk_size), centre


# Beyond so many numbers, 64 MB in single precision, all the features are too many.
AT_ONCE = 2**24


def in_chunks(params, x, chunk_size, axis=()):
    """Chunks to scan over, what makes features of one, and the points' centre.

    The features are made once, or else in each pass from slices of x: that is slower
    by up to a half, but then memory beyond x does not grow with n.
    """
    n, d = x.shape
    features_of = partial(features, _shape_of_natural(params))
    one = jax.ShapeDtypeStruct((1 + d, 1), x.dtype)
    if n * len(jax.eval_shape(features_of, one)) <= AT_ONCE:
        columns, centre = in_columns(x, chunk_size, axis)
        return jax.vmap(features_of)(columns), lambda chunk: chunk, centre
    size = _even(n, chunk_size)
    chunks = jnp.arange(math.ceil(n / size))

    def cut(i):
        # the last one ends where x does, and so starts with points seen before
        new = jnp.arange(size) >= (i + 1) * size - n
        return jax.lax.dynamic_slice_in_dim(x, i * size, size), new.astype(x.dtype)

    def mean_less(centre):
        # chunk by chunk, since XLA would store all the differences
        def add(total, i):
            part, new = cut(i)
            return total + ((part - centre[None, :]) * new[:, None]).sum(axis=0), None

        total = jax.lax.scan(add, _by_device(jnp.zeros(d, x.dtype), axis), chunks)[0]
        return jax.lax.pmean(total / n, axis)

    centre = mean_less(jnp.zeros(d, x.dtype))
    centre = centre + mean_less(centre)

    def cut_features(i):
        part, new = cut(i)
        part = (part.T - centre[:, None]) * new[None]
        return features_of(jnp.concatenate([new[None], part]))

    return chunks, cut_features, centre


def _shape_of_natural(params):
    """The shape of theta: `k features`."""
    k, d = params.means.shape
    return k, d + 2 if params.covariances.ndim == 1 else (d + 1) * (d + 2) // 2


def chunk_size_for(params):
    """A size that keeps in cache what a pass makes of a chunk."""
    k, d = params.means.shape
    if params.covariances.ndim == 3 and _by_slopes(k, d):
        return max(128, 2**14 // (k * d))
    return max(256, 2**15 // max(2 * (d + 2), k))


def _by_slopes(k, d):
    """Whether few components share the work of forming all products of x."""
    return d > 4 and k <= 8


def _even(n, chunk_size):
    """The size of as many chunks that are about alike."""
    return math.ceil(n / math.ceil(n / chunk_size))


def _by_device(value, axis):
    """A value that may come to differ between the devices along `axis`."""
    return jax.lax.pcast(value, axis, to="varying") if axis else value


def columns_around(centre, x, num_points, chunk_size):
    """The first points of x in columns, less a centre; the rest of x is padding."""
    n, d = x.shape
    size = _even(n, chunk_size)
    chunks = math.ceil(n / size)
    x = jnp.pad(x, ((0, chunks * size - n), (0, 0))).reshape(chunks, size, d)
    point = (jnp.arange(chunks * size) < num_points).astype(x.dtype)
    point = point.reshape(chunks, 1, size)
    x = (x.transpose(0, 2, 1) - centre[None, :, None]) * point
    return jnp.concatenate([point, x], axis=1)


def features(shape, columns):
    """Phi of a chunk for a theta of this shape: 1, x, and |x|^2 or products i <= j.

    Full covariances of few components leave the products to `_log_joint`.
    """
    k, num_features = shape
    d = len(columns) - 1
    if num_features == d + 2:
        return jnp.concatenate([columns, (columns[1:] ** 2).sum(axis=0, keepdims=True)])
    if _by_slopes(k, d):
        return columns
    # laid out first, or cutting them out is done again for each of the products
    columns = jax.lax.optimization_barrier(columns)
    x = columns[1:]
    return jnp.concatenate([columns, *(x[i : i + 1] * x[i:] for i in range(d))])


def _log_joint(theta, phi):
    """Theta . phi(x), `k size`."""
    if theta.shape[1] == len(phi):
        return _product(theta, phi)
    # the same sum as constant + x . (linear + square x): one multiplication of
    # matrices, and no products, takes half the time where few components need them
    d = len(phi) - 1
    square = jnp.zeros((len(theta), d, d), theta.dtype)
    square = square.at[:, *np.triu_indices(d)].set(theta[:, d + 1 :])
    affine = jnp.concatenate([theta[:, 1 : d + 1, None], square], axis=2)
    slopes = _product(affine.reshape(-1, d + 1), phi).reshape(-1, d, phi.shape[1])
    return theta[:, :1] + (slopes * phi[None, 1:, :]).sum(axis=1)


# highest: accelerators otherwise round the factors
_product = partial(jnp.matmul, precision="highest")


def of_each(function, matrices, axis):
    """A function of each component's matrix: of all at once, or one after another.

    On devices that share a processor, all at once can wait for ever: jaxlib 0.10 deals
    many large matrices out to the very threads that the devices run on.
    """
    return jax.lax.map(function, matrices) if axis else function(matrices)


def _root_and_inverse(covariances):
    root = jnp.linalg.cholesky(covariances)
    eye = jnp.broadcast_to(jnp.eye(root.shape[-1], dtype=root.dtype), root.shape)
    inverse = jax.lax.linalg.triangular_solve(root, eye, left_side=True, lower=True)
    return root, inverse


def natural(params, axis=()):
    """Theta, one row a component: log p(x, z=k) = theta_k . phi(x)."""
    weights, means, covariances = params
    d = means.shape[1]
    if covariances.ndim == 1:
        linear = means / covariances[:, None]
        square = -0.5 / covariances[:, None]
        log_det = d * jnp.log(covariances)
    else:
        root, inverse = of_each(_root_and_inverse, covariances, axis)
        precisions = jnp.einsum("kli,klj->kij", inverse, inverse, precision="highest")
        linear = jnp.einsum("kij,kj->ki", precisions, means, precision="highest")
        rows, cols = np.triu_indices(d)
        square = -np.where(rows == cols, 0.5, 1.0)[None, :] * precisions[:, rows, cols]
        square = square.astype(root.dtype)
        log_det = 2 * jnp.log(jnp.diagonal(root, axis1=1, axis2=2)).sum(axis=1)
    constant = -0.5 * ((linear * means).sum(axis=1) + log_det + d * jnp.log(2 * jnp.pi))
    # finite for a weight of 0 too: padding multiplies it by 0, and gradients pass it
    log_weights = jnp.where(
        weights > 0,
        jnp.log(jnp.where(weights > 0, weights, 1)),
        jnp.finfo(weights.dtype).min / 2,
    )
    return jnp.concatenate([(log_weights + constant)[:, None], linear, square], axis=1)


def expected_statistics(theta, chunks, axis=(), features_of=None):
    """l(theta) and its gradient sum_i r_ik phi(x_i), chunk by chunk.

    Chunks are columns, unless `features_of` says what makes features of one. Each
    device along `axis` sums over its own points; one sum over devices ends it.
    """
    features_of = features_of or partial(features, theta.shape)

    def log_likelihood_and_gradient(chunk):
        phi = features_of(chunk)
        log_joint, pull_back = jax.vjp(lambda theta: _log_joint(theta, phi), theta)
        # padding has a 0 in row 0, and so no part in either sum
        point, greatest = phi[0], log_joint.max(axis=0)
        ratios = jnp.exp(log_joint - greatest[None, :])
        total = ratios.sum(axis=0)
        responsibilities = ratios * (point / total)[None, :]
        log_likelihood = _product(point, greatest + jnp.log(total))
        return log_likelihood, *pull_back(responsibilities)

    def add(total, chunk):
        seen = log_likelihood_and_gradient(chunk)
        return jax.tree.map(jnp.add, total, seen), None

    zero = jnp.zeros((), theta.dtype), jnp.zeros_like(theta)
    # theta varies by device now, so that its gradient is not summed chunk by chunk
    theta, zero = _by_device((theta, zero), axis)
    own = jax.lax.scan(add, zero, chunks)[0]
    if not axis:
        return own
    flat, as_pair = ravel_pytree(own)
    return as_pair(jax.lax.psum(flat, axis))


def maximise(statistics, previous, floor=None, axis=()):
    """The M-step from expected statistics; a component with none stays as it was."""
    d = previous.means.shape[1]
    counts = statistics[:, 0]
    some = counts > 0
    averages = statistics / jnp.where(some, counts, 1)[:, None]
    means, squares = averages[:, 1 : d + 1], averages[:, d + 1 :]
    if previous.covariances.ndim == 1:
        covariances = (squares[:, 0] - (means**2).sum(axis=1)) / d
        if floor is not None:
            covariances = jnp.maximum(covariances, floor)
    else:
        rows, cols = np.triu_indices(d)
        place = np.zeros((d, d), int)
        place[rows, cols] = place[cols, rows] = np.arange(len(rows))
        covariances = squares[:, place] - means[:, :, None] * means[:, None, :]
        if floor is not None:
            variances, axes = of_each(jnp.linalg.eigh, covariances, axis)
            scaled = axes * jnp.maximum(variances, floor)[:, None, :]
            covariances = jnp.einsum("kij,klj->kil", scaled, axes, precision="highest")
    means = jnp.where(some[:, None], means, previous.means)
    some = some.reshape((-1,) + (1,) * (covariances.ndim - 1))
    covariances = jnp.where(some, covariances, previous.covariances)
    return Mixture(counts / counts.sum(), means, covariances)


def collapsed(params, floor, constrained, axis=()):
    """Components whose least variance is the floor, or lost in its own rounding."""
    _, means, covariances = params
    if covariances.ndim == 1:
        variances = covariances[:, None]
        seconds = variances + (means**2).mean(axis=1, keepdims=True)
    else:
        diagonal = jnp.diagonal(covariances, axis1=1, axis2=2)
        seconds = diagonal + means**2
        if constrained:
            variances = of_each(jnp.linalg.eigvalsh, covariances, axis)
        else:
            root = of_each(jnp.linalg.cholesky, covariances, axis)
            variances = jnp.diagonal(root, axis1=1, axis2=2) ** 2
    eps = jnp.finfo(means.dtype).eps
    # a variance is E x^2 - (E x)^2, so E x^2 sets the size of its rounding error
    limit = 16 * means.shape[1] * eps * seconds
    # not (a > b) rather than a <= b: nan counts as collapsed
    return ~(variances > jnp.maximum(limit, floor * (1 + 16 * eps))).all(axis=1)


def equal(params):
    """Components that have the mean and the covariance of another one."""
    _, means, covariances = params
    tolerance = jnp.sqrt(jnp.finfo(means.dtype).eps)
    covariances = covariances.reshape(len(means), -1)
    size = jnp.abs(covariances).max(axis=1)
    apart = ((means[:, None, :] - means[None, :, :]) ** 2).max(axis=2)
    wider = jnp.abs(covariances[:, None, :] - covariances[None, :, :]).max(axis=2)
    same = (apart < tolerance**2 * size[:, None]) & (wider < tolerance * size[:, None])
    return same.sum(axis=1) > 1
