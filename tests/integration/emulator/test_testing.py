"""`linq_emulator.testing`: starting an emulator, every command of the control API, and the pytest fixtures."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import threading
from datetime import datetime, timedelta, timezone
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
import requests

from linq_emulator.testing import ControlError, Emulator, EmulatorProcess, EmulatorThread
from tests.support.waiting import PATIENCE, wait_until

ROOT = Path(__file__).parents[3]
LINE, ANN, BOB = "+12025550177", "+12025550150", "+12025550151"
START = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)

both = pytest.mark.parametrize("start", [EmulatorProcess, EmulatorThread])


def ask(emulator, method, path, body=None, key=None):
    headers = {"Authorization": f"Bearer {key or emulator.api_key}"}
    response = requests.request(method, f"{emulator.base_url}/v3/{path}", json=body, headers=headers, timeout=60)
    assert response.ok, response.text
    return response.json()


def send(emulator, to, text="Hello"):
    message = {"parts": [{"type": "text", "value": text}]}
    return ask(emulator, "POST", "chats", {"from": emulator.lines[0], "to": [to], "message": message})["chat"]


def is_listening(emulator):
    try:
        requests.get(emulator.base_url, timeout=60)
    except requests.ConnectionError:
        return False
    return True


# --- starting ---------------------------------------------------------------------------------------------------


@both
def test_options(start):
    with start(
        api_key="secret",
        lines=[LINE, "+12025550178"],
        opted_out=[BOB],
        ephemeral_hours=1.5,
        seed=3,
        switches={"cursor": "key", "empty_pages": True, "delivery_seconds": 0.5},
        freeze=START,
        speed=60,
    ) as emulator:
        assert (emulator.api_key, emulator.lines, emulator.opted_out) == ("secret", [LINE, "+12025550178"], [BOB])
        assert emulator.now() == START
        assert emulator.control("GET", "clock")["speed"] == 60
        switches = emulator.switches()
        assert (switches["cursor"], switches["empty_pages"], switches["delivery_seconds"]) == ("key", True, 0.5)
        assert emulator.set_handle(BOB)["opted_out"]
        assert emulator.set_line(LINE)["retention_hours"] == 1.5
        with start(seed=3, freeze="2026-03-01T12:00:00Z", lines=[LINE, "+12025550178"]) as other:
            assert other.base_url != emulator.base_url
            assert send(other, ANN)["id"] == send(emulator, ANN)["id"], "the same seed"


@both
def test_it_stops(start):
    with start() as emulator:
        assert is_listening(emulator)
    assert not is_listening(emulator)
    emulator.stop()


@both
def test_a_wrong_option_is_an_error(start):
    with pytest.raises(RuntimeError, match=r"did not start(.|\n)*cursor: must be one of"):
        start(switches={"cursor": "sideways"})


@both
@pytest.mark.parametrize("freeze", ["2026-03-01T12:00:00Z", None])
def test_restart_is_as_good_as_new(start, freeze):
    with start(switches={"cursor": "key"}, **({"freeze": freeze} if freeze else {})) as emulator:
        send(emulator, ANN)
        emulator.set_switches(cursor="offset")
        emulator.fault("reset")
        emulator.set_clock(freeze=True, advance=3600, speed=7)
        emulator.restart()
        assert emulator.ledger() == emulator.faults() == []
        assert emulator.switches()["cursor"] == "key"
        clock = emulator.control("GET", "clock")
        assert (clock["frozen"], clock["speed"]) == (freeze is not None, 1)
        assert abs(emulator.now() - (START if freeze else datetime.now(timezone.utc))) < timedelta(seconds=60)


def test_a_process_ends_with_the_program_that_started_it_and_not_with_its_forks():
    code = """
        import os, sys
        from linq_emulator.testing import EmulatorProcess
        emulator = EmulatorProcess()
        if os.fork() == 0:
            sys.exit(0)
        os.wait()
        emulator.now()
        print(emulator.pid)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE
    )
    assert (done.returncode, done.stderr) == (0, "")
    with pytest.raises(ProcessLookupError):
        os.kill(int(done.stdout), 0)


@both
def test_a_program_that_never_stops_it_ends_cleanly(start):
    code = f"from linq_emulator.testing import {start.__name__}; {start.__name__}().advance(1)"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=ROOT, capture_output=True, timeout=PATIENCE)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_process_ends_with_the_program_that_was_killed():
    code = """
        import os, signal
        from linq_emulator.testing import EmulatorProcess
        print(EmulatorProcess().pid, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=PATIENCE
    )
    assert done.returncode == -signal.SIGKILL

    def is_over():
        try:
            return psutil.Process(int(done.stdout)).status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True

    wait_until(is_over, "the emulator has ended")


def test_a_process_that_has_died_is_named_with_its_signal_and_can_be_stopped():
    with EmulatorProcess() as emulator:
        emulator.check_running()
        os.kill(emulator.pid, signal.SIGKILL)
        for command in (emulator.now, emulator.check_running):
            with pytest.raises(RuntimeError, match=r"has ended by itself \(killed by SIGKILL\), and wrote nothing"):
                command()
    emulator.check_running()


def test_the_package_is_found_from_another_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    with EmulatorProcess() as emulator:
        assert emulator.now()


# --- commands ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shared():
    with EmulatorThread(freeze=START, seed=1) as emulator:
        yield emulator


@pytest.fixture
def emulator(shared):
    shared.restart()
    return shared


def test_an_emulator_that_somebody_else_started(emulator):
    known = Emulator(emulator.base_url, emulator.api_key, emulator.lines)
    known.advance(1)
    assert emulator.now() == START + timedelta(seconds=1)


def test_the_clock(emulator):
    assert emulator.set_clock(now=START - timedelta(hours=1), advance=0.5)["now"] == "2026-03-01T11:00:00.500Z"
    state = emulator.set_clock(freeze=False, speed=1000)
    assert (state["frozen"], state["speed"]) == (False, 1000)
    first = emulator.now()
    while emulator.now() == first:
        pass
    assert emulator.set_clock(freeze=True)["frozen"]
    assert emulator.now() == emulator.now() > first


def test_a_refused_command(emulator):
    with pytest.raises(ControlError, match="must be an outbound message") as caught:
        emulator.report_receipt(emulator.inbound(ANN, "Hi")["id"], "read")
    assert (caught.value.status, caught.value.field) == (400, "message_id")
    with pytest.raises(ControlError) as caught:
        emulator.set_switches(cursor="sideways")
    assert (caught.value.status, caught.value.field, caught.value.rule) == (400, "cursor", "must be one of offset, key")
    with pytest.raises(ControlError) as caught:
        emulator.remove_fault(7)
    assert caught.value.status == 404
    with pytest.raises(ControlError) as caught:
        emulator.control("GET", "no-such-thing")
    assert caught.value.status == 404


def test_contacts(emulator):
    line = emulator.lines[1]
    first = emulator.inbound(ANN, "Hi", line=line, service="RCS")
    assert (emulator.ledger()[0]["line"], first["service"]) == (line, "RCS")
    emulator.advance(10)
    late = emulator.inbound(
        ANN,
        chat_id=first["chat_id"],
        parts=[{"type": "text", "value": "Late"}],
        reply_to=first["id"],
        sent_at=START,
        reconciled=True,
    )
    assert (late["chat_id"], late["sent_at"]) == (first["chat_id"], "2026-03-01T12:00:00.000Z")
    assert late["reply_to"]["message_id"] == first["id"]
    assert "reconciled_at" in late
    assert emulator.edit_message(late["id"], "Later")["parts"][0]["value"] == "Later"
    reacted = emulator.react(first["id"], ANN, "custom", custom_emoji="\N{PARTY POPPER}", part_index=0)
    assert len(reacted["parts"][0]["reactions"]) == 1
    emulator.react(first["id"], ANN, "custom", custom_emoji="\N{PARTY POPPER}", operation="remove")
    assert emulator.ledger()[0]["reactions"] == []
    emulator.set_typing(first["chat_id"], ANN)
    emulator.set_typing(first["chat_id"], ANN, started=False)
    assert emulator.set_handle(ANN, services=["SMS"], opted_out=True, blocked=True) == {
        "handle": ANN,
        "services": ["SMS"],
        "opted_out": True,
        "blocked": True,
        "shares_location": False,
    }
    assert emulator.inbound(ANN, "Dropped") == {"dropped": True}
    place = {"longitude": 1.5, "latitude": 2}
    assert emulator.set_handle(ANN, location=place, blocked=False)["shares_location"]
    assert emulator.set_handle(ANN, opted_out=False)["shares_location"], "what is not named stays"
    assert not emulator.set_handle(ANN, location=None)["shares_location"]


def test_the_platform(emulator):
    assert emulator.set_line(LINE, zero_retention=True)["zero_retention"]
    assert not emulator.set_line(LINE, zero_retention=False)["zero_retention"]
    changed = emulator.set_line(LINE, ineligible=True, reputation="AT_RISK", retention_hours=2, line_type="RCS")
    assert (changed["ineligible"], changed["reputation"]["status"]) == (True, "AT_RISK")
    assert (changed["retention_hours"], changed["line_type"]) == (2, "RCS")
    assert emulator.set_line(LINE, ineligible=False)["retention_hours"] == 2, "what is not named stays"
    assert emulator.set_line(LINE, retention_hours=None)["retention_hours"] is None
    chat = send(emulator, ANN)
    emulator.set_chat_health(chat["id"], "CRITICAL")
    assert ask(emulator, "GET", f"chats/{chat['id']}")["health_status"]["status"] == "CRITICAL"
    assert emulator.report_receipt(chat["message"]["id"], "failed", code=4002)["delivery_status"] == "failed"
    assert emulator.report_receipt(chat["message"]["id"], "delivered")["delivery_status"] == "delivered"


def test_seeds(emulator):
    made = emulator.seed(
        4,
        messages=20,
        lines=[LINE],
        hours=1,
        inbound_share=1,
        groups_share=0,
        text_bytes=30,
        seed=5,
        warm=True,
    )
    assert (made["chats"], made["messages"], made["lines"]) == (4, 20, [LINE])
    assert {(entry["direction"], len(entry["text"])) for entry in emulator.ledger()} == {("inbound", 30)}
    assert len(emulator.seed(1, messages_per_chat=2, lines=4)["lines"]) == 4


def test_faults(emulator):
    fault = emulator.fault(
        "status",
        path="^/v3/chats$",
        method="get",
        when="after",
        probability=1,
        count=2,
        status=429,
        code=1007,
        retry_after=3,
    )
    slow = emulator.fault("latency", seconds=0)
    with pytest.raises(AssertionError, match="injected fault"):
        ask(emulator, "GET", "chats")
    assert [(each["id"], each["hits"]) for each in emulator.faults()] == [(fault["id"], 1), (slow["id"], 1)]
    assert (fault["status"], fault["code"], fault["retry_after"], fault["method"]) == (429, 1007, 3, "GET")
    emulator.remove_fault(fault["id"])
    assert ask(emulator, "GET", "chats")["chats"] == []
    emulator.clear_faults()
    assert emulator.faults() == []


def test_ledger_and_logs(emulator):
    body = {"target_url": "https://hooks.example/linq", "subscribed_events": ["message.received"]}
    ask(emulator, "POST", "webhook-subscriptions", body)
    emulator.inbound(ANN, "Hi")
    assert [entry["text"] for entry in emulator.ledger()] == ["Hi"]
    assert [(each["method"], each["path"]) for each in emulator.requests_served()] == [
        ("POST", "/v3/webhook-subscriptions")
    ]
    assert emulator.request_summary() == [
        {"method": "POST", "route": "/v3/webhook-subscriptions", "status": 201, "count": 1}
    ]
    assert [each["state"] for each in emulator.webhook_deliveries()] == ["undeliverable"]


def test_threads_share_an_emulator(emulator):
    threads = [threading.Thread(target=emulator.advance, args=(1,)) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert emulator.now() == START + timedelta(seconds=20)


def test_a_proxy_of_the_environment_is_not_asked(emulator, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "")
    assert emulator.now() == START


# --- waiting ----------------------------------------------------------------------------------------------------


def test_messages_are_waited_for(emulator):
    emulator.inbound(ANN, "Hi")
    senders = [threading.Thread(target=send, args=(emulator, to)) for to in (ANN, BOB)]
    for sender in senders:
        sender.start()
    assert {entry["to"][0] for entry in emulator.wait_for(2, direction="outbound")} == {ANN, BOB}
    assert [entry["text"] for entry in emulator.wait_for(1, direction="inbound")] == ["Hi"]
    assert len(emulator.wait_for(3)) == 3
    assert emulator.ledger(skip=1) == emulator.ledger()[1:]
    assert emulator.ledger(skip=9) == []
    for sender in senders:
        sender.join()
    with pytest.raises(TimeoutError, match="3 of 4 messages were accepted within 0 seconds"):
        emulator.wait_for(4, timeout=0)
    with pytest.raises(ControlError, match="skip: must be a number"):
        emulator.ledger(skip=-1)


def test_requests_under_way_are_waited_for(emulator):
    """Also one whose client is gone, which nobody else can wait for."""
    address = urlsplit(emulator.base_url)
    lines = (
        f"POST {address.path}/v3/chats HTTP/1.1",
        f"Host: {address.netloc}",
        f"Authorization: Bearer {emulator.api_key}",
        "Content-Length: 9",  # of which none comes
    )
    with socket.create_connection((address.hostname, address.port)) as client:
        client.sendall("".join(f"{line}\r\n" for line in (*lines, "")).encode())
        while not emulator.control("GET", "requests", summary=1)["under_way"]:
            pass
        with pytest.raises(TimeoutError, match="under way for 0 seconds"):
            emulator.wait_until_idle(timeout=0)
    emulator.wait_until_idle()


# --- fixtures ---------------------------------------------------------------------------------------------------

CONFTEST = """
    import pytest
    from linq_emulator.testing import EmulatorOptions

    @pytest.fixture(scope="session")
    def linq_emulator_options() -> EmulatorOptions:
        return {"freeze": "2026-03-01T12:00:00Z", "lines": ["+12025550177"]}
"""
TESTS = """
    import pytest

    @pytest.mark.parametrize("number", [1, 2])
    def test_each_starts_afresh(linq_emulator, linq_emulator_process, number):
        assert linq_emulator is linq_emulator_process
        assert linq_emulator.lines == ["+12025550177"]
        assert linq_emulator.now().isoformat() == "2026-03-01T12:00:00+00:00"
        assert linq_emulator.ledger() == []
        linq_emulator.inbound("+12025550150", "Hi")
        linq_emulator.advance(hours=25)
        assert linq_emulator.now().isoformat() == "2026-03-02T13:00:00+00:00"
"""
#: As if the distribution had been installed without the extra.
NO_EXTRA = """
    import sys
    for module in ("msgspec", "starlette", "uvicorn", "httptools"):
        sys.modules[module] = None
"""


def documented():
    """The Python examples of the section "In tests"."""
    section = (ROOT / "docs" / "reference" / "emulator.md").read_text().split("## In tests")[1].split("\n## ")[0]
    return re.findall(r"```python\n(.*?)```", section, re.DOTALL)


def test_the_documented_start():
    names = {}
    exec(documented()[3], names)
    names["client"].close()  # or its connection is left to the garbage collector, within another test


@pytest.fixture
def run_pytest(tmp_path):
    """Run pytest where a distribution has the entry point that pyproject.toml declares."""
    declared = re.search(
        r"\[project\.entry-points\.pytest11\]\n\"(\S+)\" = \"(\S+)\"\n", (ROOT / "pyproject.toml").read_text()
    )
    folder = tmp_path / "site" / "declared-1.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: declared\nVersion: 1\n")
    (folder / "entry_points.txt").write_text("[pytest11]\n{} = {}\n".format(*declared.groups()))

    def run_pytest(tests, conftest="", *options):
        (tmp_path / "conftest.py").write_text(textwrap.dedent(conftest))
        (tmp_path / "test_it.py").write_text(textwrap.dedent(tests))
        # The plugins of other distributions would take most of the time.
        others = [f"-pno:{name}" for name in ("cacheprovider", "schemathesis", "singer_testing", "anyio", "xdist")]
        command = [sys.executable, "-W", "error", "-m", "pytest", "-q", *others, *options]
        environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{folder.parent}"}
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
        ).stdout

    return run_pytest


def test_the_fixtures_of_the_plugin(run_pytest):
    assert "2 passed" in run_pytest(TESTS, CONFTEST)


def test_the_plugin_can_also_be_named(run_pytest):
    assert "2 passed" in run_pytest(TESTS, CONFTEST + '\n    pytest_plugins = ["linq_emulator.pytest_plugin"]\n')


def test_the_documented_fixtures(run_pytest):
    opt_out, reminder, conftest, _ = documented()
    assert "2 passed" in run_pytest(opt_out + reminder, conftest)


def test_a_test_in_which_the_emulator_dies_says_so(run_pytest):
    report = run_pytest(
        """
        import os, signal

        def test_it(linq_emulator):
            os.kill(linq_emulator.pid, signal.SIGKILL)
            os.waitid(os.P_PID, linq_emulator.pid, os.WEXITED | os.WNOWAIT)
        """
    )
    assert "1 passed, 1 error" in report
    assert "the emulator has ended by itself (killed by SIGKILL)" in report


def test_without_the_extra_only_tests_with_an_emulator_fail(run_pytest):
    report = run_pytest(TESTS + "\n    def test_another(): pass\n", NO_EXTRA)
    assert "1 passed, 2 errors" in report
    assert "the emulator needs msgspec: install linq-connectors[emulator]" in report


def test_the_plugin_costs_nothing_until_it_is_used():
    code = """
        import pytest, sys
        before = set(sys.modules)
        import linq_emulator.pytest_plugin
        print(*sorted(set(sys.modules) - before))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.split() == ["linq_emulator", "linq_emulator.pytest_plugin"]
