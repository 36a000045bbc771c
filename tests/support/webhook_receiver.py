"""The receiver of webhooks as a process or a thread, and a platform that delivers to it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest
import requests
from typing_extensions import Self

from linq_client import LinqClient
from linq_client.webhooks import SigningSecrets
from linq_webhooks.app import create_app
from linq_webhooks.archive import Archive
from linq_webhooks.server import Server
from linq_webhooks.subscriptions import ensure_subscription
from tests.support.emulator_process import Emulator
from tests.support.leftovers import end_with_tests
from tests.support.waiting import PATIENCE, wait_until

__all__ = [
    "SECRET",
    "ReceiverProcess",
    "ReceiverThread",
    "body_of",
    "deliver",
    "deliver_in_one_piece",
    "metrics_of",
    "patient_receivers",
    "signed",
    "subscribe",
    "wait_until_drained",
]

SECRET = "whsec_" + base64.b64encode(b"k" * 24).decode()

#: How long a receiver waits for a disk and for a body, so that the platform gets an answer in time. A busy machine may
#: take longer, and then answers 503 to what it has stored all the same.
_LIMITS = {"_storage": ("_ARCHIVE_SECONDS", "_SPOOL_SECONDS"), "_intake": ("_MAX_SECONDS",)}

#: `python -m linq_webhooks` without these limits, or with another one for the archive; it soon sees when that is back.
_PATIENT_PROGRAM = f"""
import sys
sys.dont_write_bytecode = True  # where a test leaves no room on its disk, a compiled module would be cut off, for good
from linq_webhooks import _intake, _storage
from linq_webhooks.__main__ import main

for module, names in {_LIMITS}.items():
    for name in names:
        setattr(globals()[module], name, {2 * PATIENCE})
_storage._ARCHIVE_SECONDS = float(sys.argv.pop(1))
_storage._LONGEST_PAUSE = 1
main()
"""

#: In front of that: the clock shows what standard input says.
_WITH_A_CLOCK = """
import sys
from datetime import datetime
from threading import Thread
import time_machine

clock = time_machine.travel(datetime.fromisoformat(sys.stdin.readline().strip())).start()

def follow():
    for line in sys.stdin:
        clock.move_to(datetime.fromisoformat(line.strip()))
        print("set", flush=True)

Thread(target=follow, daemon=True).start()
"""


@pytest.fixture
def patient_receivers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let receivers in this process wait for a disk, and for a body, as long as tests do."""
    for module, names in _LIMITS.items():
        for name in names:
            monkeypatch.setattr(f"linq_webhooks.{module}.{name}", 2 * PATIENCE)


def body_of(number: int, **more: Any) -> bytes:
    """The body of an event that differs from those of other numbers."""
    fields = {
        "api_version": "v3",
        "webhook_version": "2026-02-03",
        "event_id": f"e{number}",
        "event_type": "message.received",
        "created_at": "2026-03-01T12:00:00Z",
        "data": {"id": f"m{number}", "parts": [{"type": "text", "value": "see you at ten"}]},
    }
    return json.dumps(fields | more).encode()


def signed(
    body: bytes,
    *,
    secret: str = SECRET,
    at: float | None = None,
    standard: bool = True,
    deprecated: bool = True,
    subscription: str | None = "s1",
    event_id: str = "e",
) -> dict[str, str]:
    """The headers of a delivery, by the published recipe."""
    stamp = str(int(time.time() if at is None else at))
    headers = {"Content-Type": "application/json"}
    if subscription is not None:
        headers["X-Webhook-Subscription-ID"] = subscription
    if standard:
        key = base64.b64decode(secret.removeprefix("whsec_"))
        mac = hmac.digest(key, f"{event_id}.{stamp}.".encode() + body, "sha256")
        headers |= {
            "webhook-id": event_id,
            "webhook-timestamp": stamp,
            "webhook-signature": f"v1,{base64.b64encode(mac).decode()}",
        }
    if deprecated:
        mac_text = hmac.new(secret.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
        headers |= {
            "X-Webhook-Event": "message.received",
            "X-Webhook-Timestamp": stamp,
            "X-Webhook-Signature": mac_text,
        }
    return headers


def deliver(url: str, body: bytes, session: requests.Session | None = None, **options: Any) -> int:
    """Deliver a body once, and return the status."""
    post = (session or requests).post
    return post(url, data=body, headers=signed(body, **options), timeout=60).status_code


def deliver_in_one_piece(port: int, body: bytes) -> int:
    """Deliver a body once, and return the status.

    Head and body come together, so the receiver counts the delivery and lets it wait for a write in one go. `deliver`
    sends them one after the other, and a delivery that is counted may wait for its body.
    """
    head = {"Host": "x", "Connection": "close", "Content-Length": str(len(body)), **signed(body)}
    lines = ["POST /webhooks/linq HTTP/1.1", *(f"{name}: {value}" for name, value in head.items()), "", ""]
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as connection:
        connection.sendall("\r\n".join(lines).encode() + body)
        with connection.makefile("rb") as answer:
            return int(answer.readline().split()[1])


def metrics_of(url: str) -> dict[str, float]:
    """The metrics of the receiver behind a target URL."""
    origin = url.split("/webhooks")[0]
    lines = requests.get(f"{origin}/metrics", timeout=60).text.splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}


def subscribe(emulator: Emulator, url: str, *events: str) -> str:
    """Have an emulator deliver events to a receiver, and return its secret as the receiver takes it."""
    secrets: list[str] = []
    with LinqClient(emulator.api_key, base_url=emulator.base_url, allow_http=True) as client:
        ensure_subscription(client, url, events, keep_secret=lambda id_, secret: secrets.append(f"{id_} {secret}"))
    (secret,) = secrets
    return secret


def wait_until_drained(url: str) -> None:
    """Wait until the receiver behind a target URL has moved each event from its spool to the archive.

    New events go into the spool until it has also been cleared, which comes after this.
    """
    wait_until(lambda: metrics_of(url)["linq_webhooks_spooled_events"] == 0, "the spool is drained")


class ReceiverThread:
    """A receiver in a thread of this process: it listens when the constructor returns."""

    def __init__(
        self, archive: Archive, secrets: dict[str, list[str]] | SigningSecrets | None = None, **options: Any
    ) -> None:
        if not isinstance(secrets, SigningSecrets):
            secrets = SigningSecrets(secrets or {SigningSecrets.ANY: [SECRET]})
        app = create_app(archive, secrets, **options)
        ready = threading.Event()
        self._server = Server(app, "127.0.0.1", 0, on_ready=ready.set)
        self.port = self._server.port
        self.origin = f"http://127.0.0.1:{self.port}"
        self.url = f"{self.origin}/webhooks/linq"
        self._thread = threading.Thread(target=self._server.serve_until_stopped, daemon=True)
        self._thread.start()
        assert ready.wait(PATIENCE), "the receiver did not start"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Let it finish, and end."""
        self._server.should_exit = True
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "the receiver does not end"


class ReceiverProcess:
    """`linq-webhooks serve` in a process of its own, and patient: it listens when the constructor returns.

    Args:
        archive: its URL.
        options: further ones of the command.
        secrets: the signing secrets.
        port: to listen on; 0 takes a free one.
        log: file to which it logs; by default with the tests.
        now: what its clock shows; `set_clock` sets it again. By default, it is that of the machine.
        archive_seconds: that it waits for the archive.
    """

    def __init__(
        self,
        archive: str,
        *options: str,
        secrets: str = SECRET,
        port: int = 0,
        log: Path | None = None,
        now: datetime | None = None,
        archive_seconds: float = 2 * PATIENCE,
    ) -> None:
        program = _PATIENT_PROGRAM if now is None else _WITH_A_CLOCK + _PATIENT_PROGRAM
        command = [sys.executable, "-c", program, str(archive_seconds), "serve", "--archive", archive]
        environment = os.environ | {
            "LINQ_WEBHOOK_SECRET": secrets,
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        }
        self._log = log.open("ab") if log else None
        self.process = subprocess.Popen(
            [*command, "--port", str(port), *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env=environment,
        )
        end_with_tests(self.process.pid)
        if now is not None:
            self._say(now.isoformat())
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            code = self._ended()
            raise AssertionError(f"the receiver did not start, and ended with {code}; its log: {log or 'stderr'}")
        self.port = json.loads(line)["port"]
        self.url = f"http://127.0.0.1:{self.port}/webhooks/linq"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def set_clock(self, now: datetime) -> None:
        """Let its clock show a time, and go on from there."""
        self._say(now.isoformat())
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "set\n", "the receiver has ended"

    def _say(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def kill(self) -> None:
        """End it as the kernel does when memory is short."""
        self.process.kill()
        self._ended()

    def stop(self, with_signal: int = signal.SIGTERM) -> int:
        """Ask it to stop, and return its exit code."""
        self.process.send_signal(with_signal)
        return self._ended()

    def _ended(self) -> int:
        code = self.process.wait(PATIENCE)
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()
        if self._log is not None:
            self._log.close()
        return code
