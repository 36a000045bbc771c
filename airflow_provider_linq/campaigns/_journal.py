"""The journal of a campaign: who may have been sent to and what became of them, in files beside the outcomes.

It has what the checkpoint has no room for: handles, ids, errors. It outlives the task, so another run of the same
campaign knows whom an earlier one wrote to, or may have. And it says which task sends the campaign at present.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, Any, Final, TypeAlias

from airflow.sdk import ObjectStoragePath

from airflow_provider_linq._internal import durable
from airflow_provider_linq._internal.files import with_folder
from airflow_provider_linq._internal.idempotency import instance_key
from airflow_provider_linq._internal.once import TaskInstance
from airflow_provider_linq._internal.version_compat import AirflowException, storage_path
from airflow_provider_linq.campaigns._model import Outcome
from linq_client.times import format_datetime, parse_datetime

#: The columns of an outcomes file.
COLUMNS: Final = tuple(field.name for field in fields(Outcome))

_CLAIM: Final = ("key", "to", "row", "line", "at")

#: An owner whose latest heartbeat is older counts as dead.
OWNER_TIMEOUT: Final = timedelta(minutes=2)
#: How often the owner confirms it.
OWNER_HEARTBEAT: Final = timedelta(seconds=30)
#: A claim is used only if the ownership was confirmed less than this ago.
CONFIRM_AGE: Final = timedelta(seconds=60)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Claim:
    """
    Somebody to whom a request may have been made from now on.

    :param row: number in the input.
    :param line: own line; None if the platform chooses.
    :param at: RFC 3339, UTC, by the API's clock.
    """

    key: str
    to: tuple[str, ...]
    row: int
    line: str | None
    at: str


@dataclass(frozen=True, slots=True)
class Release:
    """Nothing was requested for somebody who was claimed."""

    key: str


Entry: TypeAlias = Claim | Outcome | Release


@dataclass(frozen=True, slots=True)
class Writer:
    """
    Who wrote an entry.

    :param task: hash of the task instance, the same in all its tries.
    :param max_tries: of the instance at that time; another number means that it was cleared since.
    """

    task: str
    max_tries: int

    @classmethod
    def of(cls, ti: TaskInstance) -> Writer:
        return cls(instance_key(ti)[-16:], ti.max_tries)


class LostOwnershipError(AirflowException):
    """Another try or task sends this campaign now: this one must not send any more."""


class Journal:
    """
    Reads and appends the entries of one campaign.

    They lie in the folder `<outcomes_path>.parts`, in one new file for each :meth:`append`, since object stores can't
    append. The names of the files sort by time, and tell the campaigns that write to the same path apart. They stay
    when the campaign is over: a cleared task, or a later run with the same campaign key, continues with them.

    :param outcomes_path: of the file that is written in the end.
    :param campaign_key: of the campaign.
    """

    def __init__(self, outcomes_path: str, campaign_key: str, writer: Writer) -> None:
        self._folder = storage_path(f"{outcomes_path}.parts")
        self._campaign = hashlib.sha256(campaign_key.encode()).hexdigest()[:16]
        self.writer = writer
        self._latest = 0
        self._owner = Owner(self._folder / f"{self._campaign}.owner.json", writer.task)

    @property
    def owner(self) -> Owner:
        """Who sends the campaign."""
        return self._owner

    @property
    def is_empty(self) -> bool:
        """Whether no campaign of this key has written to it."""
        return not self._parts()

    def append(self, entries: Iterable[Entry]) -> None:
        """Keep these entries, in their order; they replace earlier ones of the same keys."""
        lines = b"".join(map(_line_of, entries))
        if not lines:
            return
        self._latest = max(self._latest + 1, time.time_ns())  # clocks may stand still, or be set back
        part = self._folder / f"{self._campaign}-{self._latest:020d}-{uuid.uuid4().hex}.jsonl"
        head = durable.write({"task": self.writer.task, "max_tries": self.writer.max_tries})
        data = json.dumps(head).encode() + b"\n" + lines
        with_folder(part, lambda: part.fs.pipe_file(part.path, data))

    def read(self) -> Iterator[tuple[Writer, Entry]]:
        """
        Yield all entries in their order; of a part that a killed worker left, those that are whole.

        :raises FormatError: a part was written by a newer version, or by 0.1.0.
        """
        fs = self._folder.fs
        for part in self._parts():
            try:
                self._latest = max(self._latest, int(part.rpartition("/")[2].split("-")[1]))  # clocks differ
                head, *lines = fs.cat_file(part).splitlines()
                found = durable.check_format(f"journal {part}", json.loads(head))
                writer = Writer(str(found.get("task")), int(found.get("max_tries", -1)))
                for line in lines:
                    entry = _entry_of(json.loads(line))
                    if entry is not None:
                        yield writer, entry
            except ValueError:
                log.warning("Part of the campaign's journal was not written to its end: %s", part)
            except (AttributeError, KeyError, RecursionError, TypeError) as error:
                raise durable.FormatError(f"journal {part}: a line lacks a field, so nothing is sent") from error

    def _parts(self) -> list[str]:
        fs = self._folder.fs
        fs.invalidate_cache()  # another task may have written since
        try:
            found = fs.ls(self._folder.path, detail=False)
        except FileNotFoundError:
            return []
        return sorted(part for part in found if part.rpartition("/")[2].startswith(f"{self._campaign}-"))


class Owner:
    """
    The file that says which task sends a campaign: one at a time, and the others wait.

    A task that takes the ownership writes the file before it reads the journal; the task that has it reads the file
    between claiming recipients and writing to them. So a task that lost the ownership has not used the claims that the
    new owner doesn't see.
    """

    def __init__(self, file: ObjectStoragePath, task: str) -> None:
        self._file = file
        self._task = task
        self._token = uuid.uuid4().hex
        self._confirmed: datetime | None = None
        #: Not before the last request that an earlier owner made; None if there is no trace of one.
        self.earlier_requests_until: datetime | None = None

    def is_other_task(self, now: datetime) -> bool:
        """
        Whether another task has the ownership and is alive.

        :param now: by the API's clock.
        """
        found = self._read()
        if not found or not found.get("is_alive") or found.get("task") == self._task:
            return False
        return now - parse_datetime(found["at"]) < OWNER_TIMEOUT

    def take(self, now: datetime) -> bool:
        """
        Take the ownership; return false if another task has it and is alive.

        :param now: by the API's clock.
        """
        if self.is_other_task(now):
            return False
        found = self._read()
        if found:
            still = OWNER_HEARTBEAT + CONFIRM_AGE if found.get("is_alive") else timedelta(0)
            self.earlier_requests_until = parse_datetime(found["at"]) + still
        self._write(now, is_alive=True)
        return True

    def confirm(self, now: datetime) -> None:
        """
        See that the ownership was not taken by another try or task; say now and then that this one is alive.

        :raises LostOwnershipError: it was.
        """
        if self._read().get("token") != self._token:
            raise LostOwnershipError("Another task, or another try of this one, sends this campaign now")
        if self._confirmed is None or now - self._confirmed > OWNER_HEARTBEAT:
            self._write(now, is_alive=True)

    def give_up(self, now: datetime) -> None:
        """Let the next task begin immediately, if this one still has the ownership; it makes no more requests."""
        if self._read().get("token") == self._token:
            self._write(now, is_alive=False)

    def _read(self) -> Mapping[str, Any]:
        self._file.fs.invalidate_cache()
        try:
            found = json.loads(self._file.fs.cat_file(self._file.path))
        except FileNotFoundError:
            return {}
        except ValueError:  # somebody is writing it, or died while writing, in a store that shows files in part
            return {}
        return durable.check_format(f"owner of the campaign {self._file}", found)

    def _write(self, at: datetime, *, is_alive: bool) -> None:
        values = {"task": self._task, "token": self._token, "at": format_datetime(at), "is_alive": is_alive}
        data = json.dumps(durable.write(values)).encode()
        with_folder(self._file, lambda: _write_whole(self._file, data))
        self._confirmed = at


class Latest:
    """
    The latest entry of each key, in a file: in memory they would need nearly as much as the campaign.

    Of somebody who was sent to, it is the latest message: a later claim is one to send another in its place.

    :param file: an empty one.
    :param entries: in their order.
    """

    def __init__(self, file: IO[bytes], entries: Iterable[Entry]) -> None:
        self._file = file
        self._places: dict[str, int] = {}
        sent: set[int] = set()  # places of messages, which no claim makes undone
        end = 0
        for entry in entries:
            key = key_of(entry)
            if not isinstance(entry, Outcome) and self._places.get(key) in sent:
                continue
            if isinstance(entry, Release):
                self._places.pop(key, None)
                continue
            self._places[key] = end
            if isinstance(entry, Outcome) and entry.status == "sent":
                sent.add(end)
            end += self._file.write(_line_of(entry))

    def pop(self, key: str) -> Claim | Outcome | None:
        """Return the entry of a key, once."""
        place = self._places.pop(key, None)
        return None if place is None else self._at(place)

    def rest(self) -> Iterator[Outcome]:
        """Yield what became of those whom nobody has asked for: they were in the input of an earlier try only."""
        for entry in map(self._at, self._places.values()):
            if isinstance(entry, Outcome):
                yield entry
            else:
                detail = "An earlier try may have written to them; they are not among the rows any more"
                yield Outcome(entry.row, entry.to, "unknown", "unsettled", detail, None, entry.key, entry.line)

    def _at(self, place: int) -> Claim | Outcome:
        self._file.seek(place)
        entry = _entry_of(json.loads(self._file.readline()))
        assert isinstance(entry, Claim | Outcome)
        return entry


def as_row(outcome: Outcome) -> dict[str, Any]:
    """Return an outcome as the row of an outcomes file."""
    return {name: getattr(outcome, name) for name in COLUMNS}


def key_of(entry: Entry) -> str:
    """Return the idempotency key that an entry is about."""
    return str(entry.idempotency_key) if isinstance(entry, Outcome) else entry.key


def _line_of(entry: Entry) -> bytes:
    if isinstance(entry, Release):
        return json.dumps({"released": entry.key}).encode() + b"\n"
    if isinstance(entry, Claim):
        return json.dumps({"claim": {name: getattr(entry, name) for name in _CLAIM}}).encode() + b"\n"
    return json.dumps({"outcome": as_row(entry)}).encode() + b"\n"


def _entry_of(line: Mapping[str, Any]) -> Entry | None:
    """Read an entry; None if it is of a kind that this version doesn't know."""
    if "claim" in line:
        return Claim(**_known(Claim, line["claim"]))
    if "outcome" in line:
        return Outcome(**_known(Outcome, line["outcome"]))
    return Release(line["released"]) if "released" in line else None


def _known(cls: type[Claim] | type[Outcome], values: Mapping[str, Any]) -> dict[str, Any]:
    names = _CLAIM if cls is Claim else COLUMNS
    kept = {name: values[name] for name in names if name in values}
    return {**kept, "to": tuple(kept["to"])}


def _write_whole(file: ObjectStoragePath, data: bytes) -> None:
    """Write a file so that a reader sees it in full, before or after."""
    if file.protocol not in ("", "file", "local"):
        file.fs.pipe_file(file.path, data)
        return
    fresh = Path(f"{file.path}.{uuid.uuid4().hex}")
    fresh.write_bytes(data)
    os.replace(fresh, file.path)
