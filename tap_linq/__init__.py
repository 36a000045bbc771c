"""tap-linq: a Singer tap for the Linq Partner API, where messages may expire at the source.

`tap` lists settings and streams, `streams` says what each stream's records are, `sdk` holds what leans on internals of
the Singer SDK, `extraction` is how nothing gets lost. The API itself is `linq_client`'s business.

Stable are the command `tap-linq`, the class `tap_linq.tap.TapLinq`, settings, streams and STATE. All else may change.
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
