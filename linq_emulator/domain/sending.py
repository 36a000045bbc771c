"""Accepting outbound messages: who may be written to, from which line, and how often.

Rules and their order: API reference, messages, opt-outs, rate limits; linq-python 0.65.0
``resources/phone_numbers.py`` (ineligible lines), ``resources/blocked_handles.py``, ``types/chat.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from linq_emulator.backend import Remembered, World
from linq_emulator.clock import HOUR
from linq_emulator.domain import delivery, events, retention, validate
from linq_emulator.domain.models import IMESSAGE, SMS, Chat, Draft, Line, Message
from linq_emulator.errors import ApiError
from linq_emulator.serializers import encode


def own_line(world: World, number: str, name: str = "from") -> Line:
    """The account's line of that number; 1002 for what is no number, 2006 for somebody else's."""
    line = world.store.lines.get(validate.phone(number, name))
    if line is None:
        raise ApiError(2006, f"{name} is not one of your phone numbers")
    return line


def check_line(line: Line) -> None:
    """2027 while a line cannot deliver."""
    if line.ineligible:
        raise ApiError(2027)


def check_chat(chat: Chat) -> None:
    """Refuse new activity in a chat that was left (2013) or whose line is ineligible (2027)."""
    if chat.left:
        raise ApiError(2013, "the line has left this group")
    check_line(chat.line)


def check_recipients(world: World, line: Line, recipients: Sequence[str], override_optout: bool) -> None:
    """Everything that can refuse a send before a message or a chat exists."""
    check_line(line)
    store, now = world.store, world.now()
    if len(recipients) == 1:
        # Groups are never restricted by a block or an opt-out of one of their members.
        if recipients[0] in store.blocks:
            raise ApiError(2026)
        if store.contact(recipients[0]).opted_out and not override_optout:
            raise ApiError(2024)
    if world.switches.sandbox:
        if not all(store.contact(handle).has_written for handle in recipients):
            raise ApiError(2008, "a sandbox only writes to handles that have written first")
        world.limits.check_sandbox(now)
    world.limits.check("pair", (line.phone_number, frozenset(recipients)), now)


def send(world: World, chat: Chat, draft: Draft, *, override_optout: bool = False, first: bool = False) -> Message:
    """Accept a message into a chat that passed every check, and begin its delivery.

    Args:
        world: The emulator.
        chat: Where it goes.
        draft: What is said.
        override_optout: Whether the request set that.
        first: Whether the chat was made for it; then its updated_at is already this moment.
    """
    store, now = world.store, world.now()
    recipients = tuple(other.handle for other in chat.active())
    service = delivery.choose_service(world, chat.line, recipients, draft.preferred_service)
    reply = _reply_target(world, chat, draft)
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
        service=service or draft.preferred_service or SMS,
        trace_id=world.trace_id,
        preferred_service=draft.preferred_service,
        # Effects are ignored by the other services.
        effect=draft.effect if service == IMESSAGE else None,
        reply_to=reply,
        reply_part=draft.reply_part,
        idempotency_key=draft.idempotency_key,
        override_optout=override_optout,
    )
    world.limits.take("pair", (chat.line.phone_number, frozenset(recipients)), now)
    world.limits.count_sandbox(now)
    use_line(world, chat.line)
    record(world, message, first=first)
    delivery.start(world, message, service is not None)
    return message


def record(world: World, message: Message, *, first: bool = False) -> None:
    """Put a message of either direction in its chat; the chat and the expiry follow."""
    chat, now = message.chat, world.now()
    world.store.add_message(message)
    chat.last_activity = now
    if world.switches.message_moves_chat and not first:
        world.store.touch_chat(chat, now)
    retention.watch(world, message)


def use_line(world: World, line: Line) -> None:
    """Make a line the most recently used one."""
    world.line_uses += 1
    line.used = world.line_uses


def _reply_target(world: World, chat: Chat, draft: Draft) -> Message | None:
    return None if draft.reply_to is None else world.store.messages[draft.reply_to]


def check_draft(world: World, chat: Chat | None, draft: Draft, is_group: bool) -> None:
    """The content rules that depend on the chat: mentions, and what is answered.

    Args:
        world: The emulator.
        chat: None for a chat that does not exist yet.
        draft: What is said.
        is_group: Whether the chat is, or will be, a group.
    """
    if draft.mentions and not is_group:
        raise ApiError(2023)
    if chat is not None and any(chat.participant(handle) is None for handle in draft.mentions):
        raise ApiError(1005, "mention must name a participant of the chat")
    if draft.reply_to is not None:
        target = world.store.messages.get(draft.reply_to)
        if target is None or chat is None or target.chat is not chat:
            raise ApiError(2002, "message.reply_to.message_id")
        if not 0 <= draft.reply_part < len(target.parts):
            raise ApiError(1005, "message.reply_to.part_index is not a part of that message")


def open_chat(world: World, line: Line, recipients: tuple[str, ...], draft: Draft) -> Chat:
    """A new chat, announced by chat.created."""
    service = delivery.choose_service(world, line, recipients, draft.preferred_service)
    chat = world.store.add_chat(line, recipients, service or draft.preferred_service or SMS, world.now())
    events.chat_created(world, chat)
    return chat


def once(
    world: World,
    scope: str,
    key: str | None,
    status: int,
    accept: Callable[[], tuple[Message, dict[str, Any]]],
) -> tuple[int, bytes]:
    """Accept a message, or answer as the first time when its idempotency key is known.

    Args:
        world: The emulator.
        scope: Within what the key is unique, as the switch says.
        key: The key of the request, if it has one.
        status: HTTP status of the answer.
        accept: Sends, and gives the message and the answer.

    Returns:
        Status and encoded body.

    Raises:
        ApiError: 2002 for a key whose message was deleted or has expired; whatever `accept` refuses.
    """
    place = (scope, key or "")
    known = world.remembered.get(place) if key else None
    if known is not None and (known.until is None or world.now() < known.until):
        if known.message.gone:
            raise ApiError(2002, "the message of this idempotency key is deleted or has expired")
        return known.status, known.body
    message, answer = accept()
    body = encode(answer)
    if key:
        hours = world.switches.idempotency_hours
        until = world.now() + round(hours * HOUR) if hours else None
        world.remembered[place] = Remembered(message, status, body, until)
    return status, body


def scope_of(world: World, line: Line, recipients: Sequence[str]) -> str:
    """Within what an idempotency key is unique for a send from a line to these handles."""
    scope = world.switches.idempotency_scope
    if scope == "account":
        return ""
    if scope == "line":
        return line.phone_number
    return f"{line.phone_number}>{','.join(sorted(recipients))}"
