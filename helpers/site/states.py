"""Execute a notebook, and record the states of its explorers for pages without it."""

import html
import json
import os
import re
import sys
import textwrap
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import (
    CellExecutionError,
    CellTimeoutError,
    DeadKernelError,
)
from nbformat.v4 import new_code_cell, new_output

import helpers
import helpers.explorer

__all__ = ["NotebookError", "player", "run"]

WIDGET = "application/vnd.jupyter.widget-view+json"
SECONDS_A_CELL = 600
# Leaves no name behind among the notebook's own, and imports nothing before they do.
RECORD = """
__import__("builtins").print(__import__("json").dumps(
    __import__("importlib").import_module("helpers.site.record")
    .new_explorers({prefix!r}, {folder!r})
    if "helpers.explorer" in __import__("sys").modules else {{}}))
"""


class NotebookError(RuntimeError):
    """A notebook could not be executed, or an explorer of it not be recorded."""


def run(notebook, packs, progress=print, *, run_link=None):
    """Execute a notebook in a kernel of its own, and record its explorers.

    Args:
        notebook: the notebook's path, whose name begins with its number. It stays as
            it is.
        packs: the folder for the packs, one for each explorer: `01-1.js`, `01-2.js`...
        progress: called with a line for each explorer.
        run_link: where a reader can run the notebook; its own name if None.

    Returns:
        The executed notebook. The output of each explorer is one piece of HTML with the
        picture and the words at its start, which `player.js` takes over. Another
        widget becomes a sentence that it needs a kernel.

    Raises:
        NotebookError: a cell fails or an explorer cannot be recorded. It names the
            notebook and the cell.
    """
    notebook, packs = Path(notebook), Path(packs)
    packs.mkdir(parents=True, exist_ok=True)
    prefix = notebook.stem.partition("_")[0]
    for old in packs.glob(f"{prefix}-*.js"):
        old.unlink()
    sheet = nbformat.read(notebook, as_version=4)
    client = NotebookClient(
        sheet,
        timeout=SECONDS_A_CELL,
        store_widget_state=False,
        extra_arguments=["--log-level=40"],  # errors alone
    )
    manager = client.create_kernel_manager()
    manager.kernel_spec.argv[:1] = [sys.executable]
    root = Path(helpers.__file__).resolve().parents[1]
    known = {}
    with client.setup_kernel(cwd=notebook.resolve().parent, env=_environment(root)):
        for index, cell in enumerate(sheet.cells):
            if cell.cell_type != "code":
                continue
            where = f"{notebook.name}, cell {index} ({_first_line(cell.source)})"
            _execute(client, cell, index, where)
            record = RECORD.format(prefix=prefix, folder=str(packs.resolve()))
            found = _answer(client, record, index, f"{where}: recording its explorers")
            for model, explorer in found.items():
                if model not in known:
                    progress(
                        f"{explorer['pack']} {explorer['label']}: "
                        f"{explorer['states']:,} states, "
                        f"{explorer['bytes'] / 1000:,.0f} kB, "
                        f"{explorer['seconds']:.1f} s"
                    )
            known = found
            sheet.cells[index] = cell
    link = html.escape(run_link or notebook.name)
    for cell in sheet.cells:
        if cell.cell_type == "code":
            cell.outputs = _for_a_page(cell.outputs, known, link)
    return sheet


def player():
    """Return the script that a page with explorers loads, in one text.

    It is the same view as in JupyterLab. A page opened from a folder cannot load a
    module, so both become functions of a plain script.
    """
    folder = Path(helpers.explorer.__file__).parent
    view = (folder / "view.js").read_text("utf-8")
    exported = re.compile(r"^export (default [^;]+;|(?=function))", re.MULTILINE)
    view = exported.sub("", view)
    own = Path(__file__).with_name("player.js").read_text("utf-8")
    return f'"use strict";\n(() => {{\n{view}\n{own}}})();\n'


def _environment(root):
    """Return the kernel's environment: these helpers come first in it."""
    before = os.environ.get("PYTHONPATH")
    path = os.pathsep.join([str(root), *filter(None, [before])])
    return os.environ | {"PYTHONPATH": path}


def _first_line(source):
    line = source.strip().partition("\n")[0]
    return textwrap.shorten(line, 60, placeholder="...")


def _execute(client, cell, index, where, **options):
    try:
        client.execute_cell(cell, index, **options)
    except CellExecutionError as error:
        raise NotebookError(f"{where}: {error.ename}: {error.evalue}") from error
    except CellTimeoutError as error:
        raise NotebookError(f"{where}: took over {SECONDS_A_CELL} s") from error
    except DeadKernelError as error:
        raise NotebookError(f"{where}: the kernel ended") from error


def _answer(client, source, index, where):
    """Return what a cell prints that is no part of the notebook."""
    cell = new_code_cell(source)
    _execute(client, cell, index, where, store_history=False)
    printed = "".join(
        each.text for each in cell.outputs if each.get("name") == "stdout"
    )
    return json.loads(printed.splitlines()[-1])


def _for_a_page(outputs, explorers, link):
    """Return a cell's outputs with HTML in the place of every widget."""
    kept = []
    for output in outputs:
        data = output.get("data", {})
        if WIDGET in data:
            explorer = explorers.get(data[WIDGET]["model_id"])
            if explorer:
                # As `saved.show` displays it: the picture just before, the words after.
                still = kept.pop()
                page, words = _page(explorer, still, link), still.data["text/plain"]
            else:
                page, words = _still(link), data["text/plain"]
            text = {"text/html": page, "text/plain": words}
            kept.append(new_output("display_data", data=text))
        elif _continues(kept, output):
            kept[-1].text += output.text
        elif 'class="explorer-words"' not in data.get("text/html", ""):
            kept.append(output)
    return kept


def _continues(before, output):
    """Return whether an output is more of the text that was just printed."""
    if not before or output.output_type != "stream":
        return False
    return before[-1].get("name") == output.name


def _page(explorer, still, link):
    """Return an explorer's picture and words, which the player takes over."""
    look = still.metadata["image/png"]
    return (
        f'<div class="explorer" data-pack="{explorer["pack"]}" '
        f'data-run-link="{link}" style="--controls: {explorer["controls"]}">'
        f'<img alt="{html.escape(look["alt"])}" width="{look["width"]}" '
        f'src="data:image/png;base64,{still.data["image/png"].strip()}">'
        f"<p>{html.escape(explorer['words'])}</p></div>"
    )


def _still(link):
    """Return what stands for another widget."""
    return (
        '<div class="explorer-still"><p>Here the notebook computes something new at '
        "each move, which needs a running kernel: "
        f'<a href="{link}">run the notebook</a>.</p></div>'
    )
