"""target-postgres, killed at a counted event: `python -m tests.support.killed_target`, with its arguments.

All of it is real; what is counted here is what it asks of its database, and the STATE that it confirms.
"""

from __future__ import annotations

import json
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import psycopg
from singer_sdk.target_base import Target
from target_postgres.sinks import PostgresSink
from target_postgres.target import TargetPostgres

#: Environment variables: an event and its number from 1, such as "loaded 3"; a file for how many of each there were.
KILLED_AT, COUNTS = "KILLED_TARGET_AT", "KILLED_TARGET_COUNTS"

#: Before a statement, after rows of a stream are committed, before and after a STATE is confirmed.
EVENTS = ("statement", "loaded", "state", "confirmed")


class _Executioner:
    """Counts events, and kills this process at one of them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # streams are loaded in threads
        self._counts: Counter[str] = Counter(dict.fromkeys(EVENTS, 0))
        self._killed_at = os.environ.get(KILLED_AT, "")
        self._file = Path(os.environ[COUNTS])

    def happen(self, event: str) -> None:
        with self._lock:
            self._counts[event] += 1
            self._file.write_text(json.dumps(self._counts))
            if self._killed_at == f"{event} {self._counts[event]}":
                os.kill(os.getpid(), signal.SIGKILL)

    def watch(self, kind: type, name: str, before: str | None = None, after: str | None = None) -> None:
        original: Callable[..., Any] = getattr(kind, name)

        @wraps(original)
        def watched(*arguments: Any, **options: Any) -> Any:
            if before is not None:
                self.happen(before)
            result = original(*arguments, **options)
            if after is not None:
                self.happen(after)
            return result

        setattr(kind, name, watched)


def main() -> None:
    executioner = _Executioner()
    for name in ("execute", "executemany"):
        executioner.watch(psycopg.Cursor, name, before="statement")
    executioner.watch(PostgresSink, "process_batch", after="loaded")
    executioner.watch(Target, "_write_state_message", before="state", after="confirmed")
    TargetPostgres.cli()


if __name__ == "__main__":
    main()
