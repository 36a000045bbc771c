"""Host names: of this machine, and of a ``Host`` header."""

from __future__ import annotations

import ipaddress
import re

__all__ = ["LOOPBACK_NAMES", "WILDCARDS", "host_name", "is_loopback_host", "url_host"]

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]\s]+)(?::[0-9]*)?")

LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "[::1]"})
"""The names of this machine that a ``Host`` header may hold."""

WILDCARDS = frozenset({"0.0.0.0", "::"})
"""Addresses to listen on that stand for all of this machine, and are no names of it."""


def is_loopback_host(host: str) -> bool:
    """Whether a name or an address is this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def url_host(host: str) -> str:
    """A name or an address as it stands in a URL: an IPv6 address gets brackets."""
    return f"[{host}]" if ":" in host else host


def host_name(header: str) -> str:
    """The name in a ``Host`` header, in lower case, without the port; an IPv6 address keeps its brackets.

    It is empty if the header is no host.
    """
    match = _HOST.fullmatch(header)
    return match[1].lower() if match else ""
