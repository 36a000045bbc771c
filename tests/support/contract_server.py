"""The platform as a server on a free port: endpoints over `contract_world`, what can befall an answer, and events.

Nothing here happens at a time: a rule says which requests meet which fate, and an event is the n-th time that something
happens. What an event calls runs in the thread of the request, before the platform goes on.
"""

from __future__ import annotations

import json
import socket
import struct
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

from tests.support.contract_world import Chat, Clock, Knobs, Message, People, Refusal, Send, World

LINES = ["+12025550101", "+12025550102", "+12025550103"]
API_KEY = "contract-key"
START = "2026-03-02T10:00:00+00:00"
PREFIX = "/api/partner"


@dataclass(frozen=True)
class Answer:
    """Status, and JSON or the text of a page."""

    status: int
    body: dict[str, Any] | str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Fate:
    """What becomes of a request.

    :param accepted: it is performed now, never, so many seconds later, or at the test's command (`accept_late`).
    :param answer: in place of the true answer; None for that. Without an answer the connection is reset, cut in the
        body, or has something else than HTTP on it.
    :param answer_refusals: the answer also takes the place of the platform's refusals.
    """

    accepted: Literal["now", "never", "on command"] | float = "now"
    answer: Answer | Literal["reset", "cut", "garbage"] | None = None
    answer_refusals: bool = False


TRUE = Fate()


@dataclass
class Request:
    """A request, and how it went.

    :param at: when it came, by the world's clock.
    :param repeats: how many requests before it had the same idempotency key.
    :param message: what was accepted, now or before.
    :param answer: what was said: a status, or how the answer was lost.
    """

    method: str
    path: str
    query: dict[str, str]
    body: dict[str, Any]
    api_key: str
    at: float
    send: Send | None = None
    repeats: int = 0
    message: Message | None = None
    answer: int | str = "none"

    @property
    def people(self) -> People:
        return self.send.people if self.send is not None else frozenset()


Match = Callable[[Request], bool]


def sends(request: Request) -> bool:
    return request.send is not None


def first_sends(request: Request) -> bool:
    """Sends whose key is new; those without a key, too."""
    return request.send is not None and request.repeats == 0


def repeats(request: Request) -> bool:
    return request.send is not None and request.repeats > 0


def reads(request: Request) -> bool:
    return request.method == "GET"


def to(people: Iterable[Iterable[str]], which: Match = sends) -> Match:
    wanted = [frozenset(recipient) for recipient in people]
    return lambda request: which(request) and request.people in wanted


def refused(status: int, code: int, retry_after: float | None = None) -> Answer:
    """A refusal in the documented envelope."""
    error = {"status": status, "code": code, "message": f"code {code}", "doc_url": "https://docs.linqapp.com/error"}
    more = {} if retry_after is None else {"retry_after": retry_after}
    headers = {} if retry_after is None else {"Retry-After": f"{retry_after:g}"}
    return Answer(status, {"success": False, "error": {**error, **more}, "trace_id": uuid.uuid4().hex}, headers)


def page(status: int, **headers: str) -> Answer:
    """What somebody on the way says in HTML."""
    return Answer(status, f"<html><body><h1>{status}</h1></body></html>", headers)


def gateway(status: int) -> Answer:
    """What a gateway says in JSON that looks like the envelope and is none."""
    return Answer(status, {"error": {"code": status, "message": "refused by a policy"}})


@dataclass
class _Rule:
    fate: Fate
    match: Match
    skip: int
    times: float


@dataclass
class Event:
    """The n-th time from now on that something happens."""

    what: Literal["received", "accepted", "answered"]
    nth: int
    do: Callable[[], object]
    match: Match
    happened: threading.Event = field(default_factory=threading.Event)

    def wait(self, seconds: float = 60) -> None:
        assert self.happened.wait(seconds), f"{self.what} has not happened"


class Hold:
    """See `ContractServer.hold`."""

    def __init__(self, match: Match, skip: int) -> None:
        self._match = match
        self._skip = skip
        self._held = threading.Event()
        self._released = threading.Event()

    def meets(self, request: Request) -> bool:
        if self._match(request):
            self._skip -= 1
            return self._skip < 0
        return False

    def wait(self) -> None:
        self._held.set()
        assert self._released.wait(120), "a request is held for ever"

    def until_held(self, seconds: float = 60) -> None:
        assert self._held.wait(seconds), "no request has come that is held"

    def release(self) -> None:
        self._released.set()


class ContractServer(World):
    """The world, served. `requests` has all that came, in the order in which they came."""

    def __init__(self, folder: Path, lines: Iterable[str] = LINES, **knobs: Any) -> None:
        super().__init__(Clock(folder / "clock", START), lines, API_KEY, Knobs(**knobs))
        self.requests: list[Request] = []
        self._rules: list[_Rule] = []
        self._events: list[Event] = []
        self._holds: list[Hold] = []
        self._guard = threading.Condition()
        self._open = 0
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._http.daemon_threads = True
        self._http.contract = self  # type: ignore[attr-defined]
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}{PREFIX}"

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()

    def rule(self, fate: Fate, match: Match = sends, *, skip: int = 0, times: float = float("inf")) -> _Rule:
        """After so many others, so many matching requests meet this fate; the first rule that fits counts."""
        with self._guard:
            self._rules.append(_Rule(fate, match, skip, times))
            return self._rules[-1]

    def no_rules(self) -> None:
        with self._guard:
            self._rules.clear()

    def no_events(self) -> None:
        with self._guard:
            self._events.clear()

    def hold(self, match: Match, *, skip: int = 0) -> Hold:
        """After so many others, all matching requests wait until they are released."""
        self._holds.append(Hold(match, skip))
        return self._holds[-1]

    def at(
        self,
        what: Literal["received", "accepted", "answered"],
        nth: int,
        do: Callable[[], object] = lambda: None,
        match: Match = sends,
    ) -> Event:
        """Do this at an event: a matching request is here; a new message is accepted; the answer is out."""
        event = Event(what, nth, do, match)
        with self._guard:
            self._events.append(event)
        return event

    def quiesce(self) -> None:
        """Wait until no request is being served, but those that are held: a client that was killed has none, either."""
        with self._guard:
            assert self._guard.wait_for(lambda: self._open == 0, 30), "a request does not end"

    @property
    def posts(self) -> list[Request]:
        return [request for request in self.requests if request.send is not None]

    def story(self, people: People) -> str:
        """All that was asked and accepted for a recipient, for the reader of a test that has failed."""
        told = [
            (request.at, f"{request.method} {request.path} by {request.send.line} -> {request.answer}")
            for request in self.posts
            if request.send is not None and request.people == people
        ]
        told += [(row.accepted, f"accepted by {row.sender}") for row in self.ledger if row.people == people]
        return "\n".join(f"{formatdate(at, usegmt=True)} (.{at % 1 * 1000:03.0f}): {what}" for at, what in sorted(told))

    # What the threads of requests call.

    @contextmanager
    def serving(self) -> Iterator[None]:
        with self._guard:
            self._open += 1
        try:
            yield
        finally:
            with self._guard:
                self._open -= 1
                self._guard.notify_all()

    def enter(self, request: Request) -> Fate:
        """Note the request, and say what becomes of it."""
        with self._guard:
            key = request.send.key if request.send is not None else None
            request.repeats = 0 if key is None else sum(r.send is not None and r.send.key == key for r in self.requests)
            self.requests.append(request)
        self.happens("received", request)
        for hold in self._holds:
            with self._guard:
                is_held = hold.meets(request)
                self._open -= is_held
                self._guard.notify_all()
            if is_held:
                hold.wait()
                with self._guard:
                    self._open += 1
        with self._guard:
            for rule in self._rules:
                if rule.times > 0 and rule.match(request):
                    rule.skip -= 1
                    if rule.skip < 0:
                        rule.times -= 1
                        return rule.fate
        return TRUE

    def happens(self, what: Literal["received", "accepted", "answered"], request: Request) -> None:
        due = []
        with self._guard:
            for event in self._events:
                if event.what == what and event.nth > 0 and event.match(request):
                    event.nth -= 1
                    if event.nth == 0:
                        due.append(event)
        for event in due:
            event.do()
            event.happened.set()

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
        chat, message = self._chat_json(row.chat), self._message_json(row)
        steps = request.path.strip("/").split("/")[1:]
        if steps == ["chats"]:
            names = ("id", "display_name", "service", "is_group", "handles", "health_status")
            return Answer(201, {"chat": {**{name: chat[name] for name in names}, "message": message}})
        if steps == ["messages"]:
            chosen = {"reason": "new_best_number", "reused_existing_chat": len(row.chat.messages) > 1}
            more = {"chat_id": row.chat.id, "created_new_chat": len(row.chat.messages) == 1, "from": row.chat.line}
            names = ("handles", "is_group", "service")
            return Answer(202, {**more, "from_selection": chosen, **{n: chat[n] for n in names}, "message": message})
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


class _Handler(BaseHTTPRequestHandler):
    """HTTP/1.1 on one connection, which is kept."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def handle(self) -> None:
        with suppress(ConnectionError):  # of a client that was killed
            super().handle()

    def _serve(self) -> None:
        server: ContractServer = self.server.contract  # type: ignore[attr-defined]
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
