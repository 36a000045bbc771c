"""The definition of the plugin: as MeltanoHub takes it, and the same wherever it stands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import jsonschema
import pytest
import yaml

from tap_linq.tap import TapLinq

ROOT = Path(__file__).parents[3]
FILE = ROOT / "docs" / "meltano-hub.yml"
HUB = yaml.safe_load(FILE.read_text())
MELTANO = yaml.safe_load((ROOT / "meltano.yml").read_text())
DOCUMENTS = ("README.md", "docs/how-to/extract.md")

TEXT: Final = {"type": "string"}
TEXTS: Final = {"type": "array", "items": TEXT}

#: What the hub requires and allows of an extractor and its settings, as of August 2026.
SETTING: Final = {
    "type": "object",
    "additionalProperties": False,
    "required": ["name"],
    "properties": {
        **dict.fromkeys(("name", "label", "placeholder", "description", "tooltip", "documentation", "env"), TEXT),
        "aliases": TEXTS,
        "docs": TEXT,
        "hidden": {"type": "boolean"},
        "sensitive": {"type": "boolean"},
        "kind": {
            "enum": [
                *("oauth", "hidden", "password", "date_iso8601", "file", "email", "integer", "options", "object"),
                *("array", "boolean", "string", "decimal"),
            ]
        },
        "oauth": {"type": "object", "required": ["provider"]},
        "options": {"type": "array", "items": {"type": "object", "properties": {"label": TEXT, "value": TEXT}}},
        "value": {},
        "value_processor": {"enum": ["upcase_string", "nest_object", "stringify"]},
        "value_post_processor": {"enum": ["upcase_string", "nest_object", "stringify"]},
    },
}
EXTRACTOR: Final = {
    "type": "object",
    "additionalProperties": False,
    "required": ["name", "namespace", "variant", "quality"],
    "properties": {
        **dict.fromkeys(
            (
                *("name", "namespace", "variant", "label", "description", "docs", "repo", "executable", "pip_url"),
                *("python", "definition", "next_steps", "prereq", "settings_preamble", "usage", "log_parser"),
            ),
            TEXT,
        ),
        **{name: {"type": "object"} for name in ("commands", "metadata", "requires", "schema")},
        "hidden": {"type": "boolean"},
        "logo_url": {"type": ["string", "null"]},
        "domain_url": {"type": ["string", "null"], "pattern": "^https://"},
        "keywords": TEXTS,
        "select": TEXTS,
        "maintenance_status": {"enum": ["active", "beta", "development", "inactive", "unknown"]},
        "quality": {"enum": ["gold", "silver", "bronze", "unknown"]},
        "capabilities": {
            "type": "array",
            "items": {
                "enum": [
                    *("properties", "catalog", "discover", "state", "about", "stream-maps", "schema-flattening"),
                    *("activate-version", "batch", "test", "log-based", "structured-logging"),
                ]
            },
        },
        "settings": {"type": "array", "items": SETTING},
        "settings_group_validation": {"type": "array", "items": TEXTS},
        "supported_python_versions": {"type": "array", "items": {"type": "string", "pattern": r"^3\.\d+$"}},
    },
}


def test_the_hub_takes_the_definition() -> None:
    jsonschema.validate(HUB, EXTRACTOR)
    for name in ("docs", "domain_url", "prereq", "supported_python_versions", "label", "logo_url"):
        assert HUB[name], name


def mappings(node: yaml.Node) -> list[yaml.MappingNode]:
    found = [node] if isinstance(node, yaml.MappingNode) else []
    for one in node.value if isinstance(node.value, list) else ():
        for inner in one if isinstance(one, tuple) else (one,):
            found += mappings(inner)
    return found


def test_the_hub_s_linter_takes_the_file() -> None:
    """Keys in order, sequences not indented, no braces with something in them, and the end of the file a single one."""
    text = FILE.read_text()
    for mapping in mappings(yaml.compose(text)):
        names = [name.value for name, _ in mapping.value]
        assert names == sorted(names)
        assert not mapping.flow_style
    assert not re.search(r"^( *)[^\s#-].*:\n\1 +- ", text, flags=re.MULTILINE)
    assert text.endswith("\n")
    assert not text.endswith("\n\n")
    assert "\n\n\n\n" not in text


def schema_settings(properties: dict[str, Any]) -> dict[str, Any]:
    """All settings of the tap, the SDK's included, with a point in the names of inner ones."""
    found: dict[str, Any] = {}
    for name, one in properties.items():
        inner = one.get("properties", {}) if name == "faker_config" else {}
        found |= {f"{name}.{inside}": what for inside, what in inner.items()} or {name: one}
    return found


def test_all_settings_are_listed() -> None:
    TapLinq.append_builtin_config(TapLinq.config_jsonschema)
    known = schema_settings(TapLinq.config_jsonschema["properties"])
    listed = {setting["name"]: setting for setting in HUB["settings"]}
    assert list(listed) == sorted(known)
    for name, setting in listed.items():
        assert setting["description"] == known[name]["description"], name
        assert setting.get("value") == known[name].get("default"), name
        assert (setting["kind"] == "password") is bool(known[name].get("secret")), name
        assert setting.get("sensitive", False) is bool(known[name].get("secret")), name


def test_meltano_yml_says_the_same() -> None:
    (plugin,) = MELTANO["plugins"]["extractors"]
    for name in ("settings", "capabilities", "settings_group_validation", "namespace", "executable"):
        assert HUB[name] == plugin[name]
    assert set(HUB["capabilities"]) == {one.value for one in TapLinq.capabilities}
    claimed = re.findall(r"Programming Language :: Python :: (3\.\d+)", (ROOT / "pyproject.toml").read_text())
    assert HUB["supported_python_versions"] == claimed


@pytest.fixture(params=DOCUMENTS)
def snippet(request: pytest.FixtureRequest) -> dict[str, Any]:
    page = (ROOT / request.param).read_text()
    (text,) = re.findall(r"```yaml\n((?:(?!```).*\n)*?.*- name: tap-linq\n(?:(?!```).*\n)*)```", page)
    (plugin,) = yaml.safe_load(text)["plugins"]["extractors"]
    found: dict[str, Any] = plugin
    return found


def test_the_documents_say_the_same(snippet: dict[str, Any]) -> None:
    settings = {setting["name"]: setting for setting in HUB["settings"]}
    for name, value in snippet.items():
        if name != "settings":
            assert value == HUB[name], name
    assert set(snippet) >= {"name", "namespace", "pip_url", "executable", "capabilities", "settings"}
    for setting in snippet["settings"]:
        assert setting.items() <= settings[setting["name"]].items()
    assert "api_key" in {setting["name"] for setting in snippet["settings"]}
