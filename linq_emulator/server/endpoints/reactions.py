"""Reactions to messages: tapbacks and stickers, and where a sticker lies."""

from __future__ import annotations

from typing import Any

from linq_emulator.domain import mutations, sending, stickers, validate
from linq_emulator.domain.models import IMESSAGE, Reaction
from linq_emulator.errors import ApiError
from linq_emulator.schemas import requests, responses
from linq_emulator.server.endpoints import lookup
from linq_emulator.server.gateway import Request, Response, json_response
from linq_emulator.server.route import ACTIVE, Route

__all__ = ["ROUTES"]


def react(request: Request) -> Response:
    """POST /v3/messages/{message_id}/reactions."""
    backend = request.backend
    message = lookup.find_message(request)
    body = request.json()
    operation = validate.one_of(validate.required(body, "operation", str), ("add", "remove"), "operation")
    kind = validate.one_of(validate.required(body, "type", str), (*mutations.TAPBACKS, mutations.STICKER), "type")
    emoji = validate.required(body, "custom_emoji", str) if kind == "custom" else None
    part_index = validate.optional(body, "part_index", int) or 0
    if not 0 <= part_index < len(message.parts):
        raise ApiError(1005, "part_index is not a part of this message")
    if kind == mutations.STICKER and operation == "remove":
        raise ApiError(1005, "a sticker cannot be removed")
    me = message.chat.me
    reaction = Reaction(backend.store.new_id(), me, kind, emoji)
    if kind == mutations.STICKER:
        reaction.sticker, reaction.placement = stickers.image(backend, body), stickers.placement(body)
    else:
        _refuse_sticker_fields(body)
    sending.check_chat(message.chat)
    if kind == mutations.STICKER and message.service != IMESSAGE:
        raise ApiError(2017, "stickers need iMessage")
    if operation == "add":
        mutations.add_reaction(backend, message, part_index, reaction)
    else:
        mutations.remove_reaction(backend, message, part_index, me, kind, emoji)
    body = {"status": "accepted", "message": "Reaction processed", "trace_id": request.trace_id}
    return json_response(backend.switches.reaction_status, body)


def _refuse_sticker_fields(body: dict[str, Any]) -> None:
    for name in (*stickers.SOURCES, "placement"):
        if body.get(name) is not None:
            raise ApiError(1005, f"{name} goes with type sticker only")


def move_sticker(request: Request) -> Response:
    """PATCH /v3/messages/{message_id}/reactions/{reaction_id}: moves, resizes or turns a sticker."""
    message = lookup.find_message(request)
    reaction_id = validate.identifier(request.path["reaction_id"], "reaction_id")
    body = request.json()
    raw = validate.required(body, "placement", dict)
    reaction = next(
        (one for part in message.parts for one in part.reactions or () if one.id == reaction_id),
        None,
    )
    if reaction is None:
        raise ApiError(2002, "the message has no such reaction")
    if reaction.placement is None:
        raise ApiError(1005, "reaction_id must be a sticker: a tapback has no placement")
    placement = stickers.moved(raw, reaction.placement)
    sending.check_chat(message.chat)
    mutations.move_sticker(request.backend, message, reaction, placement)
    fields = {"success": True, "status": "accepted", "trace_id": request.trace_id}
    return json_response(request.backend.switches.sticker_placement_status, fields)


ROUTES = (
    Route(
        "POST",
        "/v3/messages/{message_id}/reactions",
        react,
        response=responses.Accepted,
        status="reaction_status",
        refusals=(1004, 2002, 2003, 2007, 2017, 5004, *ACTIVE),
        body=requests.React,
    ),
    Route(
        "PATCH",
        "/v3/messages/{message_id}/reactions/{reaction_id}",
        move_sticker,
        response=responses.StickerMoved,
        status="sticker_placement_status",
        refusals=(2002, *ACTIVE),
        body=requests.MoveSticker,
    ),
)
