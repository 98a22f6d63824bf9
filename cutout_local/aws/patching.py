"""How MiniStack is changed: a function replaced by another, for a reason, until upstream has it."""

import importlib
from collections.abc import Callable
from typing import Any

_replacements: list[tuple[str, str, str, Callable[[Any], Any]]] = []


def replaces(module: str, name: str, patch: str) -> Callable[..., Callable[[Any], Any]]:
    """Mark what makes a replacement from the original function `name` of a `ministack.` module.

    `patch` names the difference from AWS that it mends; `tests/local_aws/test_patches.py` shows
    for each that MiniStack still needs it.
    """

    def register(make: Callable[[Any], Any]) -> Callable[[Any], Any]:
        _replacements.append((patch, f"ministack.{module}", name, make))
        return make

    return register


def replace_all(without: str | None) -> None:
    """Replace all functions, but for those of one patch."""
    for patch, module_name, name, make in _replacements:
        if patch != without:
            module = importlib.import_module(module_name)
            setattr(module, name, make(getattr(module, name)))
