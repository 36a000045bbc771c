"""A running emulator for each test: one server process for all, reset and set to one time in between."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

START = "2026-11-21T10:00:00.000Z"
LINE = "+12025550101"
OTHER_LINE = "+12025550102"
ROOT = Path(__file__).parents[2]


class Emulator:
    """A server process and a session to it."""

    def __init__(self, *options: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "linq_emulator", "--port", "0", *options],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
        assert self.process.stdout is not None
        self.info = json.loads(self.process.stdout.readline())
        self.base_url: str = self.info["base_url"]
        self.origin = self.base_url.removesuffix("/api/partner")
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Bearer {self.info['api_key']}"

    def call(self, method: str, path: str, body: Any = None, **options: Any) -> requests.Response:
        """A request of the API; `path` begins with ``/v3``."""
        return self.session.request(method, self.base_url + path, json=body, timeout=30, **options)

    def ok(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        """The JSON of a request that must succeed."""
        response = self.call(method, path, body, **options)
        assert response.ok, response.text
        return response.json() if response.content else None

    def refused(self, method: str, path: str, body: Any = None, **options: Any) -> tuple[int, int]:
        """Status and code of a request that must be refused, after a look at the envelope."""
        response = self.call(method, path, body, **options)
        envelope = response.json()
        assert envelope["success"] is False
        assert envelope["error"]["status"] == response.status_code
        assert envelope["trace_id"] == response.headers["X-Trace-ID"]
        return response.status_code, envelope["error"]["code"]

    def control(self, method: str, path: str, body: Any = None) -> Any:
        """The JSON of a control request that must succeed."""
        response = self.session.request(method, f"{self.origin}/_emulator/{path}", json=body, timeout=60)
        assert response.ok, response.text
        return response.json()

    def wrong(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """The error of a control request that must be refused with 400."""
        response = self.session.request(method, f"{self.origin}/_emulator/{path}", json=body, timeout=30)
        assert response.status_code == 400, response.text
        error: dict[str, Any] = response.json()["error"]
        return error

    def lines_of(self, path: str) -> list[Any]:
        """The NDJSON of a control request."""
        response = self.session.get(f"{self.origin}/_emulator/{path}", timeout=60)
        assert response.ok
        return [json.loads(line) for line in response.text.splitlines()]

    def advance(self, seconds: float) -> None:
        """Move the clock."""
        self.control("POST", "clock", {"advance": seconds})

    def switch(self, **values: Any) -> None:
        """Set switches."""
        self.control("PATCH", "switches", values)

    def create(self, *to: str, text: str = "hello", line: str = LINE, **more: Any) -> Any:
        """A chat by POST /v3/chats; `more` goes into the message."""
        message = {"parts": [{"type": "text", "value": text}], **more}
        return self.ok("POST", "/v3/chats", {"from": line, "to": list(to), "message": message})["chat"]

    def send(self, chat_id: str, text: str = "hello", **more: Any) -> Any:
        """A message into a chat; `more` goes into the message."""
        message = {"parts": [{"type": "text", "value": text}], **more}
        return self.ok("POST", f"/v3/chats/{chat_id}/messages", {"message": message})["message"]

    def inbound(self, sender: str, text: str = "hi", **more: Any) -> Any:
        """A message from outside to the first line."""
        where = {} if "chat_id" in more else {"line": LINE}
        return self.control("POST", "inbound", {"from": sender, "text": text, **where, **more})

    def walk(self, path: str, name: str, **query: Any) -> list[Any]:
        """Every item of a list."""
        found: list[Any] = []
        seen: set[str] = set()
        cursor = None
        while True:
            page = self.ok("GET", path, params={**query, **({"cursor": cursor} if cursor else {})})
            found += page[name]
            cursor = page["next_cursor"]
            if cursor is None:
                return found
            assert cursor not in seen, "a cursor came twice"
            seen.add(cursor)

    def restart(self) -> None:
        """As freshly started, at the start time."""
        self.control("POST", "reset")
        self.control("POST", "clock", {"freeze": True, "now": START, "speed": 1})

    def stop(self) -> int:
        """End the process; its exit status."""
        self.session.close()
        self.process.terminate()
        status = self.process.wait(10)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return status


@pytest.fixture(scope="session")
def _server() -> Iterator[Emulator]:
    server = Emulator("--seed", "7", "--freeze", START)
    yield server
    server.stop()


@pytest.fixture
def server(_server: Emulator) -> Emulator:
    """The shared server, frozen at the start time and empty but for its two lines."""
    _server.restart()
    return _server


@pytest.fixture
def start() -> Iterator[Callable[..., Emulator]]:
    """Starts servers with options of their own; they are stopped after the test."""
    with contextlib.ExitStack() as stack:

        def started(*options: str) -> Emulator:
            server = Emulator(*options)
            stack.callback(server.stop)
            return server

        yield started
