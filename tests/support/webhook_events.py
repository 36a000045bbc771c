"""Deliveries of webhooks for tests, and what every archive of them has to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import datetime, timedelta, timezone

import pytest

from linq_client import SettingsError
from linq_webhooks.archive import Archive, ArchiveError, StoredEvent, open_archive

__all__ = ["ArchiveContract", "event", "ids_of"]

NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)

KEY = b"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
OTHER_KEY = b"ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA="


def event(number: int, body: bytes | None = None) -> StoredEvent:
    """An event that differs from those of other numbers."""
    return StoredEvent(
        event_id=f"e{number}",
        event_type="message.received",
        subscription_id="s1",
        received_at=NOON + timedelta(microseconds=number),
        headers={"x-webhook-event": "message.received", "linq-chat-id": f"c{number % 7}"},
        body=body if body is not None else f'{{"event_id": "e{number}", "n": {number}}}'.encode(),
    )


def ids_of(archive: Archive, since: str | None = None) -> tuple[list[str], str | None]:
    """The ids of the events after a position, and the position after them."""
    ids = []
    position = since
    for stored, after in archive.read(since):
        ids.append(stored.event_id)
        position = after
    return ids, position


class ArchiveContract:
    """What holds for archives wherever they are. A subclass has fixtures `url` and `raw`, which returns all bytes."""

    @pytest.fixture
    def opened(self, url: str) -> Iterator[Callable[..., Archive]]:
        """Opens the archive, again and again."""
        with ExitStack() as stack:
            yield lambda **options: stack.enter_context(closing(open_archive(url, **options)))

    def test_what_was_appended_is_read_byte_by_byte(self, opened: Callable[..., Archive]) -> None:
        bodies = [
            b"{}",
            b"",
            b'{"a": "caf\xc3\xa9\\ud83d"}',
            b"caf\xe9\x00\xff",
            "\u2028\x85\n\r".encode(),
            b"x" * 100_000,
        ]
        events = [event(number, body) for number, body in enumerate(bodies)]
        archive = opened()
        archive.append(events[:2])
        archive.append(events[2:])
        assert [stored for stored, _ in archive.read()] == events
        archive.close()
        assert [stored for stored, _ in opened().read()] == events

    def test_an_archive_that_was_never_written_to_is_empty(self, opened: Callable[..., Archive]) -> None:
        archive = opened()
        archive.append([])
        assert list(archive.read()) == []

    def test_each_position_is_followed_by_the_rest(self, opened: Callable[..., Archive]) -> None:
        archive = opened()
        for batch in (range(3), range(3, 4), range(4, 9)):
            archive.append([event(number) for number in batch])
        read = list(archive.read())
        everything = [stored for stored, _ in read]
        for index, (_, position) in enumerate(read):
            assert [stored for stored, _ in opened().read(position)] == everything[index + 1 :]

    def test_a_reader_gets_what_any_writer_appends_later(self, opened: Callable[..., Archive]) -> None:
        writers = [opened(writer=name) for name in ("b", "a", "c")]
        reader = opened()
        seen: list[str] = []
        position = None
        for number in range(30):
            writers[number % 3 if number < 20 else 1].append([event(number)])
            if number % 2:
                ids, position = ids_of(reader, position)
                seen += ids
            if number == 13:
                writers[1].close()
                writers[1] = opened(writer="a")
        assert sorted(seen) == sorted(f"e{number}" for number in range(30))

    def test_bodies_are_encrypted_and_keys_rotate(
        self, opened: Callable[..., Archive], raw: Callable[[], bytes]
    ) -> None:
        secret = b'{"parts": [{"value": "see you at ten"}]}'
        first = opened(encryption_key=KEY)
        first.append([event(1, secret)])
        second = opened(encryption_key=OTHER_KEY + b"\n" + KEY)
        second.append([event(2, secret)])
        assert [stored.body for stored, _ in second.read()] == [secret, secret]
        first.close()
        second.close()
        assert b"e1" in raw()
        assert b"see you" not in raw()
        for key in (None, KEY):
            with pytest.raises(SettingsError, match="key"):
                list(opened(encryption_key=key).read())

    def test_after_the_position_before_a_moment_comes_all_that_was_received_then_or_later(
        self, opened: Callable[..., Archive]
    ) -> None:
        archive = opened()
        assert archive.position_before(NOON) is None
        archive.append([event(number) for number in range(5)])
        for number in (0, 3, 4, 9):
            position = archive.position_before(NOON + timedelta(microseconds=number))
            assert {f"e{later}" for later in range(number, 5)} <= set(ids_of(archive, position)[0])
        archive.append([event(1_000)])
        assert "e1000" in ids_of(opened(), position)[0]

    def test_a_probe_leaves_nothing(self, opened: Callable[..., Archive]) -> None:
        archive = opened()
        archive.check()
        archive.append([event(1)])
        archive.check()
        assert ids_of(archive)[0] == ["e1"]

    @pytest.mark.parametrize("position", ["", "7", "[]", "{}", '{"format": 1}', '{"format":1,"floor":3,"writers":[]}'])
    def test_what_is_no_position_is_refused(self, opened: Callable[..., Archive], position: str) -> None:
        archive = opened()
        archive.append([event(1)])
        with pytest.raises((SettingsError, ArchiveError), match="position"):
            list(archive.read(position))

    def test_a_position_of_a_later_version_is_refused(self, opened: Callable[..., Archive]) -> None:
        archive = opened()
        archive.append([event(1)])
        with pytest.raises(ArchiveError, match="format 2, and this version reads up to 1"):
            list(archive.read('{"format": 2, "anything": 1}'))
