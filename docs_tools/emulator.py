"""Switches and operations of the emulator, from their declarations."""

from __future__ import annotations

import json

from docs_tools.markdown import table
from linq_emulator.server.openapi import document
from linq_emulator.switches import declarations


def switches() -> str:
    """Return every switch: its values, its default, and why it is one."""
    lines = [("switch", "values", "default", "why it is a switch")]
    for one in declarations():
        default = str(one.default).lower() if isinstance(one.default, bool) else str(one.default)
        lines.append((f"`{one.name}`", one.allowed, default, one.reason))
    return table(*lines)


def openapi() -> str:
    """Return the OpenAPI document of an emulator at its usual address, as JSON."""
    return json.dumps(document("http://127.0.0.1:8181"), indent=1)


def operations() -> str:
    """Return every operation that is emulated."""
    lines = [("method", "path", "does")]
    for path, methods in sorted(json.loads(openapi())["paths"].items()):
        lines += [(method.upper(), f"`{path}`", one.get("summary", "")) for method, one in methods.items()]
    return table(*lines)
