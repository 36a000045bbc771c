"""A real Chromium, an emulator, and its page. Without a browser, all of this folder is skipped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from linq_client import LinqClient
from linq_emulator.testing import EmulatorThread
from tests.support.browser import browser as browser  # a fixture

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page

OUTPUT = Path(__file__).parents[3] / "output" / "ui"
WIDE, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def shared_emulator() -> Iterator[EmulatorThread]:
    with EmulatorThread() as emulator:
        yield emulator


@pytest.fixture
def emulator(shared_emulator: EmulatorThread) -> EmulatorThread:
    """An emulator as if it had just been started."""
    shared_emulator.restart()
    return shared_emulator


@pytest.fixture
def client(emulator: EmulatorThread) -> Iterator[LinqClient]:
    """The API as code under test uses it."""
    with LinqClient(emulator.api_key, base_url=emulator.base_url) as client:
        yield client


def _is_ours(message: ConsoleMessage) -> bool:
    # The browser's own word on a refused command, or on an emulator that has ended.
    return message.type == "error" and not message.text.startswith("Failed to load resource")


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Opens pages, each in a browser profile of its own. What a page reports as an error fails the test."""
    contexts: list[BrowserContext] = []
    errors: list[str] = []

    def start(url: str, **options: Any) -> Page:
        context = browser.new_context(**{"viewport": WIDE, **options})
        context.set_default_timeout(60_000)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: errors.append(message.text) if _is_ours(message) else None)
        page.goto(url)
        return page

    yield start
    for context in contexts:
        context.close()
    assert errors == []


@pytest.fixture
def page(emulator: EmulatorThread, open_page: Callable[..., Page]) -> Page:
    """The inbox of the emulator."""
    assert emulator.inbox is not None
    return open_page(emulator.inbox)
