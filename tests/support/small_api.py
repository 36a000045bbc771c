"""A small API with one line and some chats, of which a test can replace any response: the emulator behaves well."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.support.loopback_server import LoopbackServer
from tests.support.running import FIRST_LINE, PERSON
from tests.support.waiting import PATIENCE

Answer = Callable[["Handler", dict[str, str]], Any]


def stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


class SmallAPI(LoopbackServer):
    """Serves `chats` chats of `messages` messages each.

    Attributes:
        lines: what the list of phone numbers holds.
        answers: patterns of paths, and what answers there instead; the last one that matches counts.
        seen: paths that were asked for.
    """

    def __init__(self, chats: int = 3, messages: int = 4) -> None:
        super().__init__(Handler)
        self.now = datetime.now(timezone.utc)
        self.chats = [f"c{number:05d}" for number in range(chats)]
        self.messages = messages
        self.lines: Any = [{"id": "l1", "phone_number": FIRST_LINE}]
        self.answers: dict[str, Answer] = {}
        self.seen: list[str] = []
        self.changed = threading.Condition()

    @property
    def base_url(self) -> str:
        return f"{self.origin}/api/partner"

    def config(self, **settings: Any) -> dict[str, Any]:
        return {"api_key": "key", "base_url": self.base_url, **settings}

    def wait_for(self, pattern: str, count: int = 1) -> None:
        """Wait until a path was asked for."""
        with self.changed:
            assert self.changed.wait_for(
                lambda: sum(bool(re.search(pattern, one)) for one in self.seen) >= count, PATIENCE
            )

    def chat(self, id_: str) -> dict[str, Any]:
        handles = [
            {"id": one, "handle": one, "service": "SMS", "is_me": one == FIRST_LINE, "status": "active"}
            for one in (FIRST_LINE, PERSON)
        ]
        return {
            "id": id_,
            "handles": handles,
            "created_at": stamp(self.now - timedelta(hours=9)),
            "updated_at": stamp(self.now - timedelta(minutes=5)),
        }

    def message(self, chat_id: str, place: int) -> dict[str, Any]:
        moment = stamp(self.now - timedelta(minutes=5 + place))
        return {
            "id": f"{chat_id}-{place}",
            "chat_id": chat_id,
            "is_from_me": False,
            "created_at": moment,
            "updated_at": moment,
            "sent_at": moment,
            "parts": [{"type": "text", "value": "hi", "reactions": None}],
        }

    def messages_of(self, chat_id: str) -> list[dict[str, Any]]:
        return [self.message(chat_id, place) for place in range(self.messages)]


class Handler(BaseHTTPRequestHandler):
    server: SmallAPI
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None: ...

    def begin(self, status: int = 200, length: int | None = 0, **headers: str) -> None:
        self.send_response_only(status)
        self.send_header("Date", format_datetime(datetime.now(timezone.utc), usegmt=True))
        if length is not None:
            self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def send(self, body: Any, status: int = 200) -> None:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.begin(status, len(raw))
        self.wfile.write(raw)

    def refuse(self, status: int, code: int) -> None:
        self.send({"success": False, "error": {"status": status, "code": code, "message": "no"}}, status)

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        path = parts.path.removeprefix("/api/partner")
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        with self.server.changed:
            self.server.seen.append(path)
            self.server.changed.notify_all()
        for pattern, answer in reversed(self.server.answers.items()):
            if re.fullmatch(pattern, path):
                answer(self, query)
                return
        self.usual(path, query)

    def usual(self, path: str, query: dict[str, str]) -> None:
        server = self.server
        if path == "/v3/phone_numbers":
            self.send({"phone_numbers": server.lines, "next_cursor": None})
        elif path == "/v3/webhook-subscriptions":
            self.send({"subscriptions": [], "next_cursor": None})
        elif path == "/v3/chats":
            start, limit = int(query.get("cursor", "0")), int(query["limit"])
            end = start + limit
            page = [server.chat(id_) for id_ in server.chats[start:end]]
            self.send({"chats": page, "next_cursor": str(end) if end < len(server.chats) else None})
        elif path.endswith("/location"):
            self.send({"success": True, "data": {"type": "FeatureCollection", "features": []}})
        elif path == "/v3/file":
            self.send(b"0123456789")
        else:
            self.send({"messages": server.messages_of(path.split("/")[3]), "next_cursor": None})


@contextmanager
def small_api(chats: int = 3, messages: int = 4) -> Iterator[SmallAPI]:
    with SmallAPI(chats, messages) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
