"""Campaigns whose main thread is interrupted at a line of the provider: at each, one after the other, within a try."""

from __future__ import annotations

import faulthandler
import os
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import requests

from tests.support.task_child import FileStore

Line = tuple[str, int]
PACKAGE = f"{os.sep}airflow_provider_linq{os.sep}"


@dataclass(frozen=True)
class Interrupted:
    """How a try went that was interrupted at this line, and the one after it."""

    line: Line
    seconds: float
    error: str
    recipients: list[str]
    result: dict[str, Any]


class Tracer:
    """Calls `on_line` for each line of the provider in the main thread, while a campaign sends.

    That is from its first POST on up to the end of the last one, so long as the test has said how many there are.
    """

    def __init__(self, posts: int, on_line: Callable[[Line], None]) -> None:
        self._left = posts
        self._is_sending = False
        self._on_line = on_line

    @contextmanager
    def tracing(self) -> Iterator[None]:
        send = requests.Session.send

        def noted(session: requests.Session, request: requests.PreparedRequest, **options: Any) -> requests.Response:
            is_send = request.method == "POST"
            self._is_sending |= is_send
            try:
                return send(session, request, **options)
            finally:
                self._left -= is_send

        requests.Session.send = noted  # type: ignore[method-assign, assignment]
        sys.settrace(self._trace)
        try:
            yield
        finally:
            sys.settrace(None)
            requests.Session.send = send  # type: ignore[method-assign]

    def _trace(self, frame: FrameType, what: str, value: Any) -> Any:
        if PACKAGE not in frame.f_code.co_filename:
            return None
        if what == "line" and self._is_sending and self._left > 0:
            self._on_line((frame.f_code.co_filename, frame.f_lineno))
        return self._trace


def sweep(
    operator: Any, context: Any, *, arguments: dict[str, Any], folder: Path, share: tuple[int, int], limit: float
) -> list[Interrupted]:
    """Find the lines that a campaign comes by while it sends, and interrupt one campaign at each; then try it again.

    :param share: of the lines, sorted: from this one on each so manieth.
    :param limit: seconds; a try that needs longer ends the process, and its line is in the log.
    """
    seen: set[Line] = set()
    one = _Campaigns(operator, context, arguments, folder)
    tracer = Tracer(len(one.rows), seen.add)
    with tracer.tracing():
        one.make().execute(one.context)
    return [
        _interrupted(operator, context, arguments, folder, line, limit)
        for line in sorted(seen)[slice(share[0], None, share[1])]
    ]


class _Campaigns:
    """The tries of one campaign to people of its own."""

    def __init__(self, operator: Any, context: Any, arguments: dict[str, Any], folder: Path) -> None:
        name = uuid.uuid4().hex
        self.rows = [{**row, "to": f"{name}-{row['to']}"} for row in arguments["rows"]]
        self._class = type(operator)
        store = folder / f"{name}.store"
        store.mkdir()
        store.with_suffix(".owner").write_text(name)
        self.context = {**context, "task_state_store": FileStore(store, name)}
        self._arguments = {**arguments, "rows": self.rows, "campaign_key": name}

    def make(self) -> Any:
        return self._class(task_id="interrupted", **self._arguments)


def _interrupted(
    operator: Any, context: Any, arguments: dict[str, Any], folder: Path, line: Line, limit: float
) -> Interrupted:
    from airflow_provider_linq._internal.version_compat import AirflowTaskTimeout

    one = _Campaigns(operator, context, arguments, folder)
    is_over = False

    def interrupt(at: Line) -> None:
        nonlocal is_over
        if at == line and not is_over:
            is_over = True
            raise AirflowTaskTimeout("the test says so")

    began = time.monotonic()
    error = "none"
    print(f"interrupted at {line}", flush=True)
    faulthandler.dump_traceback_later(limit, exit=True)
    try:
        with Tracer(len(one.rows), interrupt).tracing():
            one.make().execute(one.context)
    except BaseException as raised:
        error = type(raised).__name__
    seconds = time.monotonic() - began
    result = one.make().execute(one.context)
    faulthandler.cancel_dump_traceback_later()
    return Interrupted(line, seconds, error, [row["to"] for row in one.rows], result)
