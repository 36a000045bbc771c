"""What differs between the versions of Airflow that the provider runs on: 3.2 and later."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.sdk import RetryDecision, RetryPolicy
    from airflow.sdk.execution_time.context import AssetStateStoreAccessor
    from airflow.triggers.base import BaseEventTrigger
else:
    try:
        from airflow.sdk import RetryDecision, RetryPolicy
    except ImportError:  # 3.2, which knows no policies; DAG files that name one still load, in tests for example
        RetryDecision, RetryPolicy = None, object

__all__ = ["RetryDecision", "RetryPolicy", "asset_state_stores"]


def asset_state_stores(trigger: BaseEventTrigger) -> list[AssetStateStoreAccessor]:
    """Return the state store of each asset that a trigger watches for; none on Airflow 3.2."""
    found: Any = getattr(trigger, "asset_state_store", None)
    if found is None:
        return []
    # Assets with equal watchers share one trigger, and the accessor of several has no public way to name them.
    return list(getattr(found, "_by_name", {}).values()) or [found]
