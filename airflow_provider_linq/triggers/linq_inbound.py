"""The trigger that starts DAGs when messages come in."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from airflow_provider_linq._internal.durable import FormatError
from airflow_provider_linq._internal.inbound import PATIENCE, InboundReader, PollResult
from airflow_provider_linq._internal.inbound_cursor import Cursor, Gap
from airflow_provider_linq._internal.message_filter import MessageFilter
from airflow_provider_linq._internal.polling import (
    LEAST_INTERVAL,
    SHARED_FOR,
    AgreedTime,
    Failures,
    agreed_server_time,
    describe,
    with_present_key,
)
from airflow_provider_linq._internal.version_compat import asset_state_stores
from airflow_provider_linq._internal.xcom import inbound_message
from airflow_provider_linq.hooks.linq import LinqAsyncHook
from linq_client.models import Message
from linq_client.sync import CLOCK_TOLERANCE
from linq_client.times import format_datetime

__all__ = ["LinqInboundMessageTrigger"]

CURSOR: Final = "linq_inbound"

#: How long the cursor may stand still in the store while nothing comes in.
SAVE_EVERY: Final = timedelta(minutes=5)

#: How far back a watcher looks whose cursor can't be true: the longest retention window that there is.
FULL_LOOK: Final = timedelta(hours=24)


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
    runs, as long as the platform keeps the messages. On 3.2 each start begins with what comes in from then on.

    Airflow may give a run several events, or not all, and makes none of those that occur while the DAG is paused: let
    the DAG go through all events of its run, and read what it must not miss since a cursor of its own.

    :param linq_conn_id: connection of type ``linq``.
    :param line: only messages to this own line; by default to any.
    :param chat_id: only messages in this chat; excludes ``line``.
    :param from_handle: only messages from this handle.
    :param text_matches: only messages in the first 10,000 characters of whose text this regular expression is found;
        a text on which it takes more than a quarter of a second has no match.
    :param include_text: put the texts into the event.
    :param poll_interval: seconds between two polls.
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
        poll_interval: float = 30,
        **other: Any,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.linq_conn_id = linq_conn_id
        self.line = line
        self.chat_id = chat_id
        self.from_handle = from_handle
        self.text_matches = text_matches
        self.include_text = include_text
        self.poll_interval = poll_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        arguments = {
            "linq_conn_id": self.linq_conn_id,
            "line": self.line,
            "chat_id": self.chat_id,
            "from_handle": self.from_handle,
            "text_matches": self.text_matches,
            "include_text": self.include_text,
            "poll_interval": self.poll_interval,
        }
        return f"{type(self).__module__}.{type(self).__qualname__}", arguments

    async def run(self) -> AsyncIterator[TriggerEvent]:
        # Wrong arguments end it here, visibly, and so does a cursor of another version; after that nothing does.
        filter_ = MessageFilter(self.chat_id, self.from_handle, self.line, self.text_matches, anywhere=True)
        hook = LinqAsyncHook(self.linq_conn_id, max_retries=0)
        watch, failures = _Watch(self, hook, filter_), Failures(self.poll_interval)
        while True:
            wait, payload = self.poll_interval, None
            try:
                payload, failed = await watch.poll()
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

    async def stored_cursor(self) -> Cursor | None:
        """
        Return the cursor of the store; the earliest one if equal watchers of several assets share this trigger.

        :raises FormatError: another version wrote it.
        """
        name = self._cursor_name
        stored = [found for store in asset_state_stores(self) if (found := await store.aget(name)) is not None]
        cursors = [Cursor.from_json(name, found) for found in stored]
        return min(cursors, key=lambda cursor: cursor.after, default=None)

    async def store_cursor(self, cursor: Cursor) -> None:
        """Store a cursor, if Airflow has a store (3.3)."""
        for store in asset_state_stores(self):
            await store.aset(self._cursor_name, cursor.to_json())

    @property
    def _cursor_name(self) -> str:
        """An asset may have several watchers, each with a cursor; how often one polls does not make it another one."""
        watched = [self.linq_conn_id, self.line, self.chat_id, self.from_handle, self.text_matches]
        return f"{CURSOR}_{hashlib.sha256(json.dumps(watched).encode()).hexdigest()[:16]}"


class _Watch:
    """One run of the trigger: its cursor, and what it says of each poll."""

    def __init__(self, trigger: LinqInboundMessageTrigger, hook: LinqAsyncHook, filter_: MessageFilter) -> None:
        self._trigger = trigger
        self._hook = hook
        self._filter = filter_
        self._reader = InboundReader(hook, filter_, poll_interval=trigger.poll_interval, patience=PATIENCE)
        self._cursor: Cursor | None = None
        self._saved: Cursor | None = None
        self._time: AgreedTime | None = None
        self._missed: Gap | None = None

    async def poll(self) -> tuple[dict[str, Any] | None, Exception | None]:
        """
        Poll once.

        :returns: the payload of the event, if there is one, and why not everything could be read.
        """
        if self._cursor is None or self._time is None:
            self._cursor, self._time = await self._start()
            self._saved = self._cursor
        elif self._is_worth_saving(self._cursor):
            # A poll later than its events: Airflow stores an event some time after the yield, and if the triggerer
            # died in between, a cursor that had been saved already would have passed it over.
            await self._trigger.store_cursor(self._cursor)
            self._saved = self._cursor
        cursor = self._cursor
        polled = await self._reader.poll(cursor.after, shared_for=self._trigger.poll_interval * SHARED_FOR)
        # In a thread: to search texts may take its time.
        new = await asyncio.to_thread(cursor.new, polled.messages, self._filter)
        cursor = cursor.with_events(new)
        server_time = self._time.note(polled.server_time)
        if polled.error is None:
            self._note_gap(cursor.gap(server_time, self._hook.settings.retention_window))
            cursor = cursor.moved(server_time, polled.set_aside)
        self._cursor = cursor
        return self._payload(new, polled) if new else None, polled.error

    async def _start(self) -> tuple[Cursor, AgreedTime]:
        """Return the cursor of the store, or one that starts now, in server time; and that."""
        log = self._trigger.log
        stored = await self._trigger.stored_cursor()
        now = await with_present_key(self._hook, lambda: self._hook.call(agreed_server_time))
        if stored is None:
            cursor = Cursor(now, looked=now)
            log.info("Watching %s from %s on: there is no cursor yet", self._filter, format_datetime(now))
            # Before the first poll: until it is saved, a restart would start over and miss what came in before it.
            await self._trigger.store_cursor(cursor)
        elif max(stored.after, stored.looked or stored.after) > now + CLOCK_TOLERANCE:
            window = self._hook.settings.retention_window
            after = now - (FULL_LOOK if window is None else window.length)
            cursor = replace(stored, after=after, looked=None, set_aside={})
            log.warning(
                "The stored cursor lies ahead of the API's time, %s, and can't be true: everything since %s counts, "
                "and may have a second event",
                format_datetime(now),
                format_datetime(after),
            )
        else:
            cursor = stored
            log.info("Watching %s from the stored cursor on, %s", self._filter, format_datetime(stored.after))
        return cursor, AgreedTime(now)

    def _note_gap(self, gap: Gap | None) -> None:
        if gap is None:
            return
        self._trigger.log.warning(
            "Nobody looked for longer than the platform keeps messages: those that came from %s to %s and have expired "
            "have no event",
            format_datetime(gap.start),
            format_datetime(gap.end),
        )
        self._missed = gap if self._missed is None else Gap(self._missed.start, gap.end)

    def _payload(self, new: list[Message], polled: PollResult) -> dict[str, Any]:
        """Make one event of all messages: of events that come in a burst, Airflow gives a run only the first."""
        payload: dict[str, Any] = {"messages": [self._message(message, polled) for message in new]}
        if self._missed is not None:
            payload["missed"] = {"from": format_datetime(self._missed.start), "to": format_datetime(self._missed.end)}
            self._missed = None
        return payload

    def _message(self, message: Message, polled: PollResult) -> dict[str, Any]:
        made = inbound_message(message)
        payload = {
            "chat_id": made["chat_id"],
            "message_id": made["message_id"],
            "line": polled.lines.get(made["chat_id"], self._trigger.line),
            "from_handle": made["from_handle"],
            "created_at": made["created_at"],
            "service": made["service"],
        }
        return {**payload, "text": made["text"]} if self._trigger.include_text else payload

    def _is_worth_saving(self, cursor: Cursor) -> bool:
        saved = self._saved
        if saved is None or cursor.known != saved.known or cursor.set_aside != saved.set_aside:
            return True
        looked = cursor.looked or cursor.after
        return looked - (saved.looked or saved.after) >= SAVE_EVERY
