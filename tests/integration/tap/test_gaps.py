"""What could not be read any more is said: in a record, in the log and, if wanted, by the end of the run."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest

from linq_client import LinqClient
from linq_client.times import parse_datetime
from tap_linq.extraction import line_pass
from tap_linq.extraction.session import GapError
from tests.support.emulator_process import Emulator
from tests.support.running import FIRST_LINE, SECOND_LINE, history, inbound, run_tap, set_window, succeed

HOUR = 3600


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    found = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    caplog.clear()
    return found


def test_a_first_run_on_an_ephemeral_line_says_how_far_it_reached(emulator: Emulator) -> None:
    first = succeed(emulator, retention_window_hours=2)
    assert first.records("extraction_gaps")[0] == {
        "id": f"{FIRST_LINE} after the beginning",
        "line": FIRST_LINE,
        "gap_start": None,
        "gap_end": "2026-03-01T10:00:00Z",
        "last_complete_pass": None,
        "window_hours": 2,
        "detected_at": "2026-03-01T12:00:00Z",
        "reason": "first_run",
        "_extra": None,
    }
    assert [row["line"] for row in first.records("extraction_gaps")] == [FIRST_LINE, SECOND_LINE]
    assert succeed(emulator, state=first.state).records("extraction_gaps") == []
    assert succeed(emulator, retention_window_hours=None).records("extraction_gaps") == []
    assert succeed(emulator, start_date="2026-03-01T11:00:00Z").records("extraction_gaps") == []


def test_a_run_that_comes_too_late_says_so_once(emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    options = {"retention_window_hours": 2, "phone_numbers": [FIRST_LINE]}
    history(emulator)
    first = succeed(emulator, **options)
    emulator.advance(2 * HOUR)
    in_time = succeed(emulator, state=first.state, **options)
    assert in_time.records("extraction_gaps") == []
    assert warnings(caplog) == [
        f"line {FIRST_LINE}: 0.0 h of the window is left since the last complete pass; run the tap more often"
    ]

    emulator.advance(5 * HOUR)
    late = succeed(emulator, state=in_time.state, **options)
    (record,) = late.records("extraction_gaps")
    assert (record["gap_start"], record["gap_end"]) == ("2026-03-01T14:10:00Z", "2026-03-01T17:10:00Z")
    assert (record["last_complete_pass"], record["reason"]) == ("2026-03-01T14:10:00Z", "late_run")
    (warning,) = warnings(caplog)
    message = f"line {FIRST_LINE}: messages created from 2026-03-01T14:10:00Z to 2026-03-01T17:10:00Z have expired"
    assert warning.startswith(message)

    assert succeed(emulator, state=late.state, **options).records("extraction_gaps") == []
    assert warnings(caplog) == []


def test_a_gap_is_logged_without_its_stream(emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    first = succeed(emulator, select=["messages"])
    emulator.advance(30 * HOUR)
    late = succeed(emulator, state=first.state, select=["messages"])
    assert late.records("extraction_gaps") == []
    assert "have expired" in caplog.text
    caplog.clear()
    succeed(emulator, state=late.state, select=["messages"])
    assert "have expired" not in caplog.text


def test_a_gap_can_fail_the_run_which_still_extracts_all_and_moves_on(emulator: Emulator) -> None:
    options = {"on_gap": "fail"}
    first = succeed(emulator, **options)
    emulator.advance(30 * HOUR)
    message = inbound(emulator)
    late = run_tap(emulator, state=first.state, **options)
    assert isinstance(late.error, GapError)
    assert f"line {FIRST_LINE}: messages created from 2026-03-01T12:00:00Z to" in str(late.error)
    assert late.ids() == [message]
    assert len(late.records("extraction_gaps")) == 2
    assert succeed(emulator, state=late.state, **options).records("extraction_gaps") == []


def test_a_gap_is_recorded_when_the_pass_that_finds_it_is_complete(emulator: Emulator) -> None:
    """Otherwise each run of a bad night would record it again, with another end."""
    first = succeed(emulator)
    emulator.advance(30 * HOUR)
    emulator.control("POST", "faults", {"kind": "status", "status": 400, "path": r"/v3/chats$"})
    failed = run_tap(emulator, state=first.state)
    assert failed.error is not None
    assert failed.records("extraction_gaps") == []
    emulator.control("DELETE", "faults")
    assert len(succeed(emulator, state=failed.state).records("extraction_gaps")) == 2


def test_messages_that_only_full_sweeps_would_have_found(emulator: Emulator) -> None:
    """The API shows activity for a while and then no longer: what came after the last sweep and is gone is a gap."""
    set_window(emulator, 24)
    history(emulator)
    first = succeed(emulator, phone_numbers=[FIRST_LINE])
    emulator.control("PATCH", "switches", {"message_moves_chat": False})
    emulator.advance(5 * HOUR)
    second = succeed(emulator, state=first.state, phone_numbers=[FIRST_LINE])
    emulator.advance(20 * HOUR)
    inbound(emulator)
    emulator.advance(300)
    third = succeed(emulator, state=second.state, phone_numbers=[FIRST_LINE])
    (record,) = third.records("extraction_gaps")
    assert (record["reason"], record["gap_start"]) == ("updated_at_lags", "2026-03-01T12:10:00Z")


def test_a_pass_that_takes_too_long_loses_what_expires_meanwhile(emulator: Emulator, after_each_page: Any) -> None:
    """It begins in time, an hour after the last one, and ends an hour and a half later, on a window of two."""
    options = {"retention_window_hours": 2, "phone_numbers": [FIRST_LINE]}
    history(emulator)
    first = succeed(emulator, **options)
    assert first.bookmarks() == {FIRST_LINE: "2026-03-01T12:10:00Z"}
    emulator.advance(HOUR)
    # Two chats: a clock that jumps is believed when a second response confirms it.
    inbound(emulator)
    inbound(emulator, **{"from": "+12125550101"})
    after_each_page("/v3/chats", lambda page: emulator.advance(1.5 * HOUR if page == 1 else 0))
    slow = succeed(emulator, state=first.state, **options)
    (record,) = slow.records("extraction_gaps")
    assert (record["gap_start"], record["gap_end"]) == ("2026-03-01T12:10:00Z", "2026-03-01T12:40:00Z")
    assert (record["reason"], record["detected_at"]) == ("late_run", "2026-03-01T14:40:00Z")
    assert slow.bookmarks() == {FIRST_LINE: "2026-03-01T13:10:00Z"}, "the pass counts from when it began"


def ahead(state: dict[str, Any]) -> dict[str, Any]:
    """STATE as the second run of a server would have left it whose clock was two years fast."""
    for one in state["bookmarks"]["messages"]["partitions"]:
        one |= {name: one[name].replace("2026", "2028") for name in ("passed_at", "swept_at")}
    return state


def test_times_ahead_of_the_server_are_a_gap(emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    options = {"phone_numbers": [FIRST_LINE], "on_gap": "fail"}
    first = succeed(emulator, **options)
    known = first.records("extraction_gaps")
    emulator.advance(HOUR)
    message = inbound(emulator)
    late = run_tap(emulator, state=ahead(first.state), **options)
    assert isinstance(late.error, GapError)
    assert "messages created from an unknown time to 2026-02-28T13:00:00Z" in str(late.error)
    assert "times that lie ahead of the server's clock" in caplog.text
    (record,) = late.records("extraction_gaps")
    assert (record["gap_start"], record["gap_end"]) == (None, "2026-02-28T13:00:00Z")
    assert (record["last_complete_pass"], record["reason"]) == ("2028-03-01T12:00:00Z", "clock_error")
    assert record["id"] not in {row["id"] for row in known}, "it is another gap than that of the first run"
    assert late.ids() == [message]
    again = succeed(emulator, state=late.state, **options)
    assert again.records("extraction_gaps") == []


def test_a_clock_error_is_remembered_when_its_times_have_come(emulator: Emulator) -> None:
    """The run that found it could not be completed; the next one comes when the server's clock has passed them."""
    options = {"phone_numbers": [FIRST_LINE]}
    history(emulator)
    state = ahead(succeed(emulator, **options).state)
    emulator.control("POST", "faults", {"kind": "status", "status": 400, "path": r"/v3/chats$"})
    failed = run_tap(emulator, state=state, **options)
    assert failed.error is not None
    emulator.control("DELETE", "faults")
    emulator.advance(3 * 365 * 24 * HOUR)
    (record,) = succeed(emulator, state=failed.state, **options).records("extraction_gaps")
    assert record["reason"] == "clock_error"


def test_a_loader_that_takes_its_time_moves_no_bookmark_back(
    emulator: Emulator, after_each_page: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the end of the pass, its latest response is an old one."""
    history(emulator, line=FIRST_LINE)
    (chat,) = {row["chat_id"] for row in emulator.ledger()}
    monkeypatch.setattr(line_pass, "time", SimpleNamespace(monotonic=lambda: emulator.now().timestamp()))
    after_each_page(f"/v3/chats/{chat}/messages", lambda page: emulator.advance(600))
    began = emulator.now()
    output = succeed(emulator, phone_numbers=[FIRST_LINE])
    assert parse_datetime(output.bookmarks()[FIRST_LINE]) == began


def test_a_list_that_is_waited_for_begins_when_it_comes(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As in an outage: what the clock says then is no contradiction to what it said before."""
    history(emulator, line=FIRST_LINE)
    monkeypatch.setattr(line_pass, "time", SimpleNamespace(monotonic=lambda: emulator.now().timestamp()))
    request = LinqClient.request
    moments: list[Any] = []

    def waits(self: LinqClient, method: str, path: str, **options: Any) -> Any:
        if path == "/v3/chats" and not moments:
            emulator.advance(240)
            moments.append(emulator.now())
        return request(self, method, path, **options)

    monkeypatch.setattr(LinqClient, "request", waits)
    output = succeed(emulator, phone_numbers=[FIRST_LINE])
    assert [parse_datetime(output.bookmarks()[FIRST_LINE])] == moments
    assert "which counts" not in caplog.text
