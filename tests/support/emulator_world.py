"""An emulator in this process with something of everything: of what works, and of what is refused.

The state behind it can be compared before and after a request, which HTTP cannot show as a whole.
"""

from __future__ import annotations

import asyncio
import json
import pickle
import random
from collections.abc import Mapping, Sequence
from typing import Any, Final

from linq_emulator.backend import Backend, Settings
from linq_emulator.clock import Clock
from linq_emulator.domain.models import Contact
from linq_emulator.server.app import build_app

LINE, INELIGIBLE, EPHEMERAL, ZERO_RETENTION = LINES = [f"+1202555010{number}" for number in range(1, 5)]
ANN, BOB, CAT, DAN, OPTED_OUT, BLOCKED, SMS_ONLY, STRANGER = CONTACTS = [f"+1202555015{number}" for number in range(8)]
MAIL: Final = "ann@example.com"
ORIGIN: Final = "http://testserver"
START: Final = 1_772_366_400_000
HEADERS: Final = {"Authorization": "Bearer linq-emulator-key"}
HOUR: Final = 3_600_000


def text(value: str = "hello") -> dict[str, Any]:
    return {"parts": [{"type": "text", "value": value}]}


class World:
    """Chats and messages in the states in which an operation is refused, by their names, and the ids of all else."""

    def __init__(self) -> None:
        settings = Settings(seed=5, lines=tuple(LINES), allowed_hosts=("testserver",))
        self.backend = Backend(settings, Clock(START, frozen=True))
        self.app = build_app(self.backend)
        self.chats: dict[str, str] = {}
        self.messages: dict[str, str] = {}
        self.names: dict[str, list[Any]] = {
            "from": [*LINES],
            "phone_number": [*LINES],
            "handle": [*CONTACTS, MAIL],
            "mention": [*CONTACTS, MAIL],
            "address": [*CONTACTS, MAIL],
            "experience": ["link", "agentcard"],
            "target_url": [f"https://hooks.example/{number}" for number in range(9)],
            "url": ["https://files.example/a.png"],
            "image_url": ["https://files.example/a.png"],
            "voice_memo_url": ["https://files.example/a.m4a"],
            "content_type": ["image/png", "audio/mp4"],
            "idempotency_key": ["deleted", "failed", "sent"],
            "cursor": ["1", "2"],
        }
        asyncio.run(self._fill())
        self.names["chat_id"] = [*self.chats.values()]
        self.names["message_id"] = [*self.messages.values()]

    async def request(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Any]:
        """Status and JSON of a request, without a client: tests make thousands of them."""
        content = b"" if body is None else json.dumps(body).encode()
        path, _, query = path.partition("?")
        given = {"host": "testserver", "content-type": "application/json", **HEADERS, **(headers or {})}
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": content, "more_body": False}

        async def send(event: Any) -> None:
            sent.append(event)

        scope = {
            **{"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http", "root_path": ""},
            **{"method": method, "path": path, "raw_path": path.encode(), "query_string": query.encode()},
            **{"client": ("127.0.0.1", 1), "server": ("testserver", 80)},
            "headers": [(name.lower().encode(), value.encode()) for name, value in given.items()],
        }
        await self.app(scope, receive, send)
        content = b"".join(event.get("body", b"") for event in sent[1:])
        return sent[0]["status"], json.loads(content) if content else None

    async def _fill(self) -> None:
        await self._fill_chats()
        await self._fill_messages()
        await self._fill_the_rest()

    async def _fill_chats(self) -> None:
        await self._control("handles", handle=SMS_ONLY, services=["SMS"])
        members = {
            "direct": [ANN],
            "mail": [MAIL],
            "opted out": [OPTED_OUT],
            "blocked": [BLOCKED],
            "SMS": [SMS_ONLY],
            "group": [ANN, BOB, CAT],
            "left": [ANN, BOB, DAN],
            "small group": [ANN, DAN],
            "full group": [f"+120255501{number}" for number in range(60, 91)],
        }
        for name, to in members.items():
            await self._create(name, LINE, to)
        for line, name in ((INELIGIBLE, "ineligible"), (EPHEMERAL, "expired"), (ZERO_RETENTION, "zero retention")):
            for kind, to in (("", [ANN]), (" group", [ANN, BOB, CAT])):
                await self._create(name + kind, line, to)

    async def _create(self, name: str, line: str, to: Sequence[str]) -> None:
        if line == EPHEMERAL:
            await self._control("lines", phone_number=line, retention_hours=1)
        elif line == ZERO_RETENTION:
            await self._control("lines", phone_number=line, zero_retention=True)
        chat = (await self._ok("POST", "/v3/chats", {"from": line, "to": [*to], "message": text()}))["chat"]
        self.chats[name] = chat["id"]
        self.messages[f"first of {name}"] = chat["message"]["id"]

    async def _fill_messages(self) -> None:
        card = {"app": {"bundle_id": "a", "name": "b", "team_id": "ABCDE12345"}, "layout": {"caption": "c"}}
        app = {"parts": [{"type": "imessage_app", **card}]}
        for chat in ("direct", "group", "left", "ineligible", "zero retention"):
            await self._send(f"card in {chat}", chat, app)
            poll = {"poll": {"options": [{"text": "a"}, {"text": "b"}]}}
            made = await self._ok("POST", f"/v3/chats/{self.chats[chat]}/polls", poll)
            self.messages[f"poll in {chat}"] = made["message_id"]
            for option in made["poll"]["options"]:
                self.names.setdefault("option_id", []).append(option["option_id"])
            message = self.messages[f"first of {chat}"]
            await self._ok("POST", f"/v3/messages/{message}/reactions", {"operation": "add", "type": "love"})
        for name in ("sent", "deleted", "failed"):
            await self._send(name, "mail", {**text(), "idempotency_key": name})
        await self._ok("DELETE", f"/v3/messages/{self.messages['deleted']}")
        await self._control("receipts", message_id=self.messages["failed"], status="failed")
        received = await self._control("inbound", **{"from": ANN, "text": "Hello"}, chat_id=self.chats["direct"])
        self.messages["received"] = received["id"]
        stuck = self.messages["first of direct"]
        await self._ok("POST", f"/v3/messages/{stuck}/reactions", {"operation": "add", "type": "sticker", "emoji": "x"})
        await self._control("switches", method="PATCH", system_events=True)
        await self._ok("PUT", f"/v3/chats/{self.chats['group']}", {"display_name": "Hikers"})
        await self._ok("POST", f"/v3/chats/{self.chats['left']}/leave")
        self.backend.clock.set(advance=2 * HOUR)
        await self._control("switches", method="PATCH", system_events=False)
        shown = await self._ok("GET", f"/v3/messages/{stuck}")
        self.names["reaction_id"] = [one["id"] for one in shown["parts"][0]["reactions"]]
        listed = await self._ok("GET", f"/v3/chats/{self.chats['group']}/messages")
        self.messages["system event"] = next(
            one["id"] for one in listed["messages"] if one["parts"] is None and one["id"] not in self.messages.values()
        )
        await self._send("fresh", "direct", text())
        await self._send("edited", "direct", text())
        for number in range(5):
            await self._ok("PATCH", f"/v3/messages/{self.messages['edited']}", {"text": f"edit {number}"})

    async def _send(self, name: str, chat: str, message: Mapping[str, Any]) -> None:
        sent = await self._ok("POST", f"/v3/chats/{self.chats[chat]}/messages", {"message": message})
        self.messages[name] = sent["message"]["id"]

    async def _fill_the_rest(self) -> None:
        slots = []
        for _ in ("complete", "pending", "deleted"):
            slot = {"filename": "a.png", "content_type": "image/png", "size_bytes": 3}
            slots.append(await self._ok("POST", "/v3/attachments", slot))
        self.backend.store.attachments[slots[0]["attachment_id"]].content = b"png"
        await self._ok("DELETE", f"/v3/attachments/{slots[2]['attachment_id']}")
        self.names["attachment_id"] = [slot["attachment_id"] for slot in slots]
        self.names["url"].append(slots[0]["download_url"])
        subscription = {"target_url": "https://hooks.example/0", "subscribed_events": ["message.sent"]}
        self.names["subscription_id"] = [(await self._ok("POST", "/v3/webhook-subscriptions", subscription))["id"]]
        numbers = (await self._ok("GET", "/v3/phone_numbers"))["phone_numbers"]
        self.names["phone_number_id"] = [number["id"] for number in numbers]
        audit = await self._ok("POST", f"/v3/phone_numbers/{LINE}/reputation_audit")
        self.names["audit_id"] = [audit["audit_id"]]
        await self._ok("POST", "/v3/contact_card", {"phone_number": LINE, "first_name": "Shop"})
        self.backend.clock.set(advance=60_000)
        await self._control("handles", handle=OPTED_OUT, opted_out=True)
        await self._control("handles", handle=BLOCKED, blocked=True)
        await self._control("handles", handle=MAIL, location={"longitude": 1, "latitude": 2})
        await self._control("lines", phone_number=INELIGIBLE, ineligible=True)

    async def _ok(self, method: str, path: str, body: Any = None) -> Any:
        status, found = await self.request(method, f"/api/partner{path}", body)
        assert status < 300, (method, path, found)
        return found

    async def _control(self, path: str, *, method: str = "POST", **body: Any) -> Any:
        status, found = await self.request(method, f"/_emulator/{path}", body)
        assert status == 200, (path, found)
        return found

    def name(self, value: Any, rng: random.Random, key: str = "") -> Any:
        """A value in which about every other text is what this emulator knows under the name of its field."""
        if isinstance(value, dict):
            return {name: self.name(each, rng, name) for name, each in value.items()}
        if isinstance(value, list):
            return [self.name(each, rng, {"to": "handle", "phone_numbers": "from"}.get(key, key)) for each in value]
        known = self.names.get(key)
        return rng.choice(known) if known and isinstance(value, str) and rng.random() < 0.6 else value

    def state(self) -> bytes:
        """Everything that the emulator remembers but caches, and the requests that a rate limit counts."""
        backend, store = self.backend, self.backend.store
        contacts = {handle: one for handle, one in store.contacts.items() if one != _untouched(one)}
        kept = {name: value for name, value in vars(store).items() if name not in ("_rng", "contacts")}
        webhooks = backend.webhooks
        others = (len(webhooks.deliveries), len(backend.clock._heap), backend.line_uses, backend.switches.as_dict())
        return pickle.dumps((kept, contacts, webhooks.subscriptions, set(backend.responses_by_key), others))


def _untouched(contact: Contact) -> Contact:
    return Contact(contact.handle, contact.services)
