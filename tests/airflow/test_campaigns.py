"""Campaigns: each recipient once, whatever happens on the way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_linq.operators.linq_campaigns import LinqSendCampaignOperator
from tests.airflow.conftest import Store, context
from tests.emulator_process import Emulator


def people(number: int) -> list[dict[str, Any]]:
    """So many recipients with names; mail addresses, since there are few fictional phone numbers."""
    return [{"to": f"person{index}@example.com", "name": f"Person {index}"} for index in range(number)]


def campaign(**arguments: Any) -> LinqSendCampaignOperator:
    return LinqSendCampaignOperator(task_id="campaign", **{"message": "Hello {{ row.name }}", **arguments})


def sent_to(emulator: Emulator) -> Counter[str]:
    return Counter(handle for message in emulator.ledger() for handle in message["to"])


def test_each_recipient_gets_one_message(emulator: Emulator, connect: Callable[..., None], tmp_path: Path) -> None:
    rows = people(300)
    store = Store()
    result = campaign(rows=rows, outcomes_path=str(tmp_path / "outcomes.jsonl")).execute(context(store))
    assert result["sent"] == 300
    assert sent_to(emulator) == Counter(row["to"] for row in rows)
