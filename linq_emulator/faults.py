"""Faults that the control API injects: which requests they hit, and how often."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from typing import Literal

FaultKind = Literal["status", "latency", "reset", "truncate", "malformed"]
FaultTime = Literal["before", "after"]


@dataclass(slots=True)
class Fault:
    """One fault.

    Args:
        id: Number by which the control API names it.
        kind: An error status, a wait, a TCP reset, a body shorter than its Content-Length, or a body that is not JSON.
        path: Regular expression, searched in the path from ``/v3`` on.
        method: Only this HTTP method; None is every method.
        probability: Chance for each matching request.
        count: How many requests it hits at most; None is without end.
        when: Before the request is processed, or after it was processed and recorded.
        status: HTTP status, for kind ``status``.
        code: Error code, for kind ``status``.
        seconds: Real seconds, for kind ``latency``.
        retry_after: Seconds in ``Retry-After``, for kind ``status``.
        hits: How many requests it has hit.
    """

    id: int
    kind: FaultKind
    path: re.Pattern[str]
    method: str | None
    probability: float
    count: int | None
    when: FaultTime
    status: int
    code: int
    seconds: float
    retry_after: int | None
    hits: int = 0


class Faults:
    """The active faults.

    Args:
        rng: Decides about faults with a probability.
    """

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._next_id = 1
        self.active: list[Fault] = []

    def next_id(self) -> int:
        """A number for a new fault."""
        self._next_id += 1
        return self._next_id - 1

    def remove(self, fault_id: int) -> bool:
        """Remove one fault; False if there is none of that number."""
        remaining = [fault for fault in self.active if fault.id != fault_id]
        found = len(remaining) < len(self.active)
        self.active = remaining
        return found

    def select(self, method: str, path: str) -> list[Fault]:
        """The faults that hit this request, which counts as a hit: every latency, and the first other fault."""
        selected: list[Fault] = []
        for fault in self.active:
            is_latency = fault.kind == "latency"
            if not is_latency and any(other.kind != "latency" for other in selected):
                continue
            if self._matches(fault, method, path):
                fault.hits += 1
                selected.append(fault)
        return selected

    def _matches(self, fault: Fault, method: str, path: str) -> bool:
        return (
            (fault.count is None or fault.hits < fault.count)
            and fault.method in (None, method)
            and fault.path.search(path) is not None
            and (fault.probability >= 1 or self._rng.random() < fault.probability)
        )
