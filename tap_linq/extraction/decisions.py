"""The decisions of a pass, as pure functions over plain values: nothing here touches the network, a clock or state.

Times are aware UTC datetimes, and *now* is always the server's. *Bookmark* is a line's: the server's time when its
last complete pass began, less the overlap that is set. It is not the newest timestamp seen, since messages become
visible out of order. What a record looks like is said in `rows`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from linq_client import RetentionWindow
from linq_client.sync import CLOCK_TOLERANCE
from linq_client.times import format_datetime, parse_datetime_or_none

#: Share of the window that has to be left when a run begins, and after which a full sweep is due at the latest.
QUARTER: Final = 0.25

_MESSAGE_MOMENTS: Final = ("updated_at", "created_at", "sent_at", "delivered_at", "read_at", "reconciled_at")
_CHAT_MOMENTS: Final = ("updated_at", "created_at")
_HANDLE_MOMENTS: Final = ("joined_at", "left_at")


@dataclass(frozen=True)
class Fed:
    """What a pass hands on of the messages it reads; what it does not, a bookmark that moves would leave behind.

    Attributes:
        streams: initials of the message streams, and `f` where files are stored.
        since: start_date; None for everything.
    """

    streams: frozenset[str] = frozenset()
    since: datetime | None = None

    def is_more_than(self, before: Fed) -> bool:
        """Whether a pass hands on what the one before has not."""
        reaches_back = before.since is not None and (self.since is None or self.since < before.since)
        return reaches_back or not self.streams <= before.streams


@dataclass(frozen=True)
class LineState:
    """What STATE keeps of a line from one run to the next; None where there is nothing yet.

    Attributes:
        passed_at: the server's time when the last complete pass began.
        swept_at: the server's time when the last complete full sweep began.
        evidence: whether chats have been seen to show new messages in `updated_at` (True) or not to (False).
        window: that of the last complete pass; None also where messages did not expire.
        fed: what the last complete pass handed on.
        doubted: a time of earlier STATE that lay ahead of the server's clock; until a pass is complete, nobody knows
            when the last one was.
    """

    passed_at: datetime | None = None
    swept_at: datetime | None = None
    evidence: bool | None = None
    window: RetentionWindow | None = None
    fed: Fed | None = None
    doubted: datetime | None = None

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> LineState:
        """Read it from a partition of Singer state; what is not there or makes no sense is None."""
        evidence, fed, hours_kept = (state.get(name) for name in ("evidence", "fed", "window"))
        return cls(
            # The first versions kept the bookmark in its place, which is a little earlier, and so does no harm.
            passed_at=parse_datetime_or_none(state.get("passed_at"))
            or parse_datetime_or_none(state.get("replication_key_value")),
            swept_at=parse_datetime_or_none(state.get("swept_at")),
            evidence=evidence if isinstance(evidence, bool) else None,
            window=_window(hours_kept),
            fed=Fed(frozenset(fed), parse_datetime_or_none(state.get("since"))) if isinstance(fed, str) else None,
            doubted=parse_datetime_or_none(state.get("doubted")),
        )

    def to_state(self) -> dict[str, Any]:
        """Return it as it is put into a partition of Singer state: short, and without what is None."""
        fields = {
            "passed_at": self.passed_at and format_datetime(self.passed_at),
            "swept_at": self.swept_at and format_datetime(self.swept_at),
            "evidence": self.evidence,
            # As text: some targets read a number with a point as a Decimal, and then can't write STATE.
            "window": self.window and f"{self.window.hours:g}",
            "fed": self.fed and "".join(sorted(self.fed.streams)),
            "since": self.fed and self.fed.since and format_datetime(self.fed.since),
            "doubted": self.doubted and format_datetime(self.doubted),
        }
        return {name: value for name, value in fields.items() if value is not None}

    def believed(self, now: datetime) -> LineState:
        """Return it without times that lie ahead of the server's: a clock was wrong then, and nobody knows by what."""
        known = [moment for moment in (self.passed_at, self.swept_at) if moment is not None]
        if all(moment <= now + CLOCK_TOLERANCE for moment in known):
            return self
        return replace(self, passed_at=None, swept_at=None, doubted=max(known))


def _window(value: object) -> RetentionWindow | None:
    try:
        return RetentionWindow(float(value)) if isinstance(value, str) else None
    except ValueError:
        return None


def tighter(one: RetentionWindow | None, other: RetentionWindow | None) -> RetentionWindow | None:
    """Return the shorter window; None stands for no end."""
    return min(filter(None, (one, other)), key=lambda window: window.hours, default=None)


@dataclass(frozen=True)
class Plan:
    """Which kind of pass a line gets, and why, in words for the log."""

    sweep: bool
    reason: str


def plan_pass(state: LineState, sweep_interval: timedelta, now: datetime, fed: Fed) -> Plan:
    """Decide between a full sweep and an incremental pass that feeds `fed`."""
    if state.doubted is not None:
        return Plan(True, "nobody knows when the last pass was")
    if state.passed_at is None:
        return Plan(True, "no pass over this line is on record")
    if state.evidence is False:
        return Plan(True, "chats have been seen not to show new messages in updated_at")
    if state.swept_at is None or state.fed is None:
        return Plan(True, "no full sweep is on record")
    if fed.is_more_than(state.fed):
        return Plan(True, "streams, files or times are wanted that the last pass has left out")
    since = now - state.swept_at
    if since >= sweep_interval:
        return Plan(True, f"the last one is {hours(since)} ago, and one is due every {hours(sweep_interval)}")
    return Plan(False, f"the last full sweep is {hours(since)} ago")


def emit_from(bookmark: datetime | None, start_date: datetime | None) -> datetime | None:
    """Return the moment from which on messages are emitted; None for all there are."""
    return max((moment for moment in (bookmark, start_date) if moment is not None), default=None)


def is_due(message: Mapping[str, Any], since: datetime | None) -> bool:
    """Whether a message has to be emitted: all its times must prove that it was the same before `since`."""
    return since is None or not _all_before((message.get(name) for name in _MESSAGE_MOMENTS), since)


def is_active(chat: Mapping[str, Any], since: datetime | None) -> bool:
    """Whether a chat, as listed, may hold something new: all its times must prove that nothing happened in it."""
    if since is None or not _all_before((chat.get("updated_at"),), since):
        return True
    health = chat.get("health_status")
    more = [chat.get(name) for name in _CHAT_MOMENTS]
    more.append(health.get("updated_at") if isinstance(health, dict) else None)
    more.extend(handle.get(name) for handle in objects(chat.get("handles")) for name in _HANDLE_MOMENTS)
    return not _all_before(more, since)


def objects(value: object) -> list[dict[str, Any]]:
    """Return those items of a list that are objects; none of what is no list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _all_before(values: Iterable[object], since: datetime) -> bool:
    """Whether there is a time among the values, and each is one before `since`. None stands for no time."""
    proven = False
    for value in values:
        if value is None:
            continue
        moment = parse_datetime_or_none(value)
        if moment is None or moment >= since:
            return False
        proven = True
    return proven


@dataclass(frozen=True)
class Gap:
    """A time in which messages of a line may have expired unread: created from `start` on, before `end`.

    Attributes:
        start: None for everything before `end`.
        last_complete_pass: the server's time when it began, as far as that is known; None if there was none.
        reason: first_run, late_run, hidden_activity, or doubted_state.
    """

    start: datetime | None
    end: datetime
    last_complete_pass: datetime | None
    reason: str


def find_gap(
    state: LineState,
    *,
    start_date: datetime | None,
    window: RetentionWindow | None,
    ended: datetime,
    evidence: bool | None,
) -> Gap | None:
    """Return the time of which messages may be gone unread, None if there is none.

    An incremental pass counts as complete as long as chats show their new messages. Once one of them is seen not to,
    in this pass or in one before that could not be completed, only the last full sweep counts.

    Args:
        ended: the server's time when the last chat was read; what has expired during the pass may be missed by it.
        evidence: what is believed of the line after the pass.
    """
    if window is None:
        return None
    end = window.oldest_kept(ended)
    late, reason = state.passed_at, "late_run"
    if late is None:
        reason = "first_run" if state.doubted is None else "doubted_state"
    is_hidden = evidence is False or state.evidence is False
    if late is not None and is_hidden and state.swept_at != late:
        reason = "hidden_activity" if late >= end else "late_run"
        late = state.swept_at
    start = emit_from(late, start_date)
    return Gap(start, end, late or state.doubted, reason) if start is None or start < end else None


def time_left(state: LineState, window: RetentionWindow | None, now: datetime) -> timedelta | None:
    """Return how long a message that came right after the last complete pass can still be read; None if for ever."""
    if state.passed_at is None or window is None:
        return None
    return window.expires_at(state.passed_at) - now


def is_short(left: timedelta | None, window: RetentionWindow | None) -> bool:
    """Whether so little is left of the window that the next delay may cost messages; what is over is a gap."""
    return left is not None and window is not None and timedelta(0) <= left < QUARTER * window.length


def hours(duration: timedelta) -> str:
    """Return a duration for the log, such as `5.5 h`."""
    return f"{duration / timedelta(hours=1):.1f} h"
