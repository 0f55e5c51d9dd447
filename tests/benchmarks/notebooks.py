"""Each notebook from cold: its wall time, and its kernel's greatest memory."""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measure import Row

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


def rows(quick):
    total, part = 0.0, "notebooks, cold"
    for notebook in sorted(NOTEBOOKS.glob("*.ipynb"))[: 1 if quick else None]:
        seconds, mebibytes = _executed(notebook)
        total += seconds
        yield Row(part, notebook.stem, [seconds])
        if mebibytes:
            case = f"{notebook.stem}, kernel's peak memory"
            yield Row(part, case, [mebibytes], unit="MiB", floor=700, aim=450)
    yield Row(part, "all of them", [total], floor=180, aim=90)


def _executed(notebook):
    """Seconds of `jupyter execute`, and the kernel's VmHWM in MiB where there is one.

    Linux keeps the most memory that a process has held; the last look before the kernel
    ends misses at most what it took in the last twentieth of a second.
    """
    command = [sys.executable, "-m", "jupyter", "execute", str(notebook)]
    greatest = 0.0
    with tempfile.TemporaryFile() as errors:
        begin = time.perf_counter()
        run = subprocess.Popen(command, stdout=errors, stderr=errors)
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
    """MiB, or 0 for a process that is no kernel, or no more."""
    folder = Path(f"/proc/{process}")
    try:
        if b"ipykernel" not in (folder / "cmdline").read_bytes():
            return 0.0
        status = (folder / "status").read_text()
    except OSError:
        return 0.0
    peaks = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(peaks[0].split()[1]) / 1024 if peaks else 0.0
