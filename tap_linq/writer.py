"""How messages go to stdout."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

from singer_sdk.contrib.msgspec import MsgSpecWriter, serialize_jsonl
from singer_sdk.singerlib import Message, RecordMessage
from typing_extensions import override

__all__ = ["RecordWriter"]

#: Bytes of records that wait to be written together.
BUFFER_SIZE: Final = 64 * 1024


class RecordWriter(MsgSpecWriter):
    """The SDK's msgspec writer, which puts records together before it writes them.

    A write for each record is a system call for each, at which the threads that read take the interpreter away. All
    other messages are written immediately, and with them the records that came before: a STATE is out only when what it
    stands for is.
    """

    def __init__(self) -> None:
        super().__init__()
        self._pending = bytearray()
        self._is_writing = False
        self._exit_code: int | None = None

    @override
    def write_message(self, message: Message) -> None:
        self._pending += self.format_message(message)
        if not isinstance(message, RecordMessage) or len(self._pending) >= BUFFER_SIZE:
            self._write_pending()

    def write_records(self, stream: str, records: Iterable[dict[str, Any]], extracted_at: datetime) -> None:
        """Write records of a stream: what `write_message` does with a `RecordMessage` of each, in half the time."""
        for record in records:
            message = {"type": "RECORD", "stream": stream, "record": record, "time_extracted": extracted_at}
            self._pending += serialize_jsonl(message)
            if len(self._pending) >= BUFFER_SIZE:
                self._write_pending()

    def exit(self, exit_code: int) -> None:
        """End the process, from a signal handler: after the write in progress, so that no line is torn.

        A write waits for as long as nobody reads; a second signal ends the process immediately.

        Raises:
            SystemExit: nothing is being written.
        """
        if not self._is_writing or self._exit_code is not None:
            raise SystemExit(exit_code)
        self._exit_code = exit_code

    def _write_pending(self) -> None:
        # Taken out first: whatever interrupts the write, nothing is written twice.
        data, self._pending = self._pending, bytearray()
        self._is_writing = True
        try:
            rest = memoryview(data)
            while rest:
                # With PYTHONUNBUFFERED, as in many images, this is the bare file, which may take a part only.
                rest = rest[sys.stdout.buffer.write(rest) :]
            sys.stdout.flush()
        finally:
            self._is_writing = False
        if self._exit_code is not None:
            raise SystemExit(self._exit_code)
