"""Wrong forms of the claims that notebook 02 checks.

For each row: text that stands once in the tagged cell, and the wrong form that takes
its place. For an erratum this is the deck's own form, for the others a common slip.
"""

WRONG = {
    # descent
    "S03": ("0.3 / n, 400", "-0.3 / n, 400"),
    # as printed: p(x given z) p(z) for one z is the marginal
    "S04": ("right_side.sum(axis=1)", "right_side[:, 0]"),
    # as printed: the density of one dimension
    "S05": ("np.isclose(integral_corrected, 1", "np.isclose(integral_printed, 1"),
    # the median for the mean
    "S06": (
        "np.abs(at_the_mean).max()",
        "np.abs(slope_in_mu(np.median(x, axis=0), 1.3, 2)).max()",
    ),
    # as printed: no slope where the squared distances are divided by N
    "S07": ("np.abs(slope_at_halved)", "np.abs(slope_at_printed)"),
    # as printed: a density
    "S08": ("integral_printed, expected_integral", "integral_printed, 1"),
    # any parameters solve the equations
    "S09": ("largest_change(two_kinds) > 0.01", "largest_change(two_kinds) < 1e-6"),
    # twice the noise
    "S10": ("covariance - np.eye(2)", "covariance - 4 * np.eye(2)"),
    # the constant of one dimension in place of two
    "S11": (
        "np.exp(-drawn_distance / 2) / (2 * np.pi)",
        "np.exp(-drawn_distance / 2) / np.sqrt(2 * np.pi)",
    ),
    # as printed
    "S12": ("np.isclose(by_corrected, p_x", "np.isclose(by_second, p_x"),
}
