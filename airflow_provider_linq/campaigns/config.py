"""The settings of a campaign, the same for the operator and for `send_campaign`."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from types import NoneType
from typing import Any, Final, Literal, TypeAlias

from airflow_provider_linq._internal.arguments import check_choice, check_flag, number_argument, positive_timedelta
from airflow_provider_linq._internal.idempotency import check_key
from airflow_provider_linq._internal.not_after import NotAfter, check_not_after
from airflow_provider_linq._internal.rendering import ResolveMixin, is_template
from airflow_provider_linq._internal.uploads import FileRules
from airflow_provider_linq.campaigns._checkpoint import MAX_LINES
from airflow_provider_linq.campaigns._files import check_output_path
from airflow_provider_linq.campaigns._limits import MESSAGES_PER_DAY, NEW_CHATS_PER_DAY, RateLimits, SendWindow
from airflow_provider_linq.campaigns._rows import Row
from airflow_provider_linq.campaigns._shards import WHOLE, Shard
from airflow_provider_linq.hooks.linq import LinqHook
from linq_client import InvalidRequestError, MessageLike, check_line

__all__ = ["Campaign", "DeliveryReport"]

OnInvalid: TypeAlias = Literal["fail", "skip"]

#: In the place of a line: the platform chooses, whatever the connection's default line is.
ANY: Final = "any"

_PATHS: Final = ("rows_path", "suppression_path", "outcomes_path", "report_path")

RECOMMENDED: Final = RateLimits(messages_per_day=MESSAGES_PER_DAY, new_chats_per_day=NEW_CHATS_PER_DAY)
NO_LIMITS: Final = RateLimits()


@dataclass(frozen=True)
class DeliveryReport:
    """
    Whether and how long a campaign waits for its messages, before it reports what became of them.

    :param delivered_share: of the sent messages, above 0 and at most 1: when so many are delivered, the wait is over.
    :param timeout: since the first poll, as a timedelta or in seconds; then it is over in any case.
    :param poll_interval: between two polls, as a timedelta or in seconds.
    :raises ValueError: an argument is out of range; in Airflow's way, so that the DAG shows an import error.
    """

    delivered_share: float = 0.95
    timeout: timedelta | float = timedelta(hours=6)
    poll_interval: timedelta | float = timedelta(minutes=5)

    def __post_init__(self) -> None:
        share = number_argument("delivered_share", self.delivered_share, float, 0)
        if not 0 < share <= 1:
            raise ValueError(f"delivered_share must be above 0 and at most 1, got {self.delivered_share!r}")
        object.__setattr__(self, "delivered_share", share)
        positive_timedelta(self.timeout, "timeout")
        positive_timedelta(self.poll_interval, "poll_interval")


@dataclass(frozen=True, kw_only=True)
class Campaign:
    """
    One message to each of many recipients.

    The arguments are those of :class:`~airflow_provider_linq.operators.campaigns.LinqSendCampaignOperator`, which
    says what they mean, and one more.

    :param message_is_data: the message is not written in the DAG file, as one of ``params`` is: it may name files in
        ``files_under`` only.
    """

    message: MessageLike
    values: Mapping[str, Any] | None = None
    files_under: str | Sequence[str] | None = None
    rows: Iterable[Row] | None = None
    rows_path: str | None = None
    sql: str | None = None
    sql_conn_id: str | None = None
    parameters: Mapping[str, Any] | Sequence[Any] | None = None
    null_values: Collection[str] | None = None
    suppression: Iterable[Any] | None = None
    suppression_path: str | None = None
    suppression_sql: str | None = None
    suppression_conn_id: str | None = None
    suppression_field: str = "handle"
    to_field: str = "to"
    groups: bool = False
    from_: str | Sequence[str] | None = None
    campaign_key: str | None = None
    on_invalid: OnInvalid = "fail"
    line_limits: RateLimits = RECOMMENDED
    total_limits: RateLimits = NO_LIMITS
    send_window: tuple[str, str] | str | None = None
    timezone: str = "UTC"
    timezone_field: str | None = None
    not_after: NotAfter | None = None
    concurrency: int = 8
    max_failures: float = 0
    max_invalid: float | None = None
    outcomes_path: str | None = None
    delivery_report: DeliveryReport | None = None
    report_path: str | None = None
    resend_failed: bool = False
    dry_run: bool = False
    shard: str | None = None
    message_is_data: bool = False
    linq_conn_id: str = LinqHook.default_conn_name

    def __post_init__(self) -> None:
        numbers = {"concurrency": number_argument("concurrency", self.concurrency, int, 1)}
        numbers["max_failures"] = number_argument("max_failures", self.max_failures, float, 0)
        if self.max_invalid is not None:
            numbers["max_invalid"] = number_argument("max_invalid", self.max_invalid, float, 0)
        paths = {name: getattr(self, name) for name in _PATHS}
        # Of an ObjectStoragePath, a PurePath up to Airflow 3.1, the text would lack its connection.
        texts = {name: str(path) for name, path in paths.items() if type(path).__module__.startswith("pathlib")}
        for name, value in {**numbers, **texts}.items():
            object.__setattr__(self, name, value)

    def check_arguments(self) -> None:
        """
        Refuse what can't be right whatever the templates render to, so that the DAG shows an import error.

        :raises ValueError: an argument is out of range, or goes with none of the others.
        """
        check_choice("on_invalid", self.on_invalid, OnInvalid)
        self._check_types()
        check_flag("groups", self.groups)
        check_flag("resend_failed", self.resend_failed)
        if isinstance(self.rows, Iterator):  # they are read again after each wait and in each try
            raise ValueError(f"rows must be a list, which can be read more than once, got {type(self.rows).__name__}")
        if isinstance(self.suppression, Iterator):
            raise ValueError(
                f"suppression must be a list, which can be read more than once, got {type(self.suppression).__name__}"
            )
        if self.suppression_conn_id is not None and self.suppression_sql is None:
            raise ValueError("suppression_conn_id goes with suppression_sql")
        if self.max_invalid is not None and self.on_invalid == "fail":
            raise ValueError("max_invalid goes with on_invalid='skip'")
        if self.send_window is not None:
            SendWindow.of(self.send_window)
        check_not_after(self.not_after)
        FileRules.of(self.message, self.files_under)
        if hasattr(self.message, "resolve"):  # it would be sent as what Python calls it
            raise ValueError(
                "message must be a template over the rows, got what another task returns: give that in values, as "
                "values={'text': other.output} with message='{{ values.text }}'"
            )
        if self.delivery_report is not None and self.outcomes_path is None:
            raise ValueError("delivery_report needs outcomes_path: the report is made of what it says")
        if self.resend_failed and self.outcomes_path is None:
            raise ValueError("resend_failed needs outcomes_path: beside it is kept which message was whose")
        if self.report_path is not None and self.delivery_report is None:
            raise ValueError("report_path goes with delivery_report")
        if self.shard is not None and self.outcomes_path is None:
            raise ValueError(
                f"shard needs outcomes_path, which all shards share with what is beside it, got {self.shard!r}"
            )
        if self.shard is not None and self.report_path is not None:
            raise ValueError("report_path must not be given with shard: each shard reports on its own messages in XCom")
        self.of_shard()

    def _check_types(self) -> None:
        """Refuse what would be found out when people have been written to, or in words that name no argument."""
        self._check_paths(ResolveMixin)
        for name, kind in (("line_limits", RateLimits), ("total_limits", RateLimits)):
            if not isinstance(getattr(self, name), kind):
                raise ValueError(f"{name} must be a {kind.__name__}, got {getattr(self, name)!r}")
        if not isinstance(self.delivery_report, DeliveryReport | None):
            raise ValueError(f"delivery_report must be a DeliveryReport, got {self.delivery_report!r}")
        for name in ("to_field", "suppression_field"):
            if not isinstance(getattr(self, name), str):
                raise ValueError(f"{name} must be the name of a column, got {getattr(self, name)!r}")
        words = self.null_values
        if words is not None and (isinstance(words, str) or not isinstance(words, Collection)):
            raise ValueError(f"null_values must be a list of words, got {words!r}")

    def _check_paths(self, *others: type) -> None:
        for name in _PATHS:
            value = getattr(self, name)
            if not isinstance(value, (str, NoneType, *others)):
                raise InvalidRequestError(f"{name}: must be a path or URL as text, got {type(value).__name__}")

    def check_rendered(self) -> None:
        """
        Refuse what is wrong in the rendered fields, before anything is read or sent.

        :raises InvalidRequestError: names field, rule and value.
        """
        check_key(self.campaign_key, "campaign_key")
        self._check_paths()
        if not isinstance(self.values, Mapping | None):
            raise InvalidRequestError(f"values: must be names and values, got {type(self.values).__name__}")
        if self.campaign_key is not None and is_template(
            self.campaign_key
        ):  # mapped tasks get data, which is not rendered
            raise InvalidRequestError(
                "campaign_key: must be rendered, got a template: what another task gives to a mapped task is data, so "
                "write templates in partial()"
            )
        if self.dry_run and self.outcomes_path is None:
            raise InvalidRequestError("dry_run: needs outcomes_path, where what would be sent is written, got none")
        for field in ("outcomes_path", "report_path"):
            path = getattr(self, field)
            if path is not None:
                check_output_path(path, field, may_be_page=field == "report_path")

    @property
    def part(self) -> Shard:
        """Whom this task sends to: those of its shard, or all."""
        return WHOLE if self.shard is None else Shard.parse(self.shard)

    def of_shard(self) -> Campaign:
        """
        Return the campaign with the shard's own part of all that is for the whole.

        :raises ValueError: the shard is none, or its part of a limit would be nothing.
        """
        part = self.part
        if part.is_whole:
            return self
        most = self.max_failures
        return replace(
            self,
            line_limits=self.line_limits.of_shard(part, "line_limits"),
            total_limits=self.total_limits.of_shard(part, "total_limits"),
            max_failures=most if isinstance(most, float) and not 1 <= most < math.inf else part.share_of(int(most)),
        )

    @property
    def files(self) -> FileRules:
        """Which files the messages may name: those of the template as it is, and what a row names in a folder."""
        return FileRules.of(None if self.message_is_data else self.message, self.files_under)

    def pool(self, default_line: str | None) -> list[str]:
        """
        Return the lines to send from; none if the platform chooses.

        :param default_line: of the connection.
        :raises InvalidRequestError: one of them is no phone number, or there are more than can be told apart.
        """
        if self.from_ is None:
            return [] if default_line is None else [default_line]
        if not isinstance(self.from_, Collection):
            raise InvalidRequestError(f"from_: must be a line or a list of lines, got {type(self.from_).__name__}")
        lines = [self.from_] if isinstance(self.from_, str) else list(self.from_)
        if lines == [ANY]:
            return []
        if not 1 <= len(lines) <= MAX_LINES:
            raise InvalidRequestError(f"from_: must be 1 to {MAX_LINES} lines, got {len(lines)}")
        return list(dict.fromkeys(check_line(line, "from_") for line in lines))


def share_of(allowed: float, total: int) -> float:
    """Return how many of so many are allowed: a float below 1 is a share, anything else a number."""
    return allowed * total if isinstance(allowed, float) and allowed < 1 else allowed
