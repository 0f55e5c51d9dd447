"""The README, the requirements and Binder's folder agree, and name only what exists.

tests/thorough/test_install.py installs the package and lets Binder's tool read ours.
"""

import ast
import json
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import helpers

ROOT = Path(__file__).resolve().parents[1]
SITE = "helpers/site/requirements.txt"
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def pins(text):
    """Return by name the set of versions of all `name==version` in a text."""
    found = {}
    for name, version in re.findall(r"\b([\w.-]+)==([\w.]+)", text):
        found.setdefault(name.lower().replace("_", "-"), set()).add(version)
    return found


def read(name):
    return (ROOT / name).read_text("utf-8")


def test_helpers_is_this_checkout():
    assert Path(helpers.__file__).resolve().parents[1] == ROOT


def requirements(name):
    """Return the lines of a file of requirements, without its comments."""
    return [line for line in read(name).splitlines() if line and line[0] != "#"]


def test_requirements_are_exact_and_end_with_this_package():
    lines = requirements("requirements.txt")
    assert lines[0] == "-c binder/constraints.txt"
    assert lines[-1] == "-e ."
    assert all(re.fullmatch(r"[\w-]+==[\d.]+", line) for line in lines[1:-1])


def test_requirements_of_the_site_are_exact_and_under_the_same_lock():
    lock, *lines = requirements(SITE)
    assert lock == "-c ../../binder/constraints.txt"  # seen from the file's own folder
    assert all(re.fullmatch(r"[\w-]+==[\d.]+", line) for line in lines)


@pytest.mark.parametrize(
    "name",
    [
        "binder/requirements.txt",
        "binder/constraints.txt",
        ".pre-commit-config.yaml",
        "README.md",
    ],
)
def test_pins_agree(name):
    root, other = pins(read("requirements.txt")), pins(read(name))
    shared = root.keys() & other.keys()
    assert shared
    assert {n: other[n] for n in shared} == {n: root[n] for n in shared}


def test_lock_holds_every_requirement_and_no_address():
    lock = read("binder/constraints.txt")
    assert pins(read("requirements.txt")).keys() <= pins(lock).keys()
    assert pins(read(SITE)).items() <= pins(lock).items()
    assert not re.search(r"://|^-|@", lock, re.MULTILINE)


def test_binder_has_what_helpers_import():
    installed = {n.replace("-", "_") for n in pins(read("binder/requirements.txt"))}
    installed |= {"PIL", "sklearn", "helpers"} | sys.stdlib_module_names
    installed |= {"IPython", "ipywidgets", "platformdirs", "traitlets"}  # Binder's own
    imported = set()
    for module in (ROOT / "helpers").rglob("*.py"):
        if module.is_relative_to(ROOT / "helpers/site"):
            continue  # Binder does not build the site
        for node in ast.walk(ast.parse(module.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                imported.add(node.module.split(".")[0])
    assert imported
    assert imported <= installed


def test_binder_settings_are_known_to_jupyterlab():
    schemas = Path(sys.prefix, "share/jupyter/lab/schemas")
    for plugin, settings in json.loads(read("binder/overrides.json")).items():
        path = schemas / (plugin.replace(":", "/") + ".json")
        schema = json.loads(path.read_text("utf-8"))
        assert settings.keys() <= schema["properties"].keys()


@pytest.mark.skipif(sys.platform == "win32", reason="Binder's scripts need bash")
def test_binder_start_runs_its_command_on_one_thread():
    command = [ROOT / "binder/start", "sh", "-c", "echo $NPROC $OMP_NUM_THREADS"]
    assert subprocess.check_output(command, text=True) == "1 1\n"


def test_readme_has_the_links_that_the_script_writes():
    with_links = runpy.run_path(str(ROOT / ".ci/links"))["with_links"]
    assert with_links(read("README.md")) == read("README.md")


def test_readme_links_lead_to_every_notebook():
    readme = read("README.md")
    linked = dict(re.findall(r"^\[(.*)\]: .*urlpath=lab/tree/(\S+)$", readme, re.M))
    assert [ROOT / path for path in linked.values()] == NOTEBOOKS
    for path in NOTEBOOKS:
        row = f"notebooks/{path.name})"
        assert row in readme
    for name in linked:
        assert f"[Binder][{name}]" in readme


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_relative_links_resolve(name):
    links = re.findall(r"\]\((?!https?:)([^)#]+)", read(name))
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.parametrize(
    ("script", "pattern"),
    [
        (".github/workflows/test.yml", "^python3 .*pytest$"),
        (".github/workflows/test.yml", "^py .*pytest --nbval-lax$"),
        (".ci/run", "^python3 .*pytest$"),
        (".ci/run", "^.venv.*pytest --thorough tests/thorough$"),
        (".ci/run", "^python3 .*helpers.site site$"),
        (".ci/run", "^.venv.*pytest --browser tests/browser$"),
        (".github/workflows/page.yml", "^python3 .*helpers.site site$"),
    ],
)
def test_a_script_finds_its_line_of_the_readme(script, pattern):
    assert f"'{pattern}'" in read(script)
    assert len(re.findall(pattern, read("README.md"), re.MULTILINE)) == 1
