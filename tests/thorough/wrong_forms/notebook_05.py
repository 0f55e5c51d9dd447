"""Wrong forms of what notebook 05 checks: in its cell, each must end in an error.

By row of the deck's ledger: text that stands exactly once in the row's cell, and the
same text made wrong as people make it wrong.
"""

WRONG = {
    # sigma_x squared for sigma_x
    "S25": ("+ sigma_x * rng.normal", "+ sigma_x**2 * rng.normal"),
    # as printed: isotropic does as well
    "S26": (
        'assert price["isotropic"] > price["diagonal"] + 0.1',
        'assert np.isclose(price["isotropic"], price["diagonal"], rtol=0.1)',
    ),
    # the encoder's q is the best q
    "S27": ("np.array(gaps(own.ravel())) - approximation", "0 * approximation"),
    # as labelled: the second term sees the decoder too
    "S28": ("assert fit > 1 > kl == 0", "assert fit > 1 and kl > 0"),
    # log p(x) rises while only the encoder moves
    "S29": (
        "assert np.allclose(log_p[1::2], log_p[:-1:2], rtol=1e-12)",
        "assert (log_p[1::2] > log_p[:-1:2] + 1e-6).all()",
    ),
    # the factor left out
    "S30": ("np.abs(mean / sigma_x**2 - exact)", "np.abs(mean - exact)"),
}
