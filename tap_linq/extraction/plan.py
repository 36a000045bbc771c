"""The decisions of a pass, as pure functions over plain values: nothing here touches the network, a clock or STATE.

Times are aware UTC datetimes, and *now* is always the server's. The *bookmark* of a line is the server's time when its
last complete pass began, less the overlap that is set. It is not the newest timestamp seen, since messages become
visible out of order. What a record looks like is in `records`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from linq_client import RetentionWindow
from linq_client.times import parse_datetime_or_none
from tap_linq.extraction.state import Coverage, LineState

__all__ = [
    "SAFETY_SHARE",
    "Gap",
    "PassPlan",
    "dicts_in",
    "emit_since",
    "find_gap",
    "format_hours",
    "is_active",
    "is_changed_since",
    "is_short",
    "plan_pass",
    "shorter_window",
    "time_left",
]

#: Share of the window that has to be left when a run begins, and after which a full sweep is due at the latest.
SAFETY_SHARE: Final = 0.25

_MESSAGE_TIMES: Final = ("updated_at", "created_at", "sent_at", "delivered_at", "read_at", "reconciled_at")
_CHAT_TIMES: Final = ("updated_at", "created_at")
_HANDLE_TIMES: Final = ("joined_at", "left_at")


@dataclass(frozen=True)
class PassPlan:
    """Which kind of pass a line gets, and why, in words for the log."""

    is_sweep: bool
    reason: str

    @property
    def kind(self) -> str:
        """The kind, in words for the log."""
        return "full sweep" if self.is_sweep else "incremental pass"


def plan_pass(
    state: LineState, sweep_interval: timedelta, now: datetime, coverage: Coverage, *, is_full_table: bool = False
) -> PassPlan:
    """Decide between a full sweep and an incremental pass that covers `coverage`.

    Args:
        is_full_table: whether the user asks for everything, whatever earlier passes have emitted.
    """
    if state.clock_error is not None:
        return PassPlan(True, "it is not known when the last pass was")
    if state.passed_at is None:
        return PassPlan(True, "STATE has no pass over this line")
    if state.updated_at_reliable is False:
        return PassPlan(True, "updated_at of chats has been seen to lag behind their messages")
    if state.swept_at is None or state.coverage is None:
        return PassPlan(True, "STATE has no full sweep")
    if is_full_table:
        return PassPlan(True, "the catalog asks for FULL_TABLE")
    if coverage.exceeds(state.coverage):
        return PassPlan(True, "streams, columns, files or times are wanted that the last pass has left out")
    since = now - state.swept_at
    if since >= sweep_interval:
        interval = format_hours(sweep_interval)
        return PassPlan(True, f"the last one is {format_hours(since)} ago, and one is due every {interval}")
    return PassPlan(False, f"the last full sweep is {format_hours(since)} ago")


def emit_since(bookmark: datetime | None, start_date: datetime | None) -> datetime | None:
    """Return the moment from which on messages are emitted; None for all there are."""
    return max((moment for moment in (bookmark, start_date) if moment is not None), default=None)


def is_changed_since(message: Mapping[str, Any], since: datetime | None) -> bool:
    """Whether a message has to be emitted: all its times must prove that it was the same before `since`."""
    return since is None or not _all_before((message.get(name) for name in _MESSAGE_TIMES), since)


def is_active(chat: Mapping[str, Any], since: datetime | None) -> bool:
    """Whether a chat, as listed, may hold something new: all its times must prove that nothing happened in it."""
    if since is None or not _all_before((chat.get("updated_at"),), since):
        return True
    health = chat.get("health_status")
    more = [chat.get(name) for name in _CHAT_TIMES]
    more.append(health.get("updated_at") if isinstance(health, dict) else None)
    more.extend(handle.get(name) for handle in dicts_in(chat.get("handles")) for name in _HANDLE_TIMES)
    return not _all_before(more, since)


def dicts_in(value: object) -> list[dict[str, Any]]:
    """Return those items of a list that are JSON objects; none of what is no list."""
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
        reason: first_run, late_run, updated_at_lags, or clock_error.
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
    updated_at_reliable: bool | None,
) -> Gap | None:
    """Return the time of which messages may be gone unread, None if there is none.

    An incremental pass counts as complete as long as `updated_at` of chats shows their new messages. Once one of them
    is seen to lag, in this pass or in one before that could not be completed, only the last full sweep counts.

    Args:
        ended: the server's time when the last chat was read; what has expired during the pass may be missed by it.
        updated_at_reliable: what is known of the line after the pass.
    """
    if window is None:
        return None
    end = window.oldest_kept(ended)
    last, reason = state.passed_at, "late_run"
    if last is None:
        reason = "first_run" if state.clock_error is None else "clock_error"
    lags = updated_at_reliable is False or state.updated_at_reliable is False
    if last is not None and lags and state.swept_at != last:
        reason = "updated_at_lags" if last >= end else "late_run"
        last = state.swept_at
    start = emit_since(last, start_date)
    return Gap(start, end, last or state.clock_error, reason) if start is None or start < end else None


def time_left(state: LineState, window: RetentionWindow | None, now: datetime) -> timedelta | None:
    """Return how long a message that came right after the last complete pass can still be read; None if for ever."""
    if state.passed_at is None or window is None:
        return None
    return window.expires_at(state.passed_at) - now


def is_short(left: timedelta | None, window: RetentionWindow | None) -> bool:
    """Whether so little is left of the window that the next delay may cost messages; what is over is a gap."""
    return left is not None and window is not None and timedelta(0) <= left < SAFETY_SHARE * window.length


def shorter_window(one: RetentionWindow | None, other: RetentionWindow | None) -> RetentionWindow | None:
    """Return the shorter window; None stands for no end."""
    return min(filter(None, (one, other)), key=lambda window: window.hours, default=None)


def format_hours(duration: timedelta) -> str:
    """Return a duration for the log, such as `5.5 h`."""
    return f"{duration / timedelta(hours=1):.1f} h"
