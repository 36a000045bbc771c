"""The way that every request of the API takes: due events, faults, the key, the operation, the log."""

from __future__ import annotations

import asyncio
import hmac
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import QueryParams
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from linq_emulator.backend import World
from linq_emulator.clock import http_date
from linq_emulator.domain import validate
from linq_emulator.errors import ApiError
from linq_emulator.faults import Fault
from linq_emulator.ledger import Served
from linq_emulator.serializers import encode
from linq_emulator.server.http_server import abort, close

PREFIX = "/api/partner"

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Call:
    """One request, as an operation sees it."""

    world: World
    path: Mapping[str, str]
    query: QueryParams
    headers: Mapping[str, str]
    raw: bytes
    trace_id: str

    def body(self) -> dict[str, Any]:
        """The JSON object that was sent; 1003 for anything else."""
        return validate.json_object(self.raw)


@dataclass(frozen=True, slots=True)
class Reply:
    """What an operation answers."""

    status: int
    body: bytes = b""
    content_type: str = "application/json"


Operation = Callable[[Call], Reply]


def answer(status: int, body: object) -> Reply:
    """A reply with a JSON body."""
    return Reply(status, encode(body))


NO_CONTENT = Reply(204)


class Broken(Response):
    """An answer that ends badly: a TCP reset, or a body that is shorter than its Content-Length."""

    def __init__(self, whole: Response | None) -> None:
        super().__init__()
        self._whole = whole

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send part of the answer, if any, and cut the connection."""
        if self._whole is None:
            await abort(scope)
            return
        body = bytes(self._whole.body)
        await send(
            {
                "type": "http.response.start",
                "status": self._whole.status_code,
                "headers": self._whole.raw_headers,
            }
        )
        await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
        await close(scope)


class Gate:
    """Turns operations into endpoints of the server."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._random = random.Random()

    def endpoint(self, route: str, operation: Operation) -> Callable[[Request], Awaitable[Response]]:
        """An endpoint that runs an operation.

        Args:
            route: Path template, for the log.
            operation: What to do; it neither waits nor is interrupted.
        """

        async def serve(request: Request) -> Response:
            started = time.perf_counter()
            trace_id = f"{self._random.getrandbits(128):032x}"
            path = request.url.path.removeprefix(PREFIX)
            raw = b"" if request.method == "GET" else await _read(request)
            faults = self._world.faults.hitting(request.method, path)
            response, status = await self._serve(request, operation, raw, trace_id, faults)
            self._world.requests.add(
                Served(
                    at=self._world.now(),
                    method=request.method,
                    path=path,
                    query=request.url.query,
                    route=route,
                    status=status,
                    trace_id=trace_id,
                    milliseconds=(time.perf_counter() - started) * 1000,
                    fault=",".join(f"{fault.kind}/{fault.when}" for fault in faults) or None,
                )
            )
            return response

        return serve

    async def _serve(
        self, request: Request, operation: Operation, raw: bytes, trace_id: str, faults: list[Fault]
    ) -> tuple[Response, int | None]:
        before = [fault for fault in faults if fault.when == "before"]
        await _wait(before)
        broken = next((fault for fault in before if fault.kind != "latency"), None)
        if broken is not None:
            response = self._response(Reply(200, b"{}"), trace_id)
            return self._spoil(broken, response, trace_id)
        response = self._run(request, operation, raw, trace_id)
        after = [fault for fault in faults if fault.when == "after"]
        await _wait(after)
        broken = next((fault for fault in after if fault.kind != "latency"), None)
        return self._spoil(broken, response, trace_id) if broken is not None else (response, response.status_code)

    def _run(self, request: Request, operation: Operation, raw: bytes, trace_id: str) -> Response:
        world = self._world
        world.clock.run_due()
        world.trace_id = trace_id
        try:
            sent = request.headers.get("authorization", "")
            if not hmac.compare_digest(sent.encode(), f"Bearer {world.settings.api_key}".encode()):
                raise ApiError(2004, "a valid bearer key is required")
            call = Call(world, request.path_params, request.query_params, request.headers, raw, trace_id)
            return self._response(operation(call), trace_id)
        except ApiError as error:
            return self._refusal(error, trace_id)
        except Exception:
            log.exception("an operation failed: %s %s", request.method, request.url.path)
            return self._refusal(ApiError(3006), trace_id)

    def _refusal(self, error: ApiError, trace_id: str) -> Response:
        response = self._response(Reply(error.status, error.body(trace_id)), trace_id)
        if error.retry_after is not None:
            response.headers["Retry-After"] = str(error.retry_after)
        return response

    def _response(self, reply: Reply, trace_id: str) -> Response:
        headers = {"X-Trace-ID": trace_id, "Date": http_date(self._world.now())}
        if reply.status != 204:
            headers["Content-Type"] = reply.content_type
        return Response(reply.body, reply.status, headers)

    def _spoil(self, fault: Fault, response: Response, trace_id: str) -> tuple[Response, int | None]:
        if fault.kind == "status":
            error = ApiError(fault.code, "ordered fault", status=fault.status, retry_after=fault.retry_after)
            return self._refusal(error, trace_id), fault.status
        if fault.kind == "reset":
            return Broken(None), None
        if fault.kind == "truncate":
            return Broken(response), response.status_code
        body = bytes(response.body)
        half = Reply(response.status_code, body[: max(1, len(body) // 2)] or b"<")
        return self._response(half, trace_id), response.status_code


async def _read(request: Request) -> bytes:
    try:
        return await request.body()
    except ClientDisconnect:
        return b""


async def _wait(faults: list[Fault]) -> None:
    seconds = sum(fault.seconds for fault in faults if fault.kind == "latency")
    if seconds:
        await asyncio.sleep(seconds)
