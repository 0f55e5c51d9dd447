"""Each notebook in a kernel of its own: every control moved, every cell run again.

An explorer shows the same when it is new, when later cells have used its names for
theirs, and when its cell has run again by itself. And each check of a claim can fail:
its cell runs with a wrong form in it, too, and must.
"""

import itertools
import re
import warnings
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = {
    path: nbformat.read(path, as_version=4)
    for path in sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
}

# In the kernel, where the explorers are: each control over its range, then random
# settings of all, in four rounds of some 250 updates. A number that is not finite would
# show in a caption; a warning in the middle of a move is an error here. The first line
# tells by how much the memory in use grew in the best of the rounds: what is free in
# the heap goes back to the system before it is read.
SWEEP = """
import contextlib
import ctypes
import gc
import warnings
import psutil
from helpers.explorer import positions
from helpers.explorer import Explorer

def in_use():
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # glibc alone has it
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    return psutil.Process().memory_info().rss

explorers = Explorer.live.values()
assert len(explorers) >= 2, "fewer than two explorers"
controls = [control for each in explorers for control in each.controls.values()]
num_random = (250 - sum(len(positions(each)) for each in controls)) // len(explorers)
num_random = max(50, num_random)  # 200 in the four rounds
captions, growth = set(), []
with warnings.catch_warnings():
    warnings.simplefilter("error")
    for seed in range(4):
        before = in_use()
        for explorer in explorers:
            captions.update(explorer.sweep(num_random=num_random, seed=seed).values())
        growth.append(in_use() - before)
print(min(growth), *captions, sep="\\n")
"""
# Each explorer at its start, and its words with every control at its end.
SAME = """
def explorers_are_as_when_new(new={}):
    from helpers.explorer import positions
    from helpers.explorer import Explorer

    for label, explorer in Explorer.live.items():
        data, _ = explorer._repr_mimebundle_()
        ends = {name: positions(each)[-1] for name, each in explorer.controls.items()}
        now = data["image/png"], data["text/plain"], explorer.set(**ends)
        explorer.reset()
        assert new.setdefault(label, now) == now, label
"""
# Of a round, in bytes. The first rounds take some MB once; what each update leaves
# behind comes in every round. Measured on Linux: under 50 kB in the third and after.
# One moving layer kept from each update would be 600 MB.
GROWTH = 5e5

# By row: what stands in the cell, and the wrong form that takes its place. For an
# erratum it is the deck's own, for the others a slip that people make.
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


def wrong_form(cell):
    """Return the cell of a row with the row's wrong form in it."""
    right, wrong = WRONG[row_of(cell)]
    assert cell.source.count(right) == 1, row_of(cell)
    broken = nbformat.v4.new_code_cell(cell.source.replace(right, wrong))
    broken.metadata.tags = ["raises-exception"]
    return broken


@pytest.fixture(scope="module")
def executed(request):
    """Run all; return the cell that sweeps and, by row, the one with a wrong form."""
    path, notebook = request.param, NOTEBOOKS[request.param].copy()
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    define, same, sweep = map(
        nbformat.v4.new_code_cell, (SAME, "explorers_are_as_when_new()", SWEEP)
    )
    explorers = [cell for cell in cells if "Explorer(" in cell.source]
    broken = {row_of(cell): wrong_form(cell) for cell in cells if row_of(cell)}

    def watched(cell):
        return (cell.copy(), same.copy()) if cell in explorers else (cell.copy(),)

    first = itertools.chain(*map(watched, cells))
    # those alone, then all: one that an earlier cell feeds must survive that it runs
    again = [*itertools.chain(*map(watched, explorers))]
    for cell in cells:
        # a wrong form comes before the right one, which puts its names in order again
        again += [broken[row_of(cell)]] if row_of(cell) else []
        again += watched(cell)
    notebook.cells = [define, *first, sweep, same, *again]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", nbformat.warnings.DuplicateCellId)
        client = NotebookClient(
            notebook, timeout=240, resources={"metadata": {"path": path.parent}}
        )
        client.execute()
    return sweep, broken


@pytest.mark.parametrize(
    "executed", NOTEBOOKS, ids=lambda path: path.stem, indirect=True
)
def test_controls_move_and_cells_run_again(executed):
    sweep, _ = executed
    growth, *captions = sweep.outputs[0].text.splitlines()
    assert len(captions) > 40
    assert not [caption for caption in captions if "nan" in caption or "inf" in caption]
    assert int(growth) < GROWTH


@pytest.mark.mutation
@pytest.mark.parametrize(
    ("executed", "row"),
    [
        pytest.param(path, row, id=f"{path.stem}-{row}")
        for path, notebook in NOTEBOOKS.items()
        for row in filter(None, map(row_of, notebook.cells))
    ],
    indirect=["executed"],
)
def test_a_wrong_form_fails_its_check(executed, row):
    _, broken = executed
    errors = [o.ename for o in broken[row].outputs if o.output_type == "error"]
    assert errors == ["AssertionError"]


def test_every_row_has_a_wrong_form():
    rows = [f"S{i:02}" for i in range(1, 34)]
    checked = [row_of(cell) for book in NOTEBOOKS.values() for cell in book.cells]
    assert sorted(WRONG) == sorted(filter(None, checked)) == rows
