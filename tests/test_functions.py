"""Functions that a student may change at any time, and the programs kept for them."""

import functools
import math
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import estimators, gaussian
from helpers.gaussian import Gaussian

KEY = jax.random.key(0)
SIGMA = jnp.array([0.7, 1.3, 0.4])
Q = Gaussian(jnp.array([0.5, -1.0, 0.2]), SIGMA**2)


def assert_follows(f, change, num_samples=3):
    """Assert that the estimates are right before and after a change of what f reads."""

    def estimate():
        return np.asarray(
            estimators.score_function(KEY, f, Q, num_samples=num_samples).mean
        )

    def truth():
        z = gaussian.sample(KEY, Q, num_samples)
        eps = (z - Q.mean[None]) / SIGMA[None]
        return np.stack([f(point) * e / SIGMA for point, e in zip(z, eps, strict=True)])

    for _ in range(3):  # uncompiled or compiled
        np.testing.assert_allclose(estimate(), truth(), rtol=1e-10)
    change()
    for _ in range(3):
        np.testing.assert_allclose(estimate(), truth(), rtol=1e-10)


SCALE, ZERO = 2.0, 0.0
WEIGHTS = jnp.array([1.0, 2.0, 3.0])
BOX = types.SimpleNamespace(scale=2.0)
LIST = [2.0]
TABLE = np.array([1.0, 2.0, 3.0])
LARGE = np.ones(20_000)


def change_global(name, value):
    def change():
        globals()[name] = value

    return change


def helper(z):
    return SCALE * z.sum()


def outer_helper(z):
    return helper(z) + 1


def recursive(z, depth=3):
    return SCALE * z[0] if depth == 0 else z[1] + recursive(z, depth - 1)


class Squares:
    """A callable with a state."""

    def __init__(self):
        self.scale = 2.0

    def __call__(self, z):
        return self.scale * (z**2).sum()

    def method(self, z):
        return self(z)


@pytest.fixture
def globals_put_back():
    names = "SCALE", "ZERO", "WEIGHTS", "helper", "TABLE"
    before = {name: globals()[name] for name in names}
    yield
    globals().update(before)
    BOX.scale, LIST[0], LARGE[0], TABLE[0] = 2.0, 2.0, 1.0, 1.0


np_sin, LIBRARY_ARRAYS = np.sin, Q


@jax.jit
def compiled(z):
    return 2 * z.sum()


def twice(z):
    return 2 * z.sum()


def thrice(z):
    return 3 * z.sum()


READERS = {
    "a number": (lambda z: SCALE * z.sum(), change_global("SCALE", 3.0)),
    "the sign of zero": (
        lambda z: jnp.copysign(1.0, ZERO) * z.sum(),
        change_global("ZERO", -0.0),
    ),
    "a JAX array": (lambda z: WEIGHTS @ z, change_global("WEIGHTS", jnp.ones(3))),
    "a NumPy array that is written to": (
        lambda z: z @ TABLE,
        lambda: TABLE.__setitem__(0, 5.0),
    ),
    "a large NumPy array that is written to": (
        lambda z: z.sum() * LARGE[0],
        lambda: LARGE.__setitem__(0, 5.0),
    ),
    "a list": (lambda z: LIST[0] * z.sum(), lambda: LIST.__setitem__(0, 3.0)),
    "an attribute": (lambda z: BOX.scale * z.sum(), lambda: setattr(BOX, "scale", 3.0)),
    "a number, through a function": (helper, change_global("SCALE", 3.0)),
    "a number, through two functions": (outer_helper, change_global("SCALE", 3.0)),
    "a number, through itself": (recursive, change_global("SCALE", 3.0)),
    "a function that is defined again": (
        lambda z: helper(z) ** 2,
        change_global("helper", thrice),
    ),
    "a number, in a function inside": (
        lambda z: jax.tree.map(lambda each: SCALE * each, z).sum(),
        change_global("SCALE", 3.0),
    ),
    "a number, in a comprehension": (
        lambda z: sum([SCALE * each for each in z]),
        change_global("SCALE", 3.0),
    ),
    "a number, compiled by jit again": (
        lambda z: jax.jit(lambda z: SCALE * z.sum())(z),
        change_global("SCALE", 3.0),
    ),
    "a number, through a slope": (
        lambda z: jax.grad(outer_helper)(z).sum() + z.sum(),
        change_global("SCALE", 3.0),
    ),
    "a number that is not there yet": (
        lambda z: globals().get("LATER", 1.0) * z.sum(),
        change_global("LATER", 3.0),
    ),
}


@pytest.mark.parametrize("what", READERS)
def test_f_may_read_what_changes(what, globals_put_back):
    assert_follows(*READERS[what])


def test_f_may_be_corrected_after_it_returned_no_scalar(globals_put_back):
    def f(z):
        return helper(z)

    for wrong, right in (lambda z: z, thrice), (lambda z: z[:2], twice):
        globals()["helper"] = wrong
        with pytest.raises(ValueError, match=r"^f: got .*expected one real number"):
            estimators.pathwise(KEY, f, Q, num_samples=2)
        globals()["helper"] = right
        assert_follows(f, lambda: None)


def test_f_may_be_a_partial_or_an_object_or_its_method():
    squares = Squares()
    for f in squares, squares.method, functools.partial(Squares.method, squares):
        squares.scale = 2.0
        assert_follows(f, lambda: setattr(squares, "scale", 3.0))


def test_f_may_read_a_cell_that_changes():
    scale = 2.0

    def f(z):
        return scale * z.sum()

    def change():
        nonlocal scale
        scale = 3.0

    assert_follows(f, change)


def test_f_may_call_what_a_library_made_of_a_function(globals_put_back):
    slope = jax.grad(outer_helper)
    assert_follows(lambda z: slope(z)[0] + z.sum(), change_global("SCALE", 3.0))


def test_functions_that_were_equal_once_are_told_apart():
    def made(scale):
        def f(z):
            return scale * z.sum()

        def change(value):
            nonlocal scale
            scale = value

        return f, change

    def slope(f, q):
        return float(estimators.pathwise(KEY, f, q, num_samples=1).mean[0, 0])

    first, change = made(2.0)
    assert [slope(first, Q) for _ in range(3)] == [2.0] * 3
    change(3.0)
    second, _ = made(2.0)
    # other shapes, so that JAX traces again what it has for the first
    line = Gaussian(jnp.array([0.5]), jnp.array(1.0))
    assert slope(second, line) == 2.0
    assert slope(first, line) == 3.0
    assert slope(second, Q) == 2.0


def test_f_may_be_given_other_defaults_attributes_or_code():
    def f(z, scale=2.0, *, shift=1.0):
        return scale * z.sum() + shift * f.power

    f.power = 1.0
    assert_follows(f, lambda: setattr(f, "__defaults__", (3.0,)))
    assert_follows(f, lambda: setattr(f, "__kwdefaults__", {"shift": 2.0}))
    assert_follows(f, lambda: setattr(f, "power", 2.0))
    bare = lambda z: 2 * z.sum()  # noqa: E731
    assert_follows(bare, lambda: setattr(bare, "__code__", thrice.__code__))


def test_partials_with_other_arguments_are_other_functions():
    def power(n, z):
        return (z**n).sum()

    for n in 1, 2, 3, 1:
        f = functools.partial(power, n)
        assert_follows(f, lambda: None)


@pytest.mark.parametrize("draw", [np.random.default_rng(0).normal, np.random.normal])
def test_f_may_draw_its_own_noise(draw):
    def f(z):
        return z.sum() + draw()

    def first():
        estimates = estimators.score_function(KEY, f, Q, num_samples=2)
        return float(estimates.mean[0, 0])

    assert len({first() for _ in range(5)}) == 5


def test_f_may_draw_by_the_module():
    def first():
        estimates = estimators.score_function(
            KEY,
            lambda z: z.sum() + np.random.normal(),  # noqa: NPY002
            Q,
            num_samples=2,
        )
        return float(estimates.mean[0, 0])

    assert len({first() for _ in range(5)}) == 5


@pytest.mark.parametrize("read", [lambda path: np.load(path), np.load])
def test_f_may_read_a_file(read, tmp_path):
    path = tmp_path / "scale.npy"
    np.save(path, 2.0)
    assert_follows(lambda z: float(read(path)) * z.sum(), lambda: np.save(path, 3.0))


@pytest.mark.parametrize("read", [lambda path: np.load(path), np.load])
def test_f_may_read_a_file_by_its_name(read, tmp_path):
    path = str(tmp_path / "scale.npy")
    np.save(path, 2.0)
    assert_follows(lambda z: float(read(path)) * z.sum(), lambda: np.save(path, 3.0))


def test_f_may_read_a_masked_array():
    scales = np.ma.array([2.0])
    assert_follows(lambda z: scales.sum() * z.sum(), lambda: scales.__setitem__(0, 3.0))


def test_f_may_read_what_is_defined_later():
    def f(z):
        return later * z.sum()

    with pytest.raises(NameError):
        estimators.pathwise(KEY, f, Q, num_samples=2)
    later = 2.0
    assert_follows(f, lambda: None)


def test_f_may_count_its_calls():
    calls = []

    def counted(z):
        calls.append(1)
        return z.sum()

    count = 0

    def counted_in_a_cell(z):
        nonlocal count
        count += 1
        return z.sum()

    for f in counted, counted_in_a_cell:
        for _ in range(4):
            estimators.pathwise(KEY, f, Q, num_samples=2)
    assert len(calls) >= 4
    assert count >= 4


def test_f_may_read_another_module(monkeypatch):
    module = types.ModuleType("settings_of_a_student")
    module.scale = 2.0
    assert_follows(
        lambda z: module.scale * z.sum(), lambda: setattr(module, "scale", 3.0)
    )


def test_f_may_close_over_what_is_traced():
    def of(scale):
        return estimators.pathwise(KEY, lambda z: scale * z.sum(), Q, num_samples=2)

    for scale in 2.0, 3.0:
        for found in jax.jit(of)(scale), of(scale):
            np.testing.assert_allclose(found.mean, scale, rtol=1e-12)


def runs_of(f, call):
    """How often Python runs the code of f in a call; it does so when JAX traces f."""
    count = 0

    def profile(frame, event, _):
        nonlocal count
        count += event == "call" and frame.f_code is f.__code__

    sys.setprofile(profile)
    try:
        call()
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize(
    "f",
    [
        lambda z: SCALE * outer_helper(z) + jnp.sin(z) @ WEIGHTS,
        lambda z: gaussian.log_prob(Q, z[None])[0] + math.pi * z @ TABLE,
        lambda z: jax.scipy.special.logsumexp(z / 10) + np.pi + max(1, 2),
        lambda z: np_sin(0.5) * z.sum() + compiled(z) + LIBRARY_ARRAYS.mean @ z,
        lambda z: sum(jnp.float32(2) * each for each in z) + len(z),
        recursive,
    ],
)
@pytest.mark.parametrize(
    "estimate",
    [
        lambda f: estimators.pathwise(KEY, f, Q, num_samples=7),
        lambda f: estimators.score_function(
            KEY, f, Q, num_samples=7, baseline="leave_one_out"
        ),
        lambda f: estimators.exact_gradient(f, Q, num_nodes=12),
    ],
    ids=["pathwise", "score", "exact"],
)
def test_f_is_not_run_again_where_nothing_has_changed(f, estimate, as_user):
    estimate(f)
    estimate(f)
    assert runs_of(f, lambda: estimate(f)) == 0


def test_of_ever_new_functions_only_the_first_is_compiled():
    def made(scale):
        return lambda z: scale * z.sum()

    def runs(f):
        call = functools.partial(estimators.pathwise, KEY, f, Q, num_samples=5)
        return [bool(runs_of(f, call)) for _ in range(3)]

    assert runs(made(1.0)) == [True, False, False]
    # uncompiled, then compiled, then ready
    assert runs(made(2.0)) == [True, True, False]
