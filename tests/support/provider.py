"""All that the drills against the contract know of the provider by name. Imported in the processes of tries only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from airflow_provider_linq.campaigns import Campaign, DeliveryReport, RateLimits, _dispatcher, _state, send_campaign
from airflow_provider_linq.operators import campaigns, chats, messages
from linq_client import RetrySettings, client

OPERATORS: dict[str, Callable[..., Any]] = {
    "campaign": campaigns.LinqSendCampaignOperator,
    "create": messages.LinqCreateChatOperator,
    "send": messages.LinqSendMessageOperator,
    "memo": chats.LinqSendVoiceMemoOperator,
    "location": chats.LinqRequestLocationOperator,
}

MADE_OF = {"line_limits": RateLimits, "total_limits": RateLimits, "delivery_report": DeliveryReport}


def given(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments as the provider takes them."""
    return {name: MADE_OF[name](**value) if name in MADE_OF else value for name, value in arguments.items()}


def run_campaign(arguments: Mapping[str, Any]) -> Any:
    return send_campaign(Campaign(**given(arguments)))


def hurry() -> None:
    """Make the pauses between repeats short: what is not trusted for seconds is not for milliseconds, either."""
    quick = RetrySettings(first_wait=0.02, longest_wait=0.02)
    client.RetrySettings = lambda: quick  # type: ignore[assignment, misc]
    _dispatcher.LEAST_PAUSE = 0.02  # type: ignore[misc]
    _state.MAX_ATTEMPTS = 2  # type: ignore[misc]
