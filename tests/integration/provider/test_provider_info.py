"""The metadata: right by Airflow's own schemas, complete, cheap to read, and shown by Airflow."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_linq.get_provider_info import connection_type
from tests.support.airflow_versions import HAS_CONNECTION_FORMS


def test_reading_it_does_not_import_airflow() -> None:
    code = "import sys, airflow_provider_linq.get_provider_info; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert not {"airflow", "linq_client"} & set(modules)


def test_airflow_shows_provider_and_connection_type() -> None:
    command = Path(sys.executable).with_name("airflow")
    # On Python 3.14, Airflow warns of itself, into the output.
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}

    def ask(*arguments: str) -> Any:
        answer = subprocess.run(
            [command, "providers", *arguments, "--output", "json"],
            check=True,
            capture_output=True,
            text=True,
            env=environment,
        )
        return json.loads(answer.stdout)

    assert any(row["package_name"] == "linq-connectors" for row in ask("list"))
    (hook,) = [row for row in ask("hooks") if row["connection_type"] == "linq"]
    assert hook["class"] == "airflow_provider_linq.hooks.linq.LinqHook"
    assert hook["conn_id_attribute_name"] == "linq_conn_id"
    assert "airflow_provider_linq.triggers.linq_inbound" in str(ask("triggers"))
    assert "LinqNotifier" in str(ask("notifications"))
    assert "LinqMessageQueueProvider" in str(ask("queues"))


@pytest.mark.skipif(not HAS_CONNECTION_FORMS, reason="Airflow before 3.1.3 has no connection forms without WTForms")
# Airflow 3.2 says so to itself.
@pytest.mark.filterwarnings("ignore:ProvidersManager.hooks is deprecated")
def test_the_connection_form_has_its_fields() -> None:
    """Airflow 3.1 asks the hook for them, and later versions read the metadata."""
    from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService
    from airflow.providers_manager import ProvidersManager

    # As in a new process: what another test has asked for on 3.1 was made without Airflow's stand-ins for WTForms.
    ProvidersManager()._cleanup()  # type: ignore[no-untyped-call]
    (form,) = [hook for hook in HookMetaService.hook_meta_data() if hook.connection_type == "linq"]
    known = connection_type()
    assert form.extra_fields is not None
    assert form.extra_fields.keys() == known["conn-fields"].keys()
    for name, field in known["conn-fields"].items():
        shown = form.extra_fields[name]
        assert shown["schema"]["title" if "title" in shown["schema"] else "type"]
        assert shown["description"] == field["description"]
        assert shown["schema"].get("format") == field["schema"].get("format")
    assert form.standard_fields is not None
    assert form.standard_fields.password is not None
    assert form.standard_fields.password.title == "API key"
    assert form.standard_fields.login is not None
    assert form.standard_fields.login.hidden
