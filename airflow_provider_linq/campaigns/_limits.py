"""When the next message may be sent: limits by minute and day, and the hours in which people may be written to.

Times are by the API's clock; a limit for a day is for a calendar day in UTC.
"""

from __future__ import annotations

import math
import time as clock
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, time, timedelta, timezone
from functools import cache
from typing import Final, TypeAlias
from zoneinfo import ZoneInfo

from airflow_provider_linq._internal.arguments import number_argument
from airflow_provider_linq.campaigns._shards import Shard

#: What the platform recommends at most for a line and day, in both directions together.
MESSAGES_PER_DAY: Final = 7000
#: The same of chats that a line begins: more of them harm its reputation.
NEW_CHATS_PER_DAY: Final = 50

#: How many days of counts are kept.
_KEPT_DAYS: Final = 2

#: Messages and new chats of each line on a day: ``{"2026-03-01": {"+1…": [messages, new chats]}}``.
Days: TypeAlias = dict[str, dict[str, list[int]]]


@dataclass(frozen=True)
class RateLimits:
    """
    Limits for one line, or for all together; None is no limit.

    :param messages_per_minute: spread evenly: 30 is one every two seconds.
    :param messages_per_day: only the messages of this campaign are counted.
    :param new_chats_per_day: messages of this campaign that begin a chat.

    Give all limits that are to hold: those of a default are not added.
    """

    messages_per_minute: float | None = None
    messages_per_day: int | None = None
    new_chats_per_day: int | None = None

    def __post_init__(self) -> None:
        for limit in fields(self):
            value = getattr(self, limit.name)
            if value is None:
                continue
            number = number_argument(limit.name, value, float, 0)
            if not number:
                raise ValueError(f"{limit.name} must be above 0, or None for no limit, got {value!r}")
            object.__setattr__(self, limit.name, number)

    def in_words(self) -> str:
        """Return the limits as a phrase, nothing if there is none."""
        found = ((field.name.replace("_per_", " a "), getattr(self, field.name)) for field in fields(self))
        limits = [f"{value:,g} {name.replace('_', ' ')}" for name, value in found if value is not None]
        return "at most " + ", ".join(limits) if limits else ""

    def of_shard(self, shard: Shard, argument: str) -> RateLimits:
        """
        Return what one shard of a campaign may do of this; all of them together do no more than this allows.

        :param argument: the name of these limits, for errors.
        :raises ValueError: a limit for a day is lower than the number of shards.
        """
        shares: dict[str, float | int] = {}
        for limit in fields(self):
            value = getattr(self, limit.name)
            if value is None:
                continue
            if limit.name == "messages_per_minute":
                shares[limit.name] = value / shard.of
            elif value < shard.of:
                raise ValueError(
                    f"{argument}: {limit.name} must be {shard.of} or more, one for each shard, got {value}"
                )
            else:
                shares[limit.name] = shard.share_of(int(value))
        return replace(self, **shares)  # type: ignore[arg-type]

    def allows(self, counts: Iterable[list[int]], *, starts_chat: bool) -> bool:
        """Whether the day has room for one more, after these messages and new chats."""
        messages, new_chats = (sum(column) for column in zip([0, 0], *counts, strict=True))
        return (self.messages_per_day is None or messages < self.messages_per_day) and (
            not starts_chat or self.new_chats_per_day is None or new_chats < self.new_chats_per_day
        )


@dataclass
class EvenSpacing:
    """Spreads messages evenly over the minute.

    Evenly, and not in bursts as the limiters of libraries do: carriers throttle a line for its bursts.
    """

    per_minute: float | None
    _next: float = field(default=0.0, init=False)

    def wait(self) -> float:
        return 0.0 if self.per_minute is None else max(0.0, self._next - clock.monotonic())

    def take(self) -> None:
        if self.per_minute is not None:
            self._next = max(self._next, clock.monotonic()) + 60 / self.per_minute


@dataclass(frozen=True, slots=True)
class Reservation:
    """A message that counts: on which day, for which line ("" if the platform has yet to choose), in a new chat."""

    day: str
    line: str
    starts_chat: bool


class Quota:
    """Counts messages, and says how long the next one has to wait for the limits.

    Where the platform chooses the line, it is known afterwards only: then the line is None, and the limits of a line
    are kept by leaving out the lines that have reached theirs (`is_full`).

    :param days: what was sent on which day; it outlives the process.
    """

    def __init__(self, each_line: RateLimits, all_lines: RateLimits, days: Days) -> None:
        self._each_line = each_line
        self._all_lines = all_lines
        self._days = days
        self._under_way: Days = {}  # apart: after a crash they are looked up, and count then
        self._spacings: dict[str | None, EvenSpacing] = {None: EvenSpacing(all_lines.messages_per_minute)}

    @property
    def per_minute(self) -> float:
        """How many messages of a line, or of all, go in a minute at most."""
        rates = (self._each_line.messages_per_minute, self._all_lines.messages_per_minute)
        return min((rate for rate in rates if rate is not None), default=math.inf)

    def wait(self, line: str | None, now: datetime, *, starts_chat: bool) -> float:
        """Return the seconds until a message may go from a line; `starts_chat` if it begins a chat."""
        day = now.date().isoformat()
        today = [count for days in (self._days, self._under_way) for count in days.get(day, {}).values()]
        is_over = not self._all_lines.allows(today, starts_chat=starts_chat)
        if is_over or self.is_full(line, now, starts_chat=starts_chat):
            return until_tomorrow(now)
        return max(spacing.wait() for spacing in self._spacings_of(line))

    def why(self, line: str | None, now: datetime, *, starts_chat: bool) -> str:
        """Say which limit a message from a line waits for."""
        today = [
            count for days in (self._days, self._under_way) for count in days.get(now.date().isoformat(), {}).values()
        ]
        is_over = not self._all_lines.allows(today, starts_chat=starts_chat)
        if not is_over and line is not None and not self.is_full(line, now, starts_chat=starts_chat):
            return "the limit for a minute is reached"
        has_room = self._all_lines.allows(today, starts_chat=False) if is_over else not self.is_full(line, now)
        what = "new chats" if starts_chat and line is not None and has_room else "messages"
        return f"the limit of {what} a day of {'all lines' if is_over or line is None else line} is reached"

    def is_full(self, line: str | None, now: datetime, *, starts_chat: bool = False) -> bool:
        """Whether a line has reached its limit for the day, if what the platform is to route now goes from it."""
        if line is None:
            return False
        sent, under_way = (days.get(now.date().isoformat(), {}) for days in (self._days, self._under_way))
        counts = [
            counts[whose] for counts, whose in ((sent, line), (under_way, line), (under_way, "")) if whose in counts
        ]
        return not self._each_line.allows(counts, starts_chat=starts_chat)

    def reserve(self, line: str | None, now: datetime, *, starts_chat: bool) -> Reservation:
        """Count a message that is sent now, until it is released, and let the next one wait its share of the minute."""
        for spacing in self._spacings_of(line):
            spacing.take()
        reservation = Reservation(now.date().isoformat(), line or "", starts_chat)
        _add(self._under_way, reservation, 1)
        return reservation

    def release(self, reservation: Reservation) -> None:
        """The message was not sent."""
        _add(self._under_way, reservation, -1)

    def commit(self, reservation: Reservation | None, line: str, day: str, *, starts_chat: bool) -> None:
        """Count a message that was sent from this line on this day; one that a look found has no reservation."""
        if reservation is not None:
            self.release(reservation)
        _add(self._days, Reservation(day, line, starts_chat), 1)
        for old in sorted(self._days)[:-_KEPT_DAYS]:
            del self._days[old]

    def _spacings_of(self, line: str | None) -> Iterable[EvenSpacing]:
        yield self._spacings[None]
        if line is not None:
            yield self._spacings.setdefault(line, EvenSpacing(self._each_line.messages_per_minute))


def _add(days: Days, reservation: Reservation, number: int) -> None:
    counts = days.setdefault(reservation.day, {}).setdefault(reservation.line, [0, 0])
    counts[0] += number
    counts[1] += number * reservation.starts_chat


def until_tomorrow(now: datetime) -> float:
    """Return the seconds until the counts of a day begin anew."""
    return (datetime.combine(now.date() + timedelta(days=1), time(), timezone.utc) - now).total_seconds()


@dataclass(frozen=True)
class SendWindow:
    """The hours of the day in which people may be written to; it may go over midnight.

    :param opens: local time of the recipient's time zone.
    :param closes: local time, no longer in the window.
    """

    opens: time
    closes: time

    def __post_init__(self) -> None:
        if self.opens == self.closes:
            raise ValueError(f"send_window must open and close at different times, got {self.opens} twice")

    @classmethod
    def of(cls, given: tuple[str, str] | str) -> SendWindow:
        """Read ``("09:00", "20:00")`` or ``"09:00-20:00"``.

        :raises ValueError: it is neither.
        """
        times = given.split("-") if isinstance(given, str) else given
        if not isinstance(times, Sequence) or len(times) != 2:
            raise ValueError(f"send_window must be two times of the day such as ('09:00', '20:00'), got {given!r}")
        return cls.parse(*(time.strip() if isinstance(time, str) else time for time in times))

    @classmethod
    def parse(cls, opens: str, closes: str) -> SendWindow:
        """Read times of the day such as "09:00".

        :raises ValueError: they are none.
        """
        return cls(_time_of_day(opens), _time_of_day(closes))

    def wait(self, now: datetime, timezone_name: str) -> float:
        """Return the seconds until the window is open in a time zone; 0 if it is."""
        local = now.astimezone(_zone(timezone_name))
        moment = local.time()
        over_midnight = self.opens > self.closes
        after, before = moment >= self.opens, moment < self.closes
        if (after or before) if over_midnight else (after and before):
            return 0.0
        day = local.date() + timedelta(days=1 if after else 0)
        # Of an hour that comes twice, when clocks are set back, this is the time that is yet to come.
        opening = datetime.combine(day, self.opens.replace(fold=local.fold), local.tzinfo)
        return (opening.astimezone(timezone.utc) - now).total_seconds()


def _time_of_day(text: str) -> time:
    with suppress(ValueError, TypeError):
        found = time.fromisoformat(text)
        # The time zone is another argument, or the recipient's own; 24:00 is 00:00 to Python from 3.14 on.
        if found.tzinfo is None and not text.startswith("24"):
            return found
    raise ValueError(f"send_window must be two times of the day such as '09:00', got {text!r}")


@cache
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


class Limits:
    """All that a message has to wait for: the quota of its line, and the send window of its recipient."""

    def __init__(self, quota: Quota, window: SendWindow | None) -> None:
        self.quota = quota
        self._window = window

    def wait(self, line: str | None, timezone_name: str, now: datetime, *, starts_chat: bool) -> float:
        """Return the seconds until a message may be sent from a line to somebody in a time zone."""
        return max(self._until_open(timezone_name, now), self.quota.wait(line, now, starts_chat=starts_chat))

    def why(self, line: str | None, timezone_name: str, now: datetime, *, starts_chat: bool) -> str:
        """Say what a message from a line to somebody in a time zone waits for."""
        if self._until_open(timezone_name, now) >= max(1.0, self.quota.wait(line, now, starts_chat=starts_chat)):
            return f"the send window is closed in {timezone_name}"
        return self.quota.why(line, now, starts_chat=starts_chat)

    def _until_open(self, timezone_name: str, now: datetime) -> float:
        return self._window.wait(now, timezone_name) if self._window else 0.0
