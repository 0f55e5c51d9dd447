"""What CONTRIBUTING.md promises: a notebook that runs again leaves no diff."""

import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from kernels import PATHS, ROOT


def without_pictures(text):
    return re.sub(r'"image/png": ".*"', '"image/png": ""', text)


def test_another_run_changes_only_the_pictures_in_the_file(tmp_path, pytestconfig):
    """For the shortest notebook. What the others print is compared by nbval."""
    if pytestconfig.getoption("--nbval-lax"):
        pytest.skip("--nbval-lax: printed numbers are not compared")
    path = PATHS[0]
    again = shutil.copy(path, tmp_path)
    execute = [sys.executable, "-m", "jupyter", "execute", "--inplace", again]
    subprocess.run(execute, check=True, capture_output=True)
    normalise = runpy.run_path(str(ROOT / ".ci/normalise"))["normalise"]
    found = normalise(Path(again).read_text("utf-8"))
    assert without_pictures(found) == without_pictures(path.read_text("utf-8"))
