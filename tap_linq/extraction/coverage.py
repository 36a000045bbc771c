"""What deliveries show of a time in which nobody asked the API: pure functions over when they came.

A message is in the archive if the platform sent its event, and the receiver took it. For the first, the subscription
has to be active now, to name the events and the line, and not to have changed since then: the platform tells of the
last change alone. For the second there is one proof, a delivery. Between two deliveries the receiver may have been out,
but the platform repeats what fails, for 30 minutes and with waits that double. So the first try after an outage comes
no later than the outage was long, and what was created between two deliveries that are 5 minutes apart or less has
come, unless the receiver went out again right then. A longer silence proves nothing: the lines may have been quiet, or
the receiver out. It counts as not covered.

Source: API reference, "Webhooks"; `updated_at` of subscriptions: linq-python 0.65.0, `types/webhook_subscription.py`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from linq_client.times import format_datetime, parse_datetime_or_none
from tap_linq.extraction.plan import Gap

__all__ = ["MAX_SILENCE", "Deliveries", "GapCoverage", "Span", "covered_since", "gap_coverage"]

#: Time between two deliveries in which nothing can have been lost; see above.
MAX_SILENCE: Final = timedelta(minutes=5)

#: Spans without a longer silence that are kept of a subscription, the newest, and subscriptions of which they are.
MAX_SPANS: Final = 64
MAX_SUBSCRIPTIONS: Final = 8

#: Without these events, messages are missing in the archive.
_NEEDED: Final = frozenset({"message.received", "message.sent"})

Span = tuple[datetime, datetime]


class Deliveries:
    """When deliveries came, by subscription: spans in which no silence was longer than `MAX_SILENCE`.

    Args:
        spans: what is known already; None stands for deliveries that did not name their subscription.
    """

    def __init__(self, spans: Mapping[str | None, Iterable[Span]] | None = None) -> None:
        self._spans: dict[str | None, list[Span]] = {}
        for subscription, known in (spans or {}).items():
            self._spans[subscription] = sorted(known)

    def add(self, subscription: str | None, at: datetime) -> None:
        """Note a delivery; they may come in any order."""
        spans = self._spans.setdefault(subscription, [])
        place = bisect_left(spans, (at, at))
        start = end = at
        if place < len(spans) and spans[place][0] - at <= MAX_SILENCE:
            end = spans.pop(place)[1]
        if place > 0 and at - spans[place - 1][1] <= MAX_SILENCE:
            place -= 1
            before = spans.pop(place)
            start, end = before[0], max(end, before[1])
        spans.insert(place, (start, end))

    def of(self, subscription: str | None) -> list[Span]:
        """Return the spans of a subscription, in order."""
        return list(self._spans.get(subscription, ()))

    @property
    def newest(self) -> datetime | None:
        """When the newest delivery came."""
        return max((spans[-1][1] for spans in self._spans.values()), default=None)

    def to_json(self) -> dict[str, Any]:
        """Return the newest spans as they stand in STATE."""
        newest = sorted(self._spans.items(), key=lambda item: item[1][-1][1], reverse=True)[:MAX_SUBSCRIPTIONS]
        return {
            subscription or "": [[format_datetime(start), format_datetime(end)] for start, end in spans[-MAX_SPANS:]]
            for subscription, spans in newest
        }

    @classmethod
    def from_json(cls, value: object) -> Deliveries:
        """Read it from STATE, without what makes no sense: it would prove nothing."""
        found: dict[str | None, list[Span]] = {}
        for subscription, spans in value.items() if isinstance(value, dict) else ():
            for span in spans if isinstance(spans, list) else ():
                moments = [parse_datetime_or_none(one) for one in span] if isinstance(span, list) else []
                if len(moments) == 2 and moments[0] is not None and moments[1] is not None:
                    found.setdefault(subscription or None, []).append((moments[0], moments[1]))
        return cls(found)


def covered_since(subscriptions: Iterable[object], line: str) -> dict[str, datetime]:
    """Return the subscriptions that have announced the messages of a line, and since when that is certain.

    Args:
        subscriptions: of the account, as the API shows them.
    """
    found: dict[str, datetime] = {}
    for one in subscriptions:
        if not isinstance(one, dict) or one.get("is_active") is not True or not isinstance(one.get("id"), str):
            continue
        events, lines = one.get("subscribed_events"), one.get("phone_numbers") or []
        names_events = isinstance(events, list) and all(name in events for name in _NEEDED)
        names_line = isinstance(lines, list) and (not lines or line in lines)
        changes = [parse_datetime_or_none(one.get(name)) for name in ("created_at", "updated_at")]
        since = [moment for moment in changes if moment is not None]
        if names_events and names_line and len(since) == len(changes):
            found[one["id"]] = max(since)
    return found


@dataclass(frozen=True)
class GapCoverage:
    """Which part of a gap the archive holds, as far as its deliveries show.

    Attributes:
        extent: full, partial or none.
        spans: that part, in order.
    """

    extent: str
    spans: tuple[Span, ...]

    @property
    def summary(self) -> str:
        """That part in words for the log."""
        if self.extent != "partial":
            return {"full": "all of them", "none": "none of them"}[self.extent]
        return ", ".join(f"those from {format_datetime(start)} to {format_datetime(end)}" for start, end in self.spans)


def gap_coverage(gap: Gap, deliveries: Deliveries, since: Mapping[str, datetime], *, is_only_one: bool) -> GapCoverage:
    """Return which part of a gap the archive holds, as far as its deliveries show.

    Args:
        since: the subscriptions that count, and from when on; see `covered_since`.
        is_only_one: whether the account has one subscription alone: then deliveries that did not name theirs are its.
    """
    found: list[Span] = []
    for subscription, start in since.items():
        known = [*deliveries.of(subscription), *(deliveries.of(None) if is_only_one else ())]
        for first, last in _joined(known):
            begin = max(first, start, gap.start or first)
            end = min(last, gap.end)
            if begin < end:
                found.append((begin, end))
    spans = tuple(_joined(found, timedelta(0)))
    if not spans:
        return GapCoverage("none", ())
    is_full = gap.start is not None and spans == ((gap.start, gap.end),)
    return GapCoverage("full" if is_full else "partial", spans)


def _joined(spans: Iterable[Span], silence: timedelta = MAX_SILENCE) -> list[Span]:
    """Return spans in order, those that are no further apart than some silence as one."""
    joined: list[Span] = []
    for start, end in sorted(spans):
        if joined and start - joined[-1][1] <= silence:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined
