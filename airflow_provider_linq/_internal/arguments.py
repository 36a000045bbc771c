"""What all operators ask of their arguments."""

from __future__ import annotations

from datetime import timedelta
from typing import get_args


def check_choice(field: str, value: str, choices: object) -> None:
    """
    Refuse an argument that is none of the strings of a `Literal`, when the DAG is parsed.

    :raises ValueError: in Airflow's way, so that the DAG shows an import error.
    """
    if value not in get_args(choices):
        raise ValueError(f"{field} must be one of {', '.join(get_args(choices))}, got {value!r}")


def is_nothing(rendered: str) -> bool:
    """Whether a string is what a template makes of a value that is not there."""
    return rendered.strip() in ("", "None", "null")


def as_timedelta(value: timedelta | float) -> timedelta:
    """Return a span of time that may be given in seconds."""
    return value if isinstance(value, timedelta) else timedelta(seconds=value)
