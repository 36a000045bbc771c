"""The state and its indexes. Every change of what the API lists goes through here.

The store knows no rules of the API. It keeps the indexes, the chat identities and the ledger consistent.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from uuid import UUID

from linq_emulator.domain.models import (
    ALL_SERVICES,
    IMESSAGE,
    SMS,
    Attachment,
    Audit,
    Block,
    Chat,
    Contact,
    Line,
    Message,
    Participant,
)
from linq_emulator.domain.ordered_index import Key, OrderedIndex

__all__ = ["Store", "thread_root"]


def _chat_key(chat: Chat) -> Key:
    return chat.updated_at, chat.seq


def _message_key(message: Message) -> Key:
    return message.created_at, message.seq


class Store:
    """All state of one emulator.

    Args:
        rng: Source of every identifier, so that a fixed seed gives the same ones.
    """

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._last_seq = 0
        self.lines: dict[str, Line] = {}
        self.contacts: dict[str, Contact] = {}
        self.blocks: dict[str, Block] = {}
        self.attachments: dict[str, Attachment] = {}
        self.audits: dict[str, Audit] = {}
        self.chats: dict[str, Chat] = {}
        self.messages: dict[str, Message] = {}
        self.deleted: dict[str, Message] = {}
        self.ledger: list[Message] = []
        self.all_chats: OrderedIndex[Chat] = OrderedIndex(_chat_key)
        self._line_chats: dict[str, OrderedIndex[Chat]] = {}
        self._handle_chats: dict[str, list[Chat]] = {}
        self._identities: dict[tuple[str, frozenset[str]], Chat] = {}

    def new_id(self) -> str:
        """A random UUID of version 4."""
        return str(UUID(int=self._rng.getrandbits(128), version=4))

    def next_seq(self) -> int:
        """A number that grows with every chat and message."""
        self._last_seq += 1
        return self._last_seq

    def add_line(self, phone_number: str) -> Line:
        """The line of that number, which is added if there is none."""
        if phone_number not in self.lines:
            self.lines[phone_number] = Line(self.new_id(), phone_number)
            self._line_chats[phone_number] = OrderedIndex(_chat_key)
        return self.lines[phone_number]

    def contact(self, handle: str) -> Contact:
        """The contact of a handle, which is added if there is none.

        E-mail addresses start with iMessage only, short codes and sender ids with SMS.
        """
        contact = self.contacts.get(handle)
        if contact is None:
            services = (IMESSAGE,) if "@" in handle else ALL_SERVICES if handle.startswith("+") else (SMS,)
            contact = Contact(handle, services)
            self.contacts[handle] = contact
        return contact

    def find_chat(self, line: Line, recipients: Iterable[str]) -> Chat | None:
        """The chat that a create with this line and these recipients reuses."""
        return self._identities.get((line.phone_number, frozenset(recipients)))

    def add_chat(
        self,
        line: Line,
        recipients: tuple[str, ...],
        service: str,
        now: int,
        make_id: Callable[[], str] | None = None,
    ) -> Chat:
        """Add a chat. A create with its line and set of recipients finds it from now on."""
        new_id = make_id or self.new_id
        me = Participant(new_id(), line.phone_number, now, service, is_me=True, line_type=line.line_type)
        others = [Participant(new_id(), handle, now, service) for handle in recipients]
        identity = (line.phone_number, frozenset(recipients))
        chat = Chat(
            id=new_id(),
            seq=self.next_seq(),
            line=line,
            me=me,
            others=others,
            service=service,
            is_group=len(recipients) > 1,
            created_at=now,
            updated_at=now,
            last_activity=now,
            health_at=now,
            messages=OrderedIndex(_message_key),
            identity=identity,
        )
        self.chats[chat.id] = chat
        self.all_chats.add(chat)
        self._line_chats[line.phone_number].add(chat)
        self._identities[identity] = chat
        for handle in recipients:
            self.index_participant(chat, handle)
        return chat

    def index_participant(self, chat: Chat, handle: str) -> None:
        """Add the chat to the chats of a handle."""
        chats = self._handle_chats.setdefault(handle, [])
        if chat not in chats:
            chats.append(chat)

    def drop_identity(self, chat: Chat) -> None:
        """Remove the identity of a chat: a create with its recipients makes a new chat from now on."""
        if chat.identity is not None and self._identities.get(chat.identity) is chat:
            del self._identities[chat.identity]
        chat.identity = None

    def touch_chat(self, chat: Chat, now: int) -> None:
        """Set the chat's updated_at, which moves it in the lists."""
        chat.encoded = None
        if chat.updated_at == now:
            return
        line_chats = self._line_chats[chat.line.phone_number]
        self.all_chats.remove(chat)
        line_chats.remove(chat)
        chat.updated_at = now
        self.all_chats.add(chat)
        line_chats.add(chat)

    def list_chats(self, line: Line | None, handle: str | None) -> OrderedIndex[Chat]:
        """The chats of a line, of a participant, or of both; all chats without either."""
        if handle is not None:
            matching = [
                chat
                for chat in self._handle_chats.get(handle, ())
                if chat.active_participant(handle) is not None and (line is None or chat.line is line)
            ]
            return OrderedIndex(_chat_key, matching)
        return self.all_chats if line is None else self._line_chats[line.phone_number]

    def chats_with(self, handle: str) -> list[Chat]:
        """Every chat that has or had a participant with this handle."""
        return list(self._handle_chats.get(handle, ()))

    def add_message(self, message: Message) -> None:
        """Add a message to its chat, its thread and the ledger; a system event is not for the ledger."""
        self.messages[message.id] = message
        if not message.is_system_event:
            self.ledger.append(message)
        if message.is_unlisted:
            message.chat.unlisted.append(message)
        elif not message.zero_retention:
            message.chat.messages.add(message)
        root = thread_root(message)
        if root is not message:
            if root.replies is None:
                root.replies = []
            root.replies.append(message)

    def remove_message(self, message: Message, *, leaves_tombstone: bool) -> None:
        """Remove a message that is marked as deleted from the API, or all but its tombstone. The ledger keeps it."""
        if message.is_unlisted:
            message.chat.unlisted.remove(message)
        elif not (leaves_tombstone or message.zero_retention):
            message.chat.messages.remove(message)
        self.deleted[message.id] = message
        self._unlink(message)

    def remove_until(self, chat: Chat, created_at: int) -> list[Message]:
        """Remove and return the messages of a chat up to a time. The caller marks them as gone."""
        count = 0
        for message in chat.messages:
            if message.created_at > created_at:
                break
            count += 1
        removed = chat.messages.remove_oldest(count) if count else []
        if chat.unlisted:
            removed += [message for message in chat.unlisted if message.created_at <= created_at]
            chat.unlisted = [message for message in chat.unlisted if message.created_at > created_at]
        for message in removed:
            self._unlink(message)
        return removed

    def _unlink(self, message: Message) -> None:
        # A tombstone was unlinked before.
        self.messages.pop(message.id, None)
        message.encoded = None
        for reply in thread_root(message).replies or ():
            # Its reply_to may have shown the removed message.
            reply.encoded = None

    def thread(self, message: Message) -> OrderedIndex[Message]:
        """The messages of a thread that can be read; the message alone if it has no thread."""
        root = thread_root(message)
        return OrderedIndex(_message_key, [member for member in (root, *(root.replies or ())) if member.can_be_read])


def thread_root(message: Message) -> Message:
    """The first message of a thread."""
    while message.reply_to is not None:
        message = message.reply_to
    return message
