"""The rows as Markdown and as JSON, with what they were measured on."""

import os
import platform
from importlib import metadata
from pathlib import Path

import numpy as np
from measure import ratios, value, verdict

PACKAGES = (
    *("jax", "jaxlib", "numpy", "scipy", "optax", "scikit-learn"),
    *("torch", "pomegranate", "flax", "numpyro"),
)
COLUMNS = "| {} | {} | {} | {} | {} | {} | {} | {} | {} |\n"


def setting():
    """Versions and machine."""
    return {
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
        "system": platform.platform(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "load before": [round(load, 2) for load in os.getloadavg()]
        if hasattr(os, "getloadavg")
        else None,
    }


def as_records(rows):
    """Rows as dictionaries, with the statistics of their repeats."""
    return [
        {
            **row._asdict(),
            "ours median": float(np.median(row.ours)),
            "ours quartiles": _quartiles(row.ours),
            "theirs median": float(np.median(row.theirs)) if row.theirs else None,
            "theirs quartiles": _quartiles(row.theirs) if row.theirs else None,
            "ratio": value(row) if row.theirs else None,
            "ratio quartiles": _quartiles(ratios(row)) if row.theirs else None,
            "ratio with compiling": row.first and row.first[1] / row.first[0],
            "verdict": verdict(row),
        }
        for row in rows
    ]


def as_markdown(setting, rows, failures):
    """One table for each part, after the setting, the misses and the failures."""
    text = "# Benchmarks\n\n"
    for name, what in setting.items():
        if isinstance(what, dict):
            what = ", ".join(f"{key} {number}" for key, number in what.items())
        text += f"- {name}: {what}\n"
    text += (
        "\nMedians, with quartiles in brackets. A ratio is the peer's time divided by "
        "ours, both taken by turns in one process, warm; the next column has the ratio "
        "of each one's first call, with all compiling.\n"
    )
    judged = [row for row in rows if row.floor is not None]
    missed = [row for row in judged if verdict(row) == "missed"]
    text += f"\nFloors: {len(judged)}, of which missed: {len(missed)}.\n\n"
    for row in missed:
        text += f"- missed: {row.part}, {row.case}"
        text += f", against {row.peer}" if row.peer else ""
        text += f": {value(row):.3g}, floor {row.floor:.3g}\n"
    for row in rows:
        if row.wrong:
            text += f"- WRONG: {row.part}, {row.case}: {row.wrong}\n"
    for part, trace in failures.items():
        text += f"- STOPPED: {part}\n\n```\n{trace}```\n"
    for part in dict.fromkeys(row.part for row in rows):
        text += f"\n## {part}\n\n"
        text += COLUMNS.format(
            *("case", "ours", "peer", "theirs", "ratio", "with compiling"),
            *("floor / aim", "", "note"),
        )
        text += COLUMNS.format(*["---"] * 9)
        text += "".join(_line(row) for row in rows if row.part == part)
    return text


def _line(row):
    theirs = ratio = cold = floor = ""
    if row.theirs:
        theirs = _with_quartiles(row.theirs, row.unit)
        ratio = _with_quartiles(ratios(row), "")
    if row.first:
        cold = f"{row.first[1] / row.first[0]:.3g}"
    if row.floor is not None:
        floor = f"{row.floor:.4g} / {row.aim:.4g}"
    ours = _with_quartiles(row.ours, row.unit)
    return COLUMNS.format(
        row.case, ours, row.peer, theirs, ratio, cold, floor, verdict(row), row.note
    )


def _with_quartiles(numbers, unit):
    scale, unit = _scale(np.median(numbers), unit)
    low, high = np.divide(_quartiles(numbers), scale)
    middle = f"{np.median(numbers) / scale:.3g}"
    spread = f" ({low:.3g} to {high:.3g})" if len(numbers) > 1 else ""
    return f"{middle}{spread}{unit and ' ' + unit}"


def _scale(middle, unit):
    if unit == "s":
        for scale, name in ((1, "s"), (1e-3, "ms"), (1e-6, "µs")):
            if middle >= scale:
                return scale, name
        return 1e-9, "ns"
    return 1, unit


def _quartiles(numbers):
    return np.percentile(numbers, [25, 75]).tolist()


def _version(name):
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "none"


def _processor():
    path = Path("/proc/cpuinfo")
    for line in path.read_text().splitlines() if path.exists() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()
