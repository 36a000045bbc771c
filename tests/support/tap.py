"""One emulator for all tests of the tap, as good as new for each."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from linq_client import LinqClient
from tests.support.emulator_process import Emulator, running_emulator

NOON = "2026-03-01T12:00:00Z"


@pytest.fixture(scope="session")
def emulator_process() -> Iterator[Emulator]:
    with running_emulator("--freeze", NOON) as started:
        yield started


@pytest.fixture
def emulator(emulator_process: Emulator) -> Emulator:
    """An emulator without chats, on a clock frozen at noon."""
    emulator_process.control("POST", "reset")
    emulator_process.control("POST", "clock", {"now": NOON, "freeze": True})
    return emulator_process


@pytest.fixture
def after_each_page(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Call something after each page of a path that the client has read: the world moves while the tap reads."""

    def install(path: str, happen: Any) -> None:
        request, pages = LinqClient.request, itertools.count(1)

        def watched(self: LinqClient, method: str, requested: str, **options: Any) -> Any:
            reply = request(self, method, requested, **options)
            if requested == path:
                happen(next(pages))
            return reply

        monkeypatch.setattr(LinqClient, "request", watched)

    return install
