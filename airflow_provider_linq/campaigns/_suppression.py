"""Who must not be written to: a list, a file or a query of handles, read before the rows in each run."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextvars import copy_context
from functools import partial
from threading import Thread
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_linq.campaigns._rows import BadRow, is_missing, rows_of_file, rows_of_query
from airflow_provider_linq.campaigns._validate import handles_in
from linq_client import InvalidRequestError, comparable_handle

if TYPE_CHECKING:
    from airflow_provider_linq.campaigns.config import Campaign

log = logging.getLogger(__name__)

#: Seconds after which a run reads the list again: as long as somebody who comes on it may still be written to.
REREAD_EVERY: Final = 300.0
#: Seconds between two attempts where it can't be read, and after which a run with so old a list ends.
REREAD_FAILED: Final = 60.0
TOO_OLD: Final = 1_800.0
#: Seconds after which a reading that does not end, of a query that hangs for example, ends the run.
LONGEST_READING: Final = 1_800.0


class SuppressionReader:
    """
    Reads the list again and again while a campaign runs, without holding it up.

    :param read: returns the list as it is now.
    """

    def __init__(self, read: Callable[[], frozenset[str]]) -> None:
        self._read = read
        self._begun_at = self._known_at = time.monotonic()
        self._next_at = self._known_at + REREAD_EVERY
        self._reading: Future[frozenset[str]] | None = None

    @classmethod
    def of(cls, campaign: Campaign) -> SuppressionReader | None:
        """Return a reader of a campaign's list; None if it has none that can change while it runs."""
        has_source = campaign.suppression_path is not None or campaign.suppression_sql is not None
        return cls(partial(read_suppression, campaign)) if has_source else None

    def poll(self) -> frozenset[str]:
        """
        Return the list if it was just read, else nobody, and begin to read it when it is time.

        :raises Exception: what has kept it from being read for half an hour, as of `read_suppression`.
        :raises TimeoutError: a reading takes longer than that.
        """
        now = time.monotonic()
        if self._reading is None:
            if now >= self._next_at:
                self._begin(now)
            return frozenset()
        if not self._reading.done():
            if now - self._begun_at > LONGEST_READING:
                raise TimeoutError("The suppression list takes longer than half an hour to read")
            return frozenset()
        reading, self._reading = self._reading, None
        if (error := reading.exception()) is None:
            self._known_at, self._next_at = self._begun_at, now + REREAD_EVERY
            return reading.result()
        if now - self._known_at > TOO_OLD:
            raise error
        log.warning("The suppression list could not be read again (%s): the one that is known counts for now",
                    type(error).__name__)  # fmt: skip
        self._next_at = now + REREAD_FAILED
        return frozenset()

    def _begin(self, now: float) -> None:
        # A thread that nobody waits for: a query may take longer than a task that is stopped has left.
        self._begun_at, self._reading = now, Future()
        Thread(target=copy_context().run, args=(self._fulfil, self._reading), daemon=True).start()

    def _fulfil(self, reading: Future[frozenset[str]]) -> None:
        try:
            reading.set_result(self._read())
        except BaseException as error:
            reading.set_exception(error)


def read_suppression(campaign: Campaign) -> frozenset[str]:
    """
    Return the handles that a campaign must not write to, in the form to compare, of all sources that it names.

    What can't be read for sure is refused, and so is a source that names nobody: an export that broke off, or a
    query with a mistake in it, must not come to mean that everybody may be written to.

    :raises InvalidRequestError: a source can't be read, is empty, or has an entry that is no handle.
    """
    found: set[str] = set()
    for source, values in _sources(campaign):
        number, before = 0, len(found)
        for number, value in enumerate(values, start=1):
            if isinstance(value, BadRow):
                raise InvalidRequestError(f"{source}: entry {number} can't be read: {value.why}")
            found.update(map(comparable_handle, _handles(value, source, number)))
        if not number:
            raise InvalidRequestError(f"{source}: must name somebody, got none; leave it out if nobody is suppressed")
        log.info("%s names %d handles that are not written to", source, len(found) - before)
    return frozenset(found)


def _handles(value: Any, source: str, number: int) -> tuple[str, ...]:
    """Return the handles of an entry. Who asked not to be written to stands in no log, so an error has no value."""
    if is_missing(value):
        raise InvalidRequestError(f"{source}: entry {number}: must be a handle, got none")
    try:
        return handles_in(value, source, groups=True)
    except InvalidRequestError:
        size = f"{len(value)} characters" if isinstance(value, str) else type(value).__name__
    raise InvalidRequestError(
        f"{source}: entry {number}: must be an E.164 number (no spaces, dashes, parentheses) or an e-mail address, "
        f"got {size}"
    )


def _sources(campaign: Campaign) -> Iterator[tuple[str, Iterator[Any]]]:
    column = campaign.suppression_field
    if campaign.suppression is not None:
        yield "suppression", _values(_listed(campaign.suppression), "suppression", column)
    if campaign.suppression_path is not None:
        name = "suppression_path"
        yield name, _values(rows_of_file(campaign.suppression_path, name), name, column)
    if campaign.suppression_sql is not None:
        name, conn = "suppression_sql", "suppression_conn_id"
        rows = rows_of_query(campaign.suppression_sql, campaign.suppression_conn_id, None, field=name, conn_field=conn)
        yield name, _values(rows, name, column)


def _listed(handles: Any) -> Iterable[Any]:
    if isinstance(handles, str | bytes | Mapping) or not isinstance(handles, Iterable):
        hint = "; a template makes a list only with render_template_as_native_obj" if isinstance(handles, str) else ""
        raise InvalidRequestError(f"suppression: must be a list of handles, got {type(handles).__name__}{hint}")
    return handles


def _values(entries: Iterable[Any], source: str, column: str) -> Iterator[Any]:
    """Yield what each entry has in the place of a handle: an entry is a handle, or a row with a column for it."""
    for entry in entries:
        is_row = type(entry) is dict or isinstance(entry, Mapping)
        if is_row and column not in entry:
            # Of a file without a header line, the first person would stand in the place of the names.
            names = [str(name) for name in entry]
            there = ", ".join(sorted("…" if re.search("[0-9]{3}|@", name) else name for name in names))
            raise InvalidRequestError(
                f"suppression_field: must be a column of {source}, which has {there}; got {column!r}"
            )
        yield entry[column] if is_row else entry
