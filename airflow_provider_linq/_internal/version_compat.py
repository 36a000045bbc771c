"""What differs between the versions of Airflow that the provider runs on: 3.1, 3.2 and 3.3.

This is the only module that knows versions. The packages that DAGs import from import it first, so an Airflow that is
too old is refused in one sentence, before one of its names is missing.

| from | what came | before |
| --- | --- | --- |
| 3.2 | the task SDK has most exceptions, `conf` and `BranchMixIn` | the core and the standard provider have them |
| 3.2 | `ObjectStoragePath` knows relative paths, and says its connection | it takes `a.csv` for `/a.csv` |
| 3.2 | the connection form is read from `get_provider_info` | methods of the hook return it |
| 3.3 | state stores of tasks and assets, retry policies | there are none |
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from airflow import __version__ as _airflow_version
from airflow.sdk import ObjectStoragePath
from packaging.version import Version

_RELEASE: Final = Version(_airflow_version).release

if _RELEASE < (3, 1):
    raise ImportError(
        f"The Linq provider needs Apache Airflow 3.1 or later, this is {_airflow_version}. "
        "linq_client, linq_emulator, linq_webhooks and tap-linq work without Airflow"
    )

#: Whether tasks and assets have state stores.
HAS_STATE_STORES: Final = _RELEASE >= (3, 3)

if TYPE_CHECKING or _RELEASE >= (3, 2):
    from airflow.sdk import conf
    from airflow.sdk.bases.branch import BranchMixIn
    from airflow.sdk.exceptions import (
        AirflowException,
        AirflowFailException,
        AirflowOptionalProviderFeatureException,
        AirflowRescheduleException,
        AirflowSensorTimeout,
        AirflowSkipException,
        AirflowTaskTimeout,
        TaskDeferralError,
        TaskDeferralTimeout,
        TaskDeferred,
    )
else:
    from airflow.configuration import conf
    from airflow.exceptions import (
        AirflowException,
        AirflowFailException,
        AirflowOptionalProviderFeatureException,
        AirflowRescheduleException,
        AirflowSensorTimeout,
        AirflowSkipException,
        AirflowTaskTimeout,
        TaskDeferralError,
        TaskDeferralTimeout,
        TaskDeferred,
    )
    from airflow.providers.standard.operators.branch import BranchMixIn

if TYPE_CHECKING or HAS_STATE_STORES:
    from airflow.sdk import RetryDecision, RetryPolicy
else:  # a DAG file that names a policy still loads, in tests for example
    RetryDecision, RetryPolicy = None, object

if TYPE_CHECKING:
    from airflow.sdk.execution_time.context import AssetStateStoreAccessor
    from airflow.triggers.base import BaseEventTrigger

__all__ = [
    "HAS_STATE_STORES",
    "AirflowException",
    "AirflowFailException",
    "AirflowOptionalProviderFeatureException",
    "AirflowRescheduleException",
    "AirflowSensorTimeout",
    "AirflowSkipException",
    "AirflowTaskTimeout",
    "BranchMixIn",
    "RetryDecision",
    "RetryPolicy",
    "TaskDeferralError",
    "TaskDeferralTimeout",
    "TaskDeferred",
    "asset_state_stores",
    "check_retry_policies",
    "conf",
    "connection_of",
    "form_behaviour",
    "form_widgets",
    "storage_path",
]


def check_retry_policies() -> None:
    """
    Refuse a retry policy where Airflow knows none.

    :raises ValueError: it is older than 3.3.
    """
    if _RELEASE < (3, 3):
        raise ValueError(f"retry_policy: needs Airflow 3.3 or later, this is {_airflow_version}")


def asset_state_stores(trigger: BaseEventTrigger) -> list[AssetStateStoreAccessor]:
    """Return the state store of each asset that a trigger watches for; none before Airflow 3.3."""
    found: Any = getattr(trigger, "asset_state_store", None)
    if found is None:
        return []
    # Assets with equal watchers share one trigger, and the accessor of several has no public way to name them.
    return list(getattr(found, "_by_name", {}).values()) or [found]


def form_behaviour(connection_type: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return how a connection form shows the fields of every connection, as a hook tells Airflow 3.1.

    :param connection_type: from the metadata of the provider.
    """
    behaviour = connection_type["ui-field-behaviour"]
    return {name.replace("-", "_"): value for name, value in behaviour.items()}


def form_widgets(connection_type: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return the extra fields of a connection form, as a hook tells Airflow 3.1: fields of WTForms, by name.

    :param connection_type: from the metadata of the provider.
    :raises ImportError: WTForms is missing. Airflow's API server stands in for it; elsewhere no form is shown.
    """
    from wtforms import BooleanField, IntegerField, PasswordField, StringField

    def widget(field: Mapping[str, Any]) -> Any:
        schema = field["schema"]
        kinds = {"boolean": BooleanField, "integer": IntegerField}  # there is none for other numbers
        kind = PasswordField if schema.get("format") == "password" else kinds.get(schema["type"][0], StringField)
        return kind(field["label"], description=field["description"])

    return {name: widget(field) for name, field in connection_type["conn-fields"].items()}


def storage_path(path: str | PurePath | ObjectStoragePath) -> ObjectStoragePath:
    """
    Return a path of the local file system, or of an object store; one that is built already, as it is.

    A relative one begins in the working folder, and one with ``~`` in a home, also on Airflow 3.1.
    """
    if isinstance(path, ObjectStoragePath):
        return path
    if _RELEASE < (3, 2) and path:
        parts = urlsplit(str(path))
        if not parts.scheme:
            path = os.path.join(os.getcwd(), os.path.expanduser(parts.geturl()))
    return ObjectStoragePath(path)


def connection_of(path: ObjectStoragePath) -> str | None:
    """Return the connection that is named in a path, as in ``s3://connection@bucket/key``."""
    return path.storage_options.get("conn_id") if _RELEASE < (3, 2) else path.conn_id
