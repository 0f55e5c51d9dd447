"""Wrong forms of what notebook 05 checks: in its cell, each must end in an error.

By row of the deck's ledger: text that stands exactly once in the row's cell, and the
same text made wrong as people make it wrong.
"""

WRONG = {
    # the noise left out of the second moment
    "S25": ("** 2 + sigma_x**2", "** 2"),
    # as printed: isotropic does as well
    "S26": (
        'assert price["isotropic"] > price["diagonal"] + 0.05',
        'assert np.isclose(price["isotropic"], price["diagonal"], rtol=0.1)',
    ),
    # the encoder's q is the best q
    "S27": ("amortisation = of_encoder - of_best", "amortisation = 0 * of_best"),
    # as labelled: the second term sees the decoder too
    "S28": (
        "assert np.allclose(second_of_truth, closed_form, rtol=0, atol=1e-8)",
        "assert np.abs(second_of_truth - second).mean() > 1",
    ),
    # log p(x) rises while only the encoder moves
    "S29": (
        "assert np.allclose(log_p[1::2], log_p[:-1:2], rtol=1e-12)",
        "assert (log_p[1::2] > log_p[:-1:2] + 1e-6).all()",
    ),
    # the factor left out
    "S30": (
        "np.abs(average / sigma_x**2 - exact_gradient)",
        "np.abs(average - exact_gradient)",
    ),
}
