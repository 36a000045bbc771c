"""A run that is asked to end does so, whatever it waits for; what it has read by then is out."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest

from tests.support.hostile_api import KEY, HostileAPI, Response, Rule, media_part, on, refusal, serving, small_account
from tests.support.tap_runs import TAP, Extraction, command_line, start_tap

MESSAGES = r"/chats/[^/]+/messages"
#: Seconds after a signal; then it is a failure. The tap needs 5 on a machine that has nothing else to do.
A_MINUTE = 60
EXIT_CODES = {signal.SIGTERM: 143, signal.SIGINT: 130}
TOO_MANY = Response(refusal(429, 1007).body, 429, {"Retry-After": "100"})


#: What the API does, and after how many requests for what the signal comes.
STATES: dict[str, tuple[Callable[[], list[Rule]], str, int]] = {
    "silence at the first request": (lambda: [on("/phone_numbers", Response(stall="silence"))], "/phone_numbers", 1),
    "silence of the list": (lambda: [on("/chats", Response(stall="silence"))], "/chats", 1),
    "silence of a chat": (lambda: [on(MESSAGES, Response(stall="silence"), skip=10)], MESSAGES, 11),
    "a body that drips": (lambda: [on(MESSAGES, Response(stall="body"), skip=10)], MESSAGES, 11),
    "headers that drip": (lambda: [on(MESSAGES, Response(stall="headers"), skip=10)], MESSAGES, 11),
    "a pause after 429": (lambda: [on(MESSAGES, TOO_MANY, skip=10)], MESSAGES, 11),
    "a pause after 429 at the first request": (lambda: [on("/phone_numbers", TOO_MANY)], "/phone_numbers", 1),
    "an outage": (lambda: [on(MESSAGES, Response(b"", 503), skip=10)], MESSAGES, 11),
}


def check(extraction: Extraction, number: signal.Signals) -> None:
    assert extraction.code == EXIT_CODES[number], extraction.log[-1_500:]
    assert "Traceback" not in extraction.log, extraction.log[-1_500:]
    assert extraction.output.read_bytes()[-1:] in (b"\n", b""), "ends between two lines"
    assert all(isinstance(message, dict) for message in extraction.messages)
    assert not extraction.bookmarks
    assert extraction.last_line.strip()


def interrupt(name: str, number: signal.Signals, folder: Path, **options: Any) -> Extraction:
    rules, path, count = STATES[name]
    api = HostileAPI(chats=small_account(40, 2), rules=rules())
    with serving(api):
        run = start_tap(api, folder, concurrency=2, **options)
        try:
            api.wait_for(path, count)
        finally:
            run.send(number)
            extraction = run.end(A_MINUTE)
    check(extraction, number)
    return extraction


@pytest.mark.parametrize("name", STATES)
def test_sigterm(name: str, tmp_path: Path) -> None:
    extraction = interrupt(name, signal.SIGTERM, tmp_path)
    if STATES[name][1] == MESSAGES:
        assert len(extraction.records("messages")) >= 8, "chats that had been read are not out"


@pytest.mark.parametrize("name", ["a body that drips", "a pause after 429"])
def test_sigint(name: str, tmp_path: Path) -> None:
    interrupt(name, signal.SIGINT, tmp_path)


def test_the_installed_program_ends_so(tmp_path: Path) -> None:
    interrupt("silence of a chat", signal.SIGTERM, tmp_path, as_program=True)


def test_sigterm_while_a_file_drips(tmp_path: Path) -> None:
    api = HostileAPI(chats=small_account(3, 1), rules=[on("/files/slow", Response(stall="body"))])
    with serving(api):
        for chat in api.chats:
            for message in chat.messages:
                message["parts"].append(media_part(f"{message['id']}-a", f"{api.url}/api/partner/v3/files/slow"))
        run = start_tap(api, tmp_path, attachments_path=str(tmp_path / "files"))
        try:
            api.wait_for("/files/slow")
        finally:
            run.send(signal.SIGTERM)
            extraction = run.end(A_MINUTE)
    check(extraction, signal.SIGTERM)
    left = [file for _, _, files in os.walk(tmp_path / "files") for file in files]
    assert not left, "half a file"


def test_sigterm_in_the_midst_of_reading(tmp_path: Path) -> None:
    """All that is out is whole, and no bookmark says that more was read."""
    api = HostileAPI(chats=small_account(2_000, 1))
    with serving(api):
        run = start_tap(api, tmp_path)
        try:
            api.wait_for(MESSAGES, 200)
        finally:
            run.send(signal.SIGTERM)
            extraction = run.end(A_MINUTE)
    check(extraction, signal.SIGTERM)
    assert extraction.records("messages")


@pytest.mark.parametrize("stall", ["body", "headers", "silence"])
def test_a_chat_that_stalls_holds_up_no_other(stall: Literal["body", "headers", "silence"], tmp_path: Path) -> None:
    """The others are out long before it is given up."""
    account = small_account(20, 2)
    api = HostileAPI(chats=account, rules=[on(f"/chats/{account[5].id}/messages", Response(stall=stall))])
    with serving(api):
        run = start_tap(api, tmp_path)
        output = run.folder / "out.singer"
        deadline = time.monotonic() + A_MINUTE
        try:
            while output.read_bytes().count(b'"stream":"messages"') < 31 and time.monotonic() < deadline:
                assert not run.is_over()
                time.sleep(0.2)
        finally:
            run.send(signal.SIGKILL)
            run.end()
    lines = [line for line in output.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
    messages = [one for one in map(json.loads, lines) if one["type"] == "RECORD" and one["stream"] == "messages"]
    assert len(messages) >= 30, f"only {len(messages)} of 38 messages are out while one chat stalls"


def test_a_loader_that_dies_ends_the_run(tmp_path: Path) -> None:
    """As `| head -5` does."""
    api = HostileAPI(chats=small_account(500, 2))
    with serving(api):
        config = command_line(tmp_path, {"config": {"api_key": KEY, "base_url": api.base_url}})
        command = f"{TAP} {' '.join(config)} 2>{tmp_path}/err.log | head -5 >{tmp_path}/head; echo ${{PIPESTATUS[0]}}"
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=240)
    assert done.stdout.strip() == "1"
    log = (tmp_path / "err.log").read_text()
    assert "Traceback" not in log
    assert log.strip()
