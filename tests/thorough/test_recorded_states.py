"""Each notebook's recorded states are what its explorers show in another kernel."""

import json
import os
import re
from base64 import b64decode
from html import escape
from pathlib import Path

import pytest
import unpack
from kernels import (
    ROOT,
    class_of_each_notebook,
    code_cells,
    copied,
    execute,
    fresh,
    printed,
)
from live_states import NUM_STATES, digest
from nbformat.v4 import new_code_cell

from helpers.site import states
from helpers.site.places import CHOSEN

HERE = Path(__file__).parent
ASK = "__import__('live_states').print_new()"


@pytest.fixture(scope="class")
def recorded(request, tmp_path_factory):
    """The notebook as it is executed for the page, and its packs by name."""
    folder = tmp_path_factory.mktemp("packs")
    sheet = states.run(request.cls.path, folder, lambda line: None)
    packs = dict(unpack.read(path.read_text("utf-8")) for path in folder.iterdir())
    return sheet, packs


@pytest.fixture(scope="class")
def shown(request, tmp_path_factory):
    """What the explorers show in a kernel in which nothing was recorded."""
    folder = copied(tmp_path_factory.mktemp("live"))
    cells = []
    for cell in code_cells(request.cls.path):
        cells += [fresh(cell), new_code_cell(ASK)]
    path = os.pathsep.join([str(folder), str(HERE)])
    execute(cells, folder, env={"PYTHONPATH": path})
    shown = {}
    for cell in cells[1::2]:
        shown |= json.loads("".join(each.text for each in cell.outputs))
    return shown


class OfANotebook:
    def test_random_states_are_those_of_the_notebook(self, recorded, shown):
        _, named = recorded
        packs = {each["label"]: each for each in named.values()}
        assert packs.keys() == shown.keys()
        for label, live in shown.items():
            assert len(live) == NUM_STATES
            for places, words, shapes, background in live:
                state = unpack.state(packs[label], places)
                assert state["words"] == words
                assert state["shapes"] == shapes
                address = state["background"].removeprefix("data:image/webp;base64,")
                assert digest(b64decode(address)) == background
                assert state["error"] == ""

    def test_recording_changes_nothing_that_is_printed(self, recorded):
        sheet, _ = recorded
        executed = [cell for cell in sheet.cells if cell.cell_type == "code"]
        assert texts(executed) == texts(code_cells(self.path))

    def test_every_explorer_has_a_pack_and_its_start_on_the_page(self, recorded):
        sheet, packs = recorded
        pages = [
            output.data["text/html"]
            for cell in sheet.cells
            for output in cell.get("outputs", [])
            if 'class="explorer"' in output.get("data", {}).get("text/html", "")
        ]
        assert len(pages) == len(packs) >= 2
        for page in pages:
            packed = packs[re.search('data-pack="([^"]+)"', page)[1]]
            start = [control["start"] for control in packed["controls"]]
            words = escape(unpack.state(packed, start)["words"])
            assert page.endswith(f"<p>{words}</p></div>")
            assert f'<img alt="{escape(packed["scene"]["alt"])}"' in page


def texts(cells):
    """Return what cells print, without the HTML that stands for an explorer."""
    texts = []
    for outputs in printed(cells):
        page = [each.get("text/html", "") for each in outputs]
        of_explorers = [
            {"text/plain": each["text/plain"]} if 'class="explorer"' in html else each
            for each, html in zip(outputs, page, strict=True)
            if 'class="explorer-words"' not in html
        ]
        texts.append(of_explorers)
    return texts


globals().update(class_of_each_notebook(OfANotebook))


def test_places_are_said_only_of_explorers_that_there_are():
    sources = [path.read_text("utf-8") for path in (ROOT / "notebooks").glob("*.ipynb")]
    for label, places in CHOSEN.items():
        (source,) = (each for each in sources if f'label=\\"{label}\\"' in each)
        for name in places:
            assert f'\\"{name}\\": slider(' in source
