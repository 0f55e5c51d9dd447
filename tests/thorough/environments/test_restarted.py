"""Each notebook restarted half-way and run from the top, without UTF-8, on 8 threads.

The folder's name is ASCII: with another and without UTF-8, JAX itself stops with
`std::bad_cast` when it notes which line of which file it compiles.
"""

import pytest
from kernels import NOTEBOOKS, copied, run

pytestmark = pytest.mark.environment

CONDITIONS = {
    "a restart half-way": "'before_restart' not in globals()",
    "a C locale without UTF-8": "locale.getpreferredencoding() == 'ANSI_X3.4-1968'",
    "many threads": "jax_threads == 8",
}
C_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.fixture(scope="module", params=NOTEBOOKS, ids=lambda path: path.stem)
def ran(request, tmp_path_factory):
    return run(
        request.param,
        copied(tmp_path_factory.mktemp("companion")),
        CONDITIONS,
        env={"NPROC": "8", "OMP_NUM_THREADS": "8", **C_LOCALE},
        first="before_restart = True",
        restart=True,
    )


@pytest.mark.parametrize("condition", CONDITIONS)
def test_notebook_prints_what_is_stored_with(condition, ran):
    assert ran.holds[condition]
    assert ran.printed == ran.stored
