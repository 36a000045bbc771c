"""The files of `seen_path`: what earlier runs have emitted of a line, and which of them may be believed.

A pass writes a file, which never changes, before the STATE that names it; so a file counts once a loader has confirmed
all that it stands for. A run that begins with it puts a *claim* beside it before it emits anything. Two claims mean
that another run began with the same STATE, and may have emitted what nobody has confirmed: it was killed, its loader
failed, it runs now, or STATE was put back or copied. Then the file does not count, and the run that finds that out
names none. So whatever goes wrong, more is emitted, and never less.

Names hold a digest of the content: what is cut or changed is not the file that STATE means. docs/reference/
durable-formats.md has the format.
"""

from __future__ import annotations

import json
import logging
import re
from datetime import datetime, timedelta, timezone
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from linq_client import InvalidRequestError, LinqError
from linq_client.times import to_utc
from tap_linq.extraction.seen_table import ENTRY_SIZE, SeenTable

if TYPE_CHECKING:
    from linq_webhooks.stores import Store

__all__ = ["FORMAT", "SeenFile", "SeenFiles"]

#: Of a file. A change that an older version would misread takes the next number.
FORMAT: Final = 1

#: For how long files are kept that no run has read or replaced.
KEPT_FOR: Final = timedelta(days=7)

_STAMP: Final = "%Y%m%dT%H%M%SZ"
_NAME: Final = re.compile(r"(?P<series>[0-9a-f]{8})\.(?P<stamp>\d{8}T\d{6}Z)\.(?P<digest>[0-9a-f]{32})\.seen")
_SECTIONS: Final = ("messages", "others")

log = logging.getLogger(__name__)


class SeenFiles:
    """The folder of the files. Safe for several threads.

    Args:
        url: a folder, or a URL that fsspec knows.

    Raises:
        InvalidRequestError: it is none, or a package for it is missing.
    """

    def __init__(self, url: str) -> None:
        try:
            # Only here: without the setting, nothing of it is loaded.
            from linq_webhooks.stores import Store

            self._store = Store(url, "seen_path")
        except ImportError as error:
            raise InvalidRequestError(f"seen_path: {error.name or 'a package'} is not installed") from None
        except LinqError as error:
            raise InvalidRequestError(str(error)) from None

    def begin(self, line: str, name: str | None) -> SeenFile:
        """Begin a pass over a line with the file that its STATE names, if that counts.

        Whatever is wrong with the store is said in the log, and costs rows that come again.
        """
        folder = f"{line.removeprefix('+')}"
        file = SeenFile(self._store, folder, name)
        try:
            file.claim()
        except Exception as error:
            file.give_up(f"{self._store.name} can't be used ({_kind(error)})")
        if file.problem is not None:
            log.warning("line %s: what earlier runs have emitted comes again, as %s", line, file.problem)
        return file


class SeenFile:
    """What is known of a line, and the file that will say it.

    Attributes:
        messages: those that the API has shown; of the others nobody knows.
        others: the same of all other items.
        problem: why nothing is known, in words for the log, where STATE names a file; None if something is, or none.
    """

    def __init__(self, store: Store, folder: str, name: str | None) -> None:
        self.messages = self.others = SeenTable()
        self.problem: str | None = None
        self._store = store
        self._folder = folder
        self._name = name
        self._claim: str | None = None
        self._found: list[str] = []
        self._may_write = True

    def claim(self) -> None:
        """Read the file, unless another run has."""
        self._found = self._store.files(self._folder)
        known = _NAME.fullmatch(self._name or "")
        if self._name is None:
            return
        if known is None:
            self.give_up("STATE names no file of this kind")
            return
        if f"{self._folder}/{self._name}" not in self._found:
            self.give_up("the file that STATE names is not there")
            return
        self._claim = f"{self._folder}/{self._name}.{uuid4().hex}.claim"
        self._store.write_whole(self._claim, b"{}")
        if not self._is_alone():
            # This run's rows and the other's may reach a table in any order.
            self._may_write = False
            self.give_up("another run has begun with the same STATE")
            return
        with self._store.open(f"{self._folder}/{self._name}") as file:
            content = file.read()
        if _digest(content) != known["digest"]:
            self.give_up("the file that STATE names is damaged")
            return
        self._parse(content)

    def give_up(self, problem: str) -> None:
        """Take nothing for known."""
        self.problem = problem
        self.messages = self.others = SeenTable()

    def _is_alone(self) -> bool:
        """Whether no other run has claimed the file."""
        if self._claim is None:
            return True
        claims = [
            one
            for one in self._store.files(self._folder)
            if one.startswith(f"{self._folder}/{self._name}.") and one.endswith(".claim")
        ]
        return claims == [self._claim]

    def _parse(self, content: bytes) -> None:
        entries = content.index(b"\n") + 1
        header: Any = json.loads(content[:entries])
        if header["format"] != FORMAT:
            self.give_up(f"the file that STATE names has format {header['format']!r}, and this version reads {FORMAT}")
            return
        messages, others = (int(header[name]) * ENTRY_SIZE for name in _SECTIONS)
        self.messages = SeenTable(content[entries : entries + messages])
        self.others = SeenTable(content[entries + messages : entries + messages + others])

    def write(self, messages: bytes | bytearray, others: bytes | bytearray, now: datetime) -> str | None:
        """Write what is known after a pass, and return the name for STATE; None if there is none.

        Args:
            messages: entries of messages, sorted; `others` likewise.
            now: the server's time.
        """
        try:
            if not self._may_write or not self._is_alone():
                return None
            counts = {"messages": len(messages) // ENTRY_SIZE, "others": len(others) // ENTRY_SIZE}
            # The id makes it a file of its own, also where nothing has changed since the one before.
            header = json.dumps({"format": FORMAT, "id": uuid4().hex, **counts})
            content = (header.encode() + b"\n", messages, others)
            known = _NAME.fullmatch(self._name or "")
            series = known["series"] if known and self.problem is None else uuid4().hex[:8]
            name = f"{series}.{to_utc(now).strftime(_STAMP)}.{_digest(*content)}.seen"
            with self._store.writing(f"{self._folder}/{name}") as file:
                for part in content:
                    file.write(part)
            self._remove_old(series, name, now)
        except Exception as error:
            log.warning("%s could not be written (%s): the next run emits again what has not changed",
                        self._store.name, _kind(error))  # fmt: skip
            return None
        return name

    def _remove_old(self, series: str, written: str, now: datetime) -> None:
        """Remove what was there when the pass began, and no STATE names that is still to be read."""
        for path in self._found:
            name = path.rpartition("/")[2]
            known = _NAME.match(name)
            if known is None or name == written or (self._name is not None and name.startswith(self._name)):
                continue
            stamp = datetime.strptime(known["stamp"], _STAMP).replace(tzinfo=timezone.utc)
            if known["series"] == series or now - stamp > KEPT_FOR:
                self._store.remove(path)


def _digest(*parts: bytes | bytearray) -> str:
    digest = blake2b(digest_size=16)
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def _kind(error: Exception) -> str:
    """What may be said of an error: the words of a store may hold a path with secrets in it."""
    return str(error) if isinstance(error, LinqError) else type(error).__name__
