"""Airflow's task state store, which outlives the tries of a task instance; 3.2 has none, and so keeps nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.execution_time.context import TaskStateStoreAccessor


class StateStore:
    """JSON values by name, kept until the DAG run ends; false where Airflow has no store."""

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

    def delete(self, name: str) -> None:
        if self._store is not None:
            self._store.delete(name)
