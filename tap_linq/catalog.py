"""What a catalog is that the user hands over: read, checked, and compared with what this version has."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from copy import deepcopy
from typing import Any, Final

from singer_sdk.singerlib import Catalog

from linq_client import InvalidRequestError
from tap_linq.cli import read_json_object

__all__ = ["read_catalog", "warn_of_stale", "with_known_names"]

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


def with_known_names(catalog: object) -> Any:
    """Return a catalog in which `replication-method`, as users write it, has the name that the SDK reads."""
    streams = catalog.get("streams") if isinstance(catalog, dict) else None
    for stream in streams if isinstance(streams, list) else ():
        for one in stream.get("metadata", ()):
            metadata = one.get("metadata", {})
            if not one.get("breadcrumb") and "replication-method" in metadata:
                metadata["forced-replication-method"] = metadata["replication-method"]
    return catalog


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
