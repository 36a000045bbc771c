"""What the API shows and no event announced, and the reverse: so a dead subscription is seen within hours.

A full sweep of a line shows every message that lives. Those that were created since the last comparison, and so long
ago that the platform does not repeat their events any more, are held against the events in the archive.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from linq_client import RetentionWindow
from linq_client.times import format_datetime, parse_datetime_or_none
from tap_linq.extraction.records import Record
from tap_linq.extraction.webhook_records import ArchivedEvent

__all__ = ["Comparison", "LineComparison"]

#: How late the event of a message may come: the platform repeats what fails for 30 minutes, and may have to wait
#: before. Source: API reference, "Webhooks".
EVENTS_COME_WITHIN: Final = timedelta(minutes=40)

#: How long before the event of a message that was sent the platform may have created it; of one that came in, the two
#: times are the same but for the clocks.
SENT_WITHIN: Final = timedelta(hours=1)
CLOCKS_WITHIN: Final = timedelta(minutes=5)

#: Ids of messages that a row names.
MAX_NAMED: Final = 20

#: How far back is compared where messages don't expire.
STANDARD_REACH: Final = timedelta(hours=24)

#: States of a message that an event has announced.
_ANNOUNCED: Final = frozenset({"sent", "delivered", "read", "received"})


@dataclass
class LineComparison:
    """What one full sweep has shown of a line, and what events tell of the same time.

    Attributes:
        start: messages created from then on are compared.
        end: and before then.
        shown: ids of all messages that the sweep has shown, and whether an event must have announced them.
        announced: ids of those that events name.
        to_list: ids of those that events name, and that the sweep must have shown.
    """

    start: datetime
    end: datetime
    shown: Mapping[str, bool]
    announced: set[str] = field(default_factory=set)
    to_list: set[str] = field(default_factory=set)

    def add(self, event: ArchivedEvent, alive_from: datetime | None) -> None:
        """Take an event of the line into account.

        Args:
            alive_from: messages created from then on still lived at the end of the sweep; None if none expires.
        """
        message_id, created = event.message_id, event.created
        if message_id is None:
            return
        self.announced.add(message_id)
        before = {"received": CLOCKS_WITHIN, "sent": SENT_WITHIN}.get(event.change or "")
        if (
            before is not None
            and self.start + before <= created < self.end
            and (alive_from is None or created - before >= alive_from)
        ):
            self.to_list.add(message_id)

    def record(self, line: str, detected_at: datetime) -> Record | None:
        """Return the record of what does not agree; None if all does."""
        due = sorted(id_ for id_, must in self.shown.items() if must)
        unannounced = [id_ for id_ in due if id_ not in self.announced]
        unlisted = sorted(self.to_list - self.shown.keys())
        if not unannounced and not unlisted:
            return None
        return {
            "id": f"{line} until {format_datetime(self.end)}",
            "line": line,
            "compared_from": format_datetime(self.start),
            "compared_until": format_datetime(self.end),
            "detected_at": format_datetime(detected_at),
            "shown": len(due),
            "unannounced": len(unannounced),
            "unannounced_ids": unannounced[:MAX_NAMED],
            "announced": len(self.to_list),
            "unlisted": len(unlisted),
            "unlisted_ids": unlisted[:MAX_NAMED],
            "_extra": None,
        }


class Comparison:
    """What the sweeps of a run have shown.

    Args:
        window: None where nothing expires.
        until: of each line, the time before which messages were compared by earlier runs.
    """

    def __init__(self, window: RetentionWindow | None, until: Mapping[str, datetime]) -> None:
        self._window = window
        self._shown: dict[str, dict[str, tuple[datetime, datetime, bool]]] = {}
        self._swept: dict[str, datetime] = {}
        self.until = dict(until)

    def show(self, line: str, messages: Iterable[Mapping[str, Any]]) -> None:
        """Note messages that the API has shown. Safe to call from several threads."""
        since = self.until.get(line)
        if since is None:
            return
        shown = self._shown.setdefault(line, {})
        for message in messages:
            created = parse_datetime_or_none(message.get("created_at"))
            if created is not None and created >= since - SENT_WITHIN:
                sent = parse_datetime_or_none(message.get("sent_at")) or created
                # What has no parts is an event in the chat, or was deleted.
                must = message.get("delivery_status") in _ANNOUNCED and isinstance(message.get("parts"), list)
                shown[message["id"]] = (created, sent, must)

    def note_sweep(self, line: str, started: datetime) -> None:
        """Note that a full sweep of a line is complete."""
        self._swept[line] = started

    def lines(self) -> dict[str, LineComparison]:
        """Return what there is to compare, by line, once all sweeps are made, and note that it is."""
        found: dict[str, LineComparison] = {}
        for line, started in self._swept.items():
            end = started - EVENTS_COME_WITHIN
            since = self.until.get(line)
            reach = STANDARD_REACH if self._window is None else self._window.length
            if since is not None and since < end:
                start = max(since, started - reach)
                found[line] = LineComparison(
                    start,
                    end,
                    {
                        id_: must and start <= created and max(created, sent) < end
                        for id_, (created, sent, must) in self._shown.get(line, {}).items()
                    },
                )
            # The first comparison only begins here: nobody knows since when there are events.
            self.until[line] = max(end, since or end)
        self._swept.clear()
        return found
