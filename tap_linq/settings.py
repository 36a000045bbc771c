"""The settings, checked and in the types that the tap works with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pendulum

from linq_client import InvalidRequestError, RetentionWindow, check_line


@dataclass(frozen=True)
class Settings:
    """What the user chose; see `TapLinq.config_jsonschema` for what each setting means.

    Attributes:
        phone_numbers: the lines to extract, in E.164 form; None for all of the account.
        window: None for the standard tier, where messages don't expire.
    """

    api_key: str = field(repr=False)
    base_url: str | None
    start_date: datetime | None
    phone_numbers: tuple[str, ...] | None
    window: RetentionWindow | None

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Settings:
        """Check a Singer configuration that already fits its JSON Schema.

        Raises:
            InvalidRequestError: names setting, rule and value.
        """
        return cls(
            api_key=config["api_key"],
            base_url=config.get("base_url"),
            start_date=_start_date(config.get("start_date")),
            phone_numbers=_phone_numbers(config.get("phone_numbers")),
            window=_window(config.get("retention_window_hours")),
        )


def _start_date(value: str | None) -> datetime | None:
    if value is None:
        return None
    rule = "must be an RFC 3339 date or date-time"
    try:
        parsed = pendulum.parse(value, exact=True)
    except ValueError:
        raise InvalidRequestError(f"start_date: {rule}, got {value!r}") from None
    if not isinstance(parsed, pendulum.Date):
        raise InvalidRequestError(f"start_date: {rule}, got {value!r}")
    if not isinstance(parsed, pendulum.DateTime):
        parsed = pendulum.datetime(parsed.year, parsed.month, parsed.day)
    # The one place for the worker's clock: nothing has been asked of the server yet.
    if parsed > pendulum.now("UTC"):
        raise InvalidRequestError(f"start_date: must not lie in the future, got {value!r}")
    return parsed


def _phone_numbers(value: list[str] | None) -> tuple[str, ...] | None:
    if value is None:
        return None
    if not value:
        # A list that came out empty must not turn into "everything".
        raise InvalidRequestError("phone_numbers: must name a line, or be left out for all of the account, got []")
    return tuple(dict.fromkeys(check_line(line, "phone_numbers") for line in value))


def _window(value: float | str | None) -> RetentionWindow | None:
    # Environment variables can only carry text.
    if value is None or value == "null":
        return None
    try:
        return RetentionWindow(float(value))
    except ValueError:
        raise InvalidRequestError(
            f"retention_window_hours: must be 1 to 24 hours, or null for the standard tier, got {value!r}"
        ) from None
