"""The trigger that starts DAGs when messages come in."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from airflow_provider_linq._internal.inbound import SWEEP_EVERY, InboundReader, Seen, Wanted, arrival, moment
from airflow_provider_linq._internal.polling import LEAST_INTERVAL, SHARED_FOR, Failures, describe
from airflow_provider_linq._internal.xcom import inbound_message, rfc3339
from airflow_provider_linq.hooks.linq import LinqAsyncHook
from linq_client import LinqClient
from linq_client.models import Message

if TYPE_CHECKING:
    from airflow.sdk.execution_time.context import AssetStateStoreAccessor

CURSOR: Final = "linq_inbound_cursor"

#: How far back each look reaches. A message that a chat did not show is found by the next sweep, so it is longer.
OVERLAP: Final = timedelta(seconds=SWEEP_EVERY) + timedelta(minutes=5)

#: How long the cursor may stand still in the store while nothing comes in.
SAVE_EVERY: Final = timedelta(minutes=5)


@dataclass(frozen=True)
class Cursor:
    """How far a watcher has come: messages that arrived at `after` or later count, but for those that it knows.

    :param after: by the API's clock, well behind its present time, since messages become visible out of order.
    :param known: the messages since `after` for which there was an event: id, and when each arrived.
    """

    after: datetime
    known: Mapping[str, datetime] = field(default_factory=dict)

    def new(self, messages: Iterable[Message], wanted: Wanted) -> list[Message]:
        """Return the messages that there was no event for yet, in the order of their arrival."""
        found = {
            message.id: message
            for message in messages
            if arrival(message) >= self.after and message.id not in self.known and wanted.fits(message)
        }
        return sorted(found.values(), key=lambda message: (arrival(message), message.id))

    def moved(self, new: Iterable[Message], server_time: datetime) -> Cursor:
        """Return the cursor after there was an event for each of `new`."""
        after = max(self.after, server_time - OVERLAP)
        known = {**self.known, **{message.id: arrival(message) for message in new}}
        return Cursor(after, {id_: arrived for id_, arrived in known.items() if arrived >= after})

    def to_json(self) -> dict[str, Any]:
        return {"after": rfc3339(self.after), "known": {id_: rfc3339(at) for id_, at in self.known.items()}}

    @classmethod
    def from_json(cls, stored: Any) -> Cursor:
        return cls(moment(stored["after"]), {id_: moment(at) for id_, at in stored["known"].items()})


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
        # Wrong arguments end it here, visibly; after that nothing does.
        wanted = Wanted(self.chat_id, self.from_handle, self.line, self.text_matches, anywhere=True)
        hook = LinqAsyncHook(self.linq_conn_id, max_retries=0)
        reader, failures = InboundReader(hook, wanted), Failures(self.poll_interval)
        cursor: Cursor | None = None
        saved: Cursor | None = None
        failed: Exception | None
        while True:
            wait = self.poll_interval
            try:
                if cursor is None:
                    cursor = saved = await self._begin(hook)
                elif _is_worth_saving(cursor, saved):
                    # A poll later than its events: Airflow stores an event some time after the yield, and if the
                    # triggerer died in between, a cursor that had been saved already would have passed it over.
                    await self._save(cursor)
                    saved = cursor
                seen = await reader.look(cursor.after, shared_for=self.poll_interval * SHARED_FOR)
                new = await asyncio.to_thread(cursor.new, seen.messages, wanted)
                cursor = cursor.moved(new, seen.server_time if seen.error is None else cursor.after)
                failed = seen.error
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
                messages = [self._payload(message, seen) for message in new]
                yield TriggerEvent({"messages": messages})  # type: ignore[no-untyped-call]
            await asyncio.sleep(max(wait, LEAST_INTERVAL))

    def _payload(self, message: Message, seen: Seen) -> dict[str, Any]:
        made = inbound_message(message)
        payload = {
            "chat_id": made["chat_id"],
            "message_id": made["message_id"],
            "line": seen.lines.get(made["chat_id"], self.line),
            "from_handle": made["from_handle"],
            "created_at": made["created_at"],
            "service": made["service"],
        }
        return {**payload, "text": made["text"]} if self.include_text else payload

    async def _begin(self, hook: LinqAsyncHook) -> Cursor:
        """Return the cursor of the store, or one that begins now, by the API's clock."""
        kept = [stored for store in self._stores() if (stored := await store.aget(self._cursor_name)) is not None]
        if kept:
            return min(map(Cursor.from_json, kept), key=lambda cursor: cursor.after)
        cursor = Cursor(await hook.call(_server_now))
        # At once: until it is saved, a restart would begin anew and pass over what came in before it.
        await self._save(cursor)
        return cursor

    async def _save(self, cursor: Cursor) -> None:
        for store in self._stores():
            await store.aset(self._cursor_name, cursor.to_json())

    @property
    def _cursor_name(self) -> str:
        """An asset may have several watchers, each with a cursor; how often one polls does not make it another one."""
        watched = [self.linq_conn_id, self.line, self.chat_id, self.from_handle, self.text_matches]
        return f"{CURSOR}_{hashlib.sha256(json.dumps(watched).encode()).hexdigest()[:16]}"

    def _stores(self) -> list[AssetStateStoreAccessor]:
        """Return the state store of each asset that this trigger watches for; none on Airflow 3.2."""
        found: Any = getattr(self, "asset_state_store", None)
        if found is None:
            return []
        # Assets with equal watchers share one trigger, and the accessor of several has no public way to name them.
        return list(getattr(found, "_by_name", {}).values()) or [found]


def _is_worth_saving(cursor: Cursor, saved: Cursor | None) -> bool:
    return saved is None or cursor.known != saved.known or cursor.after - saved.after >= SAVE_EVERY


def _server_now(client: LinqClient) -> datetime:
    client.phone_numbers.list()
    return client.server_time
