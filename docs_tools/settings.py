"""The settings of the tap, from their declaration."""

from __future__ import annotations

from typing import Any

from docs_tools.markdown import table as markdown_table
from tap_linq.tap import TapLinq


def table() -> str:
    """Return every setting of the tap's own and of the SDK's, with default and meaning."""
    lines: list[tuple[str, ...]] = [("setting", "default", "means")]
    required = TapLinq.config_jsonschema.get("required", ())
    TapLinq.append_builtin_config(TapLinq.config_jsonschema)
    for name, one in TapLinq.config_jsonschema["properties"].items():
        lines += _rows(name, one, "required" if name in required else "")
    return markdown_table(*lines)


def _rows(name: str, one: dict[str, Any], default: str) -> list[tuple[str, ...]]:
    given = one.get("default")
    shown = default or ("" if given is None else f"`{str(given).lower() if isinstance(given, bool) else given}`")
    inner = [row for key, value in one.get("properties", {}).items() for row in _rows(f"{name}.{key}", value, "")]
    return [(f"`{name}`", shown, one["description"]), *inner]
