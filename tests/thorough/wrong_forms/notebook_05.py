"""Wrong forms of what notebook 05 checks: in its cell, each must end in an error.

By row of the deck's ledger: text that stands exactly once in the row's cell, and the
same text made wrong as people make it wrong.
"""

WRONG = {
    # the noise left out of the second moment
    "S25": ("** 2 + sigma_x**2", "** 2"),
    # the mean of the variances, where the mean of the precisions belongs
    "S26": ("1 / np.diag(precision).mean()", "(1 / np.diag(precision)).mean()"),
    # the encoder's q is the best q
    "S27": ("amortisation = of_encoder - of_best", "amortisation = 0 * of_best"),
    # log sigma, where log sigma^2 belongs
    "S28": ("- 1 - np.log(variance)", "- 1 - 0.5 * np.log(variance)"),
    # the sign of the KL flipped
    "S29": ("measured[:, 0] - measured[:, 1]", "measured[:, 0] + measured[:, 1]"),
    # the factor left out
    "S30": (
        "np.abs(average / sigma_x**2 - exact_gradient)",
        "np.abs(average - exact_gradient)",
    ),
}
