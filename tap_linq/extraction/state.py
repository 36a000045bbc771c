"""What STATE keeps of a line from one run to the next, and the format that it has there.

Each line has a partition of the stream `messages`: `context` names the line, the other fields are those of `LineState`.
A field that this version does not know is passed over, and left out when the partition is written again: it stood for
what was true after the pass of another version, and no longer is. So a field may be added to a format only where its
absence means that nothing is known, and never that something was done.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from linq_client import RetentionWindow
from linq_client.sync import CLOCK_TOLERANCE
from linq_client.times import format_datetime, parse_datetime_or_none
from tap_linq.extraction.shown_reactions import (
    MAX_BYTES,
    Reactions,
    newest_within,
    reactions_from_json,
    reactions_to_json,
)

__all__ = [
    "FORMAT",
    "STATE_STREAM",
    "Coverage",
    "LineState",
    "StateFormatError",
    "bound_reactions",
    "read_bookmark",
    "read_partitions",
]

log = logging.getLogger(__name__)

#: The stream whose bookmarks are those of the lines.
STATE_STREAM: Final = "messages"

#: Of the partition of a line. A change that an older version would misread takes the next number.
FORMAT: Final = 1

#: What tells a partition of version 0.1.0, which had no number. The SDK and Meltano write none of these.
_FIELDS_OF_0_1_0: Final = frozenset({"passed_at", "swept_at", "evidence", "window", "fed", "since", "doubted"})


#: What may stand around the bookmarks: a STATE message, `meltano state get`, and the halves that Meltano keeps in its
#: database and in files. Meltano puts the partial half, of a run that failed, over the complete one.
_WRAPPERS: Final = ("value", "singer_state", "completed_state", "completed", "partial_state", "partial")


class StateFormatError(Exception):
    """STATE can't be read: another version wrote it, or it is damaged, or it is no STATE of this tap."""


def read_partitions(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the partitions of all lines in a STATE document, each line once.

    What this tap has not written, such as bookmarks of other streams, is left out. A line that stands there twice, as
    after a merge of two documents, has the older bookmark: messages are extracted again rather than missed.

    Raises:
        StateFormatError: a line may be in there that can't be read. It must not pass for one that was never read.
    """
    by_line: dict[str, dict[str, Any]] = {}
    for bookmarks in _bookmarks(document):
        # Of Meltano's two halves, the later one counts for a line, as in its own merge.
        by_line.update(_by_line(bookmarks))
    if document and not by_line:
        log.warning("STATE names no line, so this is the first run over all of them")
    return list(by_line.values())


def read_bookmark(document: Mapping[str, Any], stream: str) -> dict[str, Any]:
    """Return the bookmark of a stream without lines in a STATE document, the later one of two; empty if it has none.

    Raises:
        StateFormatError: it is no object.
    """
    found: dict[str, Any] = {}
    for bookmarks in _bookmarks(document):
        found = _object(bookmarks.get(stream), stream) or found
    return {name: value for name, value in found.items() if name != "progress_markers"}


def bound_reactions(partitions: Iterable[dict[str, Any]]) -> None:
    """Keep the reactions in the partitions of all lines within `MAX_BYTES` together: those to the newest messages."""
    known = [(partition, reactions_from_json(partition.pop("reactions", None))) for partition in partitions]
    for (partition, _), kept in zip(known, newest_within(MAX_BYTES, [one for _, one in known]), strict=True):
        if kept:
            partition["reactions"] = reactions_to_json(kept)


def _bookmarks(document: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the bookmarks in a document, whatever stands around them."""
    if "bookmarks" in document:
        yield _object(document["bookmarks"], "bookmarks")
        return
    inner = [name for name in _WRAPPERS if name in document]
    if document and not inner:
        raise StateFormatError(f"STATE: must be an object with bookmarks, got one with {', '.join(sorted(document))}")
    for name in inner:
        yield from _bookmarks(_object(document[name], name))


def _by_line(bookmarks: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the partitions in some bookmarks, checked, by the lines that they name."""
    partitions = _object(bookmarks.get(STATE_STREAM), STATE_STREAM).get("partitions")
    if not isinstance(partitions, list | None):
        raise StateFormatError(f"STATE: partitions must be a list, got {_shown(partitions)}")
    found: dict[str, dict[str, Any]] = {}
    for partition in partitions or ():
        if partition == {}:
            log.warning("STATE has an empty partition, which belongs to no line")
            continue
        if not isinstance(partition, dict):
            raise StateFormatError(f"STATE: a partition must be an object, got {_shown(partition)}")
        line = _object(partition.get("context"), "context").get("line")
        if not isinstance(line, str) or not line:
            raise StateFormatError(f"STATE: context.line of a partition must be text, got {_shown(line)}")
        LineState.from_partition(partition)
        # The SDK finds it by its context, which must be this and no more, and stumbles over odd markers.
        partition = {name: value for name, value in partition.items() if name != "progress_markers"}
        partition["context"] = {"line": line}
        if line in found:
            log.warning("line %s stands in STATE twice; the older bookmark counts", line)
            partition = min(found[line], partition, key=_trust)
        found[line] = partition
    return found


def _trust(partition: Mapping[str, Any]) -> tuple[int, datetime]:
    """How late a partition puts the last complete pass, for comparison; one that knows nothing comes last."""
    state = LineState.from_partition(partition)
    if state.passed_at is not None and state.clock_error is None:
        return 1, state.passed_at
    return (2 if state.clock_error is None else 0), datetime.min


def _object(value: object, name: str) -> dict[str, Any]:
    """Check that a value is a JSON object; null stands for an empty one."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise StateFormatError(f"STATE: {name} must be an object, got {_shown(value)}")
    return value


def _shown(value: object) -> str:
    """A value for a message, cut: what is no STATE may be anything."""
    return repr(value)[:100]


@dataclass(frozen=True)
class Coverage:
    """What a pass emits of what it reads; what it does not, a bookmark that moves would leave behind.

    Attributes:
        streams: names of the streams that come from chats and messages.
        files: whether the files of messages are stored.
        since: start_date; None for everything.
        lines: the lines whose events are wanted, of the webhook archive; None for all, and of a line.
        form: digest of what was left out or changed of the records themselves; None if nothing was, or nobody knows.
    """

    streams: frozenset[str] = frozenset()
    files: bool = False
    since: datetime | None = None
    lines: frozenset[str] | None = None
    form: str | None = None

    def exceeds(self, before: Coverage) -> bool:
        """Whether a pass emits, or stores, what the one before has not."""
        reaches_back = before.since is not None and (self.since is None or self.since < before.since)
        more_lines = before.lines is not None and (self.lines is None or not self.lines <= before.lines)
        # By its digest nobody can tell whether more comes out than before, or less.
        has_other_form = before.form not in (None, self.form)
        more = reaches_back or more_lines or has_other_form
        return more or (self.files and not before.files) or not self.streams <= before.streams

    def includes(self, line: str | None, moment: datetime) -> bool:
        """Whether what happened at a moment on a line was emitted; None stands for a line that is not known."""
        is_of_line = self.lines is None or line is None or line in self.lines
        return is_of_line and (self.since is None or moment >= self.since)

    @classmethod
    def from_json(cls, value: object) -> Coverage | None:
        """Read it from STATE; None of what makes no sense."""
        streams = value.get("streams") if isinstance(value, dict) else None
        if not isinstance(value, dict) or not isinstance(streams, list):
            return None
        names = frozenset(name for name in streams if isinstance(name, str))
        lines = value.get("lines")
        if not isinstance(lines, list | None):
            return None
        wanted = None if lines is None else frozenset(line for line in lines if isinstance(line, str))
        form = value.get("form")
        return cls(
            names,
            value.get("files") is True,
            parse_datetime_or_none(value.get("since")),
            wanted,
            form if isinstance(form, str) else None,
        )

    def to_json(self) -> dict[str, Any]:
        """Return it as it stands in STATE."""
        found: dict[str, Any] = {"streams": sorted(self.streams)}
        if self.files:
            found["files"] = True
        if self.since is not None:
            found["since"] = format_datetime(self.since)
        if self.lines is not None:
            found["lines"] = sorted(self.lines)
        if self.form is not None:
            found["form"] = self.form
        return found


@dataclass(frozen=True)
class LineState:
    """What is known of a line; None where there is nothing yet.

    Attributes:
        passed_at: the server's time when the last complete pass began.
        swept_at: the server's time when the last complete full sweep began.
        updated_at_reliable: whether `updated_at` of chats has been seen to show new messages (True) or not to (False).
        window: that of the last complete pass; None also where messages did not expire.
        coverage: what the last complete pass emitted.
        clock_error: a time of earlier STATE that lay ahead of the server's clock; until a pass is complete, nobody
            knows when the last one was.
        reactions: those that living messages have shown.
        seen: name of the file of `seen_path` that says what has been emitted; None if there is none.
    """

    passed_at: datetime | None = None
    swept_at: datetime | None = None
    updated_at_reliable: bool | None = None
    window: RetentionWindow | None = None
    coverage: Coverage | None = None
    clock_error: datetime | None = None
    reactions: Reactions = field(default_factory=dict)
    seen: str | None = None

    @classmethod
    def from_partition(cls, partition: Mapping[str, Any]) -> LineState:
        """Read it from a partition of Singer STATE; what is not there, or of no use, is None.

        Raises:
            StateFormatError: another version wrote the partition, or a time in it can't be read. Without it, the line
                would pass for one that was never read.
        """
        _check_format(partition)
        if "format" not in partition:
            return cls()  # at most what the SDK has put there
        reliable = partition.get("updated_at_reliable")
        return cls(
            passed_at=_time(partition, "passed_at"),
            swept_at=_time(partition, "swept_at"),
            updated_at_reliable=reliable if isinstance(reliable, bool) else None,
            window=_window(partition.get("window_hours")),
            coverage=Coverage.from_json(partition.get("coverage")),
            clock_error=_time(partition, "clock_error"),
            reactions=reactions_from_json(partition.get("reactions")),
            seen=seen if isinstance(seen := partition.get("seen"), str) else None,
        )

    def write_to(self, partition: dict[str, Any]) -> None:
        """Put it into a partition of Singer STATE, in place of all that was there: short, without what is None."""
        fields: dict[str, Any] = {
            "context": partition.get("context"),
            "format": FORMAT,
            "passed_at": self.passed_at and format_datetime(self.passed_at),
            "swept_at": self.swept_at and format_datetime(self.swept_at),
            "updated_at_reliable": self.updated_at_reliable,
            # As text: some targets read a number with a point as a Decimal, and then can't write STATE.
            "window_hours": self.window and f"{self.window.hours:g}",
            "coverage": self.coverage and self.coverage.to_json(),
            "clock_error": self.clock_error and format_datetime(self.clock_error),
            "reactions": reactions_to_json(self.reactions) or None,
            "seen": self.seen,
        }
        partition.clear()
        partition.update((name, value) for name, value in fields.items() if value is not None)

    def checked_against(self, now: datetime) -> LineState:
        """Return it without times that lie ahead of the server's: a clock was wrong then, and nobody knows by what."""
        known = [moment for moment in (self.passed_at, self.swept_at) if moment is not None]
        if all(moment <= now + CLOCK_TOLERANCE for moment in known):
            return self
        return replace(self, passed_at=None, swept_at=None, clock_error=max(known))


def _time(partition: Mapping[str, Any], name: str) -> datetime | None:
    value = partition.get(name)
    moment = parse_datetime_or_none(value)
    if moment is None and value is not None:
        raise StateFormatError(
            f"STATE of line {_line(partition)}: {name} must be an RFC 3339 date-time, got {_shown(value)}"
        )
    return moment


def _line(partition: Mapping[str, Any]) -> object:
    context = partition.get("context")
    return context.get("line") if isinstance(context, dict) else None


def _check_format(partition: Mapping[str, Any]) -> None:
    line = _line(partition)
    if "format" not in partition:
        if not _FIELDS_OF_0_1_0.isdisjoint(partition):
            raise StateFormatError(
                f"STATE of line {line} was written by tap-linq 0.1.0, which this version does not read: run once "
                "without STATE, and all that has not expired is extracted again"
            )
    elif partition["format"] != FORMAT:
        raise StateFormatError(
            f"STATE of line {line} has format {partition['format']!r}, and this version of tap-linq reads format "
            f"{FORMAT}: run the version that wrote it, or a later one"
        )


def _window(hours: object) -> RetentionWindow | None:
    try:
        return RetentionWindow(float(hours)) if isinstance(hours, str) else None
    except ValueError:
        return None
