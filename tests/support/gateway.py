"""What stands between us and the API: it passes requests on, and may answer in the place of the API."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from threading import Thread

import requests

from tests.support.loopback_server import LoopbackServer


@contextmanager
def silent_server() -> Iterator[tuple[str, Callable[[], int]]]:
    """Yield the base URL of a server that accepts connections and never answers, and how many they are by now."""
    connections: list[socket.socket] = []

    def accept() -> None:
        with suppress(OSError):  # the listener is closed
            while True:
                connections.append(server.accept()[0])

    with socket.create_server(("127.0.0.1", 0), backlog=128) as server:
        thread = Thread(target=accept)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}/api/partner", lambda: len(connections)
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in connections:
                connection.close()


@dataclass
class Gateway:
    """
    A running gateway.

    :param base_url: of the API behind it.
    :param page: the status of the page that it answers a request with, after the API has processed it; None passes the
        API's response on. Called with method and path.
    :param before: called before a request is passed on.
    """

    base_url: str
    page: Callable[[str, str], int | None] = lambda method, path: None
    before: Callable[[str, str], None] = lambda method, path: None
    served: list[tuple[str, str]] = field(default_factory=list)


@contextmanager
def running_gateway(upstream: str) -> Iterator[Gateway]:
    """Start a gateway in front of the API at a base URL, on a free port, and end it."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            path = self.path.removeprefix("/api/partner")
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            gateway.before(self.command, path)
            headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
            response = requests.request(self.command, upstream + path, data=body, headers=headers, timeout=300)
            gateway.served.append((self.command, path))
            status = gateway.page(self.command, path)
            content = response.content if status is None else b"<html>Blocked by the gateway</html>"
            self.send_response_only(status or response.status_code)
            for name in ("Date", "Content-Type", "X-Trace-ID"):
                if name in response.headers:
                    self.send_header(name, response.headers[name])
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_DELETE = handle_any

        def log_message(self, *args: object) -> None:
            pass

    with LoopbackServer(Handler) as server:
        gateway = Gateway(f"{server.origin}/api/partner")
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield gateway
        finally:
            server.shutdown()
            thread.join()
