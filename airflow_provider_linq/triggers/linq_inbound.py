"""The trigger that starts DAGs when messages come in."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any, Final

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from airflow_provider_linq._internal.archive import check_archive_url
from airflow_provider_linq._internal.arguments import check_flag, seconds_between_polls
from airflow_provider_linq._internal.durable import FormatError
from airflow_provider_linq._internal.inbound_cursor import Cursor
from airflow_provider_linq._internal.inbound_watch import ApiWatch, ArchiveWatch, Watch
from airflow_provider_linq._internal.message_filter import MessageFilter
from airflow_provider_linq._internal.polling import LEAST_INTERVAL, Failures, describe
from airflow_provider_linq._internal.version_compat import asset_state_stores
from airflow_provider_linq.hooks.linq import LinqAsyncHook
from linq_client import InvalidRequestError

__all__ = ["LinqInboundMessageTrigger"]

CURSOR: Final = "linq_inbound"

#: Seconds between two polls: the API is asked by requests, an archive is read.
_API_INTERVAL: Final = 30
_ARCHIVE_INTERVAL: Final = 2


class TriggerArgumentError(InvalidRequestError, TypeError):
    """
    An argument can't be what it is.

    In a DAG file it is a ValueError, as everywhere. A triggerer that makes the trigger again from what another version
    of this provider has stored would end on that, with all that it runs: for it, this is the TypeError that it takes.
    """


class LinqInboundMessageTrigger(BaseEventTrigger):
    """
    Fire when messages come in: for the ``AssetWatcher`` of an asset that DAGs are scheduled on.

    The payload of an event is ``{"messages": [...]}``, all that came in between two polls, each with ``chat_id``,
    ``message_id``, ``line``, ``from_handle``, ``created_at`` and ``service``; with the text only if ``include_text``,
    since events are stored in Airflow's database and written to the log of the triggerer. If nobody looked for longer
    than the retention window of the connection, the next event has ``missed`` too, ``{"from": ..., "to": ...}``: what
    came between the two (RFC 3339, UTC) and has expired has no event. A chat that can't be read holds up no other; what
    came in it is in an event when it can be read again. Every message is in an event
    at least once: from Airflow 3.3 on a cursor is kept in the asset's state store, so none is missed while no triggerer
    runs, as long as the platform keeps the messages. Before 3.3 each start begins with what comes in from then on.

    Airflow may give a run several events, or not all, and makes none of those that occur while the DAG is paused: let
    the DAG go through all events of its run, and read what it must not miss since a cursor of its own.

    :param linq_conn_id: connection of type ``linq``.
    :param line: only messages to this own line; by default to any.
    :param chat_id: only messages in this chat; excludes ``line``.
    :param from_handle: only messages from this sender: a handle, a short code or a sender id.
    :param text_matches: only messages in the first 10,000 characters of whose text this regular expression is found;
        a text on which it takes more than a quarter of a second has no match.
    :param include_text: put the texts into the event.
    :param poll_interval: seconds between two polls, or a timedelta; by default 30, and of an archive 2.
    :param webhook_archive: URL of the archive that a receiver of webhooks fills, a folder or a database. It is read in
        place of the API, which is not asked, and an event comes seconds after its message. It must hold no password;
        the key of an encrypted one is in the connection (``webhook_archive_secret``).
    :param other: what another version of this provider has stored; passed over.
    """

    def __init__(
        self,
        *,
        linq_conn_id: str = "linq_default",
        line: str | None = None,
        chat_id: str | None = None,
        from_handle: str | None = None,
        text_matches: str | None = None,
        include_text: bool = False,
        poll_interval: timedelta | float | None = None,
        webhook_archive: str | None = None,
        **other: Any,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.linq_conn_id = linq_conn_id
        self.line = line
        self.chat_id = chat_id
        self.from_handle = from_handle
        self.text_matches = text_matches
        self.include_text = include_text
        default = _API_INTERVAL if webhook_archive is None else _ARCHIVE_INTERVAL
        try:
            check_flag("include_text", include_text)
            self.poll_interval = default if poll_interval is None else seconds_between_polls(poll_interval)
            # Before the URL is stored with the asset.
            self.webhook_archive = None if webhook_archive is None else check_archive_url(webhook_archive)
        except ValueError as error:
            raise TriggerArgumentError(str(error)) from None

    def serialize(self) -> tuple[str, dict[str, Any]]:
        arguments = {
            "linq_conn_id": self.linq_conn_id,
            "line": self.line,
            "chat_id": self.chat_id,
            "from_handle": self.from_handle,
            "text_matches": self.text_matches,
            "include_text": self.include_text,
            "poll_interval": self.poll_interval,
            "webhook_archive": self.webhook_archive,
        }
        return f"{type(self).__module__}.{type(self).__qualname__}", arguments

    async def run(self) -> AsyncIterator[TriggerEvent]:
        # Wrong arguments end it here, visibly, and so does a cursor of another version; after that nothing does.
        filter_ = MessageFilter(self.chat_id, self.from_handle, self.line, self.text_matches, anywhere=True)
        hook = LinqAsyncHook(self.linq_conn_id, max_retries=0)
        if not asset_state_stores(self):
            self.log.warning(
                "No asset has a state store (Airflow 3.3 has them): events begin with what comes in from now on, "
                "and messages that came in while no triggerer ran have none"
            )
        watch, failures = self._watch(hook, filter_), Failures(self.poll_interval)
        while True:
            wait, payload = self.poll_interval, None
            try:
                payload, failed = await watch.poll()
                if watch.is_behind and payload is None:
                    wait = 0.0  # after an event, Airflow has the interval to store it, before the cursor is
            except FormatError:
                raise
            except Exception as error:
                failed = error
            if failed is None:
                failures.reset()
            else:
                # It never gives up: a watcher that ended would not come back by itself, and a key can be renewed.
                wait = failures.add(failed)
                hook.forget_connection()
                self.log.warning("Poll failed (%d), next in %.0f s: %s", failures.count, wait, describe(failed))
            if payload is not None:
                yield TriggerEvent(payload)  # type: ignore[no-untyped-call]
            await asyncio.sleep(max(wait, LEAST_INTERVAL))

    def _watch(self, hook: LinqAsyncHook, filter_: MessageFilter) -> Watch:
        if self.webhook_archive is None:
            return ApiWatch(self, hook, filter_)
        return ArchiveWatch(self, hook, filter_, self.webhook_archive)

    async def stored_cursor(self, watcher: str | None = None) -> Cursor | None:
        """
        Return the cursor of the store; the earliest one if equal watchers of several assets share this trigger.

        :param watcher: digest of an archive, for the cursor of its watcher; the latest of all if None.
        :raises FormatError: another version wrote it.
        """
        name = self._name_for(watcher)
        stored = [found for store in asset_state_stores(self) if (found := await store.aget(name)) is not None]
        cursors = [Cursor.from_json(name, found) for found in stored]
        return min(cursors, key=lambda cursor: cursor.after, default=None)

    async def store_cursor(self, cursor: Cursor) -> None:
        """
        Store a cursor, if Airflow has a store (3.3).

        The latest of all is what another kind of watcher continues with; it may be written over by one that has another
        archive, and so each archive's is stored beside.
        """
        for store in asset_state_stores(self):
            for name in dict.fromkeys((self._name_for(cursor.watcher), self._cursor_name)):
                await store.aset(name, cursor.to_json())

    def _name_for(self, watcher: str | None) -> str:
        return self._cursor_name if watcher is None else f"{self._cursor_name}_{watcher}"

    @property
    def _cursor_name(self) -> str:
        """An asset may have several watchers, each with a cursor; how one polls, and what, makes it no other one."""
        watched = [self.linq_conn_id, self.line, self.chat_id, self.from_handle, self.text_matches]
        return f"{CURSOR}_{hashlib.sha256(json.dumps(watched).encode()).hexdigest()[:16]}"
