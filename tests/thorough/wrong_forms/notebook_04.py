"""Wrong forms of what notebook 04 checks: in its cell, each must end in an error.

By row of the deck's ledger: text that stands exactly once in the row's cell, and the
same text made wrong. For S20 and S21 this is the deck's own form.
"""

WRONG = {
    # a posterior that forgets the weights
    "S18": ("e_step(uneven, x)", "e_step(uneven._replace(weights=halves), x)"),
    # parameters beside the closed form
    "S19": (
        "value_and_gradient_of_bound(q1, closed_form, x)",
        "value_and_gradient_of_bound(q1, 1.01 * closed_form, x)",
    ),
    # as printed: q(t) in place of q(t+1)
    "S20": ("corrected_new >= corrected_old", "printed_new >= printed_old"),
    # as printed: always improves
    "S21": ("np.diff(climbs) >= -1e-11 * abs(climbs).max()", "np.diff(climbs) > 0"),
}
