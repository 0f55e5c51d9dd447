"""Programs that one kernel compiled and the next ones find."""

import os
import subprocess
import sys

import pytest

# A kernel as a reader starts it, without the settings of these tests.
OURS = ("COVERAGE", "COURSE_", "JAX_", "MPLBACKEND", "XLA_")


def without_settings(**environment):
    """Return this process's environment without what the tests have set in it."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(OURS)}
    return kept | {k: str(v) for k, v in environment.items()}


# A kernel in small: prints how many programs were compiled, and a result of theirs.
KERNEL = """
import collections
import sys
from pathlib import Path

import jax
import platformdirs

platformdirs.user_cache_path = lambda *_, **__: Path(sys.argv[1])
from helpers import course

counts = collections.Counter()
jax.monitoring.register_event_listener(lambda event, **_: counts.update([event]))
course.start()
{between}
x = jax.numpy.linspace(0.0, 1.0, 100)
result = jax.numpy.sin(x) @ jax.numpy.cos(x)
asked = counts["/jax/compilation_cache/compile_requests_use_cache"]
found = counts["/jax/compilation_cache/cache_hits"]
print(asked, found, float(result).hex())
"""


def kernel(home, between=""):
    """Start a kernel in which `between` runs after the first cell."""
    return subprocess.Popen(
        [sys.executable, "-c", KERNEL.format(between=between), home],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=without_settings(),
    )


def ended(process):
    """Return how many programs it asked the cache for and found, and its result."""
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert errors == ""  # no warning, whatever happens to the folder
    asked, found, result = output.split()
    return int(asked), int(found), result


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A folder that a first kernel has filled, and what that kernel printed."""
    home = tmp_path_factory.mktemp("first") / "cache"
    return home, ended(kernel(home))


def test_a_second_kernel_compiles_nothing(first):
    home, (asked, found, result) = first
    assert asked > 3
    assert found == 0
    assert ended(kernel(home)) == (asked, asked, result)


def test_kernels_that_start_at_once_do_not_disturb_each_other(tmp_path, first):
    _, (_, _, result) = first
    both = [kernel(tmp_path / "cache") for _ in range(2)]
    assert [ended(process)[2] for process in both] == [result, result]


@pytest.mark.parametrize("kept", [0, 100], ids=["empty", "cut off"])
def test_half_written_programs_are_compiled_again_silently(tmp_path, first, kept):
    """A kernel that is ended while it writes leaves such programs, or a full disk."""
    home, (asked, _, result) = first
    folder = next(home.iterdir())
    (tmp_path / folder.name).mkdir()
    for path in folder.iterdir():
        (tmp_path / folder.name / path.name).write_bytes(path.read_bytes()[:kept])
    assert ended(kernel(tmp_path)) == (asked, 0, result)


def test_a_folder_removed_meanwhile_causes_no_message(tmp_path, first):
    _, (asked, _, result) = first
    between = "import shutil; shutil.rmtree(sys.argv[1])"
    assert ended(kernel(tmp_path / "cache", between)) == (asked, 0, result)
