"""Each notebook where almost nothing is allowed, with each cell executed twice.

All conditions hold in one kernel, and a last cell in it proves each of them; a notebook
that one condition breaks fails in all. The kernel's user is nobody, without privileges,
in a network namespace without a link. This needs Linux, where users may make
namespaces.
"""

import subprocess

import kernels
import pytest
from nbformat.v4 import new_code_cell

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
# Python sets only a part of the locale unless it is asked. And matplotlib says that it
# has no home to write to, which would otherwise be printed by a cell of the notebook.
FIRST = 'import locale, matplotlib; locale.setlocale(locale.LC_ALL, "")'


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = kernels.copied(tmp_path_factory.mktemp("Ü 1"))
    inside = [folder, *folder.rglob("*")]
    for path in inside:
        path.chmod(0o555 if path.is_dir() else 0o444)
    yield folder
    for path in inside:
        path.chmod(0o755)


@pytest.fixture(scope="module")
def german(tmp_path_factory):
    """Build the locale, because a machine may not have it."""
    folder = tmp_path_factory.mktemp("locales")
    name = folder / "de_DE.UTF-8"
    subprocess.run(["localedef", "-i", "de_DE", "-f", "UTF-8", name], check=True)
    return {"LC_ALL": name.name, "LOCPATH": str(folder)}


@pytest.fixture(scope="class")
def ran(request, folder, german):
    """Execute a notebook; return the stored cells, those that ran, and the proof."""
    stored = [cell for cell in kernels.code_cells(request.cls.path) for _ in range(2)]
    cells = [kernels.fresh(cell) for cell in stored]
    proof = kernels.proof_of(CONDITIONS)
    kernels.execute(
        [new_code_cell(FIRST), *cells, proof],
        folder,
        env={"HOME": f"{folder}/home", "NPROC": "1", "OMP_NUM_THREADS": "1", **german},
        command=NOBODY,
    )
    return stored, cells, proof


class OfANotebook:
    @pytest.mark.parametrize("condition", CONDITIONS)
    def test_it_prints_what_is_stored_with(self, condition, ran):
        stored, cells, proof = ran
        assert kernels.holds(proof)[condition]
        assert kernels.printed(cells) == kernels.printed(stored)


globals().update(kernels.class_of_each_notebook(OfANotebook))
