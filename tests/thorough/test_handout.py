"""The notebooks without solutions, which a teacher hands out."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from kernels import PATHS, ROOT, code_cells
from nbclient import NotebookClient


@pytest.fixture(scope="module")
def handout(tmp_path_factory):
    """Run the README's own command with another folder."""
    folder = tmp_path_factory.mktemp("handout")
    readme = (ROOT / "README.md").read_text("utf-8")
    (line,) = re.findall(r"^\S*jupyter nbconvert .*remove_cell_tags.*$", readme, re.M)
    program, *options = shlex.split(line)
    assert Path(program).name == "jupyter"
    options[options.index("--output-dir") + 1] = str(folder)
    command = [sys.executable, "-m", "jupyter", *options]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return folder


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_the_handout_has_all_but_the_solutions(path, handout):
    stored = code_cells(path)
    kept = [c for c in stored if "solution" not in c.metadata.get("tags", [])]
    handed = code_cells(handout / path.name)
    assert [cell.source for cell in handed] == [cell.source for cell in kept]
    assert [text_or_kind(c) for c in handed] == [text_or_kind(c) for c in kept]
    assert "solved_" not in (handout / path.name).read_text("utf-8")


def text_or_kind(cell):
    return [o.get("text") or sorted(o.get("data", {})) for o in cell.outputs]


def test_a_handout_runs(handout):
    """The shortest one.

    The others run too, by test_no_cell_needs_what_an_exercise_defines.
    """
    path = handout / PATHS[0].name
    notebook = nbformat.read(path, as_version=4)
    folder = {"metadata": {"path": PATHS[0].parent}}
    NotebookClient(notebook, timeout=120, resources=folder).execute()
    last = [cell for cell in notebook.cells if cell.cell_type == "code"][-1]
    assert last.outputs[0].text.startswith("0 of 3 exercises ")
