"""The platform as a server on a free port: the endpoints of `linq-api.md` that sends need, over `contract_world`.

What befalls requests is `contract_events`.
"""

from __future__ import annotations

import json
import socket
import struct
import threading
import uuid
from collections.abc import Iterable
from datetime import datetime, timezone
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.support.contract_events import Answer, Course, Fate, Request, refused
from tests.support.contract_world import Chat, Clock, Knobs, Message, People, Refusal, Send, World
from tests.support.loopback_server import LoopbackServer

LINES = ["+12025550101", "+12025550102", "+12025550103"]
API_KEY = "contract-key"
START = "2026-03-02T10:00:00+00:00"
PREFIX = "/api/partner"

#: The fields of two objects that are shorter than those of the reads.
CREATED_CHAT = ("id", "display_name", "service", "is_group", "handles", "health_status")
SENT_MESSAGE = (
    *("id", "created_at", "delivery_status", "is_read", "parts", "sent_at", "delivered_at"),
    *("effect", "from_handle", "preferred_service", "reply_to", "service"),
)


class ContractServer(World, Course):
    """The world, served."""

    def __init__(self, folder: Path, lines: Iterable[str] = LINES, **knobs: Any) -> None:
        World.__init__(self, Clock(folder / "clock", START), lines, API_KEY, Knobs(**knobs))
        Course.__init__(self)
        self._http = _Server(_Handler)
        self._http.contract = self
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    @property
    def base_url(self) -> str:
        return f"{self._http.origin}{PREFIX}"

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()

    def story(self, people: People) -> str:
        """All that was asked and accepted for a recipient, for the reader of a test that has failed."""
        told = [
            (request.at, f"{request.method} {request.path} by {request.send.line} -> {request.answer}")
            for request in self.posts
            if request.send is not None and request.people == people
        ]
        told += [(row.accepted, f"accepted by {row.sender}") for row in self.ledger if row.people == people]
        return "\n".join(f"{formatdate(at, usegmt=True)} (.{at % 1 * 1000:03.0f}): {what}" for at, what in sorted(told))

    def quiet(self) -> None:
        """See `Course.quiesce`."""
        self.quiesce(("127.0.0.1", self._http.server_port))

    # What the threads of requests call.

    def answer(self, request: Request, fate: Fate) -> Answer:
        """Do what is asked, and return the true answer."""
        self.settle()
        try:
            if request.api_key not in self.api_keys:
                raise Refusal(401, 2004)
            if request.send is None:
                return Answer(200, self._read(request))
            if fate.accepted == "now":
                request.message, is_new = self.perform(request.send)
                if is_new:
                    self.happens("accepted", request)
                return self._sent(request, request.message)
            if fate.accepted != "never":
                self.put_off(request.send, None if fate.accepted == "on command" else fate.accepted)
            return refused(504, 3005)
        except Refusal as refusal:
            return refused(refusal.status, refusal.code, refusal.retry_after)

    def parse(self, request: Request) -> None:
        """Find out what would be sent, and to whom."""
        body, steps = request.body, request.path.strip("/").split("/")[1:]
        given = body.get("message") or {}
        made: dict[str, Any] = {"key": given.get("idempotency_key"), "overrides_opt_out": body.get("override_optout")}
        parts = list(given.get("parts") or [])
        if request.method != "POST":
            return
        if steps in (["chats"], ["messages"]):
            request.send = Send("message", frozenset(body["to"]), body.get("from"), parts, **made)
        elif steps[0] == "chats" and steps[2:] in (["messages"], ["voicememo"], ["location", "request"]):
            chat = next((chat for chat in self.chats if chat.id == steps[1]), None)
            kind: Any = {"messages": "message", "voicememo": "memo", "location": "location"}[steps[2]]
            if chat is not None:
                request.send = Send(kind, chat.people, chat.line, parts, chat=chat, **made)

    def _read(self, request: Request) -> dict[str, Any]:
        match [request.method, *request.path.strip("/").split("/")[1:]]:
            case ["GET", "phone_numbers"]:
                return {"phone_numbers": [self._line_json(line) for line in self.lines]}
            case ["GET", "chats"]:
                people = frozenset(request.query["to"].split(",")) if request.query.get("to") else frozenset[str]()
                chats = self.listed_chats(request.query.get("from"), people)
                return self._listed("chats", [self._chat_json(chat) for chat in chats], request, 20)
            case ["GET", "chats", chat_id]:
                return self._chat_json(self.chat_of(chat_id))
            case ["GET", "chats", chat_id, "messages"]:
                rows = self.listed_messages(self.chat_of(chat_id))
                return self._listed("messages", [self._message_json(row) for row in rows], request, 50)
            case ["GET", "messages", message_id]:
                return self._message_json(self.message_of(message_id))
        raise Refusal(404, 2001)

    def _listed(self, name: str, items: list[dict[str, Any]], request: Request, size: int) -> dict[str, Any]:
        limit, begin = int(request.query.get("limit", size)), int(request.query.get("cursor", 0))
        if not 1 <= limit <= 100:
            raise Refusal(400, 1005)
        end = begin + limit
        return {name: items[begin:end], "next_cursor": str(end) if end < len(items) else None}

    def _line_json(self, line: str) -> dict[str, Any]:
        reputation = {"status": self.reputation[line], "doc_url": "https://docs.linqapp.com/reputation"}
        return {"id": _id(line), "phone_number": line, "reputation": reputation, "line_type": "iMessage"}

    def _time(self, moment: float) -> str:
        shown = datetime.fromtimestamp(moment + self.knobs.created_at_skew, timezone.utc)
        return shown.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def _handle(self, chat: Chat, handle: str) -> dict[str, Any]:
        is_me = handle == chat.line
        shown = handle if is_me else self.knobs.shown_as(handle)
        joined = self._time(chat.created)
        return {
            "id": _id(chat.id + handle),
            "handle": shown,
            "joined_at": joined,
            "service": "iMessage",
            "is_me": is_me,
        }

    def _chat_json(self, chat: Chat) -> dict[str, Any]:
        health = {
            "status": "HEALTHY",
            "doc_url": "https://docs.linqapp.com/health",
            "updated_at": self._time(chat.created),
        }
        return {
            "id": chat.id,
            "created_at": self._time(chat.created),
            "updated_at": self._time(chat.updated),
            "display_name": ", ".join(sorted(map(self.knobs.shown_as, chat.people))),
            "handles": [self._handle(chat, handle) for handle in (chat.line, *sorted(chat.people))],
            "is_group": len(chat.people) > 1,
            "is_archived": False,
            "service": "iMessage",
            "health_status": health,
        }

    def _message_json(self, row: Message) -> dict[str, Any]:
        status, made = self.delivery_status(row), self._time(row.accepted)
        parts: list[dict[str, Any]] | None = [{**part, "reactions": None} for part in row.parts]
        if row.kind == "memo":
            file = {"id": _id(row.id), "url": "https://cdn.linqapp.com/memo", "filename": "memo.m4a"}
            parts = [{"type": "media", **file, "mime_type": "audio/mp4", "size_bytes": 1000, "reactions": None}]
        return {
            "id": row.id,
            "chat_id": row.chat.id,
            "created_at": made,
            "updated_at": made,
            "sent_at": made,
            "delivery_status": status,
            "delivered_at": made if status == "delivered" else None,
            "read_at": None,
            "is_from_me": row.from_line,
            "is_delivered": status == "delivered",
            "is_read": False,
            "parts": parts,
            "effect": None,
            "from": row.sender,
            "from_handle": self._handle(row.chat, row.sender),
            "preferred_service": None,
            "service": "iMessage",
            "reply_to": None,
        }

    def _sent(self, request: Request, row: Message) -> Answer:
        """The answer to a send that was accepted, now or before."""
        chat, full = self._chat_json(row.chat), self._message_json(row)
        message = {name: full[name] for name in SENT_MESSAGE}
        steps = request.path.strip("/").split("/")[1:]
        if steps == ["chats"]:
            created = {name: chat[name] for name in CREATED_CHAT}
            return Answer(201, {"chat": {**created, "message": message}})
        if steps == ["messages"]:
            chosen = {"reason": "new_best_number", "reused_existing_chat": len(row.chat.messages) > 1}
            more = {"chat_id": row.chat.id, "created_new_chat": len(row.chat.messages) == 1, "from": row.chat.line}
            more |= {name: chat[name] for name in ("handles", "is_group", "service")}
            return Answer(202, {**more, "from_selection": chosen, "message": message})
        if row.kind == "location":
            return Answer(200, {"success": True, "message": "Location request sent"})
        if row.kind == "message":
            return Answer(202, {"chat_id": row.chat.id, "message": message})
        memo = {
            "id": _id(row.id),
            "url": "https://cdn.linqapp.com/memo",
            "filename": "memo.m4a",
            "mime_type": "audio/mp4",
        }
        where = {**{name: chat[name] for name in ("id", "handles", "is_group", "service")}, "is_active": True}
        sent = {"id": row.id, "from": row.sender, "to": sorted(row.people), "status": "queued", "service": "iMessage"}
        made = {"created_at": message["created_at"], "voice_memo": {**memo, "size_bytes": 1000}, "chat": where}
        return Answer(202, {"voice_memo": {**sent, **made}})


def _id(name: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, name))


class _Server(LoopbackServer):
    """Counts its connections, each from the moment it is accepted."""

    contract: ContractServer

    def process_request(self, request: Any, client_address: Any) -> None:
        self.contract.connected(1)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        self.contract.connected(-1)


class _Handler(BaseHTTPRequestHandler):
    """HTTP/1.1 on one connection, which is kept."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _serve(self) -> None:
        assert isinstance(self.server, _Server)
        server = self.server.contract
        length = int(self.headers.get("Content-Length") or 0)
        raw = self.rfile.read(length)
        if len(raw) < length:  # the client is dead
            self.close_connection = True
            return
        with server.serving():
            url = urlsplit(self.path)
            query = {name: values[-1] for name, values in parse_qs(url.query).items()}
            api_key = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
            body = json.loads(raw) if raw.strip() else {}
            request = Request(self.command, url.path.removeprefix(PREFIX), query, body, api_key, server.clock.now())
            server.parse(request)
            if request.send is not None and request.send.key is None:
                request.send.key = self.headers.get("Idempotency-Key")
            fate = server.enter(request)
            true = server.answer(request, fate)
            replaced = fate.answer is not None and (true.status < 300 or fate.accepted != "now" or fate.answer_refusals)
            said = fate.answer if replaced and fate.answer is not None else true
            request.answer = said.status if isinstance(said, Answer) else said
            try:
                self._say(server, said, true)
            finally:
                server.happens("answered", request)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve

    def _say(self, server: ContractServer, said: Answer | str, true: Answer) -> None:
        if said == "reset":
            self.close_connection = True
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            return
        if said == "garbage":
            self.close_connection = True
            self.wfile.write(b"220 mail.example.com ESMTP\r\n\r\n")
            return
        answer = said if isinstance(said, Answer) else true
        is_page = isinstance(answer.body, str)
        body = (answer.body if isinstance(answer.body, str) else json.dumps(answer.body or {})).encode()
        headers = {
            "Date": formatdate(server.clock.now(), usegmt=True),
            "Content-Type": "text/html" if is_page else "application/json",
            "Content-Length": str(len(body)),
            **({} if is_page else {"X-Trace-ID": uuid.uuid4().hex}),
            **answer.headers,
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        if said == "cut":
            self.close_connection = True
            body = body[: len(body) // 2]
        self.wfile.write(f"HTTP/1.1 {answer.status} Contract\r\n{head}\r\n".encode() + body)
