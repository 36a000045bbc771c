"""How messages go to stdout."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final

from singer_sdk.contrib.msgspec import MsgSpecWriter, serialize_jsonl
from singer_sdk.singerlib import Message, RecordMessage
from typing_extensions import override

from tap_linq.termination import SignalExit

__all__ = ["OutputError", "RecordWriter"]

#: Bytes of records that wait to be written together.
BUFFER_SIZE: Final = 64 * 1024


class OutputError(Exception):
    """What was read could not be written: the loader has ended, or the disk is full."""


class RecordWriter(MsgSpecWriter):
    """The SDK's msgspec writer, which puts records together before it writes them.

    A write for each record is a system call for each, at which the threads that read take the interpreter away. All
    other messages are written immediately, and with them the records that came before: a STATE is out only when what it
    stands for is.
    """

    def __init__(self) -> None:
        super().__init__()
        self._pending = bytearray()
        self._depth = 0
        self._ended_by: int | None = None

    @override
    def write_message(self, message: Message) -> None:
        self._pending += self.format_message(message)
        if not isinstance(message, RecordMessage) or len(self._pending) >= BUFFER_SIZE:
            self.flush()

    def write_records(self, stream: str, records: Iterable[dict[str, Any]], extracted_at: datetime) -> None:
        """Write records of a stream: what `write_message` does with a `RecordMessage` of each, in half the time."""
        for record in records:
            message = {"type": "RECORD", "stream": stream, "record": record, "time_extracted": extracted_at}
            self._pending += serialize_jsonl(message)
            if len(self._pending) >= BUFFER_SIZE:
                self.flush()

    def end(self, number: int) -> None:
        """End the process, from the handler of a signal: after what is being written, so that all of it is.

        A second signal changes nothing: the first one ends the process soon.

        Args:
            number: of the signal.

        Raises:
            SignalExit: nothing is being written.
        """
        is_first, self._ended_by = self._ended_by is None, self._ended_by or number
        if is_first and not self._depth:
            raise SignalExit(number)

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Have a signal wait for the end of a block.

        Raises:
            SignalExit: one came meanwhile.
        """
        was_ended = self._ended_by is not None
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
        if self._ended_by is not None and not was_ended and not self._depth:
            raise SignalExit(self._ended_by)

    def flush(self) -> None:
        """Write what waits.

        Raises:
            OutputError: it could not be written.
            SignalExit: a signal came meanwhile; all is written.
        """
        with self.whole():
            # Taken out first: whatever interrupts the write, nothing is written twice.
            rest, self._pending = memoryview(self._pending), bytearray()
            try:
                while rest:
                    # With PYTHONUNBUFFERED, as in many images, this is the bare file, which may take a part only.
                    rest = rest[sys.stdout.buffer.write(rest) :]
                sys.stdout.flush()
            except BrokenPipeError:
                raise OutputError("the loader reads no more: it has ended, and its own log says why") from None
            except OSError as error:
                raise OutputError(f"stdout could not be written: {error.strerror}") from None
