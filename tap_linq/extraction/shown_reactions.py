"""Which reactions messages have shown, so that one that is taken back can be seen to be gone.

The API lists no reaction that was taken back, and none of its times needs to move for it. So what earlier passes have
emitted of living messages is kept in STATE, in a small form, and compared with what a message shows when it is read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Lock
from typing import Any, Final

from linq_client import RetentionWindow
from linq_client.times import format_datetime, parse_datetime_or_none

__all__ = [
    "MAX_BYTES",
    "MessageReactions",
    "Reactions",
    "ShownReactions",
    "newest_within",
    "reactions_from_json",
    "reactions_to_json",
]

#: Reactions of a line that are kept: those to its newest messages.
MAX_REACTIONS: Final = 1000

#: Bytes in STATE for the reactions of all lines, some 500 of them: STATE is written again after each line, and
#: loaders and runners take it for small.
MAX_BYTES: Final = 64_000

#: For how long they are kept where messages don't expire.
LONGEST: Final = timedelta(days=7)


@dataclass(frozen=True)
class MessageReactions:
    """The reactions that a message has shown.

    Attributes:
        created_at: when the message was created.
        places: the part that each of them belongs to, by the key of the reaction.
    """

    created_at: datetime
    places: Mapping[str, int]


#: Reactions of a line, by the ids of their messages.
Reactions = Mapping[str, MessageReactions]


class ShownReactions:
    """What a pass over a line has seen of reactions. Safe to use from several threads.

    Args:
        before: what earlier passes have seen.
    """

    def __init__(self, before: Reactions) -> None:
        self._before = before
        self._now = dict(before)
        self._size = _count(before.values())
        self._lock = Lock()

    def __contains__(self, message_id: object) -> bool:
        return message_id in self._now

    def update(
        self, message: Mapping[str, Any], shown: Mapping[str, int], observed_at: datetime, *, is_emitted: bool
    ) -> dict[str, int]:
        """Compare the reactions that a message shows with what is known of them, and take note of them.

        Args:
            shown: the part that each of them belongs to, by the key of the reaction.
            is_emitted: whether their records go out.

        Returns:
            Those that are gone, in the same form as `shown`. One is only gone where its part still is there and says
            which reactions it has.
        """
        id_ = message["id"]
        with self._lock:
            known = self._now.get(id_)
            places = known.places if known else {}
            gone = {
                key: place for key, place in places.items() if key not in shown and _tells_reactions(message, place)
            }
            kept = {key: place for key, place in places.items() if key not in gone}
            if is_emitted:
                kept.update(shown)
            created = parse_datetime_or_none(message.get("created_at")) or (known and known.created_at) or observed_at
            self._size += len(kept) - len(places)
            self._now[id_] = MessageReactions(created, kept)
            if not kept:
                del self._now[id_]
            if self._size > 2 * MAX_REACTIONS:
                self._now = _newest(self._now)
                self._size = _count(self._now.values())
        return gone

    def after(self, now: datetime, window: RetentionWindow | None, *, is_complete: bool) -> Reactions:
        """Return what is known after the pass, of messages that still live.

        Where the pass is not complete, it also has those that were gone: the next pass emits them once more, should
        their records not have arrived.
        """
        found = dict(self._now)
        if not is_complete:
            for id_, known in self._before.items():
                places = {**known.places, **(found[id_].places if id_ in found else {})}
                found[id_] = MessageReactions(known.created_at, places)
        oldest = now - LONGEST if window is None else window.oldest_kept(now)
        return _newest({id_: one for id_, one in found.items() if one.created_at >= oldest})


def reactions_to_json(reactions: Reactions) -> dict[str, Any]:
    """Return reactions as they stand in STATE."""
    return {id_: _entry(one) for id_, one in reactions.items()}


def _entry(one: MessageReactions) -> list[Any]:
    return [format_datetime(one.created_at), *([place, key] for key, place in one.places.items())]


def reactions_from_json(value: object) -> Reactions:
    """Read reactions from STATE; what makes no sense is left out."""
    found = {}
    for id_, one in value.items() if isinstance(value, dict) else ():
        if isinstance(one, dict):  # as the first versions wrote it
            one = [one.get("created_at"), *_list(one.get("reactions"))]
        created = parse_datetime_or_none(one[0]) if isinstance(one, list) and one else None
        if created is not None:
            found[id_] = MessageReactions(created, dict(_pairs(one[1:])))
    return found


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def newest_within(size: int, lines: Sequence[Reactions]) -> list[Reactions]:
    """Return those reactions of some lines that belong to the newest messages and take `size` bytes in STATE."""
    entries = [(one.created_at, place, id_) for place, line in enumerate(lines) for id_, one in line.items()]
    kept: list[dict[str, MessageReactions]] = [{} for _ in lines]
    for _, place, id_ in sorted(entries, reverse=True):
        one = lines[place][id_]
        size -= len(json.dumps({id_: _entry(one)}))
        if size < 0:
            break
        kept[place][id_] = one
    return list(kept)


def _pairs(pairs: list[Any]) -> Iterator[tuple[str, int]]:
    for pair in pairs:
        match pair:
            case [int(place), str(key)]:
                yield key, place


def _tells_reactions(message: Mapping[str, Any], place: int) -> bool:
    parts = message.get("parts")
    part = parts[place] if isinstance(parts, list) and 0 <= place < len(parts) else None
    if not isinstance(part, dict) or "reactions" not in part:
        return False
    reactions = part["reactions"]
    return reactions is None or (isinstance(reactions, list) and all(isinstance(one, dict) for one in reactions))


def _newest(reactions: Reactions) -> dict[str, MessageReactions]:
    """Return those of the newest messages, as many as are kept."""
    newest: dict[str, MessageReactions] = {}
    size = 0
    for id_, one in sorted(reactions.items(), key=lambda item: item[1].created_at, reverse=True):
        size += len(one.places)
        if size > MAX_REACTIONS:
            break
        newest[id_] = one
    return newest


def _count(reactions: Iterable[MessageReactions]) -> int:
    return sum(len(one.places) for one in reactions)
