"""What every test runs under."""

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

import jax
import jaxtyping
import pytest

# Identities are checked to the last digits of a double.
jax.config.update("jax_enable_x64", True)
# A missing axis must be an error, not a silently wrong sum.
jax.config.update("jax_numpy_rank_promotion", "raise")


BROWSER = Path(__file__).parent / "browser"
ENVIRONMENTS = Path(__file__).parent / "environments"


def pytest_addoption(parser):
    parser.addoption("--browser", action="store_true", help="run tests/browser too")
    parser.addoption(
        "--environments", action="store_true", help="run tests/environments too"
    )
    parser.addoption(
        "--screenshots",
        default=BROWSER / "screenshots",
        help="folder for the pictures that tests/browser takes",
    )


def pytest_ignore_collect(collection_path, config):
    folders = {collection_path, *collection_path.parents}
    asked_for = {
        BROWSER: config.getoption("--browser"),
        ENVIRONMENTS: config.getoption("--environments"),
    }
    # None leaves it to pytest
    return True if any(f in folders and not asked_for[f] for f in asked_for) else None


def pytest_terminal_summary(terminalreporter, config):
    asked_for = (Path(arg.split("::")[0]).resolve() for arg in config.args)
    in_scope = any(BROWSER.is_relative_to(path) for path in asked_for)
    if in_scope and not config.getoption("--browser"):
        terminalreporter.write_line(
            "left out: tests/browser, which need Chromium; --browser runs them"
        )


@pytest.fixture(autouse=True, scope="module")
def give_back_compiled_programs():
    """Or a worker would come to hold some thousands, of more than a MB each."""
    yield
    jax.clear_caches()


@pytest.fixture
def as_user():
    """Run without the checks of shapes and types that only the tests switch on."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture
def refused(as_user):
    """Expect a ValueError that names the argument, what came and what was wanted."""

    def expect(argument, came, wanted):
        name, came, wanted = map(re.escape, (argument, came, wanted))
        return pytest.raises(ValueError, match=f"(?s)^{name}: .*{came}.*{wanted}")

    return expect
