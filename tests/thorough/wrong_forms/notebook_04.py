"""Wrong forms of what notebook 04 checks: in its cell, each must end in an error.

By row of the deck's ledger: text that stands exactly once in the row's cell, and the
same text made wrong as people make it wrong.
"""

WRONG = {
    # another q than the posterior
    "S18": ("bound(start, q) - jax.vmap", "bound(start, strangers[0]) - jax.vmap"),
    # another theta than the update
    "S19": ("coordinates(m_step(q, x))", "coordinates(start)"),
    # as printed: q(t) in the middle relation
    "S20": (
        "(f[early + 1, early - 1] < f[early, early - 1] - 1e-4)",
        "(f[early + 1, early - 1] >= f[early, early - 1] - slack)",
    ),
    # as printed: always improves
    "S21": (
        "assert np.isclose(ell_at(again_at(free)), ell_at(free), rtol=1e-13)",
        "assert ell_at(again_at(free)) > ell_at(free) + 1e-6",
    ),
}
