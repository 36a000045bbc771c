"""The examples of docs/reference/client.md run as they stand."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import time
from pathlib import Path
from typing import Any

import pytest

from linq_emulator.testing import EmulatorProcess
from tests.support.scripted_server import KEY, OK, Handler, Response, serving
from tests.support.vendor_surface import events, operations

EXAMPLES = re.findall(
    r"```python\n(.*?)```", (Path(__file__).parents[3] / "docs" / "reference" / "client.md").read_text(), re.DOTALL
)


def run(number: int, space: dict[str, Any]) -> None:
    exec(compile(EXAMPLES[number], f"<example {number}>", "exec", dont_inherit=True), space)


class Payments(Handler):
    """The API of payments, as the vendor's client knows it."""

    def response(self) -> Response:
        name = "create" if self.command == "POST" else "list"
        return 200, {}, json.dumps(operations()[f"payment_requests.{name}"].response).encode()


def test_the_first_steps(emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINQ_API_KEY", emulator.api_key)
    monkeypatch.setenv("LINQ_BASE_URL", emulator.base_url)
    run(0, {})
    assert [entry["to"] for entry in emulator.ledger()][:2] == [["+12025550123"]] * 2


def test_payments_by_request(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(OK, handler=Payments) as server:
        monkeypatch.setenv("LINQ_API_KEY", KEY)
        monkeypatch.setenv("LINQ_BASE_URL", server.url)
        run(1, {"__name__": "example"})
    (_, _, headers), (method, path, _) = server.seen
    assert headers["idempotency-key"] == "order-4711"
    assert json.loads(server.bodies[0])["amount"] == 1250
    assert (method, path) == ("GET", "/v3/payment_requests?status=succeeded")
    assert capsys.readouterr().out == "id checkout_url\n1\n"


def test_events() -> None:
    space: dict[str, Any] = {}
    run(2, space)
    secret = b"s" * 24
    said = []
    for event_type in ("poll.vote.added", "message.failed", "webhook_subscription.disabled", "call.ended"):
        body = json.dumps({"event_id": "e", "event_type": event_type, "data": events()[event_type]}).encode()
        stamp = str(int(time.time()))
        mac = hmac.new(secret, f"e.{stamp}.".encode() + body, hashlib.sha256).digest()
        headers = {
            "webhook-id": "e",
            "webhook-timestamp": stamp,
            "webhook-signature": f"v1,{base64.b64encode(mac).decode()}",
        }
        said.append(space["handle"](body, headers, f"whsec_{base64.b64encode(secret).decode()}"))
    assert said == [
        "voted for option_id",
        "failed with 1, 1",
        "webhook_subscription.disabled: summary",
        "call.ended, which this version does not know",
    ]
