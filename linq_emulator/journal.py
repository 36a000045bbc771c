"""The file of ``--persist``: every request that changed something, from which the next start makes the state again.

The requests of the API and the commands of the control API are the most lasting description of a state that there is.
Made again at the same virtual times and from the same seed, they give the same chats, ids, keys and deliveries.
docs/reference/durable-formats.md describes the lines.
"""

from __future__ import annotations

import base64
import logging
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

__all__ = ["FORMAT", "Attempt", "Journal", "JournalError", "Request", "Start", "new_start"]

log = logging.getLogger(__name__)

FORMAT = 1
_SECOND = 1000
_BEGINNING = b'{"kind":"start",'
"""Of every file. It tells a first line that was cut off from a file of somebody else."""


class JournalError(Exception):
    """A file that can't be used; one sentence says why."""


class Start(Struct, tag_field="kind", tag="start", kw_only=True):
    """The first line: the state before the first request.

    Args:
        format: Number of the format.
        seed: What makes the identifiers.
        secret: What signs URLs, and makes the secrets of subscriptions; hexadecimal.
        origin: Scheme, host and port of the server that wrote it.
        options: Options of the start on which the state depends.
        at: The virtual time, in milliseconds.
        frozen: Whether the clock stood still.
        speed: Virtual seconds per real second.
        real: The real time, in milliseconds.
    """

    format: int
    seed: int
    secret: str
    origin: str
    options: dict[str, Any]
    at: int
    frozen: bool
    speed: float
    real: int


class Request(Struct, tag_field="kind", tag="request", kw_only=True):
    """A request that was carried out, or refused, at a virtual time."""

    at: int
    real: int
    trace_id: str
    method: str
    path: str
    query: str = ""
    headers: dict[str, str] = {}
    text: str = ""
    base64: str = ""
    """The body, if it is no UTF-8."""

    def body(self) -> bytes:
        """The body."""
        return base64.b64decode(self.base64) if self.base64 else self.text.encode()


class Attempt(Struct, tag_field="kind", tag="attempt", kw_only=True, omit_defaults=True):
    """An attempt to deliver an event, and the state of the delivery after it.

    Args:
        chat_id: The chat of the routing token.
        routing_token: What the subscriber has answered in the header of the routing key.
    """

    event_id: str
    subscription_id: str
    state: str
    at: str
    status: int | None
    error: str | None
    chat_id: str | None = None
    routing_token: str | None = None


class _Line(Struct):
    kind: str
    format: int = FORMAT


_KINDS: dict[str, type[Start | Request | Attempt]] = {"start": Start, "request": Request, "attempt": Attempt}


class Journal:
    """An open file, which no other emulator may use.

    Args:
        path: The file. It is made, readable for its owner alone, if there is none.

    Raises:
        JournalError: It is in use, damaged, of a newer format or not such a file.
        OSError: It can't be opened.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), "r+b", buffering=0)
        self.start: Start | None = None
        self.entries: list[Request | Attempt] = []
        """Those that were read, without the start, in their order."""
        self._problem: str | None = None
        try:
            _lock(self._file.fileno(), path)
            self._read()
        except BaseException:
            self._file.close()
            raise

    def _read(self) -> None:
        content = self._file.read()
        complete = content[: content.rfind(b"\n") + 1]
        for number, line in enumerate(complete.splitlines(), 1):
            self._take(line, number)
        rest = content[len(complete) :]
        if not complete and rest[: len(_BEGINNING)] != _BEGINNING[: len(rest)]:
            raise JournalError(f"{self._path} is no file of --persist")
        if rest:
            # The process, or the machine, ended while it wrote the last line.
            self._file.truncate(len(complete))

    def _take(self, line: bytes, number: int) -> None:
        try:
            head = msgspec.json.decode(line, type=_Line)
            if head.format > FORMAT:
                rule = f"has format {head.format}, and this version reads up to {FORMAT}: use the version that wrote it"
                raise JournalError(f"{self._path} {rule}")
            kind = _KINDS.get(head.kind)
            entry = None if kind is None else msgspec.json.decode(line, type=kind)
        except msgspec.DecodeError as error:
            raise JournalError(f"{self._path} is damaged, or no file of --persist, in line {number}: {error}") from None
        if (number == 1) != isinstance(entry, Start):
            raise JournalError(f"{self._path} is damaged, or no file of --persist, in line {number}")
        if isinstance(entry, Start):
            self.start = entry
        elif entry is not None:
            self.entries.append(entry)

    def begin(self, start: Start) -> None:
        """Begin from a new state; what was written before is dropped."""
        self._file.truncate(0)
        self._write(start)

    def add_request(
        self, at: int, trace_id: str, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes
    ) -> None:
        """Keep a request that was carried out at a virtual time. It outlives this process as soon as this returns.

        Raises:
            JournalError: The file cannot be written.
        """
        entry = Request(
            at=at, real=_now(), trace_id=trace_id, method=method, path=path, query=query, headers=dict(headers)
        )
        try:
            entry.text = body.decode()
        except UnicodeDecodeError:
            entry.base64 = base64.b64encode(body).decode()
        self._write(entry)

    def add_attempt(self, attempt: Attempt) -> None:
        """Keep an attempt to deliver an event.

        Raises:
            JournalError: The file cannot be written.
        """
        self._write(attempt)

    def _write(self, entry: Start | Request | Attempt) -> None:
        """Write a line; once one could not be written, none is, since the later ones depend on it.

        Raises:
            JournalError: It could not be written. The file ends with the line before.
        """
        if self._problem is not None:
            raise JournalError(self._problem)
        end = os.fstat(self._file.fileno()).st_size
        left = memoryview(msgspec.json.encode(entry) + b"\n")
        try:
            while left:  # A disk that is nearly full takes the beginning of a line.
                left = left[self._file.write(left) :]
        except OSError as error:
            self._problem = f"{self._path} cannot be written, so nothing is kept until the next start: {error.strerror}"
            self._file.truncate(end)
            log.error("%s", self._problem)
            raise JournalError(self._problem) from None

    def real_milliseconds_since_last(self) -> int:
        """The real time that has passed since the last request that was read."""
        last = next((entry for entry in reversed(self.entries) if isinstance(entry, Request)), self.start)
        return max(0, _now() - last.real) if last else 0

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _now() -> int:
    return round(time.time() * _SECOND)


def new_start(
    *, seed: int, secret: bytes, origin: str, options: dict[str, Any], at: int, frozen: bool, speed: float
) -> Start:
    """The first line of a file that begins now."""
    return Start(
        format=FORMAT,
        seed=seed,
        secret=secret.hex(),
        origin=origin,
        options=options,
        at=at,
        frozen=frozen,
        speed=speed,
        real=_now(),
    )


def _lock(descriptor: int, path: Path) -> None:
    if sys.platform == "win32":
        return
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise JournalError(f"{path} is in use by another emulator") from None
