"""A row of the table, and how its numbers are measured."""

import importlib
import json
import os
import subprocess
import sys
import time
import traceback
from typing import NamedTuple

import numpy as np

# Threads of OpenMP and OpenBLAS spin for up to 25 ms after their last piece of work,
# and would hold a core of whoever is timed next.
PAUSE = 0.05


class Row(NamedTuple):
    """One comparison with a peer, or one measurement where `theirs` is empty.

    `ours` and `theirs` were taken by turns, so that their ratios, pair by pair, do not
    move with the machine's load. `floor` and `aim` are least ratios, or greatest values
    where there is no peer.
    """

    part: str
    case: str
    ours: list[float]
    unit: str = "s"
    peer: str = ""
    theirs: list[float] = ()
    first: tuple[float, float] | None = None  # each one's first call, with compiling
    floor: float | None = None
    aim: float | None = None
    note: str = ""
    wrong: str = ""  # what is wrong with our result: then its speed does not count


def rows_of_part(part, quick):
    """All rows of one part, and the error if it failed."""
    rows = []
    try:
        for row in importlib.import_module(part).rows(quick):
            rows.append(row)
            print(f"{part}: {row.case} {row.peer} {value(row):.3g}", flush=True)
    except Exception:
        return rows, traceback.format_exc()
    return rows, None


def by_turns(runs, repeats, seconds=2.5):
    """Call each run in turn; times and results, `1 + repeats` each by name.

    The first of each is apart: it compiles. Beyond `seconds` in all, three repeats are
    enough, and one beyond four times as many.
    """
    times = {name: [] for name in runs}
    results = {name: [] for name in runs}
    begin = time.perf_counter()
    for i in range(1 + repeats):
        spent = time.perf_counter() - begin
        if spent > seconds * (1 if i > 3 else 4) and i > 1:
            break
        for name, run in runs.items():
            time.sleep(PAUSE)
            start = time.perf_counter()
            result = run()
            times[name].append(time.perf_counter() - start)
            results[name].append(result)
    return times, results


# What a name of ours ends with where its arrays are spread.
TWO = ", two devices"


def both_ways(times):
    """The first name in `times` and its peers', then the same on two devices, if there.

    Peers' libraries use all cores. XLA runs much of ours on one, and each of several
    devices of the processor on a core of its own.
    """
    ours = next(iter(times))
    peers = {who: t for who, t in times.items() if who not in (ours, ours + TWO)}
    for way, where in (ours, ""), (ours + TWO, TWO):
        if way in times:
            yield way, where, {way: times[way], **peers}


def rows_of(times, per=1, floors=(), **fields):
    """One row for each peer of the first name in `times`; `floors` by peer's name."""
    (_, ours), *others = times.items()
    for peer, theirs in others:
        floor, aim = dict(floors).get(peer, (None, None))
        yield Row(
            ours=[t / per for t in ours[1:]],
            theirs=[t / per for t in theirs[1:]],
            first=(ours[0], theirs[0]),
            peer=peer,
            floor=floor,
            aim=aim,
            **fields,
        )


def in_fresh_python(code, *arguments, **environment):
    """What `code` prints as JSON in a Python of its own."""
    run = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, **environment},
    )
    if run.returncode:
        raise RuntimeError(run.stderr)
    return json.loads(run.stdout)


def value(row):
    """The number that a floor is about: the median ratio, or the median itself."""
    return float(np.median(ratios(row) if row.theirs else row.ours))


def ratios(row):
    """How many times longer the peer took, pair by pair."""
    return np.divide(row.theirs, row.ours)


def verdict(row):
    """Whether the row reaches its floor and its aim."""
    if row.wrong:
        return "WRONG"
    if row.floor is None:
        return ""
    sign = 1 if row.theirs else -1
    if sign * value(row) < sign * row.floor:
        return "missed"
    return "aim" if sign * value(row) >= sign * row.aim else "floor"
