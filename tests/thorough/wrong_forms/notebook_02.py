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
    "S06": ("slope_in_mu(sample_mean, 1.3", "slope_in_mu(np.median(x, axis=0), 1.3"),
    # as printed: no slope where the squared distances are divided by N
    "S07": (
        "assert np.abs(slope_in_sigma2(mean, halved_sigma2, 2))",
        "assert np.abs(slope_in_sigma2(mean, printed_sigma2, 2))",
    ),
    # as printed: a density
    "S08": (
        "np.isclose(integral_printed, np.sqrt(2 * np.pi) * (top.weights @ sigmas))",
        "np.isclose(integral_printed, 1)",
    ),
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
