"""One explorer's states as a file that a page loads: parts of them are shared.

All states together are texts: the caption, the error, and of each moving artist its
shapes as JSON. Neighbouring texts differ in a few pieces only, such as a path or a
number. So each text is split into a form, with a mark at every piece, and its pieces;
and each of these is kept in a column of its own, once for every place of those controls
on which it depends: a curve that follows mu alone is written once per mu, whatever the
other controls do. `player.js` puts the texts together again.

A pack is a script, because a page opened from a folder may not fetch anything else.
"""

import base64
import json
import re
import zlib

import numpy as np

__all__ = ["written"]

# Stands in a form where a piece was. JSON writes it otherwise, so no text contains it.
MARK = "\x01"
# The pieces of shapes: paths without their first place, which alone changes where a
# shape is moved; the colours of many marks; images.
SHAPE_PIECES = re.compile(
    r'(?<="d":")M-?\d+[ -]\d+|(?<=\d)[a-zA-Z][^"]{8,}(?=")|(?<="at":")[^"]+|'
    r'(?<="r":")[^"]+|(?<="fill":")[^"]{8,}|(?<="stroke":")[^"]{8,}|'
    r'(?<="href":")[^"]+'
)
NUMBERS = re.compile(r"\d+(?:\.\d+)?")


def written(name, scene, columns):
    """Return the text of a pack's file.

    Args:
        name: of the pack.
        scene: data shared by all states, as JSON takes it.
        columns: the list of texts of each column, one for each state.
    """
    data = dict(scene)
    shape = [len(control["texts"]) for control in scene["controls"]]
    data["texts"] = {
        kind: _written_text(texts, shape, pieces)
        for kind, (texts, pieces) in columns.items()
    }
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    packed = base64.b64encode(zlib.compress(text.encode(), level=9)).decode()
    return f'explorerPack({json.dumps(name)},"{packed}");\n'


def _written_text(texts, shape, pattern):
    """Return the form and the pieces of one text over all states."""
    forms = []
    rows = []
    for text in texts:
        forms.append(pattern.sub(MARK, text) if pattern else text)
        rows.append(pattern.findall(text) if pattern else [])
    most = max(len(row) for row in rows)
    pieces = [[row[i] if i < len(row) else "" for row in rows] for i in range(most)]
    return {
        "form": _column(forms, shape),
        "pieces": [_column(each, shape) for each in pieces],
    }


def _column(texts, shape):
    """Return one text per place of the controls on which these texts depend."""
    order = {}
    numbers = np.array([order.setdefault(text, len(order)) for text in texts])
    numbers = numbers.reshape(shape)
    on = []
    for axis in range(len(shape)):
        first = numbers.take([0], axis=axis)
        if (numbers == first).all():
            numbers = first
        else:
            on.append(axis)
    flat = numbers.ravel().tolist()
    order = {}
    at = [order.setdefault(number, len(order)) for number in flat]
    unique = list(dict.fromkeys(texts))
    column = {"on": on, "of": [unique[number] for number in order]}
    return column if at == list(range(len(at))) else column | {"at": at}
