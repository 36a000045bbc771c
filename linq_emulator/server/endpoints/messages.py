"""Accepted messages: list, get, edit, delete, thread, update of an app card."""

from __future__ import annotations

from linq_emulator.domain import app_cards, mutations, sending, validate
from linq_emulator.domain.content import MAX_TEXT
from linq_emulator.domain.models import Draft, Message
from linq_emulator.json_codec import encode
from linq_emulator.schemas import requests, responses
from linq_emulator.serializers import message_fields, sent_message_fields
from linq_emulator.server.endpoints import lookup, paging
from linq_emulator.server.gateway import NO_CONTENT, Request, Response, json_response
from linq_emulator.server.route import ACTIVE, SENDING, Route

__all__ = ["ROUTES"]


def list_messages(request: Request) -> Response:
    """GET /v3/chats/{chat_id}/messages."""
    chat = lookup.find_chat(request)
    switches = request.backend.switches
    messages, next_cursor = paging.page(
        request,
        chat.messages,
        50,
        order=switches.message_order,
        cursor_kind=switches.cursor,
        empty_pages=switches.empty_pages,
    )
    return lookup.messages_response(request, messages, next_cursor)


def get_message(request: Request) -> Response:
    """GET /v3/messages/{message_id}."""
    return Response(200, _body(request, lookup.find_readable_message(request)))


def _body(request: Request, message: Message) -> bytes:
    return encode(message_fields(message, request.backend.media.url))


def get_thread(request: Request) -> Response:
    """GET /v3/messages/{message_id}/thread."""
    message = lookup.find_readable_message(request)
    order = validate.one_of(request.query.get("order", "asc"), ("asc", "desc"), "order")
    # The cursor in the documentation's example holds an id and a time.
    messages, next_cursor = paging.page(
        request,
        request.backend.store.thread(message),
        50,
        order="oldest" if order == "asc" else "newest",
        cursor_kind="key",
    )
    return lookup.messages_response(request, messages, next_cursor)


def edit_message(request: Request) -> Response:
    """PATCH /v3/messages/{message_id}. Of a deleted message it has no body (seen by third parties)."""
    if request.path["message_id"].lower() in request.backend.store.deleted:
        return NO_CONTENT
    message = lookup.find_message(request)
    body = request.json()
    text = validate.non_empty_text(validate.required(body, "text", str), "text", MAX_TEXT)
    part_index = validate.optional(body, "part_index", int) or 0
    sending.check_chat(message.chat)
    mutations.check_edit(request.backend, message, part_index)
    mutations.edit(request.backend, message, part_index, text)
    return Response(request.backend.switches.edit_status, _body(request, message))


def delete_message(request: Request) -> Response:
    """DELETE /v3/messages/{message_id}: deletes it from the account. The recipient keeps it."""
    message, backend = lookup.find_message(request), request.backend
    message.deleted_at = backend.now()
    backend.store.remove_message(message, leaves_tombstone=backend.switches.tombstones)
    return NO_CONTENT


def update_app_card(request: Request) -> Response:
    """POST /v3/messages/{message_id}/update: a new message, which takes the place of a card on the device."""
    backend = request.backend
    original = lookup.find_message(request)
    card = app_cards.replacement(request.json(), original, backend.message_parser.host_image)
    message = sending.send_into(backend, original.chat, Draft([card]))
    fields = sent_message_fields(message, backend.media.url)
    return json_response(backend.switches.app_card_update_status, {"chat_id": message.chat.id, "message": fields})


ROUTES = (
    Route(
        "GET",
        "/v3/chats/{chat_id}/messages",
        list_messages,
        response=responses.MessageList,
        refusals=(2001,),
        query=requests.PageQuery,
    ),
    Route("GET", "/v3/messages/{message_id}", get_message, response=responses.Message, refusals=(2002,)),
    Route(
        "GET",
        "/v3/messages/{message_id}/thread",
        get_thread,
        response=responses.MessageList,
        refusals=(2002,),
        query=requests.ThreadQuery,
    ),
    Route(
        "PATCH",
        "/v3/messages/{message_id}",
        edit_message,
        response=responses.Message,
        status="edit_status",
        refusals=(1004, 2002, 2005, *ACTIVE),
        body=requests.EditMessage,
        also_empty=204,
    ),
    Route("DELETE", "/v3/messages/{message_id}", delete_message, status=204, refusals=(2002,)),
    Route(
        "POST",
        "/v3/messages/{message_id}/update",
        update_app_card,
        response=responses.SentToChat,
        status="app_card_update_status",
        refusals=(1008, 2002, 2011, 2015, *SENDING),
        body=requests.UpdateAppCard,
    ),
)
