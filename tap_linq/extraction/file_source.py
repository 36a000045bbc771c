"""Whether files can be fetched at present: a host that is down is not waited for with every file.

A file that fails costs seconds of tries, and messages wait behind it. So after some that failed one after the other,
one is tried now and then, and the others are left to the next run, until one works.
"""

from __future__ import annotations

import logging
import random
from threading import Lock
from typing import Final

from linq_client import LinqError

__all__ = ["MAX_FAILED", "FileSource", "FilesUnavailableError"]

#: Files in a row that show that it is not the files.
MAX_FAILED: Final = 8

log = logging.getLogger(__name__)


class FilesUnavailableError(LinqError):
    """Files could not be fetched lately, so this one was not tried: the next run does."""

    def __init__(self) -> None:
        super().__init__("files could not be fetched lately, the next run tries again")


class FileSource:
    """What became of the files that were fetched last. Safe to use from several threads.

    While files fail, one is tried each time that up to twice as many were passed as at the one before, which makes some
    20 of ten thousand. How many is drawn: files come in the same order in each run, and those behind some that can
    never be fetched must not be left for ever.
    """

    def __init__(self) -> None:
        self._failed = self._passed = self._next = 0
        self._lock = Lock()

    def check(self) -> None:
        """Let a file be tried.

        Raises:
            FilesUnavailableError: it is better left.
        """
        with self._lock:
            if self._failed < MAX_FAILED:
                return
            self._passed += 1
            if self._passed > self._next:
                self._next = self._passed + random.randint(0, self._passed)
                return
        raise FilesUnavailableError

    def note(self, *, failed: bool) -> None:
        """Take note of how a file ended: whether it failed in a way that has nothing to do with it."""
        with self._lock:
            self._failed = self._failed + 1 if failed else 0
            if self._failed == MAX_FAILED:
                self._passed = self._next = 0
                log.warning(
                    "%d files could not be fetched, one after the other: until one can, one is tried now and then, and "
                    "the next run tries the others again",
                    MAX_FAILED,
                )
