"""What outlives a process, and how another version of this provider reads it.

| where | name | holds |
| --- | --- | --- |
| task state store | `linq_message` | the idempotency record of a send |
| task state store | `linq_at_most_once` | the record of a request without an idempotency key |
| task state store | `linq_campaign` | the header of a campaign |
| task state store | `linq_campaign_<n>` | the states of up to 50,000 recipients |
| task state store | `linq_campaign_delivery_<n>` | how far the messages of up to 50,000 recipients have come |
| task state store | `linq_campaign_progress` | how far a campaign is, for people; no retry reads it |
| asset state store | `linq_inbound_<hash>` | the cursor of an inbound trigger |
| Airflow Variable | the `secret_variable` of a task | the signing secrets of webhooks |
| beside `outcomes_path` | `<outcomes_path>.parts/` | the journal of a campaign, who owns it, and how it is divided |

In a mapped task, a fingerprint of the recipient follows on the first two names: an instance can come to stand for
somebody else. Each value is a JSON object with a `format` number. A reader passes over fields that it doesn't know,
reads every format from 1 to its own, and refuses a newer one: the task ends before it sends anything.
docs/reference/durable-formats.md lists the fields; tests/data/formats holds samples.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final, TypeVar

from airflow_provider_linq._internal.version_compat import AirflowFailException

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
    from airflow.sdk import Context
    from airflow.sdk.execution_time.context import TaskStateStoreAccessor

    D = TypeVar("D", bound=DataclassInstance)

#: The newest format that this version reads, and the one that it writes.
FORMAT: Final = 1

#: The same of the cursor of a watcher.
CURSOR_FORMAT: Final = 2

MESSAGE: Final = "linq_message"
AT_MOST_ONCE: Final = "linq_at_most_once"
CAMPAIGN: Final = "linq_campaign"
CAMPAIGN_DELIVERY: Final = "linq_campaign_delivery"
CAMPAIGN_PROGRESS: Final = "linq_campaign_progress"


class FormatError(AirflowFailException):
    """A record was written by another version of this provider, and this one must not guess what it says."""


def write(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a record with its format number."""
    return {"format": FORMAT, **values}


def check_format(name: str, value: object, *, newest: int = FORMAT) -> Mapping[str, Any]:
    """
    Return a record whose format this version reads.

    :param name: what the record is called in an error.
    :param newest: the newest format of such a record.
    :raises FormatError: it is newer, or has none: version 0.1.0 wrote records without.
    """
    found = value.get("format") if isinstance(value, Mapping) else None
    if not isinstance(value, Mapping) or type(found) is not int or not 1 <= found <= newest:
        written = f"format {found}" if type(found) is int else "no format, as version 0.1.0 wrote it"
        raise FormatError(
            f"{name}: this version reads formats 1 to {newest}, the record has {written}. This task sends nothing. "
            "Run the version that wrote it: without the record, people may get a second message"
        )
    return value


def read(name: str, value: object, cls: type[D]) -> D | None:
    """
    Return a record as a dataclass, None if there is none; fields that the class does not have are passed over.

    :param name: what the record is called in an error.
    :raises FormatError: see :func:`check_format`; or a field is missing.
    """
    if value is None:
        return None
    found = check_format(name, value)
    try:
        return cls(**{field.name: found[field.name] for field in fields(cls) if field.name in found})
    except TypeError as error:
        raise FormatError(f"{name}: the record lacks a field, so this task sends nothing: {error}") from None


class StateStore:
    """
    Airflow's task state store: JSON values by name, shared by all tries of a task instance.

    It is false where Airflow has none (before 3.3): then nothing is kept.
    """

    def __init__(self, context: Context) -> None:
        self._store: TaskStateStoreAccessor | None = context.get("task_state_store")

    def __bool__(self) -> bool:
        return self._store is not None

    def get(self, name: str) -> Any:
        """Return the value, or None if there is none."""
        return None if self._store is None else self._store.get(name)

    def set(self, name: str, value: Any) -> None:
        if self._store is not None:
            # Where there is a store, there is this.
            from airflow.sdk import NEVER_EXPIRE  # type: ignore[attr-defined]

            self._store.set(name, value, retention=NEVER_EXPIRE)
