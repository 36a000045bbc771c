"""The operator that extracts chats and messages before they expire."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from hashlib import sha256
from pathlib import Path, PurePath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final, Literal, cast
from uuid import uuid4

from airflow.sdk import ObjectStoragePath

from airflow_provider_linq._internal.arguments import check_choice, is_nothing
from airflow_provider_linq._internal.fail_fast import fail_fast
from airflow_provider_linq._internal.operator import LinqOperator
from airflow_provider_linq._internal.tap_process import (
    FileOutput,
    Findings,
    Output,
    Processes,
    TargetOutput,
    file_name,
    read_state,
    singer_message,
    write_state,
)
from airflow_provider_linq._internal.version_compat import AirflowException, AirflowFailException, storage_path
from airflow_provider_linq.results import ExtractResult, LineExtract
from linq_client import InvalidRequestError, check_line

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = ["LinqExtractOperator"]

OnGap = Literal["warn", "fail"]

#: What the tap reads from the environment begins so; what the worker happens to have is not meant for it.
_PREFIX: Final = "TAP_LINQ_"

#: Settings of the tap that the connection gives.
_OF_CONNECTION: Final = frozenset({"api_key", "base_url", "phone_numbers", "retention_window_hours", "on_gap"})


class LinqExtractOperator(LinqOperator):
    """
    Run `tap-linq` over the lines of a connection, into files or into a Singer target.

    The tap's log is the task's log, each line at its level. STATE is kept in ``folder``, and replaced only when all
    that it stands for is stored, so a run that fails or is killed loses nothing: the next one emits the same rows
    again. Load them by key. Two runs with the same lines must not overlap: set ``max_active_runs=1``, or a pool.

    Without a ``target``, rows are JSON Lines in ``<folder>/<stream>/<run>.<try>.<random>.jsonl``: no run ever
    replaces the file of another one.

    The result is an :class:`~airflow_provider_linq.results.ExtractResult`; where the task has outlets, it is the extra
    of their asset events too.

    :param folder: folder, local or of an object store, for STATE and files. More than one worker needs one that all of
        them reach (templated)
    :param lines: own lines to extract, all of the account by default; each set of lines has STATE of its own, so a
        mapped task can have a line for each instance (templated)
    :param target: command of a Singer target, a list of words: ``["target-postgres", "--config", "target.json"]``.
    :param settings: further settings of the tap, such as ``{"attachments_path": "s3://bucket/files"}``. The connection
        has the key of a ``webhook_archive`` that is encrypted.
    :param catalog: path of a catalog that selects streams and fields; by default all that is selected by default.
    :param on_gap: what to do if messages may have expired before they were read: "warn", or "fail" without a retry,
        when all that was left is stored.
    :param tap: command of the tap, if it is not the ``tap-linq`` of the worker's environment.
    :param linq_conn_id: connection of type ``linq`` (templated)
    """

    template_fields: Sequence[str] = ("folder", "lines", "linq_conn_id")
    author_only = ("target", "settings", "catalog", "tap")

    def __init__(
        self,
        *,
        folder: str,
        lines: str | Sequence[str] | None = None,
        target: Sequence[str] | None = None,
        settings: Mapping[str, Any] | None = None,
        catalog: str | None = None,
        on_gap: OnGap = "warn",
        tap: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_choice("on_gap", on_gap, OnGap)
        if isinstance(target, str):
            raise ValueError("target must be a list of words, of which the first is the program, got a string")
        if not isinstance(settings, Mapping | None):
            raise ValueError(f"settings must be a dictionary, got {type(settings).__name__}")
        if taken := sorted(_OF_CONNECTION & set(settings or {})):
            raise ValueError(f"settings must not hold what has an argument or a connection field, got {taken}")
        self.folder = folder
        self.lines = lines
        self.target = target
        self.settings = settings
        self.catalog = catalog
        self.on_gap = on_gap
        self.tap = tap
        self._processes = Processes()
        self.note_given()

    def execute(self, context: Context) -> ExtractResult:
        with fail_fast():
            self.check_given()
            if not isinstance(self.folder, str | PurePath | ObjectStoragePath) or is_nothing(str(self.folder)):
                raise InvalidRequestError(f"folder: must be a path or URL, got {self.folder!r}")
            lines = self._checked_lines()
            environment = self._environment()
        folder = storage_path(self.folder)
        state_path = folder / "state" / f"{_name_of(lines)}.json"
        before = read_state(state_path)
        findings = Findings()
        with TemporaryDirectory(prefix="linq-") as private:
            command = self._command(Path(private), lines, before)
            with ExitStack() as stack:
                target = None if self.target is None else stack.enter_context(self._started_target())
                name = _name_of_try(context)
                output: Output = FileOutput(folder, name, stack) if target is None else TargetOutput(target)
                tap = self._extract(command, environment, output, findings)
        state = output.confirmed(findings)
        if state is not None:
            write_state(state_path, state)
        if target is not None:
            self._processes.check(target, "the target")
        self._processes.check(tap, "tap-linq")
        result = ExtractResult(
            records=dict(findings.records),
            lines=findings.lines(state or json.loads(before or b"{}")),
            files=[str(path) for path in output.paths],
        )
        self._report(context, result)
        return result

    def on_kill(self) -> None:
        super().on_kill()
        self._processes.stop()

    def _extract(
        self, command: list[str], environment: Mapping[str, str], output: Output, findings: Findings
    ) -> subprocess.Popen[bytes]:
        """Run the tap to its end."""
        with self._processes.started(command, environment) as tap:
            for raw in tap.stdout or ():
                message = singer_message(raw)
                if message is None:
                    raise AirflowException(
                        f"tap-linq has written a line of {len(raw)} bytes that is no Singer message: it was killed, or "
                        "another program is in its place. STATE has not moved"
                    )
                findings.note(message)
                try:
                    output.write(raw, message)
                except BrokenPipeError:  # the target has ended, and its exit code and log say why
                    tap.terminate()
                    break
        return tap

    def _started_target(self) -> AbstractContextManager[subprocess.Popen[bytes]]:
        return self._processes.started(list(self.target or ()), _foreign_environment(), has_input=True)

    def _checked_lines(self) -> list[str] | None:
        if self.lines is None:
            return None
        given = [self.lines] if isinstance(self.lines, str) else list(self.lines)
        if not given:
            raise InvalidRequestError("lines: must name a line, or be left out for all of the account, got none")
        return sorted({check_line(line, f"lines[{index}]") for index, line in enumerate(given)})

    def _command(self, private: Path, lines: list[str] | None, state: bytes | None) -> list[str]:
        """Return the command line of the tap, whose files lie in a folder that nobody else can read."""
        settings = {**(self.settings or {}), **({"phone_numbers": lines} if lines else {}), "on_gap": "warn"}
        config = private / "config.json"
        config.write_text(json.dumps(settings), encoding="utf-8")
        beside_python = Path(sys.executable).with_name("tap-linq")
        tap = self.tap or (str(beside_python) if beside_python.exists() else "tap-linq")
        command = [tap, "--config", "ENV", "--config", str(config)]
        if self.catalog is not None:
            command += ["--catalog", self.catalog]
        if state is not None:
            (private / "state.json").write_bytes(state)
            command += ["--state", str(private / "state.json")]
        return command

    def _environment(self) -> dict[str, str]:
        """Return the tap's environment: the API key stands there, where no list of processes shows it."""
        settings = self.hook.settings
        window = settings.retention_window
        environment = {
            **_foreign_environment(),
            f"{_PREFIX}API_KEY": settings.api_key,
            f"{_PREFIX}BASE_URL": settings.base_url,
            f"{_PREFIX}RETENTION_WINDOW_HOURS": "null" if window is None else f"{window.hours:g}",
        }
        own = self.settings or {}  # go before the connection, and the environment before them
        if "allow_http" not in own:
            environment[f"{_PREFIX}ALLOW_HTTP"] = str(settings.allow_http).lower()
        if settings.webhook_archive_secret is not None and "webhook_archive_key" not in own:
            environment[f"{_PREFIX}WEBHOOK_ARCHIVE_KEY"] = settings.webhook_archive_secret
        if settings.proxy is not None:
            environment |= dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY"), settings.proxy)
        if isinstance(settings.verify, str):
            environment["REQUESTS_CA_BUNDLE"] = settings.verify
        return environment

    def _report(self, context: Context, result: ExtractResult) -> None:
        """Say how fresh each line is, here and in the events of the assets, and whether anything may be lost."""
        for line in result["lines"]:
            self.log.info("%s", _sentence(line))
        for outlet in self.outlets:
            with suppress(TypeError):  # what is no asset has no events
                context["outlet_events"][outlet].extra = cast(dict[str, Any], dict(result))
        late = [line["line"] for line in result["lines"] if line["gap"]]
        if late and self.on_gap == "fail":
            raise AirflowFailException(
                f"Messages of {', '.join(late)} may have expired before they were read (stream extraction_gaps). All "
                "that was left is stored; extract more often than the retention window"
            )


def _sentence(line: LineExtract) -> str:
    parts = [f"Line {line['line']}: read until {line['read_until'] or 'now, but not completely yet'}"]
    if line["newest_message"] is not None:
        parts.append(f"newest message {line['newest_message']}")
    if line["window_hours"] is not None:
        parts.append(f"messages expire after {line['window_hours']:g} hours")
    if line["gap"]:
        parts.append("messages may have expired before this run")
    return "; ".join(parts)


def _foreign_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(_PREFIX)}


def _name_of(lines: list[str] | None) -> str:
    """Return what tells the STATE of a set of lines from that of others."""
    if lines is None:
        return "all"
    return lines[0].lstrip("+") if len(lines) == 1 else sha256(",".join(lines).encode()).hexdigest()[:16]


def _name_of_try(context: Context) -> str:
    """
    Return a name for the files that no other try has, of this task or of another one with the same folder.

    A file that is replaced is lost: STATE has moved, and its rows come no more. A run that is made again has the same
    ids and numbers as before, so chance decides.
    """
    ti = context["ti"]
    instance = f".{ti.map_index}" if ti.map_index not in (None, -1) else ""
    return f"{file_name(ti.run_id)}{instance}.{ti.try_number}.{uuid4().hex[:12]}"
