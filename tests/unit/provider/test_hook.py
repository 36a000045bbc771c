"""The hook: what it makes of a connection, and the Test button."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from airflow.sdk import Connection

from airflow_provider_linq.hooks.linq import LinqHook
from linq_client import InvalidRequestError


@pytest.fixture
def connection(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make any connection id look up a connection with these fields."""

    def connection(**fields: Any) -> None:
        made = Connection(conn_id="linq_default", conn_type="linq", **{"password": "a-key", **fields})
        monkeypatch.setattr(LinqHook, "get_connection", lambda self, conn_id: made)

    return connection


def test_defaults(connection: Callable[..., None]) -> None:
    connection()
    settings = LinqHook().settings
    assert settings.base_url == "https://api.linqapp.com/api/partner"
    assert settings.default_line is None
    assert settings.retention_window is None
    assert settings.timeout == (5.0, 90.0)
    assert "a-key" not in repr(settings)


@pytest.mark.parametrize("window", [6, 6.0, "6"])  # a URI holds strings only
def test_all_fields(connection: Callable[..., None], window: object) -> None:
    connection(
        host="http://127.0.0.1:8181/api/partner/",
        extra=json.dumps(
            {
                "default_line": "+12025550101",
                "retention_window_hours": window,
                "read_timeout": 9,
                "connect_timeout": "",
            }
        ),
    )
    hook = LinqHook()
    settings = hook.settings
    assert settings.default_line == "+12025550101"
    assert settings.retention_window is not None
    assert settings.retention_window.hours == 6
    assert settings.timeout == (5.0, 9.0)
    assert hook.client.base_url == "http://127.0.0.1:8181/api/partner"
    assert hook.get_conn() is hook.client


def test_arguments_go_before_fields(connection: Callable[..., None]) -> None:
    connection(extra='{"default_line": "+12025550101", "read_timeout": 9}')
    settings = LinqHook(default_line="+12025550102", retention_window_hours=24).settings
    assert settings.default_line == "+12025550102"
    assert settings.retention_window is not None
    assert settings.timeout == (5.0, 9.0)


@pytest.mark.parametrize(
    ("fields", "refusal"),
    [
        ({"password": None}, "must be the API key"),
        ({"extra": "[1]"}, "extra: must be a JSON object"),
        ({"extra": '{"retention_window_hours": 24'}, "extra: must be a JSON object"),
        ({"extra": "retention_window_hours=24"}, "extra: must be a JSON object"),
        (
            {"extra": '{"default_line": "+12025550101", "default_line": "+12025550102"}'},
            "extra: must have each field once, got default_line twice",
        ),
        # Without a window, the extraction takes its time, and messages expire unread.
        ({"extra": '{"retention_window": 24}'}, "retention_window is no field, did you mean retention_window_hours?"),
        ({"extra": '{"Default-Line": "+12025550101"}'}, "Default-Line is no field, did you mean default_line?"),
        ({"extra": '{"default_line": "202-555-0101"}'}, "default_line: must be E.164"),
        ({"extra": '{"retention_window_hours": 48}'}, "retention window: must be 1 to 24 hours"),
        ({"extra": '{"read_timeout": "soon"}'}, "read_timeout: must be a number above 0 and at most 86400, got 'soon'"),
        ({"extra": '{"connect_timeout": 0}'}, "connect_timeout: must be a number above 0 and at most 86400, got 0"),
        ({"host": "api.example.com"}, "base_url: must be a URL"),
        ({"host": "http://api.example.com/api/partner"}, "allow_http"),
        ({"extra": '{"max_retries": "often"}'}, "max_retries: must be a whole number from 0 on, got 'often'"),
        ({"extra": '{"max_retries": Infinity}'}, "max_retries: must be a whole number from 0 on, got inf"),
        ({"extra": '{"max_retries": 2.7}'}, "max_retries: must be a whole number from 0 on, got 2.7"),
        (
            {"extra": '{"connect_timeout": 1e300}'},
            "connect_timeout: must be a number above 0 and at most 86400, got 1e",
        ),
        ({"extra": '{"retention_window_hours": true}'}, "retention_window_hours: must be a number above 0"),
        ({"host": "http://127.0.0.1/api/partner", "port": 8181}, "port: must stand in the base URL"),
        ({"extra": '{"allow_http": "perhaps"}'}, "allow_http: must be true or false, got 'perhaps'"),
        ({"extra": '{"proxy": 5}'}, "proxy: must be text, got int"),
    ],
)
def test_a_wrong_connection_is_refused_by_name(
    connection: Callable[..., None], monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], refusal: str
) -> None:
    monkeypatch.setenv("LINQ_API_KEY", "key-of-another-account")
    connection(**fields)
    with pytest.raises(InvalidRequestError, match=refusal):
        _ = LinqHook().client
    works, reason = LinqHook().test_connection()
    assert not works
    assert refusal in reason


def test_making_a_hook_looks_nothing_up() -> None:
    LinqHook("no_such_connection")


@pytest.mark.usefixtures("offline")
def test_airflow_finds_the_hook_of_a_connection() -> None:
    hook = LinqHook.get_connection("linq_default").get_hook(hook_params={"default_line": "+12025550102"})
    assert isinstance(hook, LinqHook)
    assert hook.settings.default_line == "+12025550102"
