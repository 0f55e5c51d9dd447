"""The data: R's own summary of Old Faithful, scikit-learn's digits and moons."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from sklearn.datasets import load_digits, make_moons

from helpers import data


def test_old_faithful_has_rs_quartiles():
    # R: summary(faithful)
    quartiles = np.percentile(data.old_faithful(), [0, 25, 50, 75, 100], axis=0)
    assert quartiles[:, 0] == pytest.approx([1.6, 2.16275, 4.0, 4.45425, 5.1])
    assert quartiles[:, 1] == pytest.approx([43, 58, 76, 82, 96])


def test_old_faithful_has_rs_moments():
    # R: colMeans(faithful), sapply(faithful, sd), cor(faithful)
    x = data.old_faithful()
    assert x.shape == (272, 2)
    assert x.mean(axis=0) == pytest.approx([3.4877831, 70.8970588], abs=1e-7)
    assert x.std(axis=0, ddof=1) == pytest.approx([1.141371, 13.59497], rel=1e-6)
    assert np.corrcoef(x.T)[0, 1] == pytest.approx(0.9008112, abs=1e-7)


def test_old_faithful_has_rs_sums():
    assert data.old_faithful().sum(axis=0) == pytest.approx([948.677, 19284])


def test_old_faithful_begins_and_ends_as_in_r():
    x = data.old_faithful()
    assert x[:3].tolist() == [[3.6, 79], [1.8, 54], [3.333, 74]]
    assert x[-1].tolist() == [4.467, 74]


def test_old_faithful_is_read_anew_each_time():
    data.old_faithful()[:] = 0
    assert data.old_faithful().min() == 1.6


def test_digits_are_scikit_learns_between_zero_and_one():
    images, labels = data.digits()
    expected = load_digits()
    np.testing.assert_array_equal(images * 16, expected.data)
    np.testing.assert_array_equal(labels, expected.target)
    assert (images.min(), images.max()) == (0, 1)


def test_digits_are_as_many_of_each_as_uci_says():
    _, labels = data.digits()
    counts = [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert np.bincount(labels).tolist() == counts


@pytest.mark.parametrize(
    "moons",
    [
        lambda: data.two_moons(jax.random.key(0), 200, noise=0.0),
        lambda: make_moons(200, noise=None, random_state=0),
    ],
    ids=["ours", "scikit-learn"],
)
def test_moons_without_noise_are_two_half_circles(moons):
    x, moon = map(np.asarray, moons())
    upper, lower = x[moon == 0], x[moon == 1] - [1, 0.5]
    for half, up in ((upper, 1), (lower, -1)):
        np.testing.assert_allclose(np.hypot(*half.T), 1, rtol=1e-14)
        assert (up * half[:, 1] > -1e-14).all()


def test_moons_are_covered_evenly():
    x, moon = map(np.asarray, data.two_moons(jax.random.key(1), 4000, noise=0.0))
    for angle in (
        np.arctan2(x[moon == 0, 1], x[moon == 0, 0]),
        np.arctan2(0.5 - x[moon == 1, 1], 1 - x[moon == 1, 0]),
    ):
        assert stats.kstest(angle / np.pi, "uniform").pvalue > 0.001


def test_noise_is_gaussian_of_the_given_size():
    key, num_samples, noise = jax.random.key(2), 10_000, 0.3
    noisy, _ = data.two_moons(key, num_samples, noise=noise)
    still, _ = data.two_moons(key, num_samples, noise=0.0)
    residuals = np.ravel(noisy - still)
    assert stats.kstest(residuals, stats.norm(0, noise).cdf).pvalue > 0.001


@pytest.mark.parametrize("num_samples", [2, 7, 10])
def test_the_first_moon_has_the_odd_point(num_samples):
    _, moon = data.two_moons(jax.random.key(3), num_samples)
    assert jnp.bincount(moon).tolist() == [-(-num_samples // 2), num_samples // 2]


@pytest.mark.parametrize(
    ("change", "argument", "came", "wanted"),
    [
        ({"key": 0}, "key", "int", "jax.random.key"),
        ({"num_samples": 1}, "num_samples", "1", "at least 2"),
        ({"num_samples": 10.0}, "num_samples", "10.0", "whole number"),
        ({"noise": -0.1}, "noise", "-0.1", "at least 0"),
        ({"noise": np.nan}, "noise", "nan", "finite"),
        ({"noise": np.inf}, "noise", "inf", "finite"),
        ({"noise": "much"}, "noise", "much", "wanted"),
        ({"noise": None}, "noise", "None", "wanted"),
    ],
)
def test_bad_requests_for_moons_are_refused(refused, change, argument, came, wanted):
    good = {"key": jax.random.key(0), "num_samples": 4}
    with refused(argument, came, wanted):
        data.two_moons(**(good | change))
