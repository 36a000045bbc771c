"""What the platform knows and does, written from `linq-api.md` alone: lines, chats, messages, keys, and the ledger.

It shares no code with `linq_emulator`: two readings of one text find each other's mistakes. What the text leaves open
is a knob. All times are seconds since 1970 by the world's own clock, which runs, and which the test moves.
"""

from __future__ import annotations

import mmap
import re
import struct
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

HANDLE = re.compile(r"\+[1-9]\d{1,14}|[^@\s,]+@[^@\s,]+\.[^@\s,]+")
URL = re.compile(r"https?://", re.IGNORECASE)

People = frozenset[str]


class Clock:
    """The time of the world, in a file, so that processes share it: they see a move at once.

    :param start: what it shows when its file is made; without it, the file is there.
    :param real_time: the machine's time, in a process where `time.time` is that of the world.
    """

    def __init__(self, file: Path, start: str | None = None, real_time: Callable[[], float] = time.time) -> None:
        self.file = file
        self._real_time = real_time
        if start is not None:
            file.write_bytes(struct.pack("d", datetime.fromisoformat(start).timestamp() - real_time()))
        with file.open("r+b") as opened:
            self._offset = mmap.mmap(opened.fileno(), 8)

    def now(self) -> float:
        return float(self._real_time() + struct.unpack("d", self._offset[:8])[0])

    def moment(self) -> datetime:
        return datetime.fromtimestamp(self.now(), timezone.utc)

    def advance(self, seconds: float) -> None:
        self._offset[:8] = struct.pack("d", struct.unpack("d", self._offset[:8])[0] + seconds)

    def advance_to(self, moment: datetime) -> None:
        """Move on to this moment, if it is not over."""
        self.advance(max(0.0, moment.timestamp() - self.now()))


@dataclass
class Knobs:
    """What the contract leaves open, or what differs from account to account.

    :param key_scope: where a key is looked for.
    :param key_lifetime: seconds for which it is known; None is for ever.
    :param key_under_way: what a repeat gets while the first request is not accepted yet: it waits for it, is refused
        with 409 and this code, or is not noticed (and accepted).
    :param key_known: what a repeat gets later: the first answer, or 409 and this code.
    :param refusals_first: an opt-out, a block or an ineligible line is told of before a key is looked for.
    :param list_lag: seconds until lists show what was accepted; so it stays for what was accepted meanwhile.
    :param created_at_skew: seconds by which `created_at` is ahead of `Date`; below 0 it is behind.
    :param to_filter: which chats `GET chats?to=` knows.
    :param shown_as: the form in which the platform shows a handle.
    :param filter_knows_sent_form: `GET chats?to=` also finds a handle in the form in which it was sent to.
    :param newest_first: order of the lists.
    :param messages_move_chats: a message moves `updated_at` of its chat.
    :param delivered_after: seconds until a message is delivered; None is never.
    :param routed_to: the line of a message for which the platform chooses one; by default the last one that wrote to
        these people, else the first that can.
    """

    key_scope: Literal["account", "line", "chat"] = "account"
    key_lifetime: float | None = None
    key_under_way: Literal["wait", "unnoticed", 2009, 2015] = 2015
    key_known: Literal["replay", 2015] = "replay"
    refusals_first: bool = True
    list_lag: float = 0
    created_at_skew: float = 0
    to_filter: Literal["all", "direct"] = "all"
    shown_as: Callable[[str], str] = lambda handle: handle
    filter_knows_sent_form: bool = True
    newest_first: bool = True
    messages_move_chats: bool = True
    delivered_after: float | None = 0
    routed_to: Callable[[People], str] | None = None


@dataclass(eq=False)
class Chat:
    """`people` is who is in it now, without the line."""

    line: str
    people: People
    created: float
    listed: float
    updated: float
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    messages: list[Message] = field(default_factory=list)


@dataclass(eq=False)
class Message:
    """A row of the ledger, too: `people` is who got it, however the chat changes. `sender` is a line, or a person."""

    chat: Chat
    people: People
    sender: str
    parts: list[dict[str, Any]]
    accepted: float
    listed: float
    kind: Literal["message", "memo", "location"] = "message"
    key: str | None = None
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    deleted: bool = False

    @property
    def from_line(self) -> bool:
        return self.sender == self.chat.line

    @property
    def text(self) -> str:
        return " ".join(part["value"] for part in self.parts if part["type"] == "text")


@dataclass
class Key:
    """A key that the world has seen: `made` when its message was accepted, else None."""

    message: Message | None
    made: float | None


@dataclass(eq=False)
class Refusal(Exception):
    """An answer in the documented envelope."""

    status: int
    code: int
    retry_after: float | None = None


@dataclass(eq=False)
class Send:
    """A request that would make a message."""

    kind: Literal["message", "memo", "location"]
    people: People
    line: str | None
    parts: list[dict[str, Any]] = field(default_factory=list)
    key: str | None = None
    chat: Chat | None = None
    overrides_opt_out: bool = False


class World:
    """The state of the platform. All methods may be called from any thread."""

    def __init__(self, clock: Clock, lines: Iterable[str], api_key: str, knobs: Knobs) -> None:
        self.clock = clock
        self.knobs = knobs
        self.api_keys = {api_key}
        self.reputation: dict[str, str] = dict.fromkeys(lines, "HEALTHY")
        self.ineligible: set[str] = set()
        self.opted_out: set[str] = set()
        self.blocked: set[str] = set()
        self.ledger: list[Message] = []
        self.chats: list[Chat] = []
        self._late: list[tuple[float, Send]] = []
        self._keys: dict[tuple[str, str], Key] = {}
        self._lock = threading.Condition(threading.RLock())

    @property
    def lines(self) -> list[str]:
        return list(self.reputation)

    # What the test does in the world.

    def writes(self, person: str, line: str, text: str = "Hello") -> Message:
        """A person writes to a line: this ends an opt-out, or begins one."""
        with self._lock:
            now = self.clock.now()
            chat = self._chat(line, frozenset({person}), now)
            (self.opted_out.add if text == "STOP" else self.opted_out.discard)(person)
            return self._add(chat, person, [{"type": "text", "value": text}], now)

    def joins(self, person: str, chat: Chat) -> None:
        with self._lock:
            chat.people |= {person}
            chat.updated = self.clock.now()

    def advance(self, seconds: float) -> None:
        """Let time pass, with all that falls due."""
        self.clock.advance(seconds)
        self.settle()

    def accept_late(self) -> int:
        """What was put off is accepted now; return how many that were."""
        with self._lock:
            late, self._late = self._late, []
            for _, send in late:
                self._accept(send, self.clock.now())
            self._lock.notify_all()
            return len(late)

    def sent_to(self, kind: str = "message") -> Counter[People]:
        """How many messages each recipient got from our lines."""
        with self._lock:
            return Counter(row.people for row in self.ledger if row.from_line and row.kind == kind)

    def sent_from(self) -> dict[People, set[str]]:
        """The lines from which each recipient got messages."""
        found: dict[People, set[str]] = {}
        for row in self.ledger:
            found.setdefault(row.people, set()).add(row.sender)
        return found

    # What requests do.

    def settle(self) -> None:
        """Accept what was put off until now."""
        with self._lock:
            now = self.clock.now()
            due = [(moment, send) for moment, send in self._late if moment <= now]
            self._late = [(moment, send) for moment, send in self._late if moment > now]
            for moment, send in due:
                self._accept(send, moment)
            if due:
                self._lock.notify_all()

    def perform(self, send: Send) -> tuple[Message, bool]:
        """Accept a send, or say why not; return its message, and whether it is new."""
        with self._lock:
            if self.knobs.refusals_first:
                self._refuse(send)
            line = self._line(send)
            while (known := self._known(send, line)) is not None:
                if known.message is not None:
                    return self._replayed(known.message), False
                if self.knobs.key_under_way == "unnoticed":
                    break
                if self.knobs.key_under_way != "wait":
                    raise Refusal(409, self.knobs.key_under_way)
                if not self._lock.wait(60):
                    raise Refusal(504, 3005)
            self._refuse(send)
            return self._accept(send, self.clock.now()), True

    def put_off(self, send: Send, seconds: float | None) -> None:
        """Accept this send so many seconds later, or at the test's command, whatever becomes of its connection.

        A repeat of what is known or under way is none of its own.
        """
        with self._lock:
            self._refuse(send)
            line = self._line(send)
            if self._known(send, line) is not None and self.knobs.key_under_way != "unnoticed":
                return
            if send.key is not None:
                self._keys[self._place(send, line), send.key] = Key(None, None)
            self._late.append((self.clock.now() + seconds if seconds is not None else float("inf"), send))

    def chat_of(self, chat_id: str) -> Chat:
        for chat in self.chats:
            if chat.id == chat_id:
                return chat
        raise Refusal(404, 2001)

    def message_of(self, message_id: str) -> Message:
        for row in self.ledger:
            if row.id == message_id and not row.deleted:
                return row
        raise Refusal(404, 2002)

    def listed_chats(self, line: str | None, people: People) -> list[Chat]:
        """In the order of the list."""
        now = self.clock.now()
        found = [
            chat
            for chat in self.chats
            if chat.listed <= now
            and (line is None or chat.line == line)
            and all(any(self._same(wanted, person) for person in chat.people) for wanted in people)
            and (not people or self.knobs.to_filter == "all" or len(chat.people) == 1)
        ]
        return sorted(found, key=lambda chat: chat.updated, reverse=self.knobs.newest_first)

    def listed_messages(self, chat: Chat) -> list[Message]:
        """In the order of the list."""
        now = self.clock.now()
        found = [row for row in chat.messages if row.listed <= now and not row.deleted and row.kind != "location"]
        return found[::-1] if self.knobs.newest_first else found

    def delivery_status(self, row: Message) -> str:
        after = self.knobs.delivered_after
        if not row.from_line:
            return "received"
        return "delivered" if after is not None and row.accepted + after <= self.clock.now() else "sent"

    def _same(self, wanted: str, person: str) -> bool:
        forms = [self.knobs.shown_as(person), *([person] if self.knobs.filter_knows_sent_form else [])]
        return wanted.lower() in [form.lower() for form in forms]

    def _refuse(self, send: Send) -> None:
        """Raise what the platform has against this send."""
        if send.line is not None and send.line not in self.reputation:
            raise Refusal(403, 2006)
        if not all(HANDLE.fullmatch(person) for person in send.people):
            raise Refusal(400, 1002)
        if send.kind == "message" and not send.parts:
            raise Refusal(400, 1004)
        if send.line in self.ineligible:
            raise Refusal(403, 2027)
        is_new = send.chat is None and send.line is not None and self._existing(send.line, send.people) is None
        if is_new and any(part["type"] == "link" or URL.search(part.get("value") or "") for part in send.parts):
            raise Refusal(400, 1005)
        if len(send.people) == 1 and send.people <= self.opted_out and not send.overrides_opt_out:
            raise Refusal(403, 2024)
        if len(send.people) == 1 and send.people <= self.blocked:
            raise Refusal(403, 2026)

    def _line(self, send: Send) -> str:
        if send.line is not None:
            return send.line
        able = [line for line in self.lines if line not in self.ineligible]
        if not able:
            raise Refusal(409, 2015)
        if self.knobs.routed_to is not None:
            return self.knobs.routed_to(send.people)
        before = [chat for chat in self.chats if chat.people == send.people and chat.line in able]
        return max(before, key=lambda chat: chat.updated).line if before else able[0]

    def _place(self, send: Send, line: str) -> str:
        if self.knobs.key_scope == "account":
            return ""
        return line if self.knobs.key_scope == "line" else f"{line} {sorted(send.people)}"

    def _known(self, send: Send, line: str) -> Key | None:
        """The key of this send, if the world has seen it and has not forgotten it."""
        if send.key is None:
            return None
        known = self._keys.get((self._place(send, line), send.key))
        lifetime = self.knobs.key_lifetime
        if known and known.made and lifetime is not None and self.clock.now() > known.made + lifetime:
            return None
        return known

    def _replayed(self, message: Message) -> Message:
        if message.deleted:
            raise Refusal(404, 2002)
        if self.knobs.key_known != "replay":
            raise Refusal(409, self.knobs.key_known)
        return message

    def _accept(self, send: Send, moment: float) -> Message:
        line = self._line(send)
        chat = send.chat or self._chat(line, send.people, moment)
        message = self._add(chat, line, send.parts, moment, send.kind, send.key)
        if send.key is not None:
            self._keys[self._place(send, line), send.key] = Key(message, message.accepted)
        return message

    def _existing(self, line: str, people: People) -> Chat | None:
        return next((chat for chat in self.chats if (chat.line, chat.people) == (line, people)), None)

    def _chat(self, line: str, people: People, moment: float) -> Chat:
        found = self._existing(line, people)
        if found is None:
            found = Chat(line, people, moment, moment + self.knobs.list_lag, moment)
            self.chats.append(found)
        return found

    def _add(
        self,
        chat: Chat,
        sender: str,
        parts: list[dict[str, Any]],
        moment: float,
        kind: Literal["message", "memo", "location"] = "message",
        key: str | None = None,
    ) -> Message:
        message = Message(chat, chat.people, sender, parts, moment, moment + self.knobs.list_lag, kind, key)
        chat.messages.append(message)
        self.ledger.append(message)
        if self.knobs.messages_move_chats:
            chat.updated = moment
        return message
