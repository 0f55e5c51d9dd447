"""Wrong forms of the claims that notebook 02 checks.

For each row: text that stands once in the tagged cell, and the wrong form that takes
its place. For an erratum this is the deck's own form, for the others a common slip.
"""

WRONG = {
    # descent
    "S03": ("0.3 / n, 400", "-0.3 / n, 400"),
    # as printed: p(x | z) p(z) for one z is the marginal
    "S04": ("joint_on_plane.sum(axis=1)", "joint_on_plane[:, 0]"),
    # as printed: the density of one dimension
    "S05": ("np.isclose(integral_corrected, 1", "np.isclose(integral_printed, 1"),
    # the median for the mean
    "S06": ("sample_mean = x.mean(axis=0)", "sample_mean = np.median(x, axis=0)"),
    # as printed: no slope where the squared distances are divided by N
    "S07": ("np.abs(slope_at_halved)", "np.abs(slope_at_printed)"),
    # as printed: a density
    "S08": ("integral_printed, expected_integral", "integral_printed, 1"),
    # a closed form: one application gives the maximum
    "S09": ("weighted_averages(to_mixture(start), x)", "top"),
    # twice the noise
    "S10": ("sigma_x=1.0", "sigma_x=2.0"),
    # the constant of one dimension in place of two
    "S11": ("constant = 1 / (2 * np.pi)", "constant = 1 / np.sqrt(2 * np.pi)"),
    # as printed
    "S12": ("np.isclose(by_corrected, p_x", "np.isclose(by_second, p_x"),
}
