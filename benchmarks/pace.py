"""How fast the emulator itself is, on one core: the others measure the tap and not it."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from time import perf_counter

import psutil
import requests

from benchmarks.account import LINE, account
from benchmarks.reference import json_rate, message_paths, read_pages
from benchmarks.table import Found, at_least
from linq_emulator.testing import EmulatorProcess

CONNECTIONS = 4
MESSAGES_PER_PAGE = 100
CHATS = 100
SECONDS_BETWEEN_CHANGES = 0.5


def pace(quick: bool) -> Found:
    """Pages of 100 messages of 1 kB, over a few connections that are kept; and with the inbox open in a browser."""
    pages = 1_000 if quick else 10_000
    with account(CHATS, MESSAGES_PER_PAGE) as emulator:
        pinned = _pin(emulator.pid)
        paths = message_paths(emulator, CHATS, MESSAGES_PER_PAGE)
        pages_of_chats = read_pages(emulator, paths)
        size, seconds, cpu = _read(emulator, paths, pages)
        alone, watched = [], []
        for _ in range(3):
            with _changing(emulator):
                alone.append(_read(emulator, paths, pages)[1:])
                with _browser(emulator):
                    watched.append(_read(emulator, paths, pages)[1:])
    rate = pages * MESSAGES_PER_PAGE / cpu
    found = Found()
    what = "emulator / loop of the standard library's JSON, messages a second of CPU, in pages of 100"
    found.rows.append(at_least(what, 2, rate / json_rate(pages_of_chats)))
    where = "bound to one core" if pinned else "not bound to a core: this system can't"
    found.figures.append(
        f"emulator ({where}), {CONNECTIONS} connections: {pages:,} pages of {size // pages:,} bytes, {seconds:.2f} s, "
        f"{cpu:.2f} s CPU"
    )
    what = "emulator, pages a second of CPU: with the inbox open / without, two messages a second"
    without, (seconds, with_inbox) = min(cpu for _, cpu in alone), min(watched, key=lambda one: one[1])
    # The page reads as often in a second however many requests there are: what it takes of the core, these lack.
    found.rows.append(at_least(what, 0.95, 1 - (with_inbox - without) / seconds))
    found.figures.append(
        f"inbox: {pages:,} pages take {without:.2f} s CPU without it, and {with_inbox:.2f} s in {seconds:.2f} s with it"
    )
    return found


def _read(emulator: EmulatorProcess, paths: Sequence[str], pages: int) -> tuple[int, float, float]:
    """Read pages; their bytes, the seconds, and the emulator's CPU in seconds."""
    process = psutil.Process(emulator.pid)
    started, cpu = perf_counter(), sum(process.cpu_times()[:2])
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        share = [paths[number % len(paths)] for number in range(pages // CONNECTIONS)]
        size = sum(pool.map(lambda _: sum(map(len, read_pages(emulator, share))), range(CONNECTIONS)))
    return size, perf_counter() - started, sum(process.cpu_times()[:2]) - cpu


@contextmanager
def _changing(emulator: EmulatorProcess) -> Iterator[None]:
    """Somebody writes now and then."""
    ended = threading.Event()

    def write() -> None:
        while not ended.wait(SECONDS_BETWEEN_CHANGES):
            emulator.inbound("+12025550150", "Is it ready?", line=LINE)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield
    finally:
        ended.set()
        writer.join()


@contextmanager
def _browser(emulator: EmulatorProcess) -> Iterator[None]:
    """What the page of the inbox does: it follows the stream of changes, and reads again what it shows after each."""
    chat = emulator.inbound("+12025550150", "Hello", line=LINE)["chat_id"]
    stream = requests.get(f"{emulator.inbox}_emulator/inbox/events", stream=True, timeout=60)

    def follow() -> None:
        for line in stream.iter_lines(chunk_size=1):
            if line.startswith(b"data:"):
                emulator.control("GET", "inbox", chat=chat)
            if ended.is_set():
                return

    ended = threading.Event()
    follower = threading.Thread(target=follow)
    follower.start()
    try:
        yield
    finally:
        ended.set()
        follower.join()
        stream.close()


def _pin(pid: int) -> bool:
    if not hasattr(os, "sched_setaffinity"):
        return False
    os.sched_setaffinity(pid, {max(os.sched_getaffinity(0))})
    return True
