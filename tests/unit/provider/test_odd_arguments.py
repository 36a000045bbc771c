"""Arguments of other types: a DAG with one shows an import error that names it, or runs into a later check."""

from __future__ import annotations

import inspect
import json
import math
import pkgutil
from datetime import timedelta
from importlib import import_module
from typing import Any

import pytest
from airflow.sdk import DAG, BaseOperator

import airflow_provider_linq.operators
import airflow_provider_linq.sensors

#: What a task needs at least; any other text will do.
NEEDED = {"answers": {"yes": "yes"}, "rows": [{"to": "+12125550100"}], "to": "+12125550100"}
ODD = (5, -1, [], [5], {"a": 1}, "", "x", True, 1.5, math.nan, None, timedelta(-1), object())


def operators() -> list[type[BaseOperator]]:
    modules = [
        import_module(f"{package.__name__}.{found.name}")
        for package in (airflow_provider_linq.operators, airflow_provider_linq.sensors)
        for found in pkgutil.iter_modules(package.__path__)
    ]
    return [
        one
        for module in modules
        for one in vars(module).values()
        if inspect.isclass(one) and issubclass(one, BaseOperator) and not inspect.isabstract(one)
        if one.__module__ == module.__name__
    ]


def parameters(operator: type[BaseOperator]) -> dict[str, inspect.Parameter]:
    found = inspect.signature(operator.__init__).parameters  # type: ignore[misc]
    return {name: one for name, one in found.items() if one.kind is one.KEYWORD_ONLY}


@pytest.mark.parametrize("operator", operators(), ids=lambda one: one.__name__)
def test_an_argument_of_another_type_is_named(operator: Any) -> None:
    needed = {
        name: NEEDED.get(name, "x")
        for name, one in parameters(operator).items()
        if one.default is inspect.Parameter.empty
    }
    refused = []
    with DAG("dag", schedule=None):
        operator(task_id="good", **needed)
        for name in parameters(operator):
            for number, value in enumerate(ODD):
                try:
                    operator(task_id=f"{name}{number}", **{**needed, name: value})
                except ValueError as error:
                    refused.append((name, str(error)))
    assert not [(name, words) for name, words in refused if name.rstrip("_") not in words]


@pytest.mark.parametrize("value", [1.5, math.nan, "8", None, True, 0])
def test_the_number_of_concurrent_requests_is_a_whole_number(value: Any) -> None:
    from airflow_provider_linq.operators.campaigns import LinqSendCampaignOperator

    with pytest.raises(ValueError, match=r"^concurrency must be a whole number, 1 or more, got "):
        LinqSendCampaignOperator(task_id="campaign", message="hi", rows=[], concurrency=value)


@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf, "30", [], timedelta(0), timedelta(-1)])
def test_polls_do_not_follow_each_other_without_a_pause(value: Any) -> None:
    from airflow_provider_linq.operators.messages import LinqSendMessageOperator
    from airflow_provider_linq.triggers.linq_inbound import LinqInboundMessageTrigger

    for make in (
        LinqInboundMessageTrigger,
        lambda **given: LinqSendMessageOperator(task_id="t", message="hi", **given),
    ):
        with pytest.raises(ValueError, match="^poll_interval must be "):
            make(poll_interval=value)


def test_a_watcher_is_stored_as_it_is_made_again() -> None:
    """Or Airflow would take it for another one whenever the DAG is parsed."""
    from airflow_provider_linq.triggers.linq_inbound import LinqInboundMessageTrigger

    for given in (30, 2.5, timedelta(seconds=30), None):
        stored = LinqInboundMessageTrigger(poll_interval=given).serialize()
        assert LinqInboundMessageTrigger(**stored[1]).serialize() == stored
        assert json.dumps(stored)


@pytest.mark.parametrize("folders", ["/data", ["/data"], ("/data",), {"/data"}, frozenset({"/data"}), None])
def test_folders_may_come_in_any_collection(folders: Any) -> None:
    from airflow_provider_linq.operators.messages import LinqSendMessageOperator

    LinqSendMessageOperator(task_id="t", message="hi", to="+12125550100", files_under=folders)
