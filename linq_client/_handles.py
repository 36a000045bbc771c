"""The one form in which two handles are compared, and the one in which a log or a report shows whose they are."""

from __future__ import annotations

__all__ = ["normal_handle", "shown_handle"]


def normal_handle(handle: str) -> str:
    """Return a handle in the form in which all that mean the same are equal: in lower case.

    Numbers are in E.164 form everywhere, which has one spelling. E-mail addresses mean the same in any case.
    """
    return handle.lower()


def shown_handle(handle: str) -> str:
    """Return what a log or a report may show of a handle: enough to recognize who is meant, too little to find them."""
    if "@" in handle:
        return f"{handle[0]}…@…"
    return f"{handle[:2]}…{handle[-2:]}" if len(handle) > 7 else "…"
