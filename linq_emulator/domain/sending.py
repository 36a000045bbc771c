"""Outbound messages: the checks of a send, idempotency keys, and the acceptance of a message.

Rules and their order: API reference, messages, opt-outs, rate limits; linq-python 0.65.0
``resources/phone_numbers.py`` (ineligible lines), ``resources/blocked_handles.py``, ``types/chat.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from linq_emulator.backend import Backend
from linq_emulator.clock import HOUR
from linq_emulator.domain import blocklist, delivery, events, retention, validate
from linq_emulator.domain.content import IMESSAGE_ONLY
from linq_emulator.domain.models import IMESSAGE, SMS, Chat, Draft, Line, Message, StoredResponse
from linq_emulator.errors import ApiError
from linq_emulator.json_codec import encode
from linq_emulator.serializers import sent_message_fields

__all__ = [
    "add_chat",
    "add_to_chat",
    "check_chat",
    "check_draft",
    "check_line",
    "check_recipients",
    "idempotency_scope",
    "mark_line_used",
    "own_line",
    "run_idempotent",
    "send",
    "send_into",
]


def own_line(backend: Backend, number: str, name: str = "from") -> Line:
    """The account's line of that number.

    Raises:
        ApiError: 1002 if the text is no number, 2006 if the number is not the account's.
    """
    line = backend.store.lines.get(validate.phone(number, name))
    if line is None:
        raise ApiError(2006, f"{name} is not one of your phone numbers")
    return line


def check_line(line: Line) -> None:
    """Refuse an ineligible line with 2027."""
    if line.ineligible:
        raise ApiError(2027)


def check_chat(chat: Chat) -> None:
    """Refuse activity in a chat that the line has left (2013) or whose line is ineligible (2027)."""
    if chat.left:
        raise ApiError(2013, "the line has left this group")
    check_line(chat.line)


def check_recipients(backend: Backend, line: Line, recipients: Sequence[str], override_optout: bool) -> None:
    """Refuse a send that the line, the recipients or a rate limit do not allow."""
    check_line(line)
    store, now = backend.store, backend.now()
    if len(recipients) == 1:
        # A block or an opt-out of a member does not restrict a group.
        if blocklist.is_blocked(backend, recipients[0]):
            raise ApiError(2026)
        if store.contact(recipients[0]).opted_out and not override_optout:
            raise ApiError(2024)
    if backend.switches.sandbox:
        if not all(store.contact(handle).has_written for handle in recipients):
            raise ApiError(2008, "a sandbox only writes to handles that have written first")
        backend.rate_limits.check_sandbox(now)
    backend.rate_limits.check("pair", (line.phone_number, frozenset(recipients)), now)


def check_draft(backend: Backend, chat: Chat | None, draft: Draft, is_group: bool) -> None:
    """Check the content rules that depend on the chat: mentions and the message that is replied to.

    Args:
        backend: The emulator.
        chat: None if the chat does not exist yet.
        draft: The content.
        is_group: Whether the chat is, or will be, a group.
    """
    if draft.mentions and not is_group:
        raise ApiError(2023)
    if draft.has_experience and is_group:
        raise ApiError(2016, "an experience has exactly one recipient")
    if chat is not None:
        if chat.service != IMESSAGE and draft.kind in IMESSAGE_ONLY:
            raise ApiError(IMESSAGE_ONLY[draft.kind])
        for handle in draft.mentions:
            _check_mention(chat, handle)
    if draft.reply_to is not None:
        target = backend.store.messages.get(draft.reply_to)
        if target is None or not target.can_be_read or chat is None or target.chat is not chat:
            raise ApiError(2002, "message.reply_to.message_id")
        if not 0 <= draft.reply_part < len(target.parts):
            raise ApiError(1005, "message.reply_to.part_index is not a part of that message")


def _check_mention(chat: Chat, handle: str) -> None:
    if chat.active_participant(handle) is not None:
        return
    if any(other.handle == handle for other in chat.others):
        # Changelog of linq-python: a mention of somebody who is no longer in the chat is a conflict.
        raise ApiError(2015, "mention names a former participant of the chat")
    raise ApiError(1005, "mention must name a participant of the chat")


def send_into(backend: Backend, chat: Chat, draft: Draft, *, override_optout: bool = False) -> Message:
    """Check everything that an existing chat demands of a message, and accept it.

    Raises:
        ApiError: The chat, its line, a recipient, the content or a rate limit does not allow it.
    """
    check_chat(chat)
    check_draft(backend, chat, draft, chat.is_group)
    check_recipients(backend, chat.line, chat.recipients(), override_optout)
    return send(backend, chat, draft, override_optout=override_optout)


def send(
    backend: Backend, chat: Chat, draft: Draft, *, override_optout: bool = False, is_new_chat: bool = False
) -> Message:
    """Accept a message into a chat that passed every check, and schedule its delivery.

    Args:
        backend: The emulator.
        chat: The chat to send into.
        draft: The content.
        override_optout: As in the request.
        is_new_chat: Whether the chat was made for this message. Its updated_at is then already the current time.
    """
    store, now = backend.store, backend.now()
    recipients = tuple(chat.recipients())
    service = _choose_service(backend, chat.line, recipients, draft)
    failure = None
    if service is None:
        failure = delivery.UNSUPPORTED_TYPE if draft.kind in IMESSAGE_ONLY else delivery.DELIVERY_FAILED
    reply_to = None if draft.reply_to is None else store.messages[draft.reply_to]
    message = Message(
        id=store.new_id(),
        seq=store.next_seq(),
        chat=chat,
        sender=chat.me,
        outbound=True,
        parts=draft.parts,
        to=recipients,
        accepted_at=now,
        created_at=now,
        updated_at=now,
        status="pending",
        service=service or _wanted_service(draft) or SMS,
        trace_id=backend.trace_id,
        preferred_service=draft.preferred_service,
        # The other services ignore effects.
        effect=draft.effect if service == IMESSAGE else None,
        reply_to=reply_to,
        reply_part=draft.reply_part,
        idempotency_key=draft.idempotency_key,
        override_optout=override_optout,
        zero_retention=chat.line.zero_retention,
        poll=draft.poll,
        is_unlisted=draft.poll is not None and not backend.switches.poll_messages,
    )
    backend.rate_limits.acquire("pair", (chat.line.phone_number, frozenset(recipients)), now)
    backend.rate_limits.count_sandbox(now)
    mark_line_used(backend, chat.line)
    add_to_chat(backend, message, is_new_chat=is_new_chat)
    delivery.schedule_delivery(backend, message, failure)
    return message


def add_to_chat(backend: Backend, message: Message, *, is_new_chat: bool = False) -> None:
    """Add a message of either direction to its chat, update the chat and schedule the expiry."""
    chat, now = message.chat, backend.now()
    backend.store.add_message(message)
    chat.last_activity = now
    if backend.switches.message_moves_chat and not is_new_chat:
        backend.store.touch_chat(chat, now)
    retention.schedule_sweep(backend, message)


def mark_line_used(backend: Backend, line: Line) -> None:
    """Make a line the most recently used one."""
    backend.line_uses += 1
    line.last_use = backend.line_uses


def add_chat(backend: Backend, line: Line, recipients: tuple[str, ...], draft: Draft) -> Chat:
    """Add a chat for a first message, and emit chat.created."""
    service = _choose_service(backend, line, recipients, draft) or _wanted_service(draft) or SMS
    chat = backend.store.add_chat(line, recipients, service, backend.now())
    events.emit_chat_created(backend, chat)
    return chat


def _wanted_service(draft: Draft) -> str | None:
    return IMESSAGE if draft.kind in IMESSAGE_ONLY else draft.preferred_service


def _choose_service(backend: Backend, line: Line, recipients: Sequence[str], draft: Draft) -> str | None:
    return delivery.choose_service(backend, line, recipients, _wanted_service(draft))


def run_idempotent(
    backend: Backend,
    scope: str,
    key: str | None,
    operation: str,
    status: int,
    accept: Callable[[], tuple[Message, dict[str, Any]]],
    describe: Callable[[Message], dict[str, Any]],
) -> tuple[int, bytes]:
    """Accept a message, or return the stored response if the idempotency key is known.

    Args:
        backend: The emulator.
        scope: Scope of the key, from `idempotency_scope`.
        key: The key of the request; None if it has no key.
        operation: Tells the operations apart.
        status: HTTP status of the response.
        accept: Sends the message, and returns it with the body of the response.
        describe: Makes the body for a message that another operation has sent with this key.

    Returns:
        Status and body as JSON. A message that has failed since is shown as failed, if `failed_key` is so.

    Raises:
        ApiError: 2002 if the key's message was deleted or has expired; 2015 if it is a poll and none is requested, or
            the other way round; or an error of `accept`.
    """
    scoped_key = (scope, key or "")
    stored = backend.responses_by_key.get(scoped_key) if key else None
    if stored is not None and (stored.valid_until is None or backend.now() < stored.valid_until):
        backend.request_log.add_key_use(stored.message.id, backend.trace_id)
        if stored.message.gone:
            raise ApiError(2002, "the message of this idempotency key is deleted or has expired")
        if stored.operation != operation:
            if (stored.message.poll is None) == (operation == "poll"):
                raise ApiError(2015, "the idempotency key is that of something else than this")
            return status, encode(describe(stored.message))
        return stored.status, _response_again(backend, stored)
    message, response = accept()
    body = encode(response)
    if key:
        hours = backend.switches.idempotency_hours
        valid_until = backend.now() + round(hours * HOUR) if hours else None
        backend.responses_by_key[scoped_key] = StoredResponse(operation, message, status, body, valid_until)
    return status, body


def _response_again(backend: Backend, stored: StoredResponse) -> bytes:
    if stored.message.status != "failed" or backend.switches.failed_key == "first_response":
        return stored.body
    response = msgspec.json.decode(stored.body)
    for holder in (response, response.get("chat", {})):
        if "message" in holder:
            holder["message"] = sent_message_fields(stored.message, backend.media.url)
    return encode(response)


def idempotency_scope(backend: Backend, line: Line, recipients: Sequence[str]) -> str:
    """The scope in which the idempotency key of a send is unique, as the switch sets it."""
    scope = backend.switches.idempotency_scope
    if scope == "account":
        return ""
    if scope == "line":
        return line.phone_number
    return f"{line.phone_number}>{','.join(sorted(recipients))}"
