"""Runs the Singer tap as a process of its own: its messages to files or to a target, its log to the task's."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Thread
from typing import IO, Any, Final, Protocol

from airflow.sdk import ObjectStoragePath

from airflow_provider_linq._internal.files import replacing
from airflow_provider_linq._internal.version_compat import AirflowException, AirflowFailException
from airflow_provider_linq.results import LineExtract

log = logging.getLogger(__name__)

State = Mapping[str, Any]

#: Seconds that a stopped process gets before it is killed. The tap needs 5 at the most.
_GRACE: Final = 20.0

#: Bytes of a line in a log that are shown.
_LONGEST_LINE: Final = 10_000

#: A line in the log of a tap or a target that is made with the Singer SDK: time, level, logger, message.
_LOG_LINE: Final = re.compile(r"\S+ \S+ *\| *(DEBUG|INFO|WARNING|ERROR|CRITICAL) *\| *\S+ *\| (.*)")


class Findings:
    """What the messages of a run say: rows by stream, gaps, the latest STATE, and how each line stands."""

    def __init__(self) -> None:
        self.records: Counter[str] = Counter()
        self.gaps: list[Mapping[str, Any]] = []
        self.state: State | None = None
        self._newest: dict[str, str] = {}

    def note(self, message: Mapping[str, Any]) -> None:
        """Take note of a Singer message."""
        if message["type"] == "STATE":
            self.state = message["value"]
        elif message["type"] == "RECORD":
            stream, record = message["stream"], message["record"]
            self.records[stream] += 1
            line, created = record.get("line"), record.get("created_at")
            if stream == "messages" and line and created:
                # These texts compare like the times that they stand for: the API writes all of them in one form.
                self._newest[line] = max(self._newest.get(line, ""), created)
            # A first run finds what expired before there was a tap, which nobody can have wanted from it.
            elif stream == "extraction_gaps" and record.get("reason") != "first_run":
                self.gaps.append(record)

    def lines(self, state: State | None) -> list[LineExtract]:
        """Return how each line of a STATE stands."""
        bookmark = ((state or {}).get("bookmarks") or {}).get("messages") or {}
        with_gap = {gap.get("line") for gap in self.gaps}
        return [
            LineExtract(
                line=(line := partition["context"]["line"]),
                read_until=partition.get("passed_at"),
                newest_message=self._newest.get(line),
                window_hours=float(partition["window_hours"]) if "window_hours" in partition else None,
                gap=line in with_gap,
            )
            for partition in bookmark.get("partitions") or ()
        ]


class Output(Protocol):
    """
    Where the messages of the tap go.

    :param paths: of the files that were written.
    """

    paths: list[str]

    def write(self, raw: bytes, message: Mapping[str, Any]) -> None:
        """Take a message, as it came and decoded."""

    def confirmed(self, findings: Findings) -> State | None:
        """Return the latest STATE of which all records are stored; the output is closed then."""


class FileOutput:
    """
    JSON Lines, a folder for each stream, a file for each try; complete files only.

    :param name: of the files, without suffix.
    :param stack: closes the files.
    """

    def __init__(self, folder: ObjectStoragePath, name: str, stack: ExitStack) -> None:
        self.paths: list[str] = []
        self._folder, self._name, self._stack = folder, name, stack
        self._files: dict[str, IO[bytes]] = {}

    def write(self, raw: bytes, message: Mapping[str, Any]) -> None:
        if message["type"] == "RECORD":
            stream = message["stream"]
            file = self._files.get(stream) or self._open(stream)
            file.write(json.dumps(message["record"], ensure_ascii=False).encode() + b"\n")

    def confirmed(self, findings: Findings) -> State | None:
        return findings.state

    def _open(self, stream: str) -> IO[bytes]:
        path = self._folder / file_name(stream) / f"{self._name}.jsonl"
        file = self._stack.enter_context(self._stack.enter_context(replacing(path)).open("wb"))
        self._files[stream] = file
        self.paths.append(str(path))
        return file


class TargetOutput:
    """A Singer target, which says by the STATE on its own output what it has stored."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.paths: list[str] = []
        assert process.stdout is not None
        self._process = process
        self._state: State | None = None
        # A file of the reader's own: that of the process is closed when the process has ended, read to its end or not.
        self._said = os.fdopen(os.dup(process.stdout.fileno()), "rb")
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()

    def write(self, raw: bytes, message: Mapping[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(raw)

    def confirmed(self, findings: Findings) -> State | None:
        self._reader.join()
        if self._state is None and findings.state is not None:
            log.warning("The target has said of no STATE that it is stored: the next run emits the same rows again")
        return self._state

    def _read(self) -> None:
        with self._said:
            for line in self._said:
                said = _decoded(line)
                if isinstance(said, dict) and isinstance(said.get("bookmarks"), dict):
                    self._state = said
                else:  # a log on the wrong output must not take the place of STATE
                    log.info("%s", _text(line))


class Processes:
    """The processes of one task."""

    def __init__(self) -> None:
        self._running: list[subprocess.Popen[bytes]] = []
        self._last_errors: dict[int, str] = {}
        self._is_stopped = False

    def stop(self) -> None:
        """Let all of them end, and no other begin."""
        self._is_stopped = True
        for process in list(self._running):
            process.terminate()

    @contextmanager
    def started(
        self, command: Sequence[str], environment: Mapping[str, str], *, has_input: bool = False
    ) -> Iterator[subprocess.Popen[bytes]]:
        """
        Run a process while the block runs, and relay its log; wait for its end, or stop it after an exception.

        :raises AirflowFailException: there is no such program.
        """
        if self._is_stopped:
            raise AirflowException("The task was stopped")
        pipe = subprocess.PIPE
        source = pipe if has_input else subprocess.DEVNULL
        try:
            made = subprocess.Popen(command, env=dict(environment), stdin=source, stdout=pipe, stderr=pipe)
        except (FileNotFoundError, PermissionError) as error:
            raise AirflowFailException(
                f"The worker can't run {command[0]!r}: {error.strerror}. The tap comes with linq-connectors[tap]"
            ) from None
        with made as process:
            self._running.append(process)
            relay = Thread(target=self._relay, args=(process,), daemon=True)
            relay.start()
            try:
                yield process
                if process.stdin is not None:
                    with suppress(BrokenPipeError):
                        process.stdin.close()
                process.wait()
            finally:
                _end(process)
                self._running.remove(process)
                relay.join()

    def check(self, process: subprocess.Popen[bytes], name: str) -> None:
        """
        Refuse the exit code of a failure.

        :raises AirflowException: with the last error that was logged.
        """
        if process.returncode:
            reason = self._last_errors.get(process.pid, "see the log above")
            raise AirflowException(f"{name} has ended with code {process.returncode}: {reason}")

    def _relay(self, process: subprocess.Popen[bytes]) -> None:
        """Log what a process logs, each line at its level."""
        level = logging.INFO
        for raw in process.stderr or ():
            text = _text(raw)
            match = _LOG_LINE.fullmatch(text)
            if match is not None:
                level, text = getattr(logging, match[1]), match[2]
            if level >= logging.ERROR:
                self._last_errors[process.pid] = text
            log.log(logging.DEBUG if text.startswith("METRIC") else level, "%s", text)


def singer_message(line: bytes) -> dict[str, Any] | None:
    """Return a Singer message, None if a line is none: of a tap that was killed, the last line is cut."""
    said = _decoded(line)
    return said if isinstance(said, dict) and isinstance(said.get("type"), str) else None


def _decoded(line: bytes) -> object:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _text(line: bytes) -> str:
    """Return a line of a log, without its end where it is too long to be read."""
    return line[:_LONGEST_LINE].decode(errors="replace").rstrip()


def _end(process: subprocess.Popen[bytes]) -> None:
    """Stop a process, if it has not ended by itself."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def file_name(text: str, most: int = 100) -> str:
    """
    Return a text as the name of a file, without what a file system or a pattern could take amiss.

    :param most: how many characters it may have; different texts can come to the same name.
    """
    return re.sub(r"[^\w.-]", "-", text, flags=re.ASCII).lstrip(".")[:most] or "-"


def read_state(path: ObjectStoragePath) -> bytes | None:
    """Return the STATE that an earlier run has kept, None if there is none."""
    try:
        return bytes(path.read_bytes())
    except FileNotFoundError:
        return None


def write_state(path: ObjectStoragePath, state: State) -> None:
    """Keep STATE for the next run."""
    with replacing(path) as file:
        Path(file).write_text(json.dumps(state), encoding="utf-8")
