"""Each notebook in a kernel of its own: every control moved, every cell run again."""

import warnings
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))

# In the kernel, where the explorers are: each control over its range, then random
# settings of all. A number that is not finite would show in a caption; a warning in the
# middle of a move is an error here.
SWEEP = """
import warnings
from helpers.explorer import Explorer

assert len(Explorer.live) >= 2, "fewer than two explorers"
with warnings.catch_warnings():
    warnings.simplefilter("error")
    for explorer in Explorer.live.values():
        print(*explorer.sweep(num_random={num_random}, seed=0).values(), sep="\\n")
"""
MEMORY = """
import gc
import psutil

gc.collect()
before = psutil.Process().memory_info().rss
for explorer in Explorer.live.values():
    explorer.sweep(num_random=1000 // len(Explorer.live), seed=1)
gc.collect()
print(psutil.Process().memory_info().rss - before)
"""
# Of a thousand updates, in bytes. The sweep before has filled all caches: measured
# growth was under 200 kB. One moving layer kept from each would be 5 MB or more.
GROWTH = 2e6


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_controls_move_and_cells_run_again(path):
    notebook = nbformat.read(path, as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    sweep, memory, again = map(
        nbformat.v4.new_code_cell,
        (SWEEP.format(num_random=200), MEMORY, SWEEP.format(num_random=0)),
    )
    # twice: explorers that an earlier cell feeds must survive that it runs again
    notebook.cells = [*cells, sweep, memory, *(cell.copy() for cell in cells), again]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", nbformat.warnings.DuplicateCellId)
        client = NotebookClient(
            notebook, timeout=240, resources={"metadata": {"path": path.parent}}
        )
        client.execute()
    captions = sweep.outputs[0].text.splitlines()
    assert len(set(captions)) > 100
    assert not [caption for caption in captions if "nan" in caption or "inf" in caption]
    assert int(memory.outputs[0].text) < GROWTH
