"""Who has opted out and in again, by what events say in whatever order they come."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Final

from linq_client.sync import SeenIds
from tap_linq.extraction.records import Record
from tap_linq.extraction.webhook_records import ArchivedEvent, OptOut, opt_outs_of

__all__ = ["MAX_HEARD", "MAX_OPTED_OUT", "OptOuts"]

#: People and chats that have opted out which STATE knows, those who did last.
MAX_OPTED_OUT: Final = 1_000

#: People and chats whose last message STATE knows, and a run.
MAX_HEARD: Final = 200
_MAX_HEARD_IN_RUN: Final = 65_536

#: How late the event of an opt-out may come: the platform repeats what fails for 30 minutes.
_LATE: Final = timedelta(hours=1)


class OptOuts:
    """Who is out, and who has written lately.

    People stand here by digests of their handles, chats by digests of their ids: an opt-out may name the chat alone.

    Args:
        out: who is out, and since when, by earlier runs.
        heard: who has written lately, and when.
        secret: key of the digests, so that nobody can try out handles; empty for none.
    """

    def __init__(self, out: Mapping[str, datetime], heard: Mapping[str, datetime], secret: bytes = b"") -> None:
        self._secret = secret
        self._out = dict(out)
        self._heard = OrderedDict(heard)
        self._health = SeenIds()
        self._said = SeenIds()
        # Of those who did not fit into STATE, nobody knows whether they are out. Who writes is in, in any case.
        self._is_partial = len(out) >= MAX_OPTED_OUT

    @property
    def out(self) -> dict[str, datetime]:
        """Who is out and since when, for STATE: those who opted out last."""
        return _newest(self._out, MAX_OPTED_OUT)

    @property
    def heard(self) -> dict[str, datetime]:
        """Who has written so lately that the event of an opt-out before may still come, for STATE."""
        newest = max(self._heard.values(), default=None)
        recent = {who: at for who, at in self._heard.items() if newest is not None and newest - at <= _LATE}
        return _newest(recent, MAX_HEARD)

    def records(self, event: ArchivedEvent, line: str | None) -> Iterator[Record]:
        """Yield the records of what an event says."""
        for found in opt_outs_of(event):
            if found.is_out:
                yield from self._opted_out(found, event, line)
            elif self._is_in_again(found, event):
                yield found.record(event, line)

    def _opted_out(self, found: OptOut, event: ArchivedEvent, line: str | None) -> Iterator[Record]:
        # All events of a chat repeat its health.
        if found.evidence == "health_status" and not self._health.add(found.key):
            return
        yield found.record(event, line)
        for name in self._names(found.handle, event)[:1]:
            written = self._heard.get(name)
            if written is None or written <= found.at:
                self._out[name] = max(found.at, self._out.get(name, found.at))
                return
            # The event of a later message has come first.
            again = OptOut(f"{found.key} in again", False, "message", written, found.handle)
            yield {**again.record(event, line), "message_id": None}

    def _is_in_again(self, found: OptOut, event: ArchivedEvent) -> bool:
        names = self._names(found.handle, event)
        for name in names:
            self._heard[name] = max(found.at, self._heard.pop(name, found.at))
            if len(self._heard) > _MAX_HEARD_IN_RUN:
                self._heard.popitem(last=False)
        since = max((self._out[name] for name in names if name in self._out), default=None)
        if since is None:
            return self._is_partial and self._said.add(names[0])
        if found.at <= since:
            return False
        for name in names:
            self._out.pop(name, None)
        return True

    def _names(self, handle: str | None, event: ArchivedEvent) -> list[str]:
        """What stands for a person: the handle if it is known, and the chat, unless others write in there too."""
        chat_id = None if event.chat.get("is_group") is True else event.chat_id
        told = [name for name in (handle, chat_id and f"chat {chat_id}") if name]
        return [blake2b(name.encode(errors="replace"), digest_size=8, key=self._secret).hexdigest() for name in told]


def _newest(times: Mapping[str, datetime], count: int) -> dict[str, datetime]:
    return dict(sorted(times.items(), key=lambda item: item[1], reverse=True)[:count])
