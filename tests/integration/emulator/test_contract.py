"""The OpenAPI document, and every operation of it with random valid and invalid requests.

Requests go to the application in this process: the state behind it is compared before and after each refusal, which
HTTP cannot show as a whole.
"""

from __future__ import annotations

import asyncio
import copy
import json
import os
import pickle
import random
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from linq_emulator.backend import Backend, Settings
from linq_emulator.clock import Clock
from linq_emulator.domain.models import Contact
from linq_emulator.server.app import build_app
from linq_emulator.server.openapi import document

LINES = ("+12025550101", "+12025550102")
CONTACTS = ("+12025550150", "+12025550151", "+12025550152", "ann@example.com")
ORIGIN = "http://testserver"
START = 1_772_366_400_000

FULL = os.environ.get("LINQ_DRILLS") == "full"
CASES = 300 if FULL else 6
"""Of each operation, as many valid as invalid ones."""

AUTHORIZED = {"Authorization": "Bearer linq-emulator-key"}


def closed(schema: Any) -> Any:
    """A copy of a document in which responses have no other fields than those it names."""
    schema = copy.deepcopy(schema)
    components = schema["components"]["schemas"]
    seen: set[str] = set()
    bodies = [
        content["schema"]["$ref"]
        for path in schema["paths"].values()
        for operation in path.values()
        for response in operation["responses"].values()
        for content in response.get("content", {}).values()
    ]
    while bodies:
        name = bodies.pop().rpartition("/")[2]
        if name not in seen:
            seen.add(name)
            if "properties" in components[name]:
                components[name]["additionalProperties"] = False
            bodies += references(components[name])
    return schema


def references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if "$ref" in value else []
        return own + [found for each in value.values() for found in references(each)]
    return [found for each in value for found in references(each)] if isinstance(value, list) else []


DOCUMENT = closed(document(ORIGIN))


class Application:
    """Hands what it is asked to the emulator of the current test."""

    current: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.current(scope, receive, send)


APPLICATION = Application()
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
SCHEMA.app = APPLICATION
OPERATIONS = {found.ok().label: found.ok() for found in SCHEMA.get_all_operations()}


class World:
    """An emulator with something of everything, and what a request may name of it."""

    def __init__(self) -> None:
        self.backend = Backend(Settings(seed=5, lines=LINES, allowed_hosts=("testserver",)), Clock(START, frozen=True))
        APPLICATION.current = build_app(self.backend)
        self.names: dict[str, list[Any]] = {
            "from": list(LINES),
            "phone_number": list(LINES),
            "handle": list(CONTACTS),
            "mention": list(CONTACTS),
            "address": list(CONTACTS),
            "experience": ["link", "agentcard"],
            "target_url": [f"https://hooks.example/{number}" for number in range(9)],
            "url": ["https://files.example/a.png"],
            "image_url": ["https://files.example/a.png"],
            "voice_memo_url": ["https://files.example/a.m4a"],
            "content_type": ["image/png", "audio/mp4"],
            "cursor": ["1", "2"],
        }
        self._fill()

    def _fill(self) -> None:
        text = {"parts": [{"type": "text", "value": "hello"}]}
        for to in ([CONTACTS[0]], [CONTACTS[3]], list(CONTACTS[:3])):
            self._keep(
                "chat_id", self.ok("POST", "/v3/chats", {"from": LINES[0], "to": to, "message": text})["chat"]["id"]
            )
        chat, _, group = self.names["chat_id"]
        card = {"app": {"bundle_id": "a", "name": "b", "team_id": "ABCDE12345"}, "layout": {"caption": "c"}}
        for message in (text, {"parts": [{"type": "imessage_app", **card}]}):
            for target in (chat, group):
                sent = self.ok("POST", f"/v3/chats/{target}/messages", {"message": message})["message"]
                self._keep("message_id", sent["id"])
        poll = self.ok("POST", f"/v3/chats/{group}/polls", {"poll": {"options": [{"text": "a"}, {"text": "b"}]}})
        self._keep("message_id", poll["message_id"])
        for option in poll["poll"]["options"]:
            self._keep("option_id", option["option_id"])
        message = self.names["message_id"][0]
        self.ok("POST", f"/v3/messages/{message}/reactions", {"operation": "add", "type": "sticker", "emoji": "x"})
        shown = self.ok("GET", f"/v3/messages/{message}")
        self._keep("reaction_id", shown["parts"][0]["reactions"][0]["id"])
        slot = self.ok("POST", "/v3/attachments", {"filename": "a.png", "content_type": "image/png", "size_bytes": 3})
        self.backend.store.attachments[slot["attachment_id"]].content = b"png"
        self._keep("attachment_id", slot["attachment_id"])
        self.names["url"].append(slot["download_url"])
        subscription = {"target_url": "https://hooks.example/0", "subscribed_events": ["message.sent"]}
        self._keep("subscription_id", self.ok("POST", "/v3/webhook-subscriptions", subscription)["id"])
        self._keep("phone_number_id", self.ok("GET", "/v3/phone_numbers")["phone_numbers"][0]["id"])
        audit = self.ok("POST", f"/v3/phone_numbers/{LINES[0]}/reputation_audit")
        self._keep("audit_id", audit["audit_id"])
        self.ok("POST", "/v3/contact_card", {"phone_number": LINES[0], "first_name": "Shop"})
        self.backend.clock.set(advance=3_600_000)

    def _keep(self, name: str, value: str) -> None:
        self.names.setdefault(name, []).append(value)

    def ok(self, method: str, path: str, body: Any = None) -> Any:
        response = asyncio.run(self._request(method, path, body))
        assert response.status_code < 300, response.text
        return response.json() if response.content else None

    async def _request(self, method: str, path: str, body: Any) -> httpx.Response:
        transport = httpx.ASGITransport(APPLICATION)
        async with httpx.AsyncClient(
            transport=transport, base_url=f"{ORIGIN}/api/partner", headers=AUTHORIZED
        ) as client:
            return await client.request(method, path, json=body)

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


@pytest.fixture
def world() -> World:
    return World()


def test_the_document_names_each_operation_once() -> None:
    identifiers = [operation["operationId"] for path in DOCUMENT["paths"].values() for operation in path.values()]
    assert len(identifiers) == len(set(identifiers)) == len(OPERATIONS) == 56
    json.dumps(DOCUMENT)


def is_wrong(case: Case, *places: str) -> bool:
    """Whether a request was made to break the schema in one of these places. Unknown parameters are passed over."""
    components = case.meta.components if case.meta else {}
    return any(info.mode.is_negative for place, info in components.items() if place.value in places)


def check(case: Case, world: World, before: bytes, wrong: bool) -> int:
    response = case.call(headers={**(case.headers or {}), **AUTHORIZED})
    case.validate_response(
        response,
        checks=[
            status_code_conformance,
            content_type_conformance,
            response_schema_conformance,
            *([negative_data_rejection] if wrong else []),
        ],
        additional_checks=[],
    )
    if response.status_code >= 400:
        error = response.json()["error"]
        documented = DOCUMENT["paths"][case.path][case.method.lower()]["responses"][str(response.status_code)]
        assert error["code"] in documented["x-codes"], (case.operation.label, error)
        assert error["code"] != 3006, "an operation failed"
        assert world.state() == before, f"{case.operation.label} was refused and has changed something: {error}"
    return response.status_code


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["valid", "invalid"])
@pytest.mark.parametrize("label", OPERATIONS)
def test_random_requests(world: World, label: str, mode: GenerationMode) -> None:
    statuses: list[int] = []

    @given(case=OPERATIONS[label].as_strategy(generation_mode=mode), seed=st.integers(0, 2**32))
    @settings(
        max_examples=CASES,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def ask(case: Case, seed: int) -> None:
        rng, wrong = random.Random(seed), is_wrong(case, "body", "path")
        if not is_wrong(case, "path"):
            case.path_parameters = world.name(case.path_parameters, rng)
        if mode.is_positive:
            case.query = world.name(case.query, rng)
            case.body = world.name(case.body, rng)
        statuses.append(check(case, world, world.state(), wrong))

    ask()
    assert statuses
