"""How the program ends on SIGTERM and SIGINT: soon, with the code that says so, whatever it is doing.

A signal raises `SignalExit` in the main thread, which nobody waits in front of: no thread is joined, and the worker
threads are daemons. What was read is written on the way out, and the process ends in `tap_linq.cli`.

The main thread may be where Python hears no signal: in a look-up of a name, or in a write to a loader that reads no
more. So a second thread hears of it too, and ends the process when that has had `GRACE` seconds.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from threading import Thread
from types import FrameType
from typing import ClassVar, Final

__all__ = ["GRACE", "SIGNALS", "SignalExit", "end_soon_on_signals"]

#: Seconds that a process has to write what it has read. Schedulers kill after 10 s (Docker) or 30 s (Kubernetes).
GRACE: Final = 3.0

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class SignalExit(SystemExit):
    """A signal is to end the process, with code 128 and its number, as a shell shows it.

    Attributes:
        latest: that of this process; None as long as there was none.
    """

    latest: ClassVar[SignalExit | None] = None

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.exit_code = 128 + number
        self.signal_name = signal.Signals(number).name
        SignalExit.latest = self


def end_soon_on_signals() -> None:
    """Have signals raise `SignalExit`, and the process end `GRACE` seconds later at the latest; from the main thread.

    The SDK installs a handler of its own later, which does the same.
    """
    for number in SIGNALS:
        signal.signal(number, _raise)
    here, there = socket.socketpair()
    there.setblocking(False)
    # Written to when the signal arrives, and not only when the interpreter next runs in the main thread.
    signal.set_wakeup_fd(there.fileno(), warn_on_full_buffer=False)
    Thread(target=_end_late, args=(here, there), daemon=True).start()


def _raise(number: int, _: FrameType | None) -> None:
    raise SignalExit(number)


def _end_late(here: socket.socket, _there: socket.socket) -> None:
    """Wait for a signal, and end the process if it does not do so itself; both ends are kept open."""
    while (number := here.recv(1)[0]) not in SIGNALS:
        pass
    time.sleep(GRACE)
    os._exit(128 + number)
