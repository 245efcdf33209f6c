"""Every public function documents its arguments, result and errors."""

import importlib
import inspect
import pkgutil
import re

import pytest

import softshare_jax
from softshare_jax import sharing

MODULES = [m.name for m in pkgutil.walk_packages(softshare_jax.__path__, "softshare_jax.")]


def functions():
    for name in MODULES:
        module = importlib.import_module(name)
        for _, value in inspect.getmembers(module, inspect.isfunction):
            if value.__module__ == name and not value.__name__.startswith("_"):
                yield value


@pytest.mark.parametrize("function", list(functions()), ids=lambda f: f"{f.__module__}.{f.__name__}")
def test_public_functions(function):
    doc = inspect.getdoc(function)
    assert doc, "no docstring"
    source = inspect.getsource(function)
    if re.search(r"^    +raise [A-Z]\w+Error\(", source, re.MULTILINE):
        assert "Raises:" in doc, "it raises and does not say so"


@pytest.mark.parametrize("name", sharing.__all__)
def test_the_public_core(name):
    value = getattr(sharing, name)
    if inspect.isfunction(value) or inspect.isclass(value):
        assert len(inspect.getdoc(value) or "") > 40
    if inspect.isfunction(value) and len(inspect.signature(value).parameters) > 2:
        assert "Args:" in value.__doc__ or "[" in value.__doc__, "neither arguments nor shapes"
