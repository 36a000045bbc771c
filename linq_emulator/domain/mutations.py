"""What happens to messages and groups after they exist: edits, reactions, names, participants, leaving."""

from __future__ import annotations

from linq_emulator.backend import World
from linq_emulator.clock import MINUTE, iso
from linq_emulator.domain import events
from linq_emulator.domain.models import IMESSAGE, Chat, Message, Participant, Reaction
from linq_emulator.errors import ApiError

MAX_EDITS = 5
EDIT_WINDOW = 15 * MINUTE
MIN_LEFT_IN_GROUP = 3
MIN_TO_LEAVE = 4
MAX_OTHERS = 31


def check_edit(world: World, message: Message, part_index: int) -> None:
    """Refuse an edit that iMessage would not take: API reference, editing; the codes are our choice."""
    if not message.outbound:
        raise ApiError(2015, "only your own messages can be edited")
    if message.service != IMESSAGE:
        raise ApiError(2017, "only iMessage messages can be edited")
    if not 0 <= part_index < len(message.parts):
        raise ApiError(1005, "part_index is not a part of this message")
    if message.parts[part_index].type != "text":
        raise ApiError(1005, "only text parts can be edited")
    if len(message.edits or ()) >= MAX_EDITS:
        raise ApiError(2015, f"a message can be edited {MAX_EDITS} times")
    if world.now() > (message.sent_at or message.created_at) + EDIT_WINDOW:
        raise ApiError(2015, "a message can be edited for 15 minutes")


def edit(world: World, message: Message, part_index: int, text: str) -> None:
    """Replace the text of a part, at once or after `edit_seconds`."""

    def apply() -> None:
        part = message.parts[part_index]
        message.edits = message.edits or []
        now = world.now()
        message.edits.append({"at": iso(now), "part_index": part_index, "before": part.value, "text": text})
        part.value, part.extra = text, None
        message.encoded = None
        if world.switches.edit_moves_message:
            message.updated_at = now
        events.message_edited(world, message, part_index)

    world.later(world.switches.edit_seconds, apply)


def react(world: World, message: Message, part_index: int, given: Reaction) -> None:
    """Add a reaction, at once or after `reaction_seconds`; a tapback replaces the sender's earlier one."""

    def apply() -> None:
        kept = list(message.parts[part_index].reactions or ())
        if given.type != "sticker":
            kept = [one for one in kept if one.participant is not given.participant or one.type == "sticker"]
        message.parts[part_index].reactions = [*kept, given]
        _reacted(world, message)
        events.reaction(world, "reaction.added", message, part_index, given)

    world.later(world.switches.reaction_seconds, apply)


def unreact(world: World, message: Message, part_index: int, who: Participant, kind: str, emoji: str | None) -> None:
    """Take back a tapback, at once or after `reaction_seconds`; nothing happens when it is not there."""

    def apply() -> None:
        present = list(message.parts[part_index].reactions or ())
        for one in present:
            if (one.participant, one.type, one.custom_emoji) == (who, kind, emoji):
                message.parts[part_index].reactions = [other for other in present if other is not one]
                _reacted(world, message)
                events.reaction(world, "reaction.removed", message, part_index, one)

    world.later(world.switches.reaction_seconds, apply)


def _reacted(world: World, message: Message) -> None:
    message.encoded = None
    if world.switches.reaction_moves_message:
        message.updated_at = world.now()


def check_group(world: World, chat: Chat, *, direct_status: int | None = None) -> None:
    """1006 for a direct chat."""
    if not chat.is_group:
        raise ApiError(1006, status=direct_status or world.switches.direct_group_action_status)


def update_group(world: World, chat: Chat, name: str | None, icon: str | None) -> None:
    """Set the name, the icon or both after `group_update_seconds`. A named group is not matched any more."""

    def apply() -> None:
        for field, new in (("name", name), ("icon", icon)):
            if new is None:
                continue
            if chat.left:
                events.group_update_failed(world, field, chat)
                continue
            if field == "name":
                old, chat.display_name = chat.display_name, new
                world.store.unmatch(chat)
            else:
                old, chat.icon = chat.icon, new
            world.store.touch_chat(chat, world.now())
            events.group_updated(world, field, chat, old, new)

    world.later(world.switches.group_update_seconds, apply)


def add_participant(world: World, chat: Chat, handle: str) -> None:
    """Add somebody who can use the group's service, after `group_update_seconds`."""
    if chat.participant(handle) is not None or handle == chat.line.phone_number:
        raise ApiError(2015, "handle is already a participant")
    if len(chat.active()) >= MAX_OTHERS:
        raise ApiError(2015, f"a chat has at most {MAX_OTHERS} recipients")
    if chat.service not in world.store.contact(handle).services:
        raise ApiError(2017, f"handle cannot be reached by {chat.service}")

    def apply() -> None:
        if chat.left or chat.participant(handle) is not None:
            return
        added = Participant(world.store.new_id(), handle, world.now(), chat.service)
        chat.others.append(added)
        world.store.index_handle(chat, handle)
        _participants_changed(world, chat)
        events.participant(world, "participant.added", chat, added)

    world.later(world.switches.group_update_seconds, apply)


def remove_participant(world: World, chat: Chat, handle: str) -> None:
    """Remove somebody after `group_update_seconds`; three, the own line included, must remain."""
    who = chat.participant(handle)
    if who is None:
        raise ApiError(1005, "handle is not a participant of this chat")
    if len(chat.active()) < MIN_LEFT_IN_GROUP:
        raise ApiError(2015, f"{MIN_LEFT_IN_GROUP} participants must remain")

    def apply() -> None:
        if not chat.left and who.status == "active":
            _go(world, chat, who, "removed")

    world.later(world.switches.group_update_seconds, apply)


def leave(world: World, chat: Chat) -> None:
    """Take the line out of an iMessage group of four or more, after `group_update_seconds`."""
    if chat.service != IMESSAGE:
        raise ApiError(2017, "only iMessage groups can be left")
    if 1 + len(chat.active()) < MIN_TO_LEAVE:
        raise ApiError(2015, f"a group needs {MIN_TO_LEAVE} active participants to be left")

    def apply() -> None:
        if not chat.left:
            chat.left = True
            _go(world, chat, chat.me, "left")

    world.later(world.switches.group_update_seconds, apply)


def _go(world: World, chat: Chat, who: Participant, status: str) -> None:
    who.status, who.left_at, who.encoded = status, world.now(), None
    _participants_changed(world, chat)
    events.participant(world, "participant.removed", chat, who)


def _participants_changed(world: World, chat: Chat) -> None:
    world.store.unmatch(chat)
    world.store.touch_chat(chat, world.now())
    for message in chat.messages:
        # Each shows its sender's status.
        message.encoded = None
