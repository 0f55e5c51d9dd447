"""Set up a notebook in its first cell: precision, compiler, cache and figure style.

Compiled programs are kept in your own cache folder, so that a notebook runs faster the
second time. The environment variable COURSE_CACHE=off switches this off;
JAX_COMPILATION_CACHE_DIR chooses another folder.
"""

import contextlib
import ctypes
import gc
import hashlib
import os
import platform
import shutil
import tempfile
import warnings
from pathlib import Path

import jax
import jaxlib
import numpy as np
import platformdirs
from IPython import get_ipython

from helpers import plotting

__all__ = [
    "for_small_problems",
    "forget_programs_beyond",
    "keep_compiled_programs",
    "start",
]

# One entry per version of jaxlib, because XLA ends the process if it does not know a
# flag. Compiling takes half the time with the older code generator, and much less again
# without optimisation; and a small program is not worth dividing among processors.
# Trainings and large fits are optimised all the same: see `_functions.OPTIMISED` and
# `_fast.loop.SLOW_TO_COMPILE`.
QUICK = {
    "0.10": "--xla_cpu_use_fusion_emitters=false --xla_backend_optimization_level=0 "
    "--xla_cpu_parallel_codegen_split_count=1"
}

# The six notebooks together fill about a tenth of it.
CACHE_BYTES = 200e6

# If a kernel uses more than this after a cell, it releases what it can. Binder may end
# a session at 2 GB, and a student may have two notebooks open.
KERNEL_BYTES = 700e6


def start() -> None:
    """Set up a notebook of the course; call it before the first computation.

    Numbers are float64, so that identities hold to many digits. Programs are compiled
    for small problems and kept for the next run, and figures are drawn in the style of
    the course. It is safe to call it more than once.
    """
    for_small_problems()
    keep_compiled_programs()
    jax.config.update("jax_enable_x64", True)
    plotting.use_course_style()
    shell = get_ipython()
    if shell is not None:
        with contextlib.suppress(ValueError):  # not registered yet, the first time
            shell.events.unregister("post_run_cell", _after_a_cell)
        shell.events.register("post_run_cell", _after_a_cell)


def _after_a_cell(result=None):
    forget_programs_beyond(KERNEL_BYTES)


def for_small_problems() -> None:
    """Let XLA compile in about half the time, to programs that run more slowly.

    The problems in the notebooks are so small that most of the time is spent compiling.
    For large problems these settings are worse: a loop over many points can take 2 to 4
    times as long. So `vae.fit`, and `em.fit` on many points, do without them. Long
    chains of operations (hundreds of them) also compile more slowly than with JAX's
    defaults.

    XLA reads its flags once, so call this before JAX's first computation. Flags that
    are already in the environment variable XLA_FLAGS are kept and take precedence. For
    a version of jaxlib whose flags are not known here, nothing changes.
    """
    own = _own_flags()
    given = os.environ.get("XLA_FLAGS", "")
    if not given.startswith(own):
        os.environ["XLA_FLAGS"] = f"{own} {given}".strip()


def _own_flags():
    version = ".".join(jaxlib.__version__.split(".")[:2])
    return QUICK.get(version, "")


def forget_programs_beyond(most: float) -> None:
    """Let JAX forget its compiled programs if this process uses too much memory.

    A program that is needed again is read from the cache folder or compiled again.
    Arrays stay. The memory in use can be read on Linux; elsewhere nothing happens.

    Args:
        most: the number of bytes that the process may use.
    """
    if _bytes_in_use() <= most:
        return
    _return_freed_memory()
    if _bytes_in_use() <= most:
        return
    jax.clear_caches()
    gc.collect()
    _return_freed_memory()


def _bytes_in_use():
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:  # not Linux
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def _return_freed_memory():
    with contextlib.suppress(OSError, AttributeError):  # only glibc has it
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def keep_compiled_programs() -> None:
    """Let JAX keep compiled programs in the user's cache folder for the next kernel.

    The folder is named after jaxlib's version and the processor's features, since a
    program compiled on one processor may crash on another. (JAX itself distinguishes
    programs that were compiled with different XLA_FLAGS.) Programs of other versions of
    jaxlib are removed. If the rest takes more than 200 MB, the least recently used
    programs are removed too. Several kernels can use the folder at the same time.

    Nothing happens, and nothing is said, if the folder cannot be written, if the
    environment variable COURSE_CACHE is "off", or if the user has told JAX what to do
    (JAX_COMPILATION_CACHE_DIR, JAX_ENABLE_COMPILATION_CACHE).
    """
    switched_off = os.environ.get("COURSE_CACHE", "").lower() in ("off", "0", "no")
    if switched_off or not jax.config.jax_enable_compilation_cache:
        return
    if jax.config.jax_compilation_cache_dir:
        return
    root = platformdirs.user_cache_path("mle-em-vae-companion", appauthor=False)
    folder = root / f"jaxlib-{jaxlib.__version__}-{_processor_digest()}"
    if not _can_be_written(folder):
        return
    _remove_old_programs(root)
    # By default JAX keeps only programs that took a second to compile.
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_compilation_cache_dir", str(folder))
    # JAX warns if a program cannot be read or written: the disk is full, or another
    # kernel is writing the same program. It then compiles, as it does without a cache.
    warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation")


def _processor_digest():
    """Return a short digest of the processor features that programs depend on."""
    features = [platform.machine()]
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        chosen = ("model name", "flags", "Features", "CPU part")
        features += sorted({line for line in lines if line.startswith(chosen)})
    except OSError:  # not Linux: use the features that NumPy has found
        features += np.show_config(mode="dicts")["SIMD Extensions"]["found"]
    return hashlib.sha256("\n".join(features).encode()).hexdigest()[:12]


def _can_be_written(folder):
    """Make the folder and the two above it, but not a home for a user without one."""
    if not folder.is_absolute():  # then the user's home is not known
        return False
    try:
        for each in (folder.parents[1], folder.parents[0], folder):
            each.mkdir(mode=0o700, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _remove_old_programs(root):
    """Keep only programs of this jaxlib version, and those that were used last."""
    for folder in root.glob("jaxlib-*"):
        if not folder.name.startswith(f"jaxlib-{jaxlib.__version__}-"):
            shutil.rmtree(folder, ignore_errors=True)
    programs = []
    for path in root.glob("jaxlib-*/*"):
        with contextlib.suppress(OSError):  # another kernel has just removed it
            status = path.stat()
            last_used = max(status.st_atime, status.st_mtime)
            programs.append((last_used, status.st_size, path))
    total = 0
    for _, size, path in sorted(programs, reverse=True):
        total += size
        if total > CACHE_BYTES:
            with contextlib.suppress(OSError):
                path.unlink()
