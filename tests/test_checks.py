"""The checks of arguments, beyond what the tests of each module show."""

from decimal import Decimal
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jaxtyping import Array, Float

from helpers import _checks, bounds, decoder, estimators, evaluate, gaussian, vae
from helpers._checks import NotNegative, Optimizer, checked
from helpers.gaussian import Gaussian

KEY = jax.random.key(0)


@pytest.fixture
def single_precision():
    """Run as by default: without JAX's 64-bit mode."""
    jax.config.update("jax_enable_x64", False)
    yield
    jax.config.update("jax_enable_x64", True)


@pytest.mark.parametrize(
    "value",
    [[1, 2], (1.0, 2.0), np.array([1, 2]), np.array([1, 2], bool), jnp.arange(2)],
    ids=["list", "tuple", "int array", "bool array", "jax ints"],
)
def test_whole_numbers_and_sequences_become_floats(value):
    array = _checks.as_array("x", value, "n")
    assert array.dtype == jnp.float64
    np.testing.assert_array_equal(array, np.asarray(value, float))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_floats_keep_their_dtype(dtype):
    assert _checks.as_array("x", jnp.ones(2, dtype), "n").dtype == dtype


@pytest.mark.bad_input
def test_a_number_too_large_for_any_float_is_refused(as_user):
    with pytest.raises(ValueError, match=r"^x: got"):
        _checks.as_array("x", 10**400, "")


@pytest.mark.parametrize(
    ("value", "came"),
    [
        (None, "NoneType"),
        ("3", "str '3'"),
        ([[1], [2, 3]], "list"),
        ([1j], "complex numbers"),
        (np.array([1j]), "complex numbers"),
        (jnp.array([1j]), "complex numbers"),
        (np.array([1j], object), "complex 1j at index (0,)"),
        (jax.random.key(0), "a random key"),
        ([1.0, None], "NoneType None at index (1,)"),
        (np.array([1.0, "3"], object), "str '3' at index (1,)"),
        (np.array(["2020-01-01"], "datetime64[D]"), "ndarray"),
        (np.ma.array([1j]), "complex numbers"),
        ({"a": 1.0}, "dict"),
    ],
)
def test_what_is_not_real_numbers_is_refused(refused, value, came):
    with refused("x", came, "real numbers"):
        _checks.as_array("x", value, "n")


def test_the_first_gap_of_a_masked_array_is_named(refused):
    with refused("x", "a masked entry at index (1,) (1 of 2 entries)", "finite"):
        _checks.as_array("x", np.ma.array([1.0, 2.0], mask=[0, 1]), "n")


def test_a_masked_array_without_a_gap_is_its_data():
    array = _checks.as_array("x", np.ma.array([1.0, 2.0], mask=False), "n")
    assert array.tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    "value",
    [
        np.array([1.5, 2.0], ">f8"),
        np.array([1.5, 2.0], ">f4"),
        np.array([1.5, 2.0], np.longdouble),
        np.array([1.5, 2], object),
        [Decimal("1.5"), 2],
        [np.float64(1.5), jnp.array(2.0)],
        np.array([1.5, 2.0], np.float16),
        jnp.array([1.5, 2.0], jnp.float16),
        jnp.array([1.5, 2.0], jnp.bfloat16),
        np.array([1.5, 2.0], jnp.bfloat16),
    ],
)
def test_whatever_numpy_converts_to_floats_is_accepted(value):
    array = _checks.as_array("x", value, "n")
    assert array.dtype in (jnp.float32, jnp.float64)
    assert array.tolist() == [1.5, 2.0]


def test_half_precision_is_computed_in_single(single_precision):
    for dtype in np.float16, jnp.bfloat16:
        x = np.array([[100.0], [700.0]], dtype)
        fitted = gaussian.fit_mle(x)
        center, far = np.asarray(x, float).mean(), np.asarray(x, float).var()
        assert fitted.mean.dtype == jnp.float32
        np.testing.assert_allclose(fitted.mean, [center], rtol=1e-6)
        np.testing.assert_allclose(fitted.variance, far, rtol=1e-6)
    many = np.full((70_000, 1), 1.0, np.float16)
    log_prob = gaussian.log_prob(Gaussian([0.0], 1.0), many).sum()
    expected = -70_000 * 0.5 * (np.log(2 * np.pi) + 1)
    np.testing.assert_allclose(log_prob, expected, rtol=1e-4)


def bound_of(value):
    return bounds.elbo(np.array([[value, value]]), [[0.5, 0.5]])[0] - np.log(2)


BIG = 3_000_000_000
# Each returns the number that it was given, if that has not wrapped to 32 bits.
ROUND_TRIPS = {
    "fit_mle": lambda value: gaussian.fit_mle(np.array([[value]])).mean[0],
    "fit_mle of a list": lambda value: gaussian.fit_mle([[value]]).mean[0],
    "bounds.elbo": bound_of,
    "a mean": lambda value: gaussian.sample(KEY, Gaussian([value], 1.0), 1)[0, 0],
    "a variance": lambda value: (
        gaussian.sample(KEY, Gaussian([0], np.int64(value)), 1)[0, 0] ** 2
        / gaussian.sample(KEY, Gaussian([0], 1.0), 1)[0, 0] ** 2
    ),
    "sigma_x": lambda value: (
        (
            -decoder.log_joint(
                decoder.bent_line(), [[-3, 0]], [[0]], sigma_x=np.int64(value)
            )[0, 0]
            - np.log(2 * np.pi) * 1.5
        )
        and value
    ),
    "latents": lambda value: vae.decode(LINE, [[value]])[0, 0],
    "a baseline": lambda value: (
        estimators.score_function(
            KEY, lambda z: 0 * z[0], Gaussian([0], 1), num_samples=1, baseline=value
        ).mean[0, 0]
        / -gaussian.sample(KEY, Gaussian([0], 1), 1)[0, 0]
    ),
}
# a linear VAE that decodes z to itself
LINE = vae.VAE(
    vae.MLP((np.zeros((1, 2)),), (np.zeros(2),)), vae.MLP(([[1.0]],), ([0.0],))
)


@pytest.mark.parametrize("name", ROUND_TRIPS)
@pytest.mark.parametrize("value", [BIG, -BIG, 2**32 + 1, 2**62])
def test_no_whole_number_wraps(as_user, single_precision, name, value):
    if name in ("a variance", "sigma_x"):
        value = abs(value)
    np.testing.assert_allclose(ROUND_TRIPS[name](value), value, rtol=1e-5)


@pytest.mark.parametrize("value", [1e39, -(10**39), np.longdouble(1e300)])
def test_numbers_beyond_single_precision_are_refused(refused, single_precision, value):
    with refused("x", "at index (1,)", "float32 can hold, up to 3.4e38"):
        _checks.as_array("x", [0.0, value], "n")


class Column:
    """The part of a pandas series that the checks use."""

    def __init__(self, entries, gaps=()):
        self.entries = np.asarray(entries)
        self.dtype = self.entries.dtype
        self.gaps = list(gaps)

    def isna(self):
        return np.isin(np.arange(len(self.entries)), self.gaps)

    def to_numpy(self):
        return self.entries


class Frame:
    """The part of a pandas frame that the checks use."""

    def __init__(self, **columns):
        self.named = columns
        self.columns = list(columns)
        self.shape = (len(next(iter(columns.values())).entries), len(columns))

    def isna(self):
        return np.stack([column.isna() for column in self.named.values()], axis=1)

    def items(self):
        return self.named.items()


def test_the_columns_of_a_frame_become_floats():
    frame = Frame(
        a=Column([1.5, 2.5]),
        b=Column([True, False]),
        c=Column(np.array([3, 4], object)),
        d=Column(np.array([5, BIG])),
    )
    expected = [[1.5, 1.0, 3.0, 5.0], [2.5, 0.0, 4.0, BIG]]
    assert _checks.as_array("x", frame, "n d").tolist() == expected


def test_a_series_becomes_floats():
    assert _checks.as_array("x", Column([1, 2]), "n").tolist() == [1.0, 2.0]


def test_the_first_gap_or_word_of_a_frame_is_named_by_its_column(refused):
    gaps = Frame(a=Column([1.0, 2.0]), b=Column([1.0, np.nan], gaps=[1]))
    words = Frame(a=Column([1.0]), species=Column(np.array(["Adelie"], object)))
    with refused("x", "a gap in column 'b' at index (1,)", "finite numbers"):
        _checks.as_array("x", gaps, "n d")
    with refused("x", "column 'species' of object", "real numbers"):
        _checks.as_array("x", words, "n d")
    with refused("x", "a gap at index (0,)", "finite numbers"):
        _checks.as_array("x", Column([1.0], gaps=[0]), "n")


def test_a_frame_without_columns_is_refused(refused):
    empty = Frame(a=Column([1.0]))
    empty.named, empty.shape = {}, (1, 0)
    with refused("x", "shape (1, 0)", "at least one entry"):
        _checks.as_array("x", empty, "n d")


@pytest.mark.bad_input
def test_a_long_value_is_cut_in_the_message():
    with pytest.raises(ValueError, match=r"^x: got str") as caught:
        _checks.as_array("x", "spam" * 1000, "n")
    assert len(str(caught.value)) < 120


def test_every_allowed_shape_and_size_is_in_the_message(refused):
    with refused("x", "shape (2, 3)", "(n) or (n, d, d) with n = 2, d = 3"):
        _checks.as_array("x", np.ones((2, 3)), "n", "n d d", n=2, d=3)


def test_the_first_bad_entry_and_their_number_are_in_the_message(refused):
    with refused("x", "-2.0 at index (0, 1) (2 of 4 entries)", "above 0"):
        _checks.positive("x", [[1.0, -2.0], [-3.0, 4.0]], "n d")


@pytest.mark.parametrize("count", [3, 7, 1000])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_equal_weights_sum_to_one_despite_rounding(count, dtype):
    _checks.simplex("weights", np.full(count, 1 / count, dtype), "k")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_sum_off_by_more_than_rounding_is_refused(refused, dtype):
    weights = np.array([0.5, 0.5], dtype) * (1 + 100 * np.finfo(dtype).eps)
    with refused("weights", "sum of 1.0", "sum of 1"):
        _checks.simplex("weights", weights, "k")


def test_values_of_traced_arrays_are_not_checked(nan_is_meant):
    traced = jax.jit(lambda x: _checks.positive("x", x, "n"))
    np.testing.assert_array_equal(traced(jnp.array([-1.0, jnp.nan])), [-1.0, jnp.nan])


@pytest.mark.bad_input
def test_shapes_of_traced_arrays_are_checked():
    with pytest.raises(ValueError, match=r"^x: got shape \(2,\), expected \(n, d\)"):
        jax.jit(lambda x: _checks.as_array("x", x, "n d"))(jnp.ones(2))


@pytest.mark.parametrize("value", [3, np.int64(3), np.array(3)])
def test_a_whole_number_of_any_kind_is_a_count(value):
    count = _checks.count("k", value, high=3)
    assert type(count) is int
    assert count == 3


@pytest.mark.parametrize("value", [3.0, "3", None, [3]])
def test_what_is_not_a_whole_number_is_refused(refused, value):
    with refused("k", repr(value), "whole number"):
        _checks.count("k", value)


@pytest.mark.parametrize(
    ("value", "high", "expected"), [(0, None, "at least 1"), (4, 3, "1 to 3")]
)
def test_a_count_out_of_range_is_refused(refused, value, high, expected):
    with refused("k", str(value), expected):
        _checks.count("k", value, high=high)


class Pair(NamedTuple):
    first: Float[Array, " k"]
    second: Float[Array, " k"]


@checked
def everything(
    pair: Pair,
    x: Float[Array, "n k"],
    *,
    power: int = 1,
    kind: Literal["sum", "mean"] = "sum",
    optimizer: Optimizer | None = None,
    flip: bool = False,
    floor: NotNegative = 0.0,
):
    """Take one argument of each kind."""
    total = (x**power * pair.first[None] + pair.second[None] + floor).sum()
    return -total if flip else total


PAIR = Pair([1.0, 2.0], [0, 0])


def test_annotations_decide_how_arguments_are_converted(as_user):
    assert everything(PAIR, [[1, 2]]) == 5
    assert everything(x=[[1, 2]], pair=PAIR, flip=np.bool(True)) == -5
    options = {"power": np.int64(2), "kind": "mean", "optimizer": optax.sgd(1.0)}
    assert everything(PAIR, [[1, 2]], **options) == 9


@pytest.mark.parametrize(
    ("args", "options", "argument", "came", "expected"),
    [
        ((None, None), {}, "pair", "NoneType", "Pair(first, second)"),
        (([1.0], [[1.0]]), {}, "pair", "list", "Pair(first, second)"),
        ((Pair([1.0], [1.0, 2.0]), [[1.0]]), {}, "pair.second", "(2,)", "k = 1"),
        ((PAIR, [[1.0]]), {}, "x", "(1, 1)", "k = 2"),
        ((None,), {}, "pair", "NoneType", "Pair(first, second)"),
        ((PAIR, [[1.0, 2.0]]), {"power": 0}, "power", "0", "at least 1"),
        ((PAIR, [[1.0, 2.0]]), {"kind": "max"}, "kind", "'max'", "'sum' or 'mean'"),
        ((PAIR, [[1.0, 2.0]]), {"kind": [1]}, "kind", "[1]", "'sum' or 'mean'"),
        ((PAIR, [[1.0, 2.0]]), {"optimizer": 1}, "optimizer", "int", "optax"),
        ((PAIR, [[1.0, 2.0]]), {"flip": 1}, "flip", "1", "True or False"),
        ((PAIR, [[1.0, 2.0]]), {"floor": -1}, "floor", "-1.0", "at least 0"),
    ],
)
def test_arguments_that_break_the_contract_are_refused(
    refused, args, options, argument, came, expected
):
    with refused(argument, came, expected):
        everything(*args, **options)


def test_a_missing_or_unknown_argument_is_pythons_error():
    with pytest.raises(TypeError, match=r"missing.*'x'"):
        everything(PAIR)
    with pytest.raises(TypeError, match=r"unexpected.*'y'"):
        everything(PAIR, [[1.0, 2.0]], y=1)


def test_a_row_of_traced_numbers_is_an_array(refused):
    def of(a):
        return _checks.as_array("x", [[a, 1.0]], "n d").sum()

    assert jax.jit(of)(2.0) == 3.0
    with refused("x", "list", "rows of equal length"):
        jax.jit(lambda a: _checks.as_array("x", [[a], [a, a]], "n d"))(1.0)


def test_pythons_numbers_have_no_precision_of_their_own():
    x = jnp.ones((2, 1), jnp.float32)
    for variance in 2, 2.0, True:
        log_prob = gaussian.log_prob(Gaussian(x[0], variance), x)
        assert log_prob.dtype == jnp.float32


def test_a_decoder_is_refused_where_a_vae_is_expected(refused):
    with refused("params", "MLP", "VAE(encoder, decoder)"):
        evaluate.unit_kl(decoder.bent_line(), [[1.0, 2.0]])
