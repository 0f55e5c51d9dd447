"""The sums that EM needs of the data: each component sees the points its own way.

Component k looks at the points from its own mean, in units of its own spread:

    y_ik = root_k^-1 (x_i - mean_k)        where root_k root_k^T = covariance_k
    log p(x_i, z=k) = constant_k - |y_ik|^2 / 2

The M-step needs the mean and the covariance of these y, weighted by responsibilities:

    mean_k <- mean_k + root_k mean(y_k),     root_k <- root_k cholesky(cov(y_k))

Near the maximum mean(y_k) is 0 and cov(y_k) is I, so these numbers are small and known
to full precision, wherever the data lie and in whatever units each column is.

Multiplied out, a component's log joint is linear in phi(x) = (1, x, squares and
products of x), so that one product of matrices serves all components:

    log p(x_i, z=k) = theta_k . phi(x_i),     sums of r_ik phi(x_i) hold those of y

This takes about half the time, but a narrow component far from the centre is then a
small difference of large terms. So each pass is made in this way where the terms are
small enough (`terms_are_small`), and by y otherwise.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Float

from helpers.mixture import Mixture

# Up to so many numbers, 64 MB in single precision, the points' features are kept.
COPIED = 2**24
# Accelerators would otherwise round the factors.
product = partial(jnp.matmul, precision="highest")


class Components(NamedTuple):
    """A mixture by the roots of its covariances: sigma, or lower Cholesky factors."""

    weights: Float[Array, " k"]
    means: Float[Array, "k d"]  # less the centre of the data
    roots: Float[Array, " k"] | Float[Array, "k d d"]


class Points(NamedTuple):
    """What one pass scans over, and how the features of one chunk are made of it.

    Features have one column per point of a chunk, all 0 for padding. Row 0 is 1; the
    next d are the point less the centre of the data; then come its squares and
    products, where `features_for` has them.
    """

    chunks: Array
    features_of: Callable
    centre: Float[Array, " d"]


class Sums(NamedTuple):
    """Sums over points; `r` are responsibilities."""

    log_likelihood: Float[Array, ""]
    counts: Float[Array, " k"]  # of r
    first: Float[Array, "k d"]  # of r y
    second: Float[Array, " k"] | Float[Array, "k d d"]  # of r |y|^2, or of r y y^T


class Moments(NamedTuple):
    """Each component's share of the points, and the mean and covariance of its y."""

    counts: Float[Array, " k"]
    shifts: Float[Array, "k d"]
    spreads: Float[Array, " k"] | Float[Array, "k d d"]


def components_of(params, centre, axis=()):
    """The components of a mixture, seen from a centre."""
    covariances = params.covariances
    if covariances.ndim == 1:
        roots = jnp.sqrt(covariances)
    else:
        roots = of_each(jnp.linalg.cholesky, covariances, axis)
    return Components(params.weights, params.means - centre[None, :], roots)


def mixture_of(components, centre):
    """The mixture, with the centre put back."""
    weights, means, roots = components
    return Mixture(weights, means + centre[None, :], covariances_of(roots))


def covariances_of(roots):
    """Variances, or covariance matrices."""
    return roots**2 if roots.ndim == 1 else product(roots, roots.mT)


def of_each(function, matrices, axis):
    """A function of each component's matrix.

    Many large ones are taken one after another, and on several devices all are: jaxlib
    0.10 deals them out to the very threads that its programs run on, and all at once
    can wait for ever.
    """
    if axis or matrices.size > 2**10:
        return jax.lax.map(function, matrices)
    return function(matrices)


# Points, chunk by chunk: a chunk and what is made of it stay in the processor's cache.


def chunk_size_for(params):
    """The size of a chunk that is quick to scan."""
    k, d = params.means.shape
    if multiplied_out(params):
        return max(256, 2**15 // max(2 * (d + 2), k))
    return max(512, 2**14 // (k * d))


def multiplied_out(params):
    """Whether products of x pay; for few full covariances they are too many.

    Here and in `features_for` it is all the same whether a mixture or its components
    are given: covariances and their roots have the same axes.
    """
    _, means, covariances = params
    k, d = means.shape
    return covariances.ndim == 1 or d <= 4 or k > 8


def features_for(params):
    """The function that makes phi(x) of the columns 1 and x, as this mixture needs."""
    _, _, covariances = params
    if not multiplied_out(params):
        return lambda columns: columns
    return _with_square if covariances.ndim == 1 else _with_products


def _with_square(columns):
    square = (columns[1:] ** 2).sum(axis=0, keepdims=True)
    return jnp.concatenate([columns, square])


def _with_products(columns):
    # laid out first, or cutting them out is done again for each of the products
    columns = jax.lax.optimization_barrier(columns)
    x = columns[1:]
    products = [x[i : i + 1] * x[i:] for i in range(len(x))]
    return jnp.concatenate([columns, *products])


def points_in_chunks(x, chunk_size, features_of, axis=()):
    """Points ready to be scanned over.

    Their features are made once; too many to keep are made in each pass, which takes
    longer, but then memory beyond x does not grow with n.

    Within `shard_map` the centre is that of all devices along `axis`, each of which
    has as many points.
    """
    n, d = x.shape
    one = jax.ShapeDtypeStruct((1 + d, 1), x.dtype)
    if n * len(jax.eval_shape(features_of, one)) <= COPIED:
        centre = jax.lax.pmean(x.mean(axis=0), axis)
        # a mean of large numbers is itself rounded; a second pass mends that
        centre = centre + jax.lax.pmean((x - centre[None, :]).mean(axis=0), axis)
        chunks = jax.vmap(features_of)(columns_around(centre, x, n, chunk_size))
        return Points(chunks, lambda features: features, centre)
    size = _even(n, chunk_size)
    chunks = jnp.arange(math.ceil(n / size), dtype=jnp.int32)

    def cut(i, centre):
        i = i.astype(int)  # i * size may be beyond 32 bits
        # the last chunk ends where x does, so it starts with points seen before
        new = (jnp.arange(size) >= (i + 1) * size - n).astype(x.dtype)
        part = jax.lax.dynamic_slice_in_dim(x, i * size, size)
        return new, (part - centre[None, :]) * new[:, None]

    def mean_around(centre):
        # chunk by chunk, since XLA would store all the differences
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
    """The first points of x as columns, chunk by chunk; the rest of x is padding."""
    n, d = x.shape
    size = _even(n, chunk_size)
    chunks = math.ceil(n / size)
    x = jnp.pad(x, ((0, chunks * size - n), (0, 0))).reshape(chunks, size, d)
    point = (jnp.arange(chunks * size) < num_points).astype(x.dtype)
    point = point.reshape(chunks, 1, size)
    x = (x.transpose(0, 2, 1) - centre[None, :, None]) * point
    return jnp.concatenate([point, x], axis=1)


def _even(n, chunk_size):
    """The size of chunks that are all about alike."""
    return math.ceil(n / math.ceil(n / chunk_size))


def vary(value, axis):
    """A value that may come to differ between the devices along `axis`."""
    return jax.lax.pcast(value, axis, to="varying") if axis else value


# The E-step


def sums(components, points, axis=()):
    """Sum over all points, in one pass; each device along `axis` over its own.

    The sums of all devices are added up once, as one array.
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
    """Whether rounding in theta . phi is small beside |y|^2.

    Its terms are about as large as the sum of x_i^2 times the i-th diagonal entry of
    the inverse covariance, where |y|^2 is about d. Their ratio times the machine
    epsilon is the relative error: in the log-likelihood that of the components'
    average, at most 9e-7 in single and 2e-14 in double precision, and in a component's
    own variance at most 6e-6 and 2e-12.
    """
    weights, means, roots = jax.lax.stop_gradient(components)
    if roots.ndim == 1:
        ratios = 1 + (means / roots[:, None]) ** 2
    else:
        inverses = _inverses(roots, axis)
        ratios = (inverses**2).sum(axis=1) * (means**2 + (roots**2).sum(axis=2))
    ratios = ratios.mean(axis=1)
    eps = jnp.finfo(means.dtype).eps
    # nan compares as not small
    return ((weights * ratios).sum() < eps**-0.125) & (ratios < eps**-0.25).all()


@jax.custom_batching.custom_vmap
def _by_all(condition):
    """A condition; under `vmap` that it holds in all, so that one branch is run."""
    return condition


@_by_all.def_vmap
def _(axis_size, in_batched, condition):
    return condition.all(), False


def _multiplied_out(components, axis):
    """What sums over one chunk, and what makes the end of it: sums of r phi."""
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
        # a product of two different numbers stands for both its places
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
    """What sums over one chunk, and what makes the end of it: spherical components."""
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
        # first are sums of r x, since products of matrices are quick
        return Sums(log_likelihood, totals[:, 0], totals[:, 1:], second)

    def finished(sums):
        of_y = (sums.first - sums.counts[:, None] * means) * inverses
        return sums._replace(first=of_y)

    return of_chunk, finished


def _full(components, axis):
    """What sums over one chunk, and what makes the end of it: full covariances."""
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
        # second are sums of r y (1, x)^T; the same map makes y of this x
        return sums._replace(second=product(sums.second, to_y.mT))

    return of_chunk, finished


def _inverses(roots, axis):
    """The inverses of the roots, by which x - mean becomes y."""

    def inverse(root):
        eye = jnp.broadcast_to(jnp.eye(root.shape[-1], dtype=root.dtype), root.shape)
        return jax.lax.linalg.triangular_solve(root, eye, left_side=True, lower=True)

    return of_each(inverse, roots, axis)


def _posterior(log_joint, point, d):
    """The log-likelihood of a chunk, and responsibilities that are 0 for padding.

    The factor (2 pi)^(-d/2), the same for all components, is left to the end.
    """
    greatest = log_joint.max(axis=0)
    ratios = jnp.exp(log_joint - greatest[None, :])
    total = ratios.sum(axis=0)
    log_p = greatest + jnp.log(total) - 0.5 * d * jnp.log(2 * jnp.pi)
    return product(point, log_p), ratios * (point / total)[None, :]


def _log_weights(weights):
    """Logarithms; for a weight of 0 one that is finite, since padding multiplies it."""
    some = weights > 0
    least = jnp.finfo(weights.dtype).min / 2
    return jnp.where(some, jnp.log(jnp.where(some, weights, 1)), least)


# The M-step


def moments(components, sums):
    """What the sums say of each component: 0 and I where it holds no point at all."""
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
    """The M-step: the components whose means and roots the moments say."""
    _, means, roots = components
    weights = moments.counts / moments.counts.sum()
    if roots.ndim == 1:
        means = means + roots[:, None] * moments.shifts
        # rounding can take a spread of 0 below it
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
        # of a root any product with a rotation is one; this one is lower triangular
        upper = jnp.linalg.qr(sigmas[:, None] * axes.T, mode="r")
        return upper.T * jnp.sign(jnp.diagonal(upper))[None, :]

    together = jax.lax.map if axis else lambda f, each: jax.vmap(f)(each)
    return Components(
        weights, means, together(at_least_floor, (roots, moments.spreads))
    )


def bound(components, seen_by, moments):
    """The bound's part that depends on components, a sum over points.

    Its gradient where both are the same is that of the log-likelihood (Fisher's
    identity). The moments are of the y that `seen_by` makes of the points.
    """
    weights, means, roots = components
    if roots.ndim == 1:
        d = means.shape[1]
        log_dets = d * jnp.log(roots)
        ratios = seen_by.roots / roots
        centres = (seen_by.means - means) / roots[:, None]
        centres = centres + ratios[:, None] * moments.shifts
        squares = d * ratios**2 * moments.spreads
    else:
        log_dets = jnp.log(jnp.diagonal(roots, axis1=1, axis2=2)).sum(axis=1)
        solve = jax.vmap(partial(solve_triangular, lower=True))
        ratios = solve(roots, seen_by.roots)
        centres = solve(roots, seen_by.means - means)
        centres = centres + product(ratios, moments.shifts[:, :, None])[:, :, 0]
        squares = (product(ratios, moments.spreads) * ratios).sum(axis=(1, 2))
    squares = squares + (centres**2).sum(axis=1)
    log_joint = _log_weights(weights) - log_dets - 0.5 * squares
    return (moments.counts * log_joint).sum()


# What went wrong


def least_variances(components, floor):
    """The variance at which each component, in each direction, counts as collapsed.

    It is the floor; or where rounding the points, seen from the centre, shows in y; or
    where a covariance matrix cannot hold it beside its other entries.
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
    # not (a > b) rather than a <= b: nan counts as collapsed
    bad = ~(sigmas**2 > limits).all(axis=1)
    if floored and roots.ndim == 3:
        singular = of_each(partial(jnp.linalg.svd, compute_uv=False), roots, axis)
        error = 16 * roots.shape[-1] * jnp.finfo(roots.dtype).eps * singular[:, :1]
        bad = bad | ~(singular > jnp.sqrt(floor) + error).all(axis=1)
    worst = jnp.argmin(sigmas**2 / limits, axis=1)
    return bad, jnp.take_along_axis(limits, worst[:, None], axis=1)[:, 0]


def equal(components):
    """Components that have the mean and the covariance of another one."""
    _, means, roots = components
    tolerance = jnp.sqrt(jnp.finfo(means.dtype).eps)
    roots = roots.reshape(len(means), -1)
    size = jnp.abs(roots).max(axis=1)
    apart = jnp.abs(means[:, None, :] - means[None, :, :]).max(axis=2)
    wider = jnp.abs(roots[:, None, :] - roots[None, :, :]).max(axis=2)
    same = jnp.maximum(apart, wider) < tolerance * size[:, None]
    return same.sum(axis=1) > 1
