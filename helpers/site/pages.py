"""Make a page of an executed notebook: what myst-nb shows, and what it would lose.

Plumbing and solutions are folded, with a label that says what is in the fold. Pictures
are written into files and keep their alternative text. What the deck's table leads to
gets an address: `s07` for a claim, `01-section-2` for a section.
"""

import base64
import hashlib
import html
import re
import struct
from pathlib import Path

from nbformat import NotebookNode, v4

from helpers.site import source

__all__ = ["page", "sections"]

PNG = "image/png"
CLAIM = re.compile(r"S\d\d")
EMBEDDED = re.compile(r'src="data:image/(png|webp);base64,([^"]*)"')
SECTION = re.compile(r"^## +(.+)$")
# A number at the margin keeps a formula from becoming smaller on a narrow page.
NUMBER = re.compile(r"\\tag\{([^{}]+)\}")
HINTS = re.compile(r"^(?:(?:Two|Three) hints|Hints?)[.:] ")


def page(notebook: NotebookNode, name: str, pictures: Path) -> NotebookNode:
    """Return the notebook as myst-nb is to show it.

    Args:
        notebook: executed; it is not changed.
        name: its file's name without `.ipynb`.
        pictures: the folder into which its pictures are written. The page finds them
            in a folder of that name beside it.

    Raises:
        ValueError: no prose above the check of a claim names the claim.
    """
    cells = []
    for cell in with_addresses(notebook, name):
        if cell.cell_type == "markdown":
            text = NUMBER.sub(r"\\quad \\text{(\1)}", cell.source)
            cells.append(v4.new_markdown_cell(folded_hints(text)))
            continue
        tags = list(cell.metadata.get("tags", []))
        shown = v4.new_code_cell(cell.source, execution_count=cell.execution_count)
        label = fold_label(cell)
        if label:
            tags = [tag for tag in tags if tag != "hide-input"]
            tags.append("hide-cell" if "solution" in tags else "hide-input")
            shown.metadata.mystnb = {"code_prompt_show": label}
        shown.metadata.tags = tags
        shown.outputs = [shown_output(each, name, pictures) for each in cell.outputs]
        cells.append(shown)
        if "exercise" in tags and "..." in cell.source:
            cells.append(v4.new_markdown_cell(run_line(name, "To solve it")))
    cells.insert(1, v4.new_markdown_cell(run_line(name, "To run the code")))
    return v4.new_notebook(cells=cells, metadata=notebook.metadata)


def sections(notebook: NotebookNode) -> dict[str, tuple[int, str]]:
    """Return, by claim of the deck, the section that checks it.

    Returns:
        The section's place among those of its notebook, from 0, and its title.
    """
    found, titles = {}, []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            titles += [m[1] for m in map(SECTION.match, lines(cell)) if m]
        for tag in cell.metadata.get("tags", []):
            if CLAIM.fullmatch(tag):
                found[tag] = (len(titles) - 1, titles[-1])
    return found


def lines(cell):
    return cell.source.split("\n")


def with_addresses(notebook, name):
    """Return copies of the cells, in which claims and sections have targets of MyST."""
    cells = [NotebookNode(cell) for cell in notebook.cells]
    wanted = {number for number, _ in sections(notebook).values()}
    for index, cell in enumerate(cells):
        for tag in cell.metadata.get("tags", []):
            if CLAIM.fullmatch(tag):
                name_claim(cells[:index], tag)
    number = 0
    for cell in cells:
        if cell.cell_type != "markdown":
            continue
        addressed = []
        for line in lines(cell):
            if SECTION.match(line):
                if number in wanted:
                    addressed.append(f"({section_address(name, number)})=")
                number += 1
            addressed.append(line)
        cell.source = "\n".join(addressed)
    return cells


def section_address(name, number):
    return f"{name[:2]}-section-{number}"


def name_claim(cells, claim):
    """Put the claim's target before the paragraph that names it, the last above it."""
    for cell in reversed(cells):
        paragraphs = cell.source.split("\n\n")
        named = [i for i, each in enumerate(paragraphs) if claim in each]
        if cell.cell_type == "markdown" and named:
            place = named[0]
            paragraphs[place] = f"({claim.lower()})=\n{paragraphs[place]}"
            cell.source = "\n\n".join(paragraphs)
            return
    raise ValueError(f"{claim}: found its check, expected prose above that names it")


def folded_hints(text):
    """Fold each paragraph that gives hints."""
    paragraphs = text.split("\n\n")
    for i, each in enumerate(paragraphs):
        if HINTS.match(each):
            fold = "<details><summary>Hints</summary>"
            paragraphs[i] = f"{fold}\n\n{HINTS.sub('', each)}\n\n</details>"
    return "\n\n".join(paragraphs)


def fold_label(cell):
    """Return what stands on the fold of a cell, or nothing if it is not folded."""
    if "solution" in cell.metadata.get("tags", []):
        return "A solution. Try first."
    if "course.start()" in cell.source:
        return "Code: Imports what this notebook uses."
    if "hide-input" not in cell.metadata.get("tags", []):
        return ""
    comment = []
    for line in lines(cell):
        if not line.startswith("# "):
            break
        comment.append(line[2:])
        if line.endswith("."):
            break
    return f"Code: {' '.join(comment)}" if comment else "Code"


def shown_output(output, name, pictures):
    """Return the output as HTML if it is a picture or HTML, and otherwise as it is."""
    data = output.get("data", {})
    if PNG in data:
        look = output.metadata.get(PNG, {})
        png = base64.b64decode(data[PNG])
        text = image(png, look.get("alt", ""), look.get("width"), name, pictures)
    elif "text/html" in data:
        text = shown_html(data["text/html"], name, pictures)
    else:
        return output
    return v4.new_output("display_data", {"text/html": text})


def image(png, alt, width, name, pictures):
    """Write a PNG into a file and return the element that shows it.

    Its size is stated so that nothing moves when it arrives, which it does only when it
    comes near to what is seen.
    """
    columns, rows = struct.unpack(">II", png[16:24])
    width = width or columns
    height = round(rows * width / columns)
    address = written(png, "png", name, pictures)
    return (
        f'<img class="figure" src="{address}" alt="{html.escape(alt)}" '
        f'width="{width}" height="{height}" loading="lazy">'
    )


def written(content, kind, name, pictures):
    """Write a picture into a file named by what is in it, and return its address."""
    file = f"{name[:2]}-{hashlib.sha256(content).hexdigest()[:12]}.{kind}"
    pictures.mkdir(exist_ok=True)
    (pictures / file).write_bytes(content)
    return f"{pictures.name}/{file}"


def shown_html(text, name, pictures):
    """Return HTML for the page: wide tables scroll alone, pictures are in files."""

    def in_a_file(match):
        content = base64.b64decode(match[2])
        return f'src="{written(content, match[1], name, pictures)}" loading="lazy"'

    text = EMBEDDED.sub(in_a_file, text)
    if text.startswith("<table>"):
        # A region that may scroll must be reached by keyboard.
        text = (
            '<div class="wide" tabindex="0" role="region" aria-label="Table">'
            f"{text}</div>"
        )
    return text


def run_link(name):
    """Return where a reader of a page goes to run its notebook."""
    return source.binder_link(name) or source.download_link(name)


def run_line(name, purpose):
    """Return a line that leads from a page to where its code can be run."""
    places = [
        f'<a href="{source.download_link(name)}" download>download this notebook</a> '
        'and <a href="index.html#start">run it on your computer</a>'
    ]
    binder = source.binder_link(name)
    if binder:
        places.append(f'<a href="{html.escape(binder)}">open it on Binder</a>')
    return f'<p class="run">{purpose}, {", or ".join(places)}.</p>'
