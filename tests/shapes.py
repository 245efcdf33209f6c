"""Checks arrays against the shapes in the annotations of softshare_jax.sharing."""

import typing
from collections.abc import Callable
from typing import Any

import beartype
import jaxtyping


def install() -> None:
    """Checks all functions of the package from now on. Call it before the package is imported."""
    jaxtyping.install_import_hook("softshare_jax.sharing", f"{__name__}.{check.__name__}")


def check(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a function that checks its arrays.

    Other arguments are not checked, because tests pass wrong ones to read the error.
    """
    annotations = function.__annotations__
    function.__annotations__ = {name: hint for name, hint in annotations.items() if _has_shape(hint)}
    return beartype.beartype(function)


def _has_shape(hint: Any) -> bool:
    if isinstance(hint, type) and issubclass(hint, jaxtyping.AbstractArray):
        return True
    return any(map(_has_shape, typing.get_args(hint)))
