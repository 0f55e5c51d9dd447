"""If a condition does not hold, its check reports that."""

import test_locked_down
import test_run_again
import test_streams
from kernels import copied, execute, holds, proof_of
from nbformat.v4 import new_code_cell


def test_conditions_are_seen_to_be_absent(tmp_path):
    proof = proof_of(
        test_locked_down.CONDITIONS
        | test_run_again.CONDITIONS
        | test_streams.CONDITIONS
    )
    cells = [
        new_code_cell("before_restart = True"),
        new_code_cell("import jax; jax.numpy.ones(9).sum().item()"),
        proof,
    ]
    env = {"LC_ALL": "C.UTF-8", "NPROC": "2", "OMP_NUM_THREADS": "2"}
    execute(cells, copied(tmp_path / "companion"), env=env)
    assert [name for name, found in holds(proof).items() if found] == []
