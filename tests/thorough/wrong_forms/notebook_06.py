"""Wrong forms of what notebook 06 checks: in its cell, each must end in an error.

By row of the deck's ledger: text that stands exactly once in the row's cell, and the
same text made wrong as people make it wrong.
"""

WRONG = {
    # plain samples carry the gradient
    "S31": (
        "assert not np.any(plain[1])",
        "assert np.allclose(np.ravel(plain[1]), slopes, rtol=0.1)",
    ),
    # sigma for sigma squared
    "S32": ("np.diag(s**2)", "np.diag(s)"),
    # plain samples are as good as the estimators
    "S33": ("(abs(missed) > 4).any(axis=(1, 2))", "(abs(missed) < 4).all(axis=(1, 2))"),
}
