"""How an operation of the API is declared: what runs it, and what the OpenAPI document says of it."""

from __future__ import annotations

from dataclasses import dataclass

from linq_emulator.errors import CODES
from linq_emulator.server.gateway import Operation
from linq_emulator.switches import declarations

__all__ = ["ACTIVE", "CONTENT", "SENDING", "Refusal", "Route"]

ACTIVE = (2013, 2027)
"""The line has left the chat, or cannot deliver for now."""
SENDING = (*ACTIVE, 1007, 2008, 2024, 2026)
"""A recipient or a rate limit does not allow a send."""
CONTENT = (1004, 1005, 1008, 2002, 2003, 2007, 2011, 2015, 2016, 2017, 2018, 2023, 2028, 5004)
"""The content of a message is wrong, or does not fit its chat."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error of an operation whose status is not the one of its code.

    Args:
        code: The vendor's code.
        statuses: What it comes with; a text is the name of the switch that decides.
    """

    code: int
    statuses: int | str

    def all_statuses(self) -> tuple[int, ...]:
        """Every status that it may have."""
        return _statuses(self.statuses)


@dataclass(frozen=True, slots=True)
class Route:
    """An operation, as it is reached and as it is documented.

    Args:
        method: HTTP method.
        path: Path template.
        run: What carries it out.
        response: Type of the body; None if there is none.
        status: Status of success; a text is the name of the switch that decides.
        refusals: Every other code with which it refuses. 2004 and 3006 may come from all, 1003 from all with a body,
            and 1005 from all with an id in the path or a query.
        body: Type of the request's body.
        query: Type of the request's query.
        headers: Type of the request's headers.
        also_empty: Another status of success, which has no body.
        media_type: Of the response.
    """

    method: str
    path: str
    run: Operation
    response: type | None = None
    status: int | str = 200
    refusals: tuple[int | Refusal, ...] = ()
    body: type | None = None
    query: type | None = None
    headers: type | None = None
    also_empty: int | None = None
    media_type: str = "application/json"

    def success_statuses(self) -> tuple[int, ...]:
        """Every status of success with the declared body."""
        return _statuses(self.status)

    def refusals_by_status(self) -> dict[int, set[int]]:
        """The codes of each status of refusal."""
        found: dict[int, set[int]] = {401: {2004}, 500: {3006}}
        implied: list[int | Refusal] = [1001, 1003, Refusal(1003, 413)] if self.body else []
        if self.query or "_id}" in self.path:
            implied.append(1005)
        for refusal in (*implied, *self.refusals):
            if isinstance(refusal, int):
                refusal = Refusal(refusal, CODES[refusal][0])
            for status in refusal.all_statuses():
                found.setdefault(status, set()).add(refusal.code)
        return found


_ALLOWED: dict[str, tuple[int, ...]] = {
    switch.name: tuple(int(value) for value in switch.allowed.split(", "))
    for switch in declarations()
    if switch.name.endswith("_status")
}


def _statuses(status: int | str) -> tuple[int, ...]:
    return (status,) if isinstance(status, int) else _ALLOWED[status]
