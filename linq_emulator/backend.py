"""One emulator: its settings, its clock and all its state, in one object."""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from linq_emulator.changes import Changes
from linq_emulator.clock import EARLIEST, HOUR, SECOND, Clock, http_date
from linq_emulator.domain.content import MessageParser
from linq_emulator.domain.media import Media
from linq_emulator.domain.models import StoredResponse
from linq_emulator.domain.rate_limits import RateLimits
from linq_emulator.domain.webhooks import Webhooks
from linq_emulator.faults import Faults
from linq_emulator.request_log import RequestLog
from linq_emulator.store import Store
from linq_emulator.switches import Switches

__all__ = ["DEFAULT_KEY", "DEFAULT_LINES", "Backend", "Settings"]

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


class Backend:
    """Everything behind the API. The rules in `domain` take it as their first argument.

    Args:
        settings: How to start.
        clock: The clock of everything that happens.
    """

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self.settings = settings
        self.clock = clock
        self.trace_id = ""
        """Of the current request. The webhooks that it causes carry the same one."""
        self.requests_under_way = 0
        """Requests of the API that have come and are not in the log yet."""
        self.changes = Changes()
        self.reset()

    def reset(self) -> None:
        """Drop everything but the settings and the time."""
        settings = self.settings
        self.clock.clear()
        self.rng = random.Random(secrets.randbits(64) if settings.seed is None else settings.seed)
        self.switches = Switches()
        self.switches.update(settings.switches)
        self.store = Store(self.rng)
        self.rate_limits = RateLimits()
        self.media = Media(settings.origin, self.clock, self.switches)
        self.message_parser = MessageParser(self.store, self.media, self.clock)
        self.faults = Faults(random.Random(settings.seed), self.clock)
        self.request_log = RequestLog()
        self.webhooks = Webhooks(self.clock, self.switches, self.store.new_id, self.changes.notify)
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
