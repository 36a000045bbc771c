"""A server that misbehaves as it is told, and clients of it."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler

from linq_client import LinqClient, RetrySettings
from tests.support.loopback_server import LoopbackServer

ANN = "+12025550121"
KEY = "the-secret-key"
OK = (200, {}, b'{"phone_numbers": []}')

Response = tuple[int, dict[str, str], bytes]
Responses = list[Response]


class Server(LoopbackServer):
    """Gives prepared responses one after the other, the last one for ever, and keeps what it was asked."""

    def __init__(self, responses: Responses, port: int = 0) -> None:
        super().__init__(Handler, port)
        self.responses = responses
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        self.bodies: list[bytes] = []
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return self.origin


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
        with self.server.lock:
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


class RawServer:
    """Lets a function talk to each connection, in a thread of its own, and counts what it lets happen.

    Attributes:
        reached: a function releases it when what a test waits for has come.
    """

    def __init__(self, behave: Callable[[RawServer, socket.socket], None]) -> None:
        self._behave = behave
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._connections: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self.reached = threading.Semaphore(0)
        self.ended = threading.Event()
        self._threads[0].start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    def drip(self, connection: socket.socket, start: bytes, byte: bytes = b"a") -> None:
        """Send a byte now and then, for ever."""
        connection.sendall(start)
        self.reached.release()
        while not self.ended.wait(0.02):
            connection.sendall(byte)

    def _accept(self) -> None:
        with suppress(OSError):  # the listener is closed
            while True:
                connection, _ = self._listener.accept()
                self._connections.append(connection)
                self._threads.append(threading.Thread(target=self._talk, args=(connection,)))
                self._threads[-1].start()

    def _talk(self, connection: socket.socket) -> None:
        with suppress(OSError), connection:
            self._behave(self, connection)

    def close(self) -> None:
        self.ended.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()  # from here on there are no more connections
        self._listener.close()
        for connection in self._connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()


@contextmanager
def raw_serving(behave: Callable[[RawServer, socket.socket], None]) -> Iterator[RawServer]:
    server = RawServer(behave)
    try:
        yield server
    finally:
        server.close()


def drip_headers(server: RawServer, connection: socket.socket) -> None:
    connection.recv(65536)
    server.drip(connection, b"HTTP/1.1 200 OK\r\nX-Slow: ")


def drip_body(server: RawServer, connection: socket.socket) -> None:
    """A body without a length, which a connection that ends seems to complete."""
    connection.recv(65536)
    server.drip(connection, b"HTTP/1.1 200 OK\r\nDate: Sun, 01 Mar 2020 12:00:00 GMT\r\n\r\n" + OK[2], b" ")


def say_nothing(server: RawServer, connection: socket.socket) -> None:
    """Take a connection and nothing that comes over it, so that an upload finds no room."""
    server.reached.release()
    server.ended.wait()


def envelope(status: int, code: int, /, **fields: object) -> Response:
    """An error as the API makes it; 429 may be asked again immediately."""
    error = {"status": status, "code": code, "message": "m", "doc_url": "https://docs.example/e", **fields}
    body = json.dumps({"success": False, "error": error, "trace_id": "t"}).encode()
    return status, {"Retry-After": "0"} if status in (429, 503) else {}, body


#: Tries that follow each other without a wait, unless the server asks for one.
NO_WAIT = RetrySettings(first_wait=0, pause=0)


def client_of(server: Server, retry_budget: float = 300.0) -> LinqClient:
    return LinqClient(KEY, base_url=server.url, retry_budget=retry_budget, timeout=(60, 60), retry=NO_WAIT)
