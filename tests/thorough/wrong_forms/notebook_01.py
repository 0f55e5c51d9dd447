"""Wrong forms of what notebook 01 checks: in its cell, each must end in an error.

By row of the deck's ledger: text that stands exactly once in the row's cell, and the
same text made wrong as people make it wrong.
"""

WRONG = {
    # a point beside the maximum
    "S01": ("value_and_gradient(theta_hat)", "value_and_gradient(1.01 * theta_hat)"),
    # the logarithm inside the sum over z
    "S02": ("np.log(joint.sum(axis=1))", "np.log(joint).sum(axis=1)"),
}
