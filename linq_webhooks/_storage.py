"""Where a verified event goes: to the archive, or to the spool while the archive is down."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from typing import Final

from linq_client.errors import LinqError
from linq_webhooks._group_commit import GroupCommit
from linq_webhooks._metrics import Metrics
from linq_webhooks._spool import Spool
from linq_webhooks.archive import Archive, ArchiveError, StoredEvent

__all__ = ["Storage"]

log = logging.getLogger(__name__)

#: Of bodies that wait for a write. More gets 503, and comes again.
_MAX_WAITING_BYTES: Final = 64 * 1024 * 1024

#: The platform gives up after 10 seconds. Both archive and spool may have to be waited for.
_ARCHIVE_SECONDS: Final = 4.0
_SPOOL_SECONDS: Final = 4.0
_DRAIN_SECONDS: Final = 60.0

_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 30.0


class Storage:
    """Stores events, in the archive or in the spool, and moves them from the spool to the archive.

    While the spool holds something, new events go behind it, so that the archive gets all in the order of receipt.

    Args:
        archive: where events belong.
        spool: None for none: when the archive is down, nothing can be stored.
        metrics: is kept up to date.
    """

    def __init__(self, archive: Archive, spool: Spool | None, metrics: Metrics) -> None:
        self._metrics = metrics
        self._archive = archive
        self._spool = spool
        self._to_archive = GroupCommit(archive, max_bytes=_MAX_WAITING_BYTES, max_seconds=_ARCHIVE_SECONDS)
        self._is_spooling = False
        self._is_down = False
        self._is_spool_unreadable = False
        self._being_spooled = 0
        self._draining: asyncio.Task[None] | None = None
        self._checking: asyncio.Task[dict[str, bool]] | None = None
        if spool is not None:
            self._to_spool = GroupCommit(spool, max_bytes=_MAX_WAITING_BYTES, max_seconds=_SPOOL_SECONDS)
            # What an earlier process has left is moved first.
            self._is_spooling = _has_some(spool)
            if self._is_spooling:
                self._draining = asyncio.create_task(self._drain(spool, is_counted=False))

    async def store(self, event: StoredEvent) -> None:
        """Store an event, and return when it is durable.

        Raises:
            ArchiveError: perhaps it is not.
        """
        if not self._is_spooling:
            try:
                await self._to_archive.store((event,))
            except ArchiveError as error:
                self._note_down(error)
                if self._spool is None:
                    raise
                self._start_spooling()
            else:
                self._note_up()
                self._metrics.written.labels("archive").inc()
                return
        await self._store_in_spool(event)

    async def check(self) -> dict[str, bool]:
        """Return whether archive and spool can be written to at present, and whether the spool can be read.

        Anybody may ask, and each check takes the archive's time: those who ask meanwhile share one.
        """
        if self._checking is None or self._checking.done():
            self._checking = asyncio.create_task(self._check())
        return await asyncio.shield(self._checking)

    async def _check(self) -> dict[str, bool]:
        places = {"archive": self._to_archive.run(self._archive.check)}
        if self._spool is not None:
            places["spool"] = self._to_spool.run(self._spool.check)
        outcomes = await asyncio.gather(*places.values(), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException) and not isinstance(outcome, ArchiveError):
                raise outcome
        works = {place: outcome is None for place, outcome in zip(places, outcomes, strict=True)}
        if self._is_spool_unreadable:
            works["spool"] = False
        return works

    async def close(self) -> None:
        """Write what waits, and close archive and spool."""
        if self._draining is not None:
            self._draining.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._draining
        if self._spool is not None:
            await self._to_spool.close()
        await self._to_archive.close()

    async def _store_in_spool(self, event: StoredEvent) -> None:
        self._being_spooled += 1
        try:
            await self._to_spool.store((event,))
        finally:
            self._being_spooled -= 1
        self._metrics.written.labels("spool").inc()
        self._metrics.spooled.inc()

    def _start_spooling(self) -> None:
        if self._spool is not None:
            self._is_spooling = True
            if self._draining is None or self._draining.done():
                self._draining = asyncio.create_task(self._drain(self._spool))

    async def _drain(self, spool: Spool, *, is_counted: bool = True) -> None:
        """Move events from the spool to the archive until it is empty, however long the archive is down."""
        pause = _FIRST_PAUSE
        while True:
            try:
                try:
                    if not is_counted:
                        self._metrics.spooled.set(await asyncio.to_thread(spool.count))
                        is_counted = True
                    batch = await asyncio.to_thread(spool.peek)
                except LinqError:
                    self._is_spool_unreadable = True
                    self._metrics.note_oldest_spooled(await asyncio.to_thread(spool.oldest_written_at))
                    raise
                self._is_spool_unreadable = False
                self._metrics.note_oldest_spooled(batch[0][0].received_at if batch else None)
                if batch:
                    await self._hand_on(spool, batch)
                elif await self._stop_spooling(spool):
                    return
                pause = _FIRST_PAUSE
            except Exception as error:
                # Also of kinds that nobody foresaw: if this ended, the spool would only grow.
                if not isinstance(error, LinqError):
                    log.exception("spool: it could not be moved to the archive")
                self._note_down(error)
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)

    async def _hand_on(self, spool: Spool, batch: Sequence[tuple[StoredEvent, str]]) -> None:
        await self._to_archive.store([event for event, _ in batch], _DRAIN_SECONDS)
        await asyncio.to_thread(spool.mark, batch[-1][1])
        self._note_up()
        self._metrics.written.labels("drained").inc(len(batch))
        self._metrics.spooled.dec(len(batch))

    async def _stop_spooling(self, spool: Spool) -> bool:
        """Return whether new events go to the archive again; they do not if the spool has got some meanwhile."""
        if self._being_spooled:
            # They are behind this one, which returns when theirs are done.
            await self._to_spool.run(lambda: None)
            return False
        # From here on new events pass the spool by. What was put into it just before keeps it from being cleared.
        self._is_spooling = False
        is_cleared = False
        try:
            is_cleared = await self._to_spool.run(spool.clear) and not self._is_spooling
        finally:
            self._is_spooling = not is_cleared
        if is_cleared:
            self._metrics.spooled.set(0)
        return is_cleared

    def _note_down(self, error: Exception) -> None:
        if not self._is_down:
            self._is_down = True
            log.error("%s; %s", error, "events go to the spool" if self._spool else "deliveries get 503 until it works")

    def _note_up(self) -> None:
        if self._is_down:
            self._is_down = False
            log.warning("webhook archive: it can be written to again")


def _has_some(spool: Spool) -> bool:
    try:
        return bool(spool.peek())
    except LinqError:  # it may be readable later, also with another key; moving it tries again
        return True
