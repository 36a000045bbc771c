"""Chats: list, get, update, typing, read, sharing the contact card."""

from __future__ import annotations

from linq_emulator.domain import inbound, mutations, sending, validate
from linq_emulator.errors import ApiError
from linq_emulator.schemas import requests, responses
from linq_emulator.serializers import chat_bytes, chat_fields, list_body
from linq_emulator.server.endpoints import lookup, paging
from linq_emulator.server.gateway import NO_CONTENT, Request, Response, json_response
from linq_emulator.server.route import ACTIVE, Refusal, Route

__all__ = ["ROUTES"]


def list_chats(request: Request) -> Response:
    """GET /v3/chats."""
    backend = request.backend
    number, handle = request.query.get("from"), request.query.get("to")
    line = None if number is None else sending.own_line(backend, number)
    if handle is not None and not validate.is_sender_id(handle):
        validate.handle(handle, "to")
    chats, next_cursor = paging.page(
        request,
        backend.store.list_chats(line, handle),
        20,
        order=backend.switches.chat_order,
        cursor_kind=backend.switches.cursor,
        empty_pages=backend.switches.empty_pages,
    )
    return Response(200, list_body("chats", [chat_bytes(chat) for chat in chats], next_cursor))


def get_chat(request: Request) -> Response:
    """GET /v3/chats/{chat_id}."""
    return json_response(200, chat_fields(lookup.find_chat(request)))


def update_chat(request: Request) -> Response:
    """PUT /v3/chats/{chat_id}: changes name and icon of a group, later."""
    chat = lookup.find_chat(request)
    body = request.json()
    name = validate.optional(body, "display_name", str)
    icon = validate.optional(body, "group_chat_icon", str)
    if name is None and icon is None:
        raise ApiError(1001, "display_name or group_chat_icon is required")
    if name is not None and not name.strip():
        raise ApiError(1005, "display_name must not be empty")
    if icon is not None:
        validate.https_url(icon, "group_chat_icon")
    mutations.check_group(chat, request.backend.switches.direct_group_action_status)
    sending.check_chat(chat)
    mutations.update_group(request.backend, chat, name, icon)
    return json_response(request.backend.switches.update_chat_status, {"chat_id": chat.id, "status": "pending"})


def typing(request: Request) -> Response:
    """POST and DELETE /v3/chats/{chat_id}/typing: accepted without effect."""
    sending.check_chat(lookup.find_chat(request))
    return NO_CONTENT


def mark_read(request: Request) -> Response:
    """POST /v3/chats/{chat_id}/read."""
    chat = lookup.find_chat(request)
    if chat.left:
        raise ApiError(2013)
    inbound.mark_read(request.backend, chat)
    return NO_CONTENT


def share_contact_card(request: Request) -> Response:
    """POST /v3/chats/{chat_id}/share_contact_card."""
    chat = lookup.find_chat(request)
    sending.check_chat(chat)
    if chat.line.card is None:
        raise ApiError(2012)
    request.backend.rate_limits.acquire("share_contact_card", chat.id, request.backend.now())
    return NO_CONTENT


ROUTES = (
    Route(
        "GET", "/v3/chats", list_chats, response=responses.ChatList, refusals=(1002, 2006), query=requests.ChatsQuery
    ),
    Route("GET", "/v3/chats/{chat_id}", get_chat, response=responses.Chat, refusals=(2001,)),
    Route(
        "PUT",
        "/v3/chats/{chat_id}",
        update_chat,
        response=responses.ChatUpdate,
        status="update_chat_status",
        refusals=(2001, *ACTIVE, Refusal(1006, "direct_group_action_status")),
        body=requests.UpdateChat,
    ),
    Route("POST", "/v3/chats/{chat_id}/typing", typing, status=204, refusals=(2001, *ACTIVE)),
    Route("DELETE", "/v3/chats/{chat_id}/typing", typing, status=204, refusals=(2001, *ACTIVE)),
    Route("POST", "/v3/chats/{chat_id}/read", mark_read, status=204, refusals=(2001, 2013)),
    Route(
        "POST",
        "/v3/chats/{chat_id}/share_contact_card",
        share_contact_card,
        status=204,
        refusals=(1007, 2001, 2012, *ACTIVE),
    ),
)
