"""Running the tap in this process, and what came out of it."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Collection
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tap_linq.tap import TapLinq
from tests.support.emulator_process import Emulator
from tests.support.tap_runs import start_command

if TYPE_CHECKING:
    from tests.support.small_api import SmallAPI

FIRST_LINE = "+12025550101"
SECOND_LINE = "+12025550102"
PERSON = "+12125550100"
TAP = Path(sys.executable).with_name("tap-linq")


@dataclass(frozen=True)
class Output:
    """What a run wrote to stdout, and how it ended."""

    messages: list[dict[str, Any]]
    error: Exception | None

    def records(self, stream: str) -> list[dict[str, Any]]:
        return [one["record"] for one in self.messages if one["type"] == "RECORD" and one["stream"] == stream]

    def ids(self, stream: str = "messages") -> list[str]:
        return [record["id"] for record in self.records(stream)]

    @property
    def state(self) -> dict[str, Any]:
        """The last state that a target would have passed on."""
        states = [one["value"] for one in self.messages if one["type"] == "STATE"]
        return states[-1] if states else {}

    def bookmarks(self) -> dict[str, str]:
        """When the last complete pass over each line began."""
        partitions = self.state.get("bookmarks", {}).get("messages", {}).get("partitions", [])
        return {one["context"]["line"]: one["passed_at"] for one in partitions if "passed_at" in one}

    def schemas(self) -> Counter[str]:
        return Counter(one["stream"] for one in self.messages if one["type"] == "SCHEMA")


def config_for(emulator: Emulator, **settings: Any) -> dict[str, Any]:
    return {"api_key": emulator.api_key, "base_url": emulator.base_url, **settings}


def run_tap(
    emulator: Emulator,
    *,
    state: dict[str, Any] | None = None,
    catalog: dict[str, Any] | None = None,
    select: Collection[str] | None = None,
    **settings: Any,
) -> Output:
    """Run once, with all that a target would see.

    Args:
        catalog: what discovery finds if None.
        select: names of streams; what is selected by default if None.
    """
    return run_config(config_for(emulator, **settings), state, select, catalog)


def run_api(
    api: SmallAPI, *, state: dict[str, Any] | None = None, select: Collection[str] | None = None, **settings: Any
) -> Output:
    """Run once against a small API; see `run_tap`."""
    return run_config(api.config(**settings), state, select)


def run_config(
    config: dict[str, Any],
    state: dict[str, Any] | None,
    select: Collection[str] | None,
    catalog: dict[str, Any] | None = None,
) -> Output:
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    error = None
    with redirect_stdout(out):
        # Handed over as text, as between processes, so that runs share no objects.
        tap = TapLinq(
            config=config,
            state=json.loads(json.dumps(state or {})),
            catalog=json.loads(json.dumps(catalog)),
        )
        for name, stream in tap.streams.items() if select is not None else ():
            stream.selected = name in (select or ())
        try:
            with tap.running():
                tap.sync_all()
        except Exception as raised:
            error = raised
    out.seek(0)
    return Output([json.loads(line) for line in out.read().splitlines()], error)


def cli(*arguments: str | Path, as_program: bool = False, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the command line of the tap in a process of its own; see `tap_runs` for how it starts.

    Args:
        as_program: whether it is to be the installed program.
    """
    if as_program:
        return subprocess.run([TAP, *arguments], env={**os.environ, **env}, capture_output=True, text=True, timeout=300)
    with tempfile.TemporaryDirectory() as folder:
        ended = start_command([str(one) for one in arguments], Path(folder), {**os.environ, **env}).end()
        out, err = (Path(folder, name).read_text(encoding="utf-8") for name in ("out.singer", "err.log"))
    return subprocess.CompletedProcess(arguments, ended.code, out, err)


def succeed(emulator: Emulator, **options: Any) -> Output:
    """Run the tap, which must not fail."""
    output = run_tap(emulator, **options)
    if output.error is not None:
        raise output.error
    return output


def inbound(emulator: Emulator, text: str = "hello", **more: Any) -> str:
    """Let a message come in, on the first line unless told otherwise, and return its id."""
    body = {"from": PERSON, "text": text, **more}
    if "chat_id" not in body:
        body.setdefault("line", FIRST_LINE)
    if "parts" in body:
        del body["text"]
    return str(emulator.control("POST", "inbound", body)["id"])


def history(emulator: Emulator, **more: Any) -> list[str]:
    """Two messages of one chat, so far apart that `updated_at` of the chat is seen to advance with its messages."""
    first = inbound(emulator, **more)
    emulator.advance(300)
    second = inbound(emulator, **more)
    emulator.advance(300)
    return [first, second]


def set_window(emulator: Emulator, hours: float | None) -> None:
    """Put all lines of the emulator on a window."""
    for line in emulator.lines:
        emulator.control("POST", "lines", {"phone_number": line, "retention_hours": hours})


def seed(emulator: Emulator, chats: int, messages_per_chat: int, **options: Any) -> None:
    emulator.control("POST", "seed", {"chats": chats, "messages_per_chat": messages_per_chat, **options})


def chat_ids(emulator: Emulator, line: str = FIRST_LINE) -> list[str]:
    """The chats of a line, by the ledger, in the order of their first message."""
    return list(dict.fromkeys(row["chat_id"] for row in emulator.ledger() if row["line"] == line))


def served(emulator: Emulator, path: str) -> int:
    """How many requests to a path the emulator has had."""
    return sum(1 for row in emulator.requests_served() if row["path"] == path)
