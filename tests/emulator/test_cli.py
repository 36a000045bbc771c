"""The command line: one line of JSON, one line of complaint, a clean end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(*options):
    return subprocess.run(
        [sys.executable, "-m", "linq_emulator", *options],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        timeout=20,
    )


def test_tells_how_to_reach_it(start):
    server = start("--api-key", "k", "--line", "+12025550177", "--opted-out", "+12025550188")
    assert server.base_url.endswith("/api/partner")
    assert server.info["api_key"] == "k"
    assert server.info["lines"] == ["+12025550177"]
    assert server.info["opted_out"] == ["+12025550188"]
    assert [one["phone_number"] for one in server.ok("GET", "/v3/phone_numbers")["phone_numbers"]] == ["+12025550177"]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--nope"], "--nope"),
        (["--line", "12025550101"], "--line"),
        (["--opted-out", "someone"], "--opted-out"),
        (["--switch", "no_such=1"], "no_such"),
        (["--switch", "cursor=sideways"], "cursor"),
        (["--switch", "cursor"], "name=value"),
        (["--port", "70000"], "--port"),
        (["--ephemeral-hours", "25"], "--ephemeral-hours"),
        (["--freeze", "yesterday"], "--freeze"),
        (["--speed", "0"], "--speed"),
    ],
)
def test_a_wrong_option_gets_one_line(options, named):
    done = run(*options)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert named in done.stderr


def test_a_port_in_use_gets_one_line():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = run("--port", str(taken.getsockname()[1]))
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "cannot listen" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_quickly_and_cleanly(start, number):
    server = start()
    server.ok("GET", "/v3/phone_numbers")
    began = time.monotonic()
    server.process.send_signal(number)
    assert server.process.wait(10) == 0
    assert time.monotonic() - began < 3


def test_options_reach_the_state(start):
    server = start("--switch", "create_chat_message=both", "--ephemeral-hours", "2", "--freeze", "2026-01-01T00:00:00Z")
    body = {"from": "+12025550101", "to": ["+12025550150"], "message": {"parts": [{"type": "text", "value": "x"}]}}
    answer = server.ok("POST", "/v3/chats", body)
    assert answer["message"] == answer["chat"]["message"]
    assert answer["message"]["created_at"] == "2026-01-01T00:00:00.000Z"
    server.advance(2 * 3600 + 1)
    server.advance(300)
    assert server.refused("GET", f"/v3/messages/{answer['message']['id']}") == (404, 2002)


def test_a_seed_makes_identifiers_repeatable(start):
    options = ("--seed", "3", "--freeze", "2026-01-01T00:00:00Z")
    first, second = start(*options), start(*options)
    assert first.create("+12025550150")["id"] == second.create("+12025550150")["id"]
