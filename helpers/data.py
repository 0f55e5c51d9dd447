"""Real data, none of which is downloaded."""

from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

__all__ = ["digits", "old_faithful"]


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
    # Read from scikit-learn's own file without importing scikit-learn, since the import
    # would take a hundred times as long.
    (folder,) = find_spec("sklearn").submodule_search_locations
    table = np.loadtxt(Path(folder, "datasets/data/digits.csv.gz"), delimiter=",")
    return table[:, :-1] / 16.0, table[:, -1].astype(int)
