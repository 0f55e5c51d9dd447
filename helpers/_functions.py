"""Compile code that calls a student's function, without ever using an outdated version.

The problem, in a notebook:

    scale = 2.0
    def f(z):
        return scale * z.sum()

    jax.jit(f)(z)       # compiles f with scale = 2
    scale = 3.0
    jax.jit(f)(z)       # still uses 2: f is the same object, so `jit` does not retrace

So this module asks what f is made of, and keeps a compiled program for that:

1. `made_of` collects the code of f and the values of everything that the code reads:
   globals, variables of enclosing functions, default arguments, and the same for the
   functions that f calls. The names of the globals are in f's bytecode (`_reads`).
2. If a program for the same code and the same values exists, it is used. Otherwise a
   new one is compiled.
3. If f reads something that can change without a sign, such as a list, an object or a
   file, or writes to something, `made_of` raises `Unknown`. Then f is called without
   compiling, which is slower but always right.

Tracing f again at every call would be simpler, but it takes much longer than the
compiled program itself.
"""

import dis
import functools
import itertools
import os
import sys
import types
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import numpy as np
import optax

# In a notebook XLA does not optimise, because most programs run only a few times: see
# `course.QUICK`. It does for long loops: they take half the time, and sums are rounded
# less, because several of their parts are added up at once.
OPTIMISED = {"xla_backend_optimization_level": 1}
# How many programs are kept; each takes about a megabyte.
KEPT = 32
# A NumPy array can be written to, so it is compared entry by entry. One that is larger
# than this counts as Unknown.
MAX_BYTES = 2**16
# Functions of these packages are assumed not to change.
LIBRARIES = {"jax", "math", "numpy", "optax", "helpers"}
# But the result of these depends on more than their arguments (a file, a random state).
IMPURE = {"fromfile", "genfromtxt", "load", "loadtxt", "memmap", "random"}
PURE_BUILTINS = {
    *(abs, all, any, bool, complex, divmod, enumerate, float, int, isinstance, len),
    *(list, map, max, min, pow, range, reversed, round, slice, sorted, sum, tuple, zip),
}
# Bytecode instructions that read a global.
READS = {"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"}
# Bytecode instructions that change something outside of a function.
REACHES_OUT = ("IMPORT_", "STORE_ATTR", "STORE_GLOBAL", "STORE_SLICE", "STORE_SUBSCR")
REACHES_OUT += ("DELETE_ATTR", "DELETE_GLOBAL", "DELETE_SUBSCR")


def run(function, constants, **arguments):
    """Call `function(**arguments)`, compiled if that is safe.

    The arguments named in `constants`, and strings, are constants of the program.

    With a slider, the same code comes with new values at every move, and compiling for
    each would be slow. So if a code comes with values other than its first ones, the
    first call is not compiled; only if the same values come again, the next one is.
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
    """Return `function` with these constants, compiled for long loops.

    If the constants are made of the same as in an earlier call, it is the same program.
    If one of them is Unknown, each call compiles again.
    """
    try:
        return _current_program(function, Recipe(constants), is_loop=True).compiled
    except Unknown:
        return optimised(functools.partial(function, **constants))


class Unknown(Exception):
    """Raised for a value that may change without a sign."""


class Recipe:
    """Constants as a key of a cache: equal if they are made of equal parts."""

    def __init__(self, constants):
        """Find out what each constant is made of, or raise Unknown."""
        self.constants = constants
        self.parts = tuple(
            (name, made_of(constants[name])) for name in sorted(constants)
        )
        self.hash = hash(self.parts)

    def __eq__(self, other):
        """Compare the parts."""
        return self.parts == other.parts

    def __hash__(self):
        """Hash the parts."""
        return self.hash


class Same:
    """An object compared by identity. It is kept, so that no other can get its id."""

    def __init__(self, value):
        """Keep the object."""
        self.value = value

    def __eq__(self, other):
        """Whether both hold the same object."""
        return isinstance(other, Same) and self.value is other.value

    def __hash__(self):
        """Hash the identity of the object."""
        return id(self.value)


class Program(NamedTuple):
    """A compiled function, and what decides whether `run` uses it yet."""

    recipe: Recipe
    compiled: Callable
    calls: Iterator[int]
    first_of_its_code: bool


def optimised(function, **options):
    """Return `jax.jit(function, **options)` for long loops, optimised in any case.

    Call this after XLA's flags have been set. The result may not be called inside
    another program, which has settings of its own.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    _, _, level = flags.rpartition("--xla_backend_optimization_level=")
    settings = OPTIMISED if level.startswith("0") else None
    return jax.jit(function, compiler_options=settings, **options)


def _current_program(function, recipe, is_loop=False):
    program = _program(function, recipe, is_loop)
    # For arguments of another shape JAX traces the function again. Then it must see the
    # functions of this call: those of an earlier, equal call may have changed since.
    program.recipe.constants = recipe.constants
    return program


@functools.lru_cache(maxsize=KEPT)
def _program(function, recipe, is_loop):
    alike = [_code(recipe.constants[name], part) for name, part in recipe.parts]
    compile_it = optimised if is_loop else jax.jit
    return Program(
        recipe=recipe,
        compiled=compile_it(
            lambda *args, **kw: function(*args, **kw, **recipe.constants)
        ),
        calls=itertools.count(),
        first_of_its_code=next(_programs_of(function, *alike)) == 0,
    )


def _code(constant, part):
    """The code of a function without the values that it reads, or the part itself."""
    while isinstance(constant, functools.partial):
        constant = constant.func
    return getattr(constant, "__code__", part)


@functools.lru_cache(maxsize=KEPT)
def _programs_of(function, *alike):
    """Return a counter of the programs that differ only in the values they read."""
    return itertools.count()


def made_of(value, names=frozenset(), seen=()):
    """Return something hashable that is equal for values that behave alike.

    Args:
        value: anything.
        names: the names in the code that reads this value: for a module, its attributes
            are among them.
        seen: the functions that this value is a part of, since a function can call
            itself.

    Raises:
        Unknown: the value may change without a sign.
    """
    kind = type(value)
    if value is None or kind in (bool, int, str, bytes, range):
        return kind, value
    if kind in (float, complex):
        return kind, repr(value)  # by repr, nan equals nan and -0.0 differs from 0.0
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
        raise Unknown  # a masked array, for example, is more than its entries
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
    """Whether the value is defined by one of the libraries, under its own name."""
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
    """The code of a function, and everything that it reads besides its arguments."""
    if f in seen:
        return "itself", seen.index(f)
    seen = (*seen, f)
    code, inside = f.__code__, f.__globals__.get("__name__", "")
    if inside.partition(".")[0] in LIBRARIES:
        if f.__name__ in IMPURE:
            raise Unknown
        read, names = (), frozenset()  # a library made it, for example `jax.grad(f)`
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
        # the class `Same` itself marks a name that has no value
        (name, None if value is Same else made_of(value, names, seen))
        for name, value in held.items()
    )


@functools.lru_cache(maxsize=256)
def _reads(code):
    """The globals that a code reads, and all names in it, inner functions included."""
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
