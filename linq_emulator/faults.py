"""Faults that the control API injects: which requests they hit, how often and for how long.

A fault is declared as a `FaultSpec`, which is also the body of ``POST faults``.
"""

from __future__ import annotations

import random
import time
from typing import Annotated, Literal

from msgspec import Meta, Struct
from msgspec.structs import asdict
from pydantic_core import SchemaError, SchemaValidator, core_schema

from linq_emulator.clock import SECOND, Clock

__all__ = ["Fault", "FaultBody", "FaultClock", "FaultKind", "FaultSpec", "FaultTime", "Faults"]

FaultKind = Literal["status", "latency", "reset", "truncate", "malformed", "trickle"]
FaultBody = Literal["half", "bom", "bad_bytes", "truncated_utf8", "control", "nul", "lone_surrogate"]
FaultTime = Literal["before", "after"]
FaultClock = Literal["virtual", "real"]

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


class FaultSpec(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """What a fault does, and to which requests.

    Args:
        kind: An error status, a wait, a TCP reset, a body shorter than its Content-Length, a body that is not as JSON
            should be, or a body of which one byte comes at a time.
        path: Regular expression, searched in the path from ``/v3`` on. It takes linear time, and so has neither
            look-around nor back-references.
        method: Only this HTTP method; None is every method.
        probability: Chance for each matching request.
        count: How many requests it hits at most; None is without end.
        lasts: Seconds from its first hit after which it hits no more; None is without end.
        clock: Whether `lasts` follows the virtual clock or the real one.
        when: Before the request is processed, or after it was processed and recorded; None leaves it to the kind.
        status: HTTP status, for kind ``status``: 200, or 400 to 599.
        code: Error code, for kind ``status``.
        envelope: Whether the body of kind ``status`` is the API's error envelope, or the page of a proxy.
        body: What is wrong with the body, for kind ``malformed``: it is cut in half; a byte order mark stands before
            it; or the first text in it holds a byte that is no UTF-8, the first bytes of an emoji, an unescaped control
            character, or the escape of U+0000 or of half a surrogate pair.
        seconds: Real seconds: the wait of kind ``latency``, or between two bytes, for kind ``trickle``.
        retry_after: Seconds in ``Retry-After``, for kind ``status``.
    """

    kind: FaultKind
    path: Annotated[str, Meta(max_length=1000)] = ""
    method: str | None = None
    probability: Annotated[float, Meta(ge=0, le=1)] = 1
    count: Annotated[int, Meta(ge=1, le=1_000_000_000)] | None = None
    lasts: Annotated[float, Meta(gt=0, le=31_536_000)] | None = None
    clock: FaultClock = "virtual"
    when: FaultTime | None = None
    status: Annotated[int, Meta(ge=200, le=599)] = 500
    code: Annotated[int, Meta(ge=1000, le=9999)] = 3006
    envelope: bool = True
    body: FaultBody = "half"
    seconds: Annotated[float, Meta(ge=0, le=600)] = 1
    retry_after: Annotated[int, Meta(ge=0, le=1_000_000_000)] | None = None


class FaultError(ValueError):
    """A fault that cannot be: the field, and the rule that it breaks."""

    def __init__(self, field: str, rule: str) -> None:
        self.field, self.rule = field, rule
        super().__init__(f"{field}: {rule}")


class Fault:
    """An active fault.

    Args:
        id: Number by which the control API names it.
        spec: What it does.

    Raises:
        FaultError: `path`, `method` or `status` is wrong.
    """

    def __init__(self, id: int, spec: FaultSpec) -> None:
        self.id = id
        self.spec = spec
        self.kind = spec.kind
        self.when = spec.when or _usual_time(spec)
        self.hits = 0
        self._method = spec.method.upper() if spec.method else None
        if self._method not in (None, *_METHODS):
            raise FaultError("method", f"must be one of {', '.join(_METHODS)}")
        if 200 < spec.status < 400:
            raise FaultError("status", "must be 200, or from 400 to 599")
        try:
            # Rust's engine: Python's one backtracks, and some patterns would stop the server for ever.
            self._path = SchemaValidator(core_schema.str_schema(pattern=spec.path, regex_engine="rust-regex"))
        except SchemaError:
            rule = "must be a regular expression without look-around and back-references"
            raise FaultError("path", rule) from None
        self._first_hit: dict[FaultClock, float] = {}

    def as_dict(self) -> dict[str, object]:
        """Its fields, as the control API shows them."""
        return {"id": self.id, **asdict(self.spec), "method": self._method, "when": self.when, "hits": self.hits}

    def matches(self, method: str, path: str, seconds: dict[FaultClock, float]) -> bool:
        """Whether it may hit a request, its chance aside; `seconds` is the reading of each clock."""
        spec = self.spec
        return (
            (spec.count is None or self.hits < spec.count)
            and self._method in (None, method)
            and self._path.isinstance_python(path)
            and (spec.lasts is None or not self.hits or seconds[spec.clock] < self._first_hit[spec.clock] + spec.lasts)
        )

    def hit(self, seconds: dict[FaultClock, float]) -> None:
        """Count a hit."""
        if not self.hits:
            self._first_hit = seconds
        self.hits += 1


def _usual_time(spec: FaultSpec) -> FaultTime:
    # These alter a response, which is there only after the request was processed.
    return "after" if spec.kind == "trickle" or (spec.kind == "malformed" and spec.body != "half") else "before"


class Faults:
    """The active faults.

    Args:
        rng: Decides about faults with a probability.
        clock: The virtual clock.
    """

    def __init__(self, rng: random.Random, clock: Clock) -> None:
        self._rng = rng
        self._clock = clock
        self._next_id = 1
        self.active: list[Fault] = []

    def add(self, spec: FaultSpec) -> Fault:
        """Add a fault.

        Raises:
            FaultError: One of its fields is wrong.
        """
        fault = Fault(self._next_id, spec)
        self._next_id += 1
        self.active.append(fault)
        return fault

    def remove(self, fault_id: str) -> bool:
        """Remove the fault of a number; False if there is none."""
        remaining = [fault for fault in self.active if str(fault.id) != fault_id]
        found = len(remaining) < len(self.active)
        self.active = remaining
        return found

    def select(self, method: str, path: str) -> list[Fault]:
        """The faults that hit this request, which counts as a hit: every latency, and the first other fault."""
        selected: list[Fault] = []
        if not self.active:
            return selected
        seconds: dict[FaultClock, float] = {"virtual": self._clock.now() / SECOND, "real": time.monotonic()}
        for fault in self.active:
            is_latency = fault.kind == "latency"
            if not is_latency and any(other.kind != "latency" for other in selected):
                continue
            if fault.matches(method, path, seconds) and self._happens(fault):
                fault.hit(seconds)
                selected.append(fault)
        return selected

    def _happens(self, fault: Fault) -> bool:
        return fault.spec.probability >= 1 or self._rng.random() < fault.spec.probability
