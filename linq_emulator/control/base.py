"""Reading control requests and refusing wrong ones."""

from __future__ import annotations

import re
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from linq_emulator.backend import World
from linq_emulator.clock import http_date, parse_iso
from linq_emulator.errors import ApiError
from linq_emulator.serializers import encode
from linq_emulator.switches import SwitchError

T = TypeVar("T")

_PATH = re.compile(r"^(?P<rule>.*?)(?: - at `\$\.?(?P<path>.*)`)?$", re.DOTALL)
_NAMED = re.compile(r"field `(?P<name>[^`]*)`")


class ControlError(Exception):
    """A wrong order: which field, and the rule that it breaks."""

    def __init__(self, field: str, rule: str, status: int = 400) -> None:
        self.field, self.rule, self.status = field, rule, status
        super().__init__(f"{field}: {rule}")


@dataclass(frozen=True, slots=True)
class Order:
    """One control request."""

    world: World
    request: Request
    raw: bytes

    def read(self, kind: type[T]) -> T:
        """The body as a declared type; `ControlError` names what does not fit."""
        try:
            return msgspec.json.decode(self.raw or b"{}", type=kind)
        except msgspec.ValidationError as error:
            raise _unfit(str(error)) from None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ControlError("body", f"must be JSON: {error}") from None


def _unfit(text: str) -> ControlError:
    found = _PATH.match(text)
    rule, path = (found["rule"], found["path"] or "") if found else (text, "")
    named = _NAMED.search(rule)
    if named:
        path = f"{path}.{named['name']}".lstrip(".")
    return ControlError(path or "body", rule)


Operation = Callable[[Order], object]


def moment(text: str, field: str) -> int:
    """Milliseconds of an RFC 3339 time in a body."""
    try:
        return parse_iso(text)
    except ValueError:
        raise ControlError(field, "must be an RFC 3339 time with an offset, such as 2026-11-21T10:00:00Z") from None


def endpoint(world: World, operation: Operation) -> Callable[[Request], Awaitable[Response]]:
    """An endpoint that carries out an order; what it returns is sent as JSON unless it is a response."""

    async def serve(request: Request) -> Response:
        raw = await request.body()
        world.clock.run_due()
        world.trace_id = secrets.token_hex(16)
        try:
            result = operation(Order(world, request, raw))
        except ControlError as error:
            return _json(world, {"error": {"field": error.field, "rule": error.rule}}, error.status)
        except SwitchError as error:
            return _json(world, {"error": {"field": error.name, "rule": error.rule}}, 400)
        except ApiError as error:
            return _json(world, {"error": {"field": "body", "rule": error.message, "code": error.code}}, 400)
        return result if isinstance(result, Response) else _json(world, result, 200)

    return serve


def _json(world: World, body: object, status: int) -> Response:
    return Response(encode(body), status, {"Date": http_date(world.now())}, "application/json")
