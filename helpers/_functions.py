"""Compile what calls somebody's Python function, and never run a version gone stale.

`jax.jit` takes a function for the same as long as it is the same object. A student's f
may read a number that changes, or be defined again. So a program is kept for what f is
made of: its code, and the values of all that the code reads. Where one of these can
change unseen (a list, an object, a file), f is called uncompiled, which is slower and
always right.
"""

import dis
import functools
import itertools
import sys
import types
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import numpy as np
import optax

# Programs that are kept, each of about a megabyte.
KEPT = 32
# Larger arrays of NumPy's, which can be written to, are not compared by their entries.
MAX_BYTES = 2**16
# What these packages define is taken to stay as it is.
LIBRARIES = {"jax", "math", "numpy", "optax", "helpers"}
# What a library's functions of these names return depends on more than arguments.
IMPURE = {"fromfile", "genfromtxt", "load", "loadtxt", "memmap", "random"}
PURE_BUILTINS = {
    *(abs, all, any, bool, complex, divmod, enumerate, float, int, isinstance, len),
    *(list, map, max, min, pow, range, reversed, round, slice, sorted, sum, tuple, zip),
}
READS = {"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"}
# Instructions that reach out of a function.
REACHES_OUT = ("IMPORT_", "STORE_ATTR", "STORE_GLOBAL", "STORE_SLICE", "STORE_SUBSCR")
REACHES_OUT += ("DELETE_ATTR", "DELETE_GLOBAL", "DELETE_SUBSCR")


def run(function, constants, **arguments):
    """Call `function(**arguments)`, compiled where that is safe.

    The arguments named in `constants`, and words, are constants of the program. A
    function of one code with ever new values, as a slider makes, would be compiled for
    each: so when a code comes with other values than at first, it is run uncompiled
    until the same values come again.
    """
    words = [name for name, value in arguments.items() if isinstance(value, str)]
    fixed = {name: arguments.pop(name) for name in {*constants, *words}}
    try:
        recipe = Recipe(fixed)
    except Unknown:
        return function(**fixed, **arguments)
    program = _current_program(function, recipe)
    is_first_call = next(program.calls) == 0
    if is_first_call and not program.first_of_its_code:
        return function(**fixed, **arguments)
    return program.compiled(**arguments)


def compiled(function, **constants):
    """Return `function` with these constants, compiled: the same again if it may be.

    Where a constant can change unseen, each call of this compiles again. That is for
    loops that are long enough to be worth it.
    """
    try:
        return _current_program(function, Recipe(constants)).compiled
    except Unknown:
        return jax.jit(functools.partial(function, **constants))


class Unknown(Exception):
    """Something may change without a sign of it."""


class Recipe:
    """Constants that are equal when they are made of equal things."""

    def __init__(self, constants):
        """Look at each of them, or raise Unknown."""
        self.constants = constants
        self.parts = tuple(
            (name, made_of(constants[name])) for name in sorted(constants)
        )
        self.hash = hash(self.parts)

    def __eq__(self, other):
        """Compare what they are made of."""
        return self.parts == other.parts

    def __hash__(self):
        """Hash what they are made of."""
        return self.hash


class Same:
    """An object that equals only itself. It is kept, so that its id stays its own."""

    def __init__(self, value):
        """Keep the object."""
        self.value = value

    def __eq__(self, other):
        """Whether both are one object."""
        return isinstance(other, Same) and self.value is other.value

    def __hash__(self):
        """Hash the object's place."""
        return id(self.value)


class Program(NamedTuple):
    """A compiled function, and when it is used."""

    recipe: Recipe
    compiled: Callable
    calls: Iterator[int]
    first_of_its_code: bool


def _current_program(function, recipe):
    program = _program(function, recipe)
    # For arguments of another shape JAX traces again. Then it must see the functions
    # of today: those that were equal once may have changed.
    program.recipe.constants = recipe.constants
    return program


@functools.lru_cache(maxsize=KEPT)
def _program(function, recipe):
    alike = [_code(recipe.constants[name], part) for name, part in recipe.parts]
    return Program(
        recipe=recipe,
        compiled=jax.jit(lambda *args, **kw: function(*args, **kw, **recipe.constants)),
        calls=itertools.count(),
        first_of_its_code=next(_programs_of(function, *alike)) == 0,
    )


def _code(constant, part):
    """A function's code without what it reads; any other constant as it is."""
    while isinstance(constant, functools.partial):
        constant = constant.func
    return getattr(constant, "__code__", part)


@functools.lru_cache(maxsize=KEPT)
def _programs_of(function, *alike):
    """Count the programs whose constants differ only in what their code reads."""
    return itertools.count()


def made_of(value, names=frozenset(), seen=()):
    """Return something hashable that is equal for values that act alike, or raise.

    Args:
        value: anything.
        names: the names that the code which reads this value mentions.
        seen: functions that this is a part of, since a function can read itself.
    """
    kind = type(value)
    if value is None or kind in (bool, int, str, bytes, range):
        return kind, value
    if kind in (float, complex):
        return kind, repr(value)  # nan equals itself, and -0.0 is another than 0.0
    if isinstance(value, jax.core.Tracer):
        raise Unknown
    if isinstance(value, jax.Array):
        return Same(value)
    if isinstance(value, np.ndarray | np.generic):
        return _entries(value)
    if isinstance(value, optax.GradientTransformation):
        return Same(value)
    if kind is tuple or (isinstance(value, tuple) and _of_library(kind)):
        return kind, tuple(made_of(each, names, seen) for each in value)
    if isinstance(value, types.ModuleType):
        return _module(value, names)
    if _of_library(value) or _is_pure_builtin(value):
        return Same(value)
    if kind is functools.partial:
        parts = value.func, value.args, tuple(sorted(value.keywords.items()))
        return kind, tuple(made_of(each, names, seen) for each in parts)
    if isinstance(value, types.FunctionType):
        return _function(value, seen)
    if isinstance(value, type(jax.jit(abs))):
        return Same(value), made_of(value.__wrapped__, names, seen)
    raise Unknown


def _entries(array):
    if type(array) is not np.ndarray and not isinstance(array, np.generic):
        raise Unknown  # a masked array, or another that means more than its entries
    if array.dtype.hasobject or array.nbytes > MAX_BYTES:
        raise Unknown
    return type(array), array.dtype.str, array.shape, array.tobytes()


def _module(module, names):
    root = module.__name__.partition(".")[0]
    if root not in LIBRARIES or names & (IMPURE - {"random"}):
        raise Unknown
    if root == "numpy" and "random" in (names | set(module.__name__.split("."))):
        raise Unknown
    return Same(module)


def _of_library(value):
    """Whether a library defines it, under its own name."""
    if isinstance(value, np.ufunc):
        return True
    module, name = getattr(value, "__module__", None), getattr(value, "__name__", "")
    if not isinstance(module, str) or module.partition(".")[0] not in LIBRARIES:
        return False
    defined = getattr(sys.modules.get(module), name, None)
    return defined is value and name not in IMPURE and "random" not in module


def _is_pure_builtin(value):
    try:
        return value in PURE_BUILTINS
    except TypeError:  # it has no hash
        return False


def _function(f, seen):
    """The code, and all that it reads besides its arguments."""
    if f in seen:
        return "itself", seen.index(f)
    seen = (*seen, f)
    code, inside = f.__code__, f.__globals__.get("__name__", "")
    if inside.partition(".")[0] in LIBRARIES:
        if f.__name__ in IMPURE:
            raise Unknown
        read, names = (), frozenset()  # made by a library, such as `jax.grad(f)`
    else:
        read, names = _reads(code)
    builtins = sys.modules["builtins"].__dict__
    held = {name: f.__globals__.get(name, builtins.get(name, Same)) for name in read}
    held |= {f"default {i}": value for i, value in enumerate(f.__defaults__ or ())}
    held |= {f"default {k}": value for k, value in (f.__kwdefaults__ or {}).items()}
    held |= {f"attribute {k}": value for k, value in vars(f).items()}
    for name, cell in zip(code.co_freevars, f.__closure__ or (), strict=True):
        try:
            held[f"cell {name}"] = cell.cell_contents
        except ValueError:  # not defined yet
            held[f"cell {name}"] = Same
    return code, tuple(
        # `Same` itself stands for what is not there
        (name, None if value is Same else made_of(value, names, seen))
        for name, value in held.items()
    )


@functools.lru_cache(maxsize=256)
def _reads(code):
    """The globals that a code reads, and all names in it; with those inside it."""
    read, names = set(), set(code.co_names)
    for instruction in dis.get_instructions(code):
        if instruction.opname in READS:
            read.add(instruction.argval)
        elif instruction.opname.startswith(REACHES_OUT) or (
            instruction.opname in ("STORE_DEREF", "DELETE_DEREF")
            and instruction.argval in code.co_freevars
        ):
            raise Unknown
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            inner_read, inner_names = _reads(inner)
            read |= set(inner_read)
            names |= inner_names
    return tuple(sorted(read)), frozenset(names)
