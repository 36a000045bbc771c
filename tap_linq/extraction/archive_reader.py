"""The webhook archive as the tap reads it: opened when it is needed, and what it proves about gaps."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import datetime
from functools import cached_property
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from linq_client import InvalidRequestError, LinqError
from linq_client.store_urls import without_user_info
from tap_linq.extraction.archive_state import ArchiveState, Handled
from tap_linq.extraction.coverage import Deliveries, GapCoverage, covered_since, gap_coverage
from tap_linq.extraction.plan import Gap
from tap_linq.extraction.state import Coverage
from tap_linq.extraction.webhook_records import StoredEvent, delivered_at

if TYPE_CHECKING:
    from linq_webhooks.archive import Archive
    from tap_linq.settings import Settings

__all__ = ["ArchiveReader"]

log = logging.getLogger(__name__)


class ArchiveReader:
    """Reads one archive. For one thread at a time.

    Args:
        url: folder, fsspec URL or database URL.
        key: decrypts the events; None where they are not encrypted.

    Raises:
        InvalidRequestError: there is no such archive, or what reads it is not installed.
    """

    def __init__(self, url: str, key: str | None) -> None:
        try:
            # Only here: without the setting, nothing of it is loaded or has to be installed.
            from linq_webhooks.archive import open_archive
        except ImportError as error:
            raise InvalidRequestError(
                f"webhook_archive: needs the extra webhooks of linq-connectors ({error.name} is not installed)"
            ) from None
        try:
            self._archive: Archive = open_archive(url, encryption_key=key.encode() if key else None)
        except LinqError as error:
            raise InvalidRequestError(f"webhook_archive: {error}") from None
        self._id = blake2b(without_user_info(url).encode(), digest_size=8).hexdigest()
        self.state = ArchiveState()

    @classmethod
    def from_settings(cls, settings: Settings) -> ArchiveReader | None:
        """Return the reader that the settings ask for, None if they don't."""
        if settings.webhook_archive is None:
            return None
        return cls(settings.webhook_archive, settings.webhook_archive_key)

    def begin(self, state: ArchiveState, coverage: Coverage, *, from_start: bool) -> ArchiveState:
        """Return where a pass begins: where the last one ended, or at the start of the archive, and why, in the log."""
        reason = ""
        if state.position is None:
            reason = "STATE has no position in it"
        elif state.archive != self._id:
            reason = "STATE has a position in another one"
        elif from_start:
            reason = "the catalog asks for FULL_TABLE"
        elif state.coverage is None or coverage.exceeds(state.coverage):
            reason = "streams, files, times or lines are wanted that the last run has left out"
        if not reason:
            return state
        log.info("webhook archive: read from its start, as %s", reason)
        if state.archive != self._id:
            return ArchiveState(self._id)
        handled = state.handled
        if handled is None and state.position is not None and state.coverage is not None:
            handled = Handled(state.position, state.coverage)
        return ArchiveState(self._id, deliveries=state.deliveries, handled=handled)

    def position_before(self, state: ArchiveState, moment: datetime) -> str | None:
        """Return a position before all events that were delivered at or after a moment; None for the start.

        Raises:
            LinqError: the archive can't be read.
        """
        return state.position_before(moment) if state.has_trail else self._archive.position_before(moment)

    def start_from(self, state: ArchiveState) -> None:
        """Take the STATE of the last run, as far as it is of what the archive is now.

        An archive that is not what it was proves nothing by what it held, and is read from its start.
        """
        self.state = state
        if state.archive != self._id:
            return
        try:
            from linq_webhooks.archive import ArchiveReplacedError

            next(iter(self.read(state.position)), None)
        except ArchiveReplacedError as error:
            log.warning("%s; all that it holds is read again", error)
            self.state = ArchiveState(compared=state.compared)
        except LinqError:
            pass  # the pass over the archive says so

    def read(self, position: str | None) -> Iterator[tuple[StoredEvent, str]]:
        """Yield the events after a position, each with the position after it.

        Raises:
            LinqError: the archive can't be read.
        """
        return self._archive.read(position)

    def close(self) -> None:
        """Let go of what is open."""
        self._archive.close()

    def coverage_of(self, gap: Gap, line: str, subscriptions: list[dict[str, Any]]) -> GapCoverage:
        """Return which part of a gap the archive holds, as far as its deliveries show; see `coverage`.

        Raises:
            LinqError: the archive can't be read.
        """
        since = covered_since(subscriptions, line)
        return gap_coverage(gap, self._deliveries, since, is_only_one=len(subscriptions) == 1)

    @cached_property
    def _deliveries(self) -> Deliveries:
        """When deliveries came, by STATE and by what was stored since: read once, if there is a gap at all."""
        is_known = self.state.archive == self._id
        found = Deliveries.from_json(self.state.deliveries.to_json()) if is_known else Deliveries()
        for stored, _ in self.read(self.state.position if is_known else None):
            found.add(stored.subscription_id, delivered_at(stored))
        return found
