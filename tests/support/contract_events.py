"""What befalls requests: which meet which fate, which wait, and what the test does at the n-th of them.

Nothing here happens at a time. What an event calls runs in the thread of the request, before the platform goes on.
"""

from __future__ import annotations

import socket
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.support.contract_world import Message, People, Send
from tests.support.waiting import PATIENCE


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

    def wait(self, seconds: float = 300) -> None:
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
        assert self._released.wait(600), "a request is held for ever"

    def until_held(self, seconds: float = 300) -> None:
        assert self._held.wait(seconds), "no request has come that is held"

    def release(self) -> None:
        self._released.set()


class Course:
    """Of all requests to a server: `requests` has them, in the order in which they came."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        #: Processes that may make requests, as the test says.
        self.clients = 0
        self._rules: list[_Rule] = []
        self._events: list[Event] = []
        self._holds: list[Hold] = []
        self._guard = threading.Condition()
        self._open = 0
        self._connections = 0

    @property
    def posts(self) -> list[Request]:
        return [request for request in self.requests if request.send is not None]

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

    def quiesce(self, address: tuple[str, int]) -> None:
        """Wait until no request is being served, but those that are held.

        Where no client lives, also those are over that a client sent and did not live to see served.
        """
        # Accepted after all connections that there are, and closed by the other side after it was accepted.
        with socket.create_connection(address, PATIENCE) as last:
            last.shutdown(socket.SHUT_WR)
            last.recv(1)
        with self._guard:
            done = lambda: self._open == 0 and (self.clients > 0 or self._connections == 0)  # noqa: E731
            assert self._guard.wait_for(done, PATIENCE), "a request does not end"

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

    def connected(self, number: Literal[1, -1]) -> None:
        with self._guard:
            self._connections += number
            self._guard.notify_all()
