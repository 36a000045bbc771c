"""Arguments of other types: a DAG with one shows an import error that names it, or runs into a later check."""

from __future__ import annotations

import inspect
import json
import math
import pkgutil
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from importlib import import_module
from numbers import Integral
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


LONG = (timedelta.max, timedelta(days=4_000_000), 1e12, -5, timedelta(-1), True, "5", None, math.nan, [])


@pytest.mark.parametrize("value", LONG)
def test_a_span_that_no_clock_waits_is_no_span(value: Any) -> None:
    """It would be found out when the message is sent: no moment is so far away."""
    from airflow_provider_linq.campaigns import DeliveryReport
    from airflow_provider_linq.notifications.linq import LinqNotifier
    from airflow_provider_linq.operators.ask import LinqAskOperator
    from airflow_provider_linq.operators.messages import LinqSendMessageOperator
    from airflow_provider_linq.sensors.linq import LinqDeliverySensor

    send = {"task_id": "t", "message": "hi", "to": "+12125550100"}
    wait = {"task_id": "t", "message_id": "m"}
    for make, given, names in (
        (LinqSendMessageOperator, send, ("delivery_timeout", "failure_grace", "poll_interval")),
        (LinqAskOperator, {**send, "answers": {"yes": "yes"}}, ("timeout", "poll_interval")),
        (LinqDeliverySensor, wait, ("failure_grace", *(("timeout", "poke_interval") if value in LONG[:3] else ()))),
        (LinqNotifier, {"message": "hi"}, ("timeout",)),
        (DeliveryReport, {}, ("timeout", "poll_interval")),
    ):
        for name in names:
            with pytest.raises(ValueError, match=f"^{name} must be "):
                make(**given, **{name: value})


def test_an_answer_needs_some_time() -> None:
    from airflow_provider_linq.operators.ask import LinqAskOperator

    with pytest.raises(ValueError, match="^timeout must be above 0, got 0$"):
        LinqAskOperator(task_id="t", message="hi?", to="+12125550100", answers={"yes": "yes"}, timeout=0)


@pytest.mark.parametrize("value", ["false", "False", "true", 0, 1, None, object()])
def test_a_truth_value_is_no_text(value: Any) -> None:
    """As text or as what another task returns, it would always be true."""
    from airflow_provider_linq.operators.campaigns import LinqSendCampaignOperator
    from airflow_provider_linq.operators.messages import LinqSendMessageOperator
    from airflow_provider_linq.operators.webhooks import LinqWebhookSubscriptionOperator
    from airflow_provider_linq.sensors.linq import LinqMessageSensor
    from airflow_provider_linq.triggers.linq_inbound import LinqInboundMessageTrigger

    send = {"task_id": "t", "message": "hi", "to": "+12125550100"}
    campaign = {"task_id": "t", "message": "hi", "rows": [], "outcomes_path": "out.csv"}
    for make, given, names in (
        (LinqSendMessageOperator, send, ("resend_failed", "deferrable")),
        (LinqSendCampaignOperator, campaign, ("groups", "resend_failed", "deferrable")),
        (LinqMessageSensor, {"task_id": "t", "chat_id": "c"}, ("include_text", "deferrable")),
        (LinqWebhookSubscriptionOperator, {"task_id": "t", "target_url": "https://x.example"}, ("replace_unknown",)),
        (LinqInboundMessageTrigger, {}, ("include_text",)),
    ):
        for name in names:
            with pytest.raises(ValueError, match=f"^{name} must be True or False, got "):
                make(**given, **{name: value})


class Integer:
    """A whole number as NumPy has it: registered as one, and none of Python's."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __int__(self) -> int:
        return self.value


Integral.register(Integer)


def test_numbers_of_other_kinds_are_numbers() -> None:
    from airflow_provider_linq.campaigns import Campaign, DeliveryReport, RateLimits
    from airflow_provider_linq.operators.messages import LinqSendMessageOperator
    from airflow_provider_linq.triggers.linq_inbound import LinqInboundMessageTrigger

    given: Any = {"concurrency": Integer(4), "max_failures": Decimal("0.5"), "max_invalid": Decimal(3)}
    made = Campaign(message="hi", rows=[], **given)
    found = (made.concurrency, made.max_failures, made.max_invalid)
    assert [(type(one), one) for one in found] == [(int, 4), (float, 0.5), (int, 3)]
    limits: Any = {"messages_per_minute": Decimal("1.5"), "messages_per_day": Integer(7)}
    assert RateLimits(**limits) == RateLimits(messages_per_minute=1.5, messages_per_day=7)
    span: Any = Integer(5)
    assert LinqSendMessageOperator(task_id="t", message="hi", delivery_timeout=span).delivery_timeout.seconds == 5
    assert json.dumps(LinqInboundMessageTrigger(poll_interval=span).serialize()[1]["poll_interval"]) == "5"
    assert DeliveryReport(timeout=span, delivered_share=Fraction(1, 2)).delivered_share == 0.5  # type: ignore[arg-type]


@pytest.mark.parametrize("value", ["30", True, [], Decimal("NaN"), -1])
def test_a_limit_is_a_number(value: Any) -> None:
    from airflow_provider_linq.campaigns import RateLimits

    with pytest.raises(ValueError, match="^messages_per_minute must be 0 or more, got "):
        RateLimits(messages_per_minute=value)


@pytest.mark.parametrize("folders", ["/data", ["/data"], ("/data",), {"/data"}, frozenset({"/data"}), None])
def test_folders_may_come_in_any_collection(folders: Any) -> None:
    from airflow_provider_linq.operators.messages import LinqSendMessageOperator

    LinqSendMessageOperator(task_id="t", message="hi", to="+12125550100", files_under=folders)
