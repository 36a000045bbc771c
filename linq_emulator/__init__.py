"""A stateful emulator of the Linq Partner API v3, in memory, on loopback.

Clients of the API import nothing of this package; they reach it over HTTP. Public are the command line
(``linq-emulator`` or ``python -m linq_emulator``), the control API, `linq_emulator.testing` and the fixtures of
`linq_emulator.pytest_plugin` for tests; every other module may change. ``docs/reference/emulator.md`` says how to use
it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__: str

if not TYPE_CHECKING:  # or every name that is misspelled would pass for one of this package

    def __getattr__(name: str) -> Any:
        if name == "__version__":  # when it is asked for: the look-up reads files
            from importlib.metadata import version

            globals()[name] = version("linq-connectors")  # from now on it is found without this function
            return globals()[name]
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
