"""How messages go to stdout."""

from __future__ import annotations

import sys

from singer_sdk.contrib.msgspec import MsgSpecWriter
from singer_sdk.singerlib import Message, RecordMessage
from typing_extensions import override


class RecordWriter(MsgSpecWriter):
    """The SDK's msgspec writer, which leaves it to the buffer of stdout when records go out.

    Flushing each record costs a system call a record. Everything else is flushed at once, and with it all records that
    came before: a STATE is out only when what it stands for is.
    """

    @override
    def write_message(self, message: Message) -> None:
        if isinstance(message, RecordMessage):
            sys.stdout.buffer.write(self.format_message(message))
        else:
            super().write_message(message)
