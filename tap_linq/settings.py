"""The settings, checked and in the types that the tap works with."""

from __future__ import annotations

import fnmatch
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, Final

from linq_client import InvalidRequestError, RetentionWindow, check_line, closest_name
from linq_client.times import parse_datetime_or_none
from tap_linq.extraction.masking import MIN_DIFFERENT, MIN_KEY_LENGTH
from tap_linq.extraction.plan import SAFETY_SHARE

__all__ = ["STANDARD_SWEEP_INTERVAL", "Settings", "check_map_forms", "check_names", "check_stream_maps", "normalize"]

#: How often a full sweep is due on the standard tier, where nothing expires.
STANDARD_SWEEP_INTERVAL: Final = timedelta(hours=24)
MAX_CONCURRENCY: Final = 64
#: Share of the window that a run waits for an API that does not work. After it, three runs at hourly intervals still
#: fit into a day's window before anything is lost.
PATIENCE_SHARE: Final = 0.05
MEGABYTE: Final = 1_000_000


@dataclass(frozen=True)
class Settings:
    """What the user chose; see `TapLinq.config_jsonschema` for what each setting means.

    Attributes:
        allow_http: whether `base_url` may be `http://` to another machine.
        phone_numbers: the lines to extract, in E.164 form; None for all of the account.
        window: None for the standard tier, where messages don't expire.
        concurrency: number of concurrent requests.
        outage_patience: how long a run waits for an API that does not work.
        fail_on_gap: whether a run that finds a gap ends with an error, after all is extracted.
        fail_on_missing_line: whether a run ends with one where a line of STATE is no longer the account's.
        attachments_path: where media is stored; None for nowhere.
        attachment_max_bytes: larger files are not stored.
        webhook_archive: where the receiver of webhooks keeps events; None for nowhere.
        webhook_archive_key: decrypts them; None where they are not encrypted.
        seen_path: where runs remember what they have emitted; None for nowhere.
        mask_handles: whether handles go out as digests.
        mask_text: what becomes of texts: "drop" or "encrypt"; None to leave them as they are.
        mask_key: makes the digests; None where nothing is masked.
    """

    api_key: str = field(repr=False)
    base_url: str | None
    allow_http: bool
    start_date: datetime | None
    phone_numbers: tuple[str, ...] | None
    window: RetentionWindow | None
    sweep_interval: timedelta
    overlap: timedelta
    concurrency: int
    outage_patience: timedelta
    fail_on_gap: bool
    fail_on_missing_line: bool
    attachments_path: str | None
    attachment_max_bytes: int
    webhook_archive: str | None
    webhook_archive_key: str | None = field(repr=False)
    seen_path: str | None = None
    mask_handles: bool = False
    mask_text: str | None = None
    mask_key: str | None = field(default=None, repr=False)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Settings:
        """Check a Singer configuration that already fits its JSON Schema.

        Raises:
            InvalidRequestError: names setting, rule and value.
        """
        window = _window(config.get("retention_window_hours"))
        _check_masking(config)
        return cls(
            api_key=config["api_key"],
            base_url=config.get("base_url"),
            allow_http=config["allow_http"],
            start_date=_start_date(config.get("start_date")),
            phone_numbers=_phone_numbers(config.get("phone_numbers")),
            window=window,
            sweep_interval=_sweep_interval(config.get("full_sweep_interval_hours"), window),
            overlap=timedelta(minutes=_number("overlap_minutes", config["overlap_minutes"], 1, 24 * 60, "minutes")),
            concurrency=_whole_number("concurrency", config["concurrency"], 1, MAX_CONCURRENCY, "requests"),
            outage_patience=_outage_patience(config.get("outage_patience_minutes"), window),
            fail_on_gap=config["on_gap"] == "fail",
            fail_on_missing_line=config["on_missing_line"] == "fail",
            attachments_path=config.get("attachments_path") or None,
            attachment_max_bytes=int(
                _number("attachment_max_megabytes", config["attachment_max_megabytes"], 0, 10_000, "megabytes")
                * MEGABYTE
            ),
            webhook_archive=config.get("webhook_archive") or None,
            webhook_archive_key=config.get("webhook_archive_key") or None,
            seen_path=config.get("seen_path") or None,
            mask_handles=bool(config.get("mask_handles")),
            mask_text=config.get("mask_text"),
            mask_key=config.get("mask_key"),
        )


def normalize(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration in which null stands for what is left out, but of the window, where it is a value.

    Numbers with a point, which the SDK reads as Decimal, become floats: as such they are shown where they are refused.
    """
    return {
        name: float(value) if isinstance(value, Decimal) else value
        for name, value in config.items()
        if value is not None or name == "retention_window_hours"
    }


def check_names(config: Mapping[str, Any], variables: Iterable[str], known: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse settings that do not exist: with a window that has a typo, the tap would run on the default.

    Args:
        variables: names of environment variables that are read as settings, without the prefix. Only those are refused
            that look like a typo: other programs may set variables with the prefix, such as Kubernetes for a service.
        known: schemas of all settings by their names.

    Raises:
        InvalidRequestError: names them, and what may have been meant.
    """
    candidates = [one for one in map(str.lower, variables) if closest_name(one, known)]
    wrong = []
    for name in (*config, *candidates):
        if name not in known:
            near = closest_name(name, known)
            wrong.append(f"{name}: is no setting, {f'did you mean {near}?' if near else 'see tap-linq --about'}")
    if wrong:
        raise InvalidRequestError("; ".join(wrong))
    for name, schema in known.items():
        if schema.get("secret") and not isinstance(config.get(name, ""), str):
            # The SDK would say so too, and show the value.
            raise InvalidRequestError(f"{name}: must be text")


def check_map_forms(maps: object) -> None:
    """Refuse forms of maps that the SDK does not expect: it would end with a traceback.

    Args:
        maps: the setting `stream_maps`, of which the SDK has made nothing yet.

    Raises:
        InvalidRequestError: names map, rule and value.
    """
    for name, options in maps.items() if isinstance(maps, dict) else ():
        if name == "__else__":
            _check_is_null("__else__", options)
        elif isinstance(options, dict):
            _check_is_null(f"{name}.__else__", options.get("__else__"))
            for rule, value in options.items():
                if rule in ("__alias__", "__source__") and not isinstance(value, str):
                    raise InvalidRequestError(f"stream_maps: {name}.{rule} must be text, got {value!r}")
                if value == "" and not rule.startswith("__"):
                    raise InvalidRequestError(f"stream_maps: {name}.{rule} must be an expression or null, got ''")


def _check_is_null(name: str, value: object) -> None:
    if value not in (None, "__NULL__"):
        raise InvalidRequestError(f"stream_maps: {name} must be null, got {value!r}")


def check_stream_maps(maps: object, streams: Collection[str], outputs: Iterable[tuple[str, str]]) -> None:
    """Refuse maps of streams that do not exist, and those that put two streams under one name.

    With a typo, what they are to hash or remove would go out as it is. Under one name, a loader would put rows of one
    stream into the table of the other.

    Args:
        maps: the setting `stream_maps`, which the SDK has checked.
        streams: names of all streams; a map may have a pattern of them, such as `chat*`.
        outputs: of each selected stream its name, and a name under which it comes out.

    Raises:
        InvalidRequestError: names them, and what may have been meant.
    """
    wrong = []
    for name, options in maps.items() if isinstance(maps, dict) else ():
        source = str(options.get("__source__", name)) if isinstance(options, dict) else name
        if source != "__else__" and not fnmatch.filter(streams, source):
            near = closest_name(source, streams)
            wrong.append(f"stream_maps: {source} is no stream{f', did you mean {near}?' if near else ''}")
    by_output: dict[str, str] = {}
    for stream, output in outputs:
        if (other := by_output.setdefault(output, stream)) != stream:
            wrong.append(f"stream_maps: {other} and {stream} must come out under two names, got {output} for both")
    if wrong:
        raise InvalidRequestError("; ".join(wrong))


def _check_masking(config: Mapping[str, Any]) -> None:
    """Refuse settings with which less would be masked than the user believes."""
    is_masking = bool(config.get("mask_handles")) or config.get("mask_text") is not None
    key = config.get("mask_key")
    different = len(set(key or ""))
    if is_masking and (len(key or "") < MIN_KEY_LENGTH or different < MIN_DIFFERENT):
        raise InvalidRequestError(
            f"mask_key: must have {MIN_KEY_LENGTH} characters or more, {MIN_DIFFERENT} of them different, such as "
            f"those of `openssl rand -hex 32`, got {f'{len(key)}, {different} of them different' if key else 'none'}"
        )
    if key is not None and not is_masking:
        raise InvalidRequestError("mask_key: goes with mask_handles or mask_text, got it with neither")
    if config.get("mask_text") is not None and config.get("attachments_path"):
        raise InvalidRequestError(
            "attachments_path: must be left out with mask_text, as files would be stored as people sent them"
        )


def _start_date(value: str | None) -> datetime | None:
    if value is None:
        return None
    parsed = parse_datetime_or_none(value) or parse_datetime_or_none(f"{value}T00:00:00Z")
    if parsed is None:
        raise InvalidRequestError(f"start_date: must be an RFC 3339 date or date-time, got {value!r}")
    # The one place for the worker's clock: no request has been made yet.
    if parsed > datetime.now(timezone.utc):
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
    except (ValueError, OverflowError):
        raise InvalidRequestError(
            f"retention_window_hours: must be 1 to 24 hours, or null for the standard tier, got {value!r}"
        ) from None


def _sweep_interval(value: float | str | None, window: RetentionWindow | None) -> timedelta:
    if window is None:
        if value is None:
            return STANDARD_SWEEP_INTERVAL
        return timedelta(hours=_number("full_sweep_interval_hours", value, 0, 24 * 365, "hours"))
    most = SAFETY_SHARE * window.hours
    if value is None:
        return timedelta(hours=most)
    return timedelta(
        hours=_number(
            "full_sweep_interval_hours", value, 0, most, f"hours, a quarter of the window of {window.hours:g}"
        )
    )


def _outage_patience(value: float | str | None, window: RetentionWindow | None) -> timedelta:
    length = STANDARD_SWEEP_INTERVAL if window is None else window.length
    if value is None:
        return PATIENCE_SHARE * length
    most = SAFETY_SHARE * length / timedelta(minutes=1)
    of_what = "minutes" if window is None else f"minutes, a quarter of the window of {window.hours:g} hours"
    return timedelta(minutes=_number("outage_patience_minutes", value, 0, most, of_what))


def _number(name: str, value: float | str, least: float, most: float, unit: str) -> float:
    try:
        number = float(value)
    except (ValueError, OverflowError):
        number = float("nan")
    if not least <= number <= most:
        raise InvalidRequestError(f"{name}: must be {least:g} to {most:g} {unit}, got {value!r}")
    return number


def _whole_number(name: str, value: float | str, least: int, most: int, unit: str) -> int:
    number = _number(name, value, least, most, unit)
    if not number.is_integer():
        raise InvalidRequestError(f"{name}: must be a whole number of {unit}, got {value!r}")
    return int(number)
