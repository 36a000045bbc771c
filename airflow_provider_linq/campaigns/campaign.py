"""What a campaign is told: its settings, the same for the operator and for `send_campaign`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from airflow_provider_linq._internal.arguments import check_choice
from airflow_provider_linq._internal.idempotency import check_key
from airflow_provider_linq.campaigns.follow_up import FollowUp
from airflow_provider_linq.campaigns.outcomes import check_output_path
from airflow_provider_linq.campaigns.pace import MESSAGES_PER_DAY, Pace, SendWindow
from airflow_provider_linq.campaigns.progress import MAX_LINES
from airflow_provider_linq.campaigns.rows import Row
from airflow_provider_linq.hooks.linq import LinqHook
from linq_client import InvalidRequestError, MessageLike, check_line

OnInvalid: TypeAlias = Literal["fail", "skip"]

#: In the place of a line: the platform chooses, whatever the connection's default line is.
ANY: Final = "any"

RECOMMENDED: Final = Pace(messages_per_day=MESSAGES_PER_DAY)
NO_CEILING: Final = Pace()


@dataclass(frozen=True, kw_only=True)
class Campaign:
    """
    One message to each of many recipients.

    The arguments are those of :class:`~airflow_provider_linq.operators.linq_campaigns.LinqSendCampaignOperator`, which
    says what they mean.
    """

    message: MessageLike
    rows: Iterable[Row] | None = None
    rows_path: str | None = None
    sql: str | None = None
    sql_conn_id: str | None = None
    parameters: Mapping[str, Any] | Sequence[Any] | None = None
    to_field: str = "to"
    from_: str | Sequence[str] | None = None
    campaign_key: str | None = None
    on_invalid: OnInvalid = "fail"
    line_pace: Pace = RECOMMENDED
    total_pace: Pace = NO_CEILING
    send_window: tuple[str, str] | None = None
    timezone: str = "UTC"
    timezone_field: str | None = None
    concurrency: int = 8
    max_failures: float = 0
    outcomes_path: str | None = None
    follow_up: FollowUp | None = None
    report_path: str | None = None
    dry_run: bool = False
    linq_conn_id: str = LinqHook.default_conn_name

    def check_arguments(self) -> None:
        """
        Refuse what can't be right whatever the templates render to, so that the DAG shows an import error.

        :raises ValueError: an argument is out of range, or goes with none of the others.
        """
        check_choice("on_invalid", self.on_invalid, OnInvalid)
        if self.concurrency < 1:
            raise ValueError(f"concurrency must be 1 or more, got {self.concurrency!r}")
        if isinstance(self.max_failures, bool) or not self.max_failures >= 0:
            raise ValueError(f"max_failures must be 0 or more, got {self.max_failures!r}")
        if self.send_window is not None:
            SendWindow.parse(*self.send_window)
        if self.follow_up is not None and self.outcomes_path is None:
            raise ValueError("follow_up needs outcomes_path: the report is made of what it says")
        if self.report_path is not None and self.follow_up is None:
            raise ValueError("report_path goes with follow_up")

    def check_rendered(self) -> None:
        """
        Refuse what is wrong in the rendered fields, before anything is read or sent.

        :raises InvalidRequestError: names field, rule and value.
        """
        check_key(self.campaign_key, "campaign_key")
        if self.dry_run and self.outcomes_path is None:
            raise InvalidRequestError("dry_run: needs outcomes_path, where what would be sent is written, got none")
        for field in ("outcomes_path", "report_path"):
            path = getattr(self, field)
            if path is not None:
                check_output_path(path, field)

    def pool(self, default_line: str | None) -> list[str]:
        """
        Return the lines to send from; none if the platform chooses.

        :param default_line: of the connection.
        :raises InvalidRequestError: one of them is no phone number, or there are more than can be told apart.
        """
        if self.from_ is None:
            return [] if default_line is None else [default_line]
        lines = [self.from_] if isinstance(self.from_, str) else list(self.from_)
        if lines == [ANY]:
            return []
        if not 1 <= len(lines) <= MAX_LINES:
            raise InvalidRequestError(f"from_: must be 1 to {MAX_LINES} lines, got {len(lines)}")
        return list(dict.fromkeys(check_line(line, "from_") for line in lines))

    def failures_allowed(self, recipients: int) -> float:
        """Return how many of so many recipients may fail."""
        is_share = isinstance(self.max_failures, float) and self.max_failures < 1
        return self.max_failures * recipients if is_share else self.max_failures
