"""Servers that end with the process of the tests, also if that is killed: nobody else would know of them.

A process of its own knows them, and waits for the end of its standard input, which is closed in either case.
`EmulatorProcess` needs none of this: it has such an input itself.
"""

from __future__ import annotations

import atexit
import json
import shutil
import subprocess
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path

import psutil

__all__ = ["end_with_tests"]

ROOT = Path(__file__).parents[2]


def end_with_tests(pid: int, folder: Path | None = None) -> None:
    """Have a process killed, if it still runs when this one has ended, and its folder removed."""
    started_at = psutil.Process(pid).create_time()  # another process may have its id by then
    stdin = _watcher().stdin
    assert stdin is not None
    stdin.write(json.dumps([pid, started_at, str(folder) if folder else None]).encode() + b"\n")
    stdin.flush()


@cache
def _watcher() -> subprocess.Popen[bytes]:
    # A session of its own: what interrupts the tests at a terminal is not to end it first.
    command = [sys.executable, "-m", __name__]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, cwd=ROOT, start_new_session=True)
    atexit.register(_dismiss, process)
    return process


def _dismiss(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.close()
    with suppress(subprocess.TimeoutExpired):  # a fork of this process may hold the other end
        process.wait(5)


def _watch() -> None:
    servers = [json.loads(line) for line in sys.stdin.buffer]
    for pid, started_at, folder in servers:
        try:
            server = psutil.Process(pid)
            if server.create_time() != started_at:
                continue
            server.kill()
        except psutil.NoSuchProcess:
            continue
        psutil.wait_procs([server])
        if folder:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    _watch()
