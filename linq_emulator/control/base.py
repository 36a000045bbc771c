"""Commands of the control API: how a body is read and how a wrong one is refused."""

from __future__ import annotations

import hmac
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from linq_emulator.backend import Backend
from linq_emulator.clock import parse_iso
from linq_emulator.errors import ApiError
from linq_emulator.faults import FaultError
from linq_emulator.json_codec import decode, encode
from linq_emulator.server.guard import MAX_BODY, BodyTooLargeError, read_body
from linq_emulator.switches import SwitchError

__all__ = ["Command", "CommandError", "Handler", "endpoint", "parse_time"]

T = TypeVar("T")

_NOT_KEPT = ("/_emulator/faults", "/_emulator/reset")
"""A fault counts requests, of which some are not carried out; after a reset, a journal begins again."""

_PATH = re.compile(r"^(?P<rule>.*?)(?: - at `\$\.?(?P<path>.*)`)?$", re.DOTALL)
_FIELD = re.compile(r"field `(?P<name>[^`]*)`")


class CommandError(Exception):
    """A wrong command: the field, and the rule that it breaks."""

    def __init__(self, field: str, rule: str, status: int = 400) -> None:
        self.field, self.rule, self.status = field, rule, status
        super().__init__(f"{field}: {rule}")


@dataclass(frozen=True, slots=True)
class Command:
    """One request of the control API."""

    backend: Backend
    request: Request
    content: bytes

    def parse(self, kind: type[T]) -> T:
        """The body as a declared type.

        Raises:
            CommandError: The body does not fit; names the field.
        """
        try:
            return decode(self.content or b"{}", kind, with_lone_surrogates=True)
        except msgspec.ValidationError as error:
            raise _command_error(str(error)) from None
        except ValueError as error:
            raise CommandError("body", f"must be JSON: {error}") from None

    def parse_query(self, kind: type[T]) -> T:
        """The query as a declared type.

        Raises:
            CommandError: It does not fit; names the field.
        """
        try:
            return msgspec.convert(dict(self.request.query_params), kind, strict=False)
        except msgspec.ValidationError as error:
            raise _command_error(str(error)) from None


def _command_error(text: str) -> CommandError:
    match = _PATH.match(text)
    rule, path = (match["rule"], match["path"] or "") if match else (text, "")
    field = _FIELD.search(rule)
    if field:
        path = f"{path}.{field['name']}".lstrip(".")
    return CommandError(path or "body", rule)


Handler = Callable[[Command], object]
"""Carries out a command. It runs without interruption, unless it returns an awaitable of the result."""


def parse_time(text: str, field: str) -> int:
    """Milliseconds of an RFC 3339 time in a body."""
    try:
        return parse_iso(text)
    except ValueError:
        rule = "must be an RFC 3339 time with an offset between 1970 and 2900, such as 2026-11-21T10:00:00Z"
        raise CommandError(field, rule) from None


def endpoint(backend: Backend, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    """An endpoint that runs a command. The result of its handler is sent as JSON, unless it is a response."""

    async def serve(request: Request) -> Response:
        try:
            content = await _admit(backend, request)
            result = _run(handler, Command(backend, request, content))
            if isinstance(result, Awaitable):
                result = await result
        except (ApiError, CommandError, FaultError, SwitchError) as error:
            fields, status = _refusal(error)
            return _json(backend, {"error": fields}, status)
        if request.method != "GET":
            backend.changes.notify()
        return result if isinstance(result, Response) else _json(backend, result, 200)

    return serve


def _run(handler: Handler, command: Command) -> object:
    """Run a command; one that is refused leaves nothing behind."""
    backend, request = command.backend, command.request
    with backend.acting(backend.new_trace_id()) as at:
        try:
            return handler(command)
        except Exception:
            backend.media.undo_request(backend.store)
            raise
        finally:
            if request.url.path not in _NOT_KEPT:
                backend.keep(at, request.method, request.url.path, "", request.headers, command.content)


def _refusal(error: ApiError | CommandError | FaultError | SwitchError) -> tuple[dict[str, object], int]:
    """What is said of a wrong command, and the status of the response."""
    if isinstance(error, ApiError):
        return {"field": "body", "rule": error.message, "code": error.code}, 400
    if isinstance(error, SwitchError):
        return {"field": error.name, "rule": error.rule}, 400
    return {"field": error.field, "rule": error.rule}, error.status if isinstance(error, CommandError) else 400


async def _admit(backend: Backend, request: Request) -> bytes:
    """Check the token and then read the body."""
    token = backend.settings.token
    authorization = request.headers.get("authorization", "")
    if token is not None and not hmac.compare_digest(authorization.encode(), f"Bearer {token}".encode()):
        raise CommandError("Authorization", "must be Bearer and the value of --token", 401)
    try:
        content = await read_body(request, MAX_BODY)
    except BodyTooLargeError as error:
        raise CommandError("body", str(error).removeprefix("the body "), 413) from None
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content and media_type != "application/json":
        # A page of another site can send other types without asking.
        raise CommandError("Content-Type", "must be application/json", 415)
    return content


def _json(backend: Backend, body: object, status: int) -> Response:
    headers = {**backend.date_headers(), "Cache-Control": "no-store"}
    return Response(encode(body), status, headers, "application/json")
