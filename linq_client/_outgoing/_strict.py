"""Base of what callers build to be sent: strict about its fields, with one form of refusal."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from linq_client._checks import valid_handle, valid_https, valid_key, valid_link
from linq_client.errors import InvalidRequestError

HttpsURL: TypeAlias = Annotated[str, AfterValidator(valid_https)]
#: `http` too: what the recipient's device opens.
LinkURL: TypeAlias = Annotated[str, AfterValidator(valid_link)]
Handle: TypeAlias = Annotated[str, AfterValidator(valid_handle)]
IdempotencyKey: TypeAlias = Annotated[str, AfterValidator(valid_key)]

PART_TYPES: Final = ("text", "media", "link", "imessage_app", "app_clip")
#: Fields whose values a refusal may show: what is wrong in them is a word, not a text.
_SHOWN: Final = ("style", "animation", "preferred_service")


class StrictModel(BaseModel):
    """Base of what callers build: immutable, no unknown fields, and one kind of error however it is built."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    def __init__(self, **data: Any) -> None:
        try:
            super().__init__(**data)
        except ValidationError as error:
            raise refusal_of(error) from None


def refusal_of(error: ValidationError) -> InvalidRequestError:
    """Say what pydantic found in our form: `parts[0].value: rule, got value`."""
    lines = []
    for found in error.errors(include_url=False):
        inner = found.get("ctx", {}).get("error")
        path = _path(found["loc"])
        if isinstance(inner, InvalidRequestError):
            lines.append(f"{path}.{inner}" if path else str(inner))
        elif inner is not None:
            lines.append(f"{path}: {inner}" if path else str(inner))
        else:
            lines.append(f"{path}: {_rule(found)}, got {_shown(found['loc'], found['input'])}")
    return InvalidRequestError("; ".join(lines))


def _path(loc: tuple[int | str, ...]) -> str:
    path = ""
    for before, step in zip((None, *loc), loc, strict=False):
        if isinstance(step, int):
            path += f"[{step}]"
        elif isinstance(before, int) and step in PART_TYPES:  # the union's tag is no field
            continue
        else:
            name = step if re.fullmatch(r"[a-z_]{1,30}", step) else "(unknown field)"
            path += f".{name}" if path else name
    return path


def _rule(found: ErrorDetails) -> str:
    if found["type"].startswith("union_tag"):  # its own words would quote the value
        return f"type must be one of {', '.join(PART_TYPES)}"
    return found["msg"][:1].lower() + found["msg"][1:]


def _shown(loc: tuple[int | str, ...], value: object) -> str:
    """The value, where it can't be the text of a message in the wrong place; else its kind and length."""
    if value is None or isinstance(value, int | float) or (loc and loc[-1] in _SHOWN):
        return repr(value)[:80]
    if isinstance(value, str):
        return f"{len(value):,} characters"
    return f"{type(value).__name__} of {len(value)}" if isinstance(value, Mapping | Sequence) else type(value).__name__
