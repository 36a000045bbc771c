"""What a person sees who starts the tap by hand, or through Meltano: one line where something is refused."""

from __future__ import annotations

import json
import logging
import re
import subprocess
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from singer_sdk.exceptions import ConfigValidationError

from linq_client import InvalidRequestError
from tap_linq.cli import exit_with_message, read_json_object
from tap_linq.tap import TapLinq
from tests.support.emulator_process import Emulator
from tests.support.running import FIRST_LINE, TAP, cli, config_for, seed, succeed
from tests.support.small_api import SmallAPI, small_api

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
        ("TAP_LINQ_MASK_HANDLES", "treu", "mask_handles: must be true or false, got 'treu'"),
        ("TAP_LINQ_MASK_HANDLES", "", "mask_handles: must be true or false, got ''"),
        ("TAP_LINQ_FLATTENING_MAX_DEPTH", "two", "flattening_max_depth: must be a whole number, got 'two'"),
        ("TAP_LINQ_STREAM_MAPS", "{messages", "stream_maps: must be JSON, got 9 other characters"),
        ("TAP_LINQ_STREAM_MAP_CONFIG", "{salt}", "stream_map_config: must be JSON, got 6 other characters"),
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
    catalog.write_text(cli("--config", config, "--discover", as_program=True).stdout)
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
        as_program=True,
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


def test_half_a_character_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="--state: must have no half of a surrogate pair"):
        read_json_object("--state", b'{"bookmarks": {"\\ud83d": 1}}')
    assert read_json_object("--state", b'{"a": "\\ud83d\\ude00"}') == {"a": "\U0001f600"}


@pytest.mark.parametrize("catalog", [{"streams": None}, {}, {"bookmarks": {}}, {"streams": {}}])
def test_a_catalog_that_is_none(tmp_path: Path, catalog: dict[str, Any]) -> None:
    config, file = written(tmp_path / "config.json", NOWHERE), written(tmp_path / "catalog.json", catalog)
    assert refusal("--config", config, "--catalog", file).startswith("catalog: must be a Singer catalog")


def of_messages(catalog: dict[str, Any]) -> dict[str, Any]:
    entry: dict[str, Any] = next(one for one in catalog["streams"] if one["tap_stream_id"] == "messages")
    return entry


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda one: [stream.pop("metadata") for stream in one["streams"]], "selects no stream"),
        (lambda one: [stream["metadata"].clear() for stream in one["streams"]], "selects no stream"),
        (lambda one: of_messages(one).update(stream="raw_messages"), "stream of tap_stream_id messages must be"),
        (lambda one: of_messages(one).update(schema={}), "schema of messages must have its key id"),
        (lambda one: of_messages(one).update(schema={}, key_properties=[]), "schema of messages must have properties"),
        (lambda one: of_messages(one)["schema"]["properties"].pop("id"), "schema of messages must have its key id"),
    ],
)
def test_a_catalog_by_which_nothing_comes_out(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], said: str
) -> None:
    catalog = deepcopy(TapLinq(config={"api_key": "k"}).catalog_dict)
    change(catalog)
    config, file = written(tmp_path / "config.json", NOWHERE), written(tmp_path / "catalog.json", catalog)
    assert refusal("--config", config, "--catalog", file).startswith(f"catalog: {said}")


def test_keys_come_out_whatever_the_catalog_says(emulator: Emulator) -> None:
    seed(emulator, 1, 1)
    catalog = deepcopy(TapLinq(config={"api_key": "k"}).catalog_dict)
    for one in of_messages(catalog)["metadata"]:
        if one["breadcrumb"] == ["properties", "id"]:
            one["metadata"] = {"selected": False}
    done = succeed(emulator, catalog=catalog)
    (schema,) = (one for one in done.messages if one["type"] == "SCHEMA" and one["stream"] == "messages")
    assert schema["key_properties"] == ["id"]
    assert "id" in schema["schema"]["properties"]
    assert all(done.ids())


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


@pytest.fixture
def api() -> Iterator[SmallAPI]:
    with small_api() as started:
        yield started


def lines_written(done: subprocess.CompletedProcess[str], stream: str) -> int:
    messages = [json.loads(line) for line in done.stdout.splitlines()]
    return sum(one["type"] == "RECORD" and one["stream"] == stream for one in messages)


@pytest.mark.parametrize(
    ("stream", "maps", "message"),
    [
        ("messages", {"half": "text[:2] + record['nothing']"}, "stream_maps.messages.half: can't be applied"),
        ("messages", {"__filter__": "text + 1"}, "stream_maps.messages.__filter__: can't be applied"),
        ("phone_numbers", {"half": "int(id)"}, "stream_maps.phone_numbers.half: can't be applied"),
    ],
)
def test_an_expression_that_fails_is_named_and_what_came_before_is_written(
    api: SmallAPI, tmp_path: Path, stream: str, maps: dict[str, str], message: str
) -> None:
    config = written(tmp_path / "config.json", api.config(stream_maps={stream: maps}))
    done = cli("--config", config)
    assert done.returncode == 1
    (line,) = (line for line in done.stderr.splitlines() if " INFO " not in line)
    assert message in line
    assert "hi" not in line, "the text of the message"
    assert lines_written(done, "chats") == 3


@pytest.mark.parametrize(
    ("maps", "message"),
    [
        ({"mesages": {"text": "md5(text)"}}, "stream_maps: mesages is no stream, did you mean messages?"),
        ({"Chat-Participants": {"handle": None}}, "Chat-Participants is no stream, did you mean chat_participants?"),
        ({"copy": {"__source__": "nothing", "id": "id"}}, "stream_maps: nothing is no stream"),
        ({"messages": {"__alias__": "chats"}}, "messages and chats must come out under two names, got chats for both"),
        (
            {"copy": {"__source__": "messages"}, "chats": {"__alias__": "copy"}},
            "messages and chats must come out under two names, got copy for both",
        ),
        ({"messages": {"__alias__": None}}, "stream_maps: messages.__alias__ must be text, got None"),
        ({"copy": {"__source__": None}}, "stream_maps: copy.__source__ must be text, got None"),
        ({"messages": {"text": ""}}, "stream_maps: messages.text must be an expression or null, got ''"),
        ({"messages": {"__else__": "x"}}, "stream_maps: messages.__else__ must be null, got 'x'"),
        ({"__else__": 5}, "stream_maps: __else__ must be null, got 5"),
        ({"messages": {"id": "id", "text": "text", "__else__": None}}, None),
        ({"messages": {"__alias__": "chats"}, "chats": None}, None),
        ({"chat_*": {"line": None}}, None),
        ({"copy": {"__source__": "messages", "id": "id"}, "chats": None}, None),
    ],
)
def test_a_map_of_a_stream_that_does_not_exist(maps: dict[str, Any], message: str | None) -> None:
    if message is None:
        TapLinq(config={**NOWHERE, "stream_maps": maps})
        return
    with pytest.raises(ConfigValidationError, match=re.escape(message)):
        TapLinq(config={**NOWHERE, "stream_maps": maps})


def test_a_map_of_another_form_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAP_LINQ_STREAM_MAPS", '{"messages": {"__alias__": null}}')
    with pytest.raises(ConfigValidationError, match=r"stream_maps: messages\.__alias__ must be text, got None"):
        TapLinq(config=NOWHERE, parse_env_config=True)


def test_columns_that_are_cut_to_one_name() -> None:
    """As the flattened ones of a handle, with names of a few characters."""
    config = {**NOWHERE, "flattening_enabled": True, "flattening_max_depth": 2, "flattening_max_key_length": 1}
    with pytest.raises(ConfigValidationError, match=r"^flattening_max_key_length: Duplicate column name"):
        TapLinq(config=config)


def test_a_connection_test_is_quiet_when_all_is_well(api: SmallAPI, tmp_path: Path) -> None:
    done = cli("--config", written(tmp_path / "config.json", api.config()), "--test")
    assert done.returncode == 0
    assert " ERROR " not in done.stderr
    assert lines_written(done, "messages") == 1


def test_a_connection_test_fails_with_what_it_tests(api: SmallAPI, tmp_path: Path) -> None:
    api.answers["/v3/chats"] = lambda handler, _: handler.refuse(403, 2005)
    done = cli("--config", written(tmp_path / "config.json", api.config()), "--test")
    assert done.returncode == 1
    assert f"could not be read: the chats of line {FIRST_LINE}" in done.stderr.splitlines()[-1]
    assert "unhandled" not in done.stderr


def test_a_loader_that_ends_is_the_reason_that_is_given(tmp_path: Path) -> None:
    with small_api(chats=20, messages=100) as api:
        config = written(tmp_path / "config.json", api.config())
        with subprocess.Popen([TAP, "--config", config], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.readline()
            process.stdout.close()
            log = process.stderr.read().decode()
            assert process.wait(60) == 1
    (line,) = (line for line in log.splitlines() if " INFO " not in line)
    assert line.endswith("the loader reads no more: it has ended, and its own log says why")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no disk that is always full")
def test_a_full_disk_is_the_reason_that_is_given(api: SmallAPI, tmp_path: Path) -> None:
    config = written(tmp_path / "config.json", api.config())
    with open("/dev/full", "wb") as full:
        done = subprocess.run([TAP, "--config", config], stdout=full, stderr=subprocess.PIPE, text=True, timeout=300)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith("stdout could not be written: No space left on device")


def test_certificates_that_are_not_there(tmp_path: Path) -> None:
    config = written(tmp_path / "config.json", {"api_key": "secret-key", "base_url": "https://127.0.0.1:9/api/partner"})
    assert "/nowhere.pem" in refusal("--config", config, REQUESTS_CA_BUNDLE="/nowhere.pem")
