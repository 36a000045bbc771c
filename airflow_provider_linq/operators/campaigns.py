"""The operator that sends a campaign: one message to each of many recipients, exactly once."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.standard.triggers.temporal import DateTimeTrigger
from airflow.sdk import BaseOperator

from airflow_provider_linq._internal.arguments import GivenArguments, check_flag, flag_argument
from airflow_provider_linq._internal.fail_fast import fail_fast
from airflow_provider_linq._internal.not_after import NotAfter
from airflow_provider_linq._internal.rendering import SafeRendering, arguments_from_data, resolved
from airflow_provider_linq._internal.version_compat import HAS_STATE_STORES, conf
from airflow_provider_linq.campaigns._limits import RateLimits
from airflow_provider_linq.campaigns._model import CampaignResult, Deferral
from airflow_provider_linq.campaigns._run import run_or_resume, run_to_end
from airflow_provider_linq.campaigns.config import NO_LIMITS, RECOMMENDED, Campaign, DeliveryReport, OnInvalid
from airflow_provider_linq.hooks.linq import LinqHook
from airflow_provider_linq.links.linq import LinqCampaignLink, show_links
from linq_client import MessageLike

if TYPE_CHECKING:
    import jinja2
    from airflow.sdk import Context

__all__ = ["LinqSendCampaignOperator"]


class LinqSendCampaignOperator(SafeRendering, BaseOperator):
    """
    Send one message to each of many recipients, each exactly once, whatever dies on the way.

    All rows are checked before the first message is sent. Who was sent to is on record in the task state store, so a
    retry continues where the last try stopped; what waits for the send window, or for a limit, can wait without a
    worker.
    The task returns a :class:`~airflow_provider_linq.campaigns.CampaignResult`: how many were sent, skipped,
    failed or are unknown. ``docs/explanation/exactly-once.md`` has the argument for exactly once, and its limits.

    :param message: template over the row: text, a list of parts, or the JSON form of a message, as
        :class:`LinqSendMessageOperator` takes it. ``{{ row.first_name }}`` is a column of the row; beside it there are
        ``params``, ``values``, the dates of the run, and nothing else of Airflow's. A row that lacks what the template
        names is invalid. Who writes the template writes to people.
    :param values: plain data for the message, as ``values``: what comes from variables or other tasks (templated)
    :param files_under: folder, or list of them, local or of an object store, whose files a row may name as a ``path``
        in the message; by default none.
    :param rows: a list of rows, as mappings, or an XCom of it; no iterator, since rows are read again in each try and
        after each wait; excludes ``rows_path`` and ``sql`` (templated)
    :param rows_path: CSV, JSONL or Parquet file, local or in any store of ObjectStoragePath (templated)
    :param sql: query whose result are the rows, or the name of a ``.sql`` file (templated)
    :param sql_conn_id: connection to the database of ``sql`` (templated)
    :param parameters: of ``sql`` (templated)
    :param null_values: words that stand for a value that is missing, as the whole of a value, in rows of any source; by
        default the usual ones, such as "NULL", "None" and "nan", in CSV.
    :param suppression: handles of people who must not be written to, as a list, or an XCom of it; also rows with a
        column for the handle. With ``suppression_path`` and ``suppression_sql``, all of them together count. Read in
        each try, after each deferral and, file and query, every five minutes; a source that names nobody fails the
        task before anything is sent (templated)
    :param suppression_path: CSV, JSONL or Parquet file of such rows, as ``rows_path`` (templated)
    :param suppression_sql: query whose result are such rows, or the name of a ``.sql`` file (templated)
    :param suppression_conn_id: connection to the database of ``suppression_sql`` (templated)
    :param suppression_field: their column of the handle.
    :param to_field: column of the recipient: a handle; or several, as a list, for a group.
    :param groups: whether text with several handles, with commas or semicolons between them, is a group as well.
    :param from_: own line to send from; or a list of lines, over which new recipients are spread; or "any", and the
        platform chooses. By default the connection's line, or if it has none, the platform chooses. Unless it
        does, the message must hold no link, URL, reply and effect, since it may be the first of a chat (templated)
    :param campaign_key: what makes the campaign one and the same: nobody gets two messages of one key. By default
        made of DAG id, run id and task id; a mapped task has to give one, unless its instances are shards, and a shard
        in a task that is not mapped (templated)
    :param on_invalid: what to do if rows are invalid or duplicates: "fail" before anything is sent, or "skip" them.
    :param max_invalid: how many rows "skip" may skip as invalid, as a number, or as a share (a float below 1), before
        the task fails and sends nothing; by default all but one.
    :param line_limits: limits for each line; by default what the platform recommends: 7,000 messages and 50 new chats
        a day. Who is over a limit is sent to on the next day. ``RateLimits()`` is no limit.
    :param total_limits: limits for all lines together.
    :param send_window: when people may be written to, ``("09:00", "20:00")`` or ``"09:00-20:00"``; it may go over
        midnight.
    :param timezone: IANA name of the time zone of ``send_window`` (templated)
    :param timezone_field: column with the recipient's own, where it is filled in.
    :param not_after: until when messages may go: a moment, or a timedelta after the run was due (``run_after``). If it
        is over at the start, the task is skipped; who is left at that moment is skipped as late (templated)
    :param concurrency: requests under way at once.
    :param max_failures: how many recipients may end as failed or unknown, as a number, or as a share (a float below
        1), before the task fails. It is asked when all have been sent to; opt-outs don't count.
    :param outcomes_path: file that gets a row for each row of the input, with what became of it: JSONL, CSV or
        Parquet, local or in a store. In the folder ``<outcomes_path>.parts`` is kept what a retry on another machine
        continues with, so a campaign with retries wants a path that all workers see (templated)
    :param delivery_report: wait for the deliveries, and report on them; needs ``outcomes_path``.
    :param report_path: file that gets that report, with a row for each message sent; or, if it ends in ``.html``, the
        counts as a page that can be mailed (templated)
    :param resend_failed: whether a retry, or a cleared task, sends a message again, with another key, that was sent in
        an earlier try and has failed; needs ``outcomes_path``, and Airflow's task state store. The platform can report
        a failed message as delivered later still: then the recipient has two.
    :param dry_run: check everything, send nothing, and write what would be sent to ``outcomes_path`` (templated)
    :param shard: "2/4" sends to the second quarter of the recipients, by a hash of their handles; the task is mapped
        over ``["1/4", "2/4", "3/4", "4/4"]``, and its instances are one campaign. Each checks all rows, has its part of
        ``line_limits``, ``total_limits`` and a number in ``max_failures``, and ``concurrency`` of its own. Needs an
        ``outcomes_path`` that all workers see: each writes there what became of all, and the last one has everybody. If
        recipients are pending in a shard that no instance is left to take, it fails. Another try may divide the
        campaign in another way. By default one task sends to all.
    :param linq_conn_id: connection of type ``linq`` (templated)
    :param deferrable: wait in the triggerer, and not on the worker; by default Airflow's ``default_deferrable``.
    """

    template_fields: Sequence[str] = (
        "values",
        "rows",
        "rows_path",
        "sql",
        "sql_conn_id",
        "parameters",
        "suppression",
        "suppression_path",
        "suppression_sql",
        "suppression_conn_id",
        "from_",
        "campaign_key",
        "timezone",
        "not_after",
        "outcomes_path",
        "report_path",
        "is_dry_run",
        "linq_conn_id",
    )
    template_ext: Sequence[str] = (".sql",)
    author_only = ("files_under",)
    operator_extra_links = (LinqCampaignLink(),) if HAS_STATE_STORES else ()
    template_fields_renderers: ClassVar[dict[str, str]] = {"sql": "sql", "suppression_sql": "sql", "parameters": "json"}

    def __init__(
        self,
        *,
        message: MessageLike,
        values: Mapping[str, Any] | None = None,
        files_under: str | Sequence[str] | None = None,
        rows: Iterable[Mapping[str, Any]] | None = None,
        rows_path: str | None = None,
        sql: str | None = None,
        sql_conn_id: str | None = None,
        parameters: Mapping[str, Any] | Sequence[Any] | None = None,
        null_values: Collection[str] | None = None,
        suppression: Iterable[Any] | None = None,
        suppression_path: str | None = None,
        suppression_sql: str | None = None,
        suppression_conn_id: str | None = None,
        suppression_field: str = "handle",
        to_field: str = "to",
        groups: bool = False,
        from_: str | Sequence[str] | None = None,
        campaign_key: str | None = None,
        on_invalid: OnInvalid = "fail",
        line_limits: RateLimits = RECOMMENDED,
        total_limits: RateLimits = NO_LIMITS,
        send_window: tuple[str, str] | str | None = None,
        timezone: str = "UTC",
        timezone_field: str | None = None,
        not_after: NotAfter | None = None,
        concurrency: int = 8,
        max_failures: float = 0,
        max_invalid: float | None = None,
        outcomes_path: str | None = None,
        delivery_report: DeliveryReport | None = None,
        report_path: str | None = None,
        resend_failed: bool = False,
        dry_run: bool | str = False,
        shard: str | None = None,
        linq_conn_id: str = LinqHook.default_conn_name,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.message = message
        self.values = values
        self.files_under = files_under
        self.rows = rows
        self.rows_path = rows_path
        self.sql = sql
        self.sql_conn_id = sql_conn_id
        self.parameters = parameters
        self.null_values = null_values
        self.suppression = suppression
        self.suppression_path = suppression_path
        self.suppression_sql = suppression_sql
        self.suppression_conn_id = suppression_conn_id
        self.suppression_field = suppression_field
        self.to_field = to_field
        self.groups = groups
        self.from_ = from_
        self.campaign_key = campaign_key
        self.on_invalid = on_invalid
        self.line_limits = line_limits
        self.total_limits = total_limits
        self.send_window = send_window
        self.timezone = timezone
        self.timezone_field = timezone_field
        self.not_after = not_after
        self.concurrency = concurrency
        self.max_failures = max_failures
        self.max_invalid = max_invalid
        self.outcomes_path = outcomes_path
        self.delivery_report = delivery_report
        self.report_path = report_path
        self.resend_failed = resend_failed
        self.is_dry_run = dry_run  # `dry_run` is a method of every operator
        self.shard = shard
        self.linq_conn_id = linq_conn_id
        self.deferrable = deferrable
        check_flag("deferrable", deferrable)
        self._is_stopped = False
        self._given = GivenArguments(self, self.template_fields)
        self._campaign(is_dry_run=False).check_arguments()

    def _do_render_template_fields(
        self,
        parent: Any,
        template_fields: Iterable[str],
        context: Context,
        jinja_env: jinja2.Environment,
        seen_oids: set[int],
    ) -> None:
        """Render all but lists of rows and handles, which are data wherever they come from."""
        if parent is self:
            lists = [name for name in ("rows", "suppression") if isinstance(getattr(self, name), list | tuple)]
            for name in lists:
                setattr(self, name, resolved(getattr(self, name), context))
            template_fields = [name for name in template_fields if name not in lists]
        super()._do_render_template_fields(parent, template_fields, context, jinja_env, seen_oids)

    def _campaign(self, *, is_dry_run: bool) -> Campaign:
        own: dict[str, Any] = {"dry_run": is_dry_run, "message_is_data": "message" in arguments_from_data(self)}
        names = {field.name for field in fields(Campaign)} - own.keys()
        return Campaign(**{name: getattr(self, name) for name in names}, **own)

    def execute(self, context: Context) -> CampaignResult:
        return self._run(context, resumed=False)

    def execute_complete(self, context: Context, event: Any = None) -> CampaignResult:
        """Return from the triggerer, which only waited."""
        return self._run(context, resumed=True)

    def on_kill(self) -> None:
        """Begin no more requests: somebody has stopped the task, and the worker has seconds to live."""
        self._is_stopped = True

    def _run(self, context: Context, *, resumed: bool) -> CampaignResult:
        with fail_fast():
            self._given.check(self)
            campaign = self._campaign(is_dry_run=flag_argument(self.is_dry_run, "dry_run"))
        show_links(self, context)
        if not self.deferrable:
            return run_to_end(campaign, context, lambda: self._is_stopped, resumed=resumed)
        step = run_or_resume(campaign, context, resumed=resumed, is_stopped=lambda: self._is_stopped)
        if isinstance(step, Deferral):
            moment = datetime.now(timezone.utc) + timedelta(seconds=step.seconds)
            self.defer(trigger=DateTimeTrigger(moment=moment), method_name="execute_complete")
        return step
