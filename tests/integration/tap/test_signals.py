"""A run that a signal ends says so in its exit code and in one line, and leaves whole lines, whatever it is doing."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import termios
import time
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.emulator_process import Emulator
from tests.support.running import FIRST_LINE, TAP, config_for, run_tap, seed
from tests.support.small_api import Handler, small_api
from tests.support.waiting import PATIENCE, wait_until

MESSAGES = r"/v3/chats/c00001/messages"


@contextmanager
def started(
    tmp_path: Path, config: dict[str, Any], *arguments: str, into_pipe: bool = True, **env: str
) -> Iterator[subprocess.Popen[bytes]]:
    """A run of the program, whose log goes to a file; so does its output, which then never waits, or into a pipe."""
    (tmp_path / "config.json").write_text(json.dumps(config))
    with (
        (tmp_path / "log").open("wb") as log,
        (tmp_path / "out").open("wb") as out,
        subprocess.Popen(
            [TAP, "--config", tmp_path / "config.json", *arguments],
            stdout=subprocess.PIPE if into_pipe else out,
            stderr=log,
            env={**os.environ, **env},
        ) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


def ended(process: subprocess.Popen[bytes], sign: signal.Signals, tmp_path: Path) -> list[dict[str, Any]]:
    """Send a signal, which must end the run with its code and one line, and return what was written."""
    process.send_signal(sign)
    out = process.stdout.read() if process.stdout else b""
    assert process.wait(timeout=PATIENCE) == 128 + sign
    out += (tmp_path / "out").read_bytes()
    log = (tmp_path / "log").read_text()
    assert f"ended by {sign.name}; bookmarks of lines that were not read to their end stay" in log.splitlines()[-1]
    assert "Traceback" not in log
    assert not out or out.endswith(b"\n")
    messages = [json.loads(line) for line in out.splitlines()]
    assert "swept_at" not in json.dumps([one for one in messages if one["type"] == "STATE"])
    return messages


def silence(handler: Handler, _: dict[str, str]) -> None:
    time.sleep(300)


def trickle(handler: Handler, _: dict[str, str]) -> None:
    handler.begin(length=9999)
    while True:
        handler.wfile.write(b" ")
        time.sleep(0.2)


def limit(handler: Handler, _: dict[str, str]) -> None:
    wait_until_all_chats_are_read(handler)
    handler.begin(429, Retry_After="3600")


def outage(handler: Handler, _: dict[str, str]) -> None:
    wait_until_all_chats_are_read(handler)
    handler.send(b"<html>", 503)


def wait_until_all_chats_are_read(handler: Handler) -> None:
    """Wait until each has been asked for: after these answers the tap asks for nothing else, for an hour or a while."""
    for chat_id in handler.server.chats:
        handler.server.wait_for(f"/v3/chats/{chat_id}/messages")


def media(handler: Handler, _: dict[str, str]) -> None:
    message = handler.server.message("c00001", 0)
    url = f"{handler.server.origin}/v3/file"
    message["parts"] = [{"type": "media", "id": "file-1", "url": url, "size_bytes": 9999}]
    handler.send({"messages": [message], "next_cursor": None})


@pytest.mark.parametrize(
    ("sign", "answers", "wait_for", "times"),
    [
        (signal.SIGTERM, {MESSAGES: silence}, MESSAGES, 1),
        (signal.SIGINT, {MESSAGES: trickle}, MESSAGES, 1),
        (signal.SIGTERM, {MESSAGES: limit}, MESSAGES, 1),
        (signal.SIGINT, {MESSAGES: outage}, MESSAGES, 3),
        (signal.SIGTERM, {MESSAGES: media, "/v3/file": trickle}, "/v3/file", 1),
    ],
    ids=["silence", "trickle", "limit", "outage", "file"],
)
def test_a_signal_while_chats_are_read(
    tmp_path: Path, sign: signal.Signals, answers: dict[str, Any], wait_for: str, times: int
) -> None:
    with small_api(messages=100) as api:
        api.answers.update(answers)
        with started(tmp_path, api.config(attachments_path=str(tmp_path / "files")), into_pipe=False) as process:
            api.wait_for(wait_for, times)
            # When a message comes out, the second page is being written: two are more than the tap puts together.
            wait_until(lambda: b'"RECORD","stream":"messages"' in (tmp_path / "out").read_bytes(), "messages come out")
            messages = ended(process, sign, tmp_path)
    streams = [one["stream"] for one in messages if one["type"] == "RECORD"]
    assert streams.count("chats") == 3
    assert streams.count("messages") >= 200, "what was read is written"


@pytest.mark.parametrize(("sign", "arguments"), [(signal.SIGTERM, []), (signal.SIGINT, ["--test"])])
def test_a_signal_during_the_first_request(tmp_path: Path, sign: signal.Signals, arguments: list[str]) -> None:
    with small_api() as api:
        api.answers["/v3/phone_numbers"] = silence
        with started(tmp_path, api.config(), *arguments) as process:
            api.wait_for("/v3/phone_numbers")
            ended(process, sign, tmp_path)


@pytest.mark.parametrize(("sign", "unbuffered"), [(signal.SIGTERM, "1"), (signal.SIGINT, "")])
def test_a_signal_while_the_pipe_is_full(
    emulator: Emulator, tmp_path: Path, sign: signal.Signals, unbuffered: str
) -> None:
    seed(emulator, 40, 60, lines=[FIRST_LINE])
    with started(tmp_path, config_for(emulator), PYTHONUNBUFFERED=unbuffered) as process:
        wait_until_full(process)
        messages = ended(process, sign, tmp_path)
    assert 20 < len(messages) < 2400, "some, and not all"
    ids = [one["record"]["id"] for one in messages if one.get("stream") == "messages" and "record" in one]
    assert len(ids) == len(set(ids))


def test_a_signal_while_nobody_ever_reads_again(emulator: Emulator, tmp_path: Path) -> None:
    """Then what waits to be written is lost, and the code is all that can be said."""
    seed(emulator, 40, 60, lines=[FIRST_LINE])
    with started(tmp_path, config_for(emulator)) as process:
        wait_until_full(process)
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=PATIENCE) in (128 + signal.SIGTERM, 128 + signal.SIGINT)


def wait_until_full(process: subprocess.Popen[bytes]) -> None:
    """Wait until a run can't write any more: nobody reads, and no more comes.

    How much fits is not asked: a pipe holds pages, and writes of a few bytes fill them only in part. It is more than
    half of 64 kB.
    """
    before, unchanged = -1, 0
    while unchanged < 10 and process.poll() is None:
        now = waiting_in(process)
        unchanged = unchanged + 1 if now == before and now > 32_768 else 0
        before = now
        time.sleep(0.2)


def waiting_in(process: subprocess.Popen[bytes]) -> int:
    assert process.stdout is not None
    size = array("i", [0])
    fcntl.ioctl(process.stdout.fileno(), termios.FIONREAD, size)
    return size[0]


def test_state_that_belongs_to_no_line_is_passed_over(emulator: Emulator) -> None:
    output = run_tap(emulator, state={"bookmarks": {"messages": {"partitions": [{}]}}})
    assert output.error is None
    assert set(output.bookmarks()) == set(emulator.lines)


#: A program that has work of its own, and runs the tap as a part of it, in the main thread, where it hears of a signal
#: meanwhile, or in another. What it writes is not the tap's.
HOST = """
import json, signal, sys, threading
from tap_linq.tap import TapLinq

where, how, config = sys.argv[1:]
SIGNALS = signal.SIGTERM, signal.SIGINT
signal.signal(signal.SIGTERM, lambda number, frame: said.append("hosts own"))
said = []

def look():
    return [signal.getsignal(one) for one in SIGNALS] + [signal.set_wakeup_fd(-1)]

def run():
    try:
        if how == "command":
            TapLinq.cli(["--config", config, "--discover"], standalone_mode=False)
        else:
            tap = TapLinq(config=json.loads(open(config).read()))
            with tap.running():
                tap.sync_all()
        said.append("done")
    except BaseException as error:
        said.append(f"{type(error).__name__} {error}")

before = look()
if where == "main":
    run()
else:
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
assert look() == before, "the handlers are not the hosts"
signal.raise_signal(signal.SIGTERM)
print(json.dumps(said), file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("where", "how", "kill", "said"),
    [
        ("main", "run", False, "done"),
        ("thread", "run", False, "done"),
        ("main", "command", False, "done"),
        ("thread", "command", False, "done"),
        ("main", "run", True, "SignalExit 143"),
    ],
)
def test_a_program_that_runs_the_tap_keeps_its_signals(
    tmp_path: Path, where: str, how: str, kill: bool, said: str
) -> None:
    with small_api() as api:
        if kill:
            api.answers[MESSAGES] = silence
        (tmp_path / "config.json").write_text(json.dumps(api.config()))
        arguments = [sys.executable, "-c", HOST, where, how, tmp_path / "config.json"]
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            if kill:
                api.wait_for(MESSAGES)
                process.send_signal(signal.SIGTERM)
            written, log = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, log[-1_500:]
    assert json.loads(log.splitlines()[-1]) == [said, "hosts own"]
    assert written.endswith(("}\n", "}\r\n"))


#: The tap, whose main thread hears of a signal at the worst moment: it has given a lock away to wait for an event, and
#: can't take it back. Which is not to be had by sending one.
AT_A_WAIT = """
import os, signal, sys, threading
from tap_linq.tap import TapLinq

give_away = threading.Condition._release_save

def interrupted(self):
    saved = give_away(self)
    if threading.current_thread() is threading.main_thread() and sys._getframe(2).f_code.co_name == "get":
        os.kill(os.getpid(), signal.SIGTERM)
    return saved

threading.Condition._release_save = interrupted
TapLinq.cli()
"""


def test_a_signal_that_comes_as_a_lock_is_given_away(emulator: Emulator, tmp_path: Path) -> None:
    seed(emulator, 3, 2)
    (tmp_path / "config.json").write_text(json.dumps(config_for(emulator)))
    run = subprocess.run(
        [sys.executable, "-c", AT_A_WAIT, "--config", tmp_path / "config.json"],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert run.returncode == 128 + signal.SIGTERM, run.stderr[-1_500:]
    assert "ended by SIGTERM" in run.stderr.splitlines()[-1]
    assert "Traceback" not in run.stderr
