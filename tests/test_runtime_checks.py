"""The checks under which the tests run are on: a test here fails if one is off."""

import importlib
import inspect
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import jaxtyping
import pytest

MODULES = ["gaussian", "mixture", "network", "quadrature", "decoder", "bounds"]
MODULES += ["em", "estimators", "vae", "evaluate", "data", "plotting", "exercises"]


def public_functions():
    for name in MODULES:
        module = importlib.import_module(f"helpers.{name}")
        for public in module.__all__:
            function = getattr(module, public)
            if inspect.isfunction(function) and takes_what_is_declared(function):
                yield pytest.param(function, id=f"{name}.{public}")


def takes_what_is_declared(function):
    kinds = [p.annotation for p in inspect.signature(function).parameters.values()]
    return any(kind not in (inspect.Parameter.empty, Any) for kind in kinds)


@pytest.mark.bad_input
@pytest.mark.parametrize("function", list(public_functions()))
def test_declared_shapes_and_types_are_checked(function):
    parameters = inspect.signature(function).parameters.values()
    named = {p.name: object() for p in parameters if p.kind != p.VAR_KEYWORD}
    # those that check their arguments themselves are ahead of the types
    with pytest.raises((jaxtyping.TypeCheckError, ValueError)):
        function(**named)


def test_a_missing_axis_is_an_error():
    with pytest.raises(ValueError, match="rank_promotion"):
        jnp.ones(3) + jnp.ones((2, 3))


def test_a_warning_is_an_error():
    with pytest.raises(UserWarning, match="of anything"):
        warnings.warn("of anything", stacklevel=1)


def test_a_nan_is_an_error():
    with pytest.raises(FloatingPointError, match="nan"):
        jnp.log(jnp.array(-1.0))


def test_a_nan_that_is_meant_is_none(nan_is_meant):
    assert jnp.isnan(jnp.log(jnp.array(-1.0)))


def test_a_tracer_that_leaks_is_an_error(no_leaks):
    kept = []
    with pytest.raises(Exception, match="Leaked"):
        jax.jit(lambda x: kept.append(x) or x)(1.0)
