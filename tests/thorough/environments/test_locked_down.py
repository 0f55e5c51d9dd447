"""Each notebook where next to nothing is allowed, each cell run twice.

All conditions hold in one kernel, and a last cell in it proves each; a notebook that
one of them breaks fails in all. The kernel's user is nobody, without a privilege, in a
network namespace without a link. That takes Linux, where users may make namespaces.
"""

import subprocess

import pytest
from kernels import NOTEBOOKS, copied, run

pytestmark = pytest.mark.environment

CONDITIONS = {
    # In holds the source of each cell that ran, after the empty In[0]
    "each cell twice": "len(In) > 40 and In[2:-1:2] == In[3:-1:2]",
    "a space and an umlaut": "'/Ü 1' in os.getcwd() and '/Ü 1' in helpers.__file__",
    "read-only files": "not any(os.access(p, os.W_OK) for p in Path('..').rglob('*'))",
    "no network": "socket.socket().connect_ex(('127.0.0.1', 9)) == errno.ENETUNREACH",
    "no home": "not any(os.access(p, os.W_OK) for p in [home, home.parent])",
    "a German locale": "locale.localeconv()['decimal_point'] == ','",
    "one thread": "jax_threads == 1 and blas_threads == {1}",
}
NOBODY = ["unshare", "--net", "--map-user=65534", "--map-group=65534"]
# Python sets a part of the locale alone, unless asked. And matplotlib says that it has
# no home to write to, which must not come in a cell of the notebook.
FIRST = 'import locale, matplotlib; locale.setlocale(locale.LC_ALL, "")'


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = copied(tmp_path_factory.mktemp("Ü 1"))
    inside = [folder, *folder.rglob("*")]
    for path in inside:
        path.chmod(0o555 if path.is_dir() else 0o444)
    yield folder
    for path in inside:
        path.chmod(0o755)


@pytest.fixture(scope="module")
def german(tmp_path_factory):
    """Make the locale, which a machine need not have."""
    folder = tmp_path_factory.mktemp("locales")
    name = folder / "de_DE.UTF-8"
    subprocess.run(["localedef", "-i", "de_DE", "-f", "UTF-8", name], check=True)
    return {"LC_ALL": name.name, "LOCPATH": str(folder)}


@pytest.fixture(scope="module", params=NOTEBOOKS, ids=lambda path: path.stem)
def ran(request, folder, german):
    return run(
        request.param,
        folder,
        CONDITIONS,
        env={"HOME": f"{folder}/home", "NPROC": "1", "OMP_NUM_THREADS": "1", **german},
        command=NOBODY,
        first=FIRST,
        twice=True,
    )


@pytest.mark.parametrize("condition", CONDITIONS)
def test_notebook_prints_what_is_stored_with(condition, ran):
    assert ran.holds[condition]
    assert ran.printed == ran.stored
