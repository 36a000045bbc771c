"""Times: RFC 3339 in and out, and the time of the API's server.

All datetimes are aware and in UTC. *Server time* is what the API's `Date` header says; the worker's own clock is only
used to measure how long something took.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable
from datetime import MAXYEAR, MINYEAR, datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from functools import cache, lru_cache
from typing import Final

__all__ = [
    "ServerClock",
    "format_datetime",
    "parse_datetime",
    "parse_datetime_or_none",
    "parse_http_date",
    "to_server_time",
    "to_utc",
]

#: Lengths of the common forms: seconds, milli- or microseconds, and `Z`. Python reads them in every version. What newer
#: versions also read in these lengths (a week, a decimal comma) is ISO 8601, and means one moment too.
_COMMON_LENGTHS: Final = frozenset((20, 24, 27))

# From 3.14 on Python takes 24:00:00 for the midnight that follows. RFC 3339 does not know it. Nor an offset without a
# colon, but that is what several languages write, and it means one moment.
_RFC_3339: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ]((?!24)\d\d:\d\d:\d\d)(?:\.(\d+))?(?:[Zz]|([+-]\d\d):?(\d\d))?", flags=re.ASCII
)


if sys.version_info >= (3, 11):
    _parse_common = datetime.fromisoformat
else:

    def _parse_common(text: str) -> datetime:
        return datetime.fromisoformat(f"{text[:-1]}+00:00")


def parse_datetime(text: str) -> datetime:
    """Return an RFC 3339 date-time in UTC; one without an offset is taken to be in UTC.

    Digits after the microseconds are dropped. The first and the last year that a datetime can hold are no times: some
    use them for *never*, and nothing can be added to them.

    Raises:
        ValueError: the text is no such date-time.
    """
    return _parse(text)


@lru_cache(maxsize=1024)  # the tap asks for the times of a message again and again, and some are the same
def _parse(text: str) -> datetime:
    # This takes half the time of msgspec for the common forms.
    is_common = len(text) in _COMMON_LENGTHS and text[10] == "T" and text[-1] == "Z" and text[11:13] != "24"
    return to_utc(_parse_common(text) if is_common else _parse_any(text))


def _parse_any(text: str) -> datetime:
    match = _RFC_3339.fullmatch(text)
    if match is None:
        raise ValueError("must be an RFC 3339 date-time")
    day, seconds, fraction, hours, minutes = match.groups()
    # Python 3.10 reads either no digits of a second, or three, or six, and no offset without a colon.
    return datetime.fromisoformat(f"{day}T{seconds}.{(fraction or '')[:6]:0<6}{hours or '+00'}:{minutes or '00'}")


def to_utc(moment: datetime) -> datetime:
    """Return a datetime in UTC; one without a zone is taken to be in UTC.

    Raises:
        ValueError: it is in the first or the last year, see `parse_datetime`.
    """
    if not MINYEAR < moment.year < MAXYEAR:
        raise ValueError("must be a date-time at which something can happen")
    # The most common case needs no conversion.
    if moment.tzinfo is timezone.utc:
        return moment
    return moment.replace(tzinfo=timezone.utc) if moment.tzinfo is None else moment.astimezone(timezone.utc)


def parse_datetime_or_none(value: object) -> datetime | None:
    """Return what `parse_datetime` makes of a text, and `to_utc` of a datetime; None for everything else."""
    try:
        if isinstance(value, str):
            return _parse(value)
        return to_utc(value) if isinstance(value, datetime) else None
    except ValueError:
        return None


def parse_http_date(value: object) -> datetime | None:
    """Return an HTTP date, as of the headers `Date` and `Retry-After`, in UTC; None for everything else.

    All three forms of RFC 9110 are read. A zone that is missing or unknown (asctime, `-0000`) means GMT, never the
    zone of the worker.
    """
    return _parse_http_date(value) if isinstance(value, str) else None


@lru_cache(maxsize=16)  # the responses of a second name the same one
def _parse_http_date(text: str) -> datetime | None:
    try:
        return to_utc(parsedate_to_datetime(text))
    except (ValueError, TypeError, OverflowError):  # what it raises is not documented
        return None


def format_datetime(moment: datetime) -> str:
    """Return a datetime in RFC 3339, in UTC with `Z`.

    Raises:
        ValueError: it names no time zone, or is none at which something can happen.
    """
    if moment.tzinfo is None:
        raise ValueError(f"must carry a time zone, got {moment.isoformat()}")
    return _utc_formatter()(to_utc(moment))


@cache
def _utc_formatter() -> Callable[[datetime], str]:
    """Return what does as `isoformat`, with `Z`, in a fifth of the time: the tap does it for each message.

    It is imported when it is first needed, since that takes as long as to import all of the tap.
    """
    from pydantic_core import to_jsonable_python

    return to_jsonable_python


def to_server_time(ours: datetime, their_now: datetime) -> datetime:
    """Translate a moment of the worker's clock to the server's, which shows `their_now`.

    Theirs is rounded down to a second and was read a little while ago: the result is never late.

    Raises:
        ValueError: ours is none at which something can happen.
    """
    return to_utc(ours) + (their_now - datetime.now(timezone.utc))


class ServerClock:
    """The server's time between its responses: that of the latest one, plus what has passed since.

    Args:
        latest: the time of the latest response.

    Attributes:
        latest: the same; certainly not later than the server's clock is.
    """

    def __init__(self, latest: datetime) -> None:
        self.latest = latest
        self._noted_at = time.monotonic()

    def note(self, latest: datetime) -> None:
        """Take note of the time of a response."""
        if latest != self.latest:
            self.latest, self._noted_at = latest, time.monotonic()

    def now(self) -> datetime:
        """Return the server's time now, as well as it is known."""
        return self.latest + timedelta(seconds=time.monotonic() - self._noted_at)
