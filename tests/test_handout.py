"""Exercises in the notebooks, and the notebooks that a teacher hands out.

A stub, then its solution, hidden and tagged. Without the solutions every notebook
still runs: no other cell knows a name that an exercise makes.
"""

import dis
import itertools
import re
import shlex
import subprocess
import sys
import types
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from helpers.exercises import EXERCISES

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted(ROOT.glob("notebooks/*.ipynb"))
CHECK = re.compile(r'^check\("(\w+)", .*?(, solution=True)?\)$', re.MULTILINE)

each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


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
    cells, found = code_cells(path), []
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
    assert last.source == f'progress("{path.name[:2]}")'
    assert text(last).startswith("0 of 3 exercises stand (")


# Of the bytecode: symtable counts a comprehension's names as the cell's own from
# Python 3.12 on.
NAMES = {
    "assigned": {"STORE_NAME"},
    "known": {"LOAD_GLOBAL", "LOAD_NAME", "STORE_GLOBAL", "STORE_NAME"},
}


def names(source, of):
    """Return the global names that a cell of code assigns, or knows at all."""
    codes, found = [compile(source, "a cell", "exec")], set()
    for code in codes:
        found |= {i.argval for i in dis.get_instructions(code) if i.opname in NAMES[of]}
        if of == "known":
            codes += [c for c in code.co_consts if isinstance(c, types.CodeType)]
    return found


def test_names_are_told_apart():
    source = "a, b = 1, [c for c in d]\ndef f(x):\n    y = x\n    return z(y)"
    assert names(source, "assigned") == {"a", "b", "f"}
    assert names(source, "known") == {"a", "b", "d", "f", "z"}


@each
def test_no_cell_needs_what_an_exercise_makes(path):
    cells = code_cells(path)
    for cell in cells:
        if tags(cell) & {"exercise", "solution"}:
            made = names(cell.source, "assigned")
            for other in cells:
                if other is not cell:
                    assert not made & names(other.source, "known"), cell.source


@pytest.fixture(scope="module")
def handout(tmp_path_factory):
    """Run the README's own command, in another folder."""
    folder = tmp_path_factory.mktemp("handout")
    readme = (ROOT / "README.md").read_text("utf-8")
    (line,) = re.findall(r"^\S*jupyter nbconvert .*remove_cell_tags.*$", readme, re.M)
    program, *options = shlex.split(line)
    assert Path(program).name == "jupyter"
    options[options.index("--output-dir") + 1] = str(folder)
    command = [sys.executable, "-m", "jupyter", *options]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return folder


@each
def test_the_handout_has_all_but_the_solutions(path, handout):
    kept = [cell for cell in code_cells(path) if "solution" not in tags(cell)]
    handed = code_cells(handout / path.name)
    assert [cell.source for cell in handed] == [cell.source for cell in kept]
    assert [text_or_kind(c) for c in handed] == [text_or_kind(c) for c in kept]
    assert "solved_" not in (handout / path.name).read_text("utf-8")


def text_or_kind(cell):
    return [o.get("text") or sorted(o.get("data", {})) for o in cell.outputs]


def test_a_handout_runs(handout):
    """The shortest; of the others test_no_cell_needs_what_an_exercise_makes tells."""
    path = handout / NOTEBOOKS[0].name
    notebook = nbformat.read(path, as_version=4)
    folder = {"metadata": {"path": NOTEBOOKS[0].parent}}
    NotebookClient(notebook, timeout=120, resources=folder).execute()
    last = [cell for cell in notebook.cells if cell.cell_type == "code"][-1]
    assert text(last).startswith("0 of 3 exercises solved")
