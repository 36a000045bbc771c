"""Times in RFC 3339, in and out, and the server's time."""

from __future__ import annotations

import time
from datetime import datetime, timezone

import pytest

from linq_client import APIConnectionError
from linq_client.times import (
    parse_http_date,
)
from tests.support.scripted_server import OK, client_of, serving

NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)


DATES = [
    "Sun, 01 Mar 2026 12:00:00 GMT",
    "Sun, 01 Mar 2026 12:00:00 UTC",
    "Sun, 01 Mar 2026 12:00:00 -0000",
    "Sun, 01 Mar 2026 12:00:00 +0000",
    "Sun, 01 Mar 2026 12:00:00",
    "Sun, 01 Mar 2026 13:00:00 +0100",
    "Sunday, 01-Mar-26 12:00:00 GMT",
    "Sun Mar  1 12:00:00 2026",
    "sun, 1 mar 2026 12:00:00 gmt",
]


@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
@pytest.mark.parametrize("date", DATES)
def test_an_http_date_means_the_same_wherever_the_worker_is(
    date: str, zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        with serving((200, {"Date": date}, OK[2])) as server, client_of(server) as client:
            assert client.server_time == NOON
            assert parse_http_date(date) == NOON
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    "date",
    [
        "",
        "soon",
        "2026-03-01T12:00:00Z",
        "Sun, 31 Feb 2026 12:00:00 GMT",
        "Sun, 01 Mar 2026 25:00:00 GMT",
        "Fri, 31 Dec 9999 23:59:59 GMT",
        "Fri, 31 Dec 9999 23:59:59 -0500",
        "Sun, 01 Mar 2026 12:00:00 +9999",
        "Sun, 01 Mar 99999999999999999999 12:00:00 GMT",
        "9" * 5000,
    ],
)
def test_what_is_no_http_date_is_no_time(date: str) -> None:
    assert parse_http_date(date) is None
    with serving((200, {"Date": date}, OK[2])) as server, client_of(server) as client:
        with pytest.raises(APIConnectionError, match="names no time"):
            client.phone_numbers.list()
