"""One campaign spread over several task instances: who sends to whom, and into how many it is divided at present."""

from __future__ import annotations

import hashlib
import json
import re
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from airflow.sdk import ObjectStoragePath

from airflow_provider_linq._internal import durable
from airflow_provider_linq._internal.files import write_whole
from airflow_provider_linq.campaigns._model import compared
from linq_client.times import format_datetime, parse_datetime

#: A task that divides a campaign in another way asks all instances that there were whether they are alive.
MAX_SHARDS: Final = 256

_TEXT: Final = re.compile(r"([1-9]\d{0,2})/([1-9]\d{0,2})")
_NAME: Final = re.compile(r"(\d{8})-of-(\d+)\.json")


@dataclass(frozen=True, slots=True)
class Shard:
    """
    One of the parts that the recipients of a campaign are divided into.

    :param number: from 1.
    :param of: how many there are.
    """

    number: int
    of: int

    @classmethod
    def parse(cls, text: object) -> Shard:
        """
        Read "2/4", the second of four.

        :raises ValueError: it is something else.
        """
        found = _TEXT.fullmatch(text) if isinstance(text, str) else None
        if found is None or not int(found[1]) <= int(found[2]) <= MAX_SHARDS:
            raise ValueError(f"shard must be text such as '2/4', with at most {MAX_SHARDS} shards, got {text!r}")
        return cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    @property
    def name(self) -> str | None:
        """What it is called where states are kept; None for the whole campaign, which needs no name."""
        return None if self.is_whole else str(self)

    @property
    def is_whole(self) -> bool:
        """Whether this is the whole campaign."""
        return self.of == 1

    def has(self, to: tuple[str, ...]) -> bool:
        """
        Whether a recipient is in it.

        :param to: as of `shard_number`.
        """
        return self.is_whole or shard_number(to, self.of) == self.number

    def share_of(self, whole: int) -> int:
        """Return its part of a number; those of all shards add up to it."""
        return whole // self.of + (self.number <= whole % self.of)


WHOLE: Final = Shard(1, 1)


def shard_number(to: tuple[str, ...], of: int) -> int:
    """
    Return which shard a recipient is in: by a hash of the handles alone, which all versions have to make alike.

    All forms of a number are in one shard, so that no two instances send to them, whichever row each reads first.

    :param to: handles; none for a row that names nobody, which also has its shard.
    :param of: how many shards there are.
    """
    digest = hashlib.sha256("\n".join(compared(to)).encode()).digest()
    return int.from_bytes(digest[:8], "big") % of + 1


class Division(NamedTuple):
    """
    Into how many shards a campaign is divided. Of two, the greater one is in force.

    :param generation: one more than that of the division that it takes the place of.
    """

    generation: int
    of: int


class Divisions:
    """
    All divisions that a campaign ever had: a file each, which is never deleted, so that none can come back.

    Instances that divide it alike in the same moment write the same file. A campaign that only a whole task has sent
    has none.

    :param folder: of these files; of one that isn't there, s3fs lists the one above, so that must hold nothing else.
    """

    def __init__(self, folder: ObjectStoragePath) -> None:
        self._folder = folder

    def latest(self) -> Division | None:
        """Return the division that is in force."""
        fs = self._folder.fs
        fs.invalidate_cache()  # another task may have written since
        try:
            found = fs.ls(self._folder.path, detail=False)
        except FileNotFoundError:
            return None
        names = filter(None, (_NAME.fullmatch(path.rpartition("/")[2]) for path in found))
        return max((Division(int(name[1]), int(name[2])) for name in names), default=None)

    def since(self, division: Division) -> datetime | None:
        """
        Return a moment not before a division was in force, by the API's clock; None if its file doesn't tell.

        :raises FormatError: a newer version wrote it.
        """
        file = self._file_of(division)
        try:
            found: Any = json.loads(file.fs.cat_file(file.path))
        except (FileNotFoundError, ValueError):
            return None
        at = durable.check_format(f"division of the campaign {file}", found).get("at")
        return None if at is None else parse_datetime(at)

    def write(self, division: Division, now: datetime, begun_at: float) -> None:
        """
        Put a division in force, unless a greater one is; then say since when, which takes no standstill for earlier.

        :param now: by the API's clock, when `time.time` was `begun_at`.
        """
        file = self._file_of(division)
        write_whole(file, json.dumps(durable.write({})).encode())
        at = now + timedelta(seconds=max(0.0, time.time() - begun_at))
        write_whole(file, json.dumps(durable.write({"at": format_datetime(at)})).encode())

    def _file_of(self, division: Division) -> ObjectStoragePath:
        return self._folder / f"{division.generation:08d}-of-{division.of}.json"
