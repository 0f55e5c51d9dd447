"""What a notebook's first cell sets up: precision, the compiler, the figures' style."""

import contextlib
import ctypes
import gc
import os

import jax
import jaxlib

from helpers import plotting

# By version of jaxlib, since XLA ends the process at a flag that it does not know. The
# older generator of code takes half the time, and so does less optimization.
QUICK = {
    "0.10": "--xla_cpu_use_fusion_emitters=false --xla_backend_optimization_level=1"
}


def start() -> None:
    """Set up a notebook of the course; call it before the first computation.

    Numbers are float64, so that identities hold to many digits. Programs are compiled
    for small problems, and figures are drawn in the course's style.
    """
    for_small_problems()
    jax.config.update("jax_enable_x64", True)
    plotting.use_course_style()


def for_small_problems() -> None:
    """Let XLA compile in about half the time, to programs that are slower to run.

    The problems of the notebooks are so small that most of their time is compiling.
    Large ones want the opposite: EM on many points would take 2 to 4 times as long.
    Hundreds of operations in one chain compile more slowly, too, than by default.

    XLA reads its flags once, so this must come before JAX's first computation. What
    the environment's XLA_FLAGS say already stays, and wins. For a version of jaxlib
    whose flags are not known here, nothing changes.
    """
    own, given = _own_flags(), os.environ.get("XLA_FLAGS", "")
    if not given.startswith(own):
        os.environ["XLA_FLAGS"] = f"{own} {given}".strip()


def _own_flags():
    version = ".".join(jaxlib.__version__.split(".")[:2])
    return QUICK.get(version, "")


def free_memory() -> None:
    """Forget all programs that JAX has compiled, and return their memory to the system.

    Each program of XLA's on the CPU keeps 0.5 to 10 MB while JAX remembers it.
    One that is needed again is compiled again, which takes tens of milliseconds, and
    for a training loop seconds. Arrays stay.
    """
    jax.clear_caches()
    gc.collect()
    _trim_heap()


def _trim_heap():
    with contextlib.suppress(OSError, AttributeError):  # glibc alone has it
        ctypes.CDLL("libc.so.6").malloc_trim(0)
