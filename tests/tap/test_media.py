"""Files are stored in the same pass, once, whole, and where no sender can choose."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from linq_client import LinqClient
from tests.emulator_process import Emulator
from tests.tap.running import FIRST_LINE, Output, inbound, succeed

CONTENT = b"placeholder of the emulator, which downloads nothing\n"
DIGEST = hashlib.sha256(CONTENT).hexdigest()


def receive_file(emulator: Emulator, name: str = "a.png") -> str:
    return inbound(emulator, parts=[{"type": "media", "url": f"https://example.com/{name}"}])


def stored(emulator: Emulator, folder: Path, **options: Any) -> tuple[Output, list[dict[str, Any]]]:
    output = succeed(emulator, attachments_path=str(folder), **options)
    return output, output.records("attachments")


def test_a_file_is_stored_under_its_id(emulator: Emulator, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    receive_file(emulator, "..%2F..%2Fetc%2Fpasswd.png")
    _, (row,) = stored(emulator, tmp_path)
    assert row["sha256"] == DIGEST
    assert row["error"] is None
    id_ = row["attachment_id"]
    assert row["stored_at"] == f"{tmp_path}/{id_[:2]}/{id_}"
    assert Path(row["stored_at"]).read_bytes() == CONTENT
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {id_, f"{id_}.sha256"}
    assert "files: 1 stored, 0 stored before, 0 failed" in caplog.text


def test_a_file_is_fetched_once(emulator: Emulator, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    receive_file(emulator)
    _, (first,) = stored(emulator, tmp_path)
    _, (second,) = stored(emulator, tmp_path)
    assert second["sha256"] == first["sha256"] == DIGEST
    assert "files: 0 stored, 1 stored before, 0 failed" in caplog.text


@pytest.mark.parametrize("damage", ["cut", "no note"])
def test_a_file_that_is_not_whole_is_fetched_again(emulator: Emulator, tmp_path: Path, damage: str) -> None:
    """As a run leaves it that was killed on the way."""
    receive_file(emulator)
    _, (row,) = stored(emulator, tmp_path)
    file = Path(row["stored_at"])
    file.write_bytes(CONTENT[:10])
    if damage == "no note":
        Path(f"{file}.sha256").unlink()
    _, (row,) = stored(emulator, tmp_path)
    assert file.read_bytes() == CONTENT
    assert row["sha256"] == DIGEST


def test_a_file_in_many_messages_is_fetched_once(
    emulator: Emulator, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    with LinqClient(emulator.api_key, base_url=emulator.base_url) as client:
        file = client.attachments.upload(b"menu", filename="menu.pdf", content_type="application/pdf")
        for last in range(6):
            client.chats.create(FIRST_LINE, f"+1212555012{last}", {"parts": [{"type": "media", "attachment_id": file}]})
    _, rows = stored(emulator, tmp_path)
    assert {(row["attachment_id"], row["sha256"]) for row in rows} == {(file, hashlib.sha256(b"menu").hexdigest())}
    assert "files: 1 stored, 5 stored before, 0 failed" in caplog.text


def test_a_file_that_is_too_large_is_left(emulator: Emulator, tmp_path: Path) -> None:
    receive_file(emulator)
    output, (row,) = stored(emulator, tmp_path, attachment_max_megabytes=0.00001)
    assert (row["stored_at"], row["error"]) == (None, "larger than 10 bytes")
    assert len(output.ids()) == 1
    assert list(tmp_path.iterdir()) == []


def test_what_fails_is_said_and_stops_nothing(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    receive_file(emulator)
    request = LinqClient.request

    def another_size(self: LinqClient, method: str, path: str, **options: Any) -> Any:
        reply = request(self, method, path, **options)
        for message in reply.body.get("messages", ()):
            message["parts"][0]["size_bytes"] = 7
        return reply

    monkeypatch.setattr(LinqClient, "request", another_size)
    output, (row,) = stored(emulator, tmp_path)
    assert row["error"] == f"{len(CONTENT)} bytes came instead of 7"
    assert row["stored_at"] is None
    assert len(output.ids()) == 1
    assert len(output.bookmarks()) == 2
    assert "files: 0 stored, 0 stored before, 1 failed" in caplog.text


@pytest.mark.parametrize("id_", ["../../evil", "a/b", "", None, "x" * 65])
def test_an_id_that_could_leave_the_folder_is_refused(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, id_: str | None
) -> None:
    receive_file(emulator)
    request = LinqClient.request

    def evil(self: LinqClient, method: str, path: str, **options: Any) -> Any:
        reply = request(self, method, path, **options)
        for message in reply.body.get("messages", ()):
            message["parts"][0]["id"] = id_
        return reply

    monkeypatch.setattr(LinqClient, "request", evil)
    _, (row,) = stored(emulator, tmp_path / "files")
    assert row["error"] == "the attachment has no id that could name a file"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_url_that_has_expired_is_asked_for_anew(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    receive_file(emulator)
    request = LinqClient.request

    def expired(self: LinqClient, method: str, path: str, **options: Any) -> Any:
        reply = request(self, method, path, **options)
        for message in reply.body.get("messages", ()):
            message["parts"][0]["url"] += "0"
        return reply

    monkeypatch.setattr(LinqClient, "request", expired)
    _, (row,) = stored(emulator, tmp_path)
    assert (row["sha256"], row["error"]) == (DIGEST, None)


def test_any_store_that_fsspec_knows(emulator: Emulator) -> None:
    import fsspec

    receive_file(emulator)
    output = succeed(emulator, attachments_path="memory://linq/files")
    (row,) = output.records("attachments")
    assert row["stored_at"].startswith("memory://linq/files/")
    assert fsspec.filesystem("memory").cat_file(row["stored_at"]) == CONTENT


def test_a_store_may_fail_in_its_own_words(emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class NoCredentialsError(Exception):
        """As botocore's: no OSError, and with who knows what in its text."""

    def refuse(*_: Any, **__: Any) -> None:
        raise NoCredentialsError("secret")

    receive_file(emulator)
    monkeypatch.setattr("fsspec.implementations.local.LocalFileSystem.makedirs", refuse)
    output, (row,) = stored(emulator, tmp_path)
    assert row["error"] == "NoCredentialsError"
    assert (len(output.ids()), len(output.bookmarks())) == (1, 2)


def test_a_note_that_makes_no_sense_is_none(emulator: Emulator, tmp_path: Path) -> None:
    receive_file(emulator)
    _, (first,) = stored(emulator, tmp_path)
    Path(f"{first['stored_at']}.sha256").write_bytes(b"\xff\xfe")
    _, (second,) = stored(emulator, tmp_path)
    assert (second["sha256"], second["error"]) == (DIGEST, None)
