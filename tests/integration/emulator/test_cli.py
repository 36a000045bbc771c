"""The command line: one line of JSON, one line for an error, a clean end."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from linq_emulator.__main__ import main

ROOT = Path(__file__).parents[3]


def launch(*options):
    return subprocess.Popen(
        [sys.executable, "-m", "linq_emulator", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )


def run(*options):
    process = launch(*options)
    stdout, stderr = process.communicate(timeout=300)
    return process.returncode, stdout, stderr.splitlines()


def test_its_one_line_says_how_to_reach_it():
    with launch("--port", "0", "--api-key", "k", "--line", "+12025550177", "--opted-out", "+12025550188") as process:
        try:
            printed = json.loads(process.stdout.readline())
            headers = {"Authorization": f"Bearer {printed['api_key']}"}
            numbers = requests.get(f"{printed['base_url']}/v3/phone_numbers", headers=headers, timeout=300).json()
        finally:
            process.terminate()
    base_url = printed.pop("base_url")
    assert base_url.endswith("/api/partner")
    assert printed.pop("inbox") == base_url.removesuffix("api/partner")
    assert printed == {"api_key": "k", "lines": ["+12025550177"], "opted_out": ["+12025550188"]}
    assert [number["phone_number"] for number in numbers["phone_numbers"]] == ["+12025550177"]


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
        (["--allow-host", "emulator:8181"], "--allow-host"),
    ],
)
def test_a_wrong_option_gets_one_line(options, named, monkeypatch, capfd):
    """In this process: to start another takes a second, and the next test does."""
    monkeypatch.setattr(sys, "argv", ["linq-emulator", *options])
    with pytest.raises(SystemExit) as ended:
        main()
    stdout, stderr = capfd.readouterr()
    assert (ended.value.code, stdout, len(stderr.splitlines())) == (2, "", 1)
    assert named in stderr


def test_a_wrong_option_ends_the_program():
    status, stdout, errors = run("--nope")
    assert (status, stdout, len(errors)) == (2, "", 1)
    assert "--nope" in errors[0]


def test_a_port_in_use_gets_one_line():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        status, _, errors = run("--port", str(taken.getsockname()[1]))
    assert (status, len(errors)) == (1, 1)
    assert "cannot listen" in errors[0]


def test_the_document_is_printed_and_served(server):
    status, stdout, stderr = run("--openapi", "--port", "8282")
    assert (status, stderr) == (0, [])
    printed, served = json.loads(stdout), server.control("GET", "openapi.json")
    assert printed.pop("servers") == [{"url": "http://127.0.0.1:8282/api/partner"}]
    assert served.pop("servers") == [{"url": server.base_url}]
    assert printed == served
    assert printed["paths"]["/v3/messages/{message_id}"]["patch"]["responses"].keys() >= {"200", "204", "400", "404"}


def test_the_help_starts_nothing():
    status, stdout, errors = run("--help")
    assert (status, errors) == (0, [])
    assert "--ephemeral-hours" in stdout


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_quickly_and_cleanly(number):
    with launch("--port", "0") as process:
        base_url = json.loads(process.stdout.readline())["base_url"]
        with requests.Session() as session:
            assert session.get(f"{base_url}/v3/phone_numbers", timeout=300).status_code == 401
            process.send_signal(number)
            assert process.wait(60) == 0
        assert process.stderr.read() == ""


def test_options_reach_the_state(start):
    server = start(switches={"create_chat_message": "both"}, ephemeral_hours=2, freeze="2026-01-01T00:00:00Z")
    body = {"from": "+12025550101", "to": ["+12025550150"], "message": {"parts": [{"type": "text", "value": "x"}]}}
    answer = server.ok("POST", "/v3/chats", body)
    assert answer["message"] == answer["chat"]["message"]
    assert answer["message"]["created_at"] == "2026-01-01T00:00:00.000Z"
    server.advance(2 * 3600 + 1)
    server.advance(300)
    assert server.refused("GET", f"/v3/messages/{answer['message']['id']}") == (404, 2002)


def test_a_seed_makes_identifiers_repeatable(start):
    options = {"seed": 3, "freeze": "2026-01-01T00:00:00Z"}
    first, second = start(**options), start(**options)
    assert first.create("+12025550150")["id"] == second.create("+12025550150")["id"]
