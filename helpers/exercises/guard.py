"""Runs code that is not ours, so that whatever it does stays where it is.

The code runs in a thread of its own. An endless loop is ended at the time limit. A
loop inside compiled code, such as `lax.while_loop`, cannot be ended, since Python gets
no turn there: the thread is left behind, and `alive` says so. Code in C that never lets
go of Python's lock, such as `sum(range(10**12))`, stops the kernel here as it does in
any cell.
"""

import contextlib
import ctypes
import io
import threading
import time
import traceback
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

SECONDS = 8.0  # of computing, for one call of `run`; compiling takes some of it
PATIENCE = 3  # times SECONDS on the clock: on a busy machine others compute as well
PRINTED = 400  # characters that are kept of what is printed,
LINES = 8  # on so many lines


class Outcome(NamedTuple):
    """What became of a call: a result, or else an error in words."""

    result: Any = None
    error: str = ""
    hint: str = ""
    printed: str = ""
    alive: bool = False  # still running, although its time is over


class _OutOfTime(BaseException):
    """Raised in a thread that is late; `except Exception` lets it pass."""


class _Printed(io.TextIOBase):
    """Keeps the first characters and drops the rest, so that no loop fills memory."""

    text = ""

    def write(self, text):
        self.text += text[: PRINTED + 1 - len(self.text)]
        return len(text)


def run(job: Callable[[], Any]) -> Outcome:
    """Call `job` and wait for it, for SECONDS at most.

    Args:
        job: what to call. It may raise anything, print, and never end.

    Returns:
        Outcome. Warnings are not shown; prints are kept, up to PRINTED characters.
    """
    printed, outcomes, over, turn = _Printed(), [], [], threading.Lock()

    def call():
        while not over:
            try:
                if not outcomes:
                    outcomes.append(_outcome(job))
                with turn:
                    for _ in range(10):  # what _end has raised so far comes up here,
                        pass
                    over.append(True)  # and from now on it raises no more
            except _OutOfTime:
                outcomes.append(_late())

    def call_to_the_end():
        with contextlib.suppress(_OutOfTime):  # one may come while one is handled
            call()

    thread = threading.Thread(target=call_to_the_end, daemon=True)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(printed),
            contextlib.redirect_stderr(printed),
        ):
            warnings.simplefilter("ignore")
            thread.start()
            _wait(thread)
            late = thread.is_alive()
            _end(thread, over, turn)
    finally:
        _end(thread, over, turn)  # where a reader has interrupted the kernel
    outcome = outcomes[0] if outcomes and not late else _late()
    lines = printed.text[:PRINTED].strip().splitlines()
    cut = len(printed.text) > PRINTED or len(lines) > LINES
    shown = "\n".join(lines[:LINES]) + " ... (cut)" * cut
    return outcome._replace(printed=shown, alive=thread.is_alive())


def _wait(thread):
    """Wait until a thread ends or its time is over."""
    begun, computed = time.monotonic(), time.process_time()
    while thread.is_alive() and time.process_time() - computed < SECONDS:
        if time.monotonic() - begun > PATIENCE * SECONDS:
            return
        thread.join(0.05)


def _end(thread, over, turn):
    """Raise _OutOfTime in a thread, again and again where something catches it."""
    for _ in range(20):
        with turn:
            if over or not thread.is_alive():
                break
            ctypes.pythonapi.PyThreadState_SetAsyncExc(
                ctypes.c_ulong(thread.ident), ctypes.py_object(_OutOfTime)
            )
        thread.join(0.05)
    thread.join(0.05)


def _outcome(job):
    try:
        return Outcome(job())
    except _OutOfTime:
        raise
    except BaseException as error:
        return _described(error)


def _late():
    hint = "A loop that does not end? Work on whole arrays, without a loop."
    return Outcome(error=f"no answer within {SECONDS:g} seconds", hint=hint)


def _described(error):
    """What was raised, in words, with the line of the code that is not ours."""
    name, hint = type(error).__name__, ""
    try:
        text = str(error).strip().split("\n")[0][:200]
    except BaseException:
        text = "an error that cannot say what it is"
    if "Tracer" in name or "Concretization" in name:
        hint = (
            "A value that exists only inside jax.grad, vmap or jit was used outside, "
            "or by NumPy. Return it instead of keeping it, and use jax.numpy."
        )
    elif name == "RecursionError":
        hint = "A function calls itself without an end."
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.line for frame in frames if not _of_a_package(frame.filename)]
    where = f", at `{lines[-1]}`" if lines and lines[-1] else ""
    return Outcome(error=f"{name}: {text}{where}", hint=hint)


def _of_a_package(filename):
    return any(part in filename for part in ("site-packages", "helpers", "lib/python"))
