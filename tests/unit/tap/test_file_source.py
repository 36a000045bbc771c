"""A host of files that is down is asked now and then, and as usual once a file works."""

from __future__ import annotations

import time
from contextlib import suppress

import pytest

from tap_linq.extraction.file_source import MAX_FAILED, PROBE_INTERVAL, FileSource, FilesUnavailableError


def tried(source: FileSource, files: int, *, failed: bool) -> int:
    """How many of some files were tried."""
    count = 0
    for _ in range(files):
        with suppress(FilesUnavailableError):
            source.check()
            source.note(failed=failed)
            count += 1
    return count


def test_one_is_tried_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    source = FileSource()
    assert tried(source, 50, failed=True) == MAX_FAILED
    now[0] += PROBE_INTERVAL
    assert tried(source, 50, failed=True) == 1
    now[0] += PROBE_INTERVAL
    assert tried(source, 50, failed=False) == 50, "the one that works lets all others be tried"


def test_files_that_fail_among_others_are_those_files_own_fault() -> None:
    source = FileSource()
    for _ in range(10):
        assert tried(source, MAX_FAILED - 1, failed=True) == MAX_FAILED - 1
        assert tried(source, 1, failed=False) == 1
