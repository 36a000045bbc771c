"""A store for files that does not work is heard of, and costs no message."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.hostile_api import HostileAPI, Response, media_part, on, serving, small_account
from tests.support.tap_runs import FILE_SIZE, Extraction, run_tap

CONTENT = b"0123456789"


def account(api: HostileAPI, *ids: str, **fields: object) -> None:
    """Chats whose messages have a file each, with these ids, or one of their own."""
    api.files["good"] = CONTENT
    api.chats = small_account(max(3, len(ids)), 1)
    for number, chat in enumerate(api.chats):
        (message,) = chat.messages
        url = f"{api.url}/api/partner/v3/files/good"
        file_id = ids[number] if number < len(ids) else f"file-{number}"
        message["parts"] = [media_part(file_id, url, size_bytes=len(CONTENT)) | fields]


def extract(
    store: str | Path, folder: Path, *ids: str, rules: list[object] | None = None, **fields: object
) -> Extraction:
    api = HostileAPI(rules=rules or [])  # type: ignore[arg-type]
    with serving(api):
        account(api, *ids, **fields)
        extraction = run_tap(api, folder, attachments_path=str(store))
    assert "Traceback" not in extraction.log, extraction.log[-1_500:]
    return extraction


def below_a_file(folder: Path) -> Path:
    (folder / "a-file").write_text("x")
    return folder / "a-file" / "store"


def forbidden(folder: Path) -> Path:
    store = folder / "forbidden"
    store.mkdir(mode=0o500)
    return store


#: Stores in which nothing can be stored; all but the one that root may write to.
STORES: dict[str, Callable[[Path], str | Path]] = {
    "below a file": below_a_file,
    "a file": lambda folder: below_a_file(folder).parent,
    "below a device": lambda folder: "/dev/null/files",
    "full": lambda folder: "/dev/full/files",
    "in /proc": lambda folder: "/proc/files",
    "of a kind nobody knows": lambda folder: "nosuch://bucket/files",
    "a name too long": lambda folder: folder / ("x" * 300),
    "a server that is not there": lambda folder: "http://127.0.0.1:9/files",
}


@pytest.mark.parametrize("name", STORES)
def test_a_store_that_does_not_work_is_a_failure(name: str, tmp_path: Path) -> None:
    extraction = extract(STORES[name](tmp_path), tmp_path / "run")
    assert extraction.code == 1
    assert extraction.last_line.strip()
    assert any("ERROR" in line for line in extraction.log.splitlines())


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes wherever it likes")
def test_a_store_that_is_forbidden_is_a_failure(tmp_path: Path) -> None:
    assert extract(forbidden(tmp_path), tmp_path / "run").code == 1


def test_a_full_disk_is_a_failure(tmp_path: Path) -> None:
    """Each file fails while it is written, and the messages are out all the same."""
    store = tmp_path / "store"
    store.mkdir()
    api = HostileAPI()
    with serving(api):
        account(api)
        api.files["good"] = b"x" * 300_000
        for chat in api.chats:
            chat.messages[0]["parts"][0]["size_bytes"] = 300_000
        extraction = run_tap(api, tmp_path / "run", attachments_path=str(store), env={FILE_SIZE: "100000"})
    assert extraction.code == 1
    assert len(extraction.records("messages")) == 3
    assert all(row["error"] for row in extraction.records("attachments"))
    assert "Traceback" not in extraction.log


def test_files_are_stored(tmp_path: Path) -> None:
    extraction = extract(tmp_path / "store", tmp_path / "run")
    assert extraction.code == 0
    rows = extraction.records("attachments")
    assert [row["sha256"] for row in rows] == [hashlib.sha256(CONTENT).hexdigest()] * 3
    assert all(Path(row["stored_at"].removeprefix("file://")).read_bytes() == CONTENT for row in rows)


def test_files_of_another_size_than_the_api_said_are_kept(tmp_path: Path) -> None:
    """They came whole, by their own length: pictures are converted on their way."""
    sizes = [0, 1, 9, 11, 99_000_000, None, "10", -1]
    api = HostileAPI()
    with serving(api):
        account(api, *(f"of-{number}" for number in range(len(sizes))))
        for chat, size in zip(api.chats, sizes, strict=True):
            chat.messages[0]["parts"][0]["size_bytes"] = size
        extraction = run_tap(api, tmp_path / "run", attachments_path=str(tmp_path / "store"))
    assert extraction.code == 0
    rows = extraction.records("attachments")
    assert len(rows) == len(sizes)
    assert all(row["stored_at"] for row in rows), [row["error"] for row in rows]


IDS = [
    "a:b",
    "a=b",
    "a/b",
    "a+b",
    "../../outside",
    "x" * 65,
    "x" * 300,
    "a b",
    "\u00e9",
    ".",
    "..",
    "a\\b",
    "CON",
    "%2e",
]


def test_ids_of_all_kinds_are_stored_inside(tmp_path: Path) -> None:
    store = tmp_path / "store"
    extraction = extract(store, tmp_path / "run", *IDS)
    assert extraction.code == 0
    rows = extraction.records("attachments")
    assert all(row["stored_at"] for row in rows), [row["error"] for row in rows if row["error"]][:3]
    assert len({row["stored_at"] for row in rows}) == len(IDS)
    for row in rows:
        assert Path(row["stored_at"].removeprefix("file://")).resolve().is_relative_to(store.resolve())


def test_one_file_that_is_gone_is_no_failure_of_the_others(tmp_path: Path) -> None:
    rule = on("/files/good", Response(b"gone", 404), times=1)
    extraction = extract(tmp_path / "store", tmp_path / "run", rules=[rule])
    errors = [row["error"] for row in extraction.records("attachments")]
    assert sum(error is not None for error in errors) <= 1
    assert extraction.code == 0
    assert len(extraction.records("messages")) == 3


def test_a_password_in_the_path_is_nowhere_in_the_rows(tmp_path: Path) -> None:
    extraction = extract("memory://user:SECRETPW@host/p", tmp_path)
    assert b"SECRETPW" not in extraction.output.read_bytes()
    assert "SECRETPW" not in extraction.log
