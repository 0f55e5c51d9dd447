"""Wrong forms of what notebook 03 checks: in its cell, each must end in an error.

By row of the deck's ledger: text that stands exactly once in the row's cell, and the
same text made wrong as people make it wrong.
"""

WRONG = {
    # Jensen's inequality the other way round
    "S13": ("gaps.min() > -1e-9", "gaps.max() < 1e-9"),
    # the minus sign lost
    "S14": ("-kl_minutes, rtol", "kl_minutes, rtol"),
    # a q that is sharper than the joint
    "S15": ("np.exp(log_joint)", "np.exp(2 * log_joint)"),
    # the prior in place of the posterior
    "S16": ("np.abs(counted - predicted)", "np.abs(counted - 0.64)"),
    # one q for all points
    "S17": ("bound_own, log_likelihood", "bound_shared, log_likelihood"),
    # the entropy with the wrong sign
    "S22": ("expected_log_joint + entropy", "expected_log_joint - entropy"),
    # the divergence with the wrong sign
    "S23": ("line_1 - kl_two, line_3", "line_1 + kl_two, line_3"),
    "S24": ("reconstruction - kl_to_prior", "reconstruction + kl_to_prior"),
}
