"""The command line: subscriptions at the emulator, keys, secrets, and what is wrong in one line."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple, TypeAlias

import pytest
import requests
import time_machine

from linq_client import LinqClient
from linq_emulator.testing import EmulatorProcess
from linq_webhooks.archive import open_archive
from linq_webhooks.cli import main
from linq_webhooks.secrets_file import add_secret, read_secrets
from linq_webhooks.subscriptions import DEFAULT_EVENTS
from tests.support.webhook_events import event
from tests.support.webhook_receiver import SECRET, ReceiverProcess, body_of, deliver

URL = "https://example.com/webhooks/linq"


class Ended(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


Run: TypeAlias = Callable[..., Ended]


@pytest.fixture
def run(emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The command, in this process."""
    monkeypatch.setenv("LINQ_API_KEY", emulator.api_key)
    monkeypatch.setenv("LINQ_BASE_URL", emulator.base_url)

    def call(*arguments: str, secret: str = SECRET) -> Ended:
        monkeypatch.setenv("LINQ_WEBHOOK_SECRET", secret)
        monkeypatch.setattr(sys, "argv", ["linq-webhooks", *arguments])
        capsys.readouterr()
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        return Ended(code, *capsys.readouterr())

    return call


@pytest.fixture
def client(emulator: EmulatorProcess) -> LinqClient:
    return LinqClient(emulator.api_key, base_url=emulator.base_url)


def test_a_secret_that_nobody_has_kept_is_missed(run: Run, tmp_path: Path) -> None:
    secrets = tmp_path / "secrets"
    shown = run("subscribe", URL)
    again = run("subscribe", URL, "--secret-file", str(secrets))
    assert (again.returncode, again.stdout) == (1, "")
    assert "unchanged" in again.stderr
    assert "has no secret of subscription" in again.stderr
    secrets.write_text(shown.stdout)
    assert run("subscribe", URL, "--secret-file", str(secrets)).returncode == 0


def test_what_was_merged_is_counted(run: Run, tmp_path: Path) -> None:
    for number in range(3):
        with time_machine.travel("2026-03-01T12:30:00Z"), closing(open_archive(str(tmp_path))) as archive:
            archive.append([event(number)])
    merged = run("compact", "--archive", str(tmp_path))
    assert (merged.returncode, merged.stdout) == (0, "3 files of 1 hours merged, 3 events\n")
    assert run("compact", "--archive", str(tmp_path)).stdout == "0 files of 0 hours merged, 0 events\n"


def test_an_erasure_that_is_not_done_yet_fails(run: Run, tmp_path: Path) -> None:
    with closing(open_archive(str(tmp_path))) as archive:
        archive.append([event(1, body_of(1, data={"sender_handle": {"handle": "+12025550150"}}))])
    ended = run("erase", "+12025550150", "--archive", str(tmp_path))
    assert (ended.returncode, ended.stdout) == (1, "0 events erased\n")
    assert "1 events are left" in ended.stderr
    assert "+1202" not in ended.stderr
    assert run("erase", "+12025550151", "--archive", str(tmp_path)).returncode == 0


def test_a_subscription_is_made_once_and_heals(run: Run, client: LinqClient, tmp_path: Path) -> None:
    secrets = tmp_path / "secrets"
    made = run("subscribe", URL, "--secret-file", str(secrets))
    assert (made.returncode, made.stdout) == (0, "")
    (subscription,) = client.webhook_subscriptions.list()
    assert subscription.target_url == f"{URL}?version=2026-02-03"
    assert set(DEFAULT_EVENTS) <= set(subscription.subscribed_events)
    assert secrets.stat().st_mode & 0o777 == 0o600
    name, secret = secrets.read_text().split()
    assert name == subscription.id
    assert run("check", URL).returncode == 0
    assert "unchanged" in run("subscribe", URL, "--secret-file", str(secrets)).stderr

    client.webhook_subscriptions.update(
        subscription.id,
        is_active=False,
        subscribed_events=["message.sent", "chat.typing_indicator.started"],
        routing_key_header="X-R",
    )
    checked = run("check", URL)
    assert checked.returncode == 1
    assert "not active" in checked.stderr
    assert "message.received" in checked.stderr
    assert "updated" in run("subscribe", URL, "--secret-file", str(secrets)).stderr
    healed = client.webhook_subscriptions.get(subscription.id)
    assert healed.is_active
    assert {"chat.typing_indicator.started", *DEFAULT_EVENTS} <= set(healed.subscribed_events)
    assert healed.routing_key_header == "X-R"
    assert run("check", URL).returncode == 0

    renewed = run("subscribe", URL, "--secret-file", str(secrets), "--new-secret")
    assert renewed.returncode == 0, renewed.stderr
    (another,) = client.webhook_subscriptions.list()
    assert another.id != subscription.id
    assert another.routing_key_header == "X-R"
    lines = dict(line.split() for line in secrets.read_text().splitlines())
    assert lines.keys() == {subscription.id, another.id}
    assert lines[another.id] != secret
    for run_ in (made, checked, renewed):
        assert secret not in run_.stderr


def test_a_secret_file_whose_last_line_has_no_end(run: Run, client: LinqClient, tmp_path: Path) -> None:
    """As `printf` makes it, and editors of Windows, which begin it with a byte order mark."""
    secrets = tmp_path / "secrets"
    secrets.write_text(f"s1 {SECRET}", encoding="utf-8-sig")
    ended = run("subscribe", URL, "--secret-file", str(secrets))
    assert ended.returncode == 0, ended.stderr
    (subscription,) = client.webhook_subscriptions.list()
    found = read_secrets(secrets)
    assert found.keys() == {"s1", subscription.id}
    assert found["s1"] == [SECRET]


def test_without_a_file_a_secret_is_printed_once(run: Run) -> None:
    first, second = (run("subscribe", URL) for _ in range(2))
    assert "whsec_" in first.stdout
    assert second.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["subscribe", "http://example.com/x"], "must be an https URL"),
        (["subscribe", "https://user:pw@example.com/x"], "no user or password"),
        (["subscribe", f"{URL}?version=2025-01-01"], "version=2026-02-03"),
        (["check", URL], "there is no subscription"),
        (["serve", "--archive", "nosuch://x/y"], "webhook archive"),
        (["serve", "--archive", "mysql://u:topsecret@h/d"], "SQLite or PostgreSQL"),
        (["serve", "--path", "x"], "must begin with /"),
        (["serve", "--secret-file", "/nonexistent/file"], "cannot be read"),
        (["compact", "--archive", "sqlite:///x.db"], "only an archive of files"),
    ],
)
def test_what_is_wrong_is_one_line(run: Run, arguments: list[str], words: str) -> None:
    ended = run(*arguments)
    assert ended.returncode != 0
    assert words in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert "topsecret" not in ended.stderr


@pytest.mark.parametrize(
    "secrets", ["", "# none", "s1 whsec_", "s1 abc", "a b c", "topsecret", f"s1: {SECRET}", f"'s1' {SECRET}"]
)
def test_without_a_secret_nothing_is_served(run: Run, tmp_path: Path, secrets: str) -> None:
    ended = run("serve", "--archive", str(tmp_path), secret=secrets)
    assert ended.returncode == 1
    assert "secret" in ended.stderr
    assert "topsecret" not in ended.stderr.replace("a secret", "")


@pytest.mark.parametrize(
    "name", ["LINQ_WEBHOOK_ENCRYPTION_KEY", "LINQ_WEBHOOKS_ENCRYPT_KEY", "linq_webhook_encrypt_key"]
)
def test_a_variable_with_a_typing_error_is_refused(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Without its key, what people write would be stored as it is."""
    for one in ("SECRET_KEY", "API_KEY", "SERVICE_HOST", "PORT"):
        monkeypatch.setenv(f"LINQ_WEBHOOK_{one}", "x")
    monkeypatch.setenv("TAP_LINQ_WEBHOOK_ARCHIVE", "x")
    assert "(environment)" not in run("erase", "+12025550150", "--archive", str(tmp_path)).stderr
    monkeypatch.setenv(name, "x")
    with monkeypatch.context() as patch:
        patch.setenv("LINQ_WEBHOOK_ENCRYPT_KEY", "x")
        assert "(environment)" not in run("erase", "+12025550150", "--archive", str(tmp_path)).stderr
    ended = run("serve", "--archive", str(tmp_path / "archive"))
    assert ended.returncode == 1
    assert f"{name} (environment): is no variable, did you mean LINQ_WEBHOOK_ENCRYPT_KEY?" in ended.stderr


def test_a_port_that_is_taken_is_one_line(run: Run, tmp_path: Path) -> None:
    with ReceiverProcess(str(tmp_path)) as receiver:
        ended = run("serve", "--archive", str(tmp_path), "--port", str(receiver.port))
    assert ended.returncode == 1
    assert "Address already in use" in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_bodies_are_encrypted_with_the_key_from_a_file(run: Run, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text(run("new-key").stdout)
    folder = tmp_path / "archive"
    with ReceiverProcess(str(folder), "--encrypt-key", str(key), "--spool", str(tmp_path / "spool")) as receiver:
        assert deliver(receiver.url, body_of(1)) == 200
        assert requests.get(receiver.url.replace("webhooks/linq", "healthz"), timeout=60).ok
    files = [path for path in tmp_path.rglob("*.jsonl*") if path.is_file()]
    assert files
    (event,) = [event for event, _ in open_archive(str(folder), encryption_key=key.read_bytes()).read()]
    assert event.body == body_of(1)


def test_a_secret_that_was_added_counts_without_a_restart(tmp_path: Path) -> None:
    other = SECRET.replace("a", "b")
    secrets = tmp_path / "secrets"
    secrets.write_text(f"s1 {SECRET}\n")
    with ReceiverProcess(str(tmp_path / "archive"), "--secret-file", str(secrets), secrets="") as receiver:
        assert deliver(receiver.url, body_of(1), secret=other, subscription="s2") == 401
        add_secret(secrets, "s2", other)
        assert deliver(receiver.url, body_of(1), secret=other, subscription="s2") == 200
        assert deliver(receiver.url, body_of(2), subscription="s1") == 200
        with secrets.open("a") as file:
            file.write("nonsense in a line\n")
        assert deliver(receiver.url, body_of(3), secret=other, subscription="s1") == 401
        assert deliver(receiver.url, body_of(4), subscription="s1") == 200


def test_it_stops_when_it_is_asked_to_and_that_is_no_failure(tmp_path: Path) -> None:
    with ReceiverProcess(f"sqlite:///{tmp_path / 'a.db'}", log=tmp_path / "log") as receiver:
        assert deliver(receiver.url, body_of(1)) == 200
        assert receiver.stop() == 0
    assert "Traceback" not in (tmp_path / "log").read_text()
