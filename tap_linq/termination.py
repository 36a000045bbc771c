"""How the program ends on SIGTERM and SIGINT: soon, with the code that says so, whatever it is doing.

A signal raises `SignalExit` in the main thread, which nobody waits in front of: no thread is joined, and the worker
threads are daemons. What was read is written on the way out, and the process ends in `tap_linq.cli`.

All of this holds while the command line or a run is under way, and then no longer: a tap may be made, and run, in a
process that has other work to do, and in a thread of it, where Python takes no handlers and hears no signals.

The main thread may be where Python hears no signal: in a look-up of a name, or in a write to a loader that reads no
more. So a second thread hears of it too, and ends the process when that has had `GRACE` seconds.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ClassVar, Final

__all__ = ["GRACE", "SIGNALS", "SignalExit", "ending_soon_on_signals", "handling_signals"]

#: Seconds that a process has to write what it has read. Schedulers kill after 10 s (Docker) or 30 s (Kubernetes).
GRACE: Final = 3.0

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class SignalExit(SystemExit):
    """A signal is to end the process, with code 128 and its number, as a shell shows it.

    Attributes:
        latest: that of this run of the command line; None as long as there was none.
    """

    latest: ClassVar[SignalExit | None] = None

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.exit_code = 128 + number
        self.signal_name = signal.Signals(number).name
        SignalExit.latest = self


@contextmanager
def handling_signals(handler: Callable[[int], object]) -> Iterator[None]:
    """Have `SIGNALS` call a function with their number for the time of a block; in the main thread, else nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, lambda number, _frame: handler(number)) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handled in before.items():
            # None is one that Python has not installed, and can't put back.
            signal.signal(number, signal.SIG_DFL if handled is None else handled)


@contextmanager
def ending_soon_on_signals() -> Iterator[None]:
    """Have signals raise `SignalExit` for the time of a block, and the process end `GRACE` seconds after one.

    In another thread than the main one, no signal is heard, so that this does nothing.
    """
    SignalExit.latest = None  # of an earlier run, which would end this one at its first error
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    here, there = socket.socketpair()
    there.setblocking(False)
    is_over = threading.Event()
    # Written to when the signal arrives, and not only when the interpreter next runs in the main thread.
    before = signal.set_wakeup_fd(there.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_end_late, args=(here, is_over), daemon=True).start()
    try:
        with handling_signals(_raise):
            yield
    finally:
        signal.set_wakeup_fd(before)
        is_over.set()
        there.close()


def _raise(number: int) -> None:
    raise SignalExit(number)


def _end_late(here: socket.socket, is_over: threading.Event) -> None:
    """Wait for a signal, and end the process if it does not do so itself."""
    with here:
        while received := here.recv(1):
            if received[0] in SIGNALS and not is_over.wait(GRACE):
                os._exit(128 + received[0])
