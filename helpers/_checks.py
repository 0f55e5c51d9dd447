"""Check the arguments of the public functions, so that their bodies are only formulas.

The decorator `checked` reads the annotations of a function and takes them as a contract
for its arguments:

    @checked
    def log_prob(params: Mixture, x: Float[Array, "n d"]) -> Float[Array, " n"]:
        return logsumexp(log_joint(params, x), axis=1)

    log_prob(params, [[1, 2, 3]])     # params.means has shape (k, d) = (2, 2)
    ValueError: x: got shape (1, 3), expected (n, d) with d = 2

A call first converts and checks each argument, in order, as its annotation says:

- `Float[Array, "n d"]`: whatever NumPy can read as real numbers becomes an array of
  floats with two axes. An axis name stands for one length in the whole call: here
  `params` has fixed d, so x must have d columns. All numbers must be finite.
- a NamedTuple such as `Mixture`: each field is checked by the annotation of the field.
- `int`: a whole number of at least 1. `bool`: True or False. `Literal["a", "b"]`: one
  of these words. `Callable`: a function. `Key[Array, ""]`: a key of `jax.random.key`.
- `Annotated[..., check]`: checked by a function of this module, such as `positive` or
  `simplex`, that is given the argument's name, its value, the shapes that are allowed
  and the lengths of the axes so far.

Then it runs the function, compiled by `jax.jit`. A wrong argument raises a ValueError
with its name, what was given and what was expected.

Inside `jit`, `vmap` or `grad` an argument has a shape but no values yet. Shapes are
checked there too; values are checked only if there are any.
"""

import collections.abc
import decimal
import functools
import inspect
import numbers
import operator
import types
import typing
from types import NoneType
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import AbstractArray, Array, Float

from helpers import _functions

# How many entries of an array are checked at a time.
BLOCK = 2**18


def checked(function=None, *, check_together=None, check_result=None, compiled=True):
    """Check a function's arguments by their annotations, and compile the function.

    The head of this module says what the annotations mean. In the compiled program,
    arguments that are not arrays (counts, words, functions) are constants. A function
    that a student passes in may change between two calls; see `_functions`.

    Args:
        function: the function to wrap.
        check_together: for conditions that involve several arguments. It is called with
            all the valid arguments by name, and raises a ValueError if they do not fit
            together.
        check_result: for conditions that only the result shows. It is called with the
            result, and with the arguments by name, and raises a ValueError. It is
            skipped inside `jit`, `vmap` and `grad`, where there are no values.
        compiled: False for a function that only calls others, which are compiled.
    """
    if function is None:
        return functools.partial(
            checked,
            check_together=check_together,
            check_result=check_result,
            compiled=compiled,
        )
    signature = inspect.signature(function)
    hints = typing.get_type_hints(function, include_extras=True)
    parameters = signature.parameters.values()
    contract = {p.name: reader(hints[p.name]) for p in parameters}
    positional = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
    names = contract.keys()
    run = _compiled(function, hints, list(contract)) if compiled else function

    @functools.wraps(function)
    def with_valid_arguments(*args, **kwargs):
        given = dict(zip(positional, args, strict=False)) | kwargs
        if len(given) < len(args) + len(kwargs) or not kwargs.keys() <= names:
            signature.bind(*args, **kwargs)  # raises Python's own TypeError
        sizes = {}  # the length of each named axis so far
        arguments = {}
        for name, read in contract.items():
            if name in given:
                arguments[name] = read(name, given[name], sizes)
            elif name in defaults:
                arguments[name] = read(name, defaults[name], sizes)
            else:
                signature.bind(*args, **kwargs)  # an argument is missing: TypeError
        if check_together is not None:
            check_together(**arguments)
        result = run(**arguments)
        if check_result is not None:
            has_values = not any(map(is_traced, jax.tree.leaves(result)))
            if has_values:
                check_result(result, **arguments)
        return result

    return with_valid_arguments


def _compiled(function, hints, names):
    constants = [name for name in names if not _may_be_traced(hints[name])]
    if any(_is_function(hints[name]) for name in constants):
        return functools.partial(_functions.run, function, constants)
    return jax.jit(function, static_argnames=constants)


@functools.cache
def reader(annotation):
    """Return a function that converts and checks a value as an annotation says.

    It is called with the argument's name, its value, and the lengths of the named axes
    so far; it adds those of this value to them, so that later arguments must agree.
    """
    options = _options(annotation)
    kinds = [kind for kind, _ in options]
    checks = [check for _, check in options if check]
    may_be_none = NoneType in kinds
    tuples = [kind for kind in kinds if hasattr(kind, "_fields")]
    shapes = [kind.dim_str for kind in kinds if _is_floats(kind)]
    words = [w for kind in kinds for w in typing.get_args(kind) if _is_words(kind)]

    def read(name, value, sizes):
        if value is None and may_be_none:
            return None
        if tuples and checks:
            return checks[0](name, value, sizes)
        if tuples:
            return _valid_tuple(name, value, tuples[0], sizes)
        if words and not (shapes and not isinstance(value, str)):
            return one_of(name, value, *words)
        if shapes:
            array = (checks or [as_array])[0](name, value, *shapes, **sizes)
            sizes.update(_sizes(array.shape, shapes, sizes))
            return array
        if checks:
            return checks[0](name, value)
        if any(map(_is_key, kinds)):
            return key(value)
        if int in kinds:
            return count(name, value)
        if bool in kinds:
            return bool(one_of(name, value, True, False))
        if _is_function(annotation):
            return function(name, value)
        return value

    return read


def as_array(name, value, *shapes, **sizes):
    """Return `value` as a finite floating array of one of the named shapes.

    `as_array("x", x, "n d", d=2)` expects two axes, the second of length 2.
    """
    array = _shaped(name, value, shapes, sizes)
    _every(name, array, np.isfinite, "finite numbers")
    return array


def _shaped(name, value, shapes, sizes):
    array = _floats(name, value, of_points=shapes == ("n d",))
    if not any(_fits(array.shape, _axes(shape), sizes) for shape in shapes):
        expected = " or ".join(f"({', '.join(shape.split())})" for shape in shapes)
        axes = {axis for shape in shapes for axis in shape.split()}
        known = ", ".join(f"{axis} = {n}" for axis, n in sizes.items() if axis in axes)
        raise ValueError(
            f"{name}: got shape {array.shape}, expected {expected}"
            + (f" with {known}" if known else "")
            + _hint(array.shape, shapes, sizes)
        )
    if 0 in array.shape:
        raise ValueError(
            f"{name}: got shape {array.shape}, expected at least one entry"
        )
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


def simplex(name, value, *shapes, **sizes):
    """Return `value` as probabilities that sum to one along the last axis."""
    array = not_negative(name, value, *shapes, **sizes)
    if not is_traced(array):
        totals = np.asarray(array, dtype=float).sum(axis=-1)
        # a bound on the rounding error of a sum of k numbers, each of them rounded
        error = 4 * array.shape[-1] * float(jnp.finfo(array.dtype).eps)
        bad = np.argwhere(np.abs(totals - 1.0) > error)
        if len(bad):
            where = tuple(map(int, bad[0]))
            place = f" in row {where[0]}" if where else ""
            raise ValueError(
                f"{name}: got a sum of {totals[where]}{place}, expected a sum of 1"
            )
    return array


def log_density(name, value, *shapes, **sizes):
    """Return `value` as an array of logs: finite, or -inf where the density is 0."""
    array = _shaped(name, value, shapes, sizes)
    _every(name, array, lambda logs: logs < np.inf, "finite numbers")
    if not is_traced(array):
        nowhere = np.argwhere(np.isneginf(np.asarray(array)).all(axis=-1))
        if len(nowhere):
            raise ValueError(
                f"{name}: got -inf for every z"
                + (f" in row {nowhere[0][0]}" if array.ndim > 1 else "")
                + ", expected a finite entry"
            )
    return array


def covariance(name, value, *shapes, **sizes):
    """Return `value` as positive variances, or symmetric positive definite matrices."""
    array = as_array(name, value, *shapes, **sizes)
    if array.ndim < 3:
        return positive(name, array, *shapes, **sizes)
    if not is_traced(array):
        for index, matrix in enumerate(np.asarray(array, dtype=float)):
            _positive_definite(name, index, matrix, array.dtype)
    return array


def _positive_definite(name, index, matrix, dtype):
    skew = np.abs(matrix - matrix.T).max()
    if skew > 1e-5 * np.abs(matrix).max():
        raise ValueError(
            f"{name}: got entries {skew:.4g} apart across the diagonal of matrix "
            f"{index}, expected a symmetric matrix"
        )
    variances = np.diagonal(matrix)
    if not (variances > 0).all():
        raise ValueError(
            f"{name}: got the variance {variances.min():.4g} in matrix {index}, "
            "expected all above 0"
        )
    # Correlations are checked, so that the units of the columns make no difference.
    scale = np.sqrt(variances)
    least = np.linalg.eigvalsh(matrix / scale[:, None] / scale[None, :])[0]
    # Because of rounding, an eigenvalue of 0 may be computed as up to this, + or -.
    error = len(matrix) * float(jnp.finfo(dtype).eps)
    if least < -error:
        raise ValueError(
            f"{name}: got the eigenvalue {np.linalg.eigvalsh(matrix)[0]:.4g} in matrix "
            f"{index}, expected all above 0 (positive definite)"
        )
    if least <= error:
        advice = ", or compute in float64" if dtype == jnp.float32 else ""
        raise ValueError(
            f"{name}: got an eigenvalue in matrix {index} that is too small compared "
            f"with the largest for {dtype}, expected a positive definite matrix, whose "
            f"columns do not depend on each other; leave a column out{advice}"
        )


def at_least_distinct(name, x, least, parts=None):
    """Raise unless at least this many of the points `n d` are distinct.

    Points in float32 must also be far enough apart for float32 to distinguish them. If
    the points are not in memory, `parts` are arrays of their rows.
    """
    if is_traced(x):
        return
    if parts is None:
        parts = [part for _, part in _parts(x)]
        if x.dtype == jnp.float32:
            for part in parts:
                told_apart(name, *_ends(part))
        if not x.is_fully_addressable:  # other processes may hold further points
            return
    # The first few rows are nearly always enough, so they are compared one by one.
    distinct = set()
    for part in parts:
        for start in range(0, len(part), 1024):
            rows = part[start : start + 1024] + 0.0  # -0.0 becomes 0.0
            for row in rows:
                distinct.add(row.tobytes())
                if len(distinct) >= least:
                    return
    in_float32 = "" if part.dtype != np.float32 else f" in float32; {_APART}"
    raise ValueError(
        f"{name}: got {len(distinct)} distinct points, expected at least "
        f"num_components = {least}{in_float32}"
    )


def _ends(points):
    """The smallest and the largest number in each column."""
    # Many rows are put side by side, because NumPy is slow on many short rows.
    n, d = points.shape
    rows = n // 256 * 256
    wide = points[:rows].reshape(-1, 256 * d) if rows else points[:1]
    low = wide.min(axis=0).reshape(-1, d)
    high = wide.max(axis=0).reshape(-1, d)
    rest = points[rows:]
    low = np.concatenate([low, rest]).min(axis=0)
    high = np.concatenate([high, rest]).max(axis=0)
    return low, high


def told_apart(name, low, high):
    """Raise if float32 cannot tell apart the numbers of a column, `low` to `high`."""
    sizes = np.maximum(np.abs(low), np.abs(high))
    ranges = np.asarray(high, float) - low
    if (ranges > sizes / 1024).all():  # the usual case, without any doubt
        return
    steps = np.spacing(np.asarray(sizes, np.float32)).astype(float)
    # A column that is constant, up to rounding in double precision, is fine.
    some = ranges > 64 * np.finfo(float).eps * sizes
    bad = np.flatnonzero(some & (steps > ranges / 100))
    if len(bad):
        column = int(bad[0])
        raise ValueError(
            f"{name}: got numbers up to {sizes[column]:.4g} in column {column} that "
            f"lie within {ranges[column]:.2g} of each other, where float32 has steps "
            f"of {steps[column]:.2g}, expected points that float32 can tell apart; "
            f"{_APART}"
        )


_APART = (
    "if they differ in later digits, subtract each column's mean before they become "
    'float32, or compute in float64 after jax.config.update("jax_enable_x64", True)'
)


def one_of(name, value, *choices):
    """Return `value` if it is one of the choices."""
    # `in` would compare an array entry by entry.
    if not any(type(value) in (type(c), np.bool) and value == c for c in choices):
        expected = " or ".join(map(repr, choices))
        raise ValueError(f"{name}: got {value!r:.60}, expected {expected}")
    return value


def count(name, value, *, low=1, high=None):
    """Return `value` as an int between `low` and `high`, both allowed."""
    try:
        number = operator.index(value)
    except TypeError:
        raise ValueError(
            f"{name}: got {value!r:.60}, expected a whole number"
        ) from None
    if number < low or (high is not None and number > high):
        expected = f"at least {low}" if high is None else f"{low} to {high}"
        raise ValueError(f"{name}: got {number}, expected {expected}")
    return number


def key(value):
    """Return `value` if it is one typed key, as `jax.random.key(0)` makes it."""
    dtype = getattr(value, "dtype", None)
    is_key = dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key)
    if not is_key or value.shape:
        raise ValueError(
            f"key: got {type(value).__name__}, expected one key from "
            "jax.random.key(seed)"
        )
    return value


def optimizer(name, value):
    """Return `value` if it is an optax optimiser."""
    if not (hasattr(value, "init") and hasattr(value, "update")):
        raise ValueError(
            f"{name}: got {type(value).__name__}, expected an optax optimiser"
        )
    return value


def function(name, value):
    """Return `value` if it can be called."""
    if not callable(value):
        raise ValueError(
            f"{name}: got {type(value).__name__} {value!r:.60}, expected a function"
        )
    return value


# Annotations that several modules use.
Positive = Annotated[float | Float[Array, ""], positive]
NotNegative = Annotated[float | Float[Array, ""], not_negative]
Optimizer = Annotated[Any, optimizer]


def _options(annotation):
    """The alternatives in an annotation, each with its check or None."""
    if typing.get_origin(annotation) is Annotated:
        check = annotation.__metadata__[0]
        return [(kind, check) for kind, _ in _options(annotation.__origin__)]
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return [o for each in typing.get_args(annotation) for o in _options(each)]
    return [(annotation, None)]


def _is_words(kind):
    return typing.get_origin(kind) is Literal


def _is_function(annotation):
    origins = [typing.get_origin(kind) for kind, _ in _options(annotation)]
    return collections.abc.Callable in origins


def _is_floats(kind):
    return _is_array(kind) and not _is_key(kind)


def _is_array(kind):
    return inspect.isclass(kind) and issubclass(kind, AbstractArray)


def _is_key(kind):
    return _is_array(kind) and kind.dtypes == ("prng_key",)


def _may_be_traced(annotation):
    """Whether a value may be an array in the program, rather than a constant of it."""
    return annotation is Any or any(
        _is_array(kind) or hasattr(kind, "_fields") for kind, _ in _options(annotation)
    )


def _valid_tuple(name, value, kind, sizes):
    if not isinstance(value, kind):
        raise ValueError(
            f"{name}: got {type(value).__name__}, expected "
            f"{kind.__name__}({', '.join(kind._fields)})"
        )
    if hasattr(kind, "_valid"):  # conditions that involve several of its fields
        return value._valid(name, sizes)
    return kind(
        *(
            read(f"{name}.{field}", getattr(value, field), sizes)
            for field, read in _contract_of_fields(kind)
        )
    )


@functools.cache
def _contract_of_fields(kind):
    hints = typing.get_type_hints(kind, include_extras=True)
    return [(field, reader(hints[field])) for field in kind._fields]


def _sizes(shape, shapes, sizes):
    """The lengths of the axes by name, from the shape that fits."""
    axes = next(_axes(s) for s in shapes if _fits(shape, _axes(s), sizes))
    return dict(zip(axes, shape, strict=True))


def is_traced(value):
    """Return whether JAX is tracing `value`, so that it has a shape but no numbers."""
    return isinstance(value, jax.core.Tracer)


def _floats(name, value, of_points=False):
    """A value as an array of floats on the device, in its own precision.

    Whole numbers become floats before they reach the device, because the device would
    wrap them to 32 bits. Half precision becomes float32, because sums would overflow.
    """
    if isinstance(value, jax.Array):
        if jnp.issubdtype(value.dtype, jnp.complexfloating):
            raise ValueError(f"{name}: got complex numbers, expected real numbers")
        if jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
            raise ValueError(f"{name}: got a random key, expected real numbers")
        if not jnp.issubdtype(value.dtype, jnp.floating):
            return value.astype(float)
        return value.astype(jnp.float32) if value.dtype.itemsize < 4 else value
    if any(map(is_traced, jax.tree.leaves(value))):
        return _stacked(name, value)
    array = _numpy_floats(name, value)
    dtype = jax.dtypes.canonicalize_dtype(array.dtype)
    if array.dtype != dtype:
        with np.errstate(over="ignore"):
            narrow = array.astype(dtype)
        lost = np.argwhere(np.isinf(narrow) & np.isfinite(array))
        if len(lost):
            raise ValueError(
                f"{name}: got {array[tuple(lost[0])]:.4g}{_place(lost[0])}, expected "
                "numbers that float32 can hold, up to 3.4e38; rescale them, or switch "
                'on jax.config.update("jax_enable_x64", True) first'
            )
        if of_points and array.ndim == 2 and array.size and np.isfinite(array).all():
            told_apart(name, *_ends(array))
        array = narrow
    if type(value) in (bool, int, float):
        # JAX gives a Python number the precision of the array it is combined with.
        return jax.device_put(float(value))
    # `jnp.asarray` would compile a program for each new shape.
    return jax.device_put(array, may_alias=False)


def _stacked(name, value):
    """A sequence with traced entries as one array."""
    try:
        return jnp.asarray(value, dtype=float)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{name}: got {type(value).__name__}, expected real numbers in rows of "
            "equal length"
        ) from error


def _numpy_floats(name, value):
    """A value as a NumPy array of float32 or float64."""
    if hasattr(value, "isna"):
        return _pandas_floats(name, value)
    if np.ma.isMaskedArray(value):
        _no_gaps(name, "a masked entry", np.ma.getmaskarray(value))
        value = value.data
    try:
        array = np.asarray(value)
        kind, size = array.dtype.kind, array.dtype.itemsize
        half = array.dtype.name in ("bfloat16", "float16")
        if kind in "USmM" or (kind == "V" and not half):
            raise TypeError
        if kind == "O":
            _only_numbers(name, array)
        if kind != "c":
            single = half or (kind == "f" and size == 4)
            return array.astype(np.float32 if single else np.float64)
    except (TypeError, OverflowError) as error:
        raise ValueError(_no_real_numbers(name, value)) from error
    except ValueError as error:
        if str(error).startswith(f"{name}: "):
            raise
        message = f"{_no_real_numbers(name, value)} in rows of equal length"
        raise ValueError(message) from error
    raise ValueError(f"{name}: got complex numbers, expected real numbers")


def _no_real_numbers(name, value):
    """Say what came instead of real numbers. Only for errors: to print is slow."""
    return f"{name}: got {type(value).__name__} {value!r:.60}, expected real numbers"


def _only_numbers(name, objects):
    """Raise at the first Python object that is not a real number."""
    for where, entry in np.ndenumerate(objects):
        if not isinstance(entry, numbers.Real | np.bool | decimal.Decimal):
            raise ValueError(
                f"{name}: got {type(entry).__name__} {entry!r:.60}{_place(where)}, "
                "expected real numbers"
            )


def _no_gaps(name, what, gaps):
    first = np.argwhere(gaps)[:1]
    if len(first):
        raise ValueError(
            f"{name}: got {what}{_place(first[0])} ({np.sum(gaps)} of {gaps.size} "
            "entries), expected finite numbers"
        )


def _pandas_floats(name, value):
    """A series or a frame as floats, whatever numbers its columns hold."""
    if not hasattr(value, "columns"):
        _no_gaps(name, "a gap", np.asarray(value.isna()))
        return _numpy_floats(name, value.to_numpy())
    columns = []
    for label, column in value.items():
        _no_gaps(name, f"a gap in column {label!r}", np.asarray(column.isna()))
        try:
            columns.append(_numpy_floats(name, column.to_numpy()))
        except ValueError:
            raise ValueError(
                f"{name}: got column {label!r} of {column.dtype}, expected real numbers"
            ) from None
    return np.stack(columns, axis=1) if columns else np.zeros(value.shape)


def _place(where):
    where = tuple(map(int, where))
    return f" at index {where}" if where else ""


@functools.cache
def _axes(shape):
    return tuple(shape.split())


def _fits(shape, axes, sizes):
    return len(shape) == len(axes) and all(
        sizes.get(axis, length) == length
        for axis, length in zip(axes, shape, strict=True)
    )


def _hint(shape, shapes, sizes):
    if tuple(shapes) != ("n d",) or len(shape) != 1:
        return ""
    many, one = "x[:, None] for points of one dimension", "x[None, :] for one point"
    known = {1: many, shape[0]: one}.get(sizes.get("d"), f"{many} or {one}")
    return f": each row is one point, so use {known}"


def _every(name, array, condition, expected):
    if is_traced(array):
        return
    for start, part in _parts(array):
        # Block by block, because a mask of all entries would take memory like them.
        flat = part.reshape(-1)
        blocks = (flat[i : i + BLOCK] for i in range(0, part.size, BLOCK))
        if all(condition(block).all() for block in blocks):
            continue
        bad = np.argwhere(~condition(part))
        raise ValueError(
            f"{name}: got {part[tuple(bad[0])]}{_place(bad[0] + start)} "
            f"({len(bad)} of {part.size} entries), expected {expected}"
        )


def _parts(array):
    """Where each part of an array starts, and its entries, as far as they are here.

    An array that is spread over devices is checked part by part, and each process
    checks only its own parts: bringing them together could take too much memory.
    """
    if array.is_fully_replicated:
        return [(0, np.asarray(array))]
    return [
        (np.array([part.start or 0 for part in shard.index]), np.asarray(shard.data))
        for shard in array.addressable_shards
    ]
