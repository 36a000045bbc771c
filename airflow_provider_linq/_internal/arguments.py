"""What all operators ask of their arguments."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from numbers import Integral, Real
from typing import Any, Final, get_args

from airflow.sdk.timezone import convert_to_utc, parse

from linq_client import InvalidRequestError

#: The longest span of an argument: no time that is reckoned with it is beyond the last year, and every clock waits it.
_LONGEST: Final = timedelta(days=36_500)


def check_choice(field: str, value: str, choices: object) -> None:
    """
    Refuse an argument that is none of the strings of a `Literal`, when the DAG is parsed.

    :raises ValueError: in Airflow's way, so that the DAG shows an import error.
    """
    if value not in get_args(choices):
        raise ValueError(f"{field} must be one of {', '.join(get_args(choices))}, got {value!r}")


class GivenArguments:
    """
    The templated arguments that a task was given.

    None means "left out". An argument that was given, and that a template or another task has made None, must not come
    to mean the same: another line would send, other messages would be waited for.

    :param task: whose arguments they are; ask when all of them are set.
    :param names: of its templated arguments.
    """

    def __init__(self, task: object, names: Iterable[str]) -> None:
        self._names = [name for name in names if getattr(task, name) is not None]

    def check(self, task: object) -> None:
        """
        Refuse what has become None since.

        :raises InvalidRequestError: an argument that was given has rendered to None.
        """
        for name in self._names:
            if getattr(task, name) is None:
                raise InvalidRequestError(
                    f"{name}: must have a value, got None from a template or from another task; leave it out if it may "
                    "be missing"
                )


def is_nothing(rendered: str) -> bool:
    """Whether a string is what a template makes of a value that is not there."""
    return rendered.strip() in ("", "None", "null")


def flag_argument(value: bool | str, field: str) -> bool:
    """
    Read a truth value that may be what a template rendered to.

    :raises InvalidRequestError: it is neither true nor false.
    """
    found = {"true": True, "false": False}.get(str(value).strip().lower())
    if found is None:
        raise InvalidRequestError(f"{field}: must be true or false, got {value!r}")
    return found


def check_flag(field: str, value: object) -> None:
    """
    Refuse an argument that is neither True nor False, when the DAG is parsed: the text "false" would count as true.

    :raises ValueError: in Airflow's way, so that the DAG shows an import error.
    """
    if not isinstance(value, bool):
        raise ValueError(f"{field} must be True or False, got {value!r}")


def as_timedelta(value: timedelta | float, field: str) -> timedelta:
    """
    Return a span of time that may be given in seconds.

    :raises ValueError: in Airflow's way, so that the DAG shows an import error: the value is none, or no moment is so
        far from now.
    """
    span = value
    if not isinstance(span, timedelta):
        try:
            span = timedelta(seconds=_plain_number(value))
        except (TypeError, ValueError, OverflowError):
            raise ValueError(f"{field} must be a timedelta or a number of seconds, got {value!r}") from None
    if not timedelta(0) <= span <= _LONGEST:
        raise ValueError(f"{field} must be from 0 to {_LONGEST.days:,} days, got {value!r}")
    return span


def positive_timedelta(value: timedelta | float, field: str) -> timedelta:
    """
    Return a span of time that may be given in seconds, and has to be longer than none.

    :raises ValueError: in Airflow's way, so that the DAG shows an import error.
    """
    span = as_timedelta(value, field)
    if not span:
        raise ValueError(f"{field} must be above 0, got {value!r}")
    return span


def seconds_between_polls(value: timedelta | float) -> float:
    """
    Return the argument ``poll_interval`` in seconds; a number stays as it is, as it is stored with a trigger.

    :raises ValueError: in Airflow's way, so that the DAG shows an import error: polls would follow without a pause.
    """
    span = positive_timedelta(value, "poll_interval")
    return span.total_seconds() if isinstance(value, timedelta) else _plain_number(value)


def number_argument(field: str, value: Any, kind: type[int] | type[float], least: int) -> float:
    """
    Return an argument that is a number, also one of NumPy or a Decimal, as Python's own.

    :param kind: ``int`` for a whole number.
    :raises ValueError: in Airflow's way, so that the DAG shows an import error: it is none, or too low.
    """
    try:
        number = _plain_number(value)
    except TypeError:
        number = math.nan
    if not number >= least or (kind is int and not isinstance(number, int)):  # NaN is not above anything
        raise ValueError(f"{field} must be {'a whole number, ' if kind is int else ''}{least} or more, got {value!r}")
    return number


def _plain_number(value: Any) -> float:
    """Return a number as an int or a float of Python's, which can be stored; a truth value is none."""
    if isinstance(value, Integral) and not isinstance(value, bool):
        return int(value)
    if isinstance(value, Decimal):
        return int(value) if value.is_finite() and value == value.to_integral_value() else float(value)
    if isinstance(value, Real) and not isinstance(value, bool):
        return float(value)
    raise TypeError("no number")


class NamedTwiceError(ValueError):
    """A JSON object has two values of one name, and JSON says nothing of which of them counts."""

    def __init__(self, name: str) -> None:
        super().__init__("a name stands twice in an object")
        self.name = name


def json_value(text: str) -> Any:
    """
    Return what a JSON text says.

    :raises NamedTwiceError: of one name it says two things.
    :raises ValueError: it is no JSON.
    """
    return json.loads(text, object_pairs_hook=_named_once)


def _named_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        raise NamedTwiceError(next(name for name in names if names.count(name) > 1))
    return made


def datetime_argument(value: datetime | str, field: str) -> datetime:
    """
    Return a datetime in UTC; one without an offset is in Airflow's default time zone, as everywhere in Airflow.

    :raises InvalidRequestError: the value is none.
    """
    try:
        parsed = parse(value, strict=True) if isinstance(value, str) else value
    except ValueError:
        parsed = None
    if not isinstance(parsed, datetime):
        raise InvalidRequestError(f"{field}: must be a datetime or an ISO 8601 string, got {value!r}")
    return convert_to_utc(parsed)
