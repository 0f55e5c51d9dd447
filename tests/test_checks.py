"""What the checks of arguments promise beyond what each module's own tests show."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import _checks


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
        ({"a": 1.0}, "dict"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_not_real_numbers_is_refused(refused, value, came):
    with refused("x", came, "real numbers"):
        _checks.as_array("x", value, "n")


def test_the_first_gap_of_a_masked_array_is_named(refused):
    with refused("x", "a masked entry at index (1,) (1 of 2 entries)", "finite"):
        _checks.as_array("x", np.ma.array([1.0, 2.0], mask=[0, 1]), "n")


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


def test_values_of_traced_arrays_are_not_looked_at(nan_is_meant):
    traced = jax.jit(lambda x: _checks.positive("x", x, "n"))
    np.testing.assert_array_equal(traced(jnp.array([-1.0, jnp.nan])), [-1.0, jnp.nan])


@pytest.mark.bad_input
def test_shapes_of_traced_arrays_are_looked_at():
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
