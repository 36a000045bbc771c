"""All that the drills against the contract know of the provider by name. Imported in the processes of tries only.

The drills name arguments as `docs/campaigns.md` does; what is still called otherwise is renamed here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from airflow_provider_linq import campaigns
from airflow_provider_linq.campaigns import sending
from airflow_provider_linq.operators import linq, linq_campaigns, linq_chats
from linq_client import client

OPERATORS: dict[str, Callable[..., Any]] = {
    "campaign": linq_campaigns.LinqSendCampaignOperator,
    "create": linq.LinqCreateChatOperator,
    "send": linq.LinqSendMessageOperator,
    "memo": linq_chats.LinqSendVoiceMemoOperator,
    "location": linq_chats.LinqRequestLocationOperator,
}

RENAMED = {"line_limits": "line_pace", "total_limits": "total_pace", "delivery_report": "follow_up"}
MADE_OF = {"line_limits": campaigns.Pace, "total_limits": campaigns.Pace, "delivery_report": campaigns.FollowUp}


def given(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments as the provider takes them."""
    return {
        RENAMED.get(name, name): MADE_OF[name](**value) if name in MADE_OF else value
        for name, value in arguments.items()
    }


def send_campaign(arguments: Mapping[str, Any]) -> Any:
    return campaigns.send_campaign(campaigns.Campaign(**given(arguments)))


def hurry() -> None:
    """Make the pauses between repeats short: what is not trusted for seconds is not for milliseconds, either."""
    client._exponential = lambda state: 0.02  # type: ignore[assignment]
    sending.LEAST_PAUSE = 0.02  # type: ignore[misc]
    sending.MAX_TRIES = 2  # type: ignore[misc]
