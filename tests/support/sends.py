"""What the tests of single sends share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from airflow_provider_linq.operators.messages import LinqSendMessageOperator
from tests.support.airflow import Store, context
from tests.support.emulator_process import Emulator

ANN, BOB, CAT, DAN = "+12125550121", "+12125550122", "+12125550123", "+12125550124"


def send(store: Store | None, instance: dict[str, Any] | None = None, **operator: Any) -> Any:
    """Run a try of a task that sends a message."""
    task = LinqSendMessageOperator(task_id="t", **{"message": "Hi", **operator})
    if "chat_id" not in operator and "to" not in operator:
        task.to = ANN
    return task.execute(context(store, **(instance or {})))


def retry(number: int = 2, **more: Any) -> dict[str, Any]:
    """Another try of the same task."""
    return {"try_number": number, **more}


def cleared(number: int = 2, **more: Any) -> dict[str, Any]:
    """The try after a clear, which raises `max_tries`."""
    return {"try_number": number, "max_tries": number - 1, **more}


@contextmanager
def fault(emulator: Emulator, **order: Any) -> Iterator[None]:
    """Within the block, something happens to requests that send."""
    made = emulator.control("POST", "faults", {"path": "^/v3/(chats|messages)", "method": "POST", **order})
    yield
    emulator.control("DELETE", f"faults/{made['id']}")


def lost_answers(emulator: Emulator) -> Any:
    """Within the block, what is sent is accepted, and nobody learns of it."""
    return fault(emulator, kind="reset", when="after")


def lost_requests(emulator: Emulator) -> Any:
    """Within the block, nothing that is sent arrives, and nobody knows."""
    return fault(emulator, kind="reset", when="before")


def refused(emulator: Emulator) -> Any:
    """Within the block, the recipient has opted out; the emulator by itself answers a known key as it did first."""
    return fault(emulator, kind="status", status=403, code=2024)


def posts(emulator: Emulator) -> int:
    """How many requests have sent something."""
    return sum(request["method"] == "POST" for request in emulator.requests_served())


def sent_to(emulator: Emulator) -> Counter[str]:
    """How many messages each recipient got."""
    return Counter(to for row in emulator.ledger() if row["direction"] == "outbound" for to in row["to"])
