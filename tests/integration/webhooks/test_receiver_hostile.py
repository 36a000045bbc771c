"""Senders that mean harm, or are odd: the receiver leaves them, and takes what is genuine as fast as before."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from linq_webhooks import secrets_file
from linq_webhooks.archive import open_archive
from linq_webhooks.secrets_file import SecretsFile
from tests.integration.webhooks.test_receiver import OTHER_SECRET, Gate
from tests.support.waiting import PATIENCE, wait_until
from tests.support.webhook_receiver import SECRET, ReceiverThread, body_of, deliver, metrics_of, signed

pytestmark = pytest.mark.usefixtures("patient_receivers")


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[ReceiverThread]:
    with ReceiverThread(open_archive(str(tmp_path / "archive"))) as running:
        yield running


@pytest.mark.parametrize(
    "begin", [b"0\r\nX-Long: ", b"0\r\nX-Short: x\r\n", b"1;extension=", b"1\r\n{\r\n0\r\nX-Long: "]
)
def test_what_comes_with_a_body_and_has_no_end_is_cut_off(receiver: ReceiverThread, begin: bytes) -> None:
    pieces = b"X-Short: x\r\n" * 2_000_000 if b"Short" in begin else b"x" * 20_000_000
    with socket.create_connection(("127.0.0.1", receiver.port), 60) as connection:
        connection.sendall(b"POST /webhooks/linq HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + begin)
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            connection.sendall(pieces)
    assert deliver(receiver.url, body_of(1)) == 200


def test_a_body_in_chunks_of_one_byte_is_taken(receiver: ReceiverThread) -> None:
    """With more bytes besides it than a head may have."""
    body = body_of(1, padding="x" * 100_000)
    head = "".join(f"{name}: {value}\r\n" for name, value in signed(body).items())
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body)
    with socket.create_connection(("127.0.0.1", receiver.port), 60) as connection:
        connection.sendall(
            f"POST /webhooks/linq HTTP/1.1\r\nHost: x\r\n{head}Transfer-Encoding: chunked\r\n\r\n".encode()
        )
        connection.sendall(chunks + b"0\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 200 ")


class CheckedGate(Gate):
    """One that counts its checks, which wait until the gate is open."""

    checks = 0

    def check(self) -> None:
        self.checks += 1
        self.waiting.set()
        self.open.wait(PATIENCE)


def test_those_who_ask_whether_it_is_ready_share_a_check(tmp_path: Path) -> None:
    gate = CheckedGate()
    gate.open.clear()
    with ReceiverThread(gate) as receiver, ExitStack() as stack:
        asked = [stack.enter_context(socket.create_connection(("127.0.0.1", receiver.port), 60)) for _ in range(20)]
        for connection in asked:
            connection.sendall(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert gate.waiting.wait(PATIENCE)
        # What has come before this was read before.
        metrics_of(receiver.url)
        gate.open.set()
        assert {connection.recv(12) for connection in asked} == {b"HTTP/1.1 200"}
    assert gate.checks == 1


def test_spaces_behind_a_header_are_no_part_of_it(receiver: ReceiverThread) -> None:
    body = body_of(1)
    head = "".join(f"{name}: {value} \t\r\n" for name, value in signed(body).items())
    with socket.create_connection(("127.0.0.1", receiver.port), 60) as connection:
        connection.sendall(
            f"POST /webhooks/linq HTTP/1.1\r\nHost: x\r\n{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
        )
        assert connection.recv(100).startswith(b"HTTP/1.1 200 ")


def test_a_body_that_is_lost_behind_an_upgrade_is_asked_for_again(
    receiver: ReceiverThread, caplog: pytest.LogCaptureFixture
) -> None:
    """As proxies that are written in Java send it by default. After a 401 the platform would not deliver it again."""
    body = body_of(1)
    headers = signed(body) | {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAMAAABk"}
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    with socket.create_connection(("127.0.0.1", receiver.port), 60) as connection:
        connection.sendall(
            f"POST /webhooks/linq HTTP/1.1\r\nHost: x\r\n{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
        )
        assert connection.recv(100).startswith(b"HTTP/1.1 503 ")
    assert "refused: incomplete" in caplog.text


# --- secrets that are withdrawn -----------------------------------------------------------------------------------


HEADERS = {"x-webhook-subscription-id": "s1"}


def rewrite(path: Path, *lines: str) -> None:
    """Write a file as its owner does, who puts another one in its place."""
    other = path.with_name("other")
    other.write_text("".join(f"{line}\n" for line in lines))
    os.replace(other, path)


def test_a_secret_that_was_removed_counts_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a restart, and though no delivery had a signature that does not fit."""
    monkeypatch.setattr(secrets_file, "_SETTLING_SECONDS", 0)
    path = tmp_path / "secrets"
    rewrite(path, f"s1 {SECRET}", f"s1 {OTHER_SECRET}")
    with ReceiverThread(Gate(), SecretsFile(path)) as receiver:
        assert deliver(receiver.url, body_of(1)) == 200
        rewrite(path, f"s1 {OTHER_SECRET}")
        wait_until(lambda: deliver(receiver.url, body_of(1)) == 401, "the removed secret is refused")
        assert deliver(receiver.url, body_of(1), secret=OTHER_SECRET) == 200


def test_a_file_that_is_written_piece_by_piece_refuses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "secrets"
    rewrite(path, f"s0 {OTHER_SECRET}", f"s1 {SECRET}")
    secrets = SecretsFile(path)
    path.write_text("")
    assert secrets.of(HEADERS) == (SECRET,)
    path.write_text(f"s0 {OTHER_SECRET}\n")
    assert secrets.of(HEADERS) == (SECRET,)
    assert secrets.of(HEADERS) == (SECRET,)
    path.unlink()
    assert secrets.of(HEADERS) == (SECRET,)
    rewrite(path, f"s0 {OTHER_SECRET}", f"s1 {OTHER_SECRET}")
    assert secrets.of(HEADERS) == (OTHER_SECRET, SECRET)
    monkeypatch.setattr(secrets_file, "_SETTLING_SECONDS", -1)
    rewrite(path, f"s1 {OTHER_SECRET}")
    secrets.of(HEADERS)
    assert secrets.of(HEADERS) == (OTHER_SECRET,)


def test_a_change_counts_that_leaves_time_and_size_of_the_file_alone(tmp_path: Path) -> None:
    """A file that was made readable, or put back by something that keeps times."""
    path = tmp_path / "secrets"
    path.write_text(f"{SECRET}\n")
    secrets = SecretsFile(path)
    before = path.stat()
    path.write_text(f"{OTHER_SECRET}\n")
    while path.stat().st_ctime_ns == before.st_ctime_ns:  # a file system's clock may tick slowly
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat()[:9] == before[:9]
    assert OTHER_SECRET in secrets.of(HEADERS)
