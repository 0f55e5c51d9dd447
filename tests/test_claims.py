"""Each check of a claim can fail: its cell is run with a wrong form in it, and must.

For an erratum the wrong form is the deck's own, for the others a slip that people make.
"""

import functools
import re
import warnings
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
ROWS = [f"S{i:02}" for i in range(1, 34)]

# By row: what stands in the cell, and the wrong form that takes its place.
WRONG = {
    # a point beside the maximum
    "S01": ("value_and_gradient(theta_hat)", "value_and_gradient(1.01 * theta_hat)"),
    # the logarithm inside the sum over z
    "S02": ("np.log(joint.sum(axis=1))", "np.log(joint).sum(axis=1)"),
    # descent
    "S03": ("0.3 / n, 400", "-0.3 / n, 400"),
    # as printed: one z at a time is the marginal
    "S04": ("right_side.sum(axis=1), marginal", "right_side[:, 0], marginal"),
    # as printed: the density of one dimension
    "S05": ("np.isclose(of_mended, 1", "np.isclose(of_printed, 1"),
    # the median for the mean
    "S06": (
        "slope_in_mu(x.mean(axis=0), 1.3",
        "slope_in_mu(np.median(x, axis=0), 1.3",
    ),
    # as printed: no slope where the squares are divided by N
    "S07": ("[slope(*best, 2)", "[slope(mean, doubled, 2)"),
    # as printed: a density
    "S08": ("np.isclose(total, again.weights @ spreads", "np.isclose(total, 1"),
    # any parameters solve the equations
    "S09": ("(two_kinds, False)", "(two_kinds, True)"),
    # twice the noise
    "S10": ("- np.eye(2)", "- 4 * np.eye(2)"),
    # the constant of one dimension in place of two
    "S11": ("squares(point, z) / 2) / (2 * np.pi)", "squares(point, z) / 2) / 2.5066"),
    # as printed
    "S12": ("np.isclose(by_mended, exact", "np.isclose(by_second, exact"),
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
    # sigma_x squared for sigma_x
    "S25": ("+ sigma_x * rng.normal", "+ sigma_x**2 * rng.normal"),
    # as printed: isotropic does as well
    "S26": (
        'assert price["isotropic"] > price["diagonal"] + 0.1',
        'assert np.isclose(price["isotropic"], price["diagonal"], rtol=0.1)',
    ),
    # the encoder's q is the best q
    "S27": ("np.array(gaps(own.ravel())) - approximation", "0 * approximation"),
    # as labelled: the second term sees the decoder too
    "S28": ("assert fit > 1 > kl == 0", "assert fit > 1 and kl > 0"),
    # log p(x) rises while only the encoder moves
    "S29": (
        "assert np.allclose(log_p[1::2], log_p[:-1:2], rtol=1e-12)",
        "assert (log_p[1::2] > log_p[:-1:2] + 1e-6).all()",
    ),
    # the factor left out
    "S30": ("np.abs(mean / sigma_x**2 - exact)", "np.abs(mean - exact)"),
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


def row_of(cell):
    """Return the row that a cell checks, or None."""
    tags = [t for t in cell.metadata.get("tags", []) if re.fullmatch(r"S\d\d", t)]
    return tags[0] if tags else None


@functools.cache
def errors_of_wrong_forms(path):
    """Return, by row, what its cell raises in a run with the wrong form in it."""
    notebook = nbformat.read(path, as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    last = max(i for i, cell in enumerate(cells) if row_of(cell))
    notebook.cells, broken = [], {}
    for cell in cells[: last + 1]:
        if row := row_of(cell):
            right, wrong = WRONG[row]
            assert cell.source.count(right) == 1, row
            source = cell.source.replace(right, wrong)
            broken[row] = nbformat.v4.new_code_cell(source)
            broken[row].metadata.tags = ["raises-exception"]
            # before the right one, which then puts its names in order again
            notebook.cells.append(broken[row])
        notebook.cells.append(cell)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", nbformat.warnings.DuplicateCellId)
        resources = {"metadata": {"path": path.parent}}
        NotebookClient(notebook, timeout=120, resources=resources).execute()
    return {
        row: [o.ename for o in cell.outputs if o.output_type == "error"]
        for row, cell in broken.items()
    }


@functools.cache
def notebook_of(row):
    """Return the notebook with the row's cell."""
    (path,) = (
        path
        for path in NOTEBOOKS
        if row in map(row_of, nbformat.read(path, as_version=4).cells)
    )
    return path


@pytest.mark.mutation
@pytest.mark.parametrize("row", ROWS)
def test_a_wrong_form_fails_its_check(row):
    assert errors_of_wrong_forms(notebook_of(row))[row] == ["AssertionError"]


def test_every_row_has_a_wrong_form():
    assert sorted(WRONG) == ROWS
