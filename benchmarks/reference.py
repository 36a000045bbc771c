"""What the same work costs with nothing but the standard library, in the same run on the same machine.

Figures that depend on the machine are given as ratios to these.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from time import perf_counter, process_time
from typing import NamedTuple
from urllib.parse import urlsplit

from benchmarks.account import LINE, get
from benchmarks.measure import RunError
from linq_emulator.testing import EmulatorProcess

REPEATS = 3
"""The quickest of so many counts: what else the machine does can only add to it."""


class Sends(NamedTuple):
    """What sends took, in seconds."""

    wall: float
    cpu: float


def message_paths(emulator: EmulatorProcess, chats: int, per_page: int) -> list[str]:
    """The paths of the first page of messages of some chats."""
    prefix = urlsplit(emulator.base_url).path
    listed = get(emulator, "chats", limit=chats)["chats"]
    return [f"{prefix}/v3/chats/{chat['id']}/messages?limit={per_page}" for chat in listed]


def read_pages(emulator: EmulatorProcess, paths: Iterable[str]) -> list[bytes]:
    """Read pages over one connection, one after the other."""
    headers = {"Authorization": f"Bearer {emulator.api_key}"}
    pages = []
    with closing(HTTPConnection(urlsplit(emulator.base_url).netloc, timeout=60)) as connection:
        for path in paths:
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            pages.append(response.read())
            if response.status != 200:
                raise RunError(f"{path}: {response.status}")
    return pages


def json_rate(pages: Sequence[bytes]) -> float:
    """Messages a second of CPU of a loop that decodes each page and encodes each of its messages as a record."""
    messages = sum(len(json.loads(page)["messages"]) for page in pages)

    def seconds() -> float:
        started = process_time()
        for page in pages:
            for message in json.loads(page)["messages"]:
                json.dumps({"type": "RECORD", "stream": "messages", "record": message})
        return process_time() - started

    return messages / min(seconds() for _ in range(REPEATS))


def read_rows(rows: Path) -> float:
    """The seconds in which a file of JSON lines is read and decoded."""

    def seconds() -> float:
        started = perf_counter()
        with rows.open() as lines:
            for line in lines:
                json.loads(line)
        return perf_counter() - started

    return min(seconds() for _ in range(REPEATS))


def send(emulator: EmulatorProcess, recipients: int, concurrency: int) -> Sends:
    """Send as many messages with `http.client`, so many concurrently."""
    shares = [range(first, recipients, concurrency) for first in range(concurrency)]
    started, cpu = perf_counter(), process_time()
    with ThreadPoolExecutor(concurrency) as pool:
        list(pool.map(lambda share: _post(emulator, share), shares))
    return Sends(perf_counter() - started, process_time() - cpu)


def _post(emulator: EmulatorProcess, numbers: Iterable[int]) -> None:
    """Send over one connection, one after the other."""
    url = urlsplit(emulator.base_url)
    headers = {"Authorization": f"Bearer {emulator.api_key}", "Content-Type": "application/json"}
    with closing(HTTPConnection(url.netloc, timeout=60)) as connection:
        for number in numbers:
            message = {"parts": [{"type": "text", "value": "Hello"}], "idempotency_key": f"bare-{number}"}
            body = {"from": LINE, "to": [f"person{number}@example.com"], "message": message}
            connection.request("POST", f"{url.path}/v3/chats", json.dumps(body), headers)
            response = connection.getresponse()
            response.read()
            if response.status >= 300:
                raise RunError(f"POST /v3/chats: {response.status}")
