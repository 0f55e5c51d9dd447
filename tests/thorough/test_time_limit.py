"""The time limit of an answer: loops, waits and imports that take too long."""

import sys
import time

import pytest
from test_exercises_guard import rows_of

from helpers.exercises import guard

pytestmark = pytest.mark.usefixtures("as_in_a_notebook")


def test_a_loop_that_cannot_be_ended_is_left_behind(monkeypatch):
    monkeypatch.setattr(guard, "SECONDS", 0.2)
    let_go = []

    def compiled_loop_or_long_wait(x):
        while not let_go:
            try:
                time.sleep(0.01)
            except BaseException:
                continue

    rows = rows_of(compiled_loop_or_long_wait)
    let_go.append(True)
    assert rows["error"] == "no answer within 0.2 seconds"
    assert "Restart the kernel" in rows["note"]


def test_on_a_busy_machine_the_clock_alone_ends_nothing(monkeypatch):
    monkeypatch.setattr(guard, "SECONDS", 0.5)
    outcome = guard.run(lambda: time.sleep(0.8) or "an answer")  # others compute
    assert outcome.result == "an answer"


def test_a_wait_ends_by_the_clock(monkeypatch):
    monkeypatch.setattr(guard, "SECONDS", 0.3)

    def waits(x):
        while True:
            time.sleep(0.1)

    begin = time.monotonic()
    assert rows_of(waits)["error"] == "no answer within 0.3 seconds"
    assert time.monotonic() - begin > guard.PATIENCE * 0.3


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of three modules, one of which takes long to import."""
    folder = tmp_path / "slow_package"
    folder.mkdir()
    (folder / "__init__.py").write_text("from slow_package import a, b\n")
    (folder / "a.py").write_text("first = 1\n")
    (folder / "b.py").write_text(
        "import sys, time\n"
        "end = time.monotonic() + sys.seconds_of_slow_package\n"
        "try:\n"
        "    while time.monotonic() < end:\n"
        "        pass\n"
        "    second = 2\n"
        "except BaseException:\n"
        "    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield sys
    for name in [name for name in sys.modules if name.startswith("slow_package")]:
        del sys.modules[name]
    vars(sys).pop("seconds_of_slow_package", None)


def imports(x):
    import slow_package

    return slow_package.b.second


def test_a_module_ended_at_the_time_limit_can_be_imported_again(package, monkeypatch):
    monkeypatch.setattr(guard, "SECONDS", 0.2)
    package.seconds_of_slow_package = 60
    assert rows_of(imports)["error"].startswith("no answer")
    assert not [name for name in sys.modules if name.startswith("slow_package")]
    package.seconds_of_slow_package = 0
    assert imports(None) == 2
    assert sys.modules["slow_package"].a.first == 1


def test_an_import_gets_more_time_than_a_loop(package, monkeypatch):
    monkeypatch.setattr(guard, "SECONDS", 0.4)
    package.seconds_of_slow_package = 0.8

    def imports_then_computes():
        found = imports(None)
        end = time.thread_time() + 0.1
        while time.thread_time() < end:
            pass
        return found

    assert guard.run(imports_then_computes).result == 2
