"""What a valid argument is.

Each function returns its argument as an array, or raises a ValueError that names
the argument, says what came and what was wanted. Shapes are checked always; values
only where there are any, so that `jit`, `vmap` and `grad` see no difference.
"""

import operator

import jax
import jax.numpy as jnp
import numpy as np

# Entries that are looked at together.
BLOCK = 2**18


def as_array(name, value, *shapes, **sizes):
    """Return `value` as a finite floating array of one of the named shapes.

    `as_array("x", x, "n d", d=2)` wants two axes, the second of length 2.
    """
    try:
        if isinstance(value, np.ndarray | np.number | float | int):
            # jnp.asarray would compile a program for each new shape of these
            value = jax.device_put(value, may_alias=False)
        array = jnp.asarray(value)
        if not jnp.issubdtype(array.dtype, jnp.floating):
            array = jnp.asarray(value, dtype=float)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(
            f"{name}: got {type(value).__name__} {value!r:.60}, wanted real numbers"
        ) from error
    if not any(_fits(array.shape, shape.split(), sizes) for shape in shapes):
        wanted = " or ".join(f"({', '.join(shape.split())})" for shape in shapes)
        known = ", ".join(f"{axis} = {size}" for axis, size in sizes.items())
        raise ValueError(
            f"{name}: got shape {array.shape}, wanted {wanted}"
            + (f" with {known}" if known else "")
            + _hint(array.shape, shapes, sizes)
        )
    if 0 in array.shape:
        raise ValueError(f"{name}: got shape {array.shape}, wanted at least one entry")
    _every(name, array, np.isfinite, "finite numbers")
    return array


def positive(name, value, *shapes, **sizes):
    """Return `value` as an array whose entries are all above zero."""
    array = as_array(name, value, *shapes, **sizes)
    _every(name, array, lambda entries: entries > 0, "entries above 0")
    return array


def not_negative(name, value, *shapes, **sizes):
    """Return `value` as an array whose entries are all at least zero."""
    array = as_array(name, value, *shapes, **sizes)
    _every(name, array, lambda entries: entries >= 0, "entries of at least 0")
    return array


def simplex(name, value, shape, **sizes):
    """Return `value` as probabilities that sum to one, along the last axis."""
    array = not_negative(name, value, shape, **sizes)
    if not isinstance(array, jax.core.Tracer):
        totals = np.asarray(array, dtype=float).sum(axis=-1)
        # k summands, each rounded once: the honest size of the rounding error
        error = 4 * array.shape[-1] * float(jnp.finfo(array.dtype).eps)
        bad = np.argwhere(np.abs(totals - 1.0) > error)
        if len(bad):
            where = tuple(map(int, bad[0]))
            place = f" in row {where[0]}" if where else ""
            raise ValueError(
                f"{name}: got a sum of {totals[where]}{place}, wanted a sum of 1"
            )
    return array


def log_density(name, value, *shapes, **sizes):
    """Return `value` as an array of logs: finite, or -inf where the density is 0."""
    array = jnp.asarray(value)
    if isinstance(array, jax.core.Tracer):
        as_array(name, array, *shapes, **sizes)
    else:
        known = np.asarray(array)
        as_array(name, np.where(np.isneginf(known), 0, known), *shapes, **sizes)
        nowhere = np.argwhere(np.isneginf(np.asarray(array)).all(axis=-1))
        if len(nowhere):
            raise ValueError(
                f"{name}: got -inf for every z"
                + (f" in row {nowhere[0][0]}" if array.ndim > 1 else "")
                + ", wanted a finite entry"
            )
    return array


def at_least_distinct(name, x, least):
    """Raise unless the points `n d` have at least so many distinct ones."""
    if isinstance(x, jax.core.Tracer):
        return
    parts = [part for _, part in _parts(x)]
    distinct, size = 0, 1024
    while distinct < least and size < 4 * max(len(x), 1024):
        # the first rows nearly always suffice, and to sort all of them is slow
        some = np.concatenate([part[:size] for part in parts])
        distinct = len(np.unique(some, axis=0))
        size *= 4
    if distinct < least and x.is_fully_addressable:
        raise ValueError(
            f"{name}: got {distinct} distinct points, wanted at least num_components = "
            f"{least}"
        )


def covariance(name, value, *shapes, **sizes):
    """Return `value` as positive variances, or symmetric positive definite matrices."""
    array = as_array(name, value, *shapes, **sizes)
    if array.ndim < 3:
        return positive(name, array, *shapes, **sizes)
    if not isinstance(array, jax.core.Tracer):
        for index, matrix in enumerate(np.asarray(array, dtype=float)):
            skew = np.abs(matrix - matrix.T).max()
            if skew > 1e-5 * np.abs(matrix).max():
                raise ValueError(
                    f"{name}: got entries {skew:.4g} apart across the diagonal of "
                    f"matrix {index}, wanted a symmetric matrix"
                )
            values = np.linalg.eigvalsh(matrix)
            # an eigenvalue of 0 comes out of rounding as this, with either sign
            if values[0] <= len(matrix) * jnp.finfo(array.dtype).eps * values[-1]:
                raise ValueError(
                    f"{name}: got the eigenvalue {values[0]:.4g} in matrix {index}, "
                    "wanted all above 0 (positive definite)"
                )
    return array


def one_of(name, value, *choices):
    """Return `value` if it is one of the choices."""
    if value not in choices:
        raise ValueError(
            f"{name}: got {value!r}, wanted {' or '.join(map(repr, choices))}"
        )
    return value


def count(name, value, *, low=1, high=None):
    """Return `value` as an int between `low` and `high`, both allowed."""
    try:
        number = operator.index(value)
    except TypeError:
        raise ValueError(f"{name}: got {value!r}, wanted a whole number") from None
    if number < low or (high is not None and number > high):
        wanted = f"at least {low}" if high is None else f"{low} to {high}"
        raise ValueError(f"{name}: got {number}, wanted {wanted}")
    return number


def key(value):
    """Return `value` if it is one typed key, as `jax.random.key(0)` makes it."""
    dtype = getattr(value, "dtype", None)
    is_key = dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key)
    if not is_key or value.shape:
        raise ValueError(
            f"key: got {type(value).__name__}, wanted one key from jax.random.key(seed)"
        )
    return value


def _fits(shape, axes, sizes):
    return len(shape) == len(axes) and all(
        sizes.get(axis, length) == length
        for axis, length in zip(axes, shape, strict=True)
    )


def _hint(shape, shapes, sizes):
    if shapes != ("n d",) or len(shape) != 1:
        return ""
    many, one = "x[:, None] for points of one dimension", "x[None, :] for one point"
    known = {1: many, shape[0]: one}.get(sizes.get("d"), f"{many} or {one}")
    return f": each row is one point, so use {known}"


def _every(name, array, condition, wanted):
    if isinstance(array, jax.core.Tracer):
        return
    for start, part in _parts(array):
        # a mask of all the entries would be memory that grows with them
        blocks = np.array_split(part.reshape(-1), 1 + part.size // BLOCK)
        if all(condition(block).all() for block in blocks):
            continue
        bad = np.argwhere(~condition(part))
        where = tuple(map(int, bad[0] + start))
        place = f" at index {where}" if where else ""
        raise ValueError(
            f"{name}: got {part[tuple(bad[0])]}{place} "
            f"({len(bad)} of {part.size} entries), wanted {wanted}"
        )


def _parts(array):
    """Where each part of an array starts, and its entries, as far as they are here.

    Spread over devices an array is looked at part by part, and over processes each
    looks at its own: to bring it together could take more memory than there is.
    """
    if array.is_fully_replicated:
        return [(np.zeros(array.ndim, int), np.asarray(array))]
    return [
        (np.array([part.start or 0 for part in shard.index]), np.asarray(shard.data))
        for shard in array.addressable_shards
    ]
