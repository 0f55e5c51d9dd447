"""Run cells in a kernel whose surroundings the test chooses.

Only the kernel is put into these surroundings, because the notebooks and helpers are
ours and Jupyter is not. Jupyter talks to it through sockets in a folder, so that the
kernel needs no network, not even the loopback.
"""

import copy
import json
import os
import runpy
import shutil
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.util import run_sync
from nbformat.v4 import new_code_cell, new_notebook

ROOT = Path(__file__).resolve().parents[2]
PATHS = sorted((ROOT / "notebooks").glob("*.ipynb"))
join_streams = runpy.run_path(str(ROOT / ".ci/normalise"))["join_streams"]

# Variables of the tests that could undo a condition, such as a locale or a folder that
# replaces the home. And coverage cannot write its data from every kernel.
NOT_PASSED_ON = ("COVERAGE", "IPYTHON", "LANG", "LC_", "MPL", "PYTHON", "XDG_")
# A cell that tells which conditions, each a Python expression, hold in the kernel.
HOLDS = """
import errno, json, locale, os, socket, sys
from pathlib import Path
import helpers, jax, threadpoolctl

home = Path.home()
names = [path.read_text() for path in Path("/proc/self/task").glob("*/comm")]
jax_threads = sum("XLAEigen" in name for name in names)
blas_threads = {{library["num_threads"] for library in threadpoolctl.threadpool_info()}}
conditions = {conditions!r}
print(json.dumps({{name: bool(eval(code)) for name, code in conditions.items()}}))
"""


def class_of_each_notebook(tests):
    """Return by name a class of these tests for each notebook, with its path.

    xdist sends a class to one worker, so that a notebook is executed once, and the
    notebooks are shared among the workers.
    """
    names = {path: f"Test{path.stem}" for path in PATHS}
    return {name: type(name, (tests,), {"path": path}) for path, name in names.items()}


def copied(folder):
    """Copy the helpers and the notebooks to a folder, and return it."""
    for name in ("helpers", "notebooks"):
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, folder / name, ignore=ignore)
    return folder


def printed(cells):
    """Return what nbval compares of each cell: all outputs except the pictures."""
    return [printed_by(copy.deepcopy(cell)) for cell in cells]


def printed_by(cell):
    if "nbval-ignore-output" in cell.metadata.get("tags", []):
        return []
    # This changes the outputs, so it must be given a copy.
    joined = join_streams(cell.outputs)
    shown = [output.get("data", {"text": output.get("text")}) for output in joined]
    texts = [{k: v for k, v in data.items() if k.startswith("text")} for data in shown]
    # An explorer's live part has no text, and the stored form leaves it out.
    return [text for text in texts if text]


def execute(cells, folder, *, env, command=(), restart_before=None):
    """Execute cells in a kernel of their own, in the notebooks' folder of a copy.

    Args:
        cells: Code cells, which get their outputs.
        folder: The copy of the notebooks and of the helpers.
        env: Environment variables for the kernel, added to those of the tests.
        command: Words put in front of the kernel's own command.
        restart_before: The cell before which the kernel is restarted.
    """
    client = NotebookClient(new_notebook(cells=cells), timeout=240)
    manager = client.create_kernel_manager()
    manager.kernel_spec.argv[:1] = [*command, sys.executable]
    passed_on = {k: v for k, v in os.environ.items() if not k.startswith(NOT_PASSED_ON)}
    env = passed_on | {"PYTHONPATH": str(folder)} | env
    with tempfile.TemporaryDirectory() as sockets:
        manager.transport = "ipc"
        manager.ip = f"{sockets}/kernel"
        with client.setup_kernel(cwd=folder / "notebooks", env=env):
            for index, cell in enumerate(cells):
                if cell is restart_before:
                    run_sync(manager.restart_kernel)()
                    run_sync(client.kc.wait_for_ready)()
                client.execute_cell(cell, index)


def code_cells(path):
    """Return the code cells of a notebook as it is stored."""
    notebook = nbformat.read(path, as_version=4)
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def fresh(cell):
    """Return a copy of a cell that has not been executed."""
    return new_code_cell(cell.source, metadata=cell.metadata.copy())


def proof_of(conditions):
    """Return a cell that prints which of the conditions hold in the kernel."""
    return new_code_cell(HOLDS.format(conditions=conditions))


def holds(cell):
    """Return for each condition whether the cell found that it holds."""
    return json.loads(cell.outputs[0].text)
