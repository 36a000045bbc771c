"""The idempotency key of a task's message: the one rule that keeps retries from sending it twice."""

from __future__ import annotations

import hashlib
import json
from typing import Protocol


class TaskIdentity(Protocol):
    """What of a task instance stays the same between its tries."""

    @property
    def dag_id(self) -> str: ...
    @property
    def run_id(self) -> str: ...
    @property
    def task_id(self) -> str: ...
    @property
    def map_index(self) -> int | None: ...


def idempotency_key(ti: TaskIdentity) -> str:
    """Return the key of the one message that a task instance sends, the same in every try.

    It is made of nothing that a retry or a clear changes: not the number of the try, not `ti.id` (new in every try),
    and not the text (a template may render differently). Hashed, because the four ids can be longer than a key may be.
    """
    map_index = -1 if ti.map_index is None else ti.map_index
    identity = json.dumps([ti.dag_id, ti.run_id, ti.task_id, map_index])
    return f"airflow-{hashlib.sha256(identity.encode()).hexdigest()}"
