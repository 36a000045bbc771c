"""STATE and catalogs as other programs leave them: read, or refused in one line, never a first run in silence."""

from __future__ import annotations

import codecs
import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.hostile_api import LINE, OTHER_LINE, HostileAPI, ago, serving, small_account
from tests.support.tap_runs import Extraction, run_tap


@pytest.fixture(scope="module")
def api() -> Iterator[HostileAPI]:
    with serving(HostileAPI(chats=small_account())) as serves:
        yield serves


@pytest.fixture(scope="module")
def state(api: HostileAPI, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a complete run left."""
    first = run_tap(api, tmp_path_factory.mktemp("first"))
    assert first.code == 0
    return first.state


def was_first_run(extraction: Extraction) -> bool:
    return any(gap["reason"] == "first_run" for gap in extraction.records("extraction_gaps"))


def partition(state: dict[str, Any]) -> dict[str, Any]:
    """The partition of the only line."""
    (found,) = state["bookmarks"]["messages"]["partitions"]
    assert isinstance(found, dict)
    return found


def with_(state: dict[str, Any], *path: str | int, value: Any) -> dict[str, Any]:
    state = copy.deepcopy(state)
    place: Any = state
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return state


PARTITIONS = ("bookmarks", "messages", "partitions")

#: Where a value stands in STATE that can't.
ODD: dict[str, tuple[tuple[str | int, ...], Any]] = {
    "bookmarks are null": (("bookmarks",), None),
    "bookmarks are a list": (("bookmarks",), []),
    "bookmarks are a full list": (("bookmarks",), [1]),
    "bookmarks are a text": (("bookmarks",), "x"),
    "bookmarks are a number": (("bookmarks",), 7),
    "messages are null": (("bookmarks", "messages"), None),
    "messages are a list": (("bookmarks", "messages"), []),
    "messages are a text": (("bookmarks", "messages"), "x"),
    "messages are a time": (("bookmarks", "messages"), ago()),
    "another stream is null": (("bookmarks", "chats"), None),
    "another stream is a text": (("bookmarks", "chats"), "x"),
    "partitions are null": (PARTITIONS, None),
    "partitions are an object": (PARTITIONS, {LINE: {}}),
    "partitions are a text": (PARTITIONS, "x"),
    "a partition is null": (PARTITIONS, [None]),
    "a partition is a number": (PARTITIONS, [5]),
    "a partition is a list": (PARTITIONS, [[]]),
    "a partition is a text": (PARTITIONS, ["x"]),
    "a partition is empty": (PARTITIONS, [{}]),
    "context is null": ((*PARTITIONS, 0, "context"), None),
    "context is a text": ((*PARTITIONS, 0, "context"), LINE),
    "context is a list": ((*PARTITIONS, 0, "context"), [LINE]),
    "context is empty": ((*PARTITIONS, 0, "context"), {}),
    "line is a number": ((*PARTITIONS, 0, "context", "line"), 12025550101),
    "line is null": ((*PARTITIONS, 0, "context", "line"), None),
    "line is a list": ((*PARTITIONS, 0, "context", "line"), [LINE]),
    "format is null": ((*PARTITIONS, 0, "format"), None),
    "format is a text": ((*PARTITIONS, 0, "format"), "one"),
    "format is a list": ((*PARTITIONS, 0, "format"), [1]),
    "format is of tomorrow": ((*PARTITIONS, 0, "format"), 99),
    "format is no whole number": ((*PARTITIONS, 0, "format"), 1.5),
    "passed_at is a number": ((*PARTITIONS, 0, "passed_at"), 1_764_140_400),
    "passed_at is no time": ((*PARTITIONS, 0, "passed_at"), "yesterday"),
    "passed_at is empty": ((*PARTITIONS, 0, "passed_at"), ""),
    "passed_at is an object": ((*PARTITIONS, 0, "passed_at"), {"$date": 5}),
    "swept_at is a list": ((*PARTITIONS, 0, "swept_at"), []),
    "window_hours is an object": ((*PARTITIONS, 0, "window_hours"), {}),
    "window_hours is no number": ((*PARTITIONS, 0, "window_hours"), "a day"),
    "coverage is a text": ((*PARTITIONS, 0, "coverage"), "all"),
    "coverage is a list": ((*PARTITIONS, 0, "coverage"), [5]),
    "streams are a number": ((*PARTITIONS, 0, "coverage", "streams"), 5),
    "streams are of odd types": ((*PARTITIONS, 0, "coverage", "streams"), [5, None, {}]),
    "updated_at_reliable is a text": ((*PARTITIONS, 0, "updated_at_reliable"), "yes"),
}


def check(extraction: Extraction) -> None:
    """The STATE was read, or refused in one line before anything was written."""
    assert "Traceback" not in extraction.log, extraction.log[-1_500:]
    if extraction.code == 0:
        assert extraction.complaints or not was_first_run(extraction), "a first run, in silence"
    else:
        assert extraction.code == 1
        assert not extraction.messages, "refused, but rows had been written"
        assert len(extraction.complaints) == 1, extraction.log


@pytest.mark.parametrize("name", ODD)
def test_odd_values_in_state(name: str, state: dict[str, Any], api: HostileAPI, tmp_path: Path) -> None:
    path, value = ODD[name]
    check(run_tap(api, tmp_path, state=with_(state, *path, value=value)))


def test_the_good_state_is_read(state: dict[str, Any], api: HostileAPI, tmp_path: Path) -> None:
    extraction = run_tap(api, tmp_path, state=state)
    assert extraction.code == 0
    assert not was_first_run(extraction)


@pytest.mark.parametrize("whole", [[], [1], "text", 5, None, True, [{"bookmarks": {}}]], ids=repr)
def test_state_that_is_no_object(whole: Any, api: HostileAPI, tmp_path: Path) -> None:
    extraction = run_tap(api, tmp_path, state=json.dumps(whole).encode())
    assert extraction.code == 1 or (extraction.code == 0 and whole is None)
    assert "Traceback" not in extraction.log


def wrapped(state: dict[str, Any]) -> dict[str, Any]:
    return {
        "as `meltano state get` prints it": {"singer_state": state},
        "with what Meltano keeps besides": {"completed": {"singer_state": state}, "partial": {}},
        "as a message": {"type": "STATE", "value": state},
        "in a wrapper nobody knows": {"data": {"attributes": state}},
        "under state": {"state": state},
    }


@pytest.mark.parametrize("name", wrapped({}))
def test_state_in_a_wrapper(name: str, state: dict[str, Any], api: HostileAPI, tmp_path: Path) -> None:
    """What `meltano state get` prints is what people put into a file: it has to work, or to be refused."""
    check(run_tap(api, tmp_path, state=wrapped(state)[name]))


def test_state_as_meltano_prints_it_is_read(state: dict[str, Any], api: HostileAPI, tmp_path: Path) -> None:
    extraction = run_tap(api, tmp_path, state={"singer_state": state})
    assert extraction.code == 0
    assert not was_first_run(extraction)


@pytest.mark.parametrize("empty", [{}, {"bookmarks": {}}, {"singer_state": {}}], ids=json.dumps)
def test_state_that_is_empty_means_a_first_run(empty: Any, api: HostileAPI, tmp_path: Path) -> None:
    extraction = run_tap(api, tmp_path, state=empty)
    assert extraction.code == 0
    assert was_first_run(extraction)


@pytest.mark.parametrize("other", [{"passed_at": "2020-01-01T00:00:00Z"}, {}], ids=["another time", "all alike"])
def test_the_same_line_twice(other: dict[str, Any], state: dict[str, Any], api: HostileAPI, tmp_path: Path) -> None:
    """A merge of two states. Read, then by the earlier time, or refused."""
    twice = copy.deepcopy(state)
    twice["bookmarks"]["messages"]["partitions"].append({**partition(state), **other})
    check(run_tap(api, tmp_path, state=twice))


def test_a_line_that_is_no_longer_there_is_named(state: dict[str, Any], api: HostileAPI, tmp_path: Path) -> None:
    gone = copy.deepcopy(state)
    gone["bookmarks"]["messages"]["partitions"].append({**partition(state), "context": {"line": OTHER_LINE}})
    extraction = run_tap(api, tmp_path, state=gone)
    assert OTHER_LINE in extraction.log
    assert OTHER_LINE in extraction.bookmarks, "its bookmark is kept"


@pytest.mark.parametrize(
    "extra", [{"currently_syncing": "messages"}, {"bookmarks": {"not_a_stream": {"a": 1}}}], ids=json.dumps
)
def test_what_others_add_does_not_matter(
    extra: dict[str, Any], state: dict[str, Any], api: HostileAPI, tmp_path: Path
) -> None:
    more = {**state, **extra, "bookmarks": {**state["bookmarks"], **extra.get("bookmarks", {})}}
    extraction = run_tap(api, tmp_path, state=more)
    assert extraction.code == 0
    assert not was_first_run(extraction)


def encoded(value: Any, encoding: str) -> bytes:
    text = json.dumps(value, indent=2).replace("\n", "\r\n")
    if encoding == "utf-16-be":
        return codecs.BOM_UTF16_BE + text.encode("utf-16-be")
    return text.encode(encoding)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
@pytest.mark.parametrize("file", ["state", "catalog"])
def test_files_as_powershell_writes_them(
    file: str, encoding: str, state: dict[str, Any], full_catalog: dict[str, Any], api: HostileAPI, tmp_path: Path
) -> None:
    """Read, or refused in one line that names the file."""
    content = state if file == "state" else full_catalog
    extraction = run_tap(api, tmp_path, **{file: encoded(content, encoding)})
    assert "Traceback" not in extraction.log
    if extraction.code == 0:
        assert file == "catalog" or not was_first_run(extraction)
    else:
        assert file in extraction.log
        assert len(extraction.complaints) == 1, extraction.log
        assert encoding.startswith("utf-16")


BROKEN_FILES = {
    "empty": b"",
    "blank": b" \n",
    "cut": b'{"bookmarks": {"mess',
    "two": b"{} {}",
    "not JSON": b"bookmarks: {}",
    "bytes": bytes(range(256)),
    "deep": b"[" * 100_000,
    "nan": b'{"bookmarks": NaN}',
    "surrogate": b'{"bookmarks": {"messages": {"partitions": [{"context": {"line": "\\ud83d"}}]}}}',
}


@pytest.mark.parametrize("name", BROKEN_FILES)
@pytest.mark.parametrize("file", ["state", "catalog"])
def test_broken_files_are_refused_in_one_line(file: str, name: str, api: HostileAPI, tmp_path: Path) -> None:
    extraction = run_tap(api, tmp_path, **{file: BROKEN_FILES[name]})
    assert extraction.code == 1
    assert not extraction.messages
    assert "Traceback" not in extraction.log
    assert len(extraction.complaints) == 1, extraction.log


ODD_CATALOGS: dict[str, Any] = {
    "streams are null": {"streams": None},
    "streams are an object": {"streams": {"messages": {}}},
    "a stream is null": {"streams": [None]},
    "a stream is a text": {"streams": ["messages"]},
    "a stream without id": {"streams": [{"stream": "messages"}]},
    "metadata is null": {"streams": [{"tap_stream_id": "messages", "metadata": None, "schema": {}}]},
    "metadata is a text": {"streams": [{"tap_stream_id": "messages", "metadata": "all", "schema": {}}]},
    "schema is null": {"streams": [{"tap_stream_id": "messages", "metadata": [], "schema": None}]},
    "a list": [],
    "no streams": {},
}


@pytest.mark.parametrize("name", ODD_CATALOGS)
def test_odd_catalogs_are_refused_or_read(name: str, api: HostileAPI, tmp_path: Path) -> None:
    extraction = run_tap(api, tmp_path, catalog=ODD_CATALOGS[name])
    assert extraction.code in (0, 1)
    assert "Traceback" not in extraction.log
    if extraction.code == 1:
        assert len(extraction.complaints) == 1, extraction.log
    else:
        assert extraction.records("messages"), "nothing was read, and nothing said"
