"""The emulator's inbox, as a developer uses it: what is sent is seen, and answered as the person would."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from linq_client import LinqClient
from linq_emulator.testing import EmulatorProcess, EmulatorThread
from tests.support.waiting import wait_until
from tests.system.ui.conftest import OUTPUT, PHONE

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

LINE, OTHER_LINE = "+12025550101", "+12025550102"
ANN, BOB, CAT = "+12025550150", "+12025550151", "+12025550152"


def expect(locator: Locator):
    from playwright.sync_api import expect as expect_

    expect_.set_options(timeout=60_000)
    return expect_(locator)


def text(value: str, **more: object) -> dict[str, object]:
    return {"parts": [{"type": "text", "value": value}], **more}


def row(page: Page, name: str) -> Locator:
    return page.get_by_role("navigation", name="Chats").get_by_role("button").filter(has_text=name)


def bubble(page: Page, words: str) -> Locator:
    return page.get_by_role("article").filter(has_text=words)


def details(page: Page) -> Locator:
    return page.get_by_role("complementary", name="Details")


def write(page: Page, words: str) -> None:
    page.get_by_role("textbox", name="Message as the person").fill(words)
    page.keyboard.press("Enter")


def scroll_up_to(page: Page, words: str) -> None:
    """Scroll to the first message that is there, until one of these words is."""
    wanted = page.locator(".entry").filter(has_text=re.compile(rf"{words}\b"))

    def is_there() -> bool:
        page.locator(".scroller").evaluate("scroller => { scroller.scrollTop = 0; }")
        return wanted.count() == 1

    wait_until(is_there, f"{words} is in the page")


def received(emulator: EmulatorThread) -> list[str]:
    return [message["text"] for message in emulator.ledger() if message["direction"] == "inbound"]


# --- see and answer -----------------------------------------------------------------------------------------------


def test_what_is_sent_appears_and_is_answered(page: Page, emulator: EmulatorThread, client: LinqClient) -> None:
    expect(page.get_by_text("Nothing was sent yet")).to_be_visible()
    sent = client.chats.create(LINE, ANN, text("See you at ten?", idempotency_key="reminder-1"))
    expect(row(page, "(202) 555-0150")).to_contain_text("unread")
    expect(page).to_have_title("(1) Linq emulator")
    row(page, "(202) 555-0150").click()
    expect(bubble(page, "See you at ten?")).to_be_visible()
    expect(page).to_have_title("Linq emulator")
    write(page, "Yes, please")
    expect(bubble(page, "Yes, please")).to_be_visible()
    client.messages.send(sent.id, text("Good!"))
    expect(bubble(page, "Good!")).to_be_visible()
    expect(bubble(page, "Good!")).to_contain_text("Delivered")
    page.get_by_role("button", name="Read all").click()
    expect(bubble(page, "Good!")).to_contain_text("Read")
    page.get_by_role("button", name="STOP").click()
    expect(row(page, "(202) 555-0150")).to_contain_text("Opted out")
    assert received(emulator) == ["Yes, please", "STOP"]


def test_reply_reaction_edit_and_a_refused_delivery(page: Page, emulator: EmulatorThread, client: LinqClient) -> None:
    emulator.set_switches(automatic_delivery=False)
    client.chats.create(LINE, ANN, text("Friday or Saturday?"))
    row(page, "(202) 555-0150").click()
    bubble(page, "Friday or Saturday?").click()
    details(page).get_by_role("button", name="love").click()
    expect(details(page).get_by_role("button", name="love")).to_have_attribute("aria-pressed", "true")
    expect(bubble(page, "Friday or Saturday?")).to_contain_text("love by (202) 555-0150")
    details(page).get_by_role("button", name="Reply").click()
    write(page, "Fryday")
    expect(bubble(page, "Fryday").get_by_role("button", name="Friday or Saturday?")).to_be_visible()
    bubble(page, "Fryday").click()
    details(page).get_by_role("button", name="Edit", exact=True).click()
    write(page, "Friday")
    expect(bubble(page, "Edited")).to_contain_text("Friday")
    expect(details(page)).to_contain_text("Fryday")
    bubble(page, "Friday or Saturday?").first.click()
    details(page).get_by_label("Code of the failure").select_option("4005")
    details(page).get_by_role("button", name="Refuse delivery with").click()
    expect(bubble(page, "Not delivered, code 4005")).to_be_visible()
    question, answer = emulator.ledger()
    assert (question["delivery_status"], answer["text"], answer["reply_to"]) == ("failed", "Friday", question["id"])


def test_a_photo_is_sent_and_shown(page: Page, emulator: EmulatorThread, client: LinqClient) -> None:
    client.chats.create(LINE, ANN, text("Where is the gate?"))
    row(page, "(202) 555-0150").click()
    pixel = bytes.fromhex(
        "89504e470d0a1a0a0000000d4948445200000001000000010806000000 1f15c4890000000d49444154789c63f8cfc0f01f0005"
        "000201a5f645400000000049454e44ae426082".replace(" ", "")
    )
    page.get_by_label("Photo", exact=True).set_input_files(
        {"name": "gate.png", "mimeType": "image/png", "buffer": pixel}
    )
    photo = page.get_by_role("img", name="gate.png")
    expect(photo).to_be_visible()
    wait_until(lambda: photo.evaluate("image => image.naturalWidth") == 1, "the photo is drawn")
    [part] = emulator.ledger()[1]["parts"]
    assert part["filename"] == "gate.png"


def test_somebody_new_writes_from_a_short_code(page: Page, emulator: EmulatorThread) -> None:
    page.get_by_role("button", name="Write as a new person").click()
    page.get_by_label("From", exact=True).fill("not a number!")
    page.get_by_label("Message", exact=True).fill("Your code is 481516")
    page.get_by_role("button", name="Send", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("from: must be an E.164 phone number")
    page.get_by_label("From", exact=True).fill("72345")
    page.get_by_role("button", name="Send", exact=True).click()
    expect(bubble(page, "Your code is 481516")).to_be_visible()
    expect(row(page, "72345")).to_contain_text("SMS")
    assert emulator.ledger()[0]["from"] == "72345"


def test_a_group_has_names_and_any_of_them_may_write(page: Page, emulator: EmulatorThread, client: LinqClient) -> None:
    group = client.chats.create(LINE, [ANN, CAT], text("Who brings a spade?"))
    row(page, "(202) 555-0152").click()
    page.get_by_label("Write as", exact=True).select_option(CAT)
    write(page, "I do")
    expect(bubble(page, "I do")).to_be_visible()
    emulator.receive_poll(ANN, ["9 am", "11 am"], chat_id=group.id)
    page.get_by_role("button", name="11 am").click()
    expect(page.get_by_role("button", name="11 am")).to_have_attribute("aria-pressed", "true")
    poll = emulator.ledger()[-1]
    assert [option["votes"] for option in poll["parts"][0]["options"]] == [[], [CAT]]
    assert emulator.ledger()[1]["from"] == CAT


def test_what_strangers_write_is_only_text(page: Page, emulator: EmulatorThread) -> None:
    attack = '<img src=x onerror="window.attacked=1"><script>window.attacked=1</script>&lt;b&gt; javascript:alert(1)'
    chat = emulator.inbound(ANN, attack)["chat_id"]
    emulator.inbound("EVIL", attack)
    emulator.inbound(
        ANN, chat_id=chat, parts=[{"type": "link", "value": "https://example.com/<script>alert(1)</script>"}]
    )
    row(page, "(202) 555-0150").click()
    expect(bubble(page, attack)).to_be_visible()
    bubble(page, attack).click()
    expect(details(page)).to_contain_text("Identity")
    page.get_by_role("searchbox", name="Search messages").fill("onerror")
    expect(row(page, attack)).to_have_count(2)
    assert page.evaluate("window.attacked") is None
    assert page.locator("main script, main img[src=x]").count() == 0


def test_the_request_its_repetition_and_its_webhooks_are_shown(page: Page, client: LinqClient) -> None:
    client.webhook_subscriptions.create("http://127.0.0.1:9/hook", ["message.sent"])
    for _ in range(2):
        client.chats.create(LINE, ANN, text("once", idempotency_key="only-once"))
    row(page, "(202) 555-0150").click()
    bubble(page, "once").click()
    expect(details(page)).to_contain_text("Key used again (1)")
    expect(details(page)).to_contain_text("only-once")
    expect(details(page)).to_contain_text("message.sent")
    expect(details(page)).to_contain_text("ConnectError")
    details(page).get_by_text("Body").first.click()
    expect(details(page).locator("pre").first).to_contain_text('"idempotency_key": "only-once"')
    assert "Bearer" not in details(page).inner_text()


# --- the emulator -------------------------------------------------------------------------------------------------


def test_messages_expire_before_ones_eyes(page: Page, emulator: EmulatorThread, client: LinqClient) -> None:
    emulator.set_line(LINE, retention_hours=24)
    client.chats.create(LINE, ANN, text("for a day"))
    row(page, "(202) 555-0150").click()
    expect(bubble(page, "for a day")).to_contain_text("24 h")
    page.get_by_role("button", name="Emulator settings").click()
    details(page).get_by_role("button", name="Freeze").click()
    expect(page.get_by_role("button", name="frozen")).to_be_visible()
    details(page).get_by_role("button", name="+1 h", exact=True).click()
    expect(bubble(page, "for a day")).to_contain_text("23 h")
    details(page).get_by_role("button", name="+24 h").click()
    expect(bubble(page, "Expired")).to_be_visible()
    expect(row(page, "(202) 555-0150")).to_contain_text("No longer kept")
    assert emulator.ledger()[0]["expired_at"]


def test_faults_are_set_and_cleared_and_switches_change(page: Page, emulator: EmulatorThread) -> None:
    details(page).get_by_role("button", name="503 three times").click()
    expect(page.get_by_role("button", name="1 fault")).to_be_visible()
    assert [fault["status"] for fault in emulator.faults()] == [503]
    details(page).get_by_role("button", name="Clear the fault").click()
    expect(page.get_by_role("button", name="1 fault")).to_be_hidden()
    assert emulator.faults() == []
    details(page).get_by_role("button", name="Another…").click()
    page.get_by_role("dialog").get_by_label("Kind").select_option("latency")
    page.get_by_role("dialog").get_by_label("Seconds").fill("0.5")
    page.get_by_role("button", name="Set", exact=True).click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    wait_until(emulator.faults, "the fault is set")
    assert [(fault["kind"], fault["seconds"]) for fault in emulator.faults()] == [("latency", 0.5)]
    details(page).get_by_label("cursor", exact=True).select_option("key")
    wait_until(lambda: emulator.switches()["cursor"] == "key", "the switch is set")
    details(page).get_by_role("button", name="Reset the emulator").click()
    page.get_by_role("button", name="Reset", exact=True).click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    wait_until(lambda: not emulator.faults(), "the emulator is reset")


def test_it_connects_again_after_a_restart(tmp_path, open_page: Callable[..., Page]) -> None:
    file = tmp_path / "emulator.jsonl"
    with EmulatorThread(persist=file) as emulator:
        page = open_page(emulator.inbox)
        emulator.inbound(ANN, "before")
        expect(row(page, "before")).to_be_visible()
        expect(page.locator("#live.on")).to_have_count(1)
    expect(page.locator("#live")).to_have_text("Reconnecting…")


def test_many_tabs_are_open(page: Page, emulator: EmulatorThread) -> None:
    """A browser opens six connections to a host: a stream for each tab would leave none for the seventh."""
    tabs = [page, *(page.context.new_page() for _ in range(7))]
    for tab in tabs[1:]:
        tab.goto(emulator.inbox)
    emulator.inbound(ANN, "hello to all")
    for tab in tabs:
        expect(row(tab, "hello to all")).to_be_visible()
        expect(tab.locator("#live")).to_have_text("Live")
    for tab in tabs[:6]:
        tab.close()
    emulator.inbound(BOB, "hello to those who stay")
    for tab in tabs[6:]:
        expect(row(tab, "hello to those who stay")).to_be_visible()


def test_many_tabs_with_another_token(tmp_path, open_page: Callable[..., Page]) -> None:
    """The emulator comes again with another token: a tab that gets it has the stream for all."""
    from tests.integration.emulator.test_cli import launch

    def enter(tab: Page, token: str) -> None:
        tab.get_by_label("Token", exact=True).last.fill(token)
        tab.get_by_role("button", name="Continue").click()
        expect(tab.locator("#live")).to_have_text("Live")

    first, second = "a-token-of-sixteen-or-more", "another-token-of-sixteen"
    with launch("--port", "0", "--token", first) as process:
        inbox = json.loads(process.stdout.readline())["inbox"]
        tabs = [open_page(inbox)]
        tabs.append(tabs[0].context.new_page())
        tabs[1].goto(inbox)
        for tab in tabs:
            enter(tab, first)
        process.terminate()
    for tab in tabs:
        expect(tab.locator("#live")).to_have_text("Reconnecting…")
    with launch("--port", str(urlsplit(inbox).port), "--token", second) as process:
        try:
            json.loads(process.stdout.readline())
            for tab in tabs:
                enter(tab, second)
        finally:
            process.terminate()


def test_with_a_token_it_asks_for_it(open_page: Callable[..., Page]) -> None:
    from tests.integration.emulator.test_cli import launch

    with launch("--port", "0", "--token", "a-token-of-sixteen-or-more") as process:
        try:
            page = open_page(json.loads(process.stdout.readline())["inbox"])
            for wrong in ("another-token-of-sixteen", "a-token-of-sixteen-or-\N{GREEK SMALL LETTER OMEGA}"):
                page.get_by_label("Token", exact=True).last.fill(wrong)
                page.get_by_role("button", name="Continue").click()
                expect(page.get_by_role("alert").filter(has_text="not the value of --token")).to_be_visible()
            page.get_by_label("Token", exact=True).last.fill("a-token-of-sixteen-or-more")
            page.get_by_role("button", name="Continue").click()
            expect(page.get_by_text("Nothing was sent yet")).to_be_visible()
            expect(page.locator("#live")).to_have_text("Live")
        finally:
            process.terminate()


# --- many ---------------------------------------------------------------------------------------------------------


def test_ten_thousand_messages(open_page: Callable[..., Page]) -> None:
    """What is in the page stays small, all of it can be reached, and a new message is there soon."""
    with EmulatorProcess() as emulator, LinqClient(emulator.api_key, base_url=emulator.base_url) as client:
        emulator.seed(50, messages=8000, groups_share=0)
        chat = client.chats.create(LINE, ANN, text("the first of many"))
        for number in range(2000):
            emulator.inbound(ANN, f"number {number}", chat_id=chat.id)
        page = open_page(emulator.inbox)
        row(page, "(202) 555-0150").click()
        expect(bubble(page, "number 1999")).to_be_visible()
        seen = []
        for number in range(10):
            began = time.perf_counter()
            client.messages.send(chat.id, text(f"answer {number}"))
            accepted = time.perf_counter()
            bubble(page, f"answer {number}").wait_for()
            seen.append(
                f"{(time.perf_counter() - accepted) * 1000:.0f} ms ({(accepted - began) * 1000:.0f} ms to send)"
            )
        OUTPUT.mkdir(parents=True, exist_ok=True)
        (OUTPUT / "latency.txt").write_text("\n".join(seen) + "\n")
        page.get_by_role("region", name="Messages of the conversation").focus()
        scroll_up_to(page, "number 1500")
        assert page.locator(".entry").count() <= 240
        page.get_by_role("searchbox", name="Search messages").fill("the first of many")
        page.locator(".row.found").first.click()
        expect(bubble(page, "the first of many")).to_be_visible()
        page.get_by_role("button", name="Newest").click()
        expect(bubble(page, "answer 9")).to_be_visible()


# --- keys, phones, themes -----------------------------------------------------------------------------------------


def test_it_is_used_with_the_keyboard(page: Page, emulator: EmulatorThread) -> None:
    emulator.inbound(ANN, "roses")
    emulator.inbound(BOB, "tulips")
    expect(row(page, "tulips")).to_be_visible()
    page.keyboard.press("/")
    page.keyboard.type("roses")
    expect(page.locator(".row.found")).to_have_count(1)
    page.keyboard.press("ArrowDown")
    expect(page.locator(".row.found")).to_be_focused()
    page.keyboard.press("Enter")
    expect(bubble(page, "roses")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator(".row.found")).to_have_count(0)
    row(page, "tulips").focus()
    page.keyboard.press("ArrowDown")
    expect(row(page, "roses")).to_be_focused()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    expect(bubble(page, "tulips")).to_be_visible()
    page.get_by_role("region", name="Messages of the conversation").focus()
    page.keyboard.press("ArrowUp")
    expect(bubble(page, "tulips")).to_be_focused()
    page.keyboard.press("Enter")
    expect(details(page)).to_contain_text("Identity")


def test_a_phone_shows_one_column_at_a_time(open_page: Callable[..., Page], emulator: EmulatorThread) -> None:
    emulator.inbound(ANN, "roses")
    page = open_page(emulator.inbox, viewport=PHONE, has_touch=True)
    row(page, "roses").tap()
    expect(bubble(page, "roses")).to_be_visible()
    expect(page.get_by_role("navigation", name="Chats")).to_be_hidden()
    bubble(page, "roses").locator(".text").tap()
    expect(details(page)).to_contain_text("Identity")
    expect(bubble(page, "roses")).to_be_hidden()
    page.go_back()
    expect(bubble(page, "roses")).to_be_visible()
    page.get_by_role("button", name="Back to the chats").tap()
    expect(row(page, "roses")).to_be_visible()
    expect(page.get_by_role("button", name="Write as a new person")).to_be_in_viewport(ratio=1)


def test_nothing_is_wider_than_a_phone(
    open_page: Callable[..., Page], emulator: EmulatorThread, client: LinqClient
) -> None:
    client.chats.create(LINE, [ANN, BOB, CAT], text("Who has a word that is long? " + "Donaudampfschifffahrt" * 9))
    emulator.fault("latency", seconds=0)
    page = open_page(emulator.inbox, viewport=PHONE)
    expect(page.get_by_role("button", name="Emulator settings")).to_be_in_viewport(ratio=1)
    page.locator(".row").click()
    for name in ("Send as the person", "Details"):
        expect(page.get_by_role("button", name=name, exact=True).first).to_be_in_viewport(ratio=1)
    bubble(page, "Who has a word").locator(".text").click()
    expect(details(page).get_by_role("button", name="Copy: Message")).to_be_in_viewport(ratio=1)


def test_the_theme_is_that_of_the_system_until_it_is_chosen(
    open_page: Callable[..., Page], emulator: EmulatorThread
) -> None:
    page = open_page(emulator.inbox, color_scheme="dark")

    def is_dark() -> bool:
        return sum(map(int, re.findall(r"\d+", page.evaluate("getComputedStyle(document.body).backgroundColor")))) < 200

    expect(page.get_by_role("button", name="Switch to the light theme")).to_be_visible()
    assert is_dark()
    page.get_by_role("button", name="Switch to the light theme").click()
    wait_until(lambda: not is_dark(), "it is light")
    page.reload()
    expect(page.get_by_role("button", name="Switch to the dark theme")).to_be_visible()
    assert not is_dark()


def test_enter_that_is_held_down_sends_once(page: Page, emulator: EmulatorThread):
    emulator.inbound(ANN, "Hello", line=LINE)
    row(page, "150").click()
    box = page.get_by_role("textbox", name="Message as the person")
    box.fill("Only once")
    box.evaluate(
        "box => [0, 1, 2].forEach(n => box.dispatchEvent("
        "new KeyboardEvent('keydown', { key: 'Enter', repeat: n > 0, bubbles: true, cancelable: true })))"
    )
    box.press_sequentially("Next")
    expect(bubble(page, "Only once")).to_have_count(1)
    expect(box).to_have_value("Next")
    assert [message["text"] for message in emulator.ledger()] == ["Hello", "Only once"]


def test_a_text_that_is_refused_stays(page: Page, emulator: EmulatorThread):
    emulator.inbound(ANN, "Hello", line=LINE)
    row(page, "150").click()
    write(page, "x" * 10_001)
    expect(page.get_by_role("status").filter(has_text="10000")).to_be_visible()
    expect(page.get_by_role("textbox", name="Message as the person")).to_have_value("x" * 10_001)


def test_switches_that_others_set_are_shown(page: Page, emulator: EmulatorThread):
    page.get_by_role("button", name="Emulator settings").click()
    control = page.get_by_label("delivery_seconds", exact=True)
    before = control.input_value()
    emulator.set_switches(delivery_seconds=77)
    expect(control).to_have_value("77")
    emulator.reset()
    expect(control).to_have_value(before)


def test_a_chosen_line_that_a_reset_removes_hides_no_chat(page: Page, emulator: EmulatorThread):
    emulator.set_line("+12025550109")
    lines = page.get_by_role("group", name="Lines")
    lines.get_by_role("button").filter(has_text="0109").click()
    emulator.reset()
    emulator.inbound(ANN, "after the reset", line=LINE)
    expect(row(page, "after the reset")).to_be_visible()
    expect(lines.get_by_role("button", pressed=True)).to_have_text(re.compile("All lines"))
