"""Signals of an earlier run in the same process."""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor

from tap_linq.termination import SignalExit, ending_soon_on_signals


def test_a_run_in_a_thread_is_not_ended_by_the_signal_of_an_earlier_run() -> None:
    """At its first error it would end the process, such as the notebook in which somebody has interrupted a run."""

    def latest() -> SignalExit | None:
        with ending_soon_on_signals():
            return SignalExit.latest

    SignalExit(signal.SIGINT)
    try:
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(latest).result() is None
    finally:
        SignalExit.latest = None
