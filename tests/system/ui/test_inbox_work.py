"""What somebody writes in the inbox stays theirs, and goes where it was meant, whatever comes in between."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from linq_client import LinqClient
from linq_emulator.testing import EmulatorThread
from tests.support.waiting import wait_until
from tests.system.ui.conftest import PHONE
from tests.system.ui.test_inbox import ANN, BOB, LINE, bubble, details, expect, received, row, text, write

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page, Route


def box(page: Page) -> Locator:
    return page.get_by_role("textbox", name="Message as the person")


class Held:
    """Requests that are held back, as on a slow network, until `release`."""

    def __init__(self, page: Page, pattern: str) -> None:
        self._page = page
        self._routes: list[Route] = []
        self._is_released = False
        page.route(pattern, self._hold)

    def _hold(self, route: Route) -> None:
        if self._is_released:
            route.continue_()
        else:
            self._routes.append(route)

    def wait(self) -> None:
        wait_until(lambda: self._page.evaluate("true") and self._routes, "a request is made")

    def release(self) -> None:
        self._is_released = True
        for route in self._routes:
            route.continue_()


def two_chats(page: Page, emulator: EmulatorThread) -> tuple[str, str]:
    """Ann's chat, which is open, and Bob's."""
    ann = emulator.inbound(ANN, "I am Ann", line=LINE)["chat_id"]
    bob = emulator.inbound(BOB, "I am Bob", line=LINE)["chat_id"]
    row(page, "I am Ann").click()
    expect(bubble(page, "I am Ann")).to_be_visible()
    return ann, bob


def chats_of(emulator: EmulatorThread) -> dict[str, str]:
    return {message["text"]: message["chat_id"] for message in emulator.ledger()}


# --- drafts -------------------------------------------------------------------------------------------------------


def test_a_draft_stays_in_its_chat(page: Page, emulator: EmulatorThread) -> None:
    two_chats(page, emulator)
    box(page).fill("half a sentence to Ann")
    row(page, "I am Bob").click()
    expect(bubble(page, "I am Bob")).to_be_visible()
    expect(box(page)).to_have_value("")
    box(page).fill("half a sentence to Bob")
    row(page, "I am Ann").click()
    expect(box(page)).to_have_value("half a sentence to Ann")
    page.reload()
    expect(box(page)).to_have_value("half a sentence to Ann")
    page.keyboard.press("Escape")
    box(page).press("Enter")
    expect(bubble(page, "half a sentence to Ann")).to_be_visible()
    row(page, "I am Bob").click()
    expect(box(page)).to_have_value("half a sentence to Bob")
    row(page, "half a sentence to Ann").click()
    expect(bubble(page, "half a sentence to Ann")).to_be_visible()
    expect(box(page)).to_have_value("")


def test_it_works_where_the_browser_may_keep_nothing(open_page: Callable[..., Page], emulator: EmulatorThread) -> None:
    two = """for (const name of ["localStorage", "sessionStorage"]) Object.defineProperty(window, name, {
        get() { throw new DOMException("denied", "SecurityError"); } });"""
    page = open_page("about:blank")
    page.add_init_script(two)
    page.goto(emulator.inbox or "")
    two_chats(page, emulator)
    box(page).fill("half a sentence to Ann")
    row(page, "I am Bob").click()
    expect(bubble(page, "I am Bob")).to_be_visible()
    row(page, "I am Ann").click()
    expect(box(page)).to_have_value("half a sentence to Ann")
    page.get_by_role("button", name="Switch to the dark theme").click()
    expect(page.get_by_role("button", name="Switch to the light theme")).to_be_visible()


def test_a_day_of_another_year_has_it(page: Page, emulator: EmulatorThread) -> None:
    emulator.set_clock(freeze=True, now="2027-03-01T12:00:00Z")
    emulator.inbound(ANN, "I am Ann", line=LINE)
    emulator.advance(hours=24 * 365)
    expect(row(page, "I am Ann")).to_contain_text("2027")
    row(page, "I am Ann").click()
    expect(page.locator(".day")).to_contain_text("2027")
    emulator.set_clock(freeze=False)


def test_an_edit_takes_the_place_of_no_draft(page: Page, emulator: EmulatorThread) -> None:
    two_chats(page, emulator)
    box(page).fill("half a sentence")
    bubble(page, "I am Ann").click()
    details(page).get_by_role("button", name="Edit", exact=True).click()
    expect(box(page)).to_have_value("I am Ann")
    page.get_by_role("button", name="Cancel").click()
    expect(box(page)).to_have_value("half a sentence")
    details(page).get_by_role("button", name="Edit", exact=True).click()
    box(page).fill("I am Anna")
    row(page, "I am Bob").click()
    expect(bubble(page, "I am Bob")).to_be_visible()
    row(page, "I am Ann").click()
    expect(box(page)).to_have_value("half a sentence")
    assert received(emulator) == ["I am Ann", "I am Bob"]


def test_a_text_that_is_refused_is_kept_with_what_was_written_since(page: Page, emulator: EmulatorThread) -> None:
    two_chats(page, emulator)
    held = Held(page, "**/_emulator/inbound")
    write(page, "x" * 10_001)
    held.wait()
    box(page).fill("the next one")
    held.release()
    expect(page.get_by_role("status").filter(has_text="10000")).to_be_visible()
    expect(box(page)).to_have_value("x" * 10_001 + "\nthe next one")


def test_a_text_that_is_refused_is_kept_in_its_chat(page: Page, emulator: EmulatorThread) -> None:
    two_chats(page, emulator)
    held = Held(page, "**/_emulator/inbound")
    write(page, "x" * 10_001)
    held.wait()
    row(page, "I am Bob").click()
    expect(bubble(page, "I am Bob")).to_be_visible()
    held.release()
    expect(page.get_by_role("status").filter(has_text="10000")).to_be_visible()
    expect(box(page)).to_have_value("")
    row(page, "I am Ann").click()
    expect(box(page)).to_have_value("x" * 10_001)


# --- where it goes ------------------------------------------------------------------------------------------------


def test_a_text_goes_to_the_chat_that_is_shown(page: Page, emulator: EmulatorThread) -> None:
    ann, bob = two_chats(page, emulator)
    row(page, "I am Bob").click()
    expect(bubble(page, "I am Bob")).to_be_visible()
    row(page, "I am Ann").click()
    expect(bubble(page, "I am Ann")).to_be_visible()
    held = Held(page, f"**/_emulator/inbox?*chat={bob}*")
    row(page, "I am Bob").click()
    held.wait()
    write(page, "for Ann's eyes only")
    wait_until(lambda: "for Ann's eyes only" in chats_of(emulator), "it is sent")
    held.release()
    expect(bubble(page, "I am Bob")).to_be_visible()
    assert chats_of(emulator)["for Ann's eyes only"] == ann


def test_a_photo_goes_to_the_chat_in_which_it_was_chosen(page: Page, emulator: EmulatorThread) -> None:
    ann, _ = two_chats(page, emulator)
    held = Held(page, "**/_emulator/files")
    page.get_by_label("Photo", exact=True).set_input_files(
        {"name": "gate.png", "mimeType": "image/png", "buffer": b"\x89PNG\r\n\x1a\n"}
    )
    held.wait()
    row(page, "I am Bob").click()
    expect(bubble(page, "I am Bob")).to_be_visible()
    held.release()
    photo = wait_until(
        lambda: next((one for one in emulator.ledger() if one["parts"][0]["type"] == "media"), None), "it is sent"
    )
    assert (photo["chat_id"], photo["from"]) == (ann, ANN)


@pytest.mark.parametrize("way", ["paste", "drop"])
def test_photos_are_pasted_and_dropped(page: Page, emulator: EmulatorThread, way: str) -> None:
    two_chats(page, emulator)
    box(page).evaluate(
        """(input, way) => {
            const data = new DataTransfer();
            for (const name of ["one.png", "two.png"]) data.items.add(new File(["x"], name, { type: "image/png" }));
            data.items.add(new File(["x"], "three.exe", { type: "application/x-msdownload" }));
            const of = { bubbles: true, cancelable: true, clipboardData: data, dataTransfer: data };
            input.dispatchEvent(way === "paste" ? new ClipboardEvent("paste", of) : new DragEvent("drop", of));
        }""",
        way,
    )
    expect(page.get_by_role("status").filter(has_text="application/x-msdownload cannot be sent")).to_be_visible()
    names = [message["parts"][0].get("filename") for message in emulator.ledger()]
    assert names == [None, None, "one.png", "two.png"]
    expect(bubble(page, "I am Ann")).to_be_visible()


def test_what_is_pressed_twice_is_done_once(page: Page, emulator: EmulatorThread) -> None:
    two_chats(page, emulator)
    page.get_by_role("button", name="STOP").dblclick()
    page.get_by_role("button", name="Write as a new person").click()
    page.get_by_label("From", exact=True).fill("72345")
    page.get_by_label("Message", exact=True).fill("Your code is 481516")
    page.get_by_role("button", name="Send", exact=True).dblclick()
    expect(bubble(page, "Your code is 481516")).to_be_visible()
    page.get_by_role("button", name="Emulator settings").click()
    page.get_by_role("button", name="Another…").click()
    page.get_by_role("button", name="Set", exact=True).dblclick()
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert received(emulator) == ["I am Ann", "I am Bob", "STOP", "Your code is 481516"]
    assert len(emulator.faults()) == 1


def test_the_enter_of_an_input_method_sends_nothing(page: Page, emulator: EmulatorThread) -> None:
    """Enter chooses what the method proposes. Safari sends it after the composition, with the key code 229."""
    two_chats(page, emulator)
    box(page).fill("にほんご")
    press = (
        "(element, [key, composing, code]) => element.dispatchEvent(new KeyboardEvent('keydown', "
        "{ key, isComposing: composing, keyCode: code, bubbles: true, cancelable: true }))"
    )
    for composing, code in ((True, 13), (False, 229)):
        box(page).evaluate(press, ["Enter", composing, code])
        expect(box(page)).to_have_value("にほんご")
        search = page.get_by_role("searchbox", name="Search messages")
        search.fill("I am Bob")
        expect(page.locator(".row.found")).to_have_count(1)
        search.evaluate(press, ["Enter", composing, code])
        search.evaluate(press, ["Escape", composing, code])
        expect(search).to_have_value("I am Bob")
        expect(bubble(page, "I am Ann")).to_be_visible()
    assert received(emulator) == ["I am Ann", "I am Bob"]


def test_a_number_that_is_emptied_is_not_zero(page: Page, emulator: EmulatorThread) -> None:
    page.get_by_role("button", name="Emulator settings").click()
    control = page.get_by_label("delivery_seconds", exact=True)
    control.fill("")
    control.press("Tab")
    expect(control).to_have_value("2")
    control.fill("7")
    control.press("Tab")
    wait_until(lambda: emulator.switches()["delivery_seconds"] == 7, "another number is set")


# --- what is looked at --------------------------------------------------------------------------------------------


def test_focus_and_selection_stay_while_others_write(page: Page, emulator: EmulatorThread) -> None:
    chat = emulator.inbound(ANN, "number 0", line=LINE)["chat_id"]
    for number in range(1, 100):
        emulator.inbound(ANN, f"number {number}", chat_id=chat)
    row(page, "number 99").click()
    expect(bubble(page, "number 99")).to_be_visible()
    article = page.get_by_role("article").filter(has_text="number 97")
    article.focus()
    article.evaluate("article => getSelection().selectAllChildren(article.querySelector('.text'))")
    emulator.inbound(ANN, "number 100", chat_id=chat)
    expect(bubble(page, "number 100")).to_be_visible()
    expect(article).to_be_focused()
    assert page.evaluate("String(getSelection())") == "number 97"


def test_a_reader_stays_at_a_message_however_many_come(page: Page, emulator: EmulatorThread) -> None:
    chat = emulator.inbound(ANN, "number 0", line=LINE)["chat_id"]
    for number in range(1, 100):
        emulator.inbound(ANN, f"number {number}", chat_id=chat)
    row(page, "number 99").click()
    expect(bubble(page, "number 99")).to_be_visible()
    scroller = page.get_by_role("region", name="Messages of the conversation")
    scroller.evaluate("scroller => { scroller.scrollTop -= 600 }")
    expect(bubble(page, "number 75")).to_be_in_viewport()
    for number in range(100, 250):
        emulator.inbound(ANN, f"number {number}", chat_id=chat)
    expect(row(page, "number 249")).to_be_visible()
    expect(bubble(page, "number 75")).to_be_in_viewport()
    write(page, "what I write myself is shown")
    expect(bubble(page, "what I write myself is shown")).to_be_in_viewport()


def test_what_cannot_be_reached_is_said_and_details_stay(page: Page, emulator: EmulatorThread) -> None:
    two_chats(page, emulator)
    bubble(page, "I am Ann").click()
    expect(details(page)).to_contain_text("Identity")
    page.context.set_offline(True)
    write(page, "Do you hear me?")
    expect(page.get_by_role("status").filter(has_text="can't be reached")).to_be_visible()
    expect(box(page)).to_have_value("Do you hear me?")
    emulator.inbound(ANN, "News", line=LINE)
    page.context.set_offline(False)
    emulator.inbound(ANN, "More news", line=LINE)
    expect(bubble(page, "More news")).to_be_visible()
    expect(details(page)).to_contain_text("Identity")


def test_a_list_that_is_cut_says_so(page: Page, emulator: EmulatorThread) -> None:
    emulator.seed(2001, messages=2001, groups_share=0)
    rows = page.locator(".rows")

    def is_said() -> bool:
        rows.evaluate("rows => { rows.scrollTop = rows.scrollHeight }")
        return "2000 of 2001 chats" in page.locator("#list-foot").inner_text()

    wait_until(is_said, "the end of the list is reached")
    assert page.locator(".row").count() == 2000


def test_a_chat_that_is_gone_is_said_and_the_list_is_shown(
    open_page: Callable[..., Page], emulator: EmulatorThread
) -> None:
    emulator.inbound(ANN, "I am Ann", line=LINE)
    gone = "018f0000-0000-7000-8000-000000000000"
    page = open_page(f"{emulator.inbox}#chat={gone}", viewport=PHONE)
    expect(row(page, "I am Ann")).to_be_visible()
    expect(page.get_by_role("status").filter(has_text="not here any more")).to_be_visible()
    page.goto(f"{emulator.inbox}#chat={gone}&message={gone}")
    expect(row(page, "I am Ann")).to_be_visible()
    page.goto(f"{emulator.inbox}#chat=x&message=../../clock?")
    expect(row(page, "I am Ann")).to_be_visible()


def test_the_way_back_from_the_details_of_a_message_ends_in_the_list(
    open_page: Callable[..., Page], emulator: EmulatorThread
) -> None:
    emulator.inbound(ANN, "I am Ann", line=LINE)
    page = open_page(emulator.inbox, viewport=PHONE, has_touch=True)
    row(page, "I am Ann").tap()
    bubble(page, "I am Ann").locator(".text").tap()
    page.get_by_role("button", name="Back", exact=True).tap()
    page.get_by_role("button", name="Back to the chats").tap()
    expect(row(page, "I am Ann")).to_be_visible()


def test_a_small_window_that_is_zoomed_shows_messages_whatever_people_are_called(
    open_page: Callable[..., Page], emulator: EmulatorThread, client: LinqClient
) -> None:
    """1280 by 1024 at 400 %, and a handle that has no place to break."""
    long = "a" * 200 + "@example.com"
    client.chats.create(LINE, [long, ANN], text("Who comes?"))
    emulator.inbound(long, "only I", line=LINE)
    page = open_page(emulator.inbox, viewport={"width": 320, "height": 256})
    for name in ("only I", "Who comes?"):
        row(page, name).click()
        expect(bubble(page, name)).to_be_visible()
        scroller = page.locator(".scroller").bounding_box()
        assert scroller is not None
        assert scroller["height"] > 150
        for control in (page.locator(".actor"), page.get_by_role("button", name="Send as the person")):
            if control.is_visible():
                control.scroll_into_view_if_needed()
                expect(control).to_be_in_viewport(ratio=1)
        page.get_by_role("button", name="Back to the chats").click()


def test_what_is_written_from_right_to_left_is_cut_at_its_end(page: Page, emulator: EmulatorThread) -> None:
    emulator.inbound(ANN, "مرحبا بالعالم", line=LINE)
    expect(page.locator(".row-text")).to_have_css("direction", "rtl")


def test_a_result_of_a_search_that_is_gone_is_said(page: Page, emulator: EmulatorThread) -> None:
    two_chats(page, emulator)
    page.get_by_role("searchbox", name="Search messages").fill("I am Bob")
    expect(page.locator(".row.found")).to_have_count(1)
    emulator.reset()
    page.locator(".row.found").click()
    expect(page.get_by_role("status").filter(has_text="there is no such message")).to_be_visible()


def test_what_was_read_in_one_tab_is_read_in_all(page: Page, emulator: EmulatorThread, client: LinqClient) -> None:
    client.chats.create(LINE, ANN, text("Hello Ann"))
    client.chats.create(LINE, BOB, text("Hello Bob"))
    expect(page).to_have_title("(2) Linq emulator")
    other = page.context.new_page()
    other.goto(emulator.inbox)
    row(other, "Hello Ann").click()
    expect(other).to_have_title("(1) Linq emulator")
    expect(page).to_have_title("(1) Linq emulator")
    page.bring_to_front()
    row(page, "Hello Bob").click()
    expect(page).to_have_title("Linq emulator")
    page.reload()
    expect(page).to_have_title("Linq emulator")


def test_all_of_a_conversation_is_printed(page: Page, emulator: EmulatorThread) -> None:
    chat = emulator.inbound(ANN, "number 0", line=LINE)["chat_id"]
    for number in range(1, 70):
        emulator.inbound(ANN, f"number {number}", chat_id=chat)
    row(page, "number 69").click()
    expect(bubble(page, "number 69")).to_be_visible()
    page.emulate_media(media="print")
    first, last = (bubble(page, f"number {number}").first.bounding_box() for number in (0, 69))
    assert first is not None
    assert last is not None
    height = page.evaluate("document.documentElement.scrollHeight")
    assert first["y"] >= 0
    assert last["y"] + last["height"] <= height
    expect(page.get_by_role("navigation", name="Chats")).to_be_hidden()
    expect(box(page)).to_be_hidden()
