"""The tap as a program, run over and over: from outside, and quickly.

To start the installed program takes two seconds of work, nearly all of them imports. `start_tap` starts it so if that
matters; otherwise it asks a process that has imported everything for a fork, which parses the command line, runs and
ends as the program does. That process is this module as a program; it ends when its input does.
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import json
import os
import resource
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.support.hostile_api import KEY, HostileAPI

ROOT = Path(__file__).parents[2]
TAP = Path(sys.executable).parent / "tap-linq"

#: Seconds after which a run that should have ended long ago is killed.
PATIENCE = 600 if os.environ.get("LINQ_DRILLS") == "full" else 240


@dataclass
class Extraction:
    """A run of the tap that has ended: what it wrote, and how it ended."""

    folder: Path
    code: int

    @property
    def output(self) -> Path:
        return self.folder / "out.singer"

    @cached_property
    def log(self) -> str:
        log = (self.folder / "err.log").read_text(errors="replace")
        assert KEY not in log
        return log

    @cached_property
    def messages(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.output.read_bytes().splitlines()]

    def records(self, stream: str) -> list[dict[str, Any]]:
        return [one["record"] for one in self.messages if one["type"] == "RECORD" and one["stream"] == stream]

    @property
    def schemas(self) -> dict[str, dict[str, Any]]:
        """The SCHEMA messages by stream."""
        return {one["stream"]: one for one in self.messages if one["type"] == "SCHEMA"}

    @property
    def state(self) -> dict[str, Any]:
        states = [one["value"] for one in self.messages if one["type"] == "STATE"]
        return states[-1] if states else {}

    @property
    def bookmarks(self) -> dict[str, str]:
        """When the last complete pass over each line began."""
        partitions = self.state.get("bookmarks", {}).get("messages", {}).get("partitions", [])
        return {one["context"]["line"]: one["passed_at"] for one in partitions if "passed_at" in one}

    @property
    def complaints(self) -> list[str]:
        """The lines of the log but those that only inform."""
        return [line for line in self.log.splitlines() if line.strip() and "| INFO " not in line]

    @property
    def last_line(self) -> str:
        lines = [line for line in self.log.splitlines() if line.strip()]
        return lines[-1] if lines else ""


@dataclass
class Run:
    """A tap that has been started."""

    folder: Path
    pid: int
    program: subprocess.Popen[bytes] | None = None

    def send(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def is_over(self) -> bool:
        return self.program.poll() is not None if self.program else _forks.code(self.pid, 0) is not None

    def end(self, timeout: float = PATIENCE) -> Extraction:
        """Wait for the end, and kill what has not come to it by then, whose exit code is -9."""
        code = self._wait(timeout)
        if code is None:
            self.send(signal.SIGKILL)
            code = self._wait(PATIENCE)
        assert code is not None
        return Extraction(self.folder, code)

    def _wait(self, timeout: float) -> int | None:
        if self.program is None:
            return _forks.code(self.pid, timeout)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.program.wait(timeout)
        return None


class _Forks:
    """The process that forks, started when it is first needed."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._process: subprocess.Popen[bytes] | None = None
        self._begun: dict[str, int] = {}
        self._ended: dict[int, int] = {}

    def start(self, arguments: list[str], folder: Path, env: dict[str, str]) -> int:
        request = {"arguments": arguments, "folder": str(folder), "env": env}
        with self._changed:
            process = self._process = self._process or self._start_process()
            assert process.stdin is not None
            self._begun.pop(str(folder), None)
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()
            assert self._changed.wait_for(lambda: str(folder) in self._begun, PATIENCE)
            return self._begun[str(folder)]

    def code(self, pid: int, timeout: float) -> int | None:
        """The exit code of a fork, once it has ended."""
        with self._changed:
            self._changed.wait_for(lambda: pid in self._ended, timeout)
            return self._ended.get(pid)

    def _start_process(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", __name__]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT)
        threading.Thread(target=self._listen, args=(process,), daemon=True).start()
        atexit.register(self._stop, process)
        return process

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            news = json.loads(line)
            with self._changed:
                if "folder" in news:
                    self._begun[news["folder"]] = news["pid"]
                    self._ended.pop(news["pid"], None)
                else:
                    self._ended[news["pid"]] = news["code"]
                self._changed.notify_all()

    @staticmethod
    def _stop(process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        process.stdin.close()
        process.wait()


_forks = _Forks()


def command_line(folder: Path, files: dict[str, Any]) -> list[str]:
    """Write files for the tap, bytes as they are, all else as JSON, and return the arguments that name them."""
    folder.mkdir(parents=True, exist_ok=True)
    arguments = []
    for name, content in files.items():
        if content is not None:
            file = folder / f"{name}.json"
            file.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
            arguments += [f"--{name}", str(file)]
    return arguments


def start_tap(
    api: HostileAPI,
    folder: Path,
    *,
    state: Any = None,
    catalog: Any = None,
    env: dict[str, str] | None = None,
    as_program: bool = False,
    **settings: Any,
) -> Run:
    """Start the tap, with all its files in a folder of its own.

    Args:
        state: bytes are written as they are, all else as JSON; so is the catalog.
        as_program: whether it is to be the installed program.
    """
    config = {"api_key": KEY, "base_url": api.base_url, **settings}
    arguments = command_line(folder, {"config": config, "state": state, "catalog": catalog})
    if not as_program:
        return start_command(arguments, folder, env)
    with (folder / "out.singer").open("wb") as out, (folder / "err.log").open("wb") as err:
        environment = {**os.environ, **(env or {})}
        process = subprocess.Popen([TAP, *arguments], stdout=out, stderr=err, env=environment, cwd=folder)
    return Run(folder, process.pid, process)


def run_tap(api: HostileAPI, folder: Path, **options: Any) -> Extraction:
    """Run the tap to its end, with the options of `start_tap`."""
    return start_tap(api, folder, **options).end()


def start_command(arguments: list[str], folder: Path, env: dict[str, str] | None = None) -> Run:
    """Start the tap with a command line of any kind, in a folder, with these environment variables, too."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("out.singer", "err.log"):
        (folder / name).write_bytes(b"")  # so that nobody takes the output of an earlier run for that of this one
    return Run(folder, _forks.start(arguments, folder, env or {}))


def make_catalog(folder: Path, *, select: Collection[str] | None = None) -> dict[str, Any]:
    """The tap's catalog with these streams selected, or all of them."""
    arguments = [*command_line(folder, {"config": {"api_key": KEY}}), "--discover"]
    catalog: dict[str, Any] = json.loads(start_command(arguments, folder).end().output.read_bytes())
    for stream in catalog["streams"]:
        (top,) = (entry for entry in stream["metadata"] if not entry["breadcrumb"])
        top["metadata"]["selected"] = select is None or stream["tap_stream_id"] in select
    return catalog


#: The environment variable that stands for a disk which is full after so many bytes of a file.
FILE_SIZE = "LINQ_TEST_FILE_SIZE"
#: One that names a folder; and one of the change of its files before which the process is killed, from 1.
FOLDER, KILLED_BEFORE = "LINQ_TEST_FOLDER", "LINQ_TEST_KILLED_BEFORE"


def _kill_before(folder: str, number: int) -> None:
    """Kill this process before it makes, writes, renames or removes a file or folder below a folder, that often."""
    changes = itertools.count(1)

    def look(event: str, arguments: tuple[Any, ...]) -> None:
        is_change = event in ("os.mkdir", "os.rename", "os.remove") or (
            event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        )
        if is_change and str(arguments[0]).startswith(folder) and next(changes) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(look)


def _become_tap(arguments: list[str], folder: str, env: dict[str, str]) -> None:
    for name, number in ((os.devnull, 0), ("out.singer", 1), ("err.log", 2)):
        file = os.open(Path(folder) / name, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(file, number)
        os.close(file)
    os.chdir(folder)
    os.environ.update(env)
    if FILE_SIZE in env:
        sys.dont_write_bytecode = True  # a compiled module that doesn't fit would be cut off, for good
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(env[FILE_SIZE]),) * 2)
    if FOLDER in env:
        _kill_before(env[FOLDER], int(env[KILLED_BEFORE]))
    sys.argv = ["tap-linq", *arguments]
    from tap_linq.tap import TapLinq

    TapLinq.cli()


def _tell(**news: Any) -> None:
    os.write(1, json.dumps(news).encode() + b"\n")


def _reap(children: set[int], options: int) -> None:
    while children:
        pid, status = os.waitpid(-1, options)
        if not pid:
            break
        children.discard(pid)
        _tell(pid=pid, code=os.waitstatus_to_exitcode(status))


def _serve() -> None:
    """Fork a tap for each line of the input, say its process id, and its exit code when it has ended."""
    import tap_linq.tap  # noqa: F401

    children: set[int] = set()
    wakened, wake = os.pipe()
    for end in (wakened, wake):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(wake)
    before = signal.signal(signal.SIGCHLD, lambda number, frame: None)
    pending = b""
    while True:
        ready, _, _ = select.select([0, wakened], [], [])
        if wakened in ready:
            os.read(wakened, 4_096)
            _reap(children, os.WNOHANG)
        if 0 not in ready:
            continue
        received = os.read(0, 65_536)
        if not received:
            break
        *requests, pending = (pending + received).split(b"\n")
        for request in map(json.loads, requests):
            pid = os.fork()
            if not pid:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, before)
                return _become_tap(**request)
            children.add(pid)
            _tell(folder=request["folder"], pid=pid)
    for pid in children:
        os.kill(pid, signal.SIGKILL)
    return None


if __name__ == "__main__":
    _serve()
