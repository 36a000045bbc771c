"""How the inbox looks, wide and narrow, light and dark: screenshots in the folder output/ui, and what axe finds."""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from linq_client import LinqClient
from linq_emulator.testing import EmulatorThread
from tests.system.ui.conftest import OUTPUT, PHONE, WIDE

if TYPE_CHECKING:
    from playwright.sync_api import Page

LINE, OTHER_LINE = "+12025550101", "+12025550102"
ANN, BOB, CAT, DAN, EVE = (f"+1202555015{number}" for number in range(5))


def picture() -> bytes:
    """A PNG of a garden, as far as 320 by 180 points and arithmetic allow."""
    rows = bytearray()
    for y in range(180):
        rows.append(0)
        for x in range(320):
            hill = 100 + 14 * math.sin(x / 45) + 6 * math.sin(x / 17)
            ground = (96 - y // 5, 150 - (y - 100) // 2, 74)
            sky = (150 + y // 2, 200 + y // 4, 245)
            flower = y > hill + 8 and (x * 13 + y * y * 7) % 97 < 4
            rows += bytes((150, 110, 200) if flower else ground if y > hill else sky)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 320, 180, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(rows))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def text(value: str, **more: object) -> dict[str, object]:
    return {"parts": [{"type": "text", "value": value}], **more}


def act(emulator: EmulatorThread, client: LinqClient) -> tuple[str, str, str]:
    """A morning at a garden centre, with something of everything. Returns a chat, a message of it, and a group."""
    emulator.set_clock(freeze=True, now="2027-04-09T08:00:00Z")
    emulator.set_line(LINE, retention_hours=24)
    emulator.set_line(OTHER_LINE, reputation="AT_RISK")
    emulator.set_handle(BOB, services=["SMS"])
    emulator.set_handle(DAN, services=["RCS", "SMS"])
    client.webhook_subscriptions.create("http://127.0.0.1:9/hooks", ["message.sent", "message.read"])
    for number in range(60, 72):
        client.chats.create(
            LINE if number % 2 else OTHER_LINE, f"+120255501{number}", text(f"Your order {number} is ready.")
        )
        emulator.advance(97)
    client.chats.create(OTHER_LINE, "eve@example.com", text("Thanks for your visit, Eve."))
    emulator.inbound("72345", "Your code is 481516. Do not share it.", line=LINE)
    invoice = client.chats.create(OTHER_LINE, DAN, text("Invoice 2210 is due on Monday."))
    emulator.report_receipt(invoice.message.id, "failed", code=4001)
    client.chats.create(LINE, BOB, text("Hello Bob, your delivery comes tomorrow. Reply STOP to opt out."))
    emulator.advance(80)
    emulator.inbound(BOB, "STOP")
    group = client.chats.create(LINE, [ANN, CAT, EVE], text("Planting day is on Saturday. Who brings a spade?"))
    emulator.advance(20)
    emulator.inbound(CAT, "I do, two of them", chat_id=group.id)
    emulator.inbound(ANN, "And I bring cake", chat_id=group.id)
    poll = emulator.receive_poll(CAT, ["9 am", "11 am"], chat_id=group.id)
    emulator.vote(poll["message_id"], EVE, "11 am")
    emulator.advance(30)
    for _ in range(2):
        order = text("Hi Ann, your lavender is ready. Shall we bring it on Friday?", idempotency_key="order-1042")
        ann = client.chats.create(LINE, ANN, order)
    emulator.advance(40)
    emulator.report_receipt(ann.message.id, "read")
    emulator.react(ann.message.id, ANN, "love")
    answer = emulator.inbound(ANN, "Friday is great! After ten, please.")
    emulator.advance(45)
    client.messages.react(answer["id"], "like")
    decorated = {
        "type": "text",
        "value": "Perfect. We come between ten and noon.",
        "text_decorations": [{"range": [17, 37], "style": "bold"}],
    }
    effect = {"type": "screen", "name": "confetti"}
    client.messages.send(ann.id, {"parts": [decorated], "effect": effect, "reply_to": {"message_id": answer["id"]}})
    emulator.advance(45)
    photo = emulator.add_file("garden.png", "image/png", picture())
    parts = [{"type": "media", "attachment_id": photo}, {"type": "text", "value": "This is the gate, by the way."}]
    emulator.inbound(ANN, chat_id=ann.id, parts=parts)
    emulator.advance(30)
    client.messages.send(ann.id, {"parts": [{"type": "link", "value": "https://example.com/lavender/care"}]})
    emulator.advance(3)
    emulator.fault("status", status=503, code=4004, count=3, path="^/v3/chats$")
    return ann.id, ann.message.id, group.id


def look(page: Page, name: str) -> None:
    """Keep a screenshot, and let axe look at it."""
    from axe_playwright_python.sync_playwright import Axe

    OUTPUT.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=OUTPUT / f"{name}.png")
    results = Axe().run(page)
    assert results.violations_count == 0, results.generate_report()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "viewport"), [("wide", WIDE), ("phone", PHONE)])
def test_it_can_be_read_by_everybody(
    emulator: EmulatorThread,
    client: LinqClient,
    open_page: Callable[..., Page],
    width: str,
    viewport: object,
    scheme: str,
) -> None:
    chat, message, group = act(emulator, client)
    # The page's policy keeps axe out, too, which comes as a script of its own.
    options = {"viewport": viewport, "color_scheme": scheme, "bypass_csp": True, "reduced_motion": "reduce"}
    page = open_page(emulator.inbox, **options)
    page.locator(".row").first.wait_for()
    look(page, f"{width}-{scheme}-list")
    page.goto(f"{emulator.inbox}#chat={group}")
    page.locator(".poll").wait_for()
    look(page, f"{width}-{scheme}-group")
    page.goto(f"{emulator.inbox}#chat={chat}")
    page.locator(".photo").wait_for()
    look(page, f"{width}-{scheme}-chat")
    page.goto(f"{emulator.inbox}#chat={chat}&message={message}&details=message")
    page.locator(".delivery").first.wait_for()
    look(page, f"{width}-{scheme}-message")
    page.goto(f"{emulator.inbox}#details=emulator")
    page.locator(".big-time").wait_for()
    look(page, f"{width}-{scheme}-emulator")
