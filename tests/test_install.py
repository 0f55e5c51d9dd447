"""The README, the requirements and Binder's folder agree and name what exists."""

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
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def pins(text):
    """Return the versions of all `name==version` in a text, a set for each name."""
    found = {}
    for name, version in re.findall(r"\b([\w.-]+)==([\w.]+)", text):
        found.setdefault(name.lower().replace("_", "-"), set()).add(version)
    return found


def read(name):
    return (ROOT / name).read_text("utf-8")


def test_helpers_is_this_checkout():
    assert Path(helpers.__file__).resolve().parents[1] == ROOT


def test_requirements_are_exact_and_end_with_this_package():
    lines = [n for n in read("requirements.txt").splitlines() if n and n[0] != "#"]
    assert lines[0] == "-c binder/constraints.txt"
    assert lines[-1] == "-e ."
    assert all(re.fullmatch(r"[\w-]+==[\d.]+", line) for line in lines[1:-1])


@pytest.mark.parametrize(
    "name",
    ["binder/requirements.txt", "binder/constraints.txt", ".pre-commit-config.yaml"],
)
def test_pins_agree(name):
    root, other = pins(read("requirements.txt")), pins(read(name))
    shared = root.keys() & other.keys()
    assert shared
    assert {n: other[n] for n in shared} == {n: root[n] for n in shared}


def test_lock_holds_every_requirement_and_no_address():
    lock = read("binder/constraints.txt")
    assert pins(read("requirements.txt")).keys() <= pins(lock).keys()
    assert not re.search(r"://|^-|@", lock, re.MULTILINE)


def test_binder_has_what_helpers_import():
    installed = {n.replace("-", "_") for n in pins(read("binder/requirements.txt"))}
    installed |= {"PIL", "sklearn", "helpers"} | sys.stdlib_module_names
    installed |= {"IPython", "ipywidgets", "platformdirs", "traitlets"}  # Binder's own
    imported = set()
    for module in (ROOT / "helpers").glob("*.py"):
        for node in ast.walk(ast.parse(module.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                imported.add(node.module.split(".")[0])
    assert imported
    assert imported <= installed


@pytest.fixture(scope="module")
def dockerfile():
    # A user is named because repo2docker refuses to build as root.
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
    # So that the layer with the packages is kept from one commit to the next.
    copied = dockerfile.index("COPY --chown=1000:1000 src/ ${REPO_DIR}/")
    assert dockerfile.index('-r "binder/requirements.txt"') < copied


@pytest.mark.parametrize("step", ["RUN ./binder/postBuild", "CMD ["])
def test_binder_runs_nothing_of_ours_as_root(dockerfile, step):
    users = re.findall(r"^USER (\S+)", dockerfile[: dockerfile.index(step)], re.M)
    assert users[-1] == "${NB_USER}"
    assert "sudo" not in read("binder/postBuild") + read("binder/start")


def test_binder_settings_are_known_to_jupyterlab():
    schemas = Path(sys.prefix, "share/jupyter/lab/schemas")
    for plugin, settings in json.loads(read("binder/overrides.json")).items():
        path = schemas / (plugin.replace(":", "/") + ".json")
        schema = json.loads(path.read_text("utf-8"))
        assert settings.keys() <= schema["properties"].keys()


@pytest.mark.skipif(sys.platform == "win32", reason="Binder's scripts are for bash")
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


def test_workflow_finds_the_readme_lines():
    readme, workflow = read("README.md"), read(".github/workflows/test.yml")
    for pattern in ("^python3 .*pytest$", "^py .*pytest --nbval-lax$"):
        assert f"'{pattern}'" in workflow
        assert len(re.findall(pattern, readme, re.M)) == 1
