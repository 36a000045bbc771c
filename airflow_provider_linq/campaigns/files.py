"""The three kinds of files that campaigns read and write."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any, Final, Literal, TypeAlias

from linq_client import InvalidRequestError

Kind: TypeAlias = Literal["csv", "jsonl", "parquet"]

_KINDS: Final[Mapping[str, Kind]] = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}


def kind_of(path: str, field: str) -> Kind:
    """
    Tell by its suffix what kind of file this is.

    :param field: that the path was given in.
    :raises InvalidRequestError: it is none that is known.
    """
    # What stands behind a question mark may be a signature, which no message may show.
    suffix = PurePosixPath(path.partition("?")[0]).suffix.lower()
    if suffix not in _KINDS:
        raise InvalidRequestError(f"{field}: must end in one of {', '.join(_KINDS)}, got {suffix!r}")
    return _KINDS[suffix]


def pyarrow(module: str) -> Any:
    """
    Import a module of PyArrow, which only Parquet needs.

    :raises InvalidRequestError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise InvalidRequestError("Parquet needs PyArrow: install linq-connectors[parquet]") from error
