"""Make the first page out of the README, so that nothing is written twice."""

import re
from collections.abc import Mapping

from nbformat import NotebookNode

from helpers.site import pages, source

__all__ = ["index"]

HERE = """On these pages you can read everything and move the explorers without
installing anything. To run the code, change it or solve the exercises, [install the
companion](#start)."""
LINK_TO_A_NOTEBOOK = re.compile(r"\]\(notebooks/([\w.]+)\)")


def index(notebooks: Mapping[str, NotebookNode]) -> str:
    """Return the first page, as Markdown.

    Args:
        notebooks: by name, in order.

    Raises:
        ValueError: the README has no section or table where one is expected.
    """
    readme = source.readme()
    title, _, introduction = part(readme, "# ", "## ").partition("\n")
    *paragraphs, picture = introduction.strip().split("\n\n")
    start = part(readme, "## Start", "## ").replace("## Start", "## Install it")
    deck = part(readme, "## The deck, claim by claim", "## ")
    _, _, errata = deck.partition("### Errata")
    teaching = part(readme, "## Teaching with it", "## ")
    contents = [
        title,
        *paragraphs,
        HERE,
        picture,
        "## The road",
        road(part(readme, "## The notebooks", "## "), notebooks),
        "## The deck, slide by slide",
        "Each claim of the deck has an id, such as S07, and one cell that checks it. "
        "The links lead to the paragraph that explains the claim, above the check.",
        slides(deck, notebooks),
        f"### Errata{errata}",
        f"(start)=\n{start}",
        teaching,
        "```{toctree}\n:hidden:\n\n" + "\n".join(notebooks) + "\n```",
    ]
    text = "\n\n".join(contents) + "\n"
    text = LINK_TO_A_NOTEBOOK.sub(r"](\1)", text)
    return text.replace("](.github/", "](")


def part(text, start, end):
    """Return the part of a text from the line that matches, up to the next heading."""
    found = re.search(rf"^{start}.*?(?=^{end}|\Z)", text, re.MULTILINE | re.DOTALL)
    if not found:
        raise ValueError(f"README.md: found no line {start!r}, expected one")
    return found[0].rstrip()


def rows(text):
    """Return the cells of the first table's rows, without its heading."""
    table = re.search(r"(?:^\|.*\n?)+", text, re.MULTILINE)
    if not table:
        raise ValueError(f"README.md: found no table beneath {text[:40]!r}")
    return [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in table[0].splitlines()[2:]
    ]


def road(text, notebooks):
    """Return the table of the notebooks, with what a reader of the page needs of it."""
    table = ["| page | what you do there | to run it |", "| --- | --- | --- |"]
    for name, (link, what, *_) in zip(notebooks, rows(text), strict=True):
        run = f'<a href="{source.download_link(name)}" download>notebook</a>'
        binder = source.binder_link(name)
        if binder:
            run += f", [Binder]({binder})"
        table.append(f"| {link} | {what} | {run} |")
    return "\n".join(table)


def slides(text, notebooks):
    """Return the table that leads from each slide to its sections and claims."""
    names = {name[:2]: name for name in notebooks}
    sections = {number: pages.sections(notebooks[names[number]]) for number in names}
    table = ["| slide | sections | claims |", "| --- | --- | --- |"]
    for slide, ids, link in rows(text):
        notebook = re.match(r"\[(\d\d)\]", link)[1]
        claims = ids.split(", ")
        places = dict.fromkeys(sections[notebook][claim] for claim in claims)
        to_sections = [
            f"[{title}](#{pages.section_address(notebook, number)})"
            for number, title in places
        ]
        to_claims = [f"[{claim}](#{claim.lower()})" for claim in claims]
        to_page = f"[{notebook}](notebooks/{names[notebook]}.ipynb)"
        where = f"{to_page}: {'; '.join(to_sections)}"
        table.append(f"| {slide} | {where} | {', '.join(to_claims)} |")
    return "\n".join(table)
