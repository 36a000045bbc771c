"""A distributed log as the place where events go: Kafka, NATS JetStream or a Redis stream, by FastStream.

    kafka://host:9092,host:9092/topic         further properties of librdkafka as a query (?security.protocol=SASL_SSL)
    nats://host:4222/stream                   or tls://; subjects linq.webhooks.<chat id>
    redis://host:6379/0?stream=name           or rediss://

A message is the record that the archive of files has as a line, its key is the chat, its id that of the event. The log
is written to and not read here: its consumers have places of their own in it, and names and access rights for them.
"""

from __future__ import annotations

import asyncio
import logging
import re
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NoReturn
from urllib.parse import SplitResult, parse_qs, parse_qsl, urlsplit, urlunsplit

import anyio
from anyio.from_thread import BlockingPortal, start_blocking_portal

from linq_client.errors import LinqError, SettingsError
from linq_client.webhooks import parse
from linq_webhooks._records import encode_event
from linq_webhooks.archive import ArchiveError, StoredEvent

if TYPE_CHECKING:
    from faststream.confluent import KafkaBroker
    from faststream.nats import NatsBroker
    from faststream.redis import RedisBroker

    from linq_webhooks._encryption import BodyCipher

__all__ = ["SUBJECT", "BrokerSink"]

log = logging.getLogger(__name__)

#: Seconds for a batch: the platform waits for 10 in all.
_TIMEOUT: Final = 8.0

#: What stands for the chat of an event that has none.
_NO_CHAT: Final = "none"

#: In front of the chat, in the subjects of NATS.
SUBJECT: Final = "linq.webhooks"


@dataclass(frozen=True, slots=True)
class _Message:
    """What is published of an event."""

    record: bytes
    event_id: str
    chat: str

    @property
    def headers(self) -> dict[str, str]:
        """Of brokers that have headers, beside those that FastStream sets."""
        return {"message_id": self.event_id, "linq-chat-id": self.chat}


class _Broker(ABC):
    """A broker of one kind. Whatever goes wrong with it is raised as its library raises it.

    Args:
        url: see the module.

    Raises:
        SettingsError: it lacks what this kind needs.
    """

    @abstractmethod
    def __init__(self, url: SplitResult) -> None: ...

    @abstractmethod
    async def connect(self) -> None:
        """Connect."""

    @abstractmethod
    async def publish(self, messages: Sequence[_Message]) -> None:
        """Publish messages; the broker has confirmed each when this returns."""

    @abstractmethod
    async def check(self) -> None:
        """See whether messages can be published, without publishing one."""

    @abstractmethod
    async def close(self) -> None:
        """Let go of the connection."""


class _Kafka(_Broker):
    """All replicas in sync have a message when it is confirmed, and the producer's own repeats are dropped."""

    def __init__(self, url: SplitResult) -> None:
        self._topic = _name(url.path.strip("/"), "kafka://host:9092/topic")
        if "@" in url.netloc:
            raise SettingsError("webhook archive: must be kafka://host:9092/topic?sasl.username=..., got a user in it")
        self._servers = url.netloc
        #: The URL may say more, and nothing that would make a confirmation mean less.
        from faststream.confluent import KafkaBroker

        self._library = KafkaBroker
        self._properties: dict[str, Any] = {
            **dict(parse_qsl(url.query)),
            "acks": "all",
            "enable.idempotence": True,
            "message.timeout.ms": int(_TIMEOUT * 1000),
        }
        self._broker: KafkaBroker | None = None

    async def connect(self) -> None:
        self._broker = self._library(self._servers, config=self._properties, logger=None)  # type: ignore[arg-type]
        await self._broker.connect()

    async def publish(self, messages: Sequence[_Message]) -> None:
        assert self._broker is not None
        await asyncio.gather(
            *(
                self._broker.publish(
                    message.record,
                    self._topic,
                    key=message.chat,
                    headers=message.headers,
                    correlation_id=message.event_id,
                )
                for message in messages
            )
        )

    async def check(self) -> None:
        assert self._broker is not None
        if not await self._broker.ping(_TIMEOUT):
            raise ConnectionError

    async def close(self) -> None:
        if self._broker is not None:
            await self._broker.stop()


class _Nats(_Broker):
    """The stream has a message when it is confirmed, and drops one of the same id within its window for doubles."""

    def __init__(self, url: SplitResult) -> None:
        self._stream = _name(url.path.strip("/"), "nats://host:4222/stream")
        self._servers = urlunsplit(url._replace(path="", query=""))
        self._credentials = parse_qs(url.query).get("user_credentials", [None])[0]
        from faststream.nats import NatsBroker

        self._library = NatsBroker
        self._broker: NatsBroker | None = None
        self._client: Any = None

    async def connect(self) -> None:
        self._broker = self._library(
            self._servers,
            user_credentials=self._credentials,
            allow_reconnect=False,
            connect_timeout=int(_TIMEOUT),
            logger=None,
        )
        self._client = await self._broker.connect()

    async def publish(self, messages: Sequence[_Message]) -> None:
        assert self._broker is not None
        await asyncio.gather(
            *(
                self._broker.publish(
                    message.record,
                    f"{SUBJECT}.{re.sub(r'[^A-Za-z0-9_-]', '_', message.chat)}",
                    headers={**message.headers, "Nats-Msg-Id": message.event_id},
                    correlation_id=message.event_id,
                    stream=self._stream,
                    timeout=_TIMEOUT,
                )
                for message in messages
            )
        )

    async def check(self) -> None:
        found = await self._client.jetstream().stream_info(self._stream)
        if f"{SUBJECT}.>" not in (found.config.subjects or []):
            raise SettingsError(f"webhook archive: the stream {self._stream} must have the subjects {SUBJECT}.>")

    async def close(self) -> None:
        if self._broker is not None:
            await self._broker.stop()


class _Redis(_Broker):
    """A message is as durable as the server's persistence is: an append-only file that is synced always keeps it."""

    def __init__(self, url: SplitResult) -> None:
        query = parse_qs(url.query)
        self._stream = _name(query.pop("stream", [""])[0], "redis://host:6379/0?stream=name")
        rest = "&".join(f"{name}={value}" for name, values in query.items() for value in values)
        self._url = urlunsplit(url._replace(query=rest))
        from faststream.redis import RedisBroker

        self._library = RedisBroker
        self._broker: RedisBroker | None = None
        self._client: Any = None

    async def connect(self) -> None:
        self._broker = self._library(
            self._url,
            logger=None,  # type: ignore[arg-type]
            socket_timeout=_TIMEOUT,
            socket_connect_timeout=_TIMEOUT,
            health_check_interval=30,
        )
        self._client = await self._broker.connect()
        persistence = await self._client.info("persistence")
        if not int(persistence.get("aof_enabled", 0)):
            log.warning("webhook archive: this Redis has no append-only file, and loses events when it ends")

    async def publish(self, messages: Sequence[_Message]) -> None:
        assert self._broker is not None
        async with self._client.pipeline(transaction=True) as pipeline:
            for message in messages:
                await self._broker.publish(
                    message.record,
                    stream=self._stream,
                    headers=message.headers,
                    correlation_id=message.event_id,
                    pipeline=pipeline,
                )
            await pipeline.execute()

    async def check(self) -> None:
        await self._client.ping()

    async def close(self) -> None:
        if self._broker is not None:
            await self._broker.stop()


_KINDS: Final[dict[str, type[_Broker]]] = {
    "kafka": _Kafka,
    "nats": _Nats,
    "tls": _Nats,
    "redis": _Redis,
    "rediss": _Redis,
}


class BrokerSink:
    """A distributed log; see `linq_webhooks.archive.Archive`, of which it is the half that writes.

    Args:
        url: see the module.
        cipher: encrypts bodies.

    Raises:
        SettingsError: the URL is none, or what reaches the broker is not installed.
    """

    def __init__(self, url: str, *, cipher: BodyCipher | None = None) -> None:
        parts = urlsplit(url)
        self._name = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        self._cipher = cipher
        self._make: Callable[[], _Broker] = lambda: _KINDS[parts.scheme](parts)
        try:
            self._make()  # what is wrong with the URL, or not installed, is said now, and not when events come
        except ImportError as error:
            raise SettingsError(
                f"webhook archive {self._name}: {error.name or 'a package'} is not installed; "
                "pip install 'linq-connectors[webhooks-brokers]'"
            ) from None
        self._stack = ExitStack()
        self._portal: BlockingPortal | None = None
        self._broker: _Broker | None = None

    def append(self, events: Sequence[StoredEvent]) -> None:
        messages = [_Message(encode_event(event, self._cipher), event.event_id, _chat_of(event)) for event in events]
        if messages:
            self._run("write", lambda broker: broker.publish(messages))

    def read(self, since: str | None = None) -> Iterator[tuple[StoredEvent, str]]:
        self._refuse_to_read()

    def position_before(self, moment: datetime) -> str | None:
        self._refuse_to_read()

    def check(self) -> None:
        self._run("write", lambda broker: broker.check())

    def close(self) -> None:
        if self._portal is not None:
            with suppress(Exception):
                self._portal.call(self._disconnect)
        self._stack.close()

    def _refuse_to_read(self) -> NoReturn:
        raise SettingsError(
            f"webhook archive {self._name}: events are written to a broker, and read from it by consumers of its own; "
            "what reads an archive needs one in files or in a database"
        )

    def _run(self, what: str, ask: Callable[[_Broker], Awaitable[None]]) -> None:
        """Do something with the connected broker, within the time that the platform waits."""
        if self._portal is None:
            self._portal = self._stack.enter_context(start_blocking_portal(name="linq-webhooks-broker"))
        try:
            self._portal.call(self._ask, ask)
        except LinqError:
            raise
        except Exception as error:
            # Not its words: they may quote what was sent, or the address with a password.
            raise ArchiveError(f"webhook archive {self._name}: cannot {what}: {type(error).__name__}") from None

    async def _ask(self, ask: Callable[[_Broker], Awaitable[None]]) -> None:
        try:
            with anyio.fail_after(_TIMEOUT):
                if self._broker is None:
                    self._broker = self._make()
                    await self._broker.connect()
                await ask(self._broker)
        except BaseException:
            # A connection of which nobody knows what it still holds is no use; the next call makes another one.
            await self._disconnect()
            raise

    async def _disconnect(self) -> None:
        broker, self._broker = self._broker, None
        if broker is not None:
            with anyio.move_on_after(1, shield=True), suppress(Exception):
                await broker.close()


def _chat_of(event: StoredEvent) -> str:
    """Return the id of the chat that an event is about: its header, if the subscription has one, or its data."""
    if chat := event.headers.get("linq-chat-id"):
        return chat
    try:
        data = parse(event.body).data.model_dump()
    except LinqError:
        return _NO_CHAT
    chat = data.get("chat")
    found = chat.get("id") if isinstance(chat, dict) else data.get("chat_id")
    if found is None and event.event_type == "chat.created":
        found = data.get("id")
    return found if isinstance(found, str) and found else _NO_CHAT


def _name(name: str, form: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", name):
        raise SettingsError(f"webhook archive: must be {form}, with a name of letters, digits, dots, - and _")
    return name
