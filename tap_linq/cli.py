"""What the command line says when a run is refused, or ends without all that it should have read."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from typing import IO, Final

from singer_sdk.exceptions import ConfigValidationError, MappingError

from linq_client import InvalidRequestError, LinqError
from tap_linq.extraction.session import GapError, IncompleteRunError
from tap_linq.extraction.state import StateFormatError

__all__ = ["EXPECTED_ERRORS", "exit_with_message", "read_json_object"]

#: What is no mistake in the code, and whose message says what to do: settings, STATE, the API, and how a run ended.
EXPECTED_ERRORS: Final = (LinqError, IncompleteRunError, GapError, StateFormatError, MappingError)


@contextmanager
def exit_with_message(logger: logging.Logger) -> Iterator[None]:
    """End the process with one line in the log, and code 1, on an expected error.

    All other exceptions pass: the traceback of a mistake in the code is of use.

    Raises:
        SystemExit: there was an expected error.
    """
    try:
        yield
        return
    except ConfigValidationError as error:
        message = "; ".join(error.errors)
    except EXPECTED_ERRORS as error:
        message = str(error)
    logger.error("%s", message)
    sys.exit(1)


def read_json_object(option: str, file: IO[str]) -> IO[str]:
    """Return what a file given on the command line holds, which must be a JSON object.

    Raises:
        InvalidRequestError: it is not; an empty one is what a shell leaves where a run writes to the file it reads.
    """
    text = file.read()
    try:
        is_object = isinstance(json.loads(text), dict)
    except ValueError:
        is_object = False
    if not is_object:
        raise InvalidRequestError(f"{option}: must be a file with a JSON object, got {len(text)} other characters")
    return StringIO(text)
