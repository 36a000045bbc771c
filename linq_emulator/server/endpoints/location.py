"""Location of contacts: request, read, stop.

Rules: linq-python 0.65.0 ``resources/chats/location.py``.
"""

from __future__ import annotations

from typing import Any

from linq_emulator.clock import iso
from linq_emulator.domain import sending, validate
from linq_emulator.domain.locations import share_location
from linq_emulator.domain.models import IMESSAGE, Location
from linq_emulator.errors import ApiError
from linq_emulator.json_codec import encode
from linq_emulator.schemas import requests, responses
from linq_emulator.server.endpoints import lookup
from linq_emulator.server.gateway import Request, Response, json_response
from linq_emulator.server.route import ACTIVE, Refusal, Route

__all__ = ["ROUTES"]


def request_location(request: Request) -> Response:
    """POST /v3/chats/{chat_id}/location/request: prompts the contact. The control API shares the location."""
    chat = lookup.find_chat(request)
    if chat.is_group:
        raise ApiError(2016)
    if chat.service != IMESSAGE:
        raise ApiError(2017)
    sending.check_chat(chat)
    if request.backend.store.contact(chat.others[0].handle).location is not None:
        raise ApiError(2015, "the contact is already sharing")
    request.backend.rate_limits.acquire("location_request", chat.id, request.backend.now())
    return json_response(200, {"success": True, "message": "Location request sent"})


def get_location(request: Request) -> Response:
    """GET /v3/chats/{chat_id}/location: GeoJSON in an envelope, longitude first."""
    chat = lookup.find_chat(request)
    features = []
    for other in chat.active_others():
        location = request.backend.store.contact(other.handle).location
        if location is not None:
            features.append(_feature(other.handle, location))
    body = encode({"success": True, "data": {"type": "FeatureCollection", "features": features}})
    return Response(200, body, "application/geo+json")


def _feature(handle: str, location: Location) -> dict[str, Any]:
    coordinates = [location.longitude, location.latitude]
    if location.altitude is not None:
        coordinates.append(location.altitude)
    return {
        "type": "Feature",
        "geometry": {"type": "Point", "coordinates": coordinates},
        "properties": {
            "handle": handle,
            "address": location.address,
            "locality": location.locality,
            "updated_at": iso(location.updated_at),
        },
    }


def stop_location(request: Request) -> Response:
    """DELETE /v3/chats/{chat_id}/location: ends the share of a contact in every chat."""
    chat = lookup.find_chat(request)
    handle = validate.handle(validate.required(request.json(), "handle", str), "handle")
    if chat.active_participant(handle) is None:
        raise ApiError(1005, "handle is not a participant of this chat")
    if request.backend.store.contact(handle).location is None:
        raise ApiError(2015, "the contact is not sharing", status=404)
    share_location(request.backend, chat.line, handle, None, chat)
    return json_response(202, {"success": True, "message": "Stop requested"})


ROUTES = (
    Route(
        "POST",
        "/v3/chats/{chat_id}/location/request",
        request_location,
        response=responses.LocationResult,
        refusals=(1007, 2001, 2015, 2016, 2017, *ACTIVE),
    ),
    Route(
        "GET",
        "/v3/chats/{chat_id}/location",
        get_location,
        response=responses.LocationResponse,
        refusals=(2001,),
        media_type="application/geo+json",
    ),
    Route(
        "DELETE",
        "/v3/chats/{chat_id}/location",
        stop_location,
        response=responses.LocationResult,
        status=202,
        refusals=(1002, 2001, Refusal(2015, 404)),
        body=requests.HandleBody,
    ),
)
