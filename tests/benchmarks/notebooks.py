"""Each notebook run twice, as by a reader who restarts it: wall time, and peak memory.

The first run finds the folder of compiled programs empty, the second one filled.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import matplotlib
from measure import Row

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
FIRST, AGAIN = "notebooks, first run", "notebooks, run again"


def rows(quick):
    all_first, all_again = [], []
    for notebook in sorted(NOTEBOOKS.glob("*.ipynb"))[: 1 if quick else None]:
        name = notebook.stem
        with tempfile.TemporaryDirectory() as caches:
            first, peak = _executed(notebook, caches)
            again, peak_again = _executed(notebook, caches)
        all_first.append(first)
        all_again.append(again)
        yield Row(FIRST, name, [first])
        yield Row(AGAIN, name, [again], peer="first run", theirs=[first])
        if peak:
            yield Row(
                part="notebooks, peak memory of the kernel",
                case=name,
                ours=[max(peak, peak_again)],
                unit="MB",
                floor=1000,
                aim=700,
            )
    total = sum(all_first)
    yield Row(FIRST, "all of them", [total], floor=150, aim=90)
    yield Row(
        AGAIN,
        "all of them",
        [sum(all_again)],
        peer="first run",
        theirs=[total],
        floor=1 / 0.55,
        aim=1 / 0.45,
        note=f"{sum(all_again) / total:.2f} of the first run",
    )


def _executed(notebook, caches):
    """Seconds of `jupyter execute`, and the kernel's VmHWM in MB where there is one.

    Linux keeps the most memory that a process has held; the last look before the kernel
    ends misses at most what it took in the last twentieth of a second.
    """
    command = [sys.executable, "-m", "jupyter", "execute", str(notebook)]
    environment = {
        **os.environ,
        "XDG_CACHE_HOME": caches,
        # Matplotlib's list of fonts is not what is measured.
        "MPLCONFIGDIR": matplotlib.get_cachedir(),
    }
    greatest = 0.0
    with tempfile.TemporaryFile() as errors:
        begin = time.perf_counter()
        run = subprocess.Popen(command, stdout=errors, stderr=errors, env=environment)
        while run.poll() is None:
            time.sleep(0.05)
            for process in _descendants(run.pid):
                greatest = max(greatest, _kernel_peak(process))
        seconds = time.perf_counter() - begin
        if run.returncode:
            errors.seek(0)
            raise RuntimeError(errors.read().decode())
    return seconds, greatest


def _descendants(process):
    try:
        path = Path(f"/proc/{process}/task/{process}/children")
        children = [int(child) for child in path.read_text().split()]
    except OSError:
        return []
    return [each for child in children for each in (child, *_descendants(child))]


def _kernel_peak(process):
    """MB, or 0 for a process that is not a kernel or has ended."""
    folder = Path(f"/proc/{process}")
    try:
        if b"ipykernel" not in (folder / "cmdline").read_bytes():
            return 0.0
        status = (folder / "status").read_text()
    except OSError:
        return 0.0
    peaks = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(peaks[0].split()[1]) * 1024 / 1e6 if peaks else 0.0
