"""Wrong forms of what notebook 06 checks: in its cell, each must end in an error.

By row of the deck's ledger: text that stands exactly once in the row's cell, and the
same text made wrong as people make it wrong.
"""

WRONG = {
    # plain samples carry the gradient
    "S31": (
        "assert not np.any(plain_slopes)",
        "assert np.allclose(plain_slopes, exact_slopes, rtol=0.1)",
    ),
    # sigma for sigma squared
    "S32": ("np.diag(spread**2)", "np.diag(spread)"),
    # plain samples are as good as the estimators
    "S33": (
        "abs(np.array(plain_slopes)[:, 0] - truth) > 4 * path_error",
        "abs(np.array(plain_slopes)[:, 0] - truth) < 4 * path_error",
    ),
}
