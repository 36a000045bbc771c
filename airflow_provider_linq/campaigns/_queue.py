"""Who is next: recipients in lanes of those who may be sent to at the same moments, and jobs that wait for a time."""

from __future__ import annotations

import heapq
import math
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from typing import Final

from airflow_provider_linq.campaigns._limits import Limits, until_tomorrow
from airflow_provider_linq.campaigns._lines import Lines
from airflow_provider_linq.campaigns._model import Recipient
from airflow_provider_linq.campaigns._state import OPEN, SendJob

#: A longer wait than so many seconds is not waited for on the worker.
LONG_WAIT: Final = 120.0
#: How many of the reasons to wait are named in a line of the log.
SHOWN: Final = 5


@dataclass
class Lane:
    """Recipients of one time zone, from one line, with a chat or without: what one may do, all may."""

    timezone: str
    line: str | None
    starts_chat: bool
    waiting: deque[Recipient | SendJob] = field(default_factory=deque)


class SendQueue:
    """
    Recipients whose message can be sent as soon as the limits allow, lane after lane.

    Most of them are recipients alone: a job is made of one when it is claimed.
    """

    def __init__(self, lines: Lines, limits: Limits) -> None:
        self._lines = lines
        self._limits = limits
        self._lanes: dict[tuple[str, str | None, bool], Lane] = {}
        self._order: deque[Lane] = deque()
        self._later: list[tuple[float, int, SendJob]] = []
        self._ticket = count()

    def add(self, waiting: Recipient | SendJob) -> None:
        """Let a recipient wait for their turn: for the line of their claim, or for the one that is chosen now."""
        if isinstance(waiting, SendJob) and waiting.state in OPEN:
            key = (waiting.recipient.timezone, waiting.line, waiting.starts_chat)
        else:
            recipient = waiting.recipient if isinstance(waiting, SendJob) else waiting
            line = self._lines.choose(recipient.to, recipient.key)
            key = (recipient.timezone, line, not self._lines.has_chat_with(recipient.to, line))
        if key not in self._lanes:
            self._lanes[key] = Lane(*key)
            self._order.append(self._lanes[key])
        self._lanes[key].waiting.append(waiting)

    def add_later(self, job: SendJob, at: float) -> None:
        """Let a job wait until a time of the monotonic clock, in seconds."""
        heapq.heappush(self._later, (at, next(self._ticket), job))

    def pop_due(self, now: float) -> Iterator[SendJob]:
        """Yield the jobs whose time has come."""
        while self._later and self._later[0][0] <= now:
            yield heapq.heappop(self._later)[2]

    def next_lane(self, now: float, server_now: datetime) -> Lane | float | None:
        """Return the lane whose turn it is, or the seconds until something is due; None if nobody waits."""
        shortest = self._later[0][0] - now if self._later else None
        for _ in range(len(self._order)):
            lane = self._order[0]
            self._order.rotate(-1)  # the next turn is another lane's
            if lane.waiting:
                wait = self.wait_of(lane, server_now)
                if wait <= 0:
                    return lane
                shortest = wait if shortest is None else min(shortest, wait)
        return shortest

    def wait_of(self, lane: Lane, server_now: datetime) -> float:
        """Return the seconds until a message of this lane may be sent."""
        quota = self._limits.quota
        if lane.line is None and all(
            quota.is_full(line, server_now, starts_chat=lane.starts_chat) for line in self._lines.usable
        ):
            return until_tomorrow(server_now)
        return self._limits.wait(lane.line, lane.timezone, server_now, starts_chat=lane.starts_chat)

    def why_waiting(self, server_now: datetime) -> str:
        """Say for whom which limit is reached, and until when; nothing if nobody waits for one."""
        found: Counter[tuple[float, str]] = Counter()
        for lane in self.waiting:
            wait = self.wait_of(lane, server_now)
            why = self._limits.why(lane.line, lane.timezone, server_now, starts_chat=lane.starts_chat)
            found[60 * math.ceil(wait / 60), why] += len(lane.waiting)
        reasons = [
            f"{why} until {server_now + timedelta(seconds=wait):%Y-%m-%d %H:%M} UTC, for {number:,}"
            for (wait, why), number in sorted(found.items())
        ]
        more = f"; and {len(reasons) - SHOWN:,} more reasons" if len(reasons) > SHOWN else ""
        return "Nothing can be sent now: " + "; ".join(reasons[:SHOWN]) + more if reasons else ""

    def claimable(self, lane: Lane, server_now: datetime, number: int) -> Iterator[tuple[Lane, int]]:
        """
        Yield the lanes whose turn comes soon, with how many recipients of each are to be claimed together.

        :param lane: whose turn it is.
        :param number: how many are claimed in all, about.
        """
        due = [one for one in self._order if one is lane or (one.waiting and self.wait_of(one, server_now) < LONG_WAIT)]
        for one in due:
            yield one, min(len(one.waiting), max(1, number // len(due)))

    @property
    def waiting(self) -> list[Lane]:
        """The lanes in which somebody waits."""
        return [lane for lane in self._order if lane.waiting]

    def pop_all(self) -> list[Recipient | SendJob]:
        """Remove and return all who wait for their turn to be sent to."""
        found = [waiting for lane in self._order for waiting in lane.waiting]
        for lane in self._order:
            lane.waiting.clear()
        return found

    def pop_excluded(self) -> list[Recipient | SendJob]:
        """Remove and return all who wait for a line that is excluded."""
        lanes = [lane for lane in self._order if lane.line in self._lines.excluded]
        found = [waiting for lane in lanes for waiting in lane.waiting]
        for lane in lanes:
            lane.waiting.clear()
        return found
