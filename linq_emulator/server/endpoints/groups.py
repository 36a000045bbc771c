"""Participants of groups, and leaving one."""

from __future__ import annotations

from linq_emulator.domain import mutations as changes
from linq_emulator.domain import sending, validate
from linq_emulator.domain.models import Chat
from linq_emulator.server.endpoints import lookup as find
from linq_emulator.server.gateway import Call, Operation, Reply, answer


def _accepted(call: Call, status: int, message: str) -> Reply:
    return answer(status, {"status": "accepted", "message": message, "trace_id": call.trace_id})


def _group(call: Call) -> Chat:
    chat = find.chat(call)
    changes.check_group(call.world, chat)
    sending.check_chat(chat)
    return chat


def _handle(call: Call) -> str:
    return validate.handle(validate.required(call.body(), "handle", str), "handle")


def add_participant(call: Call) -> Reply:
    """POST /v3/chats/{chat_id}/participants."""
    handle = _handle(call)
    changes.add_participant(call.world, _group(call), handle)
    return _accepted(call, 202, "Participant addition queued")


def remove_participant(call: Call) -> Reply:
    """DELETE /v3/chats/{chat_id}/participants, with the handle in the body."""
    handle = _handle(call)
    changes.remove_participant(call.world, _group(call), handle)
    return _accepted(call, 202, "Participant removal queued")


def leave(call: Call) -> Reply:
    """POST /v3/chats/{chat_id}/leave."""
    changes.leave(call.world, _group(call))
    return _accepted(call, call.world.switches.leave_status, "Leaving the group is queued")


ROUTES: list[tuple[str, str, Operation]] = [
    ("POST", "/v3/chats/{chat_id}/participants", add_participant),
    ("DELETE", "/v3/chats/{chat_id}/participants", remove_participant),
    ("POST", "/v3/chats/{chat_id}/leave", leave),
]
