"""Where the participants of a line's chats are: one request a chat, in parallel."""

from __future__ import annotations

from collections.abc import Iterator

from linq_client import ConflictError, LinqError, NotFoundError
from tap_linq.extraction.chat_reader import as_linq_error
from tap_linq.extraction.plan import dicts_in
from tap_linq.extraction.records import Record, location_record
from tap_linq.extraction.session import SyncSession
from tap_linq.extraction.worker_pool import WorkerPool

__all__ = ["locations"]


def locations(session: SyncSession, line: str) -> Iterator[Record]:
    """Yield a record for each handle that shares its location in a chat of the line; note failures with the session."""
    pool: WorkerPool[tuple[str, list[Record] | LinqError]] = WorkerPool(session.settings.concurrency)

    def ask(chat_id: str) -> None:
        try:
            session.check_ended()
            response = session.client.location.features(chat_id)
            found: list[Record] | LinqError = [
                location_record(feature, chat_id, line, response.server_time) for feature in dicts_in(response.items)
            ]
        except (ConflictError, NotFoundError) as error:
            # A chat that can't share, or that is gone, if it is the API that says so.
            found = [] if error.verdict else error
        except Exception as error:
            found = as_linq_error(error)
        pool.put((chat_id, found))

    def produce() -> None:
        for chat_id in session.ids_of_chats(line):
            pool.submit(lambda chat_id=chat_id: ask(chat_id))  # type: ignore[misc]

    try:
        for chat_id, found in pool.run(produce):
            if isinstance(found, LinqError):
                session.note_failure(f"the location of chat {chat_id} of line {line}", found)
            else:
                yield from found
    except LinqError as error:
        session.note_failure(f"the chats of line {line}", error)
    session.check_ended()
