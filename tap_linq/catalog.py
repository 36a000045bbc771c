"""What a catalog is that the user hands over: checked, made ready for the SDK, and compared with what there is.

Tools and people write catalogs, and the SDK takes them as they are: of a value of another type it makes an error that
does not say where it stands, or worse none. To it, `"selected": "false"` is true.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError, best_match
from jsonschema.validators import extend
from singer_sdk.singerlib import Catalog, MetadataMapping

from linq_client import InvalidRequestError, closest_name

__all__ = ["MAX_SHOWN", "prepared", "warn_of_stale", "warn_of_unknown"]

#: What a warning names of that which a catalog lacks.
MAX_NAMED_COLUMNS: Final = 10

#: Characters of a value that an error shows.
MAX_SHOWN: Final = 100

log = logging.getLogger(__name__)

_TYPES: Final = ["array", "boolean", "integer", "null", "number", "object", "string"]
_TEXT: Final = {"type": ["string", "null"]}
_TEXTS: Final = {"type": ["array", "null"], "items": {"type": "string"}, "uniqueItems": True}
_FLAG: Final = {"type": ["boolean", "null"]}

#: The form of a JSON Schema, as far as the SDK and the conformer read it.
_SCHEMA: Final = {
    "type": "object",
    "properties": {
        "type": {
            "type": ["string", "array", "null"],
            "if": {"type": "string"},
            "then": {"enum": _TYPES},
            "else": {"items": {"enum": _TYPES}},
        },
        "properties": {"type": ["object", "null"], "additionalProperties": {"$ref": "#/$defs/schema"}},
        "items": {"$ref": "#/$defs/schema"},
        "required": _TEXTS,
        "format": _TEXT,
    },
}

_METADATA: Final = {
    "type": "object",
    "properties": {
        "inclusion": {"enum": ["available", "automatic", "unsupported", None]},
        "selected": _FLAG,
        "selected-by-default": _FLAG,
        "replication-key": _TEXT,
        "replication-method": _TEXT,
        "forced-replication-method": _TEXT,
        "table-key-properties": _TEXTS,
    },
}

#: The SDK's own catalogs have tuples where JSON has lists.
_Validator: Final = extend(
    Draft202012Validator,
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine("array", lambda _, value: isinstance(value, list | tuple)),
)

#: The form of a stream in a catalog. What is not here nobody reads, such as `valid-replication-keys`: it may have any.
_STREAM: Final = _Validator(
    {
        "$defs": {"schema": _SCHEMA},
        "type": "object",
        "properties": {
            "stream": _TEXT,
            "key_properties": _TEXTS,
            "replication_key": _TEXT,
            "replication_method": _TEXT,
            "schema": {"$ref": "#/$defs/schema"},
            "metadata": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["breadcrumb", "metadata"],
                    "properties": {"breadcrumb": {"type": "array", "items": {"type": "string"}}, "metadata": _METADATA},
                },
            },
        },
    }
)

#: What JSON's types are called in a sentence.
_IN_WORDS: Final = {
    "array": "a list",
    "boolean": "true or false",
    "null": "null",
    "object": "an object",
    "string": "text",
}


def prepared(catalog: object) -> Any:
    """Return a catalog as the SDK can use it; what is none, such as None or a path, as it is.

    In it, `replication-method`, as users write it, has the name that the SDK reads, and keys are selected, whatever
    the user says: SCHEMA names them, so a loader can't do without.

    A stream that is not selected is left out, with a warning, if there is something wrong with it.

    Raises:
        InvalidRequestError: it has no list of streams, so that nothing would be selected, and nothing read; or what it
            says of a stream can't be right. The message names stream, field, rule and value.
    """
    if isinstance(catalog, Catalog):
        catalog = catalog.to_dict()
    if not isinstance(catalog, Mapping):
        return catalog
    streams = catalog.get("streams")
    if not isinstance(streams, list):
        raise InvalidRequestError(
            f"catalog: must be a Singer catalog, which has a list of streams, got {_shown(streams)}"
        )
    names = Counter(_name_of(place, stream) for place, stream in enumerate(streams))
    twice = [name for name, count in names.items() if count > 1]
    if twice:
        raise InvalidRequestError(f"catalog: a stream must stand in it once, got {', '.join(twice)} more often")
    found = (_prepared_stream(name, stream) for name, stream in zip(names, streams, strict=True))
    return {**catalog, "streams": [stream for stream in found if stream is not None]}


def _name_of(place: int, stream: object) -> str:
    name = stream.get("tap_stream_id") if isinstance(stream, dict) else None
    if not isinstance(name, str) or not name:
        raise InvalidRequestError(
            f"catalog: streams[{place}] must be an object with a tap_stream_id, which is text, got {_shown(stream)}"
        )
    return name


def _prepared_stream(name: str, stream: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return a stream as the SDK can use it; None if it is not selected, and something is wrong with it."""
    is_deselected = False  # as long as nothing readable says so
    try:
        _check_form(name, {"metadata": stream.get("metadata", [])})
        metadata: dict[tuple[str, ...], dict[str, Any]] = {(): {}}
        for one in stream.get("metadata", ()):
            metadata.setdefault(tuple(one["breadcrumb"]), {}).update(one["metadata"])
        selection = MetadataMapping.from_iterable(_as_list(metadata)).resolve_selection()
        is_deselected = bool(metadata[()]) and not selection[()]
        _check_form(name, stream)
        _check_stream(name, stream)
    except InvalidRequestError as error:
        if not is_deselected:
            raise
        log.warning("%s; the stream is not selected, so it is passed over", error)
        return None
    if "replication-method" in metadata[()]:
        metadata[()]["forced-replication-method"] = metadata[()]["replication-method"]
    for key in stream.get("key_properties") or ():
        metadata.setdefault(("properties", key), {})["inclusion"] = "automatic"
    return {**stream, "metadata": _as_list(metadata)}


def _as_list(metadata: Mapping[tuple[str, ...], dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"breadcrumb": list(path), "metadata": one} for path, one in metadata.items()]


def _check_form(name: str, stream: Mapping[str, Any]) -> None:
    try:
        error = best_match(_STREAM.iter_errors(stream))
    except RecursionError:
        raise InvalidRequestError(f"catalog: schema of {name} must not have so many levels") from None
    if error is not None:
        place = error.json_path.removeprefix("$.")
        raise InvalidRequestError(f"catalog: {place} of {name} {_rule(error)}, got {_shown(error.instance)}")


def _rule(error: ValidationError) -> str:
    """Return the rule that a value breaks, in words."""
    wanted = error.validator_value
    if error.validator == "type":
        return f"must be {' or '.join(_IN_WORDS[one] for one in ([wanted] if isinstance(wanted, str) else wanted))}"
    if error.validator == "enum":
        return f"must be one of {', '.join('null' if one is None else one for one in wanted)}"
    if error.validator == "required":
        return f"must have {' and '.join(wanted)}"
    return "must name each once"


def _check_stream(name: str, stream: Mapping[str, Any]) -> None:
    if stream.get("stream") not in (None, name):
        raise InvalidRequestError(
            f"catalog: stream of tap_stream_id {name} must be {name}, got {stream['stream']!r}; __alias__ in the "
            "setting stream_maps gives it another name"
        )
    schema = stream.get("schema", {})
    properties = schema.get("properties") or {}
    for what, keys in (("its key", stream.get("key_properties")), ("what it requires:", schema.get("required"))):
        lacks = [key for key in keys or () if key not in properties]
        if lacks:
            raise InvalidRequestError(
                f"catalog: schema of {name} must have {what} {', '.join(lacks)}; have it made again"
            )
    if not properties:
        raise InvalidRequestError(f"catalog: schema of {name} must have properties; have it made again")


def _shown(value: object) -> str:
    """A value for a message, cut: it may be anything."""
    return repr(value)[:MAX_SHOWN]


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


def warn_of_unknown(catalog: Catalog, streams: Sequence[str]) -> None:
    """Log in one line which streams the catalog selects that there are not, if there are any."""
    unknown = [
        f"{name}, did you mean {near}?" if (near := closest_name(name, streams)) else name
        for name, entry in catalog.items()
        if name not in streams and entry.metadata.resolve_selection()[()]
    ]
    if unknown:
        log.warning(
            "the catalog selects streams that there are not with these settings, so they do not come out: %s",
            "; ".join(unknown[:MAX_NAMED_COLUMNS]),
        )
