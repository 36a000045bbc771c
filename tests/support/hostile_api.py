"""An API server for the worst of days: it serves whatever records a test gives it, and misbehaves by rules.

It knows nothing of how the API should be: the emulator does. Here stands what nobody promised: records of any shape,
pages of any form, silence, drips, outages, cursors that die.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler
from typing import Any, Literal
from urllib.parse import parse_qs, unquote, urlsplit

from tests.support.loopback_server import LoopbackServer
from tests.support.waiting import PATIENCE

KEY = "the-key-of-the-account"
LINE = "+12025550101"
OTHER_LINE = "+12025550102"
PERSON = "+12125550100"
PREFIX = "/api/partner/v3"


class Raw(bytes):
    """Bytes that stand in a body as they are, where Python's JSON can't say it: `1e400`, a lone byte, a key twice."""


def encode(value: Any) -> bytes:
    """Encode as JSON, escaped to ASCII, with each `Raw` inside as it is."""
    raws: list[bytes] = []

    def keep(raw: Any) -> str:
        raws.append(bytes(raw))
        return f"@raw-{len(raws) - 1}@"

    body = json.dumps(value, default=keep).encode()
    return re.sub(rb'"@raw-(\d+)@"', lambda found: raws[int(found[1])], body)


def ago(**delta: float) -> str:
    """A moment in the past, as the API writes it; nothing means now."""
    return (datetime.now(timezone.utc) - timedelta(**delta)).strftime("%Y-%m-%dT%H:%M:%SZ")


def http_date() -> str:
    return format_datetime(datetime.now(timezone.utc), usegmt=True)


@dataclass
class Chat:
    """A chat of a line as the list shows it, and its messages, each the JSON of a row.

    Attributes:
        id: what stands in the paths of its requests, also if the row says another id.
    """

    id: str
    row: Any
    messages: list[Any] = field(default_factory=list)
    line: str = LINE
    locations: list[Any] = field(default_factory=list)


@dataclass(frozen=True)
class Request:
    path: str
    query: dict[str, str]
    number: int
    """Counted from 1 over all requests of the server."""


@dataclass
class Response:
    """What is sent back.

    Attributes:
        body: JSON, or bytes as they are.
        date: the header as it is; the time of now if None, no header if empty.
        stall: what comes instead of an end: "silence", or a byte now and then in the "headers" or the "body".
    """

    body: Any = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    date: str | None = None
    stall: Literal["", "silence", "headers", "body"] = ""


Rule = Callable[[Request], "Response | None"]


def not_found(code: int) -> Response:
    return refusal(404, code, "not found")


def refusal(status: int, code: int, message: str = "refused") -> Response:
    """An error in the API's envelope."""
    error = {"status": status, "code": code, "message": message}
    return Response({"success": False, "error": error, "trace_id": "0" * 32}, status)


@dataclass
class HostileAPI:
    """The account that is served, and the rules that go before it.

    Attributes:
        lines: rows of GET /v3/phone_numbers.
        rules: asked in this order for each request; the first response that one makes is sent.
        requests: what was asked.
        by_rules: how many of them the rules have answered.
    """

    lines: list[Any] = field(default_factory=lambda: [line_row(LINE)])
    chats: list[Chat] = field(default_factory=list)
    subscriptions: Any = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    rules: list[Rule] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    by_rules: int = 0
    url: str = ""
    stopped: threading.Event = field(default_factory=threading.Event)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    @property
    def base_url(self) -> str:
        return f"{self.url}/api/partner"

    def count(self, path: str) -> int:
        """How many requests there have been whose path this expression matches from its begin to its end."""
        return sum(1 for request in list(self.requests) if re.fullmatch(path, request.path))

    def wait_for(self, path: str, count: int = 1, timeout: float = PATIENCE) -> None:
        """Wait until so many requests for a path have come."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.count(path) >= count, timeout), f"{path} was not asked for"

    def respond(self, path: str, query: dict[str, str]) -> Response:
        with self._changed:
            request = Request(path, query, len(self.requests) + 1)
            self.requests.append(request)
            self._changed.notify_all()
        for rule in self.rules:
            response = rule(request)
            if response is not None:
                with self._changed:
                    self.by_rules += 1
                return response
        return self.serve(request)

    def serve(self, request: Request) -> Response:
        """What the API says where no rule has a say."""
        parts = request.path.strip("/").split("/")
        if request.path == "/phone_numbers":
            return Response({"phone_numbers": self.lines})
        if request.path == "/webhook-subscriptions":
            return Response({"subscriptions": self.subscriptions})
        if request.path == "/chats":
            found = [chat.row for chat in self.chats if request.query.get("from") in (None, chat.line)]
            return self._page("chats", found, request, 20)
        if parts[0] == "files" and parts[1] in self.files:
            return Response(self.files[parts[1]])
        if parts[0] == "attachments":
            return not_found(2003)
        if parts[0] == "messages":
            found = [row for chat in self.chats for row in chat.messages if dict_of(row).get("id") == unquote(parts[1])]
            return Response(found[0]) if found else not_found(2002)
        chat = next((chat for chat in self.chats if chat.id == unquote(parts[1])), None)
        if chat is None:
            return not_found(2001)
        if parts[2:] == ["messages"]:
            return self._page("messages", chat.messages, request, 50)
        if parts[2:] == ["location"]:
            features = {"type": "FeatureCollection", "features": chat.locations}
            return Response({"success": True, "data": features})
        return Response(chat.row)

    @staticmethod
    def _page(name: str, rows: list[Any], request: Request, default: int) -> Response:
        start, limit = int(request.query.get("cursor", 0)), int(request.query.get("limit", default))
        following = str(start + limit) if start + limit < len(rows) else None
        return Response({name: rows[start : start + limit], "next_cursor": following})


def dict_of(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    api: HostileAPI

    def log_message(self, format: str, *args: object) -> None: ...

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(url.query, keep_blank_values=True).items()}
        path = url.path.removeprefix(PREFIX)
        response = self.api.respond(path, query)
        body = response.body if type(response.body) is bytes else encode(response.body)
        if response.stall == "silence":
            self.api.stopped.wait()
            return
        self.send_response_only(response.status)
        if response.date != "":
            self.send_header("Date", response.date or http_date())
        if response.stall == "headers":
            self.flush_headers()
            self._drip(b"X-Drip: a\r\n")
            return
        length = 1_000_000 if response.stall else len(body)
        for name, value in {"Content-Length": str(length), **response.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if response.stall:
            self._drip(b" ")
        else:
            self.wfile.write(body)

    def _drip(self, piece: bytes) -> None:
        while not self.api.stopped.wait(0.2):
            self.wfile.write(piece)
            self.wfile.flush()


@contextmanager
def serving(api: HostileAPI) -> Iterator[HostileAPI]:
    """Serve an account on a port of its own, until the block ends."""
    with LoopbackServer(type("Handler", (_Handler,), {"api": api})) as server:
        api.url = server.origin
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield api
        finally:
            api.stopped.set()
            server.shutdown()
            thread.join()


# Good records, all fields of which are filled, to be spoilt.


def line_row(number: str, **fields: Any) -> dict[str, Any]:
    return {
        "id": f"line-{number[-4:]}",
        "phone_number": number,
        "reputation": {"status": "HEALTHY", "doc_url": "https://docs.example/reputation", "updated_at": ago(hours=3)},
        "forwarding_number": None,
        "line_type": "iMessage",
        **fields,
    }


def handle_row(handle: str, is_me: bool = False, **fields: Any) -> dict[str, Any]:
    return {
        "id": f"handle-{handle[-4:]}",
        "handle": handle,
        "joined_at": ago(hours=30),
        "left_at": None,
        "service": "iMessage",
        "is_me": is_me,
        "status": "active",
        "line_type": "iMessage" if is_me else None,
        **fields,
    }


def chat_row(chat_id: str, line: str = LINE, **fields: Any) -> dict[str, Any]:
    return {
        "id": chat_id,
        "display_name": "Ann",
        "service": "iMessage",
        "is_group": False,
        "is_archived": False,
        "group_chat_icon": None,
        "handles": [handle_row(line, is_me=True), handle_row(PERSON)],
        "health_status": {"status": "HEALTHY", "doc_url": "https://docs.example/health", "updated_at": ago(hours=4)},
        "created_at": ago(hours=30),
        "updated_at": ago(minutes=10),
        **fields,
    }


def reaction_row(reaction_id: str, **fields: Any) -> dict[str, Any]:
    return {
        "id": reaction_id,
        "type": "love",
        "custom_emoji": None,
        "is_me": False,
        "handle": handle_row(PERSON),
        **fields,
    }


def text_part(value: str, **fields: Any) -> dict[str, Any]:
    return {"type": "text", "value": value, "reactions": None, **fields}


def media_part(part_id: str, url: str = "https://files.example/a.png", **fields: Any) -> dict[str, Any]:
    return {
        "type": "media",
        "id": part_id,
        "url": url,
        "filename": "a.png",
        "mime_type": "image/png",
        "size_bytes": 10,
        "reactions": None,
        **fields,
    }


def message_row(message_id: str, chat_id: str, minutes: float = 10, **fields: Any) -> dict[str, Any]:
    """An inbound message with a text, a file and a reaction on each, that was made some minutes ago."""
    return {
        "id": message_id,
        "chat_id": chat_id,
        "parts": [
            text_part(f"text of {message_id}", reactions=[reaction_row(f"{message_id}-love")]),
            media_part(f"{message_id}-file", reactions=[reaction_row(f"{message_id}-laugh", type="laugh")]),
        ],
        "from": PERSON,
        "from_handle": handle_row(PERSON),
        "is_from_me": False,
        "delivery_status": "read",
        "is_delivered": True,
        "is_read": True,
        "service": "iMessage",
        "preferred_service": "iMessage",
        "effect": {"type": "screen", "name": "confetti"},
        "reply_to": {"message_id": "an-earlier-one", "part_index": 0},
        "created_at": ago(minutes=minutes),
        "updated_at": ago(minutes=minutes),
        "sent_at": ago(minutes=minutes),
        "delivered_at": ago(minutes=minutes),
        "read_at": ago(minutes=minutes),
        "reconciled_at": ago(minutes=minutes),
        **fields,
    }


def subscription_row(subscription_id: str, **fields: Any) -> dict[str, Any]:
    return {
        "id": subscription_id,
        "target_url": "https://hooks.example/linq",
        "subscribed_events": ["message.received", "message.failed"],
        "is_active": True,
        "phone_numbers": [LINE],
        "routing_key_header": None,
        "routing_id_header": "Linq-Chat-Id",
        "created_at": ago(days=3),
        "updated_at": ago(days=2),
        **fields,
    }


def location_row(handle: str, **properties: Any) -> dict[str, Any]:
    return {
        "type": "Feature",
        "geometry": {"type": "Point", "coordinates": [-122.4, 37.8, 12.5]},
        "properties": {
            "handle": handle,
            "address": "1 Main Street",
            "locality": "Springfield",
            "updated_at": ago(minutes=3),
        }
        | properties,
    }


def small_account(chats: int = 3, messages: int = 4, line: str = LINE, prefix: str = "chat") -> list[Chat]:
    """Chats with some good messages each."""
    found = []
    for number in range(chats):
        chat_id = f"{prefix}-{number:05d}"
        rows = [message_row(f"{chat_id}-{k}", chat_id, 10 + k) for k in range(messages)]
        found.append(Chat(chat_id, chat_row(chat_id, line), rows, line))
    return found


# Rules.


def on(
    path: str, response: Response | Callable[[Request], Response | None], *, times: float = float("inf"), skip: int = 0
) -> Rule:
    """Respond so to requests whose path this expression matches, after `skip` of them, `times` times."""
    seen, lock = [0], threading.Lock()

    def rule(request: Request) -> Response | None:
        if not re.fullmatch(path, request.path):
            return None
        with lock:
            seen[0] += 1
            mine = skip < seen[0] <= skip + times
        if not mine:
            return None
        return response(request) if callable(response) else response

    return rule


def outage(seconds: float, *, after: int = 0, path: str = ".*", response: Response | None = None) -> Rule:
    """From the request after so many ones, nothing but 503 for some seconds."""
    began: list[float] = []
    down = response or Response(b"<html>503 Service Unavailable</html>", 503)

    def rule(request: Request) -> Response | None:
        if not re.fullmatch(path, request.path) or request.number <= after:
            return None
        began.append(time.monotonic())
        return down if time.monotonic() - began[0] < seconds else None

    return rule
