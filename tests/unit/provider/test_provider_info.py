"""The metadata: right by Airflow's own schemas, complete, cheap to read, and shown by Airflow."""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
import re
from importlib import metadata
from pathlib import Path
from typing import Any

import airflow
import jsonschema
import pytest
import yaml

import airflow_provider_linq
from airflow_provider_linq.get_provider_info import get_provider_info
from airflow_provider_linq.hooks.linq import LinqHook


def schema(name: str) -> Any:
    return json.loads((Path(airflow.__file__).parent / name).read_text())


def test_fits_the_schema_of_provider_info() -> None:
    known = schema("provider_info.schema.json")
    jsonschema.validate(get_provider_info(), known)
    # The schema allows any key, and Airflow passes over those that it does not know: a typo would go unnoticed.
    assert get_provider_info().keys() <= known["properties"].keys()


@pytest.mark.parametrize(
    "part",
    [
        "connection-types",
        "hooks",
        "operators",
        "sensors",
        "triggers",
        "notifications",
        "plugins",
        "queues",
        "extra-links",
        "integrations",
    ],
)
def test_fits_the_stricter_schema_of_providers(part: str) -> None:
    strict = schema("provider.yaml.schema.json")
    value = get_provider_info()[part]
    if part == "integrations":  # this one alone asks for a file of Airflow's own documentation
        value = [{**item, "how-to-guide": []} for item in value]
    jsonschema.validate(value, {**strict["properties"][part], "definitions": strict.get("definitions", {})})


def test_names_the_distribution_and_is_its_entry_point() -> None:
    (entry,) = metadata.distribution("linq-connectors").entry_points.select(group="apache_airflow_provider")
    assert entry.load() is get_provider_info
    assert get_provider_info()["package-name"] == "linq-connectors"


def test_lists_every_module_that_dags_import() -> None:
    info = get_provider_info()
    kinds = ("hooks", "operators", "sensors", "triggers")
    listed = {module for kind in kinds for module in info[kind][0]["python-modules"]}
    listed |= {path.rpartition(".")[0] for kind in ("notifications", "queues", "extra-links") for path in info[kind]}
    listed |= {plugin["plugin-class"].rpartition(".")[0] for plugin in info["plugins"]}
    found = {
        module.name
        for module in pkgutil.walk_packages(airflow_provider_linq.__path__, "airflow_provider_linq.")
        if module.name.count(".") == 2
    }
    found = {name for name in found if name.split(".")[1] not in ("_internal", "campaigns")}  # behind the operators
    assert listed == found - {"airflow_provider_linq.retry_policies.linq"}, "for policies the metadata has no place"
    for module in listed:
        importlib.import_module(module)


def test_the_form_has_the_fields_that_the_hook_reads() -> None:
    (connection,) = get_provider_info()["connection-types"]
    assert connection["connection-type"] == LinqHook.conn_type
    assert connection["hook-class-name"] == f"{LinqHook.__module__}.{LinqHook.__qualname__}"
    arguments = inspect.signature(LinqHook).parameters.keys() - {LinqHook.conn_name_attr}
    assert connection["conn-fields"].keys() == arguments


def test_the_registry_of_airflow_gets_every_operator_and_sensor_as_it_is() -> None:
    root = Path(__file__).parents[3]
    registry = yaml.safe_load((root / ".airflow-registry.yaml").read_text())
    (repository,) = re.findall(r'^Repository = "(.+)"$', (root / "pyproject.toml").read_text(), re.MULTILINE)
    assert registry["source-url"] == registry["docs-url"] == repository
    assert registry["package-name"] == get_provider_info()["package-name"]
    info = get_provider_info()
    modules = [module for kind in ("operators", "sensors") for module in info[kind][0]["python-modules"]]
    offered = {f"{module}.{name}" for module in modules for name in importlib.import_module(module).__all__}
    assert {entry["module"] for entry in registry["operators"]} == offered
    for entry in [*registry["operators"], *registry["other"]]:
        module, _, name = entry["module"].rpartition(".")
        says = inspect.getdoc(getattr(importlib.import_module(module), name)) or ""
        assert entry["description"] == says.partition("\n\n")[0].replace("\n", " ")
