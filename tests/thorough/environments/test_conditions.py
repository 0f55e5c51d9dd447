"""Where a condition is absent, its check says so."""

import nbformat
import test_locked_down
import test_restarted
from kernels import copied, run
from nbformat import v4


def test_conditions_are_seen_to_be_absent(tmp_path):
    cells = [v4.new_code_cell("import jax; jax.numpy.ones(9).sum().item()")]
    nbformat.write(v4.new_notebook(cells=cells), tmp_path / "one.ipynb")
    ran = run(
        tmp_path / "one.ipynb",
        copied(tmp_path / "companion"),
        test_locked_down.CONDITIONS | test_restarted.CONDITIONS,
        env={"LC_ALL": "C.UTF-8", "NPROC": "2", "OMP_NUM_THREADS": "2"},
        first="before_restart = True",
    )
    assert [name for name, holds in ran.holds.items() if holds] == []
