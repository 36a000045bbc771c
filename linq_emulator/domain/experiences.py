"""Experiences: cards of Linq's own iMessage app that are sent by name.

Names of experiences and actions, and the one field of ``request_payment``: linq-python 0.65.0
``resources/experiences.py``. No public source has the other fields, so those are ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from linq_emulator.domain import validate
from linq_emulator.errors import ApiError

__all__ = ["EXPERIENCES", "Action", "Experience", "Field", "card"]

FieldType = Literal["string", "cents", "int", "url"]


@dataclass(frozen=True, slots=True)
class Field:
    """One field of an action's params. `max` is the longest string."""

    type: FieldType
    required: bool = False
    max: int | None = None


@dataclass(frozen=True, slots=True)
class Action:
    """What can be invoked on an experience. `summary` is also the caption of its card."""

    name: str
    summary: str
    fields: Mapping[str, Field]


@dataclass(frozen=True, slots=True)
class Experience:
    """A third party that shows itself within Linq's app."""

    name: str
    display_name: str
    actions: tuple[Action, ...]


_COPY = Field("string", max=100)

EXPERIENCES: dict[str, Experience] = {
    experience.name: experience
    for experience in (
        Experience(
            "agentpay",
            "Agent Pay",
            (Action("request_payment", "Requests a payment", {"checkout_url": Field("url", required=True)}),),
        ),
        Experience(
            "agentcard",
            "Agent Card",
            (
                Action("attach_card", "Asks for a card for the wallet", {"title": _COPY, "subtitle": _COPY}),
                Action(
                    "approve_card",
                    "Asks to approve a virtual card",
                    {"title": _COPY, "amount": Field("cents"), "uses": Field("int")},
                ),
            ),
        ),
        Experience(
            "link", "Link", (Action("open", "Opens a URL", {"url": Field("url", required=True), "title": _COPY}),)
        ),
    )
}

_APP = {"bundle_id": "com.example.linq.experiences", "name": "Linq", "team_id": "EXAMPLE000", "app_store_id": None}
_NO_DESTINATION = "https://experiences.invalid/"


def card(raw: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """What the app card of an invocation shows.

    Raises:
        ApiError: 1001, 1003, 1005, or 2011 if there is no such experience.
    """
    name = validate.required(raw, "name", str, prefix)
    experience = EXPERIENCES.get(name)
    if experience is None:
        raise ApiError(2011, f"{prefix}name must be one of {', '.join(EXPERIENCES)}")
    wanted = validate.required(raw, "action", str, prefix)
    action = next((action for action in experience.actions if action.name == wanted), None)
    if action is None:
        names = ", ".join(action.name for action in experience.actions)
        raise ApiError(1005, f"{prefix}action must be one of {names} ({name})")
    params = validate.optional(raw, "params", dict, prefix) or {}
    destination = _NO_DESTINATION + name
    for field_name in params:
        if field_name not in action.fields:
            raise ApiError(1005, f"{prefix}params has a field that {action.name} does not have")
    for field_name, field in action.fields.items():
        value = _param(params, field_name, field, f"{prefix}params.")
        if value is not None and field.type == "url":
            destination = value
    return {
        "app": dict(_APP),
        "layout": {"caption": params.get("title") or action.summary, "subcaption": experience.display_name},
        "url": destination,
        "fallback_text": action.summary,
    }


def _param(params: Mapping[str, Any], name: str, field: Field, prefix: str) -> Any:
    get = validate.required if field.required else validate.optional
    value = get(params, name, int if field.type in ("cents", "int") else str, prefix)
    if value is None:
        return None
    if field.type == "url":
        return validate.https_url(value, prefix + name)
    if field.type == "cents" and value < 0:
        raise ApiError(1005, f"{prefix}{name} must not be negative")
    if field.max is not None and len(value) > field.max:
        raise ApiError(1005, f"{prefix}{name} must have at most {field.max} characters")
    return value
