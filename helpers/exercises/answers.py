"""Read what a student gives as an answer: a function, a number, a pair or an array."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from helpers.exercises import guard
from helpers.exercises.finding import NotAttemptedError, UnfitError


def attempted(answer: Any) -> Any:
    """Return an answer, or raise NotAttemptedError if it is still the stub's."""
    if answer is ... or answer is None:
        raise NotAttemptedError
    return answer


def called(answer: Any, *args: Any) -> Any:
    """Call an answer with some arguments, and return what it returns.

    Raises:
        NotAttemptedError: if it returns nothing, or what the stub returns.
        UnfitError: if it is not a function, or if it changes the precision of JAX.
    """
    if not callable(attempted(answer)):
        raise UnfitError(
            kind(answer), "a function", "Give the function's name, without brackets."
        )
    settings = jax.config.values
    try:
        output = answer(*args)
    finally:
        changed = guard.put_back(settings)
    if "jax_enable_x64" in changed:
        raise UnfitError(
            "numbers, but in another precision: jax_enable_x64 was changed",
            "numbers, and the settings of JAX unchanged",
            "Do not change jax.config in the function: it applies to later cells too.",
        )
    if output is None:
        raise NotAttemptedError("The function returned nothing. Is `return` missing?")
    return attempted(output)


def numbers(output: Any, name: str = "") -> np.ndarray:
    """Return what an answer returned as an array of doubles.

    Args:
        output: an array, a number, or lists of these, of any floating type.
        name: the name of this part of the result.

    Raises:
        UnfitError: if it does not consist of real numbers.
    """
    label = f"{name} = " if name else ""
    if callable(output):
        hint = "Call the function: put its arguments in brackets after its name."
        raise UnfitError(f"{label}a function", "real numbers", hint)
    if hasattr(output, "__next__"):  # a generator, map or zip
        hint = "Put list(...) around it."
        raise UnfitError(f"{label}{kind(output)}", "real numbers", hint)
    try:
        array = np.asarray(output)
        if array.dtype.kind not in "SUcmM":
            return array.astype(float)
    except (TypeError, ValueError) as error:
        if "inhomogeneous" in str(error):
            hint = "One of the entries has a different length or shape from the others."
            returned = f"{label}rows of different lengths"
            raise UnfitError(returned, "real numbers", hint) from error
        raise UnfitError(
            f"{label}{kind(output)} that cannot be read as numbers", "real numbers"
        ) from error
    found = "complex numbers" if array.dtype.kind == "c" else kind(output)
    raise UnfitError(f"{label}{found}", "real numbers")


def precision(output: Any) -> float:
    """Return the machine epsilon of the floating type of an answer."""
    dtype = np.asarray(output).dtype
    floating = jnp.issubdtype(dtype, jnp.floating)
    return float(jnp.finfo(dtype if floating else float).eps)


def one_number(answer: Any) -> float:
    """Return a finite number from an answer of any form that holds exactly one.

    Raises:
        UnfitError: if it is not a single number, or not finite.
    """
    array = numbers(answer)
    if array.size != 1:
        raise UnfitError(f"an array of shape {array.shape}", "one number")
    number = float(array.ravel()[0])
    if not np.isfinite(number):
        raise UnfitError(f"{number}", "a finite number")
    return number


def mean_and_sigma(answer: Any) -> tuple[float, float]:
    """Return the mean and sigma of a Gaussian over z.

    A `Gaussian` is accepted too; its second field is a variance.

    Raises:
        UnfitError: if these are not two finite numbers, or sigma is not above 0.
    """
    expected = "two numbers, (mean, sigma)"
    is_gaussian = hasattr(answer, "mean") and hasattr(answer, "variance")
    if is_gaussian:
        pair = (answer.mean, answer.variance)
        expected += f"; a {type(answer).__name__} has (mean, variance)"
    elif isinstance(answer, list | tuple):
        pair = tuple(answer)
    else:
        pair = tuple(numbers(answer).ravel())
    if len(pair) != 2:
        found = "one number" if len(pair) == 1 else f"{len(pair)} numbers"
        raise UnfitError(found, expected)
    first, second = (numbers(each) for each in pair)
    if first.size != 1 or second.size != 1:
        raise UnfitError(f"arrays of shape {first.shape} and {second.shape}", expected)
    mean = float(first.ravel()[0])
    sigma = float(second.ravel()[0])
    if not np.isfinite([mean, sigma]).all():
        raise UnfitError(f"({mean:g}, {sigma:g})", "finite numbers")
    if sigma <= 0:
        name = "variance" if is_gaussian else "sigma"
        raise UnfitError(f"{name} = {sigma:g}", f"a {name} above 0")
    return mean, float(np.sqrt(sigma)) if is_gaussian else sigma


def kind(value: Any) -> str:
    """Return the type of a value in words, with an article."""
    name = type(value).__name__
    known = {"str": "a text", "dict": "a dictionary", "complex": "a complex number"}
    article = "an" if name[:1].lower() in "aeiou" else "a"
    return known.get(name, f"{article} {name}")


def beyond(value: float, bound: float, decimals: int = 2) -> str:
    """Return a number as text, with enough decimals to distinguish it from a bound.

    With a bound of 0.07, the number 0.0702 must not be shown as "0.07".
    """
    while decimals < 17:
        text = f"{value:.{decimals}f}"
        below = float(text) < bound
        above = float(text) > bound
        if (below, above) == (value < bound, value > bound):
            return text
        decimals += 1
    return repr(float(value))
