"""How messages go to stdout."""

from __future__ import annotations

import sys
from typing import Final

from singer_sdk.contrib.msgspec import MsgSpecWriter
from singer_sdk.singerlib import Message, RecordMessage
from typing_extensions import override

#: Bytes of records that wait to be written together.
PENDING: Final = 64 * 1024


class RecordWriter(MsgSpecWriter):
    """The SDK's msgspec writer, which puts records together before it writes them.

    A write for each record is a system call for each, at which the threads that read take the interpreter away. All
    other messages are written at once, and with them the records that came before: a STATE is out only when what it
    stands for is.
    """

    def __init__(self) -> None:
        super().__init__()
        self._pending = bytearray()

    @override
    def write_message(self, message: Message) -> None:
        self._pending += self.format_message(message)
        if not isinstance(message, RecordMessage) or len(self._pending) >= PENDING:
            sys.stdout.buffer.write(self._pending)
            sys.stdout.flush()
            self._pending.clear()
