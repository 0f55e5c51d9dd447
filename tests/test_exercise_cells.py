"""The cells of exercises in the notebooks, as they are stored.

Each exercise is a stub followed by its solution, which is hidden and tagged. Without
the solutions every notebook still runs, because no other cell uses a name that an
exercise defines. tests/thorough/test_handout.py makes the notebooks without solutions.
"""

import dis
import functools
import itertools
import re
import types
from pathlib import Path

import nbformat
import pytest

from helpers.exercises import EXERCISES

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted(ROOT.glob("notebooks/*.ipynb"))
CHECK = re.compile(r'^check\("(\w+)", .*?(, solution=True)?\)$', re.MULTILINE)

each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


@functools.cache
def code_cells(path):
    notebook = nbformat.read(path, as_version=4)
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def tags(cell):
    return set(cell.metadata.get("tags", []))


def text(cell):
    """Return what a cell shows."""
    return "".join(o.get("text") or o.data["text/plain"] for o in cell.outputs)


@each
def test_every_stub_is_followed_by_its_hidden_solution(path):
    cells = code_cells(path)
    found = []
    for stub, solution in itertools.pairwise(cells):
        if "exercise" in tags(stub) and "check(" in stub.source:
            ((name, of_solution),) = CHECK.findall(stub.source)
            assert of_solution == ""
            assert text(stub) == f"… {name}: not attempted"
            assert "solution" in tags(solution)
            assert solution.metadata.jupyter.source_hidden is True
            assert CHECK.findall(solution.source) == [(name, ", solution=True")]
            assert text(solution).startswith(f"✓ {name} (solution): right")
            found.append(name)
    assert found == list(EXERCISES[path.name[:2]])
    assert len(found) == sum("solution" in tags(cell) for cell in cells)


@each
def test_the_last_cell_tells_the_progress(path):
    last = code_cells(path)[-1]
    notebook = path.name[:2]
    assert last.source == f'progress("{notebook}")'
    assert text(last).startswith(f"0 of {len(EXERCISES[notebook])} exercises ")


# Names are read from the bytecode. The module symtable would not do: from Python 3.12
# on it counts the names of a comprehension as the cell's own.
def names(code, operations):
    """Return the names on which code does one of the operations."""
    steps = dis.get_instructions(code)
    return {step.argval for step in steps if step.opname in operations}


def assigned_names(source):
    """Return the global names that a cell assigns."""
    return names(compile(source, "a cell", "exec"), {"STORE_NAME"})


def used_names(source):
    """Return all global names in a cell, also those inside its functions."""
    operations = {"LOAD_GLOBAL", "LOAD_NAME", "STORE_GLOBAL", "STORE_NAME"}
    codes = [compile(source, "a cell", "exec")]
    found = set()
    for code in codes:
        found |= names(code, operations)
        codes += [c for c in code.co_consts if isinstance(c, types.CodeType)]
    return found


def test_names_are_told_apart():
    source = "a, b = 1, [c for c in d]\ndef f(x):\n    y = x\n    return z(y)"
    assert assigned_names(source) == {"a", "b", "f"}
    assert used_names(source) == {"a", "b", "d", "f", "z"}


@each
def test_no_cell_needs_what_an_exercise_defines(path):
    cells = code_cells(path)
    for cell in cells:
        if tags(cell) & {"exercise", "solution"}:
            defined = assigned_names(cell.source) - {"_"}  # what nobody reads
            for other in cells:
                if other is not cell:
                    assert not defined & used_names(other.source), cell.source
