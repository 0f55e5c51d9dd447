"""Run student code isolated, with a time limit.

The code runs in its own thread. An endless loop is stopped when the time is up. What
the code prints is kept for the verdict. `exit()` and `sys.exit()` are treated like any
other error, changed settings of JAX are restored, and a module whose import was stopped
by the time limit can be imported again.

Some things cannot be prevented without a second process:

- `os._exit`, `os.kill` and a crash in compiled code end the kernel.
- A loop inside compiled code, such as `lax.while_loop`, cannot be stopped, because
  Python does not run there. The thread keeps running, and `alive` says so.
- C code that never releases Python's lock, such as `sum(range(10**12))`, blocks the
  kernel, as it does in any cell.
- Other changes that the code makes remain: to NumPy's functions (`np.exp = ...`),
  environment variables or files.
"""

import contextlib
import ctypes
import dis
import io
import sys
import sysconfig
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import jax
from IPython import get_ipython

# Seconds of processor time for one call of `run`, including compiling. On a slow
# server, the right answers in tests/thorough/given_answers.py (plain loops included)
# take at most a sixth of it, even the first time, when JAX compiles for them.
SECONDS = 15.0
# A call may take PATIENCE times SECONDS on the clock, since other programs may be using
# the processor. Importing modules may take as long again.
PATIENCE = 3
# At most this many characters and lines of what the code prints are shown.
PRINTED = 400
LINES = 8

HELPERS = str(Path(__file__).parents[1])
PACKAGES = {sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")}


class Outcome(NamedTuple):
    """The outcome of a call: a result, or an error in words."""

    result: Any = None
    error: str = ""
    hint: str = ""
    printed: str = ""
    alive: bool = False  # still running, although the time is up


class _OutOfTime(BaseException):
    """Raised in a thread whose time is up. `except Exception` does not catch it."""


def run(job: Callable[[], Any]) -> Outcome:
    """Call `job` and wait for it, for at most SECONDS of processor time.

    Args:
        job: a function without arguments. It may raise anything, print, or never end.

    Returns:
        Outcome. Warnings are not shown; up to PRINTED characters of output are kept.
    """
    worker = _Worker(job)
    printed = _Printed()
    settings = jax.config.values
    try:
        with (
            warnings.catch_warnings(),
            _print_to(printed, worker),
            _refuse_exit(worker),
        ):
            warnings.simplefilter("ignore")
            worker.thread.start()
            worker.wait()
            late = worker.thread.is_alive()
            worker.end()
    finally:
        worker.end()  # needed if the reader has interrupted the kernel
        put_back(settings)
    outcome = _late() if late else worker.outcomes[0]
    return outcome._replace(printed=printed.shown(), alive=worker.thread.is_alive())


class _Clocks(NamedTuple):
    """Two clocks, in seconds."""

    computing: float  # processor time of all threads of this process
    wall: float


class _Worker:
    """A thread that calls a job, and that can be stopped from outside."""

    def __init__(self, job):
        self.job = job
        self.outcomes = []
        self.over = False
        self.turn = threading.Lock()
        self.modules = set(sys.modules)
        self.interrupted = set()  # modules that were being imported when time was up
        self.thread = threading.Thread(target=self._call_to_the_end, daemon=True)

    def _call_to_the_end(self):
        with contextlib.suppress(_OutOfTime):  # a second may come during the first
            self._call()

    def _call(self):
        while not self.over:
            try:
                if not self.outcomes:
                    self.outcomes.append(_outcome(self.job))
                with self.turn:
                    for _ in range(10):  # an exception that `end` has sent arrives here
                        pass
                    self.over = True  # from now on, `end` sends no more
            except _OutOfTime:
                self.outcomes.append(_late())

    def wait(self):
        """Wait until the thread ends or its time is up."""
        computed = 0.0
        waited = 0.0
        imported = 0.0
        while self.thread.is_alive():
            before = _Clocks(time.process_time(), time.monotonic())
            self.thread.join(0.05)
            computing = time.process_time() - before.computing
            waiting = time.monotonic() - before.wall
            # Stopping an import would leave half a module, so imports get extra time.
            if imported < PATIENCE * SECONDS and _importing(self.thread):
                imported += waiting
                continue
            computed += computing
            waited += waiting
            if computed > SECONDS or waited > PATIENCE * SECONDS:
                return

    def end(self):
        """Raise _OutOfTime in the thread, again and again if something catches it."""
        for _ in range(20):
            with self.turn:
                if self.over or not self.thread.is_alive():
                    break
                self.interrupted |= _importing(self.thread)
                ctypes.pythonapi.PyThreadState_SetAsyncExc(
                    ctypes.c_ulong(self.thread.ident), ctypes.py_object(_OutOfTime)
                )
                self.interrupted |= _importing(self.thread)
            self.thread.join(0.05)
        if self.thread.is_alive():
            self.thread.join(0.05)
        self._forget_half_imported()

    def _forget_half_imported(self):
        """Forget all new modules of each package whose import was stopped.

        The modules of a package refer to each other, so if one is missing, the others
        cannot be used either.
        """
        packages = {name.partition(".")[0] for name in self.interrupted}
        for name in set(sys.modules) - self.modules:
            if name.partition(".")[0] in packages:
                sys.modules.pop(name, None)


def _importing(thread) -> set[str]:
    """Names of the modules that a thread is importing at this moment."""
    return {
        frame.f_locals["name"]
        for frame in _frames(sys._current_frames().get(thread.ident))
        if frame.f_code.co_name == "_find_and_load" and "name" in frame.f_locals
    }


def _frames(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


class _Printed:
    """Keep the first characters and drop the rest, so that no loop can fill memory."""

    def __init__(self):
        self.text = ""

    def write(self, text):
        self.text += text[: PRINTED + 1 - len(self.text)]
        return len(text)

    def shown(self):
        lines = self.text[:PRINTED].strip().splitlines()
        cut = len(self.text) > PRINTED or len(lines) > LINES
        return "\n".join(lines[:LINES]) + " ... (cut)" * cut


class _Stream:
    """Keep what one thread writes, and pass on what the other threads write."""

    def __init__(self, printed, worker, usual):
        self._printed = printed
        self._worker = worker
        self._usual = usual

    def write(self, text):
        if threading.current_thread() is self._worker.thread:
            return self._printed.write(text)
        return self._usual.write(text)

    def __getattr__(self, name):
        return getattr(self._usual, name)


@contextlib.contextmanager
def _print_to(printed, worker):
    """Keep what the worker prints. Its input is empty, and it may close it."""
    usual = sys.stdout, sys.stderr, sys.stdin
    sys.stdout = _Stream(printed, worker, sys.stdout)
    sys.stderr = _Stream(printed, worker, sys.stderr)
    sys.stdin = io.StringIO()
    try:
        yield
    finally:
        sys.stdout, sys.stderr, sys.stdin = usual


@contextlib.contextmanager
def _refuse_exit(worker):
    """Make IPython's `exit()` raise SystemExit, as Python's own does.

    IPython's version only asks the shell to stop, and the kernel ends a moment later.
    """
    shell = get_ipython()
    if shell is None:
        yield
        return
    ask_exit = shell.ask_exit
    keep_kernel = getattr(shell, "keepkernel_on_exit", None)

    def ask_exit_or_refuse():
        if threading.current_thread() is not worker.thread:
            return ask_exit()
        shell.keepkernel_on_exit = keep_kernel
        raise SystemExit("exit() would end the kernel")

    shell.ask_exit = ask_exit_or_refuse
    try:
        yield
    finally:
        del shell.ask_exit  # now the method of the class is used again


def put_back(settings: dict[str, Any]) -> list[str]:
    """Restore JAX's settings, and return the names of those that had changed."""
    changed = [name for name, now in jax.config.values.items() if now != settings[name]]
    for name in changed:
        jax.config.update(name, settings[name])
    return changed


def _outcome(job):
    try:
        return Outcome(job())
    except _OutOfTime:
        raise
    except BaseException as error:
        return _described(error)


def _late():
    hint = (
        "Is there a loop that never ends? If your code is only slow, compute with "
        "whole arrays instead of one number at a time."
    )
    return Outcome(error=f"no answer within {SECONDS:g} seconds", hint=hint)


def _described(error):
    """Describe an error in words, with the line of student code that raised it."""
    name = type(error).__name__
    try:
        text = str(error).strip().split("\n")[0][:200]
    except BaseException:
        text = "an error that cannot say what it is"
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.line for frame in frames if not _of_a_package(frame.filename)]
    where = f", at `{lines[-1]}`" if lines and lines[-1] else ""
    return Outcome(error=f"{name}: {text}{where}", hint=_hint(error, name, text))


def _hint(error, name, text):
    if "Tracer" in name or "Concretization" in name:
        return (
            "A value that exists only inside jax.grad, vmap or jit was used outside of "
            "it, or by NumPy. Return it instead of storing it, and use jax.numpy."
        )
    if isinstance(error, RecursionError):
        return "A function calls itself without ever stopping."
    if isinstance(error, SystemExit):
        return "Leave exit() out. A function ends with `return`."
    if isinstance(error, OverflowError):
        return "exp() of a number above 709 is too large for a floating-point number."
    fields = getattr(getattr(error, "obj", None), "_fields", ())
    if isinstance(error, AttributeError) and fields:
        hint = f"A {type(error.obj).__name__} has the fields {', '.join(fields)}."
        if "covariances" in fields:
            hint += " For round components, `covariances` holds the variances."
        return hint
    of_shapes = ("broadcast", "contracting", "core dimension", "not aligned")
    if any(word in text for word in of_shapes):
        return (
            "Two shapes do not fit together. Print them: often an axis of length 1 is "
            "missing, as in m[:, None], or a sum went over the wrong axis."
        )
    return ""


def is_a_stub(error: NotImplementedError) -> bool:
    """Return whether the `raise` of this error is in the student's own code."""
    last = error.__traceback__
    while last.tb_next is not None:
        last = last.tb_next
    code = last.tb_frame.f_code
    # JAX hides its own frames, so the last frame may be where the student called JAX.
    # Then its last instruction is a call and not a `raise`.
    raises = dis.opname[code.co_code[last.tb_lasti]] == "RAISE_VARARGS"
    return raises and not _of_a_package(code.co_filename)


def _of_a_package(filename):
    folders = [HELPERS, *PACKAGES]
    return filename.startswith("<frozen") or any(
        Path(filename).is_relative_to(folder) for folder in folders
    )
