"""Faults that the control API orders: which request they hit, and how often."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from typing import Literal

Kind = Literal["status", "latency", "reset", "truncate", "malformed"]
When = Literal["before", "after"]


@dataclass(slots=True)
class Fault:
    """One order.

    Args:
        kind: What happens: an error status, a wait, a TCP reset, a body shorter than its Content-Length, or
            a body that is not JSON.
        path: Regular expression, searched in the path from ``/v3`` on.
        method: Only this HTTP method, when given.
        probability: Chance for each matching request.
        count: How many requests are hit before the fault is spent; None is without end.
        when: Before the request is processed, or after it has been processed and recorded.
        status: HTTP status, for kind ``status``.
        code: Error code, for kind ``status``.
        seconds: Real seconds, for kind ``latency``.
        retry_after: Seconds in ``Retry-After``, for kind ``status``.
    """

    id: int
    kind: Kind
    path: re.Pattern[str]
    method: str | None
    probability: float
    count: int | None
    when: When
    status: int
    code: int
    seconds: float
    retry_after: int | None
    hits: int = 0


class Faults:
    """The orders in force."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._next = 1
        self.orders: list[Fault] = []

    def next_id(self) -> int:
        """A number for a new order."""
        self._next += 1
        return self._next - 1

    def remove(self, fault_id: int) -> bool:
        """Withdraw one order; False when there is none of that number."""
        left = [fault for fault in self.orders if fault.id != fault_id]
        found = len(left) < len(self.orders)
        self.orders = left
        return found

    def hitting(self, method: str, path: str) -> list[Fault]:
        """The faults that hit this request, counted as used: every wait, and the first of the others."""
        chosen: list[Fault] = []
        for fault in self.orders:
            waits = fault.kind == "latency"
            if not waits and any(other.kind != "latency" for other in chosen):
                continue
            if self._matches(fault, method, path):
                fault.hits += 1
                chosen.append(fault)
        return chosen

    def _matches(self, fault: Fault, method: str, path: str) -> bool:
        return (
            (fault.count is None or fault.hits < fault.count)
            and fault.method in (None, method)
            and fault.path.search(path) is not None
            and (fault.probability >= 1 or self._rng.random() < fault.probability)
        )
