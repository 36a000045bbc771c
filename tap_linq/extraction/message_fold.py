"""Messages as their events tell of them: once these are put together, a message in the shape of the API's.

Events come at least once and in any order, so folding the same one twice, or an older one later, changes nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from linq_client import RetentionWindow
from linq_client.sync import SeenIds
from linq_client.times import format_datetime, parse_datetime_or_none
from tap_linq.extraction.webhook_records import ArchivedEvent, handle_of

__all__ = ["FoldedMessage", "MessageFolder"]

#: Messages that are known from earlier events, so that a later one finds the rest without a search in the archive. Each
#: takes some kilobytes.
MAX_KNOWN: Final = 4_096

#: How far the times of events may be from when the platform created the message: a throttled line sends up to half an
#: hour late.
_LONGEST_DELAY: Final = timedelta(hours=1)

#: What the API knows of a message while it lives; an event may say more about the delivery than about the message.
_NOT_OF_MESSAGE: Final = frozenset(
    {
        *("chat", "direction", "sender_handle", "from_handle", "recipient_handle", "is_from_me", "received_at"),
        *("idempotency_key", "zero_retention", "parts", "part", "edited_at", "message"),
    }
)
_TIMES: Final = ("created_at", "sent_at", "delivered_at", "read_at", "reconciled_at")

#: How far a message has come. A delivery can still follow a failure.
_RANKS: Final[Mapping[str, int]] = {
    "pending": 0,
    "queued": 1,
    "sent": 2,
    "received": 2,
    "failed": 3,
    "delivered": 4,
    "read": 5,
}


class FoldedMessage:
    """One message, by all its events so far.

    Attributes:
        line: the own line, where an event says it.
        newest: when the newest of its events happened.
        oldest: when the oldest of them did.
        wanted: the streams whose records are to be emitted, as an event has come since they last were.
        is_partial: whether earlier events of it may be known to the archive alone.
        shown: as the API has shown it without its parts; None if it has not.
    """

    def __init__(self, message_id: str) -> None:
        self.id = message_id
        self.chat_id: str | None = None
        self.line: str | None = None
        self.newest: datetime | None = None
        self.wanted: frozenset[str] = frozenset()
        self.is_partial = False
        self.shown: Mapping[str, Any] | None = None
        self.oldest: datetime | None = None
        self._snapshot: Mapping[str, Any] | None = None
        self._snapshot_at: datetime | None = None
        self._edits: dict[int, list[tuple[datetime, str]]] = {}
        self._shown: dict[int, set[tuple[datetime, str]]] = {}
        self._times: dict[str, Any] = {}
        self._status: str | None = None
        self._reactions: dict[tuple[int, str], tuple[datetime, dict[str, Any] | None]] = {}

    @property
    def is_known(self) -> bool:
        """Whether an event has told what the message is, and not only what became of it."""
        return self._snapshot is not None

    def fold(self, event: ArchivedEvent) -> None:
        """Take an event of the message into account."""
        created = event.created
        self.newest = max(created, self.newest or created)
        self.oldest = min(created, self.oldest or created)
        self.chat_id = event.chat_id or self.chat_id
        self.line = event.line or self.line
        if event.change is None:
            self._fold_reaction(event)
            return
        if event.change == "edited":
            self._fold_edit(event)
            return
        self._advance(event.change)
        if event.change == "failed":
            return
        for name in _TIMES:
            if parse_datetime_or_none(self._times.get(name)) is None:
                self._times[name] = event.data.get(name)
        self._advance(event.data.get("delivery_status"))
        parts = event.data.get("parts")
        for index, part in enumerate(parts if isinstance(parts, list) else ()):
            if isinstance(part, dict) and isinstance(part.get("value"), str):
                self._shown.setdefault(index, set()).add((created, part["value"]))
        # Snapshots are read from the platform's database when the event is made, so a newer one has the newer text.
        if isinstance(parts, list) and (self._snapshot_at is None or created >= self._snapshot_at):
            self._snapshot, self._snapshot_at = event.data, created

    def _advance(self, status: object) -> None:
        if isinstance(status, str) and _RANKS.get(status, -1) > _RANKS.get(self._status or "", -1):
            self._status = status

    def _fold_edit(self, event: ArchivedEvent) -> None:
        part = event.data.get("part")
        index, text = (part.get("index"), part.get("text")) if isinstance(part, dict) else (None, None)
        if isinstance(index, int) and isinstance(text, str):
            edits = self._edits.setdefault(index, [])
            edit = (event.happened, text)
            if edit not in edits:
                edits.append(edit)
                edits.sort(key=lambda one: one[0])

    def _fold_reaction(self, event: ArchivedEvent) -> None:
        index, id_ = event.data.get("part_index"), event.data.get("reaction_id")
        if not isinstance(index, int) or not isinstance(id_, str) or not id_:
            return
        before = self._reactions.get((index, id_))
        if before is None or event.created >= before[0]:
            reaction = {
                "id": id_,
                "is_me": event.data.get("is_from_me"),
                "handle": event.data.get("from_handle"),
                "type": event.data.get("reaction_type"),
                "custom_emoji": event.data.get("custom_emoji"),
                "sticker": event.data.get("sticker"),
            }
            self._reactions[index, id_] = event.created, reaction if event.type == "reaction.added" else None

    def text_before(self, event: ArchivedEvent) -> str | None:
        """Return what the part of an edit said before it, as far as events tell."""
        part = event.data.get("part")
        index, edited = (part.get("index"), part.get("text")) if isinstance(part, dict) else (None, None)
        if not isinstance(index, int) or not isinstance(edited, str):
            return None
        found = [(at, text) for at, text in self._edits.get(index, ()) if at < event.happened]
        # One of the same moment may show what the edit has made of it.
        found += [one for one in self._shown.get(index, ()) if one[0] <= event.happened and one[1] != edited]
        return max(found, key=lambda one: one[0])[1] if found else None

    def _part(self, index: int) -> dict[str, Any] | None:
        parts = self._snapshot["parts"] if self._snapshot is not None else []
        part = parts[index] if 0 <= index < len(parts) else None
        return part if isinstance(part, dict) else None

    def created_by(self) -> datetime | None:
        """Return a time by which the platform had created the message."""
        return parse_datetime_or_none(self._times.get("created_at")) or self.oldest

    def may_live(self, window: RetentionWindow | None, now: datetime) -> bool:
        """Whether the API may still show the message."""
        created = self.created_by()
        return window is None or created is None or window.expires_at(created) + _LONGEST_DELAY > now

    def as_api_message(self) -> dict[str, Any] | None:
        """Return the message in the shape of the API's; None if no event has told what it is.

        Its `created_at` is the nearest that events tell, and its `updated_at` when the newest of them happened. Of one
        that the API has shown without its parts, as it was deleted, all else is the API's.
        """
        snapshot = self._snapshot
        if snapshot is None:
            return None
        if self.shown is not None:
            return {**self.shown, "parts": self._parts()}
        is_from_me = {"outbound": True, "inbound": False}.get(str(snapshot.get("direction")))
        rest = {name: value for name, value in snapshot.items() if name not in _NOT_OF_MESSAGE and name not in _TIMES}
        times = {name: self._times.get(name) for name in _TIMES}
        if times["reconciled_at"] is None:
            # Of a message that came in time, the API does not have it.
            del times["reconciled_at"]
        return {
            **rest,
            **times,
            "id": self.id,
            "chat_id": self.chat_id,
            "is_from_me": is_from_me,
            "from": handle_of(snapshot.get("sender_handle")),
            "from_handle": snapshot.get("sender_handle"),
            "parts": self._parts(),
            "delivery_status": self._status,
            "is_delivered": self._status in ("delivered", "read"),
            "is_read": self._status == "read",
            "created_at": self._times.get("created_at") or self._created_about(),
            "updated_at": self.newest and format_datetime(self.newest),
        }

    def _created_about(self) -> str | None:
        """The nearest to its creation that events tell: what came in was created when its event was, or before."""
        sent = parse_datetime_or_none(self._times.get("sent_at"))
        known = [moment for moment in (sent, self.oldest) if moment is not None]
        return format_datetime(min(known)) if known else None

    def _parts(self) -> list[Any]:
        parts = list(self._snapshot["parts"]) if self._snapshot is not None else []
        for index, edits in self._edits.items():
            at, text = edits[-1]
            part = self._part(index)
            if part is not None and self._snapshot_at is not None and at >= self._snapshot_at:
                # How characters are shown belongs to the text that was there before.
                parts[index] = {"type": part.get("type"), "value": text}
        for index, part in enumerate(parts):
            shown = [one for (place, _), (_, one) in sorted(self._reactions.items()) if place == index and one]
            if shown and isinstance(part, dict):
                parts[index] = {**part, "reactions": shown}
        return parts


class MessageFolder:
    """The messages of the events that were read last. Memory is bounded.

    Attributes:
        unknown: messages to be emitted of which events have told so far only what became of them.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[str, FoldedMessage] = OrderedDict()
        self._forgotten = SeenIds()
        self.unknown: dict[str, FoldedMessage] = {}

    def of(self, message_id: str) -> FoldedMessage:
        """Return what is known of a message; nothing of one that is new."""
        found = self._known.get(message_id)
        if found is None:
            found = self._known[message_id] = self.unknown.get(message_id) or FoldedMessage(message_id)
            found.is_partial = found.is_partial or message_id in self._forgotten
        self._known.move_to_end(message_id)
        return found

    def take_wanted(self) -> list[FoldedMessage]:
        """Return the messages of which there is something to emit, and forget the oldest of all."""
        found = [message for message in self._known.values() if message.wanted]
        while len(self._known) > MAX_KNOWN:
            message_id, _ = self._known.popitem(last=False)
            self._forgotten.add(message_id)
        return found
