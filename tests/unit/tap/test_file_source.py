"""A host of files that is down is asked now and then, and as usual once a file works."""

from __future__ import annotations

from tap_linq.extraction.file_source import MAX_FAILED, FileSource, FilesUnavailableError


def tried(source: FileSource, files: int, *, failed: bool) -> list[int]:
    """Which of some files were tried, by their places."""
    found = []
    for place in range(files):
        try:
            source.check()
        except FilesUnavailableError:
            continue
        source.note(failed=failed)
        found.append(place)
    return found


def test_few_are_tried_while_all_fail_and_all_once_one_works() -> None:
    source = FileSource()
    places = tried(source, 10_000, failed=True)
    assert places[:MAX_FAILED] == list(range(MAX_FAILED))
    assert MAX_FAILED + 10 < len(places) < MAX_FAILED + 60
    last = tried(source, 40_000, failed=False)
    assert last == list(range(last[0], 40_000)), "the one that works lets all others be tried"


def test_a_file_behind_some_that_can_never_be_fetched_has_its_turn() -> None:
    """Files come in the same order in each run: in one of some runs it is tried."""
    runs = (tried(FileSource(), 2 * MAX_FAILED, failed=True) for _ in range(200))
    assert set().union(*runs) == set(range(2 * MAX_FAILED))


def test_files_that_fail_among_others_are_those_files_own_fault() -> None:
    source = FileSource()
    for _ in range(10):
        assert len(tried(source, MAX_FAILED - 1, failed=True)) == MAX_FAILED - 1
        assert len(tried(source, 1, failed=False)) == 1
