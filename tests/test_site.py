"""The web site's parts: what a page is made of, without Sphinx and without a browser.

tests/browser/test_site.py looks at the site that was built.
"""

import base64
import hashlib
import io
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat import v4
from PIL import Image

from helpers.site import __main__, build, index, pages, source

HERE = Path(build.__file__).parent
MATHJAX = "d4295dc33744836935c1399feece5159577b34c5c8ffb9f1c6324cd82e03a882"
BINDER = "https://mybinder.org/v2/gh/a/b/HEAD?urlpath=lab/tree/notebooks/{}"


def png(width, height):
    buffer = io.BytesIO()
    Image.new("RGB", (width, height)).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def notebook(*cells):
    return v4.new_notebook(cells=[v4.new_markdown_cell("# 01 · First"), *cells])


def code(text, *outputs, **metadata):
    return v4.new_code_cell(text, outputs=list(outputs), metadata=metadata)


def shows(data, **metadata):
    return v4.new_output("display_data", data, metadata=metadata)


@pytest.fixture
def page(tmp_path):
    """A function that makes a page of some cells and returns those of the page.

    Left out are the title and the line beneath it.
    """

    def page(*cells):
        made = pages.page(notebook(*cells), "01_first", tmp_path / "figures")
        nbformat.validate(made)
        return made.cells[2:]

    return page


@pytest.fixture
def hosted(monkeypatch):
    """Give the repository an address."""
    readme = source.readme().replace("/OWNER/REPO/", "/a/b/")
    monkeypatch.setattr(source, "readme", lambda: readme)


def test_mathjax_is_the_file_of_its_release():
    digest = hashlib.sha256((HERE / "static/mathjax/tex-svg.js").read_bytes())
    assert digest.hexdigest() == MATHJAX
    assert "Apache License" in (HERE / "static/mathjax/LICENSE").read_text("utf-8")


# Cells


@pytest.mark.parametrize(
    ("comment", "label"),
    [
        ("# Draws a line.\n# More.\nx = 1", "Code: Draws a line."),
        ("# Draws a line that\n# is long.\nx = 1", "Code: Draws a line that is long."),
        ("# Draws a line\nx = 1", "Code: Draws a line"),
        ("# Draws a line", "Code: Draws a line"),
        ("x = 1", "Code"),
    ],
)
def test_plumbing_is_folded_under_its_first_line(page, comment, label):
    (cell,) = page(code(comment, tags=["hide-input"]))
    assert cell.source == comment
    assert cell.metadata.tags == ["hide-input"]
    assert cell.metadata.mystnb.code_prompt_show == label


def test_a_solution_is_folded_with_what_it_prints(page):
    (cell,) = page(code("x", tags=["solution"], jupyter={"source_hidden": True}))
    assert cell.metadata.tags == ["solution", "hide-cell"]
    assert "Try first" in cell.metadata.mystnb.code_prompt_show


def test_imports_are_folded(page):
    (cell,) = page(code("import jax\n\ncourse.start()"))
    assert cell.metadata.mystnb.code_prompt_show == (
        "Code: Imports what this notebook uses."
    )


def test_a_lesson_is_not_folded(page):
    (cell,) = page(code("x = 1"))
    assert cell.metadata == {"tags": []}


def test_an_exercise_leads_to_where_it_can_be_solved(page):
    stub, line = page(code("def f(x):\n    return ...", tags=["exercise"]))
    assert stub.metadata.tags == ["exercise"]
    assert 'href="notebooks/01_first.ipynb" download' in line.source
    assert "Binder" not in line.source
    (progress,) = page(code('progress("01")', tags=["exercise"]))
    assert progress.cell_type == "code"


def test_hints_are_folded(page):
    (cell,) = page(v4.new_markdown_cell("Do it.\n\nTwo hints. $a$ and\n$b$.\n\nEnd."))
    fold = "<details><summary>Hints</summary>\n\n$a$ and\n$b$.\n\n</details>"
    assert cell.source == f"Do it.\n\n{fold}\n\nEnd."


def test_the_number_of_a_formula_is_part_of_it(page):
    (cell,) = page(v4.new_markdown_cell("$$a = b. \\tag{as printed}$$"))
    assert cell.source == "$$a = b. \\quad \\text{(as printed)}$$"


# Outputs


def test_a_picture_keeps_its_alternative_text(page, tmp_path):
    output = shows({"image/png": png(30, 20)}, **{"image/png": {"alt": 'A "<b>"'}})
    (cell,) = page(code("x", output))
    shown = cell.outputs[0].data["text/html"]
    assert 'alt="A &quot;&lt;b&gt;&quot;" width="30" height="20"' in shown
    (file,) = re.findall(r'src="(figures/01-\w+\.png)"', shown)
    with Image.open(tmp_path / file) as picture:
        assert picture.size == (30, 20)


def test_a_sharp_picture_is_shown_at_its_size(page):
    output = shows({"image/png": png(60, 40)}, **{"image/png": {"width": 30}})
    (cell,) = page(code("x", output))
    assert 'width="30" height="20"' in cell.outputs[0].data["text/html"]


def test_what_is_printed_stays(page):
    output = v4.new_output("stream", name="stdout", text="1\n")
    (cell,) = page(code("x", output))
    assert cell.outputs == [output]


def test_a_table_scrolls_alone(page):
    (cell,) = page(code("x", shows({"text/html": "<table></table>"})))
    shown = cell.outputs[0].data["text/html"]
    assert re.fullmatch(r'<div class="wide" tabindex="0".*<table></table></div>', shown)


def test_an_explorer_has_its_picture_in_a_file(page, tmp_path):
    picture = f'<img alt="a" src="data:image/png;base64,{png(3, 2)}">'
    output = shows(
        {"text/html": f'<div class="explorer" data-pack="1">{picture}</div>'}
    )
    (cell,) = page(code("x", output))
    shown = cell.outputs[0].data["text/html"]
    assert "base64" not in shown
    assert len(list((tmp_path / "figures").iterdir())) == 1


# Addresses


def test_claims_and_their_sections_have_addresses(page):
    prose = "## 1 · One\n\nFirst.\n\n**S01.** Said twice, S01.\n\nMore of S01."
    cells = page(v4.new_markdown_cell(prose), code("check", tags=["S01"]))
    assert cells[0].source == (
        "(01-section-0)=\n## 1 · One\n\nFirst.\n\n(s01)=\n**S01.** Said twice, S01.\n\n"
        "More of S01."
    )


def test_a_section_without_a_claim_has_none(page):
    first, second = "## 1 · One\n\nHere.", "## 2 · Two\n\nS01"
    cells = page(
        v4.new_markdown_cell(first),
        v4.new_markdown_cell(second),
        code("", tags=["S01"]),
    )
    assert cells[0].source == first
    assert cells[1].source == "(01-section-1)=\n## 2 · Two\n\n(s01)=\nS01"


def test_a_claim_that_no_prose_names_is_refused(page):
    with pytest.raises(ValueError, match=r"^S01: found its check, expected prose"):
        page(v4.new_markdown_cell("## 1 · One"), code("", tags=["S01"]))


def test_every_claim_of_the_deck_has_a_section():
    found = {}
    for notebook in build.read().values():
        found |= pages.sections(notebook)
    assert sorted(found) == [f"S{i:02}" for i in range(1, 34)]


# The first page


def test_the_first_page_is_made_of_the_readme():
    text = index.index(build.read())
    readme = source.readme()
    for claim in range(1, 34):
        assert f"[S{claim:02}](#s{claim:02})" in text
    for heading in ("## Start", "### Errata", "## Teaching with it"):
        section = readme.split(heading)[1].split("\n## ")[0].strip()
        expected = section.replace("](notebooks/", "](").replace("](.github/", "](")
        assert expected in text
    assert "OWNER/REPO/HEAD" not in text


def test_binder_is_offered_once_the_repository_has_an_address(hosted, page):
    text = index.index(build.read())
    assert f"[Binder]({BINDER.format('06_reparameterization.ipynb')})" in text
    _, line = page(code("...", tags=["exercise"]))
    assert f'<a href="{BINDER.format("01_mle_revisited.ipynb")}">' in line.source


@pytest.mark.parametrize(
    ("heading", "message"),
    [("## Start", "found no line '## Start'"), ("| slide", "found no table beneath")],
)
def test_a_readme_without_what_the_first_page_needs(monkeypatch, heading, message):
    deck = "## The deck, claim by claim"
    before, after = source.readme().split(deck)
    if heading == "| slide":
        after = re.sub(r"^\|.*\n", "", after, flags=re.MULTILINE)
    else:
        before = before.replace("## Start", "## Elsewhere")
    text = before + deck + after
    monkeypatch.setattr(source, "readme", lambda: text)
    with pytest.raises(ValueError, match=re.escape(message)):
        index.index(build.read())


# The build


def test_a_file_is_refused(tmp_path):
    file = tmp_path / "a.txt"
    file.touch()
    with pytest.raises(build.SiteError, match=r"^OUT: got the file .*a.txt, expected"):
        build.site(file)


def test_a_folder_with_other_things_is_refused_and_kept(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(
        build.SiteError, match=r"^OUT: the folder .* holds other things"
    ):
        build.site(tmp_path)
    assert (tmp_path / "thesis.tex").exists()


def test_without_sphinx_it_says_what_to_run(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(build.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(sys, "argv", ["site", str(tmp_path)])
    assert __main__.main() == 1
    said = capsys.readouterr().err
    assert "Not installed: sphinx, myst_nb, sphinx_book_theme." in said
    assert "pip install -r helpers/site/requirements.txt" in said
    assert (HERE / "requirements.txt").exists()


def test_a_cell_that_fails_ends_the_build(tmp_path, monkeypatch):
    def fail(path, packs, progress, run_link):
        raise build.states.NotebookError(f"{path.name}, cell 7: NameError: x")

    monkeypatch.setattr(build.states, "run", fail)
    with pytest.raises(build.SiteError, match=r"ipynb, cell 7: NameError: x$"):
        build.run(tmp_path, lambda line: None)


def test_notebooks_run_two_at_once_and_stay_in_order(tmp_path, monkeypatch):
    def run(path, packs, progress, run_link):
        assert run_link == f"notebooks/{path.name}"
        return v4.new_notebook(metadata={"name": path.stem})

    monkeypatch.setattr(build.states, "run", run)
    said = []
    notebooks = build.run(tmp_path, said.append)
    assert list(notebooks) == [path.stem for path in source.notebooks()]
    assert all(each.metadata.name == name for name, each in notebooks.items())
    assert "05_vae: running" in said
    assert "05_vae: done" in said


def test_a_page_with_a_script_in_it_names_it_in_its_policy():
    script = "alert(1)"
    expected = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    head = f'<head>{build.CHARSET}<script src="a.js"></script>'
    text = build.with_policy(f"{head}<script>{script}</script></head>")
    assert f"script-src 'self' 'sha256-{expected}';" in text
    assert text.index("Content-Security-Policy") < text.index("a.js")
    with pytest.raises(build.SiteError, match="charset"):
        build.with_policy("<html></html>")


def test_the_command_line_says_what_it_takes():
    command = [sys.executable, "-m", "helpers.site", "--help"]
    said = subprocess.check_output(command, text=True, cwd=source.ROOT)
    assert "OUT" in said
    assert "--stored" in said
