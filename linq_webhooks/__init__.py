"""The receiving side of webhooks: a server that stores what the platform delivers, and the archive that it fills.

`archive` is what others read and write: `StoredEvent`, `Archive` and `open_archive`. `sinks` has one module a place
where an archive can be, `app` the receiver, `cli` its command. `subscriptions` sees to it that the platform
delivers. The signatures are `linq_client.webhooks`' business.
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
