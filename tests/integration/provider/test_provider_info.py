"""The metadata: right by Airflow's own schemas, complete, cheap to read, and shown by Airflow."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any


def test_reading_it_does_not_import_airflow() -> None:
    code = "import sys, airflow_provider_linq.get_provider_info; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert not {"airflow", "linq_client"} & set(modules)


def test_airflow_shows_provider_and_connection_type() -> None:
    command = Path(sys.executable).with_name("airflow")

    def ask(*arguments: str) -> Any:
        answer = subprocess.run(
            [command, "providers", *arguments, "--output", "json"], check=True, capture_output=True, text=True
        )
        return json.loads(answer.stdout)

    assert any(row["package_name"] == "linq-connectors" for row in ask("list"))
    (hook,) = [row for row in ask("hooks") if row["connection_type"] == "linq"]
    assert hook["class"] == "airflow_provider_linq.hooks.linq.LinqHook"
    assert hook["conn_id_attribute_name"] == "linq_conn_id"
    assert "airflow_provider_linq.triggers.linq_inbound" in str(ask("triggers"))
    assert "LinqNotifier" in str(ask("notifications"))
    assert "LinqMessageQueueProvider" in str(ask("queues"))
