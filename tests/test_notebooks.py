"""The form of every notebook as it is stored, and that each check of it can fail.

nbval runs the notebooks. Here, a check takes a notebook and its path, and returns a
list of what is wrong with it.
"""

import ast
import functools
import re
from pathlib import Path

import nbformat
import pytest
from nbformat import v4

NOTEBOOKS = sorted(Path(__file__).parents[1].glob("notebooks/*.ipynb"))

# The claims of the slides that each notebook checks.
CLAIMS = {
    "01": {"S01", "S02"},
    "02": {f"S{i:02}" for i in range(3, 13)},
    "03": {f"S{i}" for i in (13, 14, 15, 16, 17, 22, 23, 24)},
    "04": {f"S{i}" for i in range(18, 22)},
    "05": {f"S{i}" for i in range(25, 31)},
    "06": {f"S{i}" for i in range(31, 34)},
}
# A folder on somebody's machine, such as /a/b, ~/a or C:\a, but not a/b, </b>, a URL or
# LaTeX.
ABSOLUTE_PATH = re.compile(
    r"(?<![\w:/.<*+~)\]}$-])/[A-Za-z_][\w.-]*/[\w.-]+|(?<!\w)~/\w|\b[A-Z]:\\[A-Z]\w+\\"
)
FETCHES = re.compile(
    r"https?://|\b(urllib|requests|httpx|aiohttp|wget|curl|fetch_\w+|urlopen)\b"
    r"|^\s*[!%]+\s*(pip|conda|mamba|uv|apt)",
    re.MULTILINE,
)
SCRIPT = re.compile(r"javascript|<script|<\w[^<>]*\son\w+\s*=", re.IGNORECASE)


def code_cells(notebook):
    """Return the code cells that are not empty."""
    return [c for c in notebook.cells if c.cell_type == "code" and c.source.strip()]


def outputs(notebook, *kinds):
    """Return the outputs of these kinds, or all outputs if none is given."""
    every = [output for cell in code_cells(notebook) for output in cell.outputs]
    return [o for o in every if not kinds or o.output_type in kinds]


def executed_in_order(notebook, path):
    counts = [cell.execution_count for cell in code_cells(notebook)]
    return [] if counts == list(range(1, len(counts) + 1)) else [counts]


def no_errors(notebook, path):
    return [f"{o.ename}: {o.evalue}" for o in outputs(notebook, "error")]


def no_warnings(notebook, path):
    return [o.text for o in outputs(notebook, "stream") if o.name == "stderr"]


def no_absolute_paths(notebook, path):
    texts = [cell.source for cell in notebook.cells]
    texts += [o.text for o in outputs(notebook, "stream")]
    for output in outputs(notebook, "display_data", "execute_result"):
        texts += [v for k, v in output.data.items() if k.startswith("text/")]
    return [m[0] for text in texts for m in ABSOLUTE_PATH.finditer(text)]


def no_widget_state(notebook, path):
    return ["metadata.widgets"] if "widgets" in notebook.metadata else []


def kernel_is_python3(notebook, path):
    name = notebook.metadata.get("kernelspec", {}).get("name")
    return [] if name == "python3" else [name]


def under_one_megabyte(notebook, path):
    size = path.stat().st_size
    return [] if size < 1_000_000 else [f"{size} bytes"]


def can_fail(source):
    """Return whether code asserts something about a value that it names."""
    asserts = [n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Assert)]
    return any(
        not isinstance(a.test, ast.Tuple)  # (test, message) is always true
        and any(isinstance(n, ast.Name) for n in ast.walk(a.test))
        for a in asserts
    )


def claims_are_checked(notebook, path):
    """Each claim has one tagged cell that can fail, and the prose above names it."""
    wrong = []
    seen = []
    above = ""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            above += cell.source
            continue
        for tag in cell.metadata.get("tags", []):
            if re.fullmatch(r"S\d+", tag):
                seen.append(tag)
                if not can_fail(cell.source):
                    wrong.append(f"{tag}: no assert that can fail")
                if not re.search(rf"\b{tag}\b", above):
                    wrong.append(f"{tag}: not named in the prose above")
    claims = CLAIMS.get(path.name[:2], set())
    wrong += [f"{c}: {seen.count(c)} cells" for c in claims if seen.count(c) != 1]
    return wrong + [f"{c}: not of this notebook" for c in seen if c not in claims]


def figures_have_alternative_text(notebook, path):
    wrong = []
    for output in outputs(notebook, "display_data", "execute_result"):
        for kind in (k for k in output.data if k.startswith("image/")):
            alt = output.metadata.get(kind, {}).get("alt", "")
            if kind != "image/png" or len(alt.strip()) < 20:
                wrong.append(f"{kind}: {alt!r}")
    return wrong


def no_plt_show(notebook, path):
    # It drops the alternative text that plotting.show() adds.
    pattern = re.compile(r"\b(plt|pyplot)\.show\b")
    return [c.source for c in code_cells(notebook) if pattern.search(c.source)]


def nothing_is_fetched(notebook, path):
    return [m[0] for c in code_cells(notebook) for m in FETCHES.finditer(c.source)]


def no_scripts(notebook, path):
    """A trusted notebook must not run JavaScript of ours in the browser."""
    texts = [cell.source for cell in notebook.cells]
    for output in outputs(notebook, "display_data", "execute_result"):
        texts += [kind + str(value) for kind, value in output.data.items()]
    return [m[0] for text in texts for m in SCRIPT.finditer(text)]


def links_resolve(notebook, path):
    prose = "\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")
    targets = re.findall(r"\]\((?!\w+:|#)([^)\s#]+)", prose)
    return [t for t in targets if not (path.parent / t).exists()]


CHECKS = [
    executed_in_order,
    no_errors,
    no_warnings,
    no_absolute_paths,
    no_widget_state,
    kernel_is_python3,
    under_one_megabyte,
    claims_are_checked,
    figures_have_alternative_text,
    no_plt_show,
    nothing_is_fetched,
    no_scripts,
    links_resolve,
]


@functools.cache
def stored(path):
    return nbformat.read(path, as_version=4)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_notebook(check, path):
    assert check(stored(path), path) == []


# The checks themselves: a sound notebook passes all of them, and a notebook that is
# broken in one way fails one.


def sound_notebook():
    """Return a notebook that passes every check as number 01."""
    picture = v4.new_output(
        "display_data",
        {"image/png": "iVBORw0KGgo=", "text/plain": "The likelihood of the mean"},
        metadata={"image/png": {"alt": "The likelihood of the mean"}},
    )
    prose = "S01 and S02 at 3 km/h/s, $a/b/c$, [02](02_next.ipynb), <b>/</b>"
    cells = [v4.new_markdown_cell(prose)]
    cells += [v4.new_code_cell(f"x = {i}") for i in range(6)]
    for cell, tag in zip(cells[1:], ["S01", "S02"], strict=False):
        cell.source = "x = 1\nassert x == 1"
        cell.metadata.tags = [tag]
    cells[3].outputs = [picture, v4.new_output("stream", name="stdout", text="1/2\n")]
    for count, cell in enumerate(cells[1:], start=1):
        cell.execution_count = count
    kernel = {"name": "python3", "display_name": "Python 3"}
    return v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})


def put(path, value):
    """Return a function that sets one value of a notebook, such as cells 1 source."""
    *keys, last = (int(k) if k.isdigit() else k for k in path.split())

    def change(notebook):
        place = notebook
        for key in keys:
            place = place[key]
        place[last] = value

    return change


def shows(*args, **kwargs):
    return put("cells 4 outputs", [v4.new_output(*args, **kwargs)])


BROKEN = [
    (executed_in_order, put("cells 4 execution_count", None)),
    (executed_in_order, put("cells 4 execution_count", 9)),
    (executed_in_order, put("cells 1 execution_count", 2)),
    (no_errors, shows("error", ename="ValueError", evalue="no")),
    (no_warnings, shows("stream", name="stderr", text="careful")),
    (no_absolute_paths, put("cells 4 source", "open('/home/me/data.csv')")),
    (no_absolute_paths, put("cells 4 source", "open('~/data.csv')")),
    (no_absolute_paths, put("cells 4 source", r"open('C:\Users\me')")),
    (no_absolute_paths, shows("stream", name="stdout", text="at /srv/conda/x")),
    (no_absolute_paths, shows("display_data", {"text/plain": "File /opt/a/b.py"})),
    (no_widget_state, put("metadata widgets", {})),
    (kernel_is_python3, put("metadata kernelspec name", "venv")),
    (under_one_megabyte, shows("stream", name="stdout", text="1" * 1_000_000)),
    (claims_are_checked, put("cells 1 metadata tags", [])),
    (claims_are_checked, put("cells 3 metadata tags", ["S01"])),
    (claims_are_checked, put("cells 1 metadata tags", ["S01", "S03"])),
    (claims_are_checked, put("cells 1 source", "x = 1")),
    (claims_are_checked, put("cells 1 source", "assert True")),
    (claims_are_checked, put("cells 1 source", "x = 1\nassert (x == 2, 'never')")),
    (claims_are_checked, put("cells 0 source", "S01 alone")),
    (claims_are_checked, lambda notebook: notebook.cells.append(notebook.cells.pop(0))),
    (figures_have_alternative_text, put("cells 3 outputs 0 metadata", {})),
    (
        figures_have_alternative_text,
        put("cells 3 outputs 0 metadata image/png alt", "A figure"),
    ),
    (figures_have_alternative_text, shows("display_data", {"image/svg+xml": "<svg/>"})),
    (no_plt_show, put("cells 4 source", "plt.show()")),
    (nothing_is_fetched, put("cells 4 source", "import urllib.request")),
    (nothing_is_fetched, put("cells 4 source", "read('https://example.org')")),
    (nothing_is_fetched, put("cells 4 source", "%pip install jax")),
    (nothing_is_fetched, put("cells 4 source", "x = 1\n!pip install jax")),
    (no_scripts, put("cells 4 source", "%%javascript\nalert(1)")),
    (no_scripts, put("cells 0 source", "S01, S02 <script>alert(1)</script>")),
    (no_scripts, shows("display_data", {"application/javascript": "alert(1)"})),
    (no_scripts, shows("display_data", {"text/html": "<p onclick='f()'>S01</p>"})),
    (links_resolve, put("cells 0 source", "S01, S02, [next](03_none.ipynb)")),
]


def complaints(notebook, folder):
    """Return the names of the checks that a notebook fails."""
    (folder / "02_next.ipynb").touch()
    path = folder / "01_this.ipynb"
    nbformat.write(notebook, path)
    notebook = nbformat.read(path, as_version=4)
    return {check.__name__ for check in CHECKS if check(notebook, path)}


def test_a_sound_notebook_passes(tmp_path):
    assert complaints(sound_notebook(), tmp_path) == set()


@pytest.mark.parametrize(("check", "change"), BROKEN)
def test_a_broken_notebook_is_caught(check, change, tmp_path):
    notebook = sound_notebook()
    change(notebook)
    assert complaints(notebook, tmp_path) == {check.__name__}


def test_every_check_is_seen_to_fail():
    assert {check for check, _ in BROKEN} == set(CHECKS)
