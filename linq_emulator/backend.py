"""One emulator: its settings, its clock and all its state, in one object."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from linq_emulator.changes import Changes
from linq_emulator.clock import EARLIEST, HOUR, SECOND, Clock, http_date
from linq_emulator.domain.content import MessageParser
from linq_emulator.domain.media import Media
from linq_emulator.domain.models import StoredResponse
from linq_emulator.domain.rate_limits import RateLimits
from linq_emulator.domain.webhooks import Webhooks
from linq_emulator.faults import Faults
from linq_emulator.journal import Attempt, Journal, new_start
from linq_emulator.request_log import RequestLog
from linq_emulator.store import Store
from linq_emulator.switches import Switches

__all__ = ["DEFAULT_KEY", "DEFAULT_LINES", "Backend", "RequestsUnderWay", "Settings"]

DEFAULT_KEY = "linq-emulator-key"
DEFAULT_LINES = ("+12025550101", "+12025550102")


@dataclass(frozen=True, slots=True)
class Settings:
    """How an emulator is started. A reset returns to it.

    Args:
        api_key: The one bearer key that is accepted.
        lines: Own numbers in E.164.
        opted_out: Handles that have opted out before the start.
        ephemeral_hours: Retention window of every line; None keeps messages.
        seed: Makes identifiers and chances repeatable.
        switches: Values that differ from the defaults.
        token: What commands of the control API must present; None if they need nothing.
        allowed_hosts: Names in a ``Host`` header that are served, besides those of loopback.
        origin: Scheme, host and port of the server.
        with_inbox: Whether the page of the inbox is served.
    """

    api_key: str = DEFAULT_KEY
    lines: tuple[str, ...] = DEFAULT_LINES
    opted_out: tuple[str, ...] = ()
    ephemeral_hours: float | None = None
    seed: int | None = None
    switches: Mapping[str, object] = field(default_factory=dict)
    token: str | None = None
    allowed_hosts: tuple[str, ...] = ()
    origin: str = "http://127.0.0.1:8181"
    with_inbox: bool = True

    def lasting(self) -> dict[str, Any]:
        """Those on which a state that is kept depends, by the names of the options."""
        return {
            "line": list(self.lines),
            "opted-out": list(self.opted_out),
            "ephemeral-hours": self.ephemeral_hours,
            "seed": self.seed,
            "switch": dict(self.switches),
        }


@dataclass(slots=True)
class RequestsUnderWay:
    """Requests of the API that have come since the start or the last reset, and are not in the log yet."""

    count: int = 0
    are_abandoned: asyncio.Event = field(default_factory=asyncio.Event)


class Backend:
    """Everything behind the API. The rules in `domain` take it as their first argument.

    Args:
        settings: How to start.
        clock: The clock of everything that happens.
        journal: Where to keep what changes the state. If it has a start, that gives the identifiers and signatures.
    """

    def __init__(self, settings: Settings, clock: Clock, journal: Journal | None = None) -> None:
        self.settings = settings
        self.clock = clock
        self.trace_id = ""
        """Of the current request. The webhooks that it causes carry the same one."""
        self.under_way = RequestsUnderWay()
        self.changes = Changes()
        self.replayed_trace_id: str | None = None
        """Of the request that is made again from the journal; None when none is."""
        self.journal = journal
        self._random = random.Random()
        start = journal.start if journal else None
        if start is None:
            self._begin()
        else:
            self._empty(start.seed, bytes.fromhex(start.secret))

    def reset(self) -> None:
        """Drop everything but the settings and the time. Requests that are under way end, and do nothing any more."""
        self.under_way.are_abandoned.set()
        self.under_way = RequestsUnderWay()
        webhooks = self.webhooks
        webhooks.abandon()
        self._begin()
        self.webhooks.take_connections_of(webhooks)

    def _begin(self) -> None:
        seed = secrets.randbits(64) if self.settings.seed is None else self.settings.seed
        secret = secrets.token_bytes(32)
        self._empty(seed, secret)
        if self.journal is not None:
            clock, settings = self.clock, self.settings
            start = new_start(
                seed=seed,
                secret=secret,
                origin=settings.origin,
                options=settings.lasting(),
                at=clock.now(),
                frozen=clock.frozen,
                speed=clock.speed,
            )
            self.journal.begin(start)

    def _empty(self, seed: int, secret: bytes) -> None:
        settings = self.settings
        self.clock.clear()
        self.rng = random.Random(seed)
        self.switches = Switches()
        self.switches.update(settings.switches)
        self.store = Store(self.rng)
        self.rate_limits = RateLimits()
        self.media = Media(settings.origin, self.clock, self.switches, secret)
        self.message_parser = MessageParser(self.store, self.media, self.clock)
        self.faults = Faults(random.Random(settings.seed), self.clock)
        self.request_log = RequestLog()
        self.webhooks = Webhooks(self.clock, self.switches, self.store.new_id, secret, self._on_attempt)
        self.responses_by_key: dict[tuple[str, str], StoredResponse] = {}
        """By the scope of an idempotency key and the key."""
        self.next_sweep: int | None = None
        self.seed_runs = 0
        self.line_uses = 0
        for number in settings.lines:
            line = self.store.add_line(number)
            if settings.ephemeral_hours is not None:
                line.retention = round(settings.ephemeral_hours * HOUR)
        for handle in settings.opted_out:
            self.store.contact(handle).opted_out = True

    def new_trace_id(self) -> str:
        """The trace id of a request; of one that is made again, the one that it had."""
        return self.replayed_trace_id or f"{self._random.getrandbits(128):032x}"

    @contextmanager
    def acting(self, trace_id: str) -> Iterator[int]:
        """Carry out a request: what is due has happened, and the clock shows one time, which is the result."""
        with self.clock.held() as at:
            self.clock.run_due()
            self.trace_id = trace_id
            self.media.begin_request()
            yield at

    def keep(
        self, at: int, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes, trace_id: str = ""
    ) -> None:
        """Keep a request that may have changed something, if there is a journal. Reads change nothing."""
        if self.journal is not None and self.replayed_trace_id is None and method != "GET":
            kept = {name: headers[name] for name in ("content-type", "idempotency-key") if name in headers}
            self.journal.add_request(at, trace_id or self.trace_id, method, path, query, kept, body)

    def _on_attempt(self, attempt: Attempt) -> None:
        if self.journal is not None:
            self.journal.add_attempt(attempt)
        self.changes.notify()

    def now(self) -> int:
        """The virtual time in milliseconds."""
        return self.clock.now()

    def date_headers(self) -> dict[str, str]:
        """The ``Date`` header of a response, as the switches want it."""
        form, offset = self.switches.date_form, self.switches.date_offset_seconds
        if form == "none":
            return {}
        now = self.clock.now()
        return {"Date": http_date(max(EARLIEST, now + round(offset * SECOND)) if offset else now, form)}

    def run_after(self, seconds: float, action: Callable[[], None]) -> None:
        """Run an action after virtual seconds, under the trace id of this request; immediately for 0 seconds."""
        if seconds <= 0:
            action()
            return
        trace_id = self.trace_id

        def run() -> None:
            current, self.trace_id = self.trace_id, trace_id
            try:
                action()
            finally:
                self.trace_id = current

        self.clock.call_at(self.now() + round(seconds * SECOND), run)
