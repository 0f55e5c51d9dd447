"""The stored form of a notebook."""

import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from ipykernel.ipkernel import IPythonKernel
from nbconvert.exporters import ScriptExporter
from nbformat import v4

SCRIPT = Path(__file__).resolve().parents[1] / ".ci/normalise"
WIDGET = "application/vnd.jupyter.widget-view+json"
normalise = runpy.run_path(str(SCRIPT))["normalise"]


@pytest.fixture
def executed():
    """Return a notebook as a run in JupyterLab leaves it."""
    alt = {"image/png": {"alt": "A curve that rises"}}
    data = {"image/png": "iVBORw0KGgo=", "text/plain": "A curve", WIDGET: {"id": "1"}}
    outputs = [
        v4.new_output("stream", name="stdout", text="a\n"),
        v4.new_output("stream", name="stdout", text="b\n"),
        v4.new_output("execute_result", data, metadata=alt, execution_count=1),
    ]
    cell = v4.new_code_cell("run()", execution_count=1, outputs=outputs)
    cell.metadata = {"tags": ["S01"], "execution": {"shell.execute_reply": "12:00"}}
    notebook = v4.new_notebook(cells=[v4.new_markdown_cell("Text"), cell])
    notebook.metadata = {
        "kernelspec": {"name": "venv", "display_name": "venv", "language": "python"},
        "language_info": {"name": "python", "version": "3.14.1"},
        "widgets": {"application/vnd.jupyter.widget-state+json": {}},
    }
    return notebook


@pytest.fixture
def stored(executed):
    return nbformat.reads(normalise(nbformat.writes(executed)), as_version=4)


def test_drops_what_changes_from_run_to_run(stored):
    assert stored.metadata.keys() == {"kernelspec", "language_info"}
    assert stored.metadata.kernelspec.name == "python3"
    assert "version" not in stored.metadata.language_info
    assert stored.cells[1].metadata == {"tags": ["S01"]}
    assert WIDGET not in stored.cells[1].outputs[-1].data


def test_says_of_the_language_what_every_kernel_says(stored):
    said = IPythonKernel.language_info
    assert stored.metadata.language_info.items() <= said.items()


def test_is_converted_to_a_python_script(stored):
    script, about = ScriptExporter().from_notebook_node(stored)
    assert about["output_extension"] == ".py"
    assert about["output_mimetype"] == "text/x-python"
    assert "# Text" in script.splitlines()
    assert "run()" in script.splitlines()


def test_keeps_what_a_reader_sees(executed, stored):
    assert [cell.id for cell in stored.cells] == [cell.id for cell in executed.cells]
    assert [cell.source for cell in stored.cells] == ["Text", "run()"]
    assert stored.cells[1].execution_count == 1
    text, picture = stored.cells[1].outputs
    assert text.text == "a\nb\n"
    assert picture.data.keys() == {"image/png", "text/plain"}
    assert picture.metadata == executed.cells[1].outputs[-1].metadata
    assert picture.execution_count == 1


def test_twice_is_once(executed):
    once = normalise(nbformat.writes(executed))
    assert normalise(once) == once


def test_check_names_the_notebook_and_changes_nothing(executed, tmp_path):
    path = tmp_path / "one.ipynb"
    nbformat.write(executed, path)
    before = path.read_bytes()

    def run(*options):
        command = [sys.executable, str(SCRIPT), *options, str(path)]
        return subprocess.run(command, capture_output=True, text=True)

    refused = run("--check")
    assert refused.returncode == 1
    assert "one.ipynb" in refused.stdout
    assert path.read_bytes() == before
    assert run().returncode == 0
    assert run("--check").returncode == 0


def without_pictures(text):
    return re.sub(r'"image/png": ".*"', '"image/png": ""', text)


def test_another_run_of_a_notebook_changes_nothing_in_its_file_but_pictures(
    tmp_path, pytestconfig
):
    """Of the shortest. What the others print, nbval compares."""
    if pytestconfig.getoption("--nbval-lax"):
        pytest.skip("--nbval-lax: printed numbers are not compared")
    path = SCRIPT.parents[1] / "notebooks/01_mle_revisited.ipynb"
    again = shutil.copy(path, tmp_path)
    execute = [sys.executable, "-m", "jupyter", "execute", "--inplace", again]
    subprocess.run(execute, check=True, capture_output=True)
    stored = path.read_text("utf-8")
    found = normalise(Path(again).read_text("utf-8"))
    assert without_pictures(found) == without_pictures(stored)
