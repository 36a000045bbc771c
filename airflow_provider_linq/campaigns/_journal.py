"""The journal of a campaign: who may have been sent to and what became of them, in files beside the outcomes.

It has what the checkpoint has no room for: handles, ids, errors. It outlives the task, so another run of the same
campaign knows whom an earlier one wrote to, or may have.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import IO, Any, Final, TypeAlias

from airflow_provider_linq._internal import durable
from airflow_provider_linq._internal.files import with_folder
from airflow_provider_linq._internal.idempotency import instance_hash
from airflow_provider_linq._internal.once import TaskInstance
from airflow_provider_linq._internal.version_compat import storage_path
from airflow_provider_linq.campaigns._model import Outcome
from airflow_provider_linq.campaigns._owner import Owner
from airflow_provider_linq.campaigns._shards import WHOLE, Shard

#: The columns of an outcomes file.
COLUMNS: Final = tuple(field.name for field in fields(Outcome))

_CLAIM: Final = ("key", "to", "row", "line", "at")

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
        return cls(instance_hash(ti, ti.map_index), ti.max_tries)


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
