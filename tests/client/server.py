"""A server that misbehaves as it is told, and clients of it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from linq_client import (
    LinqClient,
)

ANN = "+12025550121"
KEY = "the-secret-key"
OK = (200, {}, b'{"phone_numbers": []}')

Answer = tuple[int, dict[str, str], bytes]
Answers = list[Answer]


class Server(ThreadingHTTPServer):
    """Gives prepared answers one after the other, the last one for ever, and keeps what it was asked."""

    def __init__(self, answers: Answers, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.answers = answers
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        self.bodies: list[bytes] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def _answer(self) -> None:
        self.server.bodies.append(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        self.server.seen.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}))
        status, headers, body = self.answer()
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def answer(self) -> Answer:
        answers = self.server.answers
        return answers.pop(0) if len(answers) > 1 else answers[0]

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = _answer

    def log_message(self, format: str, *args: object) -> None: ...


@contextmanager
def serving(*answers: Answer, handler: type[Handler] = Handler) -> Iterator[Server]:
    with Server(list(answers)) as server:
        server.RequestHandlerClass = handler
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def envelope(status: int, code: int, /, **fields: object) -> Answer:
    """An error as the API answers it; 429 may be asked again at once."""
    error = {"status": status, "code": code, "message": "m", "doc_url": "https://docs.example/e", **fields}
    body = json.dumps({"success": False, "error": error, "trace_id": "t"}).encode()
    return status, {"Retry-After": "0"} if status in (429, 503) else {}, body


def client_of(server: Server, retry_budget: float = 10.0) -> LinqClient:
    return LinqClient(KEY, base_url=server.url, retry_budget=retry_budget, timeout=(2, 2))
