"""Each notebook with other streams of random numbers, and with every NaN an error.

A claim must not depend on which random numbers were drawn. With another generator, or
with JAX's older way to draw an array, the samples differ, and each assertion must hold
all the same; what is printed need not be what is stored. And no cell may make a NaN on
the way to a right number.
"""

import pytest
from kernels import (
    class_of_each_notebook,
    code_cells,
    copied,
    execute,
    fresh,
    holds,
    proof_of,
)

pytestmark = pytest.mark.environment

# By name: the variable that JAX reads, its value, and what then holds in the kernel.
ENVIRONMENTS = {
    "another generator": (
        "JAX_DEFAULT_PRNG_IMPL",
        "rbg",
        "jax.config.jax_default_prng_impl == 'rbg'",
    ),
    "arrays drawn in the older way": (
        "JAX_THREEFRY_PARTITIONABLE",
        "0",
        "not jax.config.jax_threefry_partitionable",
    ),
    "every NaN an error": (
        "JAX_DEBUG_NANS",
        "1",
        "jax.config.jax_debug_nans",
    ),
}
CONDITIONS = {name: condition for name, (*_, condition) in ENVIRONMENTS.items()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return copied(tmp_path_factory.mktemp("companion"))


def fails(cell):
    """Return the errors that a cell ended with, each with the cell's source."""
    errors = [output for output in cell.outputs if output.output_type == "error"]
    return [(cell.source, error.ename, error.evalue) for error in errors]


class OfANotebook:
    @pytest.mark.parametrize("name", ENVIRONMENTS)
    def test_no_cell_fails_with(self, name, folder):
        variable, value, _ = ENVIRONMENTS[name]
        cells = [fresh(cell) for cell in code_cells(self.path)]
        for cell in cells:
            # An error is reported below, with those of the later cells.
            tags = cell.metadata.get("tags", [])
            cell.metadata["tags"] = [*tags, "raises-exception"]
        proof = proof_of(CONDITIONS)
        execute([*cells, proof], folder, env={variable: value})
        assert [error for cell in cells for error in fails(cell)] == []
        assert holds(proof)[name]


globals().update(class_of_each_notebook(OfANotebook))
