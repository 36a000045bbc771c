"""An archive of files when writers crash, segments are compressed and merged, and clocks differ."""

from __future__ import annotations

import gzip
import logging
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from functools import partial
from itertools import islice
from pathlib import Path

import fsspec
import pytest
import time_machine
from hypothesis import given, settings
from hypothesis import strategies as st

from linq_client import InvalidRequestError, SettingsError
from linq_webhooks.archive import Archive, ArchiveError, StoredEvent, open_archive
from linq_webhooks.maintenance import Erasure, compact, erase
from tests.support.webhook_events import event, ids_of
from tests.support.webhook_receiver import body_of

START = datetime(2026, 3, 1, 12, 30, tzinfo=timezone.utc)


def segments(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def append(folder: Path | str, *numbers: int) -> None:
    """Append by a writer that is closed afterwards."""
    with closing(open_archive(str(folder))) as archive:
        archive.append([event(number) for number in numbers])


def test_a_segment_that_a_crash_has_cut_is_read_to_its_last_whole_line(tmp_path: Path) -> None:
    whole = open_archive(str(tmp_path))
    whole.append([event(1), event(2)])
    (path,) = segments(tmp_path)
    content = path.read_bytes()
    second = content.index(b"\n") + 1
    for size in {*range(0, len(content), 23), second - 1, second, second + 1, len(content) - 1}:
        path.write_bytes(content[:size])
        assert ids_of(open_archive(str(tmp_path)))[0] == ["e1"] * (size >= second)
    path.write_bytes(content[:second])
    _, position = ids_of(open_archive(str(tmp_path)))
    path.write_bytes(content)
    assert ids_of(open_archive(str(tmp_path)), position)[0] == ["e2"]
    whole.close()


@pytest.mark.parametrize("damage", [b"garbage\n", b"[]\n", b'{"format": 1}\n', b"{}\n", b"\0" * 4096 + b'"rest"}\n'])
@pytest.mark.parametrize("is_closed", [False, True])
def test_a_damaged_record_is_passed_over_and_reported(
    tmp_path: Path, damage: bytes, is_closed: bool, caplog: pytest.LogCaptureFixture
) -> None:
    archive = open_archive(str(tmp_path))
    archive.append([event(1)])
    (path,) = segments(tmp_path)
    path.write_bytes(path.read_bytes() + damage)
    archive.append([event(2)])
    if is_closed:
        archive.close()
    reader = open_archive(str(tmp_path))
    with caplog.at_level(logging.ERROR):
        ids, position = ids_of(reader)
        assert ids == ["e1", "e2"]
        assert ids_of(reader, position)[0] == []
        assert ids_of(reader)[0] == ["e1", "e2"]
    (report,) = [record.getMessage() for record in caplog.records]
    assert path.name in report
    assert "damaged" in report or "format" in report
    archive.close()


@pytest.mark.parametrize("keeps_line_end", [False, True])
def test_what_is_after_a_blank_page_is_read(tmp_path: Path, keeps_line_end: bool) -> None:
    with closing(open_archive(str(tmp_path))) as archive:
        archive.append([event(number) for number in range(6)])
        (path,) = segments(tmp_path)
        lines = path.read_bytes().splitlines(keepends=True)
        lines[2] = b"\0" * (len(lines[2]) - keeps_line_end) + b"\n" * keeps_line_end
        path.write_bytes(b"".join(lines))
        ids, position = ids_of(open_archive(str(tmp_path)))
        assert ids == ["e0", "e1", "e3", "e4", "e5"]
        archive.append([event(6)])
        assert ids_of(open_archive(str(tmp_path)), position)[0] == ["e6"]


def test_a_damaged_record_is_not_merged_away(tmp_path: Path) -> None:
    with time_machine.travel(START) as clock:
        append(tmp_path, 1)
        append(tmp_path, 2)
        hour = segments(tmp_path)[0].parent
        (hour / "a.000000001.jsonl").write_bytes(b"garbage\n")
        clock.shift(timedelta(hours=5))
        append(tmp_path, 3)
        before = segments(tmp_path)
        with pytest.raises(ArchiveError, match="damaged"):
            compact(str(tmp_path))
        assert segments(tmp_path) == before


def test_a_record_of_a_later_version_is_refused_and_unknown_fields_are_not(tmp_path: Path) -> None:
    with closing(open_archive(str(tmp_path))) as archive:
        archive.append([event(1)])
        (path,) = segments(tmp_path)
        line = path.read_bytes()
        path.write_bytes(line.replace(b'{"format":1,', b'{"format":1,"later":[{}],'))
        assert [stored for stored, _ in open_archive(str(tmp_path)).read()] == [event(1)]
        path.write_bytes(line.replace(b'"format":1', b'"format":2'))
        with pytest.raises(ArchiveError, match="format 2, and this version reads up to 1"):
            ids_of(open_archive(str(tmp_path)))


def test_files_of_others_are_passed_over(tmp_path: Path) -> None:
    append(tmp_path, 1)
    (path,) = segments(tmp_path)
    for name in ("readme.txt", "a.000000001.jsonl.gz.new", "a.jsonl", "b.1.jsonl"):
        (path.parent / name).write_text("nothing of ours")
    (tmp_path / "other").mkdir()
    for folder in ("date=2026-13-99/hour=77", "date=9999-12-31/hour=24"):
        (tmp_path / folder).mkdir(parents=True)
        shutil.copy(path, tmp_path / folder / path.name)
    append(tmp_path, 2)
    assert sorted(ids_of(open_archive(str(tmp_path)))[0]) == ["e1", "e2"]


def test_a_closed_segment_is_compressed_and_found_whichever_is_left(tmp_path: Path) -> None:
    archive = open_archive(str(tmp_path))
    archive.append([event(1), event(2)])
    (open_segment,) = segments(tmp_path)
    content = open_segment.read_bytes()
    positions = [position for _, position in open_archive(str(tmp_path)).read()]
    archive.close()
    (closed,) = segments(tmp_path)
    assert closed.name == f"{open_segment.name}.gz"
    assert gzip.decompress(closed.read_bytes()) == content
    open_segment.write_bytes(content)  # a crash between the two steps
    for present in ([closed, open_segment], [closed], [open_segment]):
        for path in (closed, open_segment):
            path.rename(path.with_name(f"hidden-{path.name}-x"))
        for path in present:
            shutil.copy(path.with_name(f"hidden-{path.name}-x"), path)
        assert ids_of(open_archive(str(tmp_path)))[0] == ["e1", "e2"]
        assert ids_of(open_archive(str(tmp_path)), positions[0])[0] == ["e2"]
        assert ids_of(open_archive(str(tmp_path)), positions[1])[0] == []
        for path in (closed, open_segment):
            path.with_name(f"hidden-{path.name}-x").rename(path)


@time_machine.travel(START)
def test_a_write_that_fails_leaves_the_segment_and_what_was_written_before(tmp_path: Path) -> None:
    """The disk is full in the middle of a batch, and has room again."""
    pytest.importorskip("resource")
    import resource
    import signal

    archive = open_archive(str(tmp_path))
    archive.append([event(1)])
    size = segments(tmp_path)[0].stat().st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 300, before[1]))
        with pytest.raises(ArchiveError, match="cannot write: File too large"):
            archive.append([event(number) for number in range(2, 20)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert segments(tmp_path)[0].stat().st_size == size
    archive.append([event(number) for number in range(2, 20)])
    archive.close()
    assert ids_of(open_archive(str(tmp_path)))[0] == [f"e{number}" for number in range(1, 20)]


def test_the_size_of_a_position_does_not_grow_with_the_archive() -> None:
    with tempfile.TemporaryDirectory() as folder:
        longest = 0
        position = None
        for day in range(10):
            with time_machine.travel(START + timedelta(days=day)):
                append(folder, day)
                ids, position = ids_of(open_archive(folder), position)
                assert ids == [f"e{day}"]
                longest = max(longest, len(position or ""))
                _, afresh = ids_of(open_archive(folder))
                longest = max(longest, len(afresh or ""))
        assert longest < 300


def test_a_writer_whose_clock_is_far_behind_is_not_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    reader = open_archive(str(tmp_path))
    with time_machine.travel(START):
        append(tmp_path, 1)
        _, position = ids_of(reader)
    with time_machine.travel(START - timedelta(days=40)), caplog.at_level(logging.WARNING):
        append(tmp_path, 2)
    assert "a clock is wrong" in caplog.text
    with time_machine.travel(START):
        assert ids_of(reader, position)[0] == ["e2"]


def test_a_writer_whose_clock_is_ahead_hides_no_other(tmp_path: Path) -> None:
    reader = open_archive(str(tmp_path))
    with time_machine.travel(START), closing(open_archive(str(tmp_path))) as archive:
        archive.append([event(1)])
        with time_machine.travel(START + timedelta(days=400)):
            append(tmp_path, 2)
        _, position = ids_of(reader)
        archive.append([event(3)])
        assert ids_of(reader, position)[0] == ["e3"]
        append(tmp_path, 4)
        assert sorted(ids_of(reader, position)[0]) == ["e3", "e4"]


@pytest.fixture(params=["folder", "objects"])
def somewhere(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "folder":
        yield str(tmp_path)
        return
    yield "memory://webhooks"
    files = fsspec.filesystem("memory")
    files.store.clear()
    files.pseudo_dirs[:] = [""]


def test_small_files_of_closed_hours_are_merged_and_positions_hold(somewhere: str) -> None:
    positions: list[tuple[set[str], str | None]] = []
    files, root = fsspec.core.url_to_fs(somewhere)
    with time_machine.travel(START) as clock:
        for hour in range(4):
            for number in range(3):
                append(somewhere, 10 * hour + number, 100 + 10 * hour + number)
                # Another reader at each step: what it has, and what is left for it.
                ids, position = ids_of(open_archive(somewhere))
                positions.append((set(ids), position))
            clock.shift(timedelta(hours=1))
        everything = set(ids_of(open_archive(somewhere))[0])
        clock.shift(timedelta(hours=3))
        append(somewhere, 999)
        before = len(files.find(root))
        done = compact(somewhere)
        assert (done.hours, done.segments, done.events) == (4, 12, 24)
        assert before - len(files.find(root)) == 8
        assert compact(somewhere).hours == 0
        for seen, position in positions:
            rest = [stored.event_id for stored, _ in open_archive(somewhere).read(position)]
            assert len(rest) == len(set(rest)), "nothing twice"
            assert set(rest) == everything - seen | {"e999"}


def test_a_merger_that_a_full_disk_ends_changes_nothing(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    with time_machine.travel(START):
        append(tmp_path, 1, 2)
        append(tmp_path, 3, 4)
        with time_machine.travel(START + timedelta(hours=5)):
            append(tmp_path, 5)
    before = segments(tmp_path)
    # With -B, since Python cuts off a compiled module that doesn't fit, and nobody could import that any more.
    command = [sys.executable, "-B", "-m", "linq_webhooks", "compact", "--archive", str(tmp_path)]
    limited = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (100, 100))
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=limited)
    assert (done.returncode, done.stdout) == (1, "")
    assert "cannot merge date=2026-03-01/hour=12: File too large" in done.stderr
    assert segments(tmp_path) == before
    assert compact(str(tmp_path)).events == 4
    assert sorted(ids_of(open_archive(str(tmp_path)))[0]) == ["e1", "e2", "e3", "e4", "e5"]


def test_what_was_merged_is_merged_with_what_came_later(somewhere: str) -> None:
    with time_machine.travel(START) as clock, closing(open_archive(somewhere)) as late:
        append(somewhere, 1)
        append(somewhere, 2)
        late.append([event(3)])
        clock.shift(timedelta(hours=5))
        append(somewhere, 4)
        _, position = ids_of(open_archive(somewhere))
        assert compact(somewhere).events == 3
        assert sorted(ids_of(open_archive(somewhere))[0]) == ["e1", "e2", "e3", "e4"]
        assert ids_of(open_archive(somewhere), position)[0] == []
        late.append([event(5)])
        assert ids_of(open_archive(somewhere), position)[0] == ["e5"]


def test_the_events_of_one_person_are_erased(somewhere: str) -> None:
    ann, bob = "+12025550150", "+12025550151"
    about = {1: ann, 2: bob, 3: ann}
    with time_machine.travel(START) as clock:
        with closing(open_archive(somewhere)) as archive:
            for number, handle in about.items():
                body = body_of(number, data={"sender_handle": {"handle": handle}, "parts": []})
                archive.append([event(number, body)])
        _, position = ids_of(open_archive(somewhere))
        clock.shift(timedelta(hours=5))
        append(somewhere, 4)
        assert erase(somewhere, ann) == Erasure(erased=2, left=0)
        assert ids_of(open_archive(somewhere))[0] == ["e2", "e4"]
        assert ids_of(open_archive(somewhere), position)[0] == ["e4"]
        assert erase(somewhere, ann) == Erasure(erased=0, left=0)


def test_positions_hold_when_something_is_erased_from_what_was_merged(somewhere: str) -> None:
    """Each line keeps the place where its writer wrote it, however often it is written again."""
    ann, bob = "+12025550150", "+12025550151"
    with time_machine.travel(START) as clock:
        for number in range(6):
            with closing(open_archive(somewhere)) as archive:
                archive.append(
                    [event(number, body_of(number, data={"sender": {"handle": ann if number == 2 else bob}}))]
                )
        clock.shift(timedelta(hours=5))
        append(somewhere, 9)
        read = [(stored.event_id, position) for stored, position in open_archive(somewhere).read()]
        for rewrite, gone in ((partial(compact, somewhere), set()), (partial(erase, somewhere, ann), {"e2"})):
            rewrite()
            for index, (_, position) in enumerate(read):
                rest = ids_of(open_archive(somewhere), position)[0]
                assert sorted(rest) == sorted({id_ for id_, _ in read[index + 1 :]} - gone)
        assert compact(somewhere).hours == 0


@pytest.fixture
def segment_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is appended together is a segment."""
    monkeypatch.setattr("linq_webhooks.sinks._segment_writers.ROLL_BYTES", 1)


@pytest.mark.usefixtures("segment_each")
def test_what_a_store_shows_of_a_file_before_it_is_whole_is_not_all(tmp_path: Path) -> None:
    """A watcher goes on with the rest, in the same process."""
    with closing(open_archive(str(tmp_path))) as archive:
        archive.append([event(number) for number in range(50)])
        archive.append([event(number) for number in range(50, 60)])
    segment, _ = sorted(tmp_path.rglob("*.gz"))
    whole = segment.read_bytes()
    segment.write_bytes(whole[:-20])
    with closing(open_archive(str(tmp_path))) as reader:
        first, position = ids_of(reader)
        assert 0 < len(first) < 50, "nor is anything read that the same receiver has written later"
        segment.write_bytes(whole)
        assert [*first, *ids_of(reader, position)[0]] == [f"e{number}" for number in range(60)]


@pytest.mark.usefixtures("segment_each")
def test_a_file_that_stays_cut_holds_up_its_writer_until_its_hour_is_settled(tmp_path: Path) -> None:
    with time_machine.travel(START) as clock:
        with closing(open_archive(str(tmp_path))) as archive:
            archive.append([event(number) for number in range(50)])
            archive.append([event(50)])
        segment = min(tmp_path.rglob("*.gz"))
        segment.write_bytes(segment.read_bytes()[:-20])
        with closing(open_archive(str(tmp_path))) as reader:
            assert "e50" not in ids_of(reader)[0]
        clock.shift(timedelta(hours=25))
        append(str(tmp_path), 51)
    with closing(open_archive(str(tmp_path))) as reader:
        assert ids_of(reader)[0][-2:] == ["e50", "e51"]


def test_a_number_is_erased_in_either_of_its_forms(somewhere: str) -> None:
    with time_machine.travel(START) as clock, closing(open_archive(somewhere)) as archive:
        archive.append([event(1, body_of(1, data={"from": "+525550100134"})), event(2)])
        clock.shift(timedelta(hours=5))
        append(somewhere, 3)
        assert erase(somewhere, "+5215550100134") == Erasure(erased=1, left=0)


@pytest.mark.parametrize(
    "data",
    [
        {"shared_by": "Ann@Example.com", "chat_id": "c"},
        {"from": "ann@example.com", "to": ["+12025550151"]},
        {"to": ["+12025550151", "ann@example.com"]},
        {"chat": {"handles": [{"handle": "ann@example.com"}]}},
        {"votes": [{"options": [{"voters": [{"handle": "ann@example.com"}]}]}]},
    ],
)
def test_a_handle_is_found_in_whatever_field_it_stands(somewhere: str, data: dict[str, object]) -> None:
    with time_machine.travel(START) as clock, closing(open_archive(somewhere)) as archive:
        archive.append([event(1, body_of(1, data=data)), event(2, body_of(2, data={"from": "joann@example.com"}))])
        clock.shift(timedelta(hours=5))
        append(somewhere, 3)
        assert erase(somewhere, "ann@example.com") == Erasure(erased=1, left=0)
        assert ids_of(open_archive(somewhere))[0] == ["e2", "e3"]


def test_an_erasure_counts_what_is_too_new_to_be_erased(somewhere: str) -> None:
    ann = "+12025550150"
    with time_machine.travel(START) as clock:
        for number, hours in enumerate([0, 5, 1], start=1):
            clock.shift(timedelta(hours=hours))
            with closing(open_archive(somewhere)) as archive:
                archive.append([event(number, body_of(number, data={"sender_handle": {"handle": ann}}))])
        assert erase(somewhere, ann) == Erasure(erased=1, left=2)
        append(somewhere, 4)
        clock.shift(timedelta(hours=4))
        append(somewhere, 5)
        assert erase(somewhere, ann) == Erasure(erased=2, left=0)
        assert ids_of(open_archive(somewhere))[0] == ["e4", "e5"]


def test_the_newest_hour_is_erased_when_nothing_has_come_for_a_day(somewhere: str) -> None:
    ann = "+12025550150"
    with time_machine.travel(START) as clock:
        with closing(open_archive(somewhere)) as archive:
            archive.append([event(1, body_of(1, data={"from": ann}))])
        clock.shift(timedelta(hours=5))
        assert erase(somewhere, ann) == Erasure(erased=0, left=1)
        clock.shift(timedelta(hours=21))
        assert erase(somewhere, ann) == Erasure(erased=1, left=0)
        assert ids_of(open_archive(somewhere))[0] == []
        append(somewhere, 2)
        assert ids_of(open_archive(somewhere))[0] == ["e2"]


def test_a_receiver_that_is_quiet_goes_on_after_an_erasure(tmp_path: Path) -> None:
    with time_machine.travel(START) as clock, closing(open_archive(str(tmp_path))) as archive:
        archive.append([event(1, body_of(1, data={"from": "+12025550150"})), event(2)])
        clock.shift(timedelta(hours=26))
        assert erase(str(tmp_path), "+12025550150").erased == 1
        archive.append([event(3)])
        assert ids_of(open_archive(str(tmp_path)))[0] == ["e2", "e3"]


ANN = "+12025550150"
DIRECT = {"id": "direct", "is_group": False, "owner_handle": {"handle": "+12025550101"}}
GROUP = {**DIRECT, "id": "group", "is_group": True}


@pytest.mark.parametrize("place", ["{}/archive", "sqlite:///{}/archive.db"])
def test_what_was_sent_in_a_direct_chat_is_erased_too(tmp_path: Path, place: str) -> None:
    sender = {"sender_handle": {"handle": ANN}}
    kept = [
        {"chat": {**DIRECT, "id": "other"}, "direction": "outbound"},
        {"chat": GROUP, "direction": "outbound"},
        {"chat_id": "group", "message_id": "m", "code": 4001},
        {"chat": {"id": "unknown"}, "direction": "outbound"},
    ]
    erased = [
        {"chat": DIRECT, "direction": "outbound"},  # before they have written
        {"chat": DIRECT, "direction": "inbound", **sender},
        {"chat": GROUP, "direction": "inbound", **sender},
        {"chat": {"id": "unknown"}, "direction": "inbound", **sender},
        {"chat_id": "direct", "message_id": "m", "code": 4001},
        {"chat_id": "old", "is_group": False, "is_from_me": False, "from_handle": {"handle": ANN}, "message": {}},
        {"chat_id": "old", "is_group": False, "is_from_me": True, "message": {"id": "m"}},
        {"chat_id": "named", "message_id": "m", "code": 4001},
        {"reads": {ANN: "2026-03-01T12:00:00Z"}},
    ]
    url = place.format(tmp_path)
    with time_machine.travel(START) as clock, closing(open_archive(url)) as archive:
        archive.append([event(number, body_of(number, data=data)) for number, data in enumerate([*erased, *kept])])
        no_text = f'{{"text": "{ANN}'.encode() + b"\xff"
        archive.append([event(98, no_text), event(99, b"\xff" + no_text[:9])])
        clock.shift(timedelta(hours=26))
        assert erase(url, ANN, chats=["named"]) == Erasure(erased=len(erased) + 1, left=0)
        left = [f"e{number}" for number in range(len(erased), len(erased) + len(kept))]
        assert ids_of(archive)[0] == [*left, "e99"]


def test_the_chat_of_an_event_of_chats_is_itself(tmp_path: Path) -> None:
    url = str(tmp_path / "archive")
    created = {"id": "direct", "is_group": False, "handles": [{"handle": ANN}]}
    with time_machine.travel(START) as clock, closing(open_archive(url)) as archive:
        archive.append(
            [
                replace(event(1, body_of(1, data=created)), event_type="chat.created"),
                event(2, body_of(2, data={"chat": {"id": "direct"}, "direction": "outbound"})),
                event(3),
            ]
        )
        clock.shift(timedelta(hours=26))
        assert erase(url, ANN).erased == 2
        assert ids_of(archive)[0] == ["e3"]


@pytest.mark.parametrize("place", ["{}/typo", "sqlite:///{}/typo.db"])
def test_an_erasure_where_no_archive_is_is_refused(tmp_path: Path, place: str) -> None:
    url = place.format(tmp_path)
    with pytest.raises(SettingsError, match="nothing was ever stored"):
        erase(url, "+12025550150")


@pytest.mark.parametrize("handle", ["2025550150", "+1 202 555 0150", "", "(202) 555-0150"])
def test_what_is_no_handle_is_not_erased(tmp_path: Path, handle: str) -> None:
    append(tmp_path, 1)
    with pytest.raises(InvalidRequestError, match="handle"):
        erase(str(tmp_path), handle)


def test_only_files_are_merged(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="only an archive of files"):
        compact(f"sqlite:///{tmp_path / 'a.db'}")


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(0, 2), st.integers(1, 4)),
        st.tuples(st.just("read"), st.integers(0, 1)),
        st.tuples(st.just("read on"), st.integers(0, 1), st.integers(1, 4)),
        st.tuples(st.just("close"), st.integers(0, 2)),
        st.tuples(st.just("crash"), st.integers(0, 2)),
        st.tuples(st.just("wait"), st.sampled_from([1, 7, 60, 25 * 60])),
        st.tuples(st.just("set clock"), st.integers(0, 2), st.integers(-85, 85)),
        st.tuples(st.just("compact")),
    ),
    max_size=40,
)


@settings(max_examples=60)
@given(steps=STEPS)
def test_no_history_loses_an_event(steps: list[tuple[object, ...]]) -> None:
    """Writers append, end and crash, and their clocks differ; two readers read, or read on; hours are merged."""
    with tempfile.TemporaryDirectory() as folder, time_machine.travel(START) as clock:
        writers: list[Archive | None] = [None] * 3
        skews = [0, 0, 0]
        stored: list[str] = []
        seen: list[list[str]] = [[], []]
        positions: list[str | None] = [None, None]
        readings: list[Iterator[tuple[StoredEvent, str]]] = [iter(()), iter(())]
        for name, *arguments in [*steps, ("read", 0), ("read", 1)]:
            who = arguments[0] if arguments else None
            assert who is None or isinstance(who, int)
            if name == "append":
                with time_machine.travel(clock_now() + timedelta(minutes=skews[who])):
                    writer = writers[who] = writers[who] or open_archive(folder, writer=f"w{who}")
                    batch = [event(len(stored) + number) for number in range(arguments[1])]
                    writer.append(batch)
                    stored += [one.event_id for one in batch]
            elif name in ("close", "crash") and (writer := writers[who]) is not None:
                if name == "crash":
                    for path in Path(folder).rglob(f"w{who}-*.jsonl"):
                        with path.open("ab") as file:
                            file.write(b'{"format":1,"event_')
                else:
                    writer.close()
                writers[who] = None
            elif name == "read on":
                # What was listed when a reading began may be compressed and merged before it comes to that.
                some = list(islice(readings[who], arguments[1]))
                if some:
                    seen[who] += [one.event_id for one, _ in some]
                    positions[who] = some[-1][1]
                else:
                    readings[who] = open_archive(folder).read(positions[who])
            elif name == "read":
                ids, positions[who] = ids_of(open_archive(folder), positions[who])
                seen[who] += ids
                readings[who] = iter(())
            elif name == "set clock":
                skews[who] = arguments[1]
            elif name == "wait":
                clock.shift(timedelta(minutes=who))
            elif name == "compact":
                compact(folder)
        for ids in (*seen, ids_of(open_archive(folder))[0]):
            assert sorted(ids) == sorted(stored), "each once, and none is missing"


def clock_now() -> datetime:
    return datetime.now(timezone.utc)
