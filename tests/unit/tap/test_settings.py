"""Settings are refused before any request, in words that name setting, rule and value; and the command line."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from singer_sdk.exceptions import ConfigValidationError

from tap_linq.settings import Settings
from tap_linq.tap import TapLinq

NOWHERE = {"api_key": "key", "base_url": "http://127.0.0.1:9/api/partner"}


def settings(**config: Any) -> Settings:
    return TapLinq(config={**NOWHERE, **config}).session.settings


@pytest.mark.parametrize(
    ("setting", "value", "told"),
    [
        ("retention_window_hours", 30, "must be 1 to 24 hours, or null for the standard tier, got 30"),
        ("retention_window_hours", 0.5, "must be 1 to 24 hours, or null for the standard tier, got 0.5"),
        ("retention_window_hours", "day", "must be 1 to 24 hours, or null for the standard tier, got 'day'"),
        ("start_date", "2999-01-01T00:00:00Z", "must not lie in the future, got '2999-01-01T00:00:00Z'"),
        ("start_date", "yesterday", "must be an RFC 3339 date or date-time, got 'yesterday'"),
        ("start_date", "12:00", "must be an RFC 3339 date or date-time, got '12:00'"),
        ("phone_numbers", ["202-555-0101"], "must be E.164"),
        ("phone_numbers", [], "must name a line, or be left out for all of the account, got []"),
        ("full_sweep_interval_hours", 6.5, "must be 0 to 6 hours, a quarter of the window of 24, got 6.5"),
        ("full_sweep_interval_hours", "often", "must be 0 to 6 hours"),
        ("overlap_minutes", 0, "must be 1 to 1440 minutes, got 0"),
        ("overlap_minutes", -5, "must be 1 to 1440 minutes, got -5"),
        ("overlap_minutes", Decimal("0.5"), "must be 1 to 1440 minutes, got 0.5"),
        ("outage_patience_minutes", 361, "must be 0 to 360 minutes, a quarter of the window of 24 hours, got 361"),
        ("outage_patience_minutes", -1, "must be 0 to 360 minutes"),
        ("outage_patience_minutes", "long", "must be 0 to 360 minutes"),
        ("concurrency", 0, "must be 1 to 64 requests, got 0"),
        ("concurrency", 65, "must be 1 to 64 requests, got 65"),
        ("concurrency", "8.5", "must be a whole number of requests, got '8.5'"),
        ("concurrency", "eight", "must be 1 to 64 requests, got 'eight'"),
        ("attachment_max_megabytes", -1, "must be 0 to 10000 megabytes, got -1"),
        ("attachments_path", "nowhere://files", "must be a folder or a URL that fsspec knows"),
        ("base_url", "ftp://example.com", "must be an http or https URL"),
        ("api_key", "", "must be given"),
        ("retention_windw_hours", 1, "is no setting, did you mean retention_window_hours?"),
        ("Phone-Number", [], "is no setting, did you mean phone_numbers?"),
        ("verbose", True, "is no setting, see tap-linq --about"),
    ],
)
def test_a_wrong_setting(setting: str, value: Any, told: str) -> None:
    with pytest.raises(ConfigValidationError) as raised:
        TapLinq(config={**NOWHERE, setting: value})
    assert str(raised.value).startswith(f"{setting}: ")
    assert told in str(raised.value)


def test_only_two_things_can_be_done_about_a_gap() -> None:
    with pytest.raises(ConfigValidationError) as raised:
        TapLinq(config={**NOWHERE, "on_gap": "ignore"})
    assert raised.value.errors == ["'ignore' is not one of ['warn', 'fail'] in config['on_gap']"]


def test_a_key_is_needed() -> None:
    with pytest.raises(ConfigValidationError):
        TapLinq(config={})
    with pytest.raises(ConfigValidationError, match="^apikey: is no setting, did you mean api_key"):
        TapLinq(config={"apikey": "key"})


def test_a_key_of_another_type_is_not_shown() -> None:
    with pytest.raises(ConfigValidationError) as raised:
        TapLinq(config={"api_key": 8675309})
    assert raised.value.errors == ["api_key: must be text"]


def test_null_stands_for_what_is_left_out() -> None:
    every = dict.fromkeys(TapLinq.config_jsonschema["properties"])
    assert settings(**{**every, **NOWHERE}) == settings(retention_window_hours=None)


@pytest.mark.parametrize(("value", "hours"), [(24, 24), ("6", 6), (1.5, 1.5), (None, None), ("null", None)])
def test_the_window_may_come_as_text(value: Any, hours: float | None) -> None:
    window = settings(retention_window_hours=value).window
    assert (window.hours if window else None) == hours


@pytest.mark.parametrize(
    ("window", "value", "hours"), [(24, None, 6), (2, None, 0.5), (2, "0.25", 0.25), (2, 0, 0), (None, None, 24)]
)
def test_a_sweep_is_due_each_quarter_of_the_window(window: float | None, value: Any, hours: float) -> None:
    chosen = settings(retention_window_hours=window, full_sweep_interval_hours=value)
    assert chosen.sweep_interval == timedelta(hours=hours)


@pytest.mark.parametrize(
    ("window", "value", "minutes"), [(24, None, 72), (1, None, 3), (None, None, 72), (24, 360, 360), (24, "0", 0)]
)
def test_an_outage_is_waited_out_for_a_share_of_the_window(window: float | None, value: Any, minutes: float) -> None:
    chosen = settings(retention_window_hours=window, outage_patience_minutes=value)
    assert chosen.outage_patience == timedelta(minutes=minutes)


def test_the_window_is_a_day_by_default() -> None:
    window = TapLinq(config=dict(NOWHERE)).session.settings.window
    assert window is not None
    assert window.hours == 24
