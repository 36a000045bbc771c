"""Which task sends a campaign, or a shard of it, at present: a file beside the journal, which its owner confirms."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from airflow.sdk import ObjectStoragePath

from airflow_provider_linq._internal import durable
from airflow_provider_linq._internal.files import write_whole
from airflow_provider_linq._internal.version_compat import AirflowException
from airflow_provider_linq.campaigns._shards import WHOLE, Division, Divisions, Shard
from linq_client.times import format_datetime, parse_datetime

#: An owner whose latest heartbeat is older counts as dead.
OWNER_TIMEOUT: Final = timedelta(minutes=2)
#: How often the owner confirms it.
OWNER_HEARTBEAT: Final = timedelta(seconds=30)
#: A claim is used only if the ownership was confirmed less than this ago.
CONFIRM_AGE: Final = timedelta(seconds=60)

#: What stands in the file of the whole campaign while it has shards: a version that knows none must not send it.
_DIVIDED: Final[Mapping[str, Any]] = {"format": 2, "is_divided": True}
#: What is known of an owner whose file is there, and can't be read.
_UNREADABLE: Final[Mapping[str, Any]] = {"is_alive": False}


class LostOwnershipError(AirflowException):
    """Another try or task sends this campaign now: this one must not send any more."""


class Taker(NamedTuple):
    """
    Who has taken a shard of the division in force.

    :param task: hash of the task instance.
    :param is_alive: whether it has said so lately; one that has ended, or waits without a worker, is not.
    """

    task: str
    is_alive: bool


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
            self._write_in_time(now, begun_at)
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
        """
        Confirm, and say that this owner adds nothing more to the journal, and goes on to write the outcomes.

        :raises LostOwnershipError: as :meth:`confirm`.
        """
        begun_at = time.time()
        self.confirm(now)
        self._is_complete = True
        if not self._shard.is_whole:  # nobody asks for the whole campaign
            self._write_in_time(now, begun_at)

    def is_anybody_sending(self, now: datetime) -> bool:
        """Whether another shard is alive that will add to the journal, and write the outcomes after that."""
        found = (self._read(self._file_of(shard)) for shard in _shards_of(self._divisions.latest()))
        return any(
            _is_alive(one, now) and not one.get("is_complete") and one.get("token") != self._token for one in found
        )

    def takers(self, now: datetime) -> dict[int, Taker]:
        """
        Return who has taken which shard since the division of this one is in force, by the number of the shard.

        :param now: by the API's clock.
        """
        found = {shard.number: self._read(self._file_of(shard)) for shard in _shards_of(self._division)}
        return {
            number: Taker(str(one.get("task")), one is _UNREADABLE or _is_alive(one, now))
            for number, one in found.items()
            if one is _UNREADABLE or one.get("generation") == self.generation
        }

    def give_up(self, now: datetime) -> None:
        """Let the next task begin immediately, if this one still has the ownership; it makes no more requests."""
        if self._read(self._file).get("token") == self._token:
            self._write(now, is_alive=False)

    def _is_other(self, found: Mapping[str, Any], now: datetime) -> bool:
        return _is_alive(found, now) and found.get("task") != self._task

    def _found(self, division: Division | None) -> list[Mapping[str, Any]]:
        """Return what is known of the owners of a division whom this one has to wait for."""
        of = 1 if division is None else division.of
        shards = [self._shard] if of == self._shard.of else _shards_of(division)
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

    def _write_in_time(self, now: datetime, begun_at: float) -> None:
        self._write(now, is_alive=True)
        if time.time() - begun_at > CONFIRM_AGE.total_seconds():  # it may have written over another owner
            raise LostOwnershipError("This process stood still: another task may have sent this campaign")

    def _write(self, at: datetime, *, is_alive: bool) -> None:
        values = {"task": self._task, "token": self._token, "at": format_datetime(at), "is_alive": is_alive}
        more = {} if self._shard.is_whole else {"is_complete": self._is_complete, "generation": self.generation}
        self._has_looked = False
        write_whole(self._file, _encoded(durable.write({**values, **more})))
        self._confirmed = at


def _shards_of(division: Division | None) -> list[Shard]:
    return [WHOLE] if division is None else [Shard(number, division.of) for number in range(1, division.of + 1)]


def _is_alive(found: Mapping[str, Any], now: datetime) -> bool:
    return bool(found.get("is_alive")) and now - parse_datetime(found["at"]) < OWNER_TIMEOUT


def _last_request(found: Mapping[str, Any], still: timedelta) -> datetime | None:
    """Return a moment not before the last request of an owner; None if its file doesn't tell."""
    if "at" not in found:
        return None
    return parse_datetime(found["at"]) + (still if found.get("is_alive") else timedelta(0))


def _encoded(values: Mapping[str, Any]) -> bytes:
    return json.dumps(values).encode()
