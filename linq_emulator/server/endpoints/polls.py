"""Polls: create, read, add options, vote."""

from __future__ import annotations

from typing import Any

from linq_emulator import serializers
from linq_emulator.domain import polls, sending, validate
from linq_emulator.domain.models import Message, Poll
from linq_emulator.errors import ApiError
from linq_emulator.schemas import requests, responses
from linq_emulator.server.endpoints import lookup
from linq_emulator.server.gateway import Request, Response, json_response
from linq_emulator.server.route import ACTIVE, SENDING, Route

__all__ = ["ROUTES"]


def create_poll(request: Request) -> Response:
    """POST /v3/chats/{chat_id}/polls."""
    backend = request.backend
    chat = lookup.find_chat(request)
    body = validate.required(request.json(), "poll", dict)
    texts = polls.option_texts(validate.required(body, "options", list, "poll."), "poll.")
    draft = polls.new_draft(backend, chat.me, texts)
    key = validate.optional(body, "idempotency_key", str, "poll.")
    if key is not None:
        draft.idempotency_key = validate.idempotency_key(key, "poll.idempotency_key")

    def describe(message: Message) -> dict[str, Any]:
        return _envelope(request, message, with_texts=True)

    def accept() -> tuple[Message, dict[str, Any]]:
        message = sending.send_into(backend, chat, draft)
        return message, describe(message)

    scope = sending.idempotency_scope(backend, chat.line, chat.recipients())
    key, status = draft.idempotency_key, backend.switches.poll_status
    return Response(*sending.run_idempotent(backend, scope, key, "poll", status, accept, describe))


def get_poll(request: Request) -> Response:
    """GET /v3/messages/{message_id}/poll."""
    message, _ = _find(request)
    return json_response(200, _envelope(request, message, with_texts=not message.zero_retention))


def add_options(request: Request) -> Response:
    """POST /v3/messages/{message_id}/poll/options."""
    message, poll = _find(request)
    texts = polls.option_texts(validate.required(request.json(), "options", list))
    added = polls.texts_to_add(message, poll, texts)
    sending.check_chat(message.chat)
    polls.add_options(request.backend, message, poll, message.chat.me, added)
    return json_response(request.backend.switches.poll_change_status, _envelope(request, message, with_texts=True))


def vote(request: Request) -> Response:
    """POST /v3/messages/{message_id}/poll/votes: toggles the line's own vote on one option."""
    message, poll = _find(request)
    body = request.json()
    operation = validate.one_of(validate.required(body, "operation", str), ("add", "remove"), "operation")
    option = polls.find_option(poll, validate.required(body, "option_id", str))
    sending.check_chat(message.chat)
    polls.vote(request.backend, message, option, message.chat.me, adds=operation == "add")
    texts_shown = not message.zero_retention
    return json_response(
        request.backend.switches.poll_change_status, _envelope(request, message, with_texts=texts_shown)
    )


def _find(request: Request) -> tuple[Message, Poll]:
    """The poll of ``{message_id}``. A line that keeps nothing keeps its polls, without the texts."""
    message = lookup.find_message(request)
    if message.poll is None:
        raise ApiError(2002, "the message is not a poll")
    return message, message.poll


def _envelope(request: Request, message: Message, *, with_texts: bool) -> dict[str, Any]:
    assert message.poll is not None
    return serializers.poll_envelope(message, message.poll, request.backend.media.url, with_texts=with_texts)


ROUTES = (
    Route(
        "POST",
        "/v3/chats/{chat_id}/polls",
        create_poll,
        response=responses.Poll,
        status="poll_status",
        refusals=(1004, 2001, 2002, 2015, 2017, *SENDING),
        body=requests.CreatePoll,
    ),
    Route("GET", "/v3/messages/{message_id}/poll", get_poll, response=responses.Poll, refusals=(2002,)),
    Route(
        "POST",
        "/v3/messages/{message_id}/poll/options",
        add_options,
        response=responses.Poll,
        status="poll_change_status",
        refusals=(1004, 2002, *ACTIVE),
        body=requests.AddPollOptions,
    ),
    Route(
        "POST",
        "/v3/messages/{message_id}/poll/votes",
        vote,
        response=responses.Poll,
        status="poll_change_status",
        refusals=(2002, *ACTIVE),
        body=requests.PollVote,
    ),
)
