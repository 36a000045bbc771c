"""The gateway that every API request passes: due actions, faults, the key, the operation, the request log."""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import QueryParams
from starlette.requests import Request as HTTPRequest
from starlette.responses import Response as HTTPResponse

from linq_emulator.backend import Backend, RequestsUnderWay
from linq_emulator.domain import validate
from linq_emulator.errors import ApiError
from linq_emulator.faults import Fault, FaultSpec
from linq_emulator.json_codec import encode
from linq_emulator.request_log import LoggedRequest
from linq_emulator.server.broken import (
    ResetResponse,
    TricklingResponse,
    TruncatedResponse,
    malformed_body,
    proxy_page,
)
from linq_emulator.server.guard import MAX_BODY, BodyTooLargeError, read_body

__all__ = ["NO_CONTENT", "PREFIX", "Gateway", "Operation", "Request", "Response", "json_response"]

PREFIX = "/api/partner"

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Request:
    """One request, as an operation sees it."""

    backend: Backend
    path: Mapping[str, str]
    """The parameters in the path."""
    query: QueryParams
    headers: Mapping[str, str]
    body: bytes
    trace_id: str

    def json(self) -> dict[str, Any]:
        """The body, which must be a JSON object; 1003 otherwise."""
        return validate.json_object(self.body)


@dataclass(frozen=True, slots=True)
class Response:
    """The response of an operation."""

    status: int
    body: bytes = b""
    content_type: str = "application/json"


Operation = Callable[[Request], Response]


def json_response(status: int, body: object) -> Response:
    """A response with a JSON body."""
    return Response(status, encode(body))


NO_CONTENT = Response(204)


class Gateway:
    """Turns operations into endpoints of the server.

    Args:
        backend: The emulator behind them.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def endpoint(self, route: str, operation: Operation) -> Callable[[HTTPRequest], Awaitable[HTTPResponse]]:
        """An endpoint that runs an operation.

        Args:
            route: Path template, for the request log.
            operation: It runs without interruption and must not wait.
        """

        async def serve(request: HTTPRequest) -> HTTPResponse:
            under_way = self._backend.under_way
            under_way.count += 1
            try:
                return await self._serve(request, route, operation, under_way)
            except _AbandonedError:
                return ResetResponse()
            finally:
                under_way.count -= 1

        return serve

    async def _serve(
        self, request: HTTPRequest, route: str, operation: Operation, under_way: RequestsUnderWay
    ) -> HTTPResponse:
        started = time.perf_counter()
        trace_id = self._backend.new_trace_id()
        path = request.url.path.removeprefix(PREFIX)
        run = operation
        body: bytes | None = None
        try:
            body = await self._admit(request)
        except ApiError as error:
            run = _refusing(error)
        if under_way.are_abandoned.is_set():
            raise _AbandonedError
        faults = self._backend.faults.select(request.method, path)
        response, status = await self._respond(request, run, body, trace_id, faults, under_way)
        self._backend.request_log.add(
            LoggedRequest(
                at=self._backend.now(),
                method=request.method,
                path=path,
                query=request.url.query,
                route=route,
                status=status,
                trace_id=trace_id,
                milliseconds=(time.perf_counter() - started) * 1000,
                fault=",".join(f"{fault.kind}/{fault.when}" for fault in faults) or None,
            ),
            body or b"",
            bytes(response.body),
        )
        if request.method != "GET":
            self._backend.changes.notify()
        return response

    async def _admit(self, request: HTTPRequest) -> bytes:
        """Check the key and then read the body."""
        authorization = request.headers.get("authorization", "")
        if not hmac.compare_digest(authorization.encode(), f"Bearer {self._backend.settings.api_key}".encode()):
            raise ApiError(2004, "a valid bearer key is required")
        try:
            return b"" if request.method == "GET" else await read_body(request, MAX_BODY)
        except BodyTooLargeError as error:
            raise ApiError(1003, str(error), status=413) from None

    async def _respond(
        self,
        request: HTTPRequest,
        operation: Operation,
        body: bytes | None,
        trace_id: str,
        faults: list[Fault],
        under_way: RequestsUnderWay,
    ) -> tuple[HTTPResponse, int | None]:
        before = [fault for fault in faults if fault.when == "before"]
        await _wait(_latency(before), under_way)
        fault = next((fault for fault in before if fault.kind != "latency"), None)
        if fault is not None:
            return self._break(fault, self._http_response(Response(200, b"{}"), trace_id), trace_id)
        response = self._run(request, operation, body, trace_id)
        fetch_seconds = self._backend.media.take_fetch_seconds()
        if self._backend.replayed_trace_id is None:
            await _wait(fetch_seconds, under_way)
        after = [fault for fault in faults if fault.when == "after"]
        await _wait(_latency(after), under_way)
        fault = next((fault for fault in after if fault.kind != "latency"), None)
        return self._break(fault, response, trace_id) if fault is not None else (response, response.status_code)

    def _run(self, request: HTTPRequest, operation: Operation, body: bytes | None, trace_id: str) -> HTTPResponse:
        """Carry out an operation. It has no body if the request was not admitted; a restart must not admit it."""
        backend = self._backend
        with backend.acting(trace_id) as at:
            try:
                path, query, headers = request.path_params, request.query_params, request.headers
                parsed = Request(backend, path, query, headers, body or b"", trace_id)
                response = self._http_response(operation(parsed), trace_id)
            except ApiError as error:
                backend.media.undo_request(backend.store)
                response = self._error_response(error, trace_id)
            except Exception:
                log.exception("an operation failed: %s %s", request.method, request.url.path)
                response = self._error_response(ApiError(3006), trace_id)
            if body is not None:
                backend.keep(at, request.method, request.url.path, request.url.query, request.headers, body)
        return response

    def _error_response(self, error: ApiError, trace_id: str) -> HTTPResponse:
        response = self._http_response(Response(error.status, error.body(trace_id)), trace_id)
        if error.retry_after is not None:
            response.headers["Retry-After"] = str(error.retry_after)
        return response

    def _http_response(self, response: Response, trace_id: str) -> HTTPResponse:
        headers = self._backend.date_headers()
        headers["X-Trace-ID"] = trace_id
        if response.status != 204:
            headers["Content-Type"] = response.content_type
        return HTTPResponse(response.body, response.status, headers)

    def _break(self, fault: Fault, response: HTTPResponse, trace_id: str) -> tuple[HTTPResponse, int | None]:
        spec = fault.spec
        if spec.kind == "status":
            return self._fault_response(spec, trace_id), spec.status
        if spec.kind == "reset":
            return ResetResponse(), None
        if spec.kind == "truncate":
            return TruncatedResponse(response), response.status_code
        if spec.kind == "trickle":
            return TricklingResponse(response, spec.seconds), response.status_code
        body = malformed_body(bytes(response.body), spec.body)
        return self._http_response(Response(response.status_code, body), trace_id), response.status_code

    def _fault_response(self, spec: FaultSpec, trace_id: str) -> HTTPResponse:
        if spec.envelope:
            error = ApiError(spec.code, "injected fault", status=spec.status, retry_after=spec.retry_after)
            return self._error_response(error, trace_id)
        retry_after = {} if spec.retry_after is None else {"Retry-After": str(spec.retry_after)}
        return proxy_page(spec.status, {**self._backend.date_headers(), **retry_after})


class _AbandonedError(Exception):
    """The emulator has returned to its start, to which a request from before does nothing."""


def _refusing(error: ApiError) -> Operation:
    def refuse(request: Request) -> Response:
        raise error

    return refuse


def _latency(faults: list[Fault]) -> float:
    return sum(fault.spec.seconds for fault in faults if fault.kind == "latency")


async def _wait(seconds: float, under_way: RequestsUnderWay) -> None:
    """Wait, unless the emulator returns to its start meanwhile.

    Raises:
        _AbandonedError: It did.
    """
    if not seconds:
        return
    with suppress(asyncio.TimeoutError):
        await asyncio.wait_for(under_way.are_abandoned.wait(), seconds)
        raise _AbandonedError
