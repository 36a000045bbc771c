"""The files of `seen_path`: their format, and which of them count."""

from __future__ import annotations

import shutil
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from linq_client import InvalidRequestError
from tap_linq.extraction.seen_files import FORMAT, SeenFiles

SAMPLES = Path(__file__).parents[2] / "data" / "formats" / "seen"
NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
LINE = "+12025550101"
ENTRY = b"\1" * 8 + b"\2" * 8 + b"\0\0\0\3"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*.seen"))


def written(folder: Path, before: str | None = None, now: datetime = NOON) -> str:
    name = SeenFiles(str(folder)).begin(LINE, before).write(ENTRY, b"", now)
    assert name is not None
    return name


def test_samples_of_each_format_are_read(tmp_path: Path) -> None:
    shutil.copytree(SAMPLES, tmp_path, dirs_exist_ok=True)
    assert len(names(tmp_path)) == FORMAT
    for name in names(tmp_path):
        file = SeenFiles(str(tmp_path)).begin(LINE, name)
        assert file.problem is None
        assert file.messages.find(b"\1" * 8) == (b"\2" * 8, 3)
        assert file.others.find(b"\4" * 8) == (b"\5" * 8, 6)


def test_of_two_runs_with_one_state_neither_leaves_a_file(tmp_path: Path) -> None:
    """As long as they go on together: who comes later does not believe the file, and who came first leaves none."""
    name = written(tmp_path)
    first = SeenFiles(str(tmp_path)).begin(LINE, name)
    second = SeenFiles(str(tmp_path)).begin(LINE, name)
    assert (first.problem, len(first.messages)) == (None, 1)
    assert second.problem == "another run has begun with the same STATE"
    assert len(second.messages) == 0
    assert first.write(ENTRY, b"", NOON) is None
    assert second.write(ENTRY, b"", NOON) is None


def test_only_the_last_two_files_of_a_pipeline_are_kept(tmp_path: Path) -> None:
    other = written(tmp_path)
    name = written(tmp_path)
    kept = []
    for hour in range(1, 4):
        kept = [name]
        name = written(tmp_path, name, NOON + timedelta(hours=hour))
    assert set(names(tmp_path)) == {other, *kept, name}
    assert len({one.partition(".")[0] for one in (*kept, name)}) == 1
    name = written(tmp_path, name, NOON + timedelta(days=8))
    assert other not in names(tmp_path)


def test_other_files_are_let_alone(tmp_path: Path) -> None:
    (tmp_path / "12025550101").mkdir()
    (tmp_path / "12025550101" / "notes.txt").write_text("mine")
    name = written(tmp_path, written(tmp_path))
    written(tmp_path, name, NOON + timedelta(days=30))
    assert (tmp_path / "12025550101" / "notes.txt").read_text() == "mine"


def test_a_url_that_nobody_knows_is_refused_without_its_password() -> None:
    with pytest.raises(InvalidRequestError, match="seen_path") as refused:
        SeenFiles("nonsense://user:secret@host/folder")
    assert "secret" not in str(refused.value)


def test_an_object_store_works_too(tmp_path: Path) -> None:
    url = f"memory://seen-{tmp_path.name}"
    name = SeenFiles(url).begin(LINE, None).write(ENTRY, b"", NOON)
    file = SeenFiles(url).begin(LINE, name)
    assert (file.problem, len(file.messages)) == (None, 1)
    assert SeenFiles(url).begin(LINE, name).problem is not None
