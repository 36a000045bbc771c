"""The forms in which two handles are compared, and the one in which a log or a report shows whose they are."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["comparable_handle", "handle_forms", "normal_handle", "shown_handle"]

#: Mobile numbers that are E.164 with and without a digit, 1 in Mexico, 9 in Argentina and Brazil: both are in use, and
#: reach the same phone. In Brazil only what was a mobile number before the digit came, which began with 6 to 9.
_OPTIONAL_DIGITS: Final = tuple(
    (re.compile(f"({before}){digit}?({after})", re.ASCII), digit)
    for before, digit, after in ((r"\+52", 1, r"\d{10}"), (r"\+54", 9, r"\d{10}"), (r"\+55\d\d", 9, r"[6-9]\d{7}"))
)


def normal_handle(handle: str) -> str:
    """Return a handle in the form in which all that mean the same are equal: in lower case.

    Numbers are in E.164 form everywhere, which has one spelling. E-mail addresses mean the same in any case.
    """
    return handle.lower()


def handle_forms(handle: str) -> tuple[str, ...]:
    """Return all handles that reach the same person as one, each in its normal form; the first is that to compare by.

    A number that can be written with a digit and without it has two.
    """
    normal = normal_handle(handle)
    for pattern, digit in _OPTIONAL_DIGITS if normal.startswith("+5") else ():
        if match := pattern.fullmatch(normal):
            return f"{match[1]}{match[2]}", f"{match[1]}{digit}{match[2]}"
    return (normal,)


def comparable_handle(handle: str) -> str:
    """Return a form that is equal for all handles that reach the same person. It is not to be sent to, nor stored."""
    return handle_forms(handle)[0]


def shown_handle(handle: str) -> str:
    """Return what a log or a report may show of a handle: enough to recognize who is meant, too little to find them."""
    if "@" in handle:
        return f"{handle[0]}…@…"
    return f"{handle[:2]}…{handle[-2:]}" if len(handle) > 7 else "…"
