"""Location of contacts: request, read, stop.

Rules: linq-python 0.65.0 ``resources/chats/location.py``.
"""

from __future__ import annotations

from typing import Any

from linq_emulator.backend import World
from linq_emulator.clock import iso
from linq_emulator.domain import events, sending, validate
from linq_emulator.domain.models import IMESSAGE, Chat, Line, Location
from linq_emulator.errors import ApiError
from linq_emulator.serializers import encode
from linq_emulator.server.endpoints import lookup as find
from linq_emulator.server.gateway import Call, Operation, Reply, answer


def request(call: Call) -> Reply:
    """POST /v3/chats/{chat_id}/location/request: prompts the contact, who shares by the control API."""
    chat = find.chat(call)
    if chat.is_group:
        raise ApiError(2016)
    if chat.service != IMESSAGE:
        raise ApiError(2017)
    sending.check_chat(chat)
    if call.world.store.contact(chat.others[0].handle).location is not None:
        raise ApiError(2015, "the contact is already sharing")
    call.world.limits.take("location_request", chat.id, call.world.now())
    return answer(200, {"success": True, "message": "Location request sent"})


def read(call: Call) -> Reply:
    """GET /v3/chats/{chat_id}/location: GeoJSON in an envelope, longitude first."""
    chat = find.chat(call)
    features = []
    for other in chat.active():
        shared = call.world.store.contact(other.handle).location
        if shared is not None:
            features.append(_feature(other.handle, shared))
    body = encode({"success": True, "data": {"type": "FeatureCollection", "features": features}})
    return Reply(200, body, "application/geo+json")


def _feature(handle: str, shared: Location) -> dict[str, Any]:
    coordinates = [shared.longitude, shared.latitude]
    if shared.altitude is not None:
        coordinates.append(shared.altitude)
    return {
        "type": "Feature",
        "geometry": {"type": "Point", "coordinates": coordinates},
        "properties": {
            "handle": handle,
            "address": shared.address,
            "locality": shared.locality,
            "updated_at": iso(shared.updated_at),
        },
    }


def stop(call: Call) -> Reply:
    """DELETE /v3/chats/{chat_id}/location: ends a contact's share in every chat."""
    chat = find.chat(call)
    handle = validate.handle(validate.required(call.body(), "handle", str), "handle")
    if chat.participant(handle) is None:
        raise ApiError(1005, "handle is not a participant of this chat")
    if call.world.store.contact(handle).location is None:
        raise ApiError(2015, "the contact is not sharing", status=404)
    share(call.world, chat.line, handle, None, chat)
    return answer(202, {"success": True, "message": "Stop requested"})


def share(world: World, line: Line, handle: str, place: Location | None, chat: Chat | None) -> None:
    """Begin, move or end (None) a contact's share; webhooks tell of the first and the last only."""
    contact = world.store.contact(handle)
    before, contact.location = contact.location, place
    if place is not None and before is not None:
        place.began_at, place.chat_id = before.began_at, before.chat_id
    elif place is not None:
        place.chat_id = chat.id if chat else None
        events.location(world, line, handle, place, started=True)
    elif before is not None:
        events.location(world, line, handle, before, started=False)


ROUTES: list[tuple[str, str, Operation]] = [
    ("POST", "/v3/chats/{chat_id}/location/request", request),
    ("GET", "/v3/chats/{chat_id}/location", read),
    ("DELETE", "/v3/chats/{chat_id}/location", stop),
]
