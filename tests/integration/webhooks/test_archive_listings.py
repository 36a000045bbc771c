"""A reader of an archive of files while receivers write and hours are merged, also in the middle of a listing."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timedelta, timezone
from itertools import count, islice
from pathlib import Path
from typing import Any

import fsspec
import pytest
import time_machine

from linq_webhooks.archive import ArchiveError, open_archive
from linq_webhooks.maintenance import compact
from linq_webhooks.stores import Store
from tests.support.webhook_events import event, ids_of

pytestmark = pytest.mark.usefixtures("segment_each")

END_OF_HOUR = datetime(2026, 3, 1, 12, 59, 30, tzinfo=timezone.utc)


@pytest.fixture
def segment_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is appended together is a segment."""
    monkeypatch.setattr("linq_webhooks.sinks._segment_writers.ROLL_BYTES", 1)


@pytest.fixture(params=["folder", "objects"])
def somewhere(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "folder":
        yield str(tmp_path)
        return
    yield "memory://listings"
    files = fsspec.filesystem("memory")
    files.store.clear()
    files.pseudo_dirs[:] = [""]


@contextmanager
def slow_listing(url: str, folder: str, meanwhile: Callable[[], None], *, pieces: int) -> Iterator[None]:
    """Something happens in the next listing of an archive: after a folder, or between the two pieces of its names.

    Stores list what is much in pieces, and folders one after the other.
    """
    files, _ = fsspec.core.url_to_fs(url)
    kind, name = type(files), "ls" if files.protocol[0] == "file" else "find"
    listing = getattr(kind, name)

    def listed(self: Any, path: str, **options: Any) -> Any:
        found = sorted(listing(self, path, **options), key=name_of)
        inside = [name_of(one) for one in found if f"/{folder}/" in name_of(one)]
        if not inside:
            return found
        patch.undo()
        meanwhile()
        last = f"{inside[0].rpartition('/')[0]}/~" if pieces == 1 else inside[len(inside) // 2]
        later = [one for one in listing(self, path, **options) if name_of(one) > last]
        return [one for one in found if name_of(one) <= last] + later

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kind, name, listed)
        yield
        assert getattr(kind, name) is listing, "it was listed"


def name_of(entry: Any) -> str:
    return str(entry if isinstance(entry, str) else entry["name"])


def test_a_listing_that_an_hour_ends_in_passes_nothing_over(somewhere: str) -> None:
    """The receiver begins a segment in an hour that was listed, and the next one in an hour that was not."""
    with time_machine.travel(END_OF_HOUR) as clock, closing(open_archive(somewhere, writer="behind")) as behind:
        behind.append([event(1)])
        with time_machine.travel(END_OF_HOUR + timedelta(minutes=1)), closing(open_archive(somewhere)) as ahead:
            ahead.append([event(2)])

        def meanwhile() -> None:
            behind.append([event(3)])
            clock.shift(timedelta(minutes=1))
            behind.append([event(4)])

        with closing(open_archive(somewhere)) as reader:
            with slow_listing(somewhere, "hour=12", meanwhile, pieces=1):
                first, position = ids_of(reader)
            rest, _ = ids_of(reader, position)
        assert sorted(first + rest) == ["e1", "e2", "e3", "e4"]


@pytest.mark.parametrize("hours", [5, 30])
def test_a_merger_in_the_middle_of_a_listing_hides_nothing(somewhere: str, hours: int) -> None:
    with time_machine.travel(END_OF_HOUR) as clock, closing(open_archive(somewhere, writer="receiver")) as archive:
        for number in range(8):
            archive.append([event(number)])
        with closing(open_archive(somewhere)) as reader:
            some = list(islice(reader.read(), 6))
        clock.shift(timedelta(hours=hours))
        archive.append([event(8)])
        with closing(open_archive(somewhere)) as reader:
            with slow_listing(somewhere, "hour=12", lambda: assert_merged(somewhere), pieces=2):
                rest, position = ids_of(reader, some[-1][1])
            rest += ids_of(reader, position)[0]
    assert [stored.event_id for stored, _ in some] + rest == [f"e{number}" for number in range(9)]


def assert_merged(url: str) -> None:
    assert compact(url).segments == 8


def test_a_merger_does_not_wait_until_nobody_writes(somewhere: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Receivers may write more often than the folders of a date can be listed."""
    with time_machine.travel(END_OF_HOUR) as clock, closing(open_archive(somewhere, writer="receiver")) as archive:
        archive.append([event(0)])
        archive.append([event(1)])
        clock.shift(timedelta(hours=5))
        archive.append([event(2)])
        numbers = count(3)
        files = Store.files

        def written_to(store: Store, folder: str) -> list[str]:
            number = next(numbers)
            assert number < 50, "the listings end"
            archive.append([event(number)])
            return files(store, folder)

        with monkeypatch.context() as patch:
            patch.setattr(Store, "files", written_to)
            assert compact(somewhere).segments == 2
        with closing(open_archive(somewhere)) as reader:
            assert ids_of(reader)[0] == [f"e{number}" for number in range(next(numbers))]


def test_hours_that_are_merged_one_after_the_other_while_they_are_read_end_no_reading(somewhere: str) -> None:
    with time_machine.travel(END_OF_HOUR - timedelta(days=4)) as clock:
        with closing(open_archive(somewhere)) as archive:
            for number in range(90):
                archive.append([event(number)])
                clock.shift(timedelta(minutes=30))
        with closing(open_archive(somewhere)) as reader:
            ids = []
            for position, (stored, _) in enumerate(reader.read()):
                ids.append(stored.event_id)
                if position == 10:
                    compact(somewhere)
        assert ids == [f"e{number}" for number in range(90)]


@pytest.mark.parametrize("size", [0, -20])
def test_a_file_that_is_cut_short_is_not_merged_away(tmp_path: Path, size: int) -> None:
    with time_machine.travel(END_OF_HOUR) as clock:
        with closing(open_archive(str(tmp_path))) as archive:
            archive.append([event(number) for number in range(50)])
            archive.append([event(50)])
        segment = min(tmp_path.rglob("*.gz"))
        whole = segment.read_bytes()
        segment.write_bytes(whole[:size])
        clock.shift(timedelta(hours=5))
        with closing(open_archive(str(tmp_path))) as archive:
            archive.append([event(51)])
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(ArchiveError, match="cut short"):
            compact(str(tmp_path))
        assert sorted(tmp_path.rglob("*")) == before
        segment.write_bytes(whole)
        assert compact(str(tmp_path)).events == 51
        with closing(open_archive(str(tmp_path))) as reader:
            assert ids_of(reader)[0] == [f"e{number}" for number in range(52)]


@pytest.mark.parametrize("what", ["segment", "merged"])
@pytest.mark.parametrize("size", [0, 100, -20])
def test_what_a_store_shows_of_a_file_before_it_is_whole_is_not_all(tmp_path: Path, what: str, size: int) -> None:
    """A reader goes on with the rest, also one that has read a part, and whatever is there of a file then."""
    with time_machine.travel(END_OF_HOUR) as clock, closing(open_archive(str(tmp_path))) as archive:
        archive.append([event(number) for number in range(50)])
        archive.append([event(number) for number in range(50, 60)])
        if what == "merged":
            clock.shift(timedelta(hours=5))
            archive.append([event(number) for number in range(60, 70)])
            archive.close()
            compact(str(tmp_path))
    file = min(tmp_path.rglob("merged-*.gz" if what == "merged" else "*.gz"))
    whole = file.read_bytes()
    with time_machine.travel(END_OF_HOUR + timedelta(hours=6)):
        for read_before in (0, 30):
            with closing(open_archive(str(tmp_path))) as reader:
                some = list(islice(reader.read(), read_before))
                ids, position = [stored.event_id for stored, _ in some], some[-1][1] if some else None
                file.write_bytes(whole[:size])
                more, position = ids_of(reader, position)
                assert len(ids + more) < (60 if what == "merged" else 50), "nor is anything read that came later"
                file.write_bytes(whole)
                ids += more + ids_of(reader, position)[0]
                assert ids == [f"e{number}" for number in range(70 if what == "merged" else 60)]


def test_a_folder_that_cannot_be_listed_is_not_taken_for_an_empty_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with time_machine.travel(END_OF_HOUR) as clock, closing(open_archive(str(tmp_path))) as archive:
        archive.append([event(1)])
        clock.shift(timedelta(hours=1))
        archive.append([event(2)])
        scandir = os.scandir

        def refuses(path: Any) -> Any:
            if str(path).endswith("hour=12"):
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            return scandir(path)

        with closing(open_archive(str(tmp_path))) as reader:
            with monkeypatch.context() as patch:
                patch.setattr("os.scandir", refuses)
                with pytest.raises(ArchiveError, match="cannot list it: Too many open files"):
                    ids_of(reader)
            assert ids_of(reader)[0] == ["e1", "e2"]


@pytest.mark.parametrize("goes", [1, 1_000])
def test_a_file_that_goes_while_its_folder_is_listed_makes_the_folder_no_empty_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, goes: int
) -> None:
    """Versions of fsspec, and file systems, raise the same as for a folder that does not exist."""
    with closing(open_archive(str(tmp_path))) as archive:
        archive.append([event(1)])
        kind = type(fsspec.filesystem("file"))
        listing, calls = kind.ls, count(1)

        def raises(self: Any, path: str, **options: Any) -> Any:
            number = next(calls)
            assert number < 900, "the listings end"
            if number <= goes:
                raise FileNotFoundError(path)
            return listing(self, path, **options)

        monkeypatch.setattr(kind, "ls", raises)
        if goes == 1:
            assert ids_of(archive)[0] == ["e1"]
        else:
            with pytest.raises(ArchiveError, match="cannot list it: its files go meanwhile"):
                ids_of(archive)


def test_a_bucket_without_an_object_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some stores say so of a bucket as they do of one that does not exist."""
    files = type(fsspec.filesystem("memory"))
    monkeypatch.setattr(files, "isdir", lambda self, path: True)
    with closing(open_archive("memory://new-bucket")) as archive:
        assert ids_of(archive) == ([], None)
