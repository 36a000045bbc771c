"""Reading the bodies of requests, with bounds on how many, how large and how slow."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any, Final

import anyio

__all__ = ["Intake", "RefusedError"]

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

#: Bodies that are read at a time, and their bytes. Genuine ones are a few kB and are there in milliseconds.
_MAX_READING: Final = 500
_MAX_BYTES: Final = 64 * 1024 * 1024
_MAX_SECONDS: Final = 5.0
#: Of a body that was refused.
_MAX_DISCARDED: Final = 64 * 1024 * 1024


class RefusedError(Exception):
    """A delivery is not accepted.

    Attributes:
        status: the HTTP status for the sender, who gets nothing else.
        reason: for log and metrics.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


@dataclass(slots=True, eq=False)
class _Reading:
    task: asyncio.Task[Any]
    deadline: float
    size: int = 0
    why_ended: str = ""


async def discard(receive: Receive) -> None:
    """Read what is left of a body that was refused, and forget it; not for long, and not without end.

    A connection that is closed while its client still writes looks broken to that: the platform would not see the
    answer, and send the same for half an hour.

    Args:
        receive: as ASGI has it.
    """
    size = 0
    with anyio.move_on_after(_MAX_SECONDS):
        while size < _MAX_DISCARDED:
            message = await receive()
            size += len(message.get("body", b""))
            if not message.get("more_body", False):
                return


class Intake:
    """Reads bodies. When there are too many, or they are too large together, the one that takes longest has to go.

    So whoever holds connections open and sends slowly makes room for those that send what they have.

    Args:
        max_body_bytes: of one body.
    """

    def __init__(self, max_body_bytes: int) -> None:
        self._max_body_bytes = max_body_bytes
        self._readings: dict[_Reading, None] = {}
        self._bytes = 0
        self._timer: asyncio.TimerHandle | None = None

    async def read(self, receive: Receive, length: str | None) -> bytes:
        """Return a body.

        Args:
            receive: as ASGI has it.
            length: the header `Content-Length`, if there is one.

        Raises:
            RefusedError: it is too large (413), or too slow, one of too many or not whole (503, to come again).
        """
        announced = int(length[:20]) if length is not None and length.isdecimal() else 0
        if announced > self._max_body_bytes:
            raise RefusedError(413, "too_large")
        task = asyncio.current_task()
        assert task is not None
        reading = _Reading(task, asyncio.get_running_loop().time() + _MAX_SECONDS)
        self._readings[reading] = None
        self._make_room(reading)
        self._start_timer()
        try:
            body = await self._read(receive, reading)
        except asyncio.CancelledError:
            if not reading.why_ended:
                raise
            if hasattr(task, "uncancel"):  # from Python 3.11 on
                task.uncancel()
            raise RefusedError(503, reading.why_ended) from None
        finally:
            self._drop(reading)
        if len(body) < announced:
            # The parser takes what follows a header `Upgrade`, as some proxies add it, for another protocol.
            raise RefusedError(503, "incomplete")
        return body

    async def _read(self, receive: Receive, reading: _Reading) -> bytes:
        chunks: list[bytes] = []
        while True:
            message = await receive()
            if message["type"] != "http.request":
                raise RefusedError(400, "disconnected")
            chunk = message.get("body", b"")
            reading.size += len(chunk)
            self._bytes += len(chunk)
            chunks.append(chunk)
            if reading.size > self._max_body_bytes:
                raise RefusedError(413, "too_large")
            if not message.get("more_body", False):
                return b"".join(chunks)
            self._make_room(reading)

    def _make_room(self, current: _Reading) -> None:
        while len(self._readings) > _MAX_READING or self._bytes > _MAX_BYTES:
            oldest = next(iter(self._readings))
            if oldest is current:  # it is not waiting for anything that could be cancelled
                raise RefusedError(503, "overloaded")
            self._end(oldest, "overloaded")

    def _end(self, reading: _Reading, why: str) -> None:
        reading.why_ended = why
        self._drop(reading)
        reading.task.cancel()

    def _drop(self, reading: _Reading) -> None:
        if reading in self._readings:
            del self._readings[reading]
            self._bytes -= reading.size

    def _start_timer(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(1, self._end_slow_ones)

    def _end_slow_ones(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        for reading in [reading for reading in self._readings if reading.deadline < now]:
            self._end(reading, "too_slow")
        if self._readings:
            self._start_timer()
