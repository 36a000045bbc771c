"""The blocklist: what comes from these handles is dropped, and nothing is sent to them alone."""

from __future__ import annotations

from typing import Any

from linq_emulator.clock import iso
from linq_emulator.domain import blocklist, validate
from linq_emulator.domain.models import Block
from linq_emulator.errors import ApiError
from linq_emulator.schemas import requests, responses
from linq_emulator.server.gateway import NO_CONTENT, Request, Response, json_response
from linq_emulator.server.route import Route

__all__ = ["ROUTES"]


def list_blocks(request: Request) -> Response:
    """GET /v3/blocked_handles."""
    newest_first = reversed(request.backend.store.blocks.values())
    return json_response(200, {"blocked_handles": [_block_fields(block) for block in newest_first]})


def _block_fields(block: Block) -> dict[str, Any]:
    return {"handle": block.handle, "blocked_at": iso(block.blocked_at), "reason": block.reason}


def _blockable(body: dict[str, Any]) -> str:
    value: str = validate.required(body, "handle", str)
    if not validate.is_sender(value):
        raise ApiError(1002, "handle must be a phone number, an e-mail address, a short code or a sender ID")
    return value


def block(request: Request) -> Response:
    """POST /v3/blocked_handles: blocking again returns the existing entry."""
    body = request.json()
    value = _blockable(body)
    reason = validate.optional(body, "reason", str)
    entry = blocklist.block(request.backend, value, reason)
    return json_response(request.backend.switches.block_status, {"blocked_handle": _block_fields(entry)})


def unblock(request: Request) -> Response:
    """DELETE /v3/blocked_handles, with the handle in the body."""
    blocklist.unblock(request.backend, _blockable(request.json()))
    return NO_CONTENT


ROUTES = (
    Route("GET", "/v3/blocked_handles", list_blocks, response=responses.BlockedHandleList),
    Route(
        "POST",
        "/v3/blocked_handles",
        block,
        response=responses.BlockedHandle,
        status="block_status",
        refusals=(1002,),
        body=requests.BlockHandle,
    ),
    Route("DELETE", "/v3/blocked_handles", unblock, status=204, refusals=(1002,), body=requests.UnblockHandle),
)
