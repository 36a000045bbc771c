"""How fast the emulator itself is: pages a second on one core, so that the others measure the tap and not it."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from time import perf_counter
from urllib.parse import urlsplit

from benchmarks.account import account, get
from benchmarks.measure import RunError
from benchmarks.table import Found, at_least
from linq_emulator.testing import EmulatorProcess

CONNECTIONS = 4
MESSAGES_PER_PAGE = 100
CHATS = 100


def pace(quick: bool) -> Found:
    """Pages of 100 messages of 1 kB a second, over a few connections that are kept."""
    pages = 1_000 if quick else 10_000
    with account(CHATS, MESSAGES_PER_PAGE) as emulator:
        pinned = _pin(emulator.pid)
        paths = _paths(emulator)
        _read(emulator, paths)
        started = perf_counter()
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            share = [paths[number % CHATS] for number in range(pages // CONNECTIONS)]
            size = sum(pool.map(lambda _: _read(emulator, share), range(CONNECTIONS)))
        seconds = perf_counter() - started
    found = Found()
    found.rows.append(at_least("emulator: pages of 100 messages a second on one core", 1_000, pages / seconds))
    where = "bound to one core" if pinned else "not bound to a core: this system can't"
    found.figures.append(
        f"emulator ({where}), {CONNECTIONS} connections: {pages:,} pages of {size // pages:,} bytes in {seconds:.2f} s"
    )
    return found


def _pin(pid: int) -> bool:
    if not hasattr(os, "sched_setaffinity"):
        return False
    os.sched_setaffinity(pid, {max(os.sched_getaffinity(0))})
    return True


def _paths(emulator: EmulatorProcess) -> list[str]:
    prefix = urlsplit(emulator.base_url).path
    chats = get(emulator, "chats", limit=CHATS)["chats"]
    return [f"{prefix}/v3/chats/{chat['id']}/messages?limit={MESSAGES_PER_PAGE}" for chat in chats]


def _read(emulator: EmulatorProcess, paths: list[str]) -> int:
    """Read pages over one connection and return their bytes."""
    connection = HTTPConnection(urlsplit(emulator.base_url).netloc, timeout=60)
    headers = {"Authorization": f"Bearer {emulator.api_key}"}
    size = 0
    for path in paths:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        size += len(answer.read())
        if answer.status != 200:
            raise RunError(f"{path}: {answer.status}")
    connection.close()
    return size
