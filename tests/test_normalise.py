"""The stored form of a notebook."""

import runpy
import sys
from pathlib import Path

import nbformat
import pytest
from ipykernel.ipkernel import IPythonKernel
from nbconvert.exporters import ScriptExporter
from nbformat import v4

SCRIPT = Path(__file__).resolve().parents[1] / ".ci/normalise"
WIDGET = "application/vnd.jupyter.widget-view+json"
script = runpy.run_path(str(SCRIPT))
normalise = script["normalise"]


@pytest.fixture
def executed():
    """Return a notebook as JupyterLab saves it after a run."""
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


def test_what_changes_from_run_to_run_is_dropped(stored):
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


def test_what_a_reader_sees_is_kept(executed, stored):
    assert [cell.id for cell in stored.cells] == [cell.id for cell in executed.cells]
    assert [cell.source for cell in stored.cells] == ["Text", "run()"]
    assert stored.cells[1].execution_count == 1
    text, picture = stored.cells[1].outputs
    assert text.text == "a\nb\n"
    assert picture.data.keys() == {"image/png", "text/plain"}
    assert picture.metadata == executed.cells[1].outputs[-1].metadata
    assert picture.execution_count == 1


def test_a_second_time_changes_nothing(executed):
    once = normalise(nbformat.writes(executed))
    assert normalise(once) == once


def test_check_names_the_notebook_and_changes_nothing(
    executed, tmp_path, monkeypatch, capsys
):
    path = tmp_path / "one.ipynb"
    nbformat.write(executed, path)
    before = path.read_bytes()

    def run(*options):
        monkeypatch.setattr(sys, "argv", ["normalise", *options, str(path)])
        return script["main"]()

    assert run("--check") == 1
    assert "one.ipynb" in capsys.readouterr().out
    assert path.read_bytes() == before
    assert run() == 0
    assert path.read_bytes() != before
    assert run("--check") == 0
