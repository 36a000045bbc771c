"""A running emulator for each test: one process for all, restarted at a fixed time in between."""

from __future__ import annotations

import contextlib
import json
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
import requests
from typing_extensions import Unpack

from benchmarks.ports import free_port
from linq_emulator.testing import Emulator, EmulatorOptions, EmulatorProcess, EmulatorThread
from tests.support.loopback_server import LoopbackServer
from tests.support.waiting import wait_until

# Schemathesis has left Python 3.10 behind.
collect_ignore = [] if sys.version_info >= (3, 11) else ["test_contract.py"]

START = "2026-11-21T10:00:00.000Z"
LINE = "+12025550101"


class Calls(Emulator):
    """Requests of the API of an emulator."""

    session: requests.Session

    def _open_session(self) -> None:
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Bearer {self.api_key}"

    def call(self, method: str, path: str, body: Any = None, **options: Any) -> requests.Response:
        """A request of the API; `path` starts with ``/v3``."""
        return self.session.request(method, self.base_url + path, json=body, timeout=300, **options)

    def ok(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        """The JSON of a request that must succeed."""
        response = self.call(method, path, body, **options)
        assert response.ok, response.text
        return response.json() if response.content else None

    def refused(self, method: str, path: str, body: Any = None, **options: Any) -> tuple[int, int]:
        """Status and code of a request that must be refused. The envelope is checked, too."""
        response = self.call(method, path, body, **options)
        envelope = response.json()
        assert envelope["success"] is False
        assert envelope["error"]["status"] == response.status_code
        assert envelope["trace_id"] == response.headers["X-Trace-ID"]
        return response.status_code, envelope["error"]["code"]

    def wrong(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """The error of a control request that must be refused with 400."""
        url = f"{self.base_url.removesuffix('/api/partner')}/_emulator/{path}"
        response = self.session.request(method, url, json=body, timeout=300)
        assert response.status_code == 400, response.text
        error: dict[str, Any] = response.json()["error"]
        return error

    def create(self, *to: str, text: str = "hello", line: str = LINE, **more: Any) -> Any:
        """A chat by POST /v3/chats; `more` goes into the message."""
        message = {"parts": [{"type": "text", "value": text}], **more}
        return self.ok("POST", "/v3/chats", {"from": line, "to": list(to), "message": message})["chat"]

    def send(self, chat_id: str, text: str = "hello", **more: Any) -> Any:
        """A message into a chat; `more` goes into the message."""
        message = {"parts": [{"type": "text", "value": text}], **more}
        return self.ok("POST", f"/v3/chats/{chat_id}/messages", {"message": message})["message"]

    def walk(self, path: str, name: str, **query: Any) -> list[Any]:
        """Every item of a list."""
        items: list[Any] = []
        seen: set[str] = set()
        cursor = None
        while True:
            page = self.ok("GET", path, params={**query, **({"cursor": cursor} if cursor else {})})
            items += page[name]
            cursor = page["next_cursor"]
            if cursor is None:
                return items
            assert cursor not in seen, "a cursor came twice"
            seen.add(cursor)


class Server(Calls, EmulatorProcess):
    """An emulator in a process of its own."""

    def __init__(self, **options: Unpack[EmulatorOptions]) -> None:
        super().__init__(**options)
        self._open_session()

    def stop(self) -> None:
        """End the process and the session."""
        self.session.close()
        super().stop()


class ThreadedServer(Calls, EmulatorThread):
    """An emulator in a thread, which starts faster."""

    def __init__(self, **options: Unpack[EmulatorOptions]) -> None:
        super().__init__(**options)
        self._open_session()

    def stop(self) -> None:
        """End the thread and the session."""
        self.session.close()
        super().stop()


@pytest.fixture(scope="session")
def shared_server() -> Iterator[Server]:
    with Server(seed=7, freeze=START) as server:
        yield server


@pytest.fixture
def server(shared_server: Server) -> Server:
    """The shared emulator, frozen at the start time and empty but for its two lines."""
    shared_server.restart()
    return shared_server


@pytest.fixture
def start() -> Iterator[Callable[..., Server]]:
    """Starts emulators with their own options. They end after the test."""
    with contextlib.ExitStack() as stack:
        yield lambda **options: stack.enter_context(Server(**options))


class Receiver:
    """An HTTP server that remembers what it got and answers with the statuses it was given."""

    def __init__(self):
        self.got = []
        self.answers = []
        self.headers = {}
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.got.append((dict(self.headers.items()), body))
                self.send_response(outer.answers.pop(0) if outer.answers else 204)
                for name, value in outer.headers.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *args):
                pass

        self.server = LoopbackServer(Handler, free_port())
        self.url = f"{self.server.origin}/hook"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()

    def wait(self, count):
        """The bodies, once so many have come."""
        wait_until(lambda: len(self.got) >= count, f"{count} events have come")
        assert len(self.got) == count, [json.loads(body)["event_type"] for _, body in self.got]
        return [json.loads(body) for _, body in self.got]

    def stop(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def receiver():
    started = Receiver()
    yield started
    started.stop()
