"""What every test runs under."""

import contextlib
import ctypes
import gc
import os
import re
from pathlib import Path

# Before anything imports matplotlib: no test opens a window.
os.environ["MPLBACKEND"] = "Agg"
# Before anything imports JAX, and for kernels too: the same cells run in several tests,
# and compile once.
os.environ["JAX_COMPILATION_CACHE_DIR"] = str(
    Path(__file__).parents[1] / ".pytest_cache" / "jax"
)
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"

import hypothesis
import jax
import jaxtyping
import pytest
from xdist.scheduler import LoadFileScheduling

# Identities are checked to the last digits of a double.
jax.config.update("jax_enable_x64", True)
# A missing axis must be an error, not a silently wrong sum.
jax.config.update("jax_numpy_rank_promotion", "raise")
# So must a number that is none.
jax.config.update("jax_debug_nans", True)

# The same examples each time, and no clock: a compilation may come at any of them. A
# smaller seed is no simpler example, so none is looked for.
hypothesis.settings.register_profile(
    "course",
    derandomize=True,
    deadline=None,
    database=None,
    max_examples=20,
    phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
)
hypothesis.settings.load_profile("course")

HERE = Path(__file__).parent
# What the plain line leaves out: by folder, the options that run it, and what it takes.
LEFT_OUT = {
    "browser": (["--browser"], "need Chromium"),
    "environments": (["--environments", "--trust"], "take minutes"),
}
# Each minutes long, and a notebook's tests in them need none of another's: so they are
# dealt to the workers by the notebook.
BY_NOTEBOOK = [
    "test_run_again.py",
    "test_locked_down.py",
    "test_restarted.py",
    "test_notebooks_in_browser.py",
]
# What takes longest comes first, or at the end one worker would wait for the other.
FIRST = [*BY_NOTEBOOK, "test_scale.py"]
# The kinds of tests that `--trust` selects and counts, each a marker.
KINDS = ["row", "mutation", "property", "bad_input", "environment"]


@pytest.hookimpl(trylast=True)
def pytest_configure():
    # The notebooks' own setting, with which these tests take a third less time.
    # test_scale.py and the benchmarks run programs as XLA makes them by default.
    from helpers import course  # not before the checks of its types are in place

    if course._own_flags():  # a version of jaxlib whose flags are known
        # The other tests have the other processor: more threads would take longer.
        os.environ.setdefault("XLA_FLAGS", "--xla_cpu_parallel_codegen_split_count=1")
    course.for_small_problems()


def pytest_addoption(parser):
    parser.addoption("--browser", action="store_true", help="run tests/browser too")
    parser.addoption(
        "--screenshots",
        default=HERE / "browser" / "screenshots",
        help="folder for the pictures that tests/browser takes",
    )
    parser.addoption(
        "--environments", action="store_true", help="run tests/environments too"
    )
    parser.addoption(
        "--trust",
        action="store_true",
        help=f"run only the tests marked {', '.join(KINDS)}, and count them",
    )


def left_out(config):
    """Return the folders that no option asks for."""
    return {
        HERE / folder: f"which {why}; {options[0]} runs them"
        for folder, (options, why) in LEFT_OUT.items()
        if not any(map(config.getoption, options))
    }


def pytest_ignore_collect(collection_path, config):
    folders = {collection_path, *collection_path.parents}
    # None leaves it to pytest
    return True if folders & left_out(config).keys() else None


def pytest_collection_modifyitems(config, items):
    for item in items:
        if "refused" in getattr(item, "fixturenames", ()):
            item.add_marker("bad_input")
        if getattr(getattr(item, "obj", None), "is_hypothesis_test", False):
            item.add_marker("property")
    if config.getoption("--trust"):
        counted = [any(map(item.get_closest_marker, KINDS)) for item in items]
        others = [i for i, kept in zip(items, counted, strict=True) if not kept]
        items[:] = [i for i, kept in zip(items, counted, strict=True) if kept]
        config.hook.pytest_deselected(items=others)
    items.sort(key=place)


def place(item):
    """Return where a test comes in the order: those of FIRST, notebooks, all others."""
    if item.path.name in FIRST:
        return FIRST.index(item.path.name)
    return len(FIRST) + (item.path.suffix != ".ipynb")


class Scheduling(LoadFileScheduling):
    """Deals tests to workers by their file, and a few files by the notebook."""

    def _split_scope(self, nodeid):
        file, notebook = nodeid.split("::")[0], re.search(r"\[.*?(\d\d_\w+)", nodeid)
        dealt = notebook and Path(file).name in BY_NOTEBOOK
        return f"{file} {notebook[1]}" if dealt else file


def pytest_xdist_make_scheduler(config, log):
    return Scheduling(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_makereport(item, call):
    # before the report is made, which carries it from xdist's workers to the summary
    statistics = getattr(item, "hypothesis_statistics", "")
    if call.when == "call" and statistics:
        tried = sum(map(int, re.findall(r"(\d+) passing", statistics)))
        item.user_properties.append(("examples", tried))


def pytest_terminal_summary(terminalreporter, config):
    asked_for = [Path(arg.split("::")[0]).resolve() for arg in config.args]
    for folder, why in left_out(config).items():
        if folder.exists() and any(folder.is_relative_to(path) for path in asked_for):
            terminalreporter.write_line(f"left out: tests/{folder.name}, {why}")
    if config.getoption("--trust"):
        terminalreporter.section("tried")
        for kind in KINDS:
            terminalreporter.write_line(f"{kind:12}{tried(kind, terminalreporter)}")


def tried(kind, terminalreporter):
    """Return in words how many tests of a kind had which outcome."""
    reports = {
        outcome: [r for r in terminalreporter.getreports(outcome) if kind in r.keywords]
        for outcome in ("passed", "failed", "error", "skipped")
    }
    words = [f"{len(found)} {outcome}" for outcome, found in reports.items() if found]
    examples = [
        number
        for found in reports.values()
        for report in found
        for name, number in report.user_properties
        if name == "examples"
    ]
    if examples:
        words.append(f"{sum(examples)} examples tried")
    return ", ".join(words) or "none"


@pytest.fixture(autouse=True, scope="module")
def free_memory():
    """Or a worker would come to hold some thousands, of more than a MB each."""
    yield
    jax.clear_caches()
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # glibc alone has it
        ctypes.CDLL("libc.so.6").malloc_trim(0)


@pytest.fixture
def nan_is_meant():
    """Allow NaN, where it is the subject or fills what a climb did not reach."""
    # not `jax.debug_nans`, which holds in one thread alone
    jax.config.update("jax_debug_nans", False)
    yield
    jax.config.update("jax_debug_nans", True)


@pytest.fixture
def as_user(nan_is_meant):
    """Run without the checks of shapes, types and NaN that only the tests switch on."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture
def no_leaks():
    """Refuse a traced value that outlives its function; nothing stays compiled."""
    with jax.checking_leaks():
        yield


@pytest.fixture
def refused(as_user):
    """Expect a ValueError that names the argument, what came and what was expected."""

    def expect(argument, came, expected):
        name, came, expected = map(re.escape, (argument, came, expected))
        return pytest.raises(ValueError, match=f"(?s)^{name}: .*{came}.*{expected}")

    return expect
