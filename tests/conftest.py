"""The settings that every test runs under, and the options that add tests."""

import os
import re
from pathlib import Path

# No test opens a window. This must be set before anything imports matplotlib.
os.environ["MPLBACKEND"] = "Agg"
# Several tests and kernels run the same cells. They share one folder of compiled
# programs, so that each program is compiled once. JAX reads this when it is imported.
os.environ["JAX_COMPILATION_CACHE_DIR"] = str(
    Path(__file__).parents[1] / ".pytest_cache" / "jax"
)
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"

import hypothesis
import jax
import jaxtyping
import pytest

# Identities are checked to the last digits of a double.
jax.config.update("jax_enable_x64", True)
# A missing axis must be an error, not a silently wrong sum.
jax.config.update("jax_numpy_rank_promotion", "raise")
# A NaN that nobody asked for must be an error, too.
jax.config.update("jax_debug_nans", True)

# Hypothesis draws the same examples each time, and without a deadline, because any
# example may be the first that compiles. Shrinking is off: the examples are keys of a
# random generator, and a smaller key is not a simpler example.
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
# Folders that run only if one of these options is given, and the reason.
LEFT_OUT = {
    "thorough": (["--thorough", "--trust"], "which take minutes"),
    "browser": (["--browser"], "which need Chromium"),
}
# The kinds of tests that `--trust` selects and counts, each a marker.
KINDS = ["row", "mutation", "property", "bad_input", "environment"]
# What takes longest starts first. Otherwise one worker waits for the other at the end.
LONGEST_FIRST = [
    "test_run_again.py",
    "test_locked_down.py",
    "test_notebooks_in_browser.py",
    "test_site.py",
    "test_scale.py",
    "05_vae.ipynb",
    "04_em_convergence.ipynb",
    "06_reparameterization.ipynb",
    "03_elbo_and_jensen.ipynb",
    "02_three_difficulty_cases.ipynb",
    "01_mle_revisited.ipynb",
    "test_exercises.py",
    "test_explorer.py",
    "test_bounds.py",
    "test_decoder.py",
    "test_em.py",
    "test_recorder.py",
    "test_course.py",
]


@pytest.hookimpl(trylast=True)
def pytest_configure():
    # With the notebooks' own compiler flags the tests take a third less time.
    # test_scale.py and the benchmarks run programs as XLA makes them by default.
    from helpers import course  # only after jaxtyping's checks are in place

    course.for_small_problems()


def pytest_addoption(parser):
    parser.addoption("--thorough", action="store_true", help="run tests/thorough too")
    parser.addoption("--browser", action="store_true", help="run tests/browser too")
    parser.addoption(
        "--screenshots",
        default=HERE / "browser" / "screenshots",
        help="folder for the pictures that tests/browser takes",
    )
    parser.addoption(
        "--site",
        default=HERE.parent / "site",
        help="folder of the built web site, which tests/browser looks at",
    )
    parser.addoption(
        "--trust",
        action="store_true",
        help=f"run only the tests marked {', '.join(KINDS)}, and count them",
    )


def left_out(config):
    """Return the folders that no given option includes, each with a sentence."""
    return {
        HERE / folder: f"tests/{folder}, {why}; {options[0]} runs them"
        for folder, (options, why) in LEFT_OUT.items()
        if not any(config.getoption(option) for option in options)
    }


def pytest_ignore_collect(collection_path, config):
    folders = {collection_path, *collection_path.parents}
    # None leaves the decision to pytest.
    return True if folders & left_out(config).keys() else None


def pytest_collection_modifyitems(config, items):
    for item in items:
        if "refused" in getattr(item, "fixturenames", ()):
            item.add_marker("bad_input")
        if getattr(getattr(item, "obj", None), "is_hypothesis_test", False):
            item.add_marker("property")
    if config.getoption("--trust"):
        counted, others = [], []
        for item in items:
            is_counted = any(item.get_closest_marker(kind) for kind in KINDS)
            (counted if is_counted else others).append(item)
        items[:] = counted
        config.hook.pytest_deselected(items=others)
    items.sort(key=place)


def place(item):
    """Return the position of a test in the order."""
    name = item.path.name
    return LONGEST_FIRST.index(name) if name in LONGEST_FIRST else len(LONGEST_FIRST)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_makereport(item, call):
    # Before the report is made, because it carries this from a worker to the summary.
    statistics = getattr(item, "hypothesis_statistics", "")
    if call.when == "call" and statistics:
        tried = sum(map(int, re.findall(r"(\d+) passing", statistics)))
        item.user_properties.append(("examples", tried))


def pytest_terminal_summary(terminalreporter, config):
    asked_for = [Path(arg.split("::")[0]).resolve() for arg in config.args]
    for folder, sentence in left_out(config).items():
        if folder.exists() and any(folder.is_relative_to(path) for path in asked_for):
            terminalreporter.write_line(f"left out: {sentence}")
    if config.getoption("--trust"):
        terminalreporter.section("tried")
        for kind in KINDS:
            terminalreporter.write_line(f"{kind:12}{tried(kind, terminalreporter)}")


def tried(kind, terminalreporter):
    """Return in words how many tests of a kind passed, failed or were skipped."""
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
    """Forget compiled programs if they fill the memory of a small machine."""
    yield
    from helpers import course  # only after jaxtyping's checks are in place

    course.forget_programs_beyond(1.2e9)


@pytest.fixture
def nan_is_meant():
    """Allow NaN in a test that is about NaN, or about a fit that ends early."""
    # Not `jax.debug_nans`, which holds in one thread alone.
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
def as_in_a_notebook(as_user):
    """Let jax.numpy add axes, as it does for students, and keep no verdict."""
    from helpers import exercises  # only after jaxtyping's checks are in place

    jax.config.update("jax_numpy_rank_promotion", "allow")
    yield
    jax.config.update("jax_numpy_rank_promotion", "raise")
    exercises._states.clear()


@pytest.fixture
def no_leaks():
    """Refuse a traced value that outlives its function."""
    with jax.checking_leaks():
        yield


@pytest.fixture
def refused(as_user):
    """Expect a ValueError that names the argument, what came and what was expected."""

    def expect(argument, came, expected):
        name, came, expected = map(re.escape, (argument, came, expected))
        return pytest.raises(ValueError, match=f"(?s)^{name}: .*{came}.*{expected}")

    return expect
