"""What the tests of campaigns share."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from airflow_provider_linq.operators.campaigns import LinqSendCampaignOperator
from tests.airflow import conftest
from tests.airflow.conftest import Store
from tests.emulator_process import Emulator

A, B, C = "+12025550101", "+12025550102", "+12025550103"


def context(store: Store | None = None, **instance: Any) -> Any:
    """Of a task with retries left."""
    return conftest.context(store, **{"max_tries": 10, **instance})


def people(number: int) -> list[dict[str, Any]]:
    """So many recipients with names; mail addresses, since there are few fictional phone numbers."""
    return [{"to": f"person{index}@example.com", "name": f"Person {index}"} for index in range(number)]


def campaign(**arguments: Any) -> LinqSendCampaignOperator:
    return LinqSendCampaignOperator(
        task_id="campaign", **{"message": "Hello {{ row.name }}", "deferrable": True, **arguments}
    )


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
