"""What the command line says when a run is refused or ends without all that it should have read."""

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
from tap_linq.extraction.run import GapError, IncompleteRunError

#: What is nobody's mistake in the code, and whose words say what to do: settings, the API, and how a run ended.
REFUSALS: Final = (LinqError, IncompleteRunError, GapError, MappingError)


@contextmanager
def told_in_a_line(logger: logging.Logger) -> Iterator[None]:
    """End the process with one line in the log, and code 1, where something is refused.

    All other exceptions pass: the traceback of a mistake in the code is of use.

    Raises:
        SystemExit: something was refused.
    """
    try:
        yield
        return
    except ConfigValidationError as error:
        told = "; ".join(error.errors)
    except REFUSALS as error:
        told = str(error)
    logger.error("%s", told)
    sys.exit(1)


def checked_json(option: str, file: IO[str]) -> IO[str]:
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
