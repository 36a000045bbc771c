"""What the tests of campaigns share."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any, Final, get_args

from airflow.sdk import ObjectStoragePath
from airflow.sdk.io import attach
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import strategies as st

from airflow_provider_linq._internal.version_compat import AirflowFailException, TaskDeferred
from airflow_provider_linq.campaigns import RateLimits
from airflow_provider_linq.campaigns._model import Outcome, Status
from airflow_provider_linq.operators.campaigns import LinqSendCampaignOperator
from tests.support import airflow as airflow_support
from tests.support.airflow import Store
from tests.support.emulator_process import Emulator

A, B, C = "+12025550101", "+12025550102", "+12025550103"


def context(store: Store | None = None, **instance: Any) -> Any:
    """Of a task with retries left."""
    return airflow_support.context(store, **{"max_tries": 10, **instance})


def people(number: int) -> list[dict[str, Any]]:
    """So many recipients with names; mail addresses, since there are few fictional phone numbers."""
    return [{"to": f"person{index}@example.com", "name": f"Person {index}"} for index in range(number)]


#: Tests send to more strangers on one day than the default lets them.
WITHIN_A_DAY: Final = RateLimits(messages_per_day=7_000, new_chats_per_day=None)


def campaign(**arguments: Any) -> LinqSendCampaignOperator:
    return LinqSendCampaignOperator(
        task_id="campaign",
        **{"message": "Hello {{ row.name }}", "deferrable": True, "line_limits": WITHIN_A_DAY, **arguments},
    )


class DiesAt(Store):
    """A store whose process ends before its n-th write, from 0."""

    left = 10**6

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        super().set(key, value, retention=retention)


class Mapped:
    """A mapped task: its instances share rows and outcomes, and each has a store."""

    def __init__(self, folder: Path, rows: list[dict[str, Any]], *, task_id: str = "campaign", **given: Any) -> None:
        self.task_id = task_id
        self.path = folder / "outcomes.jsonl"
        self.given = {"rows": rows, "outcomes_path": str(self.path), **given}
        self.stores: dict[int, Store] = {}
        self.states: dict[int, str | None] = {}

    def run(self, number: int, of: int, *, try_number: int = 1, **given: Any) -> Any:
        """One try of the instance of a shard, in a list that has them in their order."""
        self.expand(of)
        return self.run_instance(number - 1, f"{number}/{of}", try_number=try_number, **given)

    def run_all(self, of: int, **how: Any) -> list[Any]:
        return [self.run(number, of, **how) for number in range(1, of + 1)]

    def expand(self, instances: int) -> None:
        """Let the task have so many instances; if they are others than before, it is cleared."""
        if instances != sum(state != "removed" for state in self.states.values()):
            for index in range(max(instances, len(self.states))):
                self.states[index] = None if index < instances else "removed"

    def run_instance(self, index: int, shard: str, *, try_number: int = 1, **given: Any) -> Any:
        """One try of an instance; `states` has then what Airflow says of it."""
        store = self.stores.setdefault(index, Store())
        of_it = {"map_index": index, "task_id": self.task_id, "try_number": try_number, "states": self.states}
        self.states[index] = "running"
        try:
            result = campaign(**{**self.given, "shard": shard, **given}).execute(context(store, **of_it))
        except BaseException as error:
            ends = {TaskDeferred: "deferred", AirflowFailException: "failed"}
            self.states[index] = ends.get(type(error), "up_for_retry")
            raise
        self.states[index] = "success"
        return result


def sent_to(emulator: Emulator) -> Counter[str]:
    return Counter(handle for message in emulator.ledger() for handle in message["to"])


def once(rows: list[dict[str, Any]]) -> Counter[str]:
    return Counter(row["to"] for row in rows)


def lines_of(emulator: Emulator) -> Counter[str]:
    return Counter(message["line"] for message in emulator.ledger())


def fault(emulator: Emulator, **order: Any) -> None:
    emulator.control("POST", "faults", {"path": "^/v3/(chats|messages)$", "method": "POST", **order})


def outcomes(path: Path) -> dict[str, dict[str, Any]]:
    return {",".join(row["to"]): row for row in map(json.loads, path.read_text().splitlines())}


def posts(emulator: Emulator) -> int:
    return sum(request["method"] == "POST" for request in emulator.requests_served())


TEXT: Final = st.text(st.characters(codec="utf-8", exclude_characters="\x00"))  # Python 3.10 reads no NUL in CSV
_MAYBE: Final = st.none() | TEXT
_NUMBERS: Final = st.integers(0, 2**31)
HANDLES: Final = st.lists(st.sampled_from(["+12025550121", "+12025550122", "ann@example.org"]), max_size=3).map(tuple)
OUTCOMES: Final = st.builds(
    Outcome,
    row=_NUMBERS,
    to=HANDLES,
    status=st.sampled_from(get_args(Status)),
    reason=_MAYBE,
    detail=_MAYBE,
    code=st.none() | _NUMBERS,
    idempotency_key=_MAYBE,
    line=_MAYBE,
    chat_id=_MAYBE,
    message_id=_MAYBE,
    created_at=_MAYBE,
    replaces=_MAYBE,
)

#: What `folder_in` knows.
STORES: Final = ("local", "url", "memory")


def folder_in(store: str, tmp_path: Path) -> str:
    """Return a folder that is not there yet, on a disk or in an object store."""
    attach("memory", fs=MemoryFileSystem())
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]
    return {"local": f"{tmp_path}/out", "url": f"file://{tmp_path}/out", "memory": "memory://bucket/out"}[store]


def names(folder: str) -> list[str]:
    """Return what lies in a folder, hidden files and all; nothing if there is none."""
    path = ObjectStoragePath(folder)
    return sorted(found.name for found in path.iterdir()) if path.exists() else []
