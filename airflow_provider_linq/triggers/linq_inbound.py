"""The trigger that starts DAGs when messages come in."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from airflow_provider_linq._internal.durable import FormatError, check_format, write
from airflow_provider_linq._internal.inbound import SWEEP_EVERY, InboundReader, MessageFilter, PollResult
from airflow_provider_linq._internal.polling import LEAST_INTERVAL, SHARED_FOR, Failures, describe, with_present_key
from airflow_provider_linq._internal.version_compat import asset_state_stores
from airflow_provider_linq._internal.xcom import inbound_message
from airflow_provider_linq.hooks.linq import LinqAsyncHook
from linq_client import LinqClient
from linq_client.models import Message
from linq_client.sync import arrived_at
from linq_client.times import format_datetime, parse_datetime

__all__ = ["LinqInboundMessageTrigger"]

CURSOR: Final = "linq_inbound"

#: How far back each poll reaches. A message that a chat did not show is found by the next sweep, so it is longer.
OVERLAP: Final = timedelta(seconds=SWEEP_EVERY) + timedelta(minutes=5)

#: How long the cursor may stand still in the store while nothing comes in.
SAVE_EVERY: Final = timedelta(minutes=5)


@dataclass(frozen=True)
class Cursor:
    """
    How far a watcher has come: messages that arrived at `after` or later count, but for those that it knows.

    :param after: in server time, well behind the present, since messages become visible out of order.
    :param known: the messages since `after` for which there was an event: id, and when each arrived.
    """

    after: datetime
    known: Mapping[str, datetime] = field(default_factory=dict)

    def new(self, messages: Iterable[Message], filter_: MessageFilter) -> list[Message]:
        """Return the messages that there was no event for yet, in the order of their arrival."""
        found = {
            message.id: message
            for message in messages
            if arrived_at(message) >= self.after and message.id not in self.known and filter_.matches(message)
        }
        return sorted(found.values(), key=lambda message: (arrived_at(message), message.id))

    def moved(self, new: Iterable[Message], server_time: datetime) -> Cursor:
        """Return the cursor after there was an event for each of `new`."""
        after = max(self.after, server_time - OVERLAP)
        known = {**self.known, **{message.id: arrived_at(message) for message in new}}
        return Cursor(after, {id_: arrived for id_, arrived in known.items() if arrived >= after})

    def to_json(self) -> dict[str, Any]:
        known = {id_: format_datetime(arrived) for id_, arrived in self.known.items()}
        return write({"after": format_datetime(self.after), "known": known})

    @classmethod
    def from_json(cls, name: str, stored: object) -> Cursor:
        """
        Read a cursor from the store.

        :param name: under which it was stored.
        :raises FormatError: another version wrote it.
        """
        cursor = check_format(name, stored)
        try:
            known = {id_: parse_datetime(arrived) for id_, arrived in cursor["known"].items()}
            return cls(parse_datetime(cursor["after"]), known)
        except (LookupError, ValueError, TypeError, AttributeError) as error:
            raise FormatError(f"{name}: the cursor can't be read: {type(error).__name__}") from None


class LinqInboundMessageTrigger(BaseEventTrigger):
    """
    Fire when messages come in: for the ``AssetWatcher`` of an asset that DAGs are scheduled on.

    The payload of an event is ``{"messages": [...]}``, all that came in between two polls, each with ``chat_id``,
    ``message_id``, ``line``, ``from_handle``, ``created_at`` and ``service``; with the text only if ``include_text``,
    since events are stored in Airflow's database and written to the log of the triggerer. Every message is in an event
    at least once: from Airflow 3.3 on a cursor is kept in the asset's state store, so none is missed while no triggerer
    runs, as long as the platform keeps the messages. On 3.2 each start begins with what comes in from then on.

    Airflow may give a run several events, or not all, and makes none of those that occur while the DAG is paused: let
    the DAG go through all events of its run, and read what it must not miss since a cursor of its own.

    :param linq_conn_id: connection of type ``linq``.
    :param line: only messages to this own line; by default to any.
    :param chat_id: only messages in this chat; excludes ``line``.
    :param from_handle: only messages from this handle.
    :param text_matches: only messages in whose text this regular expression is found.
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
        reader, failures = InboundReader(hook, filter_), Failures(self.poll_interval)
        cursor: Cursor | None = None
        saved: Cursor | None = None
        failed: Exception | None
        while True:
            wait = self.poll_interval
            try:
                if cursor is None:
                    cursor = saved = await self._start(hook)
                elif _is_worth_saving(cursor, saved):
                    # A poll later than its events: Airflow stores an event some time after the yield, and if the
                    # triggerer died in between, a cursor that had been saved already would have passed it over.
                    await self._save(cursor)
                    saved = cursor
                polled = await reader.poll(cursor.after, shared_for=self.poll_interval * SHARED_FOR)
                new = await asyncio.to_thread(cursor.new, polled.messages, filter_)
                cursor = cursor.moved(new, polled.server_time if polled.error is None else cursor.after)
                failed = polled.error
            except FormatError:
                raise
            except Exception as error:
                new, failed = [], error
            if failed is None:
                failures.reset()
            else:
                # It never gives up: a watcher that ended would not come back by itself, and a key can be renewed.
                wait = failures.add(failed)
                hook.forget_connection()
                self.log.warning("Poll failed (%d), next in %.0f s: %s", failures.count, wait, describe(failed))
            if new:
                # One event for all of them: of events that come in a burst, Airflow gives a run only the first.
                messages = [self._payload(message, polled) for message in new]
                yield TriggerEvent({"messages": messages})  # type: ignore[no-untyped-call]
            await asyncio.sleep(max(wait, LEAST_INTERVAL))

    def _payload(self, message: Message, polled: PollResult) -> dict[str, Any]:
        made = inbound_message(message)
        payload = {
            "chat_id": made["chat_id"],
            "message_id": made["message_id"],
            "line": polled.lines.get(made["chat_id"], self.line),
            "from_handle": made["from_handle"],
            "created_at": made["created_at"],
            "service": made["service"],
        }
        return {**payload, "text": made["text"]} if self.include_text else payload

    async def _start(self, hook: LinqAsyncHook) -> Cursor:
        """Return the cursor of the store, or one that starts now, in server time."""
        name = self._cursor_name
        stored = [found for store in asset_state_stores(self) if (found := await store.aget(name)) is not None]
        if stored:
            return min((Cursor.from_json(name, found) for found in stored), key=lambda cursor: cursor.after)
        cursor = Cursor(await with_present_key(hook, lambda: hook.call(_server_time)))
        # Before the first poll: until it is saved, a restart would start over and miss what came in before it.
        await self._save(cursor)
        return cursor

    async def _save(self, cursor: Cursor) -> None:
        for store in asset_state_stores(self):
            await store.aset(self._cursor_name, cursor.to_json())

    @property
    def _cursor_name(self) -> str:
        """An asset may have several watchers, each with a cursor; how often one polls does not make it another one."""
        watched = [self.linq_conn_id, self.line, self.chat_id, self.from_handle, self.text_matches]
        return f"{CURSOR}_{hashlib.sha256(json.dumps(watched).encode()).hexdigest()[:16]}"


def _is_worth_saving(cursor: Cursor, saved: Cursor | None) -> bool:
    return saved is None or cursor.known != saved.known or cursor.after - saved.after >= SAVE_EVERY


def _server_time(client: LinqClient) -> datetime:
    client.phone_numbers.list()
    return client.server_time
