"""`LinqExtractOperator`: the real tap over the emulator, into files and into targets that work and that don't."""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import Asset, ObjectStoragePath
from airflow.sdk.io import attach
from fsspec import filesystem

from airflow_provider_linq._internal import tap_process
from airflow_provider_linq._internal.version_compat import AirflowException, AirflowFailException
from airflow_provider_linq.operators.extract import LinqExtractOperator
from tests.support.airflow import context
from tests.support.archived_webhooks import ArchivedWebhooks
from tests.support.emulator_process import Emulator
from tests.support.scripted_server import OK, serving
from tests.support.waiting import wait_until
from tests.support.webhook_events import KEY

#: Stores lines in a file, and says so, as a target does; ends with code 3 after some lines if it is to fail.
TARGET = """
import json, pathlib, sys
path, limit = pathlib.Path(sys.argv[1]), int(sys.argv[2])
with path.open("a") as file:
    for number, line in enumerate(sys.stdin):
        if number == limit:
            print("2026-01-01 00:00:00,000 | ERROR    | target | The disk is full", file=sys.stderr)
            sys.exit(3)
        file.write(line)
        message = json.loads(line)
        if message["type"] == "STATE":
            print(json.dumps(message["value"]), flush=True)
"""


@pytest.fixture
def emulator(emulator: Emulator, connect: Callable[..., None]) -> Emulator:
    connect(retention_window_hours=24)
    emulator.control("POST", "seed", {"chats": 6, "messages_per_chat": 5, "hours": 10, "seed": 1})
    return emulator


class Event:
    """What an outlet gets."""

    extra: dict[str, Any]


@pytest.fixture
def extract(tmp_path: Path) -> Callable[..., Any]:
    def extract(outlets: tuple[Asset, ...] = (), try_number: int = 1, **arguments: Any) -> Any:
        task = LinqExtractOperator(task_id="t", folder=str(tmp_path / "out"), outlets=list(outlets), **arguments)
        events = {outlet: Event() for outlet in outlets}
        result = task.execute(
            {**context(run_id="scheduled__2026-03-01T12:00:00+00:00", try_number=try_number), "outlet_events": events}
        )
        return (result, *(event.extra for event in events.values())) if outlets else result

    return extract


def rows(tmp_path: Path, stream: str = "messages") -> list[dict[str, Any]]:
    files = sorted((tmp_path / "out" / stream).glob("*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def test_files_and_freshness(
    emulator: Emulator,
    extract: Any,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    asset = Asset("linq_messages")
    with caplog.at_level(logging.INFO):
        result, extra = extract(outlets=(asset,))
    assert extra == result
    assert {row["id"] for row in rows(tmp_path)} == {row["id"] for row in emulator.ledger()}
    assert result["records"]["messages"] == len(emulator.ledger())
    assert all(Path(path).exists() for path in result["files"])
    assert {line["line"] for line in result["lines"]} == set(emulator.lines)
    newest = max(row["created_at"] for row in emulator.ledger())
    assert max(line["newest_message"] or "" for line in result["lines"])[:19] == newest[:19]
    assert not any(line["gap"] for line in result["lines"])
    assert {one["window_hours"] for one in result["lines"]} == {24.0}
    said = [record for record in caplog.records if record.levelno > logging.INFO]
    assert not [record.getMessage() for record in said if "tap_process" in record.name]
    logged = caplog.text + "".join(capfd.readouterr())
    assert re.search(r"Line \+\d+: read until 2026-03-01T12:00:00Z", logged)
    assert emulator.api_key not in logged


def test_the_next_run_goes_on_from_state(emulator: Emulator, extract: Any, tmp_path: Path) -> None:
    extract()
    late = emulator.control("POST", "inbound", {"line": emulator.lines[0], "from": "+12125550110", "text": "Hi"})["id"]
    result = extract(try_number=2)
    assert result["records"]["messages"] < len(emulator.ledger())
    assert late in {row["id"] for row in rows(tmp_path)}


def test_the_tap_goes_the_way_of_the_connection(extract: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(OK) as proxy:
        conn = {"conn_type": "linq", "password": "a-key", "host": "http://api.example.com/api/partner"}
        extra = {"proxy": proxy.url, "allow_http": True}
        monkeypatch.setenv("AIRFLOW_CONN_LINQ_DEFAULT", json.dumps({**conn, "extra": extra}))
        with pytest.raises(AirflowException, match="the account shows no line"):
            extract()
        assert [path for _, path, _ in proxy.seen] == ["http://api.example.com/api/partner/v3/phone_numbers"]


def test_the_connection_has_the_key_of_a_webhook_archive(
    emulator: Emulator, connect: Callable[..., None], extract: Any, tmp_path: Path
) -> None:
    archive = ArchivedWebhooks(emulator, str(tmp_path / "archive"), key=KEY)
    emulator.control("POST", "inbound", {"from": "+12025550150", "line": emulator.lines[0], "text": "hi"})
    archive.store()
    connect(webhook_archive_secret=KEY.decode())
    extract(settings={"webhook_archive": archive.url})
    assert rows(tmp_path, "webhook_events")


def test_what_the_task_sets_goes_before_the_connection(
    emulator: Emulator, connect: Callable[..., None], extract: Any, tmp_path: Path
) -> None:
    archive = ArchivedWebhooks(emulator, str(tmp_path / "archive"), key=KEY)
    emulator.control("POST", "inbound", {"from": "+12025550150", "line": emulator.lines[0], "text": "hi"})
    archive.store()
    connect(webhook_archive_secret="of another archive", allow_http=False)
    extract(settings={"webhook_archive": archive.url, "webhook_archive_key": KEY.decode(), "allow_http": True})
    assert rows(tmp_path, "webhook_events")


def test_lines_have_state_of_their_own(emulator: Emulator, extract: Any, tmp_path: Path) -> None:
    for line in emulator.lines:
        assert [one["line"] for one in extract(lines=line)["lines"]] == [line]
    extract(lines=list(reversed(emulator.lines)))
    assert len(list((tmp_path / "out" / "state").iterdir())) == len(emulator.lines) + 1


def test_a_gap(emulator: Emulator, extract: Any, caplog: pytest.LogCaptureFixture) -> None:
    for line in emulator.lines:
        emulator.control("POST", "lines", {"phone_number": line, "retention_hours": 24})
    extract()
    emulator.advance(30 * 3600)
    with pytest.raises(AirflowFailException, match="may have expired before they were read"):
        extract(on_gap="fail", try_number=2)
    # All that was left is stored, so the next run is in time.
    assert not any(line["gap"] for line in extract(on_gap="fail", try_number=3)["lines"])
    emulator.advance(30 * 3600)
    assert all(line["gap"] for line in extract(try_number=4)["lines"])


def test_a_target(emulator: Emulator, extract: Any, tmp_path: Path) -> None:
    stored = tmp_path / "stored.jsonl"
    result = extract(target=[sys.executable, "-c", TARGET, str(stored), "-1"])
    messages = [json.loads(line) for line in stored.read_text().splitlines()]
    assert sum(one.get("stream") == "messages" and one["type"] == "RECORD" for one in messages) == len(
        emulator.ledger()
    )
    assert result["files"] == []
    state = json.loads((tmp_path / "out" / "state" / "all.json").read_text())
    assert state == [one["value"] for one in messages if one["type"] == "STATE"][-1]


def test_a_target_that_fails_moves_no_state(emulator: Emulator, extract: Any, tmp_path: Path) -> None:
    with pytest.raises(AirflowException, match="the target has ended with code 3: The disk is full"):
        extract(target=[sys.executable, "-c", TARGET, str(tmp_path / "stored.jsonl"), "5"])
    assert not (tmp_path / "out" / "state").exists()


def tap_of(tmp_path: Path, code: str) -> str:
    """A program in the place of the tap."""
    path = tmp_path / "tap"
    path.write_text(f"#!{sys.executable}\nimport json, os, sys, time\n{code}\n")
    path.chmod(0o755)
    return str(path)


ROW = {"type": "RECORD", "stream": "messages", "record": {"id": "m"}}
STATE = {"type": "STATE", "value": {"bookmarks": {"messages": {}}}}


@pytest.mark.parametrize(
    "said", ["5", "null", "[]", '{"level": "info", "message": "stored"}', '{"bookmarks": 1}', "stored", "", "[" * 9_000]
)
def test_what_a_target_says_beside_state(
    emulator: Emulator, extract: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture, said: str
) -> None:
    tap = tap_of(tmp_path, f"print(json.dumps({ROW})); print(json.dumps({STATE}))")
    drain = "import sys; sys.stdin.read(); print(sys.argv[1])"
    extract(tap=tap, target=[sys.executable, "-c", drain, said])
    assert not (tmp_path / "out" / "state").exists()
    assert "The target has said of no STATE that it is stored" in caplog.text
    stores = [sys.executable, "-c", f"{TARGET}\nprint({said!r})", str(tmp_path / "stored.jsonl"), "-1"]
    extract(tap=tap, target=stores)
    assert json.loads((tmp_path / "out" / "state" / "all.json").read_text()) == STATE["value"]


def test_tasks_and_runs_that_share_a_folder(emulator: Emulator, extract: Any, tmp_path: Path) -> None:
    # Of two tasks of a run, and of a run that is deleted and made again, ids and numbers are the same.
    tap = tap_of(tmp_path, f"print(json.dumps({ROW}))")
    files = [path for _ in range(3) for path in extract(tap=tap)["files"]]
    assert len(set(files)) == len(rows(tmp_path)) == 3


@pytest.mark.parametrize("run_id", ["r" * 250, "\u4e16" * 250, "a/../b c", "."])
def test_runs_of_any_name(emulator: Emulator, tmp_path: Path, run_id: str) -> None:
    tap = tap_of(tmp_path, f"print(json.dumps({ROW}))")
    task = LinqExtractOperator(task_id="t", folder=str(tmp_path / "out"), tap=tap)
    task.execute({**context(run_id=run_id), "outlet_events": {}})
    assert rows(tmp_path) == [{"id": "m"}]


@pytest.mark.parametrize(
    "code",
    [
        "print('{\"type\": \"REC', end='', flush=True); os.kill(os.getpid(), 9)",
        "print('DeprecationWarning: old')",
        "print('[]')",
        "print('{}')",
        "sys.stdout.buffer.write(b'\\xff\\xfe\\n')",
    ],
)
def test_a_tap_that_breaks_off(emulator: Emulator, extract: Any, tmp_path: Path, code: str) -> None:
    tap = tap_of(tmp_path, f"print(json.dumps({ROW})); print(json.dumps({STATE})); {code}")
    with pytest.raises(AirflowException, match="that is no Singer message"):
        extract(tap=tap)
    assert not list((tmp_path / "out").rglob("*.json*"))


def test_a_tap_that_is_killed(emulator: Emulator, extract: Any, tmp_path: Path) -> None:
    # What was complete is kept: rows first, then their STATE.
    code = f"print(json.dumps({ROW})); print(json.dumps({STATE}), flush=True); os.kill(os.getpid(), 9)"
    with pytest.raises(AirflowException, match="tap-linq has ended with code -9"):
        extract(tap=tap_of(tmp_path, code))
    assert rows(tmp_path) == [{"id": "m"}]
    assert json.loads((tmp_path / "out" / "state" / "all.json").read_text()) == STATE["value"]


def test_programs_that_are_not_there(emulator: Emulator, extract: Any, tmp_path: Path) -> None:
    for missing in ({"tap": str(tmp_path / "none")}, {"target": ["target-of-nobody"]}, {"tap": str(tmp_path)}):
        with pytest.raises(AirflowFailException, match="The worker can't run"):
            extract(**missing)


def test_the_failure_of_a_target_is_not_told_by_the_tap(emulator: Emulator, extract: Any, tmp_path: Path) -> None:
    log = "2026-01-01 00:00:00,000 | ERROR    | tap | Of the tap"
    tap = tap_of(tmp_path, f"print({log!r}, file=sys.stderr, flush=True); print(json.dumps({STATE}))")
    with pytest.raises(AirflowException, match="the target has ended with code 4: see the log above"):
        extract(tap=tap, target=[sys.executable, "-c", "import sys; sys.stdin.read(); sys.exit(4)"])


def test_a_target_that_ends_at_once_ends_the_tap(emulator: Emulator, extract: Any, tmp_path: Path) -> None:
    """The tap, which would write for ever, is told to end; the exit code of the target says what was wrong."""
    done = tmp_path / "done"
    tap = tap_of(
        tmp_path,
        f"""
import signal
signal.signal(signal.SIGTERM, lambda *_: (open({str(done)!r}, "w").close(), os._exit(0)))
while True:
    print(json.dumps({ROW}), flush=True)
""",
    )
    with pytest.raises(AirflowException, match="the target has ended with code 4: see the log above"):
        extract(tap=tap, target=[sys.executable, "-c", "import sys; sys.exit(4)"])
    assert done.exists()
    assert not (tmp_path / "out" / "state").exists()


def test_what_else_the_tap_is_given(
    emulator: Emulator, extract: Any, tmp_path: Path, connect: Callable[..., None]
) -> None:
    bundle, given = tmp_path / "ca.pem", tmp_path / "given.json"
    bundle.write_text("")
    connect(verify=str(bundle))
    tap = tap_of(
        tmp_path,
        f"json.dump([sys.argv[1:], os.environ['REQUESTS_CA_BUNDLE']], open({str(given)!r}, 'w'))",
    )
    extract(tap=tap, catalog="/etc/catalog.json")
    arguments, trusted = json.loads(given.read_text())
    assert arguments[arguments.index("--catalog") + 1] == "/etc/catalog.json"
    assert trusted == str(bundle)


def test_a_tap_that_does_not_end_when_it_is_told_to_is_killed(
    emulator: Emulator, extract: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tap_process, "_GRACE", 0.2)
    code = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('no JSON', flush=True); time.sleep(600)"
    with pytest.raises(AirflowException, match="no Singer message"):
        extract(tap=tap_of(tmp_path, code))


@pytest.mark.parametrize("folder", ["", " ", "None"])
def test_a_folder_that_renders_to_nothing(emulator: Emulator, extract: Any, folder: str) -> None:
    task = LinqExtractOperator(task_id="t", folder="{{ params.folder }}")
    task.folder = folder
    with pytest.raises(AirflowFailException, match="folder: must be a path"):
        task.execute({**context(), "outlet_events": {}})
    assert not emulator.requests_served()


@pytest.mark.parametrize("kind", [str, ObjectStoragePath])
def test_an_object_store(emulator: Emulator, kind: Any) -> None:
    stored = filesystem("memory")
    attach("memory", fs=stored)
    task = LinqExtractOperator(task_id="t", folder=kind("memory://extract/linq"))
    for _ in range(2):
        task.execute({**context(), "outlet_events": {}})
    assert stored.ls("/extract/linq/state", detail=False) == ["/extract/linq/state/all.json"]
    lines = [line for path in stored.find("/extract/linq/messages") for line in stored.cat(path).splitlines()]
    assert {json.loads(line)["id"] for line in lines} >= {row["id"] for row in emulator.ledger()}


def test_what_is_stopped_before_it_begins(emulator: Emulator, extract: Any, tmp_path: Path) -> None:
    task = LinqExtractOperator(task_id="t", folder=str(tmp_path / "out"))
    task.on_kill()
    with pytest.raises(AirflowException, match="was stopped"):
        task.execute({**context(), "outlet_events": {}})


def test_a_chat_that_fails_keeps_what_was_read(emulator: Emulator, extract: Any, tmp_path: Path) -> None:
    emulator.control("POST", "faults", {"kind": "status", "path": "/chats$", "status": 403, "code": 2005})
    with pytest.raises(AirflowException, match="tap-linq has ended with code 1: .*could not be read"):
        extract()
    assert not rows(tmp_path)


def test_stopping_stops_the_tap(emulator: Emulator, extract: Any, tmp_path: Path) -> None:
    emulator.control("POST", "faults", {"kind": "latency", "path": "/chats$", "seconds": 300})
    task = LinqExtractOperator(task_id="t", folder=str(tmp_path / "out"))

    def stop() -> None:
        wait_until(
            lambda: [row for row in emulator.requests_served() if row["path"].endswith("/phone_numbers")],
            "the tap makes requests",
        )
        task.on_kill()

    stopper = threading.Thread(target=stop)
    stopper.start()
    with pytest.raises(AirflowException, match="tap-linq has ended with code"):
        task.execute({**context(), "outlet_events": {}})
    stopper.join()
    assert not task._processes._running


@pytest.mark.parametrize(
    ("arguments", "refusal"),
    [
        ({"target": "target-postgres"}, "target must be a list"),
        ({"settings": {"api_key": "x"}}, "settings must not hold"),
        ({"on_gap": "ignore"}, "on_gap must be one of"),
    ],
)
def test_arguments_that_are_refused_when_the_dag_is_parsed(arguments: dict[str, Any], refusal: str) -> None:
    with pytest.raises(ValueError, match=refusal):
        LinqExtractOperator(task_id="t", folder="/tmp", **arguments)


@pytest.mark.parametrize("lines", [[], ["1202"], ["not a line"]])
def test_lines_that_are_none(emulator: Emulator, extract: Any, lines: list[str]) -> None:
    with pytest.raises(AirflowFailException, match="lines"):
        extract(lines=lines)
    assert not emulator.requests_served()
