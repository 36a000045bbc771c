"""The state and its indexes: every change of what the API lists goes through here.

The store knows no rules of the API; it keeps the listings, the chat identities and the ledger consistent.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from uuid import UUID

from linq_emulator.domain.models import (
    ALL_SERVICES,
    IMESSAGE,
    Attachment,
    Block,
    Chat,
    Contact,
    Line,
    Message,
    Participant,
)
from linq_emulator.ordered_index import Key, Listing


def _chat_key(chat: Chat) -> Key:
    return chat.updated_at, chat.seq


def _message_key(message: Message) -> Key:
    return message.created_at, message.seq


class Store:
    """All records of one emulator.

    Args:
        rng: Source of every identifier, so that a fixed seed gives the same ones.
    """

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._sequence = 0
        self.lines: dict[str, Line] = {}
        self.contacts: dict[str, Contact] = {}
        self.blocks: dict[str, Block] = {}
        self.attachments: dict[str, Attachment] = {}
        self.chats: dict[str, Chat] = {}
        self.messages: dict[str, Message] = {}
        self.ledger: list[Message] = []
        self.all_chats: Listing[Chat] = Listing(_chat_key)
        self._line_chats: dict[str, Listing[Chat]] = {}
        self._handle_chats: dict[str, list[Chat]] = {}
        self._identities: dict[tuple[str, frozenset[str]], Chat] = {}

    def new_id(self) -> str:
        """A random UUID of version 4."""
        return str(UUID(int=self._rng.getrandbits(128), version=4))

    def next_seq(self) -> int:
        """A number that grows with every record: what came first has the smaller one."""
        self._sequence += 1
        return self._sequence

    def add_line(self, phone_number: str) -> Line:
        """The line of that number, made when there is none."""
        if phone_number not in self.lines:
            self.lines[phone_number] = Line(self.new_id(), phone_number)
            self._line_chats[phone_number] = Listing(_chat_key)
        return self.lines[phone_number]

    def contact(self, handle: str) -> Contact:
        """What is known about a handle; e-mail addresses only have iMessage unless told otherwise."""
        found = self.contacts.get(handle)
        if found is None:
            found = Contact(handle, (IMESSAGE,) if "@" in handle else ALL_SERVICES)
            self.contacts[handle] = found
        return found

    def find_chat(self, line: Line, recipients: Iterable[str]) -> Chat | None:
        """The chat that a create with these recipients would reuse."""
        return self._identities.get((line.phone_number, frozenset(recipients)))

    def add_chat(
        self,
        line: Line,
        recipients: tuple[str, ...],
        service: str,
        now: int,
        make_id: Callable[[], str] | None = None,
    ) -> Chat:
        """A new chat, found from now on under its line and set of recipients."""
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
            messages=Listing(_message_key),
            identity=identity,
        )
        self.chats[chat.id] = chat
        self.all_chats.add(chat)
        self._line_chats[line.phone_number].add(chat)
        self._identities[identity] = chat
        for handle in recipients:
            self.index_handle(chat, handle)
        return chat

    def index_handle(self, chat: Chat, handle: str) -> None:
        """Let the chat be found under a participant."""
        chats = self._handle_chats.setdefault(handle, [])
        if chat not in chats:
            chats.append(chat)

    def unmatch(self, chat: Chat) -> None:
        """Take a chat out of the identities: a create for its recipients makes a new chat from now on."""
        if chat.identity is not None and self._identities.get(chat.identity) is chat:
            del self._identities[chat.identity]
        chat.identity = None

    def touch_chat(self, chat: Chat, now: int) -> None:
        """Move the chat's updated_at, and with it its place in the listings."""
        chat.encoded = None
        if chat.updated_at == now:
            return
        per_line = self._line_chats[chat.line.phone_number]
        self.all_chats.remove(chat)
        per_line.remove(chat)
        chat.updated_at = now
        self.all_chats.add(chat)
        per_line.add(chat)

    def list_chats(self, line: Line | None, handle: str | None) -> Listing[Chat]:
        """The chats of a line, with a participant, or both; all without either."""
        if handle is not None:
            with_handle = [
                chat
                for chat in self._handle_chats.get(handle, ())
                if chat.participant(handle) is not None and (line is None or chat.line is line)
            ]
            return Listing(_chat_key, with_handle)
        return self.all_chats if line is None else self._line_chats[line.phone_number]

    def chats_with(self, handle: str) -> list[Chat]:
        """Every chat that has or had a participant."""
        return list(self._handle_chats.get(handle, ()))

    def add_message(self, message: Message) -> None:
        """Record a message: in its chat, its thread and the ledger."""
        self.messages[message.id] = message
        self.ledger.append(message)
        message.chat.messages.add(message)
        root = thread_root(message)
        if root is not message:
            if root.replies is None:
                root.replies = []
            root.replies.append(message)

    def remove_message(self, message: Message) -> None:
        """Take a message that is marked as gone off the API's surface; the ledger keeps it."""
        message.chat.messages.remove(message)
        self._forget(message)

    def remove_oldest(self, chat: Chat, count: int) -> list[Message]:
        """The same for the first messages of a chat, which the caller then marks."""
        removed = chat.messages.remove_oldest(count)
        for message in removed:
            self._forget(message)
        return removed

    def _forget(self, message: Message) -> None:
        del self.messages[message.id]
        message.encoded = None
        for reply in thread_root(message).replies or ():
            # Their reply_to may have named it.
            reply.encoded = None

    def thread(self, message: Message) -> Listing[Message]:
        """The messages of a thread that can still be read, or the message alone."""
        root = thread_root(message)
        return Listing(_message_key, [one for one in (root, *(root.replies or ())) if not one.gone])


def thread_root(message: Message) -> Message:
    """The message with which a thread began."""
    while message.reply_to is not None:
        message = message.reply_to
    return message
