"""What goes wrong in a receiver in a way that nobody foresaw, and what it says of that."""

from __future__ import annotations

import http.client
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from linq_webhooks.archive import StoredEvent, open_archive
from tests.integration.webhooks.test_receiver import Gate
from tests.support.waiting import PATIENCE, wait_until
from tests.support.webhook_events import ids_of
from tests.support.webhook_receiver import (
    ReceiverThread,
    body_of,
    deliver,
    metrics_of,
    signed,
    wait_until_drained,
)

pytestmark = pytest.mark.usefixtures("patient_receivers")


class Odd(Gate):
    """An archive that raises what no archive should."""

    def append(self, events: Sequence[StoredEvent]) -> None:
        if self.fails:
            raise ZeroDivisionError("see you at ten")
        super().append(events)

    def close(self) -> None:
        raise ZeroDivisionError


def test_what_nobody_foresaw_is_not_acknowledged(caplog: pytest.LogCaptureFixture) -> None:
    archive = Odd()
    with ReceiverThread(archive) as receiver:
        archive.fails = True
        assert deliver(receiver.url, body_of(1)) == 503
        archive.fails = False
        assert deliver(receiver.url, body_of(1)) == 200
    assert [event.event_id for event in archive.events] == ["e1"]
    said = [record.message for record in caplog.records if record.levelno >= logging.ERROR]
    assert "webhook archive: a write failed" in said
    assert any("a write failed with ZeroDivisionError" in one for one in said)
    assert "webhook archive: it could not be closed" in said


def test_what_nobody_foresaw_does_not_stop_a_spool_from_being_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    gate = Gate()
    failed: list[str] = []

    def odd(position: str) -> None:
        failed.append(position)
        raise ZeroDivisionError

    with ReceiverThread(gate, spool=tmp_path) as receiver, monkeypatch.context() as patch:
        patch.setattr("linq_webhooks._spool.Spool.mark", lambda spool, position: odd(position))
        gate.fails = True
        assert [deliver(receiver.url, body_of(number)) for number in range(3)] == [200] * 3
        gate.fails = False
        wait_until(lambda: failed, "the spool is read")
        patch.undo()
        wait_until_drained(receiver.url)
    assert {event.event_id for event in gate.events} == {"e0", "e1", "e2"}  # handed on again
    assert "spool: it could not be moved to the archive" in caplog.text


def test_a_spool_whose_place_is_not_written_down_is_moved_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A full disk is freed only when everything was moved."""
    gate = Gate()

    def full(path: str, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    with ReceiverThread(gate, spool=tmp_path) as receiver:
        gate.fails = True
        assert [deliver(receiver.url, body_of(number)) for number in range(3)] == [200] * 3
        monkeypatch.setattr("linq_webhooks.sinks._local.replace", full)
        gate.fails = False
        wait_until_drained(receiver.url)
        wait_until(lambda: not list(tmp_path.glob("date=*")), "the spool is empty")
    assert [event.event_id for event in gate.events] == ["e0", "e1", "e2"]
    assert "cannot write down what was moved: No space left on device" in caplog.text


def test_a_folder_that_can_not_be_a_spool(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(Exception, match=r"spool: .*file.* can't be used: "):
        ReceiverThread(Gate(), spool=tmp_path / "file" / "spool")


def test_more_than_fits_into_memory_comes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("linq_webhooks._storage._MAX_WAITING_BYTES", 1.5 * len(body_of(1)))
    gate = Gate()
    gate.open.clear()
    with ReceiverThread(gate) as receiver, ThreadPoolExecutor(1) as pool:
        first = pool.submit(deliver, receiver.url, body_of(1))
        assert gate.waiting.wait(PATIENCE)
        assert deliver(receiver.url, body_of(2)) == 503
        gate.open.set()
        assert first.result() == 200
        assert deliver(receiver.url, body_of(2)) == 200
        large = body_of(3, more="x" * 2 * len(body_of(3)))  # alone, it is taken
        assert deliver(receiver.url, large) == 200
    assert [event.event_id for event in gate.events] == ["e1", "e2", "e3"]


def test_a_connection_may_be_used_again(tmp_path: Path) -> None:
    folder = str(tmp_path / "archive")
    with ReceiverThread(open_archive(folder)) as receiver:
        with closing(http.client.HTTPConnection("127.0.0.1", receiver.port, timeout=PATIENCE)) as connection:
            for number in range(3):
                body = body_of(number)
                connection.request("POST", "/webhooks/linq", body, signed(body))
                response = connection.getresponse()
                assert (response.status, response.read()) == (200, b"")
        assert metrics_of(receiver.url)["linq_webhooks_received_total"] == 3
    assert ids_of(open_archive(folder))[0] == ["e0", "e1", "e2"]


def test_a_segment_that_can_not_be_compressed_is_read_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("linq_webhooks.sinks._segment_writers.shutil.copyfileobj", full)
    with ReceiverThread(open_archive(str(tmp_path))) as receiver:
        assert deliver(receiver.url, body_of(1)) == 200
    assert ids_of(open_archive(str(tmp_path)))[0] == ["e1"]
    assert [path.suffix for path in tmp_path.rglob("*.*") if path.is_file()] == [".jsonl"]
    assert "cannot compress a segment: No space left on device" in caplog.text
