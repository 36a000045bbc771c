"""The journal of a campaign: who may have been sent to and what became of them, in files beside the outcomes.

It has what the checkpoint has no room for: handles, ids, errors. It outlives the task, so another run of the same
campaign knows whom an earlier one wrote to, or may have. And it says which task sends the campaign at present.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import IO, Any, Final, TypeAlias

from airflow.sdk import ObjectStoragePath

from airflow_provider_linq._internal import durable
from airflow_provider_linq._internal.files import with_folder, write_whole
from airflow_provider_linq._internal.idempotency import instance_key
from airflow_provider_linq._internal.once import TaskInstance
from airflow_provider_linq._internal.version_compat import AirflowException, storage_path
from airflow_provider_linq.campaigns._model import Outcome
from airflow_provider_linq.campaigns._shards import WHOLE, Division, Divisions, Shard
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
    :param generation: of the division that was in force; 0 if the campaign was never divided.
    """

    task: str
    max_tries: int
    generation: int = 0

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
    :param shard: of the recipients, to whom this task sends.
    """

    def __init__(self, outcomes_path: str, campaign_key: str, writer: Writer, shard: Shard = WHOLE) -> None:
        self._folder = storage_path(f"{outcomes_path}.parts")
        self._campaign = hashlib.sha256(campaign_key.encode()).hexdigest()[:16]
        self.writer = writer
        self.shard = shard
        self._latest = 0
        self._owner = Owner(self._folder / f"{self._campaign}.owner.json", writer.task, shard)

    @property
    def owner(self) -> Owner:
        """Who sends the campaign."""
        return self._owner

    @property
    def is_empty(self) -> bool:
        """Whether no campaign of this key has written to it."""
        return not self.parts

    @property
    def has_own(self) -> bool:
        """
        Whether this task has written to it, in this try or an earlier one.

        :raises FormatError: as :meth:`read`.
        """
        return any(writer.task == self.writer.task for writer, _ in self.read())

    def append(self, entries: Iterable[Entry]) -> None:
        """Keep these entries, in their order; they replace earlier ones of the same keys."""
        lines = b"".join(map(_line_of, entries))
        if not lines:
            return
        self._latest = max(self._latest + 1, time.time_ns())  # clocks may stand still, or be set back
        part = self._folder / f"{self._campaign}-{self._latest:020d}-{uuid.uuid4().hex}.jsonl"
        generation = {"generation": self._owner.generation} if self._owner.generation else {}
        head = durable.write({"task": self.writer.task, "max_tries": self.writer.max_tries, **generation})
        data = json.dumps(head).encode() + b"\n" + lines
        with_folder(part, lambda: part.fs.pipe_file(part.path, data))

    def read(self) -> Iterator[tuple[Writer, Entry]]:
        """
        Yield all entries in their order; of a part that a killed worker left, those that are whole.

        :raises FormatError: a part was written by a newer version, or by 0.1.0.
        """
        fs = self._folder.fs
        for part in self.parts:
            try:
                self._latest = max(self._latest, int(part.rpartition("/")[2].split("-")[1]))  # clocks differ
                head, *lines = fs.cat_file(part).splitlines()
                found = durable.check_format(f"journal {part}", json.loads(head))
                numbers = int(found.get("max_tries", -1)), int(found.get("generation", 0))
                writer = Writer(str(found.get("task")), *numbers)
                for line in lines:
                    entry = _entry_of(json.loads(line))
                    if entry is not None:
                        yield writer, entry
            except ValueError:
                log.warning("Part of the campaign's journal was not written to its end: %s", part)
            except (AttributeError, KeyError, RecursionError, TypeError) as error:
                raise durable.FormatError(f"journal {part}: a line lacks a field, so nothing is sent") from error

    @property
    def parts(self) -> list[str]:
        """The files that it consists of, in their order."""
        fs = self._folder.fs
        fs.invalidate_cache()  # another task may have written since
        try:
            found = fs.ls(self._folder.path, detail=False)
        except FileNotFoundError:
            return []
        return sorted(part for part in found if part.rpartition("/")[2].startswith(f"{self._campaign}-"))


#: What stands in the file of the whole campaign while it has shards: a version that knows none must not send it.
_DIVIDED: Final[Mapping[str, Any]] = {"format": 2, "is_divided": True}
#: What is known of an owner whose file is there, and can't be read.
_UNREADABLE: Final[Mapping[str, Any]] = {"is_alive": False}


class Owner:
    """
    The file that says which task sends a campaign: one at a time, and the others wait.

    A task that takes the ownership writes the file before it reads the journal; the task that has it reads the file
    between claiming recipients and writing to them. So a task that lost the ownership has not used the claims that the
    new owner doesn't see.

    A shard of a campaign has a file of its own, with a task that sends to its recipients. Whoever divides the campaign
    in another way waits for all of the division before, puts a new one in force, and only then reads the journal. The
    owner of a shard looks for both, its file and the division that it took its shard of.

    :param file: of the whole campaign.
    """

    def __init__(self, file: ObjectStoragePath, task: str, shard: Shard = WHOLE) -> None:
        self._campaign_file = file
        self._shard = shard
        self._file = self._file_of(shard)
        self._divisions = Divisions(file.parent / file.name.removesuffix(".owner.json") / "divisions")
        self._division: Division | None = None
        self._task = task
        self._token = uuid.uuid4().hex
        self._confirmed: datetime | None = None
        self._is_complete = False
        self._has_looked = False  # for the division, since this one has written its file
        #: Not before the last request that an earlier owner made; None if there is no trace of one.
        self.earlier_requests_until: datetime | None = None

    @property
    def generation(self) -> int:
        """The number of the division that this one has taken its shard of; 0 if the campaign was never divided."""
        return 0 if self._division is None else self._division.generation

    def is_other_task(self, now: datetime) -> bool:
        """
        Whether another task has the ownership, or one of another division, and is alive.

        :param now: by the API's clock.
        """
        return any(self._is_other(found, now) for found in self._found(self._divisions.latest()))

    def take(self, now: datetime) -> bool:
        """
        Take the ownership; return false if another task has it and is alive.

        :param now: by the API's clock.
        """
        begun_at = time.time()
        latest = self._divisions.latest()
        owners = self._found(latest)
        if any(self._is_other(found, now) for found in owners):
            return False
        still = OWNER_HEARTBEAT + CONFIRM_AGE
        moments = [_last_request(found, still) for found in owners]
        self._division = latest
        if latest is not None or not self._shard.is_whole:
            if (latest is None or latest.of != self._shard.of) and not self._divide(latest, now, begun_at):
                return False
            assert self._division is not None
            # One of those before it may have begun since they were asked, and need not see it immediately.
            since = self._divisions.since(self._division)
            moments.append(None if since is None else since + still)
        if not self._shard.is_whole and self._read(self._campaign_file) != _DIVIDED:
            write_whole(self._campaign_file, _encoded(_DIVIDED))  # before the journal is read, as is one's own file
        self._write(now, is_alive=True)
        known = [moment for moment in moments if moment is not None]
        stood_still = time.time() - begun_at > OWNER_HEARTBEAT.total_seconds()  # who was asked has gone on meanwhile
        if known and len(known) == len(moments) and not stood_still:
            self.earlier_requests_until = max(known)
        if not self._is_of_division_in_force():
            self.give_up(now)
            return False
        return True

    def _divide(self, before: Division | None, now: datetime, begun_at: float) -> bool:
        """Put the division of this shard in force; return false if somebody else did so in the same moment."""
        self._division = Division(1 if before is None else before.generation + 1, self._shard.of)
        self._divisions.write(self._division, now, begun_at)
        return self._divisions.latest() == self._division

    def confirm(self, now: datetime) -> None:
        """
        See that the ownership was not taken by another try or task; say now and then that this one is alive.

        The owner of the whole campaign has its file alone to read: the first of a division writes over that. It looks
        for the division only where it may have written over that in turn.

        :raises LostOwnershipError: it was.
        """
        begun_at = time.time()
        if not self._shard.is_whole:
            self._check_division()
        if self._read(self._file).get("token") != self._token:
            raise LostOwnershipError("Another task, or another try of this one, sends this campaign now")
        if self._confirmed is None or now - self._confirmed > OWNER_HEARTBEAT:
            self._write(now, is_alive=True)
            if time.time() - begun_at > CONFIRM_AGE.total_seconds():  # it may have written over another owner
                raise LostOwnershipError("This process stood still: another task may have sent this campaign")
        if not self._has_looked:
            self._check_division()

    def _check_division(self) -> None:
        if not self._is_of_division_in_force():
            raise LostOwnershipError("Another task sends this campaign now, with other shards")

    def _is_of_division_in_force(self) -> bool:
        is_in_force = self._divisions.latest() == self._division
        self._has_looked = is_in_force
        return is_in_force

    def complete(self, now: datetime) -> None:
        """Say that this owner adds nothing more to the journal, and goes on to write the outcomes."""
        self._is_complete = True
        self._write(now, is_alive=True)

    def is_anybody_sending(self, now: datetime) -> bool:
        """Whether another shard is alive that will add to the journal, and write the outcomes after that."""
        latest = self._divisions.latest()
        shards = [Shard(number, latest.of) for number in range(1, latest.of + 1)] if latest else [WHOLE]
        found = (self._read(self._file_of(shard)) for shard in shards)
        return any(
            _is_alive(one, now) and not one.get("is_complete") and one.get("token") != self._token for one in found
        )

    def give_up(self, now: datetime) -> None:
        """Let the next task begin immediately, if this one still has the ownership; it makes no more requests."""
        if self._read(self._file).get("token") == self._token:
            self._write(now, is_alive=False)

    def _is_other(self, found: Mapping[str, Any], now: datetime) -> bool:
        return _is_alive(found, now) and found.get("task") != self._task

    def _found(self, division: Division | None) -> list[Mapping[str, Any]]:
        """Return what is known of the owners of a division whom this one has to wait for."""
        of = 1 if division is None else division.of
        is_same = of == self._shard.of
        shards = [self._shard] if is_same else [Shard(number, of) for number in range(1, of + 1)]
        return [one for one in (self._read(self._file_of(shard)) for shard in shards) if one]

    def _file_of(self, shard: Shard) -> ObjectStoragePath:
        if shard.is_whole:
            return self._campaign_file
        name = self._campaign_file.name.replace(".owner.json", f".{shard.number}-of-{shard.of}.owner.json")
        return self._campaign_file.parent / name

    def _read(self, file: ObjectStoragePath) -> Mapping[str, Any]:
        file.fs.invalidate_cache()
        try:
            found = json.loads(file.fs.cat_file(file.path))
        except FileNotFoundError:
            return {}
        except ValueError:  # somebody is writing it, or died while writing, in a store that shows files in part
            return _UNREADABLE
        return _DIVIDED if found == _DIVIDED else durable.check_format(f"owner of the campaign {file}", found)

    def _write(self, at: datetime, *, is_alive: bool) -> None:
        values = {"task": self._task, "token": self._token, "at": format_datetime(at), "is_alive": is_alive}
        more = {} if self._shard.is_whole else {"is_complete": self._is_complete}
        self._has_looked = False
        write_whole(self._file, _encoded(durable.write({**values, **more})))
        self._confirmed = at


def _is_alive(found: Mapping[str, Any], now: datetime) -> bool:
    return bool(found.get("is_alive")) and now - parse_datetime(found["at"]) < OWNER_TIMEOUT


def _last_request(found: Mapping[str, Any], still: timedelta) -> datetime | None:
    """Return a moment not before the last request of an owner; None if its file doesn't tell."""
    if "at" not in found:
        return None
    return parse_datetime(found["at"]) + (still if found.get("is_alive") else timedelta(0))


def _encoded(values: Mapping[str, Any]) -> bytes:
    return json.dumps(values).encode()


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

    def __contains__(self, key: str) -> bool:
        return key in self._places

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
