"""Switches of the emulator, from their declarations."""

from __future__ import annotations

from docs_tools.markdown import table
from linq_emulator.switches import declarations


def switches() -> str:
    """Return every switch: its values, its default, and why it is one."""
    lines = [("switch", "values", "default", "why it is a switch")]
    for one in declarations():
        default = str(one.default).lower() if isinstance(one.default, bool) else str(one.default)
        lines.append((f"`{one.name}`", one.allowed, default, one.reason))
    return table(*lines)
