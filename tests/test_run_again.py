"""Each notebook in a kernel of its own: every control moved, every cell run again."""

import warnings
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))

# In the kernel, where the explorers are. A number that is not finite would show in a
# caption; a warning in the middle of a move is an error here.
SWEEP = """
import warnings
from helpers.explorer import Explorer

assert len(Explorer.live) >= 2, "fewer than two explorers"
with warnings.catch_warnings():
    warnings.simplefilter("error")
    captions = [c for e in Explorer.live.values() for c in e.sweep().values()]
print(*captions, sep="\\n")
"""


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_controls_move_and_cells_run_again(path):
    notebook = nbformat.read(path, as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    sweep = nbformat.v4.new_code_cell(SWEEP)
    # twice: explorers that an earlier cell feeds must survive that it runs again
    notebook.cells = [*cells, sweep, *(cell.copy() for cell in cells), sweep.copy()]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", nbformat.warnings.DuplicateCellId)
        client = NotebookClient(
            notebook, timeout=120, resources={"metadata": {"path": path.parent}}
        )
        client.execute()
    captions = sweep.outputs[0].text.splitlines()
    assert len(set(captions)) > 20
    assert not [caption for caption in captions if "nan" in caption or "inf" in caption]
