"""Read a pack in Python as `player.js` does, for tests that compare its states."""

import base64
import json
import re
import zlib

from helpers.site.pack import MARK


def read(text):
    """Return a pack's name and what it holds, from the text of its file."""
    name, packed = re.fullmatch(
        r'explorerPack\("([^"]+)","([^"]+)"\);\n', text
    ).groups()
    return name, json.loads(zlib.decompress(base64.b64decode(packed)))


def texts_at(pack, places):
    """Return all texts at one place of each control, given by their indices."""
    lengths = [len(control["texts"]) for control in pack["controls"]]

    def of(column):
        index = 0
        for control in column["on"]:
            index = index * lengths[control] + places[control]
        if "at" in column:
            index = column["at"][index]
        return column["of"][index]

    found = {}
    for kind, text in pack["texts"].items():
        between = of(text["form"]).split(MARK)
        pieces = [of(column) for column in text["pieces"]]
        found[kind] = between[0] + "".join(
            piece + after for piece, after in zip(pieces, between[1:], strict=False)
        )
    return found


def state(pack, places):
    """Return the state at one place of each control, as the kernel would send it."""
    texts = texts_at(pack, places)
    shown = {"error": texts.pop("error")}
    if shown["error"]:
        return shown
    shown["words"] = texts.pop("words")
    shown["background"] = pack["backgrounds"][int(texts.pop("background"))]
    shown["shapes"] = [shape for text in texts.values() for shape in json.loads(text)]
    return shown
