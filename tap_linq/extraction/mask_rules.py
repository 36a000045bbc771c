"""What each field of a record is to masking: by its name, wherever it stands. What is not named here does not go out.

`name` alone depends on where it stands: that of an effect is a word, and that of a person is not.

Names are those of the schemas and, as `webhook_events.data` holds events as they came, those of events. A field that
the API adds one day is in neither list, so it is left out until somebody has said here what it holds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any, Final

from tap_linq import schemas

__all__ = ["CONTAINERS", "IDENTIFIER", "KNOWN", "PLAIN_NUMBERS", "RULES", "WORD", "Rule"]


class Rule(Enum):
    """What a text holds, and so what becomes of it."""

    HANDLE = "handle"
    """Who somebody is: a digest, with `mask_handles`."""
    TEXT = "text"
    """What somebody wrote: left out or encrypted, with `mask_text`."""
    EITHER = "either"
    """May hold handles or text: left out or encrypted whatever is masked. So is all that has no rule."""
    LINE = "line"
    """An own line: as it is. Any other number is a handle."""
    IDENTIFIER = "identifier"
    """An id of the platform: as it is, if it has the form of one, else a digest."""
    WORD = "word"
    """One of a few words of the platform: as it is, if it is a word, else as EITHER."""
    TIME = "time"
    """A date-time: as it is."""
    PATH = "path"
    """Where the tap has stored a file: as it is, if the name is an id; else as EITHER."""


_NAMES: Final[Mapping[Rule, str]] = {
    Rule.HANDLE: (
        "handle from mention forwarding_number recipient_handle from_handle sender_handle owner_handle participant "
        "shared_by shared_with"
    ),
    Rule.TEXT: "text text_before value custom_emoji fallback_text caption subcaption trailing_caption "
    "trailing_subcaption image_title image_subtitle title description",
    Rule.EITHER: (
        "display_name filename file_name url image_url group_chat_icon doc_url error body address locality target_url"
    ),
    Rule.LINE: "line phone_number phone_numbers",
    Rule.IDENTIFIER: (
        "id chat_id message_id attachment_id reaction_id event_id subscription_id trace_id partner_id "
        "idempotency_key unannounced_ids unlisted_ids sha256"
    ),
    Rule.WORD: (
        "type style animation name team_id bundle_id mime_type service preferred_service status line_type direction "
        "delivery_status source change reason evidence archive_coverage event_type api_version reaction_type "
        "subscribed_events routing_key_header routing_id_header"
    ),
    Rule.TIME: "webhook_version",
    Rule.PATH: "stored_at",
}

#: Names that are words in these objects alone. Anywhere else they may be those of people, as in `data` of an event.
_WORDS_OF: Final[Mapping[str, frozenset[str]]] = {"name": frozenset({"app", "effect"})}

#: Objects, and arrays of them, whose fields go out as their own rules say.
CONTAINERS: Final = frozenset(
    [
        "app",
        "chat",
        "covered",
        "data",
        "effect",
        "from_handle",
        "handle",
        "handles",
        "health_status",
        "inline_stickers",
        "layout",
        "mentions",
        "message",
        "owner_handle",
        "part",
        "participant",
        "parts",
        "reactions",
        "recipient_handle",
        "reply_to",
        "reputation",
        "sender_handle",
        "sticker",
        "text_decorations",
    ]
)

#: Columns that hold the place of a person, which says more than their number.
_PLACES: Final = frozenset({"coordinates"})
#: Numbers and flags of events that no schema has.
_OF_EVENTS: Final = frozenset({"index", "is_from_me", "reconciled", "zero_retention"})

#: Letters and signs, and so few digits that no number of a person is among them.
WORD: Final = re.compile(r"(?!(?:[^0-9]*[0-9]){6})[A-Za-z][A-Za-z0-9_.:/+-]{0,99}", re.ASCII)

#: A UUID, also with what the tap makes of one; a digest; the id of an event that has none.
IDENTIFIER: Final = re.compile(
    r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?:/[0-9]{1,3}/[0-9a-f]{16})?|[0-9a-f]{32}|(?:sha256-)?[0-9a-f]{64}",
    re.ASCII | re.IGNORECASE,
)


def _declared(schema: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    inner = schema.get("items", schema)
    for name, one in inner.get("properties", {}).items():
        yield name, one
        yield from _declared(one)


def _plain() -> Iterator[tuple[str, bool]]:
    """Yield the names of declared numbers and flags, and of times (True)."""
    for stream in schemas.__all__:
        for name, one in _declared(getattr(schemas, stream)):
            types = {*one.get("type", ()), *one.get("items", {}).get("type", ())}
            if one.get("format") == "date-time":
                yield name, True
            elif types & {"integer", "number", "boolean"} and name not in _PLACES:
                yield name, False


#: Names of numbers and flags, which go out as they are.
PLAIN_NUMBERS: Final = frozenset(name for name, is_time in _plain() if not is_time) | _OF_EVENTS
_TIMES: Final = frozenset(name for name, is_time in _plain() if is_time)

#: What a text holds, by the name of its field.
RULES: Final[Mapping[str, Rule]] = {
    **{name: rule for rule, names in _NAMES.items() for name in names.split()},
    **dict.fromkeys(_TIMES, Rule.TIME),
}

#: All names that have a rule.
KNOWN: Final = CONTAINERS | PLAIN_NUMBERS | RULES.keys()


def rule_of(name: str, parent: str | None = None) -> Rule:
    """Return what a text holds, by the name of its field, and of the object that it is in; None for the record."""
    if name in _WORDS_OF and parent not in _WORDS_OF[name]:
        return Rule.EITHER
    return RULES.get(name, Rule.EITHER)
