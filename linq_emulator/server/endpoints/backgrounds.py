"""Backgrounds of chats: set, remove. Both happen later, and only an event says how they went."""

from __future__ import annotations

from linq_emulator.domain import backgrounds, sending
from linq_emulator.schemas import requests
from linq_emulator.server.endpoints import lookup
from linq_emulator.server.gateway import Request, Response
from linq_emulator.server.route import ACTIVE, Route

__all__ = ["ROUTES"]


def set_background(request: Request) -> Response:
    """POST /v3/chats/{chat_id}/background."""
    chat = lookup.find_chat(request)
    background = backgrounds.parse(request.backend, request.json())
    sending.check_chat(chat)
    backgrounds.change(request.backend, chat, chat.me, background)
    return Response(202)


def remove_background(request: Request) -> Response:
    """DELETE /v3/chats/{chat_id}/background."""
    chat = lookup.find_chat(request)
    sending.check_chat(chat)
    backgrounds.change(request.backend, chat, chat.me, None)
    return Response(request.backend.switches.background_removal_status)


ROUTES = (
    Route(
        "POST",
        "/v3/chats/{chat_id}/background",
        set_background,
        status=202,
        refusals=(2001, *ACTIVE, 5006),
        body=requests.SetBackground,
    ),
    Route(
        "DELETE",
        "/v3/chats/{chat_id}/background",
        remove_background,
        status="background_removal_status",
        refusals=(2001, *ACTIVE),
    ),
)
