"""Emulators that tests start, in a process or in a thread, on a free port of loopback."""

from __future__ import annotations

import atexit
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timezone
from http.client import HTTPException
from types import TracebackType
from typing import Final

from typing_extensions import Self, TypedDict, Unpack

from linq_emulator._control_client import Emulator

__all__ = ["EmulatorOptions", "EmulatorProcess", "EmulatorThread", "StartedEmulator"]

_STOP_SECONDS: Final = 60

#: A process that dies closes its connections first. Its end is waited for so long when one of them breaks.
_DEATH_SECONDS: Final = 20

#: Lines of standard error that are kept for the message of how a process has ended.
_LAST_LINES: Final = 20


class EmulatorOptions(TypedDict, total=False):
    """Options of a start. They mean what those of the command line mean (docs/reference/emulator.md)."""

    api_key: str
    lines: Sequence[str]
    opted_out: Sequence[str]
    ephemeral_hours: float
    seed: int
    switches: Mapping[str, object]
    freeze: datetime | str
    speed: float
    persist: str | os.PathLike[str]


def _arguments(options: EmulatorOptions) -> list[str]:
    arguments = ["--port", "0"]
    for line in options.get("lines", ()):
        arguments += ["--line", line]
    for handle in options.get("opted_out", ()):
        arguments += ["--opted-out", handle]
    for name, value in options.get("switches", {}).items():
        arguments += ["--switch", f"{name}={json.dumps(value)}"]
    if "freeze" in options:
        freeze = options["freeze"]
        arguments += ["--freeze", freeze if isinstance(freeze, str) else freeze.isoformat()]
    if "api_key" in options:
        arguments += ["--api-key", options["api_key"]]
    if "ephemeral_hours" in options:
        arguments += ["--ephemeral-hours", str(options["ephemeral_hours"])]
    if "seed" in options:
        arguments += ["--seed", str(options["seed"])]
    if "persist" in options:
        arguments += ["--persist", os.fspath(options["persist"])]
    if "speed" in options:
        arguments += ["--speed", str(options["speed"])]
    return arguments


class StartedEmulator(Emulator, ABC):
    """An emulator that this process has started. It is a context manager, which stops it."""

    _options: EmulatorOptions

    def restart(self) -> None:
        """Return to the state of the start, the clock included. This is quicker than another emulator."""
        self.reset()
        freeze = self._options.get("freeze")
        now = datetime.now(timezone.utc) if freeze is None else freeze
        self.set_clock(freeze=freeze is not None, now=now, speed=self._options.get("speed", 1))

    @abstractmethod
    def stop(self) -> None:
        """End it. It may be called again."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()


class EmulatorProcess(StartedEmulator):
    """An emulator in a process of its own. It listens when the constructor returns, and ends with this process.

    What it writes to standard error comes out on that of this process.

    Args:
        options: See `EmulatorOptions`.

    Raises:
        RuntimeError: It did not start; or, of any command, it has ended. The message has its exit code or the signal,
            and its last lines on standard error.
    """

    def __init__(self, **options: Unpack[EmulatorOptions]) -> None:
        self._options = options
        command = [sys.executable, "-m", "linq_emulator._test_process", *_arguments(options)]
        # The process must import the same package as this one, wherever it was found.
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment)
        self._owner = os.getpid()
        self._is_stopped = False
        self._last_lines: deque[bytes] = deque(maxlen=_LAST_LINES)
        self._relay = threading.Thread(target=self._pass_errors_on, name="linq-emulator-stderr", daemon=True)
        self._relay.start()
        assert self._process.stdout is not None
        address = self._process.stdout.readline()
        if not address:
            ending = self._ending(_STOP_SECONDS)
            self.stop()
            raise RuntimeError(f"the emulator did not start: {shlex.join(command)}{ending or ''}")
        super().__init__(**json.loads(address))
        atexit.register(self.stop)

    @property
    def pid(self) -> int:
        """Id of its process."""
        return self._process.pid

    def stop(self) -> None:
        """End the process. It may be called again."""
        if os.getpid() != self._owner:
            # A fork of this process also runs its exit handlers. The emulator is not its own.
            return
        atexit.unregister(self.stop)
        self._is_stopped = True
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._relay.join(_STOP_SECONDS)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()

    def check_running(self) -> None:
        """Do nothing, unless the process has ended without `stop`.

        Raises:
            RuntimeError: It has; the message says how.
        """
        ending = None if self._is_stopped else self._ending(0)
        if ending is not None:
            raise RuntimeError(f"the emulator has ended by itself{ending}")

    def _request(self, method: str, path: str, body: object, query: Mapping[str, object]) -> bytes:
        try:
            return super()._request(method, path, body, query)
        except (OSError, HTTPException):
            self._ending(_DEATH_SECONDS)
            self.check_running()
            raise

    def _ending(self, seconds: float) -> str | None:
        """How the process has ended, and its last words; None if it still runs after so many seconds."""
        if os.getpid() != self._owner:
            return None  # only the process that has started it can know
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        self._relay.join(_STOP_SECONDS)
        words = b"".join(self._last_lines).decode(errors="replace").strip()
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        return f" ({how})" + (f":\n{words}" if words else ", and wrote nothing to standard error")

    def _pass_errors_on(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._last_lines.append(line)
            with suppress(OSError):
                # As if the process had inherited it, so that a test that captures `sys.stderr` does not get it.
                os.write(2, line)


class EmulatorThread(StartedEmulator):
    """An emulator in a thread of this process. It listens when the constructor returns, and ends with this process.

    It starts faster than a process. It shares the interpreter with the code under test, so prefer a process if that
    code forks or is measured, or for large seeds.

    Args:
        options: See `EmulatorOptions`.

    Raises:
        RuntimeError: It did not start.
    """

    def __init__(self, **options: Unpack[EmulatorOptions]) -> None:
        # Only a thread needs the server here. Its imports take most of a second.
        import click

        from linq_emulator.cli import parse_options
        from linq_emulator.journal import JournalError
        from linq_emulator.server.emulator_server import EmulatorServer

        self._options = options
        started = threading.Event()
        ended_or_started = threading.Event()

        def on_ready() -> None:
            started.set()
            ended_or_started.set()

        def run() -> None:
            try:
                self._server.run()
            finally:
                ended_or_started.set()

        try:
            self._server = EmulatorServer(parse_options(_arguments(options)), on_ready)
        except click.ClickException as error:
            raise RuntimeError(f"the emulator did not start: {error.format_message()}") from None
        except JournalError as error:
            raise RuntimeError(f"the emulator did not start: {error}") from None
        self._thread = threading.Thread(target=run, name="linq-emulator", daemon=True)
        self._thread.start()
        ended_or_started.wait()
        if not started.is_set():
            raise RuntimeError("the emulator did not start: its thread has ended")
        address = self._server.address
        super().__init__(address.base_url, address.api_key, address.lines, address.opted_out, inbox=address.inbox)

    def stop(self) -> None:
        """End the thread. It may be called again."""
        self._server.stop()
        self._thread.join(_STOP_SECONDS)
