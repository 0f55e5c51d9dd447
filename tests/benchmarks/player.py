"""How large the recorded explorers are, and how fast they follow a key on a page.

`python tests/benchmarks/player.py` records every explorer, prints a table and fails
where a limit is missed. It takes some five minutes, with `--keep FOLDER` one minute
where that folder holds what an earlier run recorded.
"""

import argparse
import gzip
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1] / "browser"))
sys.path.insert(0, str(Path(__file__).parents[1] / "thorough"))
import unpack
from lab import CHROMIUM, NOTEBOOKS

from helpers.site import states

KEYS = 40
MOST_MS, MOST_BYTES, FEWEST_STATES = 35, 5e6, 9000
# From the press of a key to the end of the frame in which the picture has changed.
LOG = """root => {
  window.times = [];
  let pressed = null;
  root.addEventListener("keydown", (event) => (pressed = event.timeStamp), true);
  const layer = root.querySelector(".explorer-picture > svg > g");
  const all = { childList: true, subtree: true, attributes: true };
  const painted = new MessageChannel();
  painted.port1.onmessage = () => {
    if (pressed !== null) times.push(performance.now() - pressed);
    pressed = null;
  };
  new MutationObserver(() =>
    requestAnimationFrame(() => painted.port2.postMessage(null)),
  ).observe(layer, all);
}"""


def record(folder):
    """Record all explorers, with a page for each notebook, and say how long it took."""
    for path in NOTEBOOKS:
        if (folder / f"{path.stem}.html").exists():
            continue
        before = time.perf_counter()
        sheet = states.run(path, folder / "packs", print)
        print(f"{path.name}: {time.perf_counter() - before:.0f} s", flush=True)
        nbformat.write(sheet, folder / path.name)
        parts = [
            output.data["text/html"]
            for cell in sheet.cells
            for output in cell.get("outputs", [])
            if 'class="explorer"' in output.get("data", {}).get("text/html", "")
        ]
        (folder / f"{path.stem}.html").write_text(
            "<!doctype html><meta charset='utf-8'><script src='player.js'></script>"
            + "".join(parts),
            encoding="utf-8",
        )
    (folder / "player.js").write_text(states.player(), encoding="utf-8")


def key_times(page, root):
    """Return the milliseconds of each key that moves the first slider, or else list."""
    root.scroll_into_view_if_needed()
    root.locator("button").first.wait_for()
    root.evaluate("root => root.scrollIntoView({ block: 'center' })")
    page.wait_for_timeout(500)
    root.evaluate(LOG)
    sliders = root.locator("input[type=range]")
    (sliders if sliders.count() else root.locator("select")).first.focus()
    for number in range(KEYS):
        there = number % 4 < 2
        page.keyboard.press("ArrowRight" if there else "ArrowLeft")
        page.wait_for_timeout(60)
    return page.evaluate("times")


def main():
    """Record, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keep", type=Path, help="where recordings are or stay")
    folder = parser.parse_args().keep or Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    record(folder)
    medians, sizes, total = [], [], 0
    print(f"{'explorer':45}{'states':>8}{'kB':>6}{'kB gzip':>9}{'ms':>6}{'max':>6}")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=CHROMIUM
        )
        for path in NOTEBOOKS:
            page = browser.new_page(viewport={"width": 1000, "height": 900})
            page.goto((folder / f"{path.stem}.html").resolve().as_uri())
            for root in page.locator(".explorer").all():
                name = root.get_attribute("data-pack")
                text = (folder / "packs" / f"{name}.js").read_text("utf-8")
                _, packed = unpack.read(text)
                num_states = 1
                for control in packed["controls"]:
                    num_states *= len(control["texts"])
                times = key_times(page, root)
                assert len(times) > KEYS / 2, f"{name}: {len(times)} frames"
                medians.append(statistics.median(times))
                sizes.append(len(gzip.compress(text.encode(), 6)))
                total += num_states
                print(
                    f"{name} {packed['label']:40}{num_states:8,}{len(text) / 1e3:6.0f}"
                    f"{sizes[-1] / 1e3:9.0f}{medians[-1]:6.1f}{max(times):6.1f}",
                    flush=True,
                )
            page.close()
        browser.close()
    median = statistics.median(medians)
    print(
        f"{len(sizes)} explorers, {total:,} states, {sum(sizes) / 1e6:.2f} MB gzipped; "
        f"key to frame: median {median:.1f} ms, slowest {max(medians):.1f} ms"
    )
    is_met = median <= MOST_MS and sum(sizes) <= MOST_BYTES and total >= FEWEST_STATES
    print("All limits are kept." if is_met else "A limit is missed.")
    return int(not is_met)


if __name__ == "__main__":
    sys.exit(main())
