"""Samples of what outlives the receiver, as they were written at the time, are read; newer formats are refused."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from linq_client import SettingsError
from linq_webhooks.archive import ArchiveError, open_archive
from tests.support.webhook_events import KEY, event

ROOT = Path(__file__).parents[3]
SAMPLES = ROOT / "tests" / "data" / "formats" / "webhook_archive"
DOCUMENT = (ROOT / "docs" / "reference" / "durable-formats.md").read_text()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    hour = tmp_path / "date=2026-03-01" / "hour=12"
    hour.mkdir(parents=True)
    lines = (SAMPLES / "events.jsonl").read_bytes().splitlines(keepends=True)
    # Those of a writer's segment, and one that a merged segment has.
    (hour / "vm-0a1b2c3d.000000001.jsonl").write_bytes(b"".join(lines[:3]))
    return tmp_path


def test_events_of_format_1_are_read(folder: Path) -> None:
    archive = open_archive(str(folder), encryption_key=KEY)
    read = [stored for stored, _ in archive.read()]
    assert read == [event(1), event(2, b"caf\xe9"), event(3)]


def test_positions_of_format_1_are_read(folder: Path) -> None:
    position = (SAMPLES / "position.json").read_text()
    read = [stored.event_id for stored, _ in open_archive(str(folder), encryption_key=KEY).read(position)]
    assert read == ["e2", "e3"]


def test_positions_in_a_database_of_format_1_are_read(tmp_path: Path) -> None:
    archive = open_archive(f"sqlite:///{tmp_path / 'a.db'}")
    archive.append([event(1), event(2)])
    with closing(sqlite3.connect(tmp_path / "a.db")) as connection, connection:
        connection.execute("update linq_webhook_events set position = substr(event_id, 2)")
    position = (SAMPLES / "position_database.json").read_text()
    assert [stored.event_id for stored, _ in archive.read(position)] == ["e2"]
    archive.close()


@pytest.mark.parametrize("fields", [{"format": 2}, {"format": 0}, {"format": None}, {"format": True}, {}])
def test_a_position_of_another_format_is_refused(folder: Path, fields: dict[str, object]) -> None:
    for url in (str(folder), f"sqlite:///{folder / 'a.db'}"):
        with pytest.raises((ArchiveError, SettingsError), match=r"position|format"):
            list(open_archive(url).read(json.dumps(fields)))


def test_every_field_is_documented() -> None:
    written: set[str] = set()
    for sample in SAMPLES.iterdir():
        for line in sample.read_text().splitlines():
            record = json.loads(line)
            written |= record.keys() | record.get("origin", {}).keys()
    section = re.search(r"^## Webhook archive\n(.*?)(?=^## )", DOCUMENT, flags=re.DOTALL | re.MULTILINE)
    assert section
    assert written <= set(re.findall(r"`(\w+)`", section[1]))
