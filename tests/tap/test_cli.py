"""What a person sees who starts the tap by hand, or through Meltano: one line where something is refused."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from linq_client import InvalidRequestError
from tap_linq.cli import exit_with_message, read_json_object
from tests.emulator_process import Emulator
from tests.tap.running import FIRST_LINE, cli, config_for, seed, succeed

NOWHERE = {"api_key": "secret-key", "base_url": "http://127.0.0.1:9/api/partner"}


def written(path: Path, value: Any) -> Path:
    path.write_text(json.dumps(value))
    return path


def refusal(*arguments: str | Path, **env: str) -> str:
    """Run the tap, which must end with code 1 and one line about it, and return that line."""
    done = cli(*arguments, **env)
    assert done.returncode == 1
    (line,) = (line for line in done.stderr.splitlines() if " INFO " not in line)
    assert " ERROR " in line
    assert "secret-key" not in done.stderr
    return line.rpartition(" | ")[2]


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        (
            "retention_window_hours",
            30,
            "retention_window_hours: must be 1 to 24 hours, or null for the standard tier, got 30",
        ),
        ("overlap_minutes", -5, "overlap_minutes: must be 1 to 1440 minutes, got -5"),
        ("start_date", "2999-01-01", "start_date: must not lie in the future, got '2999-01-01'"),
        ("retention_windw_hours", 1, "retention_windw_hours: is no setting, did you mean retention_window_hours?"),
        ("phone_numbers", FIRST_LINE, f"'{FIRST_LINE}' is not of type 'array', 'null' in config['phone_numbers']"),
        ("stream_maps", {"messages": {"half": "1 +"}}, "Failed to parse expression 1 +."),
    ],
)
def test_a_setting_that_is_refused_before_any_request(tmp_path: Path, setting: str, value: Any, message: str) -> None:
    config = written(tmp_path / "config.json", {**NOWHERE, setting: value})
    assert refusal("--config", config) == message


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("TAP_LINQ_CONCURRENCY", "many", "concurrency: must be 1 to 64 requests, got 'many'"),
        ("TAP_LINQ_PHONE_NUMBER", "[]", "phone_number: is no setting, did you mean phone_numbers?"),
    ],
)
def test_settings_from_the_environment(variable: str, value: str, message: str) -> None:
    assert refusal("--config=ENV", TAP_LINQ_API_KEY="secret-key", **{variable: value}) == message


def test_a_line_of_somebody_else(emulator: Emulator, tmp_path: Path) -> None:
    config = written(tmp_path / "config.json", config_for(emulator, phone_numbers=["+13125550100"]))
    assert refusal("--config", config) == "phone_numbers: must be lines of this account, got +13125550100"


@pytest.mark.parametrize("more", [[], ["--test"]])
def test_a_wrong_key(emulator: Emulator, tmp_path: Path, more: list[str]) -> None:
    config = written(tmp_path / "config.json", {**config_for(emulator), "api_key": "secret-key"})
    assert "the API key is missing or wrong" in refusal("--config", config, *more)


def test_as_meltano_starts_it(emulator: Emulator, tmp_path: Path) -> None:
    """With catalog and STATE, and the log in the form that it asks for; the run comes too late."""
    first = succeed(emulator)
    emulator.advance(48 * 3600)
    config = written(tmp_path / "config.json", config_for(emulator, on_gap="fail"))
    catalog = tmp_path / "catalog.json"
    catalog.write_text(cli("--config", config, "--discover").stdout)
    state = written(tmp_path / "state.json", first.state)
    log = {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"structured": {"()": "singer_sdk.logging.StructuredFormatter"}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "structured"}},
        "root": {"level": "INFO", "handlers": ["stderr"]},
    }
    done = cli(
        "--config",
        config,
        "--catalog",
        catalog,
        "--state",
        state,
        SINGER_SDK_LOG_CONFIG=str(written(tmp_path / "log.yml", log)),
    )
    assert done.returncode == 1
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    (error,) = (one for one in lines if one["level"] == "error")
    assert error["message"].startswith("messages may have expired unread: ")
    assert "Traceback" not in done.stderr
    assert "2026-03-03T12:00:00Z" in done.stdout.splitlines()[-1], "the bookmarks have moved on"


def test_a_run_that_could_not_read_everything(emulator: Emulator, tmp_path: Path) -> None:
    seed(emulator, 4, 1)
    emulator.control("POST", "faults", {"kind": "status", "status": 403, "code": 2005, "path": "/messages"})
    done = cli("--config", written(tmp_path / "config.json", config_for(emulator)))
    assert done.returncode == 1
    assert "could not be read: chat " in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("option", ["--config", "--state", "--catalog"])
@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00"], ids=["empty", "no text"])
def test_a_file_that_holds_something_else(tmp_path: Path, option: str, content: bytes) -> None:
    """An empty STATE is what `tap-linq --state state.json > state.json` leaves."""
    file = tmp_path / "file.json"
    file.write_bytes(content)
    config = [] if option == "--config" else ["--config", written(tmp_path / "config.json", NOWHERE)]
    assert refusal(*config, option, file).startswith(f"{option}: must be ")


@pytest.mark.parametrize("content", [b"[1]", b"{", b"5", b"\x00", b"[" * 5000])
def test_what_is_no_object(content: bytes) -> None:
    with pytest.raises(InvalidRequestError, match="--state: must be a file with a JSON object"):
        read_json_object("--state", content)


def test_a_catalog_that_is_none(tmp_path: Path) -> None:
    config, file = written(tmp_path / "config.json", NOWHERE), written(tmp_path / "catalog.json", {"streams": None})
    assert refusal("--config", config, "--catalog", file).startswith("--catalog: must be a Singer catalog")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
def test_files_in_the_encodings_of_windows(encoding: str) -> None:
    value = {"text": "\u00e4", "more": [1]}
    assert read_json_object("--state", json.dumps(value, ensure_ascii=False, indent=1).encode(encoding)) == value


def test_of_the_messages_of_a_loader_the_last_one_counts() -> None:
    assert read_json_object("--state", b'{"a": 1}\r\n{"b": 2}\r\n') == {"b": 2}
    with pytest.raises(InvalidRequestError):
        read_json_object("--state", b'{"a": 1}\n{"b"')


def test_a_file_of_settings_that_is_not_there() -> None:
    assert "nowhere.json" in refusal("--config", "nowhere.json")


def test_a_mistake_in_the_code_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        with exit_with_message(logging.getLogger()):
            _ = 1 / 0
