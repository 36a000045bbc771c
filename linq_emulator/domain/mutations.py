"""Changes of existing messages and groups: edits, reactions, names, participants, leaving."""

from __future__ import annotations

from linq_emulator.backend import Backend
from linq_emulator.clock import MINUTE, iso
from linq_emulator.domain import events, retention
from linq_emulator.domain.models import IMESSAGE, Chat, Message, Participant, Placement, Reaction
from linq_emulator.errors import ApiError

__all__ = [
    "EDIT_WINDOW",
    "MAX_EDITS",
    "MAX_OTHERS",
    "MIN_PARTICIPANTS_TO_LEAVE",
    "MIN_REMAINING_PARTICIPANTS",
    "STICKER",
    "TAPBACKS",
    "add_participant",
    "add_reaction",
    "check_edit",
    "check_group",
    "edit",
    "leave",
    "move_sticker",
    "remove_participant",
    "remove_reaction",
    "update_group",
]

MAX_EDITS = 5
EDIT_WINDOW = 15 * MINUTE
MIN_REMAINING_PARTICIPANTS = 3
MIN_PARTICIPANTS_TO_LEAVE = 4
MAX_OTHERS = 31
TAPBACKS = ("love", "like", "dislike", "laugh", "emphasize", "question", "custom")
STICKER = "sticker"


def check_edit(backend: Backend, message: Message, part_index: int) -> None:
    """Refuse an edit that iMessage does not allow.

    The OpenAPI document of March 2026 has 400, 403 and 404 as refusals of an edit, and no 409; the codes, and which of
    the first two it is, are our choice.
    """
    if not message.outbound:
        raise ApiError(2005, "only your own messages can be edited")
    if message.service != IMESSAGE:
        raise ApiError(1005, "only iMessage messages can be edited")
    if not 0 <= part_index < len(message.parts):
        raise ApiError(1005, "part_index is not a part of this message")
    if message.parts[part_index].type != "text":
        raise ApiError(1005, "only text parts can be edited")
    if len(message.edits or ()) >= MAX_EDITS:
        raise ApiError(1005, f"a message can be edited {MAX_EDITS} times")
    if backend.now() > (message.sent_at or message.created_at) + EDIT_WINDOW:
        raise ApiError(1005, "a message can be edited for 15 minutes")


def edit(backend: Backend, message: Message, part_index: int, text: str) -> None:
    """Replace the text of a part after `edit_seconds`."""

    def apply() -> None:
        part = message.parts[part_index]
        message.edits = message.edits or []
        now = backend.now()
        message.edits.append({"at": iso(now), "part_index": part_index, "before": part.value, "text": text})
        part.value, part.extra = text, None
        message.encoded = None
        if backend.switches.edit_moves_message:
            message.updated_at = now
        events.emit_message_edited(backend, message, part_index)

    backend.run_after(backend.switches.edit_seconds, apply)


def add_reaction(backend: Backend, message: Message, part_index: int, reaction: Reaction) -> None:
    """Add a reaction after `reaction_seconds`. A tapback replaces the participant's earlier tapback."""

    def apply() -> None:
        kept = list(message.parts[part_index].reactions or ())
        if reaction.type != STICKER:
            kept = [other for other in kept if other.participant is not reaction.participant or other.type == STICKER]
        message.parts[part_index].reactions = [*kept, reaction]
        _reactions_changed(backend, message)
        events.emit_reaction(backend, "reaction.added", message, part_index, reaction)

    backend.run_after(backend.switches.reaction_seconds, apply)


def remove_reaction(
    backend: Backend, message: Message, part_index: int, participant: Participant, kind: str, emoji: str | None
) -> None:
    """Remove a tapback after `reaction_seconds`, if it exists."""

    def apply() -> None:
        reactions = list(message.parts[part_index].reactions or ())
        for reaction in reactions:
            if (reaction.participant, reaction.type, reaction.custom_emoji) == (participant, kind, emoji):
                message.parts[part_index].reactions = [other for other in reactions if other is not reaction]
                _reactions_changed(backend, message)
                events.emit_reaction(backend, "reaction.removed", message, part_index, reaction)

    backend.run_after(backend.switches.reaction_seconds, apply)


def move_sticker(backend: Backend, message: Message, reaction: Reaction, placement: Placement) -> None:
    """Change where a sticker lies, after `reaction_seconds`. No event says so."""

    def apply() -> None:
        reaction.placement = placement
        _reactions_changed(backend, message)

    backend.run_after(backend.switches.reaction_seconds, apply)


def _reactions_changed(backend: Backend, message: Message) -> None:
    message.encoded = None
    if backend.switches.reaction_moves_message:
        message.updated_at = backend.now()


def check_group(chat: Chat, status: int) -> None:
    """Refuse a direct chat with 1006 and this status."""
    if not chat.is_group:
        raise ApiError(1006, status=status)


def update_group(backend: Backend, chat: Chat, name: str | None, icon: str | None) -> None:
    """Set the name, the icon or both after `group_update_seconds`. A create no longer finds a named group."""

    def apply() -> None:
        for field, new in (("name", name), ("icon", icon)):
            if new is None:
                continue
            if chat.left:
                events.emit_group_update_failed(backend, field, chat)
                continue
            if field == "name":
                old, chat.display_name = chat.display_name, new
                backend.store.drop_identity(chat)
            else:
                old, chat.icon = chat.icon, new
            backend.store.touch_chat(chat, backend.now())
            _add_system_event(backend, chat)
            events.emit_group_updated(backend, field, chat, old, new)

    backend.run_after(backend.switches.group_update_seconds, apply)


def add_participant(backend: Backend, chat: Chat, handle: str) -> None:
    """Add a contact that the group's service reaches, after `group_update_seconds`."""
    if chat.active_participant(handle) is not None or handle == chat.line.phone_number:
        raise ApiError(2015, "handle is already a participant")
    if len(chat.active_others()) >= MAX_OTHERS:
        raise ApiError(2015, f"a chat has at most {MAX_OTHERS} recipients")
    if chat.service not in backend.store.contact(handle).services:
        raise ApiError(2017, f"handle cannot be reached by {chat.service}")

    def apply() -> None:
        if chat.left or chat.active_participant(handle) is not None:
            return
        participant = Participant(backend.store.new_id(), handle, backend.now(), chat.service)
        chat.others.append(participant)
        backend.store.index_participant(chat, handle)
        _participants_changed(backend, chat)
        events.emit_participant(backend, "participant.added", chat, participant)

    backend.run_after(backend.switches.group_update_seconds, apply)


def remove_participant(backend: Backend, chat: Chat, handle: str) -> None:
    """Remove a participant after `group_update_seconds`. Three must remain, the own line included."""
    participant = chat.active_participant(handle)
    if participant is None:
        raise ApiError(1005, "handle is not a participant of this chat")
    if len(chat.active_others()) < MIN_REMAINING_PARTICIPANTS:
        raise ApiError(2015, f"{MIN_REMAINING_PARTICIPANTS} participants must remain")

    def apply() -> None:
        if not chat.left and participant.status == "active":
            _end_participation(backend, chat, participant, "removed")

    backend.run_after(backend.switches.group_update_seconds, apply)


def leave(backend: Backend, chat: Chat) -> None:
    """Let the line leave an iMessage group of four or more, after `group_update_seconds`."""
    if chat.service != IMESSAGE:
        raise ApiError(2017, "only iMessage groups can be left")
    if 1 + len(chat.active_others()) < MIN_PARTICIPANTS_TO_LEAVE:
        raise ApiError(2015, f"a group needs {MIN_PARTICIPANTS_TO_LEAVE} active participants to be left")

    def apply() -> None:
        if not chat.left:
            chat.left = True
            _end_participation(backend, chat, chat.me, "left")

    backend.run_after(backend.switches.group_update_seconds, apply)


def _end_participation(backend: Backend, chat: Chat, participant: Participant, status: str) -> None:
    participant.status, participant.left_at, participant.encoded = status, backend.now(), None
    _participants_changed(backend, chat)
    events.emit_participant(backend, "participant.removed", chat, participant)


def _participants_changed(backend: Backend, chat: Chat) -> None:
    backend.store.drop_identity(chat)
    backend.store.touch_chat(chat, backend.now())
    for message in chat.messages:
        # Every message shows the status of its sender.
        message.encoded = None
    _add_system_event(backend, chat)


def _add_system_event(backend: Backend, chat: Chat) -> None:
    """Add the item without parts that stands for a change which the line has made."""
    if not backend.switches.system_events or chat.line.zero_retention:
        return
    store, now = backend.store, backend.now()
    event = Message(
        id=store.new_id(),
        seq=store.next_seq(),
        chat=chat,
        sender=chat.me,
        outbound=True,
        parts=[],
        to=(),
        accepted_at=now,
        created_at=now,
        updated_at=now,
        status="sent",
        service=chat.service,
        sent_at=now,
        is_system_event=True,
    )
    store.add_message(event)
    retention.schedule_sweep(backend, event)
