"""What a catalog is that the user hands over: read, checked, and compared with what this version has."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from copy import deepcopy
from typing import Any, Final

from singer_sdk.singerlib import Catalog

from linq_client import InvalidRequestError
from tap_linq.cli import read_json_object

__all__ = ["prepared", "read_catalog", "warn_of_stale"]

#: What a warning names of that which a catalog lacks.
MAX_NAMED_COLUMNS: Final = 10

log = logging.getLogger(__name__)


def read_catalog(content: bytes) -> dict[str, Any]:
    """Return the catalog in a file.

    Raises:
        InvalidRequestError: there is none. Without a list of streams, nothing would be selected, and nothing read.
    """
    document = read_json_object("--catalog", content)
    if not isinstance(document.get("streams"), list):
        raise InvalidRequestError("--catalog: must be a Singer catalog, which has a list of streams")
    try:
        Catalog.from_dict(deepcopy(document))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InvalidRequestError(f"--catalog: must be a Singer catalog, got one without sense: {error!r}") from None
    return document


def prepared(catalog: object) -> Any:
    """Return a catalog as the SDK can use it.

    In it, `replication-method`, as users write it, has the name that the SDK reads, and keys are selected, whatever
    the user says: SCHEMA names them, so a loader can't do without.

    Raises:
        InvalidRequestError: a stream has another name than it is found by, or its schema lacks a key.
    """
    streams = catalog.get("streams") if isinstance(catalog, dict) else None
    for stream in streams if isinstance(streams, list) else ():
        _check_stream(stream)
        metadata = {tuple(one.get("breadcrumb", ())): one.get("metadata", {}) for one in stream.get("metadata", ())}
        if "replication-method" in metadata.get((), {}):
            metadata[()]["forced-replication-method"] = metadata[()]["replication-method"]
        for key in stream.get("key_properties") or ():
            metadata.setdefault(("properties", key), {})["inclusion"] = "automatic"
        stream["metadata"] = [{"breadcrumb": list(path), "metadata": one} for path, one in metadata.items()]
    return catalog


def _check_stream(stream: dict[str, Any]) -> None:
    name = stream["tap_stream_id"]
    if stream.get("stream") not in (None, name):
        raise InvalidRequestError(
            f"catalog: stream of tap_stream_id {name} must be {name}, got {stream['stream']!r}; __alias__ in the "
            "setting stream_maps gives it another name"
        )
    properties = stream.get("schema", {}).get("properties") or {}
    lacks = [key for key in stream.get("key_properties") or () if key not in properties]
    if lacks or not properties:
        missing = f"its key {', '.join(map(str, lacks))}" if lacks else "properties"
        raise InvalidRequestError(f"catalog: schema of {name} must have {missing}; have it made again")


def warn_of_stale(lacks: Sequence[str]) -> None:
    """Log in one line which streams and columns the catalog does not have, if there are any."""
    if not lacks:
        return
    more = len(lacks) - MAX_NAMED_COLUMNS
    log.warning(
        "the catalog lacks what this version has, so that does not come out: %s%s; have it made again "
        "(--refresh-catalog in Meltano)",
        ", ".join(lacks[:MAX_NAMED_COLUMNS]),
        f" and {more} more" if more > 0 else "",
    )
