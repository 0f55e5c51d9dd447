"""What every test runs under."""

import os
import re

# Before anything imports matplotlib: no test opens a window.
os.environ["MPLBACKEND"] = "Agg"

import jax
import jaxtyping
import pytest

# Identities are checked to the last digits of a double.
jax.config.update("jax_enable_x64", True)
# A missing axis must be an error, not a silently wrong sum.
jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture
def as_user():
    """Run without the checks of shapes and types that only the tests switch on."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture
def refused(as_user):
    """Expect a ValueError that names the argument, what came and what was wanted."""

    def expect(argument, came, wanted):
        name, came, wanted = map(re.escape, (argument, came, wanted))
        return pytest.raises(ValueError, match=f"(?s)^{name}: .*{came}.*{wanted}")

    return expect
