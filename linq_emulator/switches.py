"""Switches for behaviour that the vendor's documentation leaves open.

A switch is a field of `Switches`. Its metadata has the allowed values and the reason. The CLI, the control API and
the table in docs/reference/emulator.md all follow this one declaration.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, cast

import msgspec

__all__ = [
    "CursorKind",
    "SortOrder",
    "SwitchDeclaration",
    "SwitchError",
    "Switches",
    "declarations",
    "parse_assignment",
]

SortOrder = Literal["newest", "oldest", "unordered"]
CursorKind = Literal["offset", "key"]


class SwitchError(ValueError):
    """An unknown switch, or a value that the switch does not allow."""

    def __init__(self, name: str, rule: str) -> None:
        self.name = name
        self.rule = rule
        super().__init__(f"switch {name}: {rule}")


@dataclass(frozen=True, slots=True)
class SwitchDeclaration:
    """One switch as the documentation shows it."""

    name: str
    allowed: str
    default: object
    reason: str


def _text(value: object) -> str:
    return msgspec.json.encode(value).decode().strip('"')


def _choice(default: Any, allowed: tuple[Any, ...], reason: str) -> Any:
    def check(value: object) -> object:
        for option in allowed:
            if value == option and isinstance(value, bool) == isinstance(option, bool):
                return option
        raise ValueError(f"must be one of {text}")

    text = ", ".join(_text(option) for option in allowed)
    return field(default=default, metadata={"allowed": text, "reason": reason, "check": check})


def _number(default: float, low: float, high: float, reason: str, *, whole: bool = False) -> Any:
    def check(value: object) -> object:
        is_number = isinstance(value, int) or (isinstance(value, float) and not whole)
        if isinstance(value, bool) or not is_number or not low <= cast(float, value) <= high:
            raise ValueError(f"must be {text}")
        return value

    text = f"a {'whole ' if whole else ''}number from {_text(low)} to {_text(high)}"
    return field(default=default, metadata={"allowed": text, "reason": reason, "check": check})


def _flag(default: bool, reason: str) -> Any:
    return _choice(default, (True, False), reason)


_ORDERS = ("newest", "oldest", "unordered")


@dataclass(slots=True)
class Switches:
    """The current value of every switch."""

    chat_order: Literal["newest", "oldest", "unordered"] = _choice(
        "newest",
        _ORDERS,
        "The order of GET /v3/chats is documented nowhere; a plugin of the vendor reads ten to find the recently "
        "active ones. By updated_at; unordered is by id.",
    )
    message_order: Literal["newest", "oldest", "unordered"] = _choice(
        "newest",
        _ORDERS,
        "The order of a chat's messages is documented nowhere; a plugin of the vendor reads five to find new ones. By "
        "created_at; unordered is by id.",
    )
    cursor: Literal["offset", "key"] = _choice(
        "offset",
        ("offset", "key"),
        "Cursors are opaque, but the documented walk over chats goes 20, 40: with an offset, items shift while "
        "a client pages. With a key they do not. (A thread always pages by key, as its example shows.)",
    )
    empty_pages: bool = _flag(
        False,
        "Nothing promises that a page with a cursor holds items: when true, about one in four is empty.",
    )
    cursor_seconds: float = _number(
        0,
        0,
        86400,
        "How long a cursor works is not documented; 0 is for ever. An expired one gets 400, code 1005.",
    )
    short_list_page_size: int = _number(
        0,
        0,
        100,
        "Lists of phone numbers and of webhook subscriptions are documented without pages, which a growing list may "
        "get: so many items a page, with next_cursor and cursor; 0 is without pages.",
        whole=True,
    )
    tombstones: bool = _flag(
        False,
        "Whether a deleted message stays in the list of its chat, with parts null: seen on the live API in April 2026.",
    )
    system_events: bool = _flag(
        False,
        "Whether the list of a group's messages has an item with parts null for who joined or left and for a new name "
        "or icon: seen on the live API in April 2026.",
    )
    poll_messages: bool = _flag(
        True,
        "Whether the list of a chat's messages has an item with parts null for a poll is not documented: messages have "
        "no part for one, and polls have endpoints of their own.",
    )
    message_moves_chat: bool = _flag(True, "Whether a new message moves the chat's updated_at is not documented.")
    edit_moves_message: bool = _flag(True, "Whether an edit moves the message's updated_at is not documented.")
    reaction_moves_message: bool = _flag(True, "Whether a reaction moves the message's updated_at is not documented.")
    poll_moves_message: bool = _flag(
        True, "Whether a vote or a new option moves the poll's updated_at is not documented."
    )
    delivery_moves_message: bool = _flag(
        True, "Whether sent, delivered, read and failed move the message's updated_at is not documented."
    )
    reconciled_created_at: Literal["ingested", "sent"] = _choice(
        "ingested",
        ("ingested", "sent"),
        "Whether created_at of a message recovered late says when it was ingested or when it was sent is not "
        "documented; sent_at is always the old time.",
    )
    idempotency_scope: Literal["account", "line", "chat"] = _choice(
        "account", ("account", "line", "chat"), "Within what a key is unique is not documented."
    )
    idempotency_hours: float = _number(
        0,
        0,
        8760,
        "How long a key is remembered is not documented; 0 keeps it for ever, since a key whose message was "
        "deleted or expired is documented to be refused and never resent.",
    )
    failed_key: Literal["failed_message", "first_response"] = _choice(
        "failed_message",
        ("failed_message", "first_response"),
        "A key whose message failed gets the failed message, and nothing is sent: a page about code 4006 is quoted so. "
        "Elsewhere the reference has the first response again, in which the message is pending.",
    )
    create_chat_message: Literal["inside", "beside", "both"] = _choice(
        "inside",
        ("inside", "beside", "both"),
        "The SDK and the reference have message inside chat; a third party reports it beside chat.",
    )
    date_form: Literal["imf", "asctime", "numeric_zone", "none"] = _choice(
        "imf",
        ("imf", "asctime", "numeric_zone", "none"),
        "The form of the Date header: HTTP senders use IMF-fixdate, receivers must also read asctime; some servers "
        "write the zone as -0000, some send no Date.",
    )
    date_offset_seconds: float = _number(
        0,
        -315_360_000,
        315_360_000,
        "How far the Date header is off the clock of the timestamps: servers behind one name need not agree.",
    )
    update_chat_status: int = _choice(
        202,
        (202, 200),
        "Status of PUT /v3/chats/{id}: 202 in the OpenAPI document of March 2026, 200 in other sources.",
    )
    leave_status: int = _choice(202, (202, 200), "Status of POST /v3/chats/{id}/leave: sources disagree.")
    edit_status: int = _choice(200, (200, 202), "Status of PATCH /v3/messages/{id}: not documented.")
    reaction_status: int = _choice(202, (202, 200), "Status of POST reactions: 202 now, 200 in February 2026.")
    sticker_placement_status: int = _choice(
        202, (202, 200), "Status of PATCH reactions, which moves a sticker: not documented; reactions have 202."
    )
    poll_status: int = _choice(201, (201, 200, 202), "Status of POST /v3/chats/{id}/polls: not documented.")
    poll_change_status: int = _choice(
        200, (200, 201, 202), "Status of a vote and of new options of a poll: not documented."
    )
    background_removal_status: int = _choice(
        202, (202, 204), "Status of DELETE /v3/chats/{id}/background: not documented; setting one has 202."
    )
    app_card_update_status: int = _choice(
        202, (202, 200, 201), "Status of POST /v3/messages/{id}/update: not documented; other sends have 202."
    )
    block_status: int = _choice(200, (200, 201), "Status of POST /v3/blocked_handles: not documented.")
    attachment_status: int = _choice(200, (200, 201), "Status of POST /v3/attachments: sources disagree.")
    contact_card_status: int = _choice(
        200,
        (200, 201),
        "Status of POST /v3/contact_card: 200 in the OpenAPI document of March 2026, no other source says more.",
    )
    direct_group_action_status: int = _choice(
        409,
        (409, 400),
        "Status (code 1006) of the update of a direct chat: 409; February 2026 said 400. For leaving it is open.",
    )
    direct_participants_status: int = _choice(
        400,
        (400, 409),
        "Status of a change of participants of a direct chat: 400 in the OpenAPI document of March 2026, which names "
        "no code (here: 1006).",
    )
    group_update_seconds: float = _number(
        1,
        0,
        600,
        "Group names, icons, participants and leaving apply later; how much later is not documented.",
    )
    background_seconds: float = _number(
        1, 0, 600, "A background applies later, and an event says so; how much later is not documented."
    )
    audit_seconds: float = _number(5, 0, 3600, "How long a reputation audit takes is not documented.")
    audit_cooldown_seconds: float = _number(
        3600, 0, 86400, "How long after an audit another one of the line is refused (429) is not documented."
    )
    audit_outcome: Literal["complete", "error"] = _choice(
        "complete", ("complete", "error"), "An audit can end without a report; what makes it so is not documented."
    )
    edit_seconds: float = _number(0, 0, 600, "Whether an edit is visible immediately or later is not documented.")
    reaction_seconds: float = _number(
        0, 0, 600, "Whether a reaction is visible immediately or later is not documented."
    )
    media_url_seconds: float = _number(
        3600,
        0,
        31536000,
        "How long a media URL in a message works: one hour in the SDK, long-lived in the attachments page (0 is "
        "for ever), 15 minutes (900) on the ephemeral tier.",
    )
    attachment_tier: Literal["persistent", "ephemeral"] = _choice(
        "persistent",
        ("persistent", "ephemeral"),
        "On the ephemeral tier every URL of a file works for 15 minutes, and the file is gone 24 to 48 hours after its "
        "upload (here: 24). GET /v3/attachments/{id} has a fresh URL on both.",
    )
    media_fetch_seconds: float = _number(
        0,
        0,
        600,
        "The answer to a send waits until each URL of a file is fetched that was not sent before; more than 30 seconds "
        "were seen. In real seconds, a URL.",
    )
    capability_scope: Literal["account", "line"] = _choice(
        "account",
        ("account", "line"),
        "Whether one capability check in 10 s counts for the account or the line.",
    )
    duplicate_target_url: Literal["refused", "allowed"] = _choice(
        "refused",
        ("refused", "allowed"),
        "An account can use a target_url once; how it is refused is not documented.",
    )
    webhook_retries: Literal["exponential", "ten", "six"] = _choice(
        "exponential",
        ("exponential", "ten", "six"),
        "The schedule changed: exponential for up to 30 minutes since September 2026, before that ten retries after 2, "
        "4, 8 to 512 and 600 seconds, each up to 20 % off, in February 2026 six tries within 60 seconds.",
    )
    automatic_delivery: bool = _flag(
        True, "When false, a sent message stays pending until the control API reports a receipt."
    )
    delivery_seconds: float = _number(
        2,
        0,
        3600,
        "From acceptance to delivered (queued after a quarter, sent after half of it): live traffic takes seconds, "
        "throttled lines hold a message for 1 to 30 minutes.",
    )
    read_share: float = _number(0, 0, 1, "Share of delivered messages that get a read receipt: receipts are optional.")
    read_seconds: float = _number(30, 0, 86400, "From delivered to read.")
    failure_share: float = _number(0, 0, 1, "Share of sends that fail with 4001 where they would have been sent.")
    sandbox: bool = _flag(
        False,
        "A sandbox account sends 100 messages a day, and only to handles that have written (403, 2008).",
    )

    def update(self, values: Mapping[str, object]) -> None:
        """Set all given switches, or none.

        Raises:
            SwitchError: A name is unknown or a value is not allowed.
        """
        checks: dict[str, Callable[[object], object]] = {
            switch.name: switch.metadata["check"] for switch in fields(self)
        }
        accepted: dict[str, object] = {}
        for name, value in values.items():
            if name not in checks:
                raise SwitchError(name, f"unknown; the switches are {', '.join(sorted(checks))}")
            try:
                accepted[name] = checks[name](value)
            except ValueError as error:
                raise SwitchError(name, str(error)) from None
        for name, value in accepted.items():
            setattr(self, name, value)

    def as_dict(self) -> dict[str, object]:
        """Name and value of every switch."""
        return {switch.name: getattr(self, switch.name) for switch in fields(self)}


def declarations() -> list[SwitchDeclaration]:
    """Every switch with its allowed values, default and reason, in the order of declaration."""
    return [
        SwitchDeclaration(
            switch.name, cast(str, switch.metadata["allowed"]), switch.default, cast(str, switch.metadata["reason"])
        )
        for switch in fields(Switches)
    ]


def parse_assignment(text: str) -> tuple[str, object]:
    """Split ``name=value`` from a command line; the value may be JSON or plain text.

    Raises:
        SwitchError: There is no ``=``.
    """
    name, sign, value = text.partition("=")
    if not sign:
        raise SwitchError(text, "must be given as name=value")
    try:
        return name.strip(), msgspec.json.decode(value.strip())
    except msgspec.DecodeError:
        return name.strip(), value.strip()
