"""Measure everything and write one table, as Markdown and as JSON."""

import argparse
import json
import multiprocessing
import os
import shutil
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import measure
import tables

PARTS = ("limits", "mixtures", "autoencoders", "gradients", "memory", "growth")
PARTS += ("settings", "cold", "redraw", "notebooks")

# NumPy and scikit-learn choose the kernels for this processor only without the first
# two, and with the others a first run might find compiled programs, or a second none.
UNSET = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
UNSET += ("JAX_COMPILATION_CACHE_DIR", "COURSE_CACHE")


def in_own_process(part, quick):
    """Rows of a part, measured in its own process, so parts do not share memory."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        return pool.submit(measure.rows_of_part, part, quick).result()


def main():
    parser = argparse.ArgumentParser(
        prog="python tests/benchmarks", description=__doc__
    )
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; all if none")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path(__file__).parent / "results",
        metavar="FOLDER",
        help="where table.md and table.json go; %(default)s if not given",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="tiny sizes: see that it runs, not how fast",
    )
    parser.add_argument(
        "--strict", action="store_true", help="fail on a missed floor, too"
    )
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    for name in UNSET:
        os.environ.pop(name, None)
    parts = options.parts or list(PARTS)
    if not options.parts and not shutil.which("chromium"):
        parts.remove("redraw")
    setting, begin = tables.setting(), time.perf_counter()
    setting["left out"] = [part for part in PARTS if part not in parts]
    rows, failures, minutes = [], {}, {}
    for part in parts:
        start = time.perf_counter()
        seen, failure = in_own_process(part, options.quick)
        minutes[part] = round((time.perf_counter() - start) / 60, 1)
        rows += seen
        if failure:
            failures[part] = failure
    setting["minutes"] = {
        "all": round((time.perf_counter() - begin) / 60, 1),
        **minutes,
    }
    markdown = tables.as_markdown(setting, rows, failures)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "table.md").write_text(markdown)
    record = {**setting, "rows": tables.as_records(rows), "failures": failures}
    (options.out / "table.json").write_text(json.dumps(record, indent=1))
    print(f"\n{markdown}")
    verdicts = {measure.verdict(row) for row in rows}
    bad = failures or "WRONG" in verdicts or (options.strict and "missed" in verdicts)
    sys.exit(1 if bad else 0)


main()
