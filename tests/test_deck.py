"""The README's map of the deck and its errata, against the notebooks' tagged cells."""

import re
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[1]
SECTION = (
    (ROOT / "README.md").read_text("utf-8").split("## The deck, claim by claim")[1]
)
MAP, ERRATA, WORDING = re.findall(r"(?:^\|.*\n)+", SECTION, re.MULTILINE)[:3]


def rows(table):
    """Return the cells of each row beneath the heading; an escaped bar is no border."""
    return [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in table.splitlines()[2:]
    ]


def text(output):
    """Return what an output shows as text: what was printed, or a table."""
    return output.get("text") or output.get("data", {}).get("text/plain", "")


def tagged_cells():
    """Return, by row id, the notebook and what the row's cell shows.

    A check and the table of its numbers are two cells, so what follows the tagged cell
    counts as well, up to the next paragraph.
    """
    found = {}
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        shown_since_prose = []
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type == "markdown":
                shown_since_prose = []
                continue
            for tag in cell.metadata.get("tags", []):
                if re.fullmatch(r"S\d\d", tag):
                    shown_since_prose = []
                    found.setdefault(tag, []).append((path.name, shown_since_prose))
            shown_since_prose.extend(map(text, cell.outputs))
    return found


CELLS = tagged_cells()


MAPPED = [
    (row, re.search(r"\]\(notebooks/(.*?)\)", notebook)[1])
    for _, ids, notebook in rows(MAP)
    for row in ids.split(", ")
]
LEDGER = [f"S{i:02}" for i in range(1, 34)]


@pytest.mark.row
@pytest.mark.parametrize("row", LEDGER)
def test_the_map_names_a_row_once_and_the_notebook_of_its_one_cell(row):
    named = [notebook for mapped, notebook in MAPPED if mapped == row]
    assert named == [notebook for notebook, _ in CELLS[row]]
    assert len(named) == 1


def test_the_map_and_the_cells_have_no_other_row():
    assert sorted(row for row, _ in MAPPED) == sorted(CELLS) == LEDGER


@pytest.mark.parametrize("row", rows(ERRATA), ids=lambda row: row[0])
def test_an_erratum_shows_numbers_that_its_cell_prints(row):
    (_, shown), *_ = CELLS[row[0]]
    printed = "\n".join(shown)
    numbers = re.findall(r"`(.+?)`", row[-1])
    assert numbers
    assert [n for n in numbers if n not in re.sub(r"[ \[\]]+", " ", printed)] == []


def test_errata_and_wording_are_rows_of_the_map():
    listed = [row[0] for row in rows(ERRATA) + rows(WORDING)]
    assert len(set(listed)) == len(listed) == 11
    assert set(listed) <= CELLS.keys()
