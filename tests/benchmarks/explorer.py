"""How fast explorers follow a key, beside `interact` on the same plot.

`python tests/benchmarks/explorer.py` prints a table and fails where a floor is missed.
It takes a quarter of an hour, with `--no-flicker` two minutes. With `--before FOLDER`
it compares every explorer with that of another checkout instead, both on one line.
Do nothing else on the machine meanwhile.

Keys are pressed as a person presses them: after a key, a page is left alone for longer
than `PAUSE` seconds, in which the kernel can send the next picture ahead. All go in one
direction. With `--before`, there are also keys that each turn round, and a key that is
held down, which repeats it every `REPEAT` seconds. For this one the time is that from
its last repetition to the settled picture, whose caption must be the kernel's.
"""

import argparse
import contextlib
import functools
import shutil
import statistics
import sys
import tempfile
import time
from base64 import b64decode
from pathlib import Path

import nbformat
import psutil
from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1] / "browser"))
from lab import (
    CHROMIUM,
    NOTEBOOKS,
    Notebook,
    OnPage,
    Server,
    frames_shown,
    num_changes,
    slow_line,
)

MOVES, PAIRED, BURST, FLICKER_MOVES = 30, 15, 40, 100
# Of a person's keys, in s; how many of them turn round; how often a key is held down
# and repeated.
PAUSE, REPEAT, TURNS, HOLDS, HELD = 0.25, 0.033, 8, 4, 12
HEIGHT = 1200  # of the page: an explorer is in view as a whole
# There and back 150 ms.
SLOW = {"delay": 0.075, "rate": 20e6}
# For two versions: there and back 80 ms.
LINE = {"delay": 0.04, "rate": 20e6}

PLOT = """
import ipywidgets as widgets
import matplotlib.pyplot as plt
import numpy as np
from helpers import data, plotting
from helpers.explorer import Explorer, slider

%matplotlib inline
plotting.use_course_style()
x = np.asarray(data.old_faithful())[:, 0]
axis = np.linspace(1, 6, 200)

def log_density(x, mu, sigma):
    return -(((x - mu) / sigma) ** 2) / 2 - np.log(sigma * np.sqrt(2 * np.pi))

def log_likelihood(points):
    return log_density(x[:, None], *points.T).sum(axis=0)

# Computed once for both, so that the times compared are those of drawing and sending.
grid = np.meshgrid(np.linspace(2, 5, 100), np.linspace(0.6, 2.4, 100))
heights = log_likelihood(np.reshape(grid, (2, -1)).T)

def draw_still(left, right):
    left.hist(x, bins=40, density=True, color="0.85")
    left.set(xlabel="eruption (min)", ylabel="density (per min)", ylim=(0, 1))
    right.set(xlim=(2, 5), ylim=(0.6, 2.4), xlabel="mu (min)", ylabel="sigma (min)")
    levels = -421 - np.geomspace(1, 700, 12)[::-1]
    plotting.contours(right, lambda _: heights, levels=levels, colors="0.6")

def draw_moving(left, right, **style):
    return *left.plot(axis, 0 * axis, **style), *right.plot([], [], "o", **style)

def move(line, dot, mu, sigma):
    line.set_ydata(np.exp(log_density(axis, mu, sigma)))
    dot.set_data([mu], [sigma])
    return f"log-likelihood {log_likelihood(np.array([[mu, sigma]]))[0]:.1f} nats"

def sliders():
    return {
        "mu": slider("mu (min)", 2.0, 5.0, 2.6, step=0.01),
        "sigma": slider("sigma (min)", 0.6, 2.4, 0.9, step=0.01),
    }
"""
EXPLORER = """
figure, axes = plotting.subplots(1, 2, figsize=(9, 3.6))
draw_still(*axes)
artists = draw_moving(*axes, animated=True)
alt = "A density over a histogram, and its place on the log-likelihood."
drag = (axes[1], "mu", "sigma")
Explorer(
    figure, lambda **at: move(*artists, **at), sliders(), label="Bench", alt=alt,
    drag=drag,
)
"""
INTERACT = """
def plot(mu, sigma):
    _, axes = plt.subplots(1, 2, figsize=(9, 3.6))
    draw_still(*axes)
    words = move(*draw_moving(*axes), mu, sigma)
    plt.show()
    print(words)

_ = widgets.interact(plot, **sliders())
"""
# Notes when a key is pressed or the pointer moves, and when a picture or caption has
# come to the screen.
LOG = """root => {
  const note = (kind) => log.push([kind, performance.now()]);
  const shown = (kind) => requestAnimationFrame(() => note(kind));
  const all = { childList: true, subtree: true, attributes: true, characterData: true };
  window.log = [];
  if (!window.listens) {
    window.addEventListener("keydown", () => note("key"), true);
    window.addEventListener("pointermove", (e) => e.buttons && note("key"), true);
  }
  window.listens = true;
  root.addEventListener("load", () => shown("picture"), true);
  const layer = root.querySelector(".explorer-picture > svg > g");
  if (layer) new MutationObserver(() => shown("picture")).observe(layer, all);
  const caption = root.querySelector("[role=status]");
  if (caption) {
    const part = caption.closest(".widget-html-content") ?? caption;
    new MutationObserver(() => shown("caption")).observe(part, all);
  }
}"""


def settle(page, quiet):
    """Wait until nothing more comes to the screen for `quiet` ms, and return the log.

    After a key that changes nothing, it waits ten times as long. It looks only now and
    then: to look once a frame would keep the page busy drawing frames.
    """
    page.wait_for_function(
        """quiet => {
          const [kind, time] = log.at(-1) ?? ["key", Infinity];
          return performance.now() - time > (kind === "key" ? 10 * quiet : quiet);
        }""",
        arg=quiet,
        polling=50,
    )
    return page.evaluate("log.splice(0)")


def sizes_carried(page):
    """Return a list that grows by the size of each message on the page's sockets."""
    sizes, session = [], page.context.new_cdp_session(page)

    def note(event):
        message = event["response"]
        data, binary = message["payloadData"], message["opcode"] == 2
        sizes.append(len(b64decode(data) if binary else data.encode()))

    session.on("Network.webSocketFrameReceived", note)
    session.on("Network.webSocketFrameSent", note)
    session.send("Network.enable")
    return sizes


def key_times(page, quiet, moves, press):
    """Return the time from each key to the settled picture in ms, and bytes a move."""
    for _ in range(3):  # the first moves fill caches
        press()
        settle(page, quiet)
    times, sizes = [], sizes_carried(page)
    for _ in range(moves):
        press()
        log = settle(page, quiet)
        if any(kind != "key" for kind, _ in log):  # else it was at its end
            times.append(log[-1][1] - log[0][1])
    return times, sum(sizes) / len(times)


def measure(page, root, quiet):
    """Return median and p95 of key to picture in ms, kB a move, frames in a burst."""
    root.scroll_into_view_if_needed()
    root.get_by_role("slider").first.focus()
    root.evaluate(LOG)
    times, size = key_times(
        page, quiet, MOVES, lambda: page.keyboard.press("ArrowRight")
    )
    for _ in range(BURST):
        page.keyboard.press("ArrowRight")
        page.wait_for_timeout(30)  # as a key that is held down repeats
    frames = sum(kind == "picture" for kind, _ in settle(page, 3 * quiet))
    p95 = statistics.quantiles(times, n=20)[-1]
    return statistics.median(times), p95, size / 1000, frames


def measure_drag(page, root, quiet):
    """Return the median time from a pointer's move to the settled picture in ms."""
    hold = root.locator(".explorer-hold")
    hold.scroll_into_view_if_needed()
    box = hold.bounding_box()
    x, y = box["x"] + box["width"] * 0.2, box["y"] + box["height"] * 0.4
    page.mouse.move(x, y)
    page.mouse.down()
    settle(page, quiet)
    steps = iter(range(1, MOVES + 4))
    times, _ = key_times(
        page, quiet, MOVES, lambda: page.mouse.move(x + 4 * next(steps), y)
    )
    page.mouse.up()
    return statistics.median(times)


def compare(server, browser, url, quiet, slow_down=lambda: None):
    """Return what `measure` finds for the explorer and for interact, on one page."""
    page = browser.new_page(viewport={"width": 1300, "height": HEIGHT})
    notebook = Notebook(server, page, "bench.ipynb", url=url)
    notebook.run_all()
    roots = {
        "explorer": OnPage(notebook, "Bench").root,
        "interact": page.locator(".jp-OutputArea-output .widget-interact"),
    }
    roots["interact"].locator("img").wait_for()
    slow_down()
    found = {name: measure(page, root, quiet) for name, root in roots.items()}
    found["drag"] = measure_drag(page, roots["explorer"], quiet)
    notebook.close()
    return found


def follow_key(notebook, key):
    """Press a key after a pause, and return ms to the settled picture, or None."""
    notebook.page.wait_for_timeout(1000 * PAUSE)
    notebook.page.keyboard.press(key)
    log = settle(notebook.page, 200)
    moved = any(kind != "key" for kind, _ in log)  # else it was at its end
    return log[-1][1] - log[0][1] if moved else None


def median_of(times):
    """Return the median of the times that are not None."""
    return statistics.median(each for each in times if each is not None)


def hold_key(label, notebook, key):
    """Hold a key, and return ms from its last repetition to the settled picture."""
    explorer = notebook.explorer(label)
    start = time.perf_counter()
    for turn in range(HELD):
        ahead = start + turn * REPEAT - time.perf_counter()
        notebook.page.wait_for_timeout(1000 * max(0, ahead))
        notebook.page.keyboard.down(key)
    notebook.page.keyboard.up(key)
    log = settle(notebook.page, 600)
    _, caption = notebook.ask("now", label)
    assert explorer.caption.inner_text() == caption, f"{label}: {caption}"
    last = max(moment for kind, moment in log if kind == "key")
    # If the picture is there before the last key, that key was beyond the slider's end.
    return max(0, log[-1][1] - last)


def in_turn(servers, browser, name, line):
    """Return for each explorer of a notebook what two versions of it take.

    That is ms from a key to the picture, bytes a key, ms of the kernel, ms from a key
    that turns round, and ms when a key is held. Both are open, and keys go to one and
    the other in turn: whatever else the machine does meets both.
    """
    found = {}
    with contextlib.ExitStack() as stack:
        notebooks = []
        for server in servers:
            page = browser.new_page(viewport={"width": 1300, "height": HEIGHT})
            way = slow_line(server.port, **LINE)
            url, slow_down = stack.enter_context(way) if line else (None, None)
            notebooks.append(Notebook(server, page, name, url=url))
            stack.callback(notebooks[-1].close)
            notebooks[-1].run_all()
            if line:
                slow_down()
        known = [notebook.ask("explorers") for notebook in notebooks]
        for label in known[0].keys() & known[1].keys():
            if not all(any("Slider" in c[2] for c in each[label]) for each in known):
                continue
            sizes = []
            for notebook, explorers in zip(notebooks, known, strict=True):
                explorer, controls = notebook.explorer(label), explorers[label]
                _, description, kind = next(c for c in controls if "Slider" in c[2])
                explorer.scroll_into_view()
                explorer.control(description, kind).focus()
                explorer.root.evaluate(LOG)
                sizes.append(sizes_carried(notebook.page))

            def both(key, follow=follow_key):
                return [follow(notebook, key) for notebook in notebooks]

            for _ in range(2):  # the first fill caches
                both("ArrowRight")
            for size in sizes:
                size.clear()
            onwards = [both("ArrowRight") for _ in range(PAIRED)]
            sizes = [sum(size) / PAIRED for size in sizes]
            keys = ("ArrowLeft", "ArrowRight")
            turning = [both(keys[i % 2]) for i in range(TURNS)]
            hold = functools.partial(hold_key, label)
            held = [both(keys[i % 2], hold) for i in range(HOLDS)]
            kernel = [notebook.ask("kernel_times", label) for notebook in notebooks]
            found[label] = {
                "onwards": [median_of(each) for each in zip(*onwards, strict=True)],
                "bytes": sizes,
                "kernel": [statistics.median(each) for each in kernel],
                "turning": [median_of(each) for each in zip(*turning, strict=True)],
                "held": [median_of(each) for each in zip(*held, strict=True)],
            }
    return found


def compare_versions(before, only):
    """Print the times of the previous version and of this one, for each explorer."""
    columns = {
        "local, ms": (False, "onwards"),
        "80 ms line, ms": (True, "onwards"),
        "bytes a move": (False, "bytes"),
        "kernel, ms": (False, "kernel"),
        "line, turning": (True, "turning"),
        "held, local": (False, "held"),
        "held, line": (True, "held"),
    }
    kinds = columns.keys()
    medians = {kind: [] for kind in kinds}
    with (
        tempfile.TemporaryDirectory() as folder,
        Server(Path(folder, "old"), tree=before) as old,
        Server(Path(folder, "new")) as new,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=CHROMIUM
        )
        print(f"{'':36}" + "".join(f"{kind:>23}" for kind in kinds))
        for path in NOTEBOOKS:
            if only and path.name[:2] not in only:
                continue
            found = {
                line: in_turn((old, new), browser, path.name, line)
                for line in (False, True)
            }
            for label in found[False]:
                pairs = [found[line][label][what] for line, what in columns.values()]
                for kind, pair in zip(kinds, pairs, strict=True):
                    medians[kind].append(pair)
                cells = "".join(f"{a:12.1f} to{b:8.1f}" for a, b in pairs)
                print(f"{label:36}{cells}", flush=True)
    for kind, pairs in medians.items():
        one, other = (statistics.median(each) for each in zip(*pairs, strict=True))
        ratio = statistics.median(new / old for old, new in pairs)
        print(f"{kind}: median {one:.1f} to {other:.1f}, of the ratios {ratio:.2f}")
    print(
        f"{1000 * PAUSE:.0f} ms or more passed between two single keys, and "
        f"{1000 * REPEAT:.0f} ms between two repetitions of a key that was held."
    )


def flickers(server, browser, name):
    """Return for each explorer of a notebook how many frames too many it showed.

    Each picture that arrives may change the screen once. A blank frame before it would
    change it once more.
    """
    page = browser.new_page(viewport={"width": 1300, "height": HEIGHT})
    notebook, counts = Notebook(server, page, name), {}
    notebook.run_all()
    for label, controls in notebook.ask("explorers").items():
        explorer, arrived = notebook.explorer(label), 0
        explorer.scroll_into_view()
        explorer.root.evaluate(LOG)
        box = explorer.pictures.bounding_box()
        with frames_shown(page) as frames:
            for i in range(FLICKER_MOVES):
                _, description, kind = controls[i % len(controls)]
                turn = i // len(controls)
                # JupyterLab takes the arrows of a list, and goes to another cell. A pad
                # has buttons for its samples.
                ends = kind in {"Dropdown", "Checkbox", "Pad"}
                keys = ("End", "Home") if ends else ("ArrowRight", "ArrowLeft")
                key = keys[turn % 2] if ends else keys[i >= FLICKER_MOVES / 2]
                explorer.press(explorer.control(description, kind), key, kind)
                arrived += [kind for kind, _ in settle(page, 100)].count("picture")
            page.wait_for_timeout(500)
        assert explorer.pictures.bounding_box() == box, f"{label}: the page scrolled"
        counts[label] = max(0, num_changes(frames, box) - arrived)
    notebook.close()
    return counts


def report(local, slow, flickering, idle):
    """Print the table, and return the floors that were missed."""
    print(f"{'':52}{'explorer':>10}{'interact':>10}{'ratio':>8}")
    ratios = {}
    for place, found in {"no delay": local, "150 ms, 20 Mbit/s": slow}.items():
        ours, theirs = found["explorer"], found["interact"]
        ratios[place] = theirs[0] / ours[0]
        print(f"{place + ': drag to picture, median ms':52}{found['drag']:10.0f}")
        rows = ["key to picture, median ms", "key to picture, p95 ms", "kB a move"]
        rows += [f"pictures in a burst of {BURST} keys"]
        for words, one, other in zip(rows, ours, theirs, strict=True):
            ratio = f"{other / one:8.1f}" if words.endswith("ms") else ""
            print(f"{place + ': ' + words:52}{one:10.0f}{other:10.0f}{ratio}")
    print(f"frames too many in {FLICKER_MOVES} moves:", flickering)
    print("the machine was", "idle" if idle else "busy: the median is not judged")
    median, kilobytes = local["explorer"][0], local["explorer"][2]
    held = {
        "3 times faster than interact with no delay": ratios["no delay"] >= 3,
        "1.8 times over the slow line": ratios["150 ms, 20 Mbit/s"] >= 1.8,
        "at most 10 kB a move, with all that Jupyter adds": kilobytes <= 10,
        "a median of at most 60 ms, on an idle machine": median <= 60 or not idle,
        "no flicker": not any(flickering.values()),
    }
    return [floor for floor, holds in held.items() if not holds]


def measured(with_flicker):
    """Return what `compare` finds, then over the slow line, then all flickers."""
    with tempfile.TemporaryDirectory() as folder, Server(folder) as server:
        cells = [nbformat.v4.new_code_cell(c) for c in (PLOT, EXPLORER, INTERACT)]
        kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
        bench = nbformat.v4.new_notebook(cells=cells, metadata=kernel)
        nbformat.write(bench, server.folder / "notebooks/bench.ipynb")
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=shutil.which("chromium"), args=CHROMIUM
            )
            local = compare(server, browser, server.url, quiet=400)
            with slow_line(server.port, **SLOW) as (url, slow_down):
                slow = compare(server, browser, url, 800, slow_down)
            flickering = {}
            for path in NOTEBOOKS if with_flicker else []:
                flickering |= flickers(server, browser, path.name)
    return local, slow, flickering


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--no-flicker", action="store_true", help="only the times")
    parser.add_argument("--before", type=Path, help="a checkout to compare with")
    parser.add_argument("--only", nargs="*", help="notebooks by number: 01 03")
    args = parser.parse_args()
    if args.before:
        compare_versions(args.before, args.only)
        return False
    idle = psutil.cpu_percent(interval=3) < 10
    missed = report(*measured(not args.no_flicker), idle)
    for floor in missed:
        print("missed:", floor)
    return bool(missed)


if __name__ == "__main__":
    sys.exit(main())
