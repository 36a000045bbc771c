"""How fast the emulator itself is, on one core: the others measure the tap and not it."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter

import psutil

from benchmarks.account import account
from benchmarks.reference import json_rate, message_paths, read_pages
from benchmarks.table import Found, at_least

CONNECTIONS = 4
MESSAGES_PER_PAGE = 100
CHATS = 100


def pace(quick: bool) -> Found:
    """Pages of 100 messages of 1 kB, over a few connections that are kept."""
    pages = 1_000 if quick else 10_000
    with account(CHATS, MESSAGES_PER_PAGE) as emulator:
        pinned = _pin(emulator.pid)
        paths = message_paths(emulator, CHATS, MESSAGES_PER_PAGE)
        pages_of_chats = read_pages(emulator, paths)
        process = psutil.Process(emulator.pid)
        started, cpu = perf_counter(), sum(process.cpu_times()[:2])
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            share = [paths[number % CHATS] for number in range(pages // CONNECTIONS)]
            size = sum(pool.map(lambda _: sum(map(len, read_pages(emulator, share))), range(CONNECTIONS)))
        seconds, cpu = perf_counter() - started, sum(process.cpu_times()[:2]) - cpu
    rate = pages * MESSAGES_PER_PAGE / cpu
    found = Found()
    what = "emulator / loop of the standard library's JSON, messages a second of CPU, in pages of 100"
    found.rows.append(at_least(what, 2, rate / json_rate(pages_of_chats)))
    where = "bound to one core" if pinned else "not bound to a core: this system can't"
    found.figures.append(
        f"emulator ({where}), {CONNECTIONS} connections: {pages:,} pages of {size // pages:,} bytes, {seconds:.2f} s, "
        f"{cpu:.2f} s CPU"
    )
    return found


def _pin(pid: int) -> bool:
    if not hasattr(os, "sched_setaffinity"):
        return False
    os.sched_setaffinity(pid, {max(os.sched_getaffinity(0))})
    return True
