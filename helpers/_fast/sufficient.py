"""The sufficient statistics: the sums over the data that a step of EM needs.

Two ways of computing them are used, one precise and one fast.

The precise way standardises the points for each component k:

    y_ik = root_k^-1 (x_i - mean_k)        where root_k root_k^T = covariance_k
    log p(x_i, z=k) = constant_k - |y_ik|^2 / 2

The M-step needs the mean and the covariance of these y, weighted by responsibilities:

    mean_k <- mean_k + root_k mean(y_k),     root_k <- root_k cholesky(cov(y_k))

Near the maximum, mean(y_k) is close to 0 and cov(y_k) to I. So rounding does little
harm, wherever the data lie and whatever the units of each column are.

The fast way multiplies out the square. Then a component's log joint is linear in
phi(x) = (1, x, squares and products of x), and one matrix product is enough for all
components:

    log p(x_i, z=k) = theta_k . phi(x_i),    sums of y follow from sums of r_ik phi(x_i)

This takes about half the time. But for a narrow component far from the centre of the
data, the result is a small difference of large terms and loses digits. So each pass
over the data uses the fast way if the terms are small enough (`terms_are_small`), and
otherwise the precise one.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from helpers.mixture import Mixture

# The features of the points are kept if they are at most this many numbers, which is
# 64 MB in single precision.
COPIED = 2**24
# Without "highest", accelerators round the factors of a matrix product.
product = partial(jnp.matmul, precision="highest")


class Components(NamedTuple):
    """A mixture with roots of its covariances: sigma, or lower Cholesky factors."""

    weights: Float[Array, " k"]
    means: Float[Array, "k d"]  # with the centre of the data subtracted
    roots: Float[Array, " k"] | Float[Array, "k d d"]


class Points(NamedTuple):
    """The chunks that a pass scans over, and how to compute the features of a chunk.

    Features have one column per point of the chunk, all 0 for padding. Row 0 is 1. The
    next d rows are the point minus the centre of the data. Squares and products follow
    if `features_for` computes them.
    """

    chunks: Array
    features_of: Callable
    centre: Float[Array, " d"]


class Sums(NamedTuple):
    """Sums over points, where `r` are the responsibilities."""

    log_likelihood: Float[Array, ""]
    counts: Float[Array, " k"]  # of r
    first: Float[Array, "k d"]  # of r y
    second: Float[Array, " k"] | Float[Array, "k d d"]  # of r |y|^2, or of r y y^T


class Moments(NamedTuple):
    """Each component's N_k, and the mean and covariance of its y."""

    counts: Float[Array, " k"]
    shifts: Float[Array, "k d"]
    spreads: Float[Array, " k"] | Float[Array, "k d d"]


def components_of(params, centre, axis=()):
    """The components of a mixture, with the centre subtracted from their means."""
    covariances = params.covariances
    if covariances.ndim == 1:
        roots = jnp.sqrt(covariances)
    else:
        roots = of_each(jnp.linalg.cholesky, covariances, axis)
    return Components(params.weights, params.means - centre[None, :], roots)


def mixture_of(components, centre):
    """The mixture, with the centre added again."""
    weights, means, roots = components
    return Mixture(weights, means + centre[None, :], covariances_of(roots))


def covariances_of(roots):
    """Variances, or covariance matrices."""
    return roots**2 if roots.ndim == 1 else product(roots, roots.mT)


def of_each(function, matrices, axis):
    """Apply a function to the matrix of each component.

    Large matrices, and all matrices if there are several devices, are taken one after
    another. jaxlib 0.10 runs such functions on the same threads as the programs that
    wait for them, so many at once can deadlock.
    """
    if axis or matrices.size > 2**10:
        return jax.lax.map(function, matrices)
    return function(matrices)


# Points are processed in chunks, so that a chunk and its features fit into the cache.


def chunk_size_for(params):
    """The number of points per chunk with which a pass is fast."""
    k, d = params.means.shape
    if multiplied_out(params):
        return max(256, 2**15 // max(2 * (d + 2), k))
    return max(512, 2**14 // (k * d))


def multiplied_out(params):
    """Whether the fast way is worth it; for few full covariances it is not.

    Here and in `features_for`, `params` can be a Mixture or Components: covariances and
    their roots have the same shape.
    """
    _, means, covariances = params
    k, d = means.shape
    return covariances.ndim == 1 or d <= 4 or k > 8


def features_for(params):
    """The function that computes the features this mixture needs from 1 and x."""
    _, _, covariances = params
    if not multiplied_out(params):
        return lambda columns: columns
    return _with_square if covariances.ndim == 1 else _with_products


def _with_square(columns):
    square = (columns[1:] ** 2).sum(axis=0, keepdims=True)
    return jnp.concatenate([columns, square])


def _with_products(columns):
    # Without the barrier, XLA would cut the columns out again for each product.
    columns = jax.lax.optimization_barrier(columns)
    x = columns[1:]
    products = [x[i : i + 1] * x[i:] for i in range(len(x))]
    return jnp.concatenate([columns, *products])


def points_in_chunks(x, chunk_size, features_of, axis=()):
    """Prepare the points for passes over them.

    The features are computed once and kept. If there are too many to keep, they are
    computed again in each pass; this takes longer, but needs no memory beyond x that
    grows with n.

    Within `shard_map` the centre is that of the points of all devices along `axis`. All
    devices have equally many points.
    """
    n, d = x.shape
    one = jax.ShapeDtypeStruct((1 + d, 1), x.dtype)
    if n * len(jax.eval_shape(features_of, one)) <= COPIED:
        centre = jax.lax.pmean(x.mean(axis=0), axis)
        # A mean of large numbers has a rounding error; a second pass removes it.
        centre = centre + jax.lax.pmean((x - centre[None, :]).mean(axis=0), axis)
        chunks = jax.vmap(features_of)(columns_around(centre, x, n, chunk_size))
        return Points(chunks, lambda features: features, centre)
    size = _even(n, chunk_size)
    chunks = jnp.arange(math.ceil(n / size), dtype=jnp.int32)

    def cut(i, centre):
        i = i.astype(int)  # i * size may need more than 32 bits
        # The last chunk ends at the end of x, so its first points may be repeated.
        new = (jnp.arange(size) >= (i + 1) * size - n).astype(x.dtype)
        part = jax.lax.dynamic_slice_in_dim(x, i * size, size)
        return new, (part - centre[None, :]) * new[:, None]

    def mean_around(centre):
        # Chunk by chunk, because otherwise XLA would store all the differences.
        def add(total, i):
            return total + cut(i, centre)[1].sum(axis=0), None

        zero = vary(jnp.zeros(d, x.dtype), axis)
        return jax.lax.pmean(jax.lax.scan(add, zero, chunks)[0] / n, axis)

    centre = mean_around(jnp.zeros(d, x.dtype))
    centre = centre + mean_around(centre)

    def features_of_chunk(i):
        new, part = cut(i, centre)
        return features_of(jnp.concatenate([new[None], part.T]))

    return Points(chunks, features_of_chunk, centre)


def columns_around(centre, x, num_points, chunk_size):
    """The first points of x as columns, in chunks; the other rows of x are padding."""
    n, d = x.shape
    size = _even(n, chunk_size)
    chunks = math.ceil(n / size)
    x = jnp.pad(x, ((0, chunks * size - n), (0, 0))).reshape(chunks, size, d)
    point = (jnp.arange(chunks * size) < num_points).astype(x.dtype)
    point = point.reshape(chunks, 1, size)
    x = (x.transpose(0, 2, 1) - centre[None, :, None]) * point
    return jnp.concatenate([point, x], axis=1)


def _even(n, chunk_size):
    """The size of chunks if all of them are about equally large."""
    return math.ceil(n / math.ceil(n / chunk_size))


def vary(value, axis):
    """Mark a value as one that may differ between the devices along `axis`."""
    return jax.lax.pcast(value, axis, to="varying") if axis else value


# The E-step


def sums(components, points, axis=()):
    """Compute the Sums over all points in one pass.

    Each device along `axis` sums over its own points. The sums of all devices are then
    added up once, as one array.
    """

    def own_sums(way):
        of_chunk, finished = way(vary(components, axis), axis)

        def add(total, chunk):
            return jax.tree.map(
                jnp.add, total, of_chunk(points.features_of(chunk))
            ), None

        one = jax.eval_shape(
            lambda c: of_chunk(points.features_of(c)), points.chunks[0]
        )
        zero = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), one)
        return finished(jax.lax.scan(add, vary(zero, axis), points.chunks)[0])

    by_y = _spherical if components.roots.ndim == 1 else _full
    if multiplied_out(components):
        own = jax.lax.cond(
            _by_all(terms_are_small(components, axis)),
            lambda: own_sums(_multiplied_out),
            lambda: own_sums(by_y),
        )
    else:
        own = own_sums(by_y)
    if not axis:
        return own
    flat, as_sums = ravel_pytree(own)
    return as_sums(jax.lax.psum(flat, axis))


def terms_are_small(components, axis=()):
    """Whether the rounding error of theta . phi is small compared with |y|^2.

    The terms of theta . phi are about as large as the sum of x_i^2 times the i-th
    diagonal entry of the inverse covariance, while |y|^2 is about d. The ratio of the
    two, times the machine epsilon, is the relative error. For the log-likelihood the
    average over the components counts: at most 9e-7 in single and 2e-14 in double
    precision. For the variance of one component it is at most 6e-6 and 2e-12.
    """
    weights, means, roots = jax.lax.stop_gradient(components)
    if roots.ndim == 1:
        ratios = 1 + (means / roots[:, None]) ** 2
    else:
        inverses = _inverses(roots, axis)
        ratios = (inverses**2).sum(axis=1) * (means**2 + (roots**2).sum(axis=2))
    ratios = ratios.mean(axis=1)
    eps = jnp.finfo(means.dtype).eps
    # A comparison with nan is false, so nan counts as not small.
    return ((weights * ratios).sum() < eps**-0.125) & (ratios < eps**-0.25).all()


@jax.custom_batching.custom_vmap
def _by_all(condition):
    """A condition. Under `vmap` it must hold for all, so that only one branch runs."""
    return condition


@_by_all.def_vmap
def _(axis_size, in_batched, condition):
    return condition.all(), False


def _multiplied_out(components, axis):
    """The fast way, by sums of r phi: a function of a chunk, and one of the total."""
    weights, means, roots = components
    d = means.shape[1]
    if roots.ndim == 1:
        inverses = 1 / roots[:, None]
        log_dets = d * jnp.log(roots)
        linear = means * inverses**2
        square = -0.5 * inverses**2
        of_means = means * inverses
    else:
        inverses = _inverses(roots, axis)
        diagonals = jnp.diagonal(roots, axis1=1, axis2=2)
        log_dets = jnp.log(diagonals).sum(axis=1)
        of_means = product(inverses, means[:, :, None])[:, :, 0]
        linear = product(inverses.mT, of_means[:, :, None])[:, :, 0]
        rows, columns = np.triu_indices(d)
        # Off the diagonal, one product x_i x_j stands for both (i, j) and (j, i).
        factors = np.where(rows == columns, -0.5, -1.0).astype(means.dtype)
        precisions = product(inverses.mT, inverses)
        square = factors[None, :] * precisions[:, rows, columns]
    constants = _log_weights(weights) - log_dets - 0.5 * (of_means**2).sum(axis=1)
    theta = jnp.concatenate([constants[:, None], linear, square], axis=1)

    def of_chunk(features):
        log_joint = product(theta, features)
        log_likelihood, responsibilities = _posterior(log_joint, features[0], d)
        return log_likelihood, product(responsibilities, features.T)

    def finished(total):
        log_likelihood, of_phi = total
        counts, of_x, of_products = jnp.split(of_phi, [1, 1 + d], axis=1)
        counts = counts[:, 0]
        first = of_x - counts[:, None] * means
        if roots.ndim == 1:
            # |x - m|^2 = |x|^2 - m . (x - m) - m . x
            second = of_products[:, 0] - (means * (first + of_x)).sum(axis=1)
            return Sums(
                log_likelihood, counts, first * inverses, second * inverses[:, 0] ** 2
            )
        place = np.zeros((d, d), int)
        place[rows, columns] = place[columns, rows] = np.arange(len(rows))
        second = (
            of_products[:, place]
            - first[:, :, None] * means[:, None, :]
            - means[:, :, None] * of_x[:, None, :]
        )
        first = product(inverses, first[:, :, None])[:, :, 0]
        second = product(product(inverses, second), inverses.mT)
        return Sums(log_likelihood, counts, first, second)

    return of_chunk, finished


def _spherical(components, axis):
    """The precise way, spherical: a function of a chunk, and one of the total."""
    weights, means, sigmas = components
    d = means.shape[1]
    constants = _log_weights(weights) - d * jnp.log(sigmas)
    inverses = 1 / sigmas[:, None]

    def of_chunk(features):
        columns = features[: 1 + d]

        def add_square(total, dimension):
            row, mean = dimension
            y = (row[None, :] - mean[:, None]) * inverses
            return total + y**2, None

        zero = vary(jnp.zeros((len(means), columns.shape[1]), means.dtype), axis)
        squares, _ = jax.lax.scan(add_square, zero, (columns[1:], means.T), unroll=16)
        log_joint = constants[:, None] - 0.5 * squares
        log_likelihood, responsibilities = _posterior(log_joint, columns[0], d)
        totals = product(responsibilities, columns.T)
        second = product(responsibilities * squares, columns[0])
        # `first` holds sums of r x for now, because a matrix product is fast.
        return Sums(log_likelihood, totals[:, 0], totals[:, 1:], second)

    def finished(sums):
        of_y = (sums.first - sums.counts[:, None] * means) * inverses
        return sums._replace(first=of_y)

    return of_chunk, finished


def _full(components, axis):
    """The precise way, full matrices: a function of a chunk, and one of the total."""
    weights, means, roots = components
    k, d = means.shape
    inverses = _inverses(roots, axis)
    of_origin = -product(inverses, means[:, :, None])
    to_y = jnp.concatenate([of_origin, inverses], axis=2)
    diagonals = jnp.diagonal(roots, axis1=1, axis2=2)
    constants = _log_weights(weights) - jnp.log(diagonals).sum(axis=1)

    def of_chunk(features):
        columns = features[: 1 + d]
        y = product(to_y.reshape(k * d, 1 + d), columns).reshape(k, d, -1)
        log_joint = constants[:, None] - 0.5 * (y**2).sum(axis=1)
        log_likelihood, responsibilities = _posterior(log_joint, columns[0], d)
        weighted = (responsibilities[:, None, :] * y).reshape(k * d, -1)
        totals = product(weighted, columns.T).reshape(k, d, 1 + d)
        counts = product(responsibilities, columns[0])
        return Sums(log_likelihood, counts, totals[:, :, 0], totals)

    def finished(sums):
        # `second` holds sums of r y (1, x)^T; the same map turns this x into y.
        return sums._replace(second=product(sums.second, to_y.mT))

    return of_chunk, finished


def _inverses(roots, axis):
    """The inverses of the roots, which take x - mean to y."""

    def inverse(root):
        eye = jnp.broadcast_to(jnp.eye(root.shape[-1], dtype=root.dtype), root.shape)
        return jax.lax.linalg.triangular_solve(root, eye, left_side=True, lower=True)

    return of_each(inverse, roots, axis)


def _posterior(log_joint, point, d):
    """The log-likelihood of a chunk, and its responsibilities, which are 0 for padding.

    The factor (2 pi)^(-d/2) is the same for all components, so it is added at the end.
    """
    greatest = log_joint.max(axis=0)
    ratios = jnp.exp(log_joint - greatest[None, :])
    total = ratios.sum(axis=0)
    log_p = greatest + jnp.log(total) - 0.5 * d * jnp.log(2 * jnp.pi)
    return product(point, log_p), ratios * (point / total)[None, :]


def _log_weights(weights):
    """Log weights. For a weight of 0 it is finite, since padding multiplies it by 0."""
    some = weights > 0
    least = jnp.finfo(weights.dtype).min / 2
    return jnp.where(some, jnp.log(jnp.where(some, weights, 1)), least)


# The M-step


def moments(components, sums):
    """The Moments that follow from the Sums: 0 and I for a component without points."""
    d = components.means.shape[1]
    some = sums.counts > 0
    counts = jnp.where(some, sums.counts, 1)
    shifts = sums.first / counts[:, None]
    if components.roots.ndim == 1:
        spreads = (sums.second / counts - (shifts**2).sum(axis=1)) / d
        return Moments(sums.counts, shifts, jnp.where(some, spreads, 1))
    products = shifts[:, :, None] * shifts[:, None, :]
    spreads = sums.second / counts[:, None, None] - products
    eye = jnp.eye(d, dtype=shifts.dtype)[None]
    return Moments(sums.counts, shifts, jnp.where(some[:, None, None], spreads, eye))


def maximise(components, moments, floor=None, axis=()):
    """The M-step: new weights, means and roots from the moments."""
    _, means, roots = components
    weights = moments.counts / moments.counts.sum()
    if roots.ndim == 1:
        means = means + roots[:, None] * moments.shifts
        # Because of rounding, a spread of 0 may be computed as slightly negative.
        roots = roots * jnp.sqrt(jnp.maximum(moments.spreads, 0))
        if floor is not None:
            roots = jnp.maximum(roots, jnp.sqrt(floor))
        return Components(weights, means, roots)
    means = means + product(roots, moments.shifts[:, :, None])[:, :, 0]
    if floor is None:
        factors = of_each(jnp.linalg.cholesky, moments.spreads, axis)
        return Components(weights, means, product(roots, factors))

    def at_least_floor(root_and_spread):
        root, spread = root_and_spread
        variances, axes = jnp.linalg.eigh(product(product(root, spread), root.mT))
        sigmas = jnp.sqrt(jnp.maximum(variances, floor))
        # A root times any rotation is a root too. QR finds the one that is triangular.
        upper = jnp.linalg.qr(sigmas[:, None] * axes.T, mode="r")
        return upper.T * jnp.sign(jnp.diagonal(upper))[None, :]

    together = jax.lax.map if axis else lambda f, each: jax.vmap(f)(each)
    return Components(
        weights, means, together(at_least_floor, (roots, moments.spreads))
    )


# What went wrong


def least_variances(components, floor):
    """The variance, per component and direction, at which it counts as collapsed.

    It is the largest of three: the floor; the variance at which the rounding of the
    points becomes visible in y; and the smallest one that a covariance matrix can
    represent next to its other entries.
    """
    _, means, roots = components
    d, eps = means.shape[1], jnp.finfo(means.dtype).eps
    if roots.ndim == 1:
        size = roots[:, None] ** 2 + (means**2).mean(axis=1, keepdims=True)
        limits = (64 * eps) ** 2 * size
    else:
        variances = (roots**2).sum(axis=2)
        limits = (64 * eps) ** 2 * (variances + means**2)
        limits = jnp.maximum(limits, 16 * d * eps * variances)
    return jnp.maximum(limits, floor * (1 + 16 * eps))


def collapsed(components, floor, floored, axis=()):
    """Which components have collapsed, and the least variance that each may have."""
    limits = least_variances(components, floor)
    roots = components.roots
    if roots.ndim == 1:
        sigmas = roots[:, None]
    else:
        sigmas = jnp.diagonal(roots, axis1=1, axis2=2)
    # `~(a > b)` rather than `a <= b`, so that nan counts as collapsed.
    bad = ~(sigmas**2 > limits).all(axis=1)
    if floored and roots.ndim == 3:
        singular = of_each(partial(jnp.linalg.svd, compute_uv=False), roots, axis)
        error = 16 * roots.shape[-1] * jnp.finfo(roots.dtype).eps * singular[:, :1]
        bad = bad | ~(singular > jnp.sqrt(floor) + error).all(axis=1)
    worst = jnp.argmin(sigmas**2 / limits, axis=1)
    return bad, jnp.take_along_axis(limits, worst[:, None], axis=1)[:, 0]


def equal(components):
    """Which components have the same mean and covariance as another one."""
    _, means, roots = components
    tolerance = jnp.sqrt(jnp.finfo(means.dtype).eps)
    roots = roots.reshape(len(means), -1)
    size = jnp.abs(roots).max(axis=1)
    apart = jnp.abs(means[:, None, :] - means[None, :, :]).max(axis=2)
    wider = jnp.abs(roots[:, None, :] - roots[None, :, :]).max(axis=2)
    same = jnp.maximum(apart, wider) < tolerance * size[:, None]
    return same.sum(axis=1) > 1
