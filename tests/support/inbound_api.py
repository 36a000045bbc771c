"""An API that answers what a test wants: chats that can't be read, messages of no form, a clock that is wrong."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.support.loopback_server import LoopbackServer

LINE = "+12025550101"
NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)


@dataclass
class HostileAPI:
    """
    A running server.

    :param now: its clock.
    :param chats: messages by chat id, as JSON.
    :param handles: who is in a chat, where that is not its id as an e-mail address.
    :param wrong_dates: the clock that the next responses show instead of `now`.
    :param refuse: the status of a path, or None; 0 hangs until `release` is set, and a negative one is that of a page
        that the API did not write.
    """

    base_url: str
    now: datetime = NOON
    chats: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    handles: dict[str, str] = field(default_factory=dict)
    wrong_dates: list[datetime] = field(default_factory=list)
    refuse: Callable[[str], int | None] = lambda path: None
    retry_after: str | None = None
    served: list[str] = field(default_factory=list)
    release: threading.Event = field(default_factory=threading.Event)
    #: Chats are added while they are listed.
    lock: threading.Lock = field(default_factory=threading.Lock)

    def receive(self, chat: str, id_: str, text: str = "Hi", *, at: datetime | None = None, **fields: Any) -> str:
        """Let somebody write in a chat a second later, or at another moment, and return the id of the message."""
        self.now += timedelta(seconds=at is None)
        made = (at or self.now).isoformat()
        common = {"id": id_, "chat_id": chat, "created_at": made, "updated_at": made, "is_from_me": False}
        sender = {"id": "h", "handle": f"{chat}@example.com", "service": "iMessage", "joined_at": made}
        message = {
            **common,
            "delivery_status": "received",
            "from_handle": sender,
            "parts": [{"type": "text", "value": text, "reactions": None}],
            **fields,
        }
        with self.lock:
            self.chats.setdefault(chat, []).append(message)
        return id_

    def body(self, path: str) -> dict[str, Any] | None:
        """The response to a path; None if there is nothing there."""
        if path == "/v3/phone_numbers":
            return {"phone_numbers": [{"id": "p", "phone_number": LINE}]}
        if path == "/v3/chats":
            return {"chats": [self._chat(id_) for id_ in reversed(self.chats)], "next_cursor": None}
        parts = path.split("/")
        if path.startswith("/v3/chats/") and path.endswith("/messages") and parts[3] in self.chats:
            return {"messages": self.chats[parts[3]], "next_cursor": None}
        found = [one for chat in self.chats.values() for one in chat if path == f"/v3/messages/{one['id']}"]
        return found[0] if found else None

    def _chat(self, id_: str) -> dict[str, Any]:
        changed = max((str(message.get("updated_at")) for message in self.chats[id_]), default=NOON.isoformat())
        handles = [{"id": "l", "handle": LINE, "service": "iMessage", "joined_at": changed, "is_me": True}]
        other = self.handles.get(id_, f"{id_}@example.com")
        handles.append({"id": "h", "handle": other, "service": "iMessage", "joined_at": changed})
        return {"id": id_, "created_at": NOON.isoformat(), "updated_at": changed, "handles": handles, "is_group": False}


@contextmanager
def running_hostile_api() -> Iterator[HostileAPI]:
    """Start the server on a free port, and end it."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = self.path.removeprefix("/api/partner").partition("?")[0]
            api.served.append(path)
            status = api.refuse(path)
            if status == 0:
                api.release.wait(600)
                status = None
            with api.lock:
                body = api.body(path)
                date = api.wrong_dates.pop(0) if api.wrong_dates else api.now
            if status is None and body is None:
                status = 404
                code = 2002 if "/messages/" in path else 2001
                body = {"error": {"status": 404, "code": code, "message": "not found"}}
            elif status is not None:
                code = {401: 2004, 429: 1007}.get(status, 3006)
                body = {"error": {"status": status, "code": code, "message": "no"}}
            content = json.dumps({**(body or {}), "success": status is None}).encode()
            if status is not None and status < 0:
                status, content = -status, b"<html>Blocked</html>"
            self.send_response_only(status or 200)
            self.send_header("Date", format_datetime(date, usegmt=True))
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            if status and api.retry_after is not None:
                self.send_header("Retry-After", api.retry_after)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args: object) -> None:
            pass

    with LoopbackServer(Handler) as server:
        api = HostileAPI(f"{server.origin}/api/partner")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield api
        finally:
            api.release.set()
            server.shutdown()
            thread.join()


HOUR = timedelta(hours=1)
