"""Files are stored in the same pass, once, whole, and where no sender can choose."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from linq_client import APIConnectionError, LinqClient
from linq_client.store_urls import without_user_info
from tap_linq.extraction.file_source import MAX_FAILED
from tap_linq.extraction.session import IncompleteRunError
from tests.support.emulator_process import Emulator
from tests.support.running import FIRST_LINE, Output, history, inbound, run_api, run_tap, succeed
from tests.support.small_api import Handler, small_api

CONTENT = b"placeholder of the emulator, which downloads nothing\n"
DIGEST = hashlib.sha256(CONTENT).hexdigest()


def receive_file(emulator: Emulator, name: str = "a.png") -> str:
    return inbound(emulator, parts=[{"type": "media", "url": f"https://example.com/{name}"}])


def stored(emulator: Emulator, folder: Path | str, **options: Any) -> tuple[Output, list[dict[str, Any]]]:
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


@pytest.mark.parametrize("says_length", [True, False])
def test_a_file_that_turns_out_to_be_too_large_is_begun_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, says_length: bool
) -> None:
    """In as many messages as it may stand, and wherever else it could be fetched from."""
    caplog.set_level("INFO")
    pieces: list[int] = []

    def messages(handler: Handler, _: dict[str, str]) -> None:
        found = [handler.server.message("c00000", place) for place in range(3)]
        for one in found:
            one["parts"] = [{"type": "media", "id": "file-1", "url": f"{handler.server.origin}/v3/file"}]
        handler.send({"messages": found, "next_cursor": None})

    def file(handler: Handler, _: dict[str, str]) -> None:
        handler.begin(length=20_000_000 if says_length else None, Connection="close")
        handler.close_connection = True
        with contextlib.suppress(OSError):
            for number in range(200):
                handler.wfile.write(bytes(100_000))
                pieces.append(number)

    with small_api(chats=1) as api:
        api.answers |= {"/v3/chats/c00000/messages": messages, "/v3/file": file}
        output = run_api(api, attachments_path=str(tmp_path), attachment_max_megabytes=1)
    assert output.error is None
    assert {row["error"] for row in output.records("attachments")} == {"larger than 1000000 bytes"}
    assert [path for path in api.seen if "file" in path or "attachments" in path] == ["/v3/file"]
    assert len(pieces) < 200, "left early"
    assert "files: 0 stored, 0 stored before, 3 failed" in caplog.text


def test_files_that_can_t_be_fetched_at_all_hold_up_no_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A host that is down costs seconds of tries with each file: it is not asked for all of them."""

    def messages(handler: Handler, _: dict[str, str]) -> None:
        chat = handler.path.split("/")[5]
        found = [handler.server.message(chat, place) for place in range(20)]
        for one in found:
            one["parts"] = [{"type": "media", "id": f"file-{one['id']}", "url": f"{handler.server.origin}/v3/file"}]
        handler.send({"messages": found, "next_cursor": None})

    tried: list[str] = []

    def down(_: LinqClient, method: str, url: str, **options: Any) -> int:
        tried.append(url)
        raise APIConnectionError("no usable response")

    with small_api(chats=5) as api:
        api.answers["/v3/chats/[^/]*/messages"] = messages
        with monkeypatch.context() as patched:
            patched.setattr(LinqClient, "transfer", down)
            first = run_api(api, attachments_path=str(tmp_path), concurrency=2)
        assert first.error is None
        assert len(first.ids()) == len(first.records("attachments")) == 100
        assert MAX_FAILED <= len(tried) <= 4 * MAX_FAILED, "and one now and then"
        assert caplog.text.count("could not be fetched, one after the other") == 1
        second = run_api(api, attachments_path=str(tmp_path), state=first.state)
    assert {row["error"] for row in second.records("attachments")} == {None}
    assert len(second.records("attachments")) == 100


def change_parts(monkeypatch: pytest.MonkeyPatch, **fields: Any) -> None:
    """Let the parts of all messages say something else."""
    request = LinqClient.request

    def changed(self: LinqClient, method: str, path: str, **options: Any) -> Any:
        reply = request(self, method, path, **options)
        for message in reply.body.get("messages", ()):
            message["parts"][0].update(fields)
        return reply

    monkeypatch.setattr(LinqClient, "request", changed)


@pytest.mark.parametrize("size", [7, 0, None, "53"])
def test_a_file_of_another_size_than_its_message_says_is_kept(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, size: object
) -> None:
    """It came whole; the platform may have converted it, or not have known its size yet."""
    caplog.set_level("INFO")
    receive_file(emulator)
    change_parts(monkeypatch, size_bytes=size)
    _, (row,) = stored(emulator, tmp_path)
    assert (row["error"], row["sha256"], row["stored_bytes"]) == (None, DIGEST, len(CONTENT))
    stored(emulator, tmp_path)
    assert "files: 0 stored, 1 stored before, 0 failed" in caplog.text


@pytest.mark.parametrize("id_", ["../../evil", "a/b", "x" * 65, "a:b=c+d", "ab", "."])
def test_an_id_that_could_leave_the_folder_is_hashed(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, id_: str
) -> None:
    receive_file(emulator)
    change_parts(monkeypatch, id=id_)
    _, (row,) = stored(emulator, tmp_path / "files")
    name = hashlib.sha256(id_.encode()).hexdigest()
    assert (row["attachment_id"], row["error"]) == (id_, None)
    assert row["stored_at"] == f"{tmp_path}/files/{name[:2]}/{name}"
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {name, f"{name}.sha256"}


@pytest.mark.parametrize("id_", ["", None, 5])
def test_a_file_without_an_id_can_t_be_stored(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, id_: object
) -> None:
    receive_file(emulator)
    change_parts(monkeypatch, id=id_)
    _, (row,) = stored(emulator, tmp_path / "files")
    assert row["error"] == "the attachment has no id that could name a file"


@pytest.mark.parametrize("url", ["{}0", "http://files.example.com/a.pdf"])
def test_a_url_that_is_refused_is_asked_for_again(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    """It has expired, or its host, or the client, says of it that it is none."""
    receive_file(emulator)
    request = LinqClient.request

    def expired(self: LinqClient, method: str, path: str, **options: Any) -> Any:
        reply = request(self, method, path, **options)
        for message in reply.body.get("messages", ()):
            message["parts"][0]["url"] = url.format(message["parts"][0]["url"])
        return reply

    monkeypatch.setattr(LinqClient, "request", expired)
    _, (row,) = stored(emulator, tmp_path)
    assert (row["sha256"], row["error"]) == (DIGEST, None)


def test_any_store_that_fsspec_knows(emulator: Emulator) -> None:
    receive_file(emulator)
    output = succeed(emulator, attachments_path="memory://linq/files")
    (row,) = output.records("attachments")
    assert row["stored_at"].startswith("memory://linq/files/")
    assert fsspec.filesystem("memory").cat_file(row["stored_at"]) == CONTENT


UNUSABLE = "the store could not be used when the run began"


class NoCredentialsError(Exception):
    """As botocore's: no OSError, and with who knows what in its text."""


class Bucket(MemoryFileSystem):
    """A store like S3, where a folder that is made may be a new bucket. Writes fail after the first `room`."""

    protocol = "bucket"
    room = 1_000

    def mkdir(self, path: str, create_parents: bool = True, **options: Any) -> None:
        pytest.fail("this could make a bucket")

    makedirs = mkdir

    def _open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        if mode == "wb":
            if Bucket.room == 0:
                raise NoCredentialsError("secret")
            Bucket.room -= 1
        return super()._open(path, mode, **options)


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> type[Bucket]:
    fsspec.register_implementation("bucket", Bucket, clobber=True)
    monkeypatch.setattr(Bucket, "room", 1_000)
    monkeypatch.setattr(Bucket, "store", {})
    monkeypatch.setattr(Bucket, "pseudo_dirs", [""])
    return Bucket


def failing(emulator: Emulator, **options: Any) -> Output:
    """Run the tap, which must say at its end that files could not be stored, and do all else."""
    output = run_tap(emulator, **options)
    assert isinstance(output.error, IncompleteRunError)
    assert str(output.error).startswith("attachments_path: files could not be stored in ")
    assert "secret" not in str(output.error)
    assert set(output.bookmarks()) == set(emulator.lines)
    return output


def test_a_bucket_is_never_made(emulator: Emulator, bucket: type[Bucket]) -> None:
    receive_file(emulator)
    _, (row,) = stored(emulator, "bucket://name/files")
    assert row["error"] is None


@pytest.mark.parametrize("room", [0, 1])
def test_a_store_that_fails_fails_the_run_at_its_end(
    emulator: Emulator, bucket: type[Bucket], room: int, caplog: pytest.LogCaptureFixture
) -> None:
    """It fails when it is tried, before the first request, or later."""
    receive_file(emulator)
    bucket.room = room
    output = failing(emulator, attachments_path="bucket://name/files")
    (row,) = output.records("attachments")
    assert (row["stored_at"], row["error"]) == (None, "NoCredentialsError" if room else UNUSABLE)
    assert len(output.ids()) == 1
    assert "secret" not in caplog.text


def test_what_failed_is_tried_again_by_the_next_run(emulator: Emulator, bucket: type[Bucket]) -> None:
    """Also where that would have been an incremental pass, to which the message is too old."""
    history(emulator)
    receive_file(emulator)
    bucket.room = 1
    first = failing(emulator, attachments_path="bucket://name/files")
    emulator.advance(3600)
    bucket.room = 1_000
    again, (row,) = stored(emulator, "bucket://name/files", state=first.state)
    assert (row["sha256"], row["error"]) == (DIGEST, None)
    emulator.advance(600)
    _, rows = stored(emulator, "bucket://name/files", state=again.state)
    assert rows == [], "nothing is owed any more"


@pytest.mark.parametrize("path", ["/dev/null/files", "file.txt"])
def test_a_folder_that_is_none(emulator: Emulator, tmp_path: Path, path: str) -> None:
    (tmp_path / "file.txt").touch()
    receive_file(emulator)
    failing(emulator, attachments_path=str(tmp_path / path))


def test_files_are_for_their_owner_alone(emulator: Emulator, tmp_path: Path) -> None:
    receive_file(emulator)
    _, (row,) = stored(emulator, tmp_path / "files")
    file = Path(row["stored_at"])
    assert [one.stat().st_mode & 0o777 for one in (file, file.parent, tmp_path / "files")] == [0o600, 0o700, 0o700]


def test_a_link_is_not_followed(emulator: Emulator, tmp_path: Path) -> None:
    receive_file(emulator)
    outside, files = tmp_path / "outside", tmp_path / "files"
    _, (row,) = stored(emulator, files)
    file = Path(row["stored_at"])
    outside.write_text("mine")
    file.unlink()
    file.symlink_to(outside)
    _, (row,) = stored(emulator, files)
    assert (outside.read_text(), file.is_symlink(), file.read_bytes()) == ("mine", False, CONTENT)
    file.parent.rename(tmp_path / "elsewhere")
    file.parent.symlink_to(tmp_path / "elsewhere")
    for one in (tmp_path / "elsewhere").iterdir():
        one.unlink()
    failing(emulator, attachments_path=str(files))
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_good_copy_stays_until_the_next_one_is_whole(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    receive_file(emulator)
    _, (row,) = stored(emulator, tmp_path)
    file = Path(row["stored_at"])
    Path(f"{file}.sha256").unlink()

    def full(*_: Any) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr("tap_linq.extraction.media.os.replace", full)
        failing(emulator, attachments_path=str(tmp_path))
    assert file.read_bytes() == CONTENT
    assert [one.name for one in tmp_path.rglob(".tap-linq-*")] == []


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("ftp://user:pw@host/p", "ftp://host/p"),
        ("sftp://user:p@ss@host/p@q", "sftp://host/p@q"),
        ("simplecache::ftp://user:pw@host/p", "simplecache::ftp://host/p"),
        ("abfs://container@account.dfs.core.windows.net/p", "abfs://container@account.dfs.core.windows.net/p"),
        ("s3://bucket/a@b", "s3://bucket/a@b"),
        ("/home/a@b/files", "/home/a@b/files"),
    ],
)
def test_a_password_in_the_url_is_not_shown(url: str, shown: str) -> None:
    assert without_user_info(url) == shown


def test_no_password_gets_into_records_or_log(
    emulator: Emulator, bucket: type[Bucket], caplog: pytest.LogCaptureFixture
) -> None:
    receive_file(emulator)
    bucket.room = 1
    failing(emulator, attachments_path="bucket://user:secret@name/files")
    bucket.room = 1_000
    _, (row,) = stored(emulator, "bucket://user:secret@name/files")
    assert row["stored_at"].startswith("bucket://name/files/")
    assert "secret" not in caplog.text


def test_a_note_that_makes_no_sense_is_none(emulator: Emulator, tmp_path: Path) -> None:
    receive_file(emulator)
    _, (first,) = stored(emulator, tmp_path)
    Path(f"{first['stored_at']}.sha256").write_bytes(b"\xff\xfe")
    _, (second,) = stored(emulator, tmp_path)
    assert (second["sha256"], second["error"]) == (DIGEST, None)
