"""Wrong forms of what notebook 06 checks: in its cell, each must end in an error.

By row of the deck's ledger: text that stands exactly once in the row's cell, and the
same text made wrong as people make it wrong.
"""

WRONG = {
    # the slope in sigma squared for the slope in sigma
    "S31": ("by_quadrature.sigma[0]", "by_quadrature.sigma[0] / (2 * sigma)"),
    # the variance where SciPy takes sigma
    "S32": ("logpdf(z_2d, mu_2d, sigma_2d)", "logpdf(z_2d, mu_2d, sigma_2d**2)"),
    # the score in sigma without its 1 / sigma
    "S33": ("(eps_on_grid**2 - 1) / sigma", "(eps_on_grid**2 - 1)"),
}
