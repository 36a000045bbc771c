"""A server that misbehaves as it is told, and clients of it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from linq_client import LinqClient, RetrySettings

ANN = "+12025550121"
KEY = "the-secret-key"
OK = (200, {}, b'{"phone_numbers": []}')

Response = tuple[int, dict[str, str], bytes]
Responses = list[Response]


class Server(ThreadingHTTPServer):
    """Gives prepared responses one after the other, the last one for ever, and keeps what it was asked."""

    request_queue_size = 50  # a connection that the queue has no room for waits for a second

    def __init__(self, responses: Responses, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.responses = responses
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        self.bodies: list[bytes] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def _respond(self) -> None:
        self.server.bodies.append(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        self.server.seen.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}))
        status, headers, body = self.response()
        self.send_response_only(status)
        for name, value in ({"Date": self.date_time_string(), "Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def response(self) -> Response:
        responses = self.server.responses
        return responses.pop(0) if len(responses) > 1 else responses[0]

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = _respond

    def log_message(self, format: str, *args: object) -> None: ...


@contextmanager
def serving(*responses: Response, handler: type[Handler] = Handler) -> Iterator[Server]:
    with Server(list(responses)) as server:
        server.RequestHandlerClass = handler
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def envelope(status: int, code: int, /, **fields: object) -> Response:
    """An error as the API makes it; 429 may be asked again immediately."""
    error = {"status": status, "code": code, "message": "m", "doc_url": "https://docs.example/e", **fields}
    body = json.dumps({"success": False, "error": error, "trace_id": "t"}).encode()
    return status, {"Retry-After": "0"} if status in (429, 503) else {}, body


#: Tries that follow each other without a wait, unless the server asks for one.
NO_WAIT = RetrySettings(first_wait=0, pause=0)


def client_of(server: Server, retry_budget: float = 10.0) -> LinqClient:
    return LinqClient(KEY, base_url=server.url, retry_budget=retry_budget, timeout=(2, 2), retry=NO_WAIT)
