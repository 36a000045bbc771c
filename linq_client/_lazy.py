"""Packages whose modules are imported when one of their names is first used.

To make a class of pydantic takes as long as to import a library, and what only reads decoded JSON, as the tap does,
needs none.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any


def load(package: str, modules: Sequence[str], name: str) -> Any:
    """Return a name of a package's `__all__` from the first of its modules that has it, for `__getattr__` (PEP 562).

    Safe in threads, since imports are, as long as the modules don't import each other in a circle.

    Args:
        modules: full names.

    Raises:
        AttributeError: `__all__` does not have the name.
    """
    public = vars(sys.modules[package])
    if name in public["__all__"]:
        for module in map(import_module, modules):
            if hasattr(module, name):
                public[name] = getattr(module, name)  # from now on it is found without this function
                return public[name]
    raise AttributeError(f"module {package!r} has no attribute {name!r}")
