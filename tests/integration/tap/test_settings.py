"""Settings are refused before any request, in words that name setting, rule and value; and the command line."""

from __future__ import annotations

import json
from typing import Any

from linq_client import InvalidRequestError
from tap_linq.settings import Settings
from tap_linq.tap import TapLinq
from tests.support.emulator_process import Emulator
from tests.support.running import FIRST_LINE, cli, config_for, run_tap, seed

STREAMS = {
    "attachments",
    "chat_locations",
    "chat_participants",
    "chats",
    "extraction_gaps",
    "messages",
    "phone_numbers",
    "reactions",
    "webhook_subscriptions",
}
NOWHERE = {"api_key": "key", "base_url": "http://127.0.0.1:9/api/partner"}


def settings(**config: Any) -> Settings:
    return TapLinq(config={**NOWHERE, **config}).session.settings


def test_every_setting_that_the_tap_names_is_one(emulator: Emulator) -> None:
    """Those of the SDK, too."""
    about = json.loads(cli("--about", "--format=json", as_program=True).stdout)["settings"]["properties"]
    assert {"stream_maps", "stream_map_config", "faker_config", "flattening_enabled"} < about.keys()
    empty = {name: {} if "object" in setting["type"] else setting.get("default") for name, setting in about.items()}
    output = run_tap(emulator, **{**empty, **config_for(emulator)})
    assert output.error is None


def test_a_line_of_somebody_else_is_refused_after_one_request(emulator: Emulator) -> None:
    seed(emulator, 4, 1)
    output = run_tap(emulator, phone_numbers=[FIRST_LINE, "+13125550100"])
    assert isinstance(output.error, InvalidRequestError)
    assert str(output.error) == "phone_numbers: must be lines of this account, got +13125550100"
    assert len(emulator.requests_served()) == 1


def test_discovery_and_about_need_no_settings() -> None:
    catalog = json.loads(cli("--discover").stdout)
    selected = {
        entry["tap_stream_id"]: one["metadata"].get("selected-by-default", True)
        for entry in catalog["streams"]
        for one in entry["metadata"]
        if one["breadcrumb"] == []
    }
    assert [name for name, by_default in selected.items() if not by_default] == ["chat_locations"]
    assert set(selected) == STREAMS
    about = json.loads(cli("--about", "--format=json").stdout)
    assert about["settings"]["properties"]["api_key"]["secret"] is True
    assert all(setting["description"] for setting in about["settings"]["properties"].values())
    assert "activate-version" not in about["capabilities"]


def test_a_run_with_settings_from_the_environment(emulator: Emulator) -> None:
    seed(emulator, 4, 1)
    done = cli(
        "--config=ENV",
        TAP_LINQ_API_KEY=emulator.api_key,
        TAP_LINQ_BASE_URL=emulator.base_url,
        TAP_LINQ_PHONE_NUMBERS=f'["{FIRST_LINE}"]',
        TAP_LINQ_RETENTION_WINDOW_HOURS="6",
        TAP_LINQ_LOGLEVEL="INFO",
        TAP_LINQ_SERVICE_HOST="as Kubernetes sets it",
        TAP_LINQ__SELECT="as Meltano sets it",
    )
    assert done.returncode == 0, done.stderr
    messages = [json.loads(line) for line in done.stdout.splitlines()]
    assert sum(one["type"] == "RECORD" and one["stream"] == "messages" for one in messages) == 2
    assert emulator.api_key not in done.stderr
