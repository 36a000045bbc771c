"""What holds for an archive in PostgreSQL, and that nothing is passed over while several receivers write."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from linq_webhooks.archive import Archive
from tests.support.postgres import for_sqlalchemy
from tests.support.webhook_events import ArchiveContract, event, ids_of


class TestPostgreSQL(ArchiveContract):
    @pytest.fixture
    def url(self, postgres: str) -> str:
        return for_sqlalchemy(postgres)

    @pytest.fixture
    def raw(self, postgres: str) -> Callable[[], bytes]:
        def read() -> bytes:
            with psycopg.connect(postgres) as connection:
                rows = connection.execute("select event_id, headers, body from linq_webhook_events").fetchall()
            return b"".join(f"{one}{headers}".encode() + body for one, headers, body in rows)

        return read

    def test_several_receivers_write_and_a_reader_passes_nothing_over(self, opened: Callable[..., Archive]) -> None:
        def write(writer: int) -> None:
            archive = opened()
            for batch in range(20):
                # Each event is delivered to two receivers, by a platform that repeats.
                first = batch * 10
                archive.append([event(number + (writer // 2) * 1000) for number in range(first, first + 10)])

        reader = opened()
        seen: list[str] = []
        position = None
        with ThreadPoolExecutor(4) as pool:
            writers = [pool.submit(write, writer) for writer in range(4)]
            while not all(writer.done() for writer in writers):
                ids, position = ids_of(reader, position)
                seen += ids
            for writer in writers:
                writer.result()
        seen += ids_of(reader, position)[0]
        assert sorted(seen) == sorted(f"e{number + part * 1000}" for part in (0, 1) for number in range(200))
