"""The package installed into a fresh environment, and Binder's image as it is built."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from kernels import ROOT

# In the fresh environment: everything can be imported, and the data is found.
IMPORT_ALL = """
import importlib
import pkgutil
import helpers

for module in pkgutil.walk_packages(helpers.__path__, "helpers."):
    importlib.import_module(module.name)
assert len(helpers.data.old_faithful()) == 272
print(*helpers.__path__)
"""


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """Install the package as a copy; return the environment's Python and packages."""
    folder = tmp_path_factory.mktemp("fresh")
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "helpers", folder / "source/helpers", ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / "source")
    venv = [sys.executable, "-m", "venv", "--without-pip", folder / "venv"]
    subprocess.run(venv, check=True)
    python = (
        folder / "venv" / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    )
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--no-deps"]
    subprocess.run([*pip, folder / "source"], check=True, capture_output=True)
    base = {"base": folder / "venv", "platbase": folder / "venv"}
    return python, Path(sysconfig.get_path("purelib", vars=base))


def files(folder):
    """Return the paths inside a folder, except for what Python caches."""
    paths = [p.relative_to(folder) for p in folder.rglob("*") if p.is_file()]
    return {path for path in paths if "__pycache__" not in path.parts}


def test_every_file_of_the_package_is_installed(fresh):
    _, packages = fresh
    expected = files(ROOT / "helpers")
    assert files(packages / "helpers") == expected
    assert {path.suffix for path in expected} >= {".py", ".csv"}


def test_what_is_installed_can_be_imported(fresh, tmp_path):
    python, packages = fresh
    # What it depends on comes from here. This package does not: it is installed here by
    # a .pth file, which Python reads in its own folder of packages alone.
    env = os.environ | {"PYTHONPATH": sysconfig.get_path("purelib")}
    run = [python, "-c", IMPORT_ALL]
    printed = subprocess.check_output(run, text=True, env=env, cwd=tmp_path)
    assert printed.split() == [str(packages / "helpers")]


@pytest.fixture(scope="module")
def dockerfile():
    # repo2docker refuses to build as root, so a user is named.
    command = ["repo2docker", "--user-id=1000", "--user-name=jovyan"]
    command += ["--no-build", "--debug", str(ROOT)]
    run = subprocess.run(
        [sys.executable, "-m", *command], capture_output=True, text=True, check=True
    )
    assert "Building conda environment for python=3.11" in run.stderr
    return run.stdout


@pytest.mark.parametrize(
    "step",
    [
        # the Python buildpack at the stated version: environment.py-3.11, escaped
        "environment-2epy-2d3-2e11",
        'pip install --no-cache-dir -r "binder/requirements.txt"',
        "RUN ./binder/postBuild",
        'ENV R2D_ENTRYPOINT="${REPO_DIR}/binder/start"',
    ],
)
def test_binder_builds_with(dockerfile, step):
    assert step in dockerfile


def test_binder_installs_before_it_copies_the_tree(dockerfile):
    # Then the layer with the packages is kept from one commit to the next.
    copied = dockerfile.index("COPY --chown=1000:1000 src/ ${REPO_DIR}/")
    assert dockerfile.index('-r "binder/requirements.txt"') < copied


@pytest.mark.parametrize("step", ["RUN ./binder/postBuild", "CMD ["])
def test_binder_does_not_run_our_scripts_as_root(dockerfile, step):
    users = re.findall(r"^USER (\S+)", dockerfile[: dockerfile.index(step)], re.M)
    assert users[-1] == "${NB_USER}"
    for name in ("binder/postBuild", "binder/start"):
        assert "sudo" not in (ROOT / name).read_text("utf-8")
