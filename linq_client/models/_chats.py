"""Chats, who is in them, and where those are."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from linq_client.models._base import APIModel, Informative, UTCDatetime


class ChatHandle(APIModel):
    """A participant of a chat: `service` is iMessage, RCS or SMS; `status` is active, left or removed."""

    id: str
    handle: str
    joined_at: UTCDatetime | None = None
    left_at: UTCDatetime | None = None
    service: str | None = None
    is_me: bool | None = None
    status: str | None = None
    line_type: str | None = None


class Health(APIModel):
    """Advisory health of a chat or reputation of a line: HEALTHY, AT_RISK, CRITICAL or (chats) OPTED_OUT."""

    status: str | None = None
    doc_url: str | None = None
    updated_at: UTCDatetime | None = None


class Chat(APIModel):
    """A conversation between one own line and one or more handles."""

    id: str
    created_at: UTCDatetime
    updated_at: UTCDatetime
    display_name: str | None = None
    handles: list[ChatHandle] = Field(default_factory=list)
    health_status: Health | None = None
    is_group: bool = False
    service: str | None = None
    group_chat_icon: str | None = None


class Accepted(APIModel):
    """An action that the platform carries out later; a webhook reports the outcome."""

    status: Informative[str] = None
    message: Informative[str] = None
    chat_id: Informative[str] = None
    success: Informative[bool] = None
    trace_id: Informative[str] = None


class Location(APIModel):
    """Where a sharing participant is, in degrees (WGS 84); the API's GeoJSON puts longitude first."""

    handle: str
    longitude: float
    latitude: float
    altitude: float | None = None
    address: str | None = None
    locality: str | None = None
    updated_at: UTCDatetime | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_feature(cls, value: Any) -> Any:
        if isinstance(value, dict) and value.get("type") == "Feature":
            geometry = value.get("geometry") or {}
            place = zip(("longitude", "latitude", "altitude"), geometry.get("coordinates") or (), strict=False)
            return {**(value.get("properties") or {}), **dict(place)}
        return value
