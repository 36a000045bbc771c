"""Participants of groups, and leaving one."""

from __future__ import annotations

from linq_emulator.domain import mutations, sending, validate
from linq_emulator.domain.models import Chat
from linq_emulator.schemas import requests, responses
from linq_emulator.server.endpoints import lookup
from linq_emulator.server.gateway import Request, Response, json_response
from linq_emulator.server.route import ACTIVE, Refusal, Route

__all__ = ["ROUTES"]


def _accepted(request: Request, status: int, message: str) -> Response:
    return json_response(status, {"status": "accepted", "message": message, "trace_id": request.trace_id})


def _group(request: Request, direct_status: int) -> Chat:
    chat = lookup.find_chat(request)
    mutations.check_group(chat, direct_status)
    sending.check_chat(chat)
    return chat


def _handle(request: Request) -> str:
    return validate.handle(validate.required(request.json(), "handle", str), "handle")


def add_participant(request: Request) -> Response:
    """POST /v3/chats/{chat_id}/participants."""
    handle = _handle(request)
    group = _group(request, request.backend.switches.direct_participants_status)
    mutations.add_participant(request.backend, group, handle)
    return _accepted(request, 202, "Participant addition queued")


def remove_participant(request: Request) -> Response:
    """DELETE /v3/chats/{chat_id}/participants, with the handle in the body."""
    handle = _handle(request)
    group = _group(request, request.backend.switches.direct_participants_status)
    mutations.remove_participant(request.backend, group, handle)
    return _accepted(request, 202, "Participant removal queued")


def leave(request: Request) -> Response:
    """POST /v3/chats/{chat_id}/leave."""
    switches = request.backend.switches
    mutations.leave(request.backend, _group(request, switches.direct_group_action_status))
    return _accepted(request, switches.leave_status, "Leaving the group is queued")


ROUTES = (
    Route(
        "POST",
        "/v3/chats/{chat_id}/participants",
        add_participant,
        response=responses.Accepted,
        status=202,
        refusals=(1002, 2001, 2015, 2017, *ACTIVE, Refusal(1006, "direct_participants_status")),
        body=requests.HandleBody,
    ),
    Route(
        "DELETE",
        "/v3/chats/{chat_id}/participants",
        remove_participant,
        response=responses.Accepted,
        status=202,
        refusals=(1002, 2001, 2015, *ACTIVE, Refusal(1006, "direct_participants_status")),
        body=requests.HandleBody,
    ),
    Route(
        "POST",
        "/v3/chats/{chat_id}/leave",
        leave,
        response=responses.Accepted,
        status="leave_status",
        refusals=(2001, 2015, 2017, *ACTIVE, Refusal(1006, "direct_group_action_status")),
    ),
)
