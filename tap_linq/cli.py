"""What the command line says when a run is refused, or ends without all that it should have read."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from singer_sdk.exceptions import ConfigValidationError, MappingError

from linq_client import InvalidRequestError, LinqError
from tap_linq.extraction.session import GapError, IncompleteRunError
from tap_linq.extraction.state import StateFormatError
from tap_linq.termination import SignalExit
from tap_linq.writer import OutputError

__all__ = ["EXPECTED_ERRORS", "exit_with_message", "read_json_object"]

#: What is no mistake in the code, and whose message says what to do: settings, STATE, the API, and how a run ended.
EXPECTED_ERRORS: Final = (
    LinqError,
    IncompleteRunError,
    GapError,
    StateFormatError,
    MappingError,
    OutputError,
)


@contextmanager
def exit_with_message(logger: logging.Logger) -> Iterator[None]:
    """End the process with one line in the log: with code 1 on an expected error, with that of a signal after one.

    All other exceptions pass: the traceback of a mistake in the code is of use.

    Raises:
        SystemExit: there was an expected error.
    """
    try:
        with _signals_come_first():
            yield
        return
    except SignalExit as end:
        logger.warning("ended by %s; bookmarks of lines that were not read to their end stay", end.signal_name)
        # Not by way of the interpreter's own end, which threads that are still in a request may hold up or crash.
        logging.shutdown()
        os._exit(end.exit_code)
    except ConfigValidationError as error:
        message = "; ".join(error.errors)
    except EXPECTED_ERRORS as error:
        message = str(error)
        if isinstance(error, OutputError):
            _drop_output()
    logger.error("%s", message)
    sys.exit(1)


@contextmanager
def _signals_come_first() -> Iterator[None]:
    """Let a signal be the reason of the end, also where what it interrupted has raised something else in its place.

    A thread that has just given a lock away to wait for an event, for one, fails to take it back.

    Raises:
        SignalExit: there was a signal.
    """
    try:
        yield
    except BaseException:
        if SignalExit.latest is not None:
            raise SignalExit.latest from None
        raise


def _drop_output() -> None:
    """Let what stdout still holds go nowhere: Python would try to write it at the end, and fail with a traceback."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def read_json_object(option: str, content: bytes) -> dict[str, Any]:
    """Return what a file given on the command line holds, which must be a JSON object.

    It may be in UTF-8 with or without a byte order mark, or in UTF-16, as PowerShell writes it. Of several lines that
    are objects each, such as the STATE messages of a loader, the last one counts.

    Raises:
        InvalidRequestError: it is none; an empty one is what a shell leaves where a run writes to the file it reads.
    """
    try:
        text = content.decode(json.detect_encoding(content))
    except UnicodeDecodeError:
        raise InvalidRequestError(f"{option}: must be a file in UTF-8 or UTF-16") from None
    for parts in ([text], text.strip().split("\n")):
        try:
            values = [json.loads(part) for part in parts]
        except (ValueError, RecursionError):
            continue
        if all(isinstance(value, dict) for value in values):
            _check_text(option, values[-1])
            return dict(values[-1])
    raise InvalidRequestError(f"{option}: must be a file with a JSON object, got {len(text)} other characters")


def _check_text(option: str, value: object) -> None:
    """Refuse escapes that stand for half a character: none of it could be written again.

    Raises:
        InvalidRequestError: there is one.
    """
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise InvalidRequestError(f"{option}: must have no half of a surrogate pair") from None
