"""Values that requests and responses share."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta

from linq_emulator.domain.models import Reputation, Service

__all__ = [
    "AlwaysFalse",
    "AlwaysTrue",
    "Email",
    "Handle",
    "HttpsURL",
    "Identifier",
    "Phone",
    "Range",
    "ReactionType",
    "Reputation",
    "SenderHandle",
    "Service",
    "Time",
]

# msgspec takes literals of this type from 0.22 on.
AlwaysFalse = Annotated[bool, Meta(extra_json_schema={"enum": [False]})]
AlwaysTrue = Annotated[bool, Meta(extra_json_schema={"enum": [True]})]
Identifier = Annotated[str, Meta(extra_json_schema={"format": "uuid"})]
Time = Annotated[str, Meta(description="RFC 3339, in UTC", extra_json_schema={"format": "date-time"})]
Phone = Annotated[str, Meta(pattern=r"^\+[1-9][0-9]{1,14}$", description="E.164")]
Email = Annotated[str, Meta(pattern=r"^[^\s@()]+@[^\s@()]+\.[^\s@().]+$")]
_HANDLE_PATTERN = r"^(\+[1-9][0-9]{1,14}|[^\s@()]+@[^\s@()]+\.[^\s@().]+)$"
Handle = Annotated[str, Meta(pattern=_HANDLE_PATTERN, description="E.164 number or e-mail address")]
SenderHandle = Annotated[
    str, Meta(min_length=1, description="E.164 number, e-mail address, short code or alphanumeric sender id")
]
HttpsURL = Annotated[str, Meta(pattern="^https://", max_length=2048)]
Range = Annotated[
    list[Annotated[int, Meta(ge=0)]],
    Meta(min_length=2, max_length=2, description="[start, end) in UTF-16 code units"),
]
ReactionType: TypeAlias = Literal["love", "like", "dislike", "laugh", "emphasize", "question", "custom", "sticker"]
