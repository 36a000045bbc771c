"""One emulator: its settings, its clock and everything that it remembers, in one object."""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from linq_emulator.clock import HOUR, Clock
from linq_emulator.domain.content import ContentReader
from linq_emulator.domain.media import Media
from linq_emulator.domain.models import Message
from linq_emulator.domain.rate_limits import Limits
from linq_emulator.domain.webhooks import Webhooks
from linq_emulator.faults import Faults
from linq_emulator.ledger import RequestLog
from linq_emulator.store import Store
from linq_emulator.switches import Switches

DEFAULT_KEY = "linq-emulator-key"
DEFAULT_LINES = ("+12025550101", "+12025550102")


@dataclass(frozen=True, slots=True)
class Settings:
    """How an emulator is started, and what a reset returns to.

    Args:
        api_key: The one bearer key that is accepted.
        lines: Own numbers in E.164.
        opted_out: Handles that have opted out before the start.
        ephemeral_hours: Window of the ephemeral tier on every line; None keeps messages.
        seed: Makes identifiers and chances repeatable.
        switches: Positions that differ from the defaults.
        origin: Scheme, host and port at which the server is reached.
    """

    api_key: str = DEFAULT_KEY
    lines: tuple[str, ...] = DEFAULT_LINES
    opted_out: tuple[str, ...] = ()
    ephemeral_hours: float | None = None
    seed: int | None = None
    switches: Mapping[str, object] = field(default_factory=dict)
    origin: str = "http://127.0.0.1:8181"


@dataclass(frozen=True, slots=True)
class Remembered:
    """The answer to the first request with an idempotency key."""

    message: Message
    status: int
    body: bytes
    until: int | None


class World:
    """Everything behind the API. Rules take it as their first argument.

    Args:
        settings: How to begin.
        clock: The clock on which everything happens.
    """

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self.settings = settings
        self.clock = clock
        self.switches = Switches()
        self.trace_id = ""
        """Of the request that is being served: webhooks which it causes carry the same one."""
        self.reset()

    def reset(self) -> None:
        """Forget everything but the settings and the time."""
        settings = self.settings
        self.clock.forget()
        self.rng = random.Random(secrets.randbits(64) if settings.seed is None else settings.seed)
        self.switches = Switches()
        self.switches.update(settings.switches)
        self.store = Store(self.rng)
        self.limits = Limits()
        self.media = Media(settings.origin, self.clock, self.switches)
        self.content = ContentReader(self.store, self.media, self.clock)
        self.faults = Faults(random.Random(settings.seed))
        self.requests = RequestLog()
        self.remembered: dict[tuple[str, str], Remembered] = {}
        self.webhooks = Webhooks(self.clock, self.switches, self.store.new_id)
        self.sweep_due: int | None = None
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

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        """Do something after virtual seconds, still in the name of this request; at once for no seconds."""
        if seconds <= 0:
            action()
            return
        trace_id = self.trace_id

        def act() -> None:
            current, self.trace_id = self.trace_id, trace_id
            try:
                action()
            finally:
                self.trace_id = current

        self.clock.call_at(self.now() + round(seconds * 1000), act)
