"""Where the participants of a line's chats are: one request a chat, in parallel."""

from __future__ import annotations

from collections.abc import Iterator

from linq_client import ConflictError, LinqError, NotFoundError
from tap_linq.extraction.pool import Pool
from tap_linq.extraction.rows import Row, location_row
from tap_linq.extraction.run import Run

Answer = tuple[str, list[Row] | LinqError]


def locations(run: Run, line: str) -> Iterator[Row]:
    """Yield a record for each handle that shares its location in a chat of the line; note failures with the run."""
    pool: Pool[Answer] = Pool(run.settings.concurrency)

    def ask(chat_id: str) -> None:
        try:
            answer = run.client.location.features(chat_id)
            found: list[Row] | LinqError = [
                location_row(feature, chat_id, line, answer.server_time) for feature in answer.items
            ]
        except (ConflictError, NotFoundError):
            found = []  # a chat that can't share, or that is gone
        except LinqError as error:
            found = error
        pool.put((chat_id, found))

    def feed() -> None:
        for chat_id in run.ids_of_chats(line):
            pool.submit(lambda chat_id=chat_id: ask(chat_id))  # type: ignore[misc]

    try:
        for chat_id, found in pool.run(feed):
            if isinstance(found, LinqError):
                run.note_failure(f"the location of chat {chat_id} of line {line}", found)
            else:
                yield from found
    except LinqError as error:
        run.note_failure(f"the chats of line {line}", error)
