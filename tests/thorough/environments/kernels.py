"""A notebook in a kernel whose surroundings the test sets.

Only the kernel is put there: the notebooks and helpers are ours, Jupyter is not. It
speaks to the kernel through sockets in a folder, so that no network is needed, not
even the loopback.
"""

import json
import os
import runpy
import shutil
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import nbformat
from nbclient import NotebookClient
from nbclient.util import run_sync
from nbformat.v4 import new_code_cell, new_notebook

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
join_streams = runpy.run_path(str(ROOT / ".ci/normalise"))["join_streams"]

# Ours, which could undo a condition: a locale, a folder in place of the home.
NOT_PASSED_ON = ("IPYTHON", "LANG", "LC_", "MPL", "PYTHON", "XDG_")
# The last cell: which of the conditions, each a Python expression, hold in the kernel.
HOLDS = """
import errno, json, locale, os, socket, sys
from pathlib import Path
import helpers, threadpoolctl

home = Path.home()
names = [path.read_text() for path in Path("/proc/self/task").glob("*/comm")]
jax_threads = sum("XLAEigen" in name for name in names)
blas_threads = {{library["num_threads"] for library in threadpoolctl.threadpool_info()}}
conditions = {conditions!r}
print(json.dumps({{name: bool(eval(code)) for name, code in conditions.items()}}))
"""


class Ran(NamedTuple):
    """What came of a run."""

    printed: list  # for each cell, in the order they ran
    stored: list  # the same of the notebook as it is stored
    holds: dict  # for each condition, whether the kernel was under it


def copied(folder):
    """Copy the helpers and the notebooks to a folder, and return it."""
    for name in ("helpers", "notebooks"):
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, folder / name, ignore=ignore)
    return folder


def compared(cell):
    """Return what nbval compares: all that a cell shows but its pictures."""
    if "nbval-ignore-output" in cell.metadata.get("tags", []):
        return []
    shown = [o.get("data", {"text": o.get("text")}) for o in join_streams(cell.outputs)]
    return [{k: v for k, v in data.items() if k.startswith("text")} for data in shown]


def run(
    path, folder, conditions, *, env, command=(), first="", twice=False, restart=False
):
    """Run the cells of a notebook in a kernel of its own.

    Args:
        path: Of the notebook.
        folder: Where a copy of it and of the helpers is.
        conditions: Python expressions by name; see HOLDS for what they may use.
        env: Variables for the kernel, on top of what the tests run under.
        command: Goes before the kernel's own command.
        first: Code that is run before all cells.
        twice: Each cell is run, and then run again.
        restart: The first half is run, then all in a restarted kernel.
    """
    notebook = nbformat.read(path, as_version=4)
    stored = [cell for cell in notebook.cells if cell.cell_type == "code"]
    half = len(stored) // 2 if restart else 0
    stored = stored[:half] + [cell for cell in stored for _ in range(1 + twice)]
    ran = [new_code_cell(c.source, metadata=c.metadata) for c in stored]
    last = new_code_cell(HOLDS.format(conditions=conditions))
    cells = [new_code_cell(first), *ran, last]
    client = NotebookClient(new_notebook(cells=cells), timeout=240)
    manager = client.create_kernel_manager()
    manager.kernel_spec.argv[:1] = [*command, sys.executable]
    passed_on = {k: v for k, v in os.environ.items() if not k.startswith(NOT_PASSED_ON)}
    env = passed_on | {"PYTHONPATH": str(folder)} | env
    with tempfile.TemporaryDirectory() as sockets:
        manager.transport, manager.ip = "ipc", f"{sockets}/kernel"
        with client.setup_kernel(cwd=folder / "notebooks", env=env):
            for index, cell in enumerate(cells):
                if restart and index == 1 + half:
                    run_sync(manager.restart_kernel)()
                    run_sync(client.kc.wait_for_ready)()
                client.execute_cell(cell, index)
    holds = json.loads(last.outputs[0].text)
    return Ran([compared(c) for c in ran], [compared(c) for c in stored], holds)
