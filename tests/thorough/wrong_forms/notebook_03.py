"""Wrong forms of what notebook 03 checks: in its cell, each must end in an error.

By row of the deck's ledger: text that stands exactly once in the row's cell, and the
same text made wrong as people make it wrong.
"""

WRONG = {
    # a bound from above
    "S13": ("lost_by.min() > -1e-12", "lost_by.max() < 1e-12"),
    # the sign of the divergence
    "S14": ("-loose, rtol", "loose, rtol"),
    # a q that is not proportional to the joint
    "S15": ("softmax(table))).max()", "softmax(table / 2))).max()"),
    # normalised by the largest term, not by the sum
    "S16": ("np.exp(log_p_x)[:, None]", "np.exp(log_joint.max(axis=1))[:, None]"),
    # one q for all points is as good
    "S17": ("(posterior, best_shared)", "(best_shared, posterior)"),
    # minus the entropy
    "S22": ("direct, energy + entropy", "direct, energy - entropy"),
    # the divergence the other way round
    "S23": (
        "np.exp(log_q) * (log_q - (log_p_xz - log_p))",
        "np.exp(log_p_xz - log_p) * ((log_p_xz - log_p) - log_q)",
    ),
    # as printed: the M-step moves the first term only
    "S24": (
        "assert sums[1][1] < sums[0][1] - 1",
        "assert np.isclose(sums[1][1], sums[0][1])",
    ),
}
