"""The one form in which two handles are compared, wherever that is done."""

from __future__ import annotations

__all__ = ["normal_handle"]


def normal_handle(handle: str) -> str:
    """Return a handle in the form in which all that mean the same are equal: in lower case.

    Numbers are in E.164 form everywhere, which has one spelling. E-mail addresses mean the same in any case.
    """
    return handle.lower()
