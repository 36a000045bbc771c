"""A run that is asked to end does so, whatever it waits for; what it has read by then is out."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.hostile_api import HostileAPI, Response, Rule, media_part, on, refusal, serving, small_account
from tests.support.loaders import Extraction, end_of, start_tap

MESSAGES = r"/chats/[^/]+/messages"
#: Kubernetes kills after 30 s; the tap needs less than 5 on a machine that has nothing else to do.
SOON = 25
TOO_MANY = Response(refusal(429, 1007).body, 429, {"Retry-After": "100"})


def dripping_file(api: HostileAPI) -> None:
    for chat in api.chats:
        for message in chat.messages:
            message["parts"].append(media_part(f"{message['id']}-a", f"{api.url}/api/partner/v3/files/slow"))


#: What the API does, and the request after which the signal comes.
STATES: dict[str, tuple[Callable[[], list[Rule]], str]] = {
    "silence at the first request": (lambda: [on("/phone_numbers", Response(stall="silence"))], "/phone_numbers"),
    "silence of the list": (lambda: [on("/chats", Response(stall="silence"))], "/chats"),
    "silence of a chat": (lambda: [on(MESSAGES, Response(stall="silence"), skip=10)], "silent"),
    "a body that drips": (lambda: [on(MESSAGES, Response(stall="body"), skip=10)], "silent"),
    "headers that drip": (lambda: [on(MESSAGES, Response(stall="headers"), skip=10)], "silent"),
    "a pause after 429": (lambda: [on(MESSAGES, TOO_MANY, skip=10)], "silent"),
    "a pause after 429 at the first request": (lambda: [on("/phone_numbers", TOO_MANY)], "/phone_numbers"),
    "an outage": (lambda: [on(MESSAGES, Response(b"", 503), skip=10)], "silent"),
}


def interrupted(api: HostileAPI, folder: Path, name: str, number: signal.Signals) -> tuple[Extraction, float]:
    path = STATES[name][1]
    process, extraction = start_tap(api, folder, concurrency=2)
    try:
        if path == "silent":
            api.wait_for(MESSAGES, 11)
        else:
            api.wait_for(path)
        process.send_signal(number)
        began = time.monotonic()
        return end_of(process, extraction, timeout=60), time.monotonic() - began
    except subprocess.TimeoutExpired:
        pytest.fail(f"{name}: still running a minute after {number.name}")
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def check(extraction: Extraction, took: float, number: signal.Signals) -> None:
    assert extraction.code == 128 + number
    assert took < SOON
    assert "Traceback" not in extraction.log, extraction.log[-1_500:]
    assert extraction.output.read_bytes()[-1:] in (b"\n", b""), "ends between two lines"
    assert all(isinstance(message, dict) for message in extraction.messages())
    assert not extraction.bookmarks()


@pytest.mark.parametrize("name", STATES)
def test_sigterm(name: str, tmp_path: Path) -> None:
    api = HostileAPI(chats=small_account(40, 2))
    api.rules.extend(STATES[name][0]())
    with serving(api):
        extraction, took = interrupted(api, tmp_path, name, signal.SIGTERM)
    check(extraction, took, signal.SIGTERM)
    if STATES[name][1] == "silent":
        assert len(extraction.records("messages")) >= 8, "chats that had been read are not out"


@pytest.mark.parametrize("name", ["a body that drips", "a pause after 429"])
def test_sigint(name: str, tmp_path: Path) -> None:
    api = HostileAPI(chats=small_account(40, 2))
    api.rules.extend(STATES[name][0]())
    with serving(api):
        extraction, took = interrupted(api, tmp_path, name, signal.SIGINT)
    check(extraction, took, signal.SIGINT)


def test_sigterm_while_a_file_drips(tmp_path: Path) -> None:
    api = HostileAPI(chats=small_account(3, 1), rules=[on("/files/slow", Response(stall="body"))])
    with serving(api):
        dripping_file(api)
        process, extraction = start_tap(api, tmp_path, attachments_path=str(tmp_path / "files"))
        try:
            api.wait_for("/files/slow")
            process.terminate()
            began = time.monotonic()
            check(end_of(process, extraction, timeout=60), time.monotonic() - began, signal.SIGTERM)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    left = [file for _, _, files in os.walk(tmp_path / "files") for file in files]
    assert not left, "half a file"


def test_sigterm_in_the_midst_of_reading(tmp_path: Path) -> None:
    """All that is out is whole, and no bookmark says that more was read."""
    api = HostileAPI(chats=small_account(3_000, 2))
    with serving(api):
        process, extraction = start_tap(api, tmp_path)
        try:
            api.wait_for(MESSAGES, 200)
            process.terminate()
            began = time.monotonic()
            end_of(process, extraction, timeout=60)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    check(extraction, time.monotonic() - began, signal.SIGTERM)
    assert extraction.records("messages")


@pytest.mark.parametrize("stall", ["body", "headers", "silence"])
def test_an_answer_that_never_ends_ends_the_run_by_itself(stall: str, tmp_path: Path) -> None:
    """One chat stalls in each try: the others are out long before the run gives it up."""
    account = small_account(20, 2)
    stalled = f"/chats/{account[5].id}/messages"
    api = HostileAPI(chats=account, rules=[on(stalled, Response(stall=stall))])  # type: ignore[arg-type]
    with serving(api):
        process, extraction = start_tap(api, tmp_path)
        try:
            api.wait_for(stalled)
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline and extraction.output.read_bytes().count(b'"stream":"messages"') < 30:
                time.sleep(0.2)
            out = [line for line in extraction.output.read_bytes().splitlines() if b'"RECORD"' in line]
            found = {json.loads(line)["record"]["id"] for line in out if b'"stream":"messages"' in line}
        finally:
            process.kill()
            process.wait()
    assert len(found) >= 30, f"only {len(found)} of 38 messages are out while one chat stalls"


def test_a_loader_that_dies_ends_the_run(tmp_path: Path) -> None:
    """As `| head -5` does."""
    api = HostileAPI(chats=small_account(500, 2))
    with serving(api):
        config = tmp_path / "config.json"
        process, extraction = start_tap(api, tmp_path)
        process.kill()
        process.wait()
        command = f"tap-linq --config {config} 2>{tmp_path}/err.log | head -5 >{tmp_path}/head; echo ${{PIPESTATUS[0]}}"
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=120)
    assert extraction.code == -1
    assert done.stdout.strip() == "1"
    log = (tmp_path / "err.log").read_text()
    assert "Traceback" not in log
    assert log.strip()
