"""The end of exchanges that don't end by themselves: their deadlines, and `LinqClient.abort`.

A timeout of `requests` is one of a single operation of a socket, so a server that sends a byte now and then is never
left. Here one thread a process looks, some times a second, at all exchanges under way. The socket of one that has to
end is shut down, which wakes its thread whatever that waits for: a connection, a TLS handshake, a proxy, headers, a
body, or room for an upload. Only the resolution of a host's name can't be ended; the system's resolver has time-outs of
its own.

`Lifetime.abort` may run in a signal handler, in the middle of anything that the main thread does. So it takes no lock:
it sets a flag, and a `SimpleQueue`, whose `put` is reentrant, wakes the thread that does the rest.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from linq_client.errors import APIConnectionError, ClientClosedError, Effect, LinqError

if TYPE_CHECKING:
    from threading import Condition

#: Seconds between two looks at the exchanges under way: how late a deadline can be.
TICK: Final = 0.25

#: Seconds without any exchange after which the thread sleeps until there is one.
IDLE_AFTER: Final = 10.0

T = TypeVar("T")


class Connection(Protocol):
    """What an exchange needs to know of its connection, see `_connections`."""

    exchange: Exchange | None
    handle: socket.socket | None


class Lifetime:
    """Whether a client still makes requests, and what its threads wait with, so that `abort` ends each wait."""

    def __init__(self) -> None:
        self.is_over = False
        self._over = threading.Event()
        self._conditions: list[Condition] = []

    def abort(self) -> None:
        """End all exchanges and waits, and let none begin. Safe in a signal handler; returns immediately."""
        self.is_over = True
        _watchdog.wake(self)

    def check(self) -> None:
        """Raise `ClientClosedError` after `abort`."""
        if self.is_over:
            raise ClientClosedError("the client was closed by abort()")

    def sleep(self, seconds: float) -> None:
        """Wait.

        Raises:
            ClientClosedError: `abort` was called.
        """
        self.check()
        self._over.wait(seconds)
        self.check()

    def new_condition(self) -> Condition:
        """Make a condition whose waiters wake up after `abort`; they have to `check`."""
        condition = threading.Condition()
        self._conditions.append(condition)
        return condition

    def wake_all(self) -> None:
        """Wake everyone who waits. Not for signal handlers."""
        self._over.set()
        for condition in self._conditions:
            with condition:
                condition.notify_all()

    def run(self, label: str, seconds: float, work: Callable[[Exchange], T]) -> T:
        """Make an exchange, and end it when it has taken too long.

        Args:
            label: what the exchange is called in errors.
            seconds: from when there is a connection for it in the pool.
            work: makes the exchange, by connections of `_connections`, in this thread.

        Raises:
            APIConnectionError: it has taken too long.
            ClientClosedError: `abort` was called.
        """
        exchange = Exchange(self, seconds)
        outer = _current.exchange
        _watchdog.add(exchange)
        _current.exchange = exchange
        effect = Effect.UNKNOWN
        try:
            # After `add`: an `abort` that comes from here on finds the exchange.
            self.check()
            result = work(exchange)
        except Exception as error:
            if exchange.cut is None:
                raise
            if isinstance(error, LinqError):
                effect = error.effect
        finally:
            _current.exchange = outer
            _watchdog.remove(exchange)
        if exchange.cut is None:
            return result
        # Also where the response seems complete: a socket that was shut down looks like the end of a body.
        kind, words = exchange.cut
        raise kind(f"{label}: {words}", effect=effect)


class Exchange:
    """One request with its response.

    Attributes:
        cut: class and words of the error that it has to end with, once its socket was shut down before it had ended.
    """

    __slots__ = ("_connection", "_ends_at", "_lifetime", "_orphans", "_seconds", "cut")

    def __init__(self, lifetime: Lifetime, seconds: float) -> None:
        self._lifetime = lifetime
        self._seconds = seconds
        self._ends_at: float | None = None
        self._connection: Connection | None = None
        self._orphans: list[socket.socket] = []
        self.cut: tuple[type[LinqError], str] | None = None

    def extend(self, seconds: float) -> None:
        """Allow it more time."""
        self._seconds += seconds
        if self._ends_at is not None:
            self._ends_at += seconds

    def use(self, connection: Connection) -> None:
        """Note which connection it uses.

        Raises:
            OSError: it has to end.
        """
        with _watchdog.lock:
            if self.cut is not None:
                raise OSError("the exchange has ended")
            if self._ends_at is None:
                self._ends_at = time.monotonic() + self._seconds
            self._connection = connection
            connection.exchange = self

    def keep(self, handle: socket.socket) -> None:
        """Close a handle when the exchange ends: its connection is closed, but the response may still be read."""
        self._orphans.append(handle)

    def end_if_due(self, now: float) -> None:
        """Shut its socket down if it has taken too long, or if the client was aborted."""
        if self._lifetime.is_over:
            cut: tuple[type[LinqError], str] = ClientClosedError, "ended by abort()"
        elif self._ends_at is not None and self._ends_at <= now:
            cut = APIConnectionError, f"no complete response within {self._seconds:g} s"
        else:
            return
        with _watchdog.lock:
            self.cut = self.cut or cut
            connection = self._connection
            # A connection that went back to the pool may serve another exchange by now.
            if connection is None or connection.exchange is not self:
                return
            for handle in (connection.handle, *self._orphans):
                if handle is not None:
                    with suppress(OSError):  # not connected yet, or not any more
                        handle.shutdown(socket.SHUT_RDWR)

    def let_go(self) -> None:
        """Give up the connection: the exchange has ended. The watchdog's lock is held."""
        if self._connection is not None and self._connection.exchange is self:
            self._connection.exchange = None
        for handle in self._orphans:
            handle.close()


class _Current(threading.local):
    """The exchange that a thread is making."""

    exchange: Exchange | None = None


class _Watchdog:
    """Ends what has to end, in a thread of its own, which starts with the first exchange.

    Attributes:
        lock: held while a socket is shut down, and while one changes hands; never in a signal handler. Reentrant, since
            a connection may be closed by the garbage collector, which runs anywhere.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin without a thread: one does not live on in a process that was forked."""
        self.lock = threading.RLock()
        self._under_way: set[Exchange] = set()
        self._calls: SimpleQueue[Lifetime | None] = SimpleQueue()
        self._is_awake = False
        self._has_thread = False

    def wake(self, aborted: Lifetime | None = None) -> None:
        """Let the thread look immediately."""
        self._calls.put(aborted)

    def add(self, exchange: Exchange) -> None:
        """Watch an exchange."""
        self._under_way.add(exchange)
        if not self._is_awake:
            self._start()

    def remove(self, exchange: Exchange) -> None:
        """Watch an exchange no longer."""
        self._under_way.discard(exchange)
        with self.lock:
            exchange.let_go()

    def _start(self) -> None:
        with self.lock:
            starts, self._has_thread = not self._has_thread, True
        if starts:
            # While the interpreter ends there are no new threads, and no watchdog.
            with suppress(RuntimeError):
                threading.Thread(target=self._run, name="linq-watchdog", daemon=True).start()
        self.wake()

    def _run(self) -> None:
        busy_at = time.monotonic()
        while True:
            aborted: Lifetime | None = None
            with suppress(Empty):
                aborted = self._calls.get(timeout=TICK if self._is_awake else None)
            if aborted is not None:
                aborted.wake_all()
            now = time.monotonic()
            for exchange in self._under_way.copy():
                exchange.end_if_due(now)
                busy_at = now
            # In this order: an exchange that is added now either finds no one awake, or is found.
            self._is_awake = False
            self._is_awake = bool(self._under_way) or now - busy_at < IDLE_AFTER


_watchdog = _Watchdog()
_current = _Current()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_watchdog.reset)


class Watched:
    """A mixin for connections of urllib3: ties the connection to the exchange that its thread makes.

    `handle` is a second descriptor of the connection's socket. It is valid while TLS takes the first one over, and is
    closed under the watchdog's lock alone, so that what is shut down is never a descriptor that has found a new use.
    """

    exchange: Exchange | None = None
    handle: socket.socket | None = None

    def attach(self) -> None:
        """Let the exchange of this thread use the connection."""
        if _current.exchange is not None and self.exchange is not _current.exchange:
            _current.exchange.use(self)

    def adopt(self, sock: socket.socket) -> None:
        """Note the socket that the connection is made by, before it is connected if that is possible.

        Raises:
            OSError: the exchange has to end.
        """
        self.drop()
        self.handle = sock.dup()
        if _current.exchange is not None:
            _current.exchange.use(self)

    def drop(self) -> None:
        """Close the handle, with the exchange if there is one under way: it may still read the response."""
        with _watchdog.lock:
            handle, self.handle = self.handle, None
            if handle is None:
                return
            if self.exchange is not None:
                self.exchange.keep(handle)
            else:
                handle.close()
