"""Runs a program to its end and says what it took: time, CPU, memory, and what it wrote.

What a program writes is counted while it comes through a pipe, as a loader would get it, and dropped. Time, CPU and
memory are what `launcher` measured and the kernel accounts to the finished program.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import PIPE
from time import perf_counter, sleep
from typing import Any, NamedTuple

from linq_emulator.testing import EmulatorProcess

ROOT = Path(__file__).parent.parent
TAP = [str(Path(sys.executable).parent / "tap-linq")]
PLAIN_TAP = [sys.executable, "-m", "benchmarks.plain_tap"]
VENDOR_LOOP = [sys.executable, "-m", "benchmarks.vendor_loop"]
LAUNCHER = str(Path(__file__).parent / "launcher.py")

LIMIT_SECONDS = 900
_BUFFER = 1 << 18
_BATCH = 100
_HEAD_BYTES = 60
_MESSAGE_HEADS = (b'{"type":"RECORD","stream":"messages"', b'{"message":')
_RECORD_HEADS = (b'{"type":"RECORD"', b'{"message":', b'{"chat":')


class RunError(Exception):
    """A program ended with an error, or did not end in time."""


@dataclass
class Written:
    """What came out of a program.

    Attributes:
        messages: records of the stream `messages`.
        state: value of the last STATE.
    """

    messages: int = 0
    size: int = 0
    schemas: Counter[str] = field(default_factory=Counter)
    states: int = 0
    state_size: int = 0
    largest_state: int = 0
    state: Any = None

    def take(self, line: bytes) -> None:
        """Count one line."""
        self.size += len(line)
        head = line[:_HEAD_BYTES].replace(b" ", b"")
        if head.startswith(_MESSAGE_HEADS):
            self.messages += 1
        elif not head.startswith(_RECORD_HEADS):
            self._take_other(line)

    def _take_other(self, line: bytes) -> None:
        # Only the last state is decoded, by `end`: those of the plain tap are many and large.
        if line.startswith((b'{"type":"STATE"', b'{"type": "STATE"')):
            self.states += 1
            self.state_size += len(line)
            self.largest_state = max(self.largest_state, len(line))
            self.state = line
            return
        message = json.loads(line)
        if message["type"] != "SCHEMA":
            raise RunError(f"an unexpected message: {message['type']}")
        self.schemas[message["stream"]] += 1

    def end(self) -> None:
        """Decode the last state."""
        if self.state is not None:
            self.state = json.loads(self.state)["value"]


class Usage(NamedTuple):
    """What `launcher` reported; the peak in the unit of the kernel, which is not the same everywhere."""

    wall: float
    cpu: float
    peak: float


@dataclass(frozen=True)
class Run:
    """What a program took.

    Attributes:
        wall: seconds from the start of the process to its end.
        cpu: seconds of CPU, user and system, of the process.
        peak: bytes of memory at most.
        requests: answered by the emulator meanwhile.
    """

    wall: float
    cpu: float
    peak: float
    requests: int
    written: Written


def requests_of(emulator: EmulatorProcess) -> int:
    """How many requests to the API the emulator has had."""
    return sum(row["count"] for row in emulator.request_summary())


def run(
    program: Sequence[str], emulator: EmulatorProcess, state: Any = None, rate: int | None = None, **settings: Any
) -> Run:
    """Run a program against the emulator.

    Args:
        program: a command that takes ``--config FILE`` and, if there is a state, ``--state FILE``.
        rate: how many messages a second are taken from it; None is as many as come.
        settings: beside those that say where the emulator is.

    Raises:
        RunError: it failed.
    """
    before = requests_of(emulator)
    with tempfile.TemporaryDirectory() as folder:
        command = [*program, "--config", _file(folder, "config", {**_config(emulator), **settings})]
        if state is not None:
            command += ["--state", _file(folder, "state", state)]
        usage, written = _finish(command, rate)
    peak = usage.peak * (1 if sys.platform == "darwin" else 1024)
    return Run(usage.wall, usage.cpu, peak, requests_of(emulator) - before, written)


def best_run(program: Sequence[str], emulator: EmulatorProcess, by: Callable[[Run], float], times: int = 3) -> Run:
    """The run with the least of what is measured, of several: what else the machine does can only add to it."""
    return min((run(program, emulator) for _ in range(times)), key=by)


def setting_default(name: str) -> Any:
    """The default of one of the tap's settings; None if there is no such setting.

    Raises:
        RunError: the tap does not even start.
    """
    about = subprocess.run([*TAP, "--about", "--format=json"], capture_output=True, timeout=300)
    if about.returncode:
        raise RunError(f"the tap does not say what it is: {about.stderr.decode(errors='replace')[-500:]}")
    return json.loads(about.stdout)["settings"]["properties"].get(name, {}).get("default")


def _config(emulator: EmulatorProcess) -> dict[str, str]:
    return {"api_key": emulator.api_key, "base_url": emulator.base_url}


def _file(folder: str, name: str, content: Any) -> str:
    path = Path(folder, f"{name}.json")
    path.write_text(json.dumps(content))
    return str(path)


def _finish(command: Sequence[str], rate: int | None) -> tuple[Usage, Written]:
    """Run a command, take what it writes, and kill it, with its group, if that takes too long."""
    reader, writer = os.pipe()
    launched = [sys.executable, "-I", "-S", LAUNCHER, str(writer), *command]
    with (
        open(reader) as report,
        subprocess.Popen(
            launched, cwd=ROOT, stdout=PIPE, stderr=PIPE, bufsize=_BUFFER, pass_fds=[writer], start_new_session=True
        ) as process,
    ):
        os.close(writer)
        last_words: deque[bytes] = deque(maxlen=20)
        listener = threading.Thread(target=last_words.extend, args=(process.stderr,), daemon=True)
        listener.start()
        watchdog = threading.Timer(LIMIT_SECONDS, os.killpg, (process.pid, signal.SIGKILL))
        watchdog.start()
        written = Written()
        try:
            _take_all(process.stdout or (), written, rate)
            figures = report.read().split()
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        finally:
            watchdog.cancel()
        listener.join(timeout=60)
    if not figures or figures[0] != "0":
        last = b"".join(last_words).decode(errors="replace")
        raise RunError(f"{command[:3]} ended with {figures[0] if figures else 'a signal'}:\n{last}")
    written.end()
    return Usage(*map(float, figures[1:])), written


def _take_all(lines: Iterable[bytes], written: Written, rate: int | None) -> None:
    started = perf_counter()
    for line in lines:
        written.take(line)
        if rate and written.messages % _BATCH == 0:
            sleep(max(0.0, started + written.messages / rate - perf_counter()))
