"""The emulator as tests, demo and benchmarks use it: another process, reached over HTTP alone."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import requests


@dataclass(frozen=True)
class Emulator:
    """A running emulator: what it printed when it listened, and calls to its control API."""

    base_url: str
    api_key: str
    lines: list[str]
    opted_out: list[str]
    pid: int

    def control(self, method: str, path: str, body: Any = None, **params: Any) -> Any:
        """Call `/_emulator/<path>` and return the decoded answer."""
        answer = requests.request(method, self.control_url(path), json=body, params=params, timeout=120)
        assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json()

    def control_url(self, path: str) -> str:
        return f"{self.base_url.removesuffix('/api/partner')}/_emulator/{path}"

    def advance(self, seconds: float) -> None:
        """Move the virtual clock on, with all that falls due on the way."""
        self.control("POST", "clock", {"advance": seconds})

    def ledger(self) -> list[dict[str, Any]]:
        """Every message ever accepted, whatever became of it."""
        return self._rows("ledger")

    def requests_served(self) -> list[dict[str, Any]]:
        """Every request to the API, oldest first."""
        return self._rows("requests")

    def _rows(self, path: str) -> list[dict[str, Any]]:
        return [json.loads(row) for row in requests.get(self.control_url(path), timeout=120).text.splitlines()]


@contextmanager
def running_emulator(*options: str) -> Iterator[Emulator]:
    """Start an emulator on a free port with these command line options, and end it."""
    command = [sys.executable, "-m", "linq_emulator", "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, f"the emulator did not start: {command}"
            yield Emulator(**json.loads(line), pid=process.pid)
        finally:
            process.terminate()
            process.wait(timeout=20)
