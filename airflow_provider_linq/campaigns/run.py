"""One stretch of a campaign: from the rows to the result, or to the moment when what is left has to wait."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, cast

from airflow.sdk import conf, get_current_context
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from airflow_provider_linq._internal.durable import StateStore
from airflow_provider_linq._internal.fail_fast import fail_fast
from airflow_provider_linq.campaigns.after import follow
from airflow_provider_linq.campaigns.book import Book, counted, key_in_force, open_book
from airflow_provider_linq.campaigns.campaign import Campaign
from airflow_provider_linq.campaigns.courier import Courier
from airflow_provider_linq.campaigns.lines import Lines
from airflow_provider_linq.campaigns.model import CampaignResult
from airflow_provider_linq.campaigns.outcomes import COLUMNS, Journal, as_row, write_outcomes
from airflow_provider_linq.campaigns.pace import Meter, SendWindow, ServerClock
from airflow_provider_linq.campaigns.progress import PENDING, UNKNOWN, Header
from airflow_provider_linq.campaigns.recipients import Checked, Render, check_rows, compiled, environment, report
from airflow_provider_linq.campaigns.rows import rows_from
from airflow_provider_linq.campaigns.sending import NoLineError, Pause, Sender
from airflow_provider_linq.hooks.linq import LinqHook
from linq_client import InvalidRequestError, LinqClient, LinqError

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)

#: The clocks of Airflow and the API may differ by so much.
CLOCKS: Final = timedelta(minutes=5)
#: In the context of a task that has started its campaign.
_STARTED: Final = "linq_campaign"
#: Seconds between two lines in the log.
LOG_EVERY: Final = 5.0


def send_campaign(campaign: Campaign) -> CampaignResult:
    """
    Send a campaign from within a task, as :class:`LinqSendCampaignOperator` does.

    A function can't be deferred: while the send window is closed, and until the follow-up, it keeps its worker.

    :raises AirflowFailException: a row or an argument is invalid, or more recipients failed than may.
    :raises AirflowException: some recipients are not settled, and another try may settle them.
    """
    context = get_current_context()
    # The record is the task's: a second campaign would be taken for the first one, and its recipients for sent to.
    if _STARTED in context:
        raise AirflowFailException("A task sends one campaign: make another task for the other one")
    cast(dict[str, Any], context)[_STARTED] = True
    campaign.check_arguments()
    if campaign.rows is not None:
        campaign = replace(campaign, rows=list(campaign.rows))  # they are read anew after each wait
    step = go_on(campaign, context, resumed=False)
    while isinstance(step, Pause):
        log.info("%s: waiting %.0f seconds", step.why, step.seconds)
        time.sleep(step.seconds)
        step = go_on(campaign, context, resumed=True)
    return step


def go_on(
    campaign: Campaign, context: Context, *, resumed: bool, is_stopped: Callable[[], bool] = lambda: False
) -> CampaignResult | Pause:
    """
    Send to all who were not sent to yet, and follow up, until it is done or all that is left has to wait.

    :param resumed: this try has paused before.
    :param is_stopped: whether the task is to end at once.
    :raises AirflowFailException: as `send_campaign`, and AirflowException.
    """
    header = Header.load(StateStore(context))
    with fail_fast():
        campaign.check_rendered()
        hook = LinqHook(campaign.linq_conn_id)
        with hook.new_client(pool_size=campaign.concurrency) as reader:
            if header is None or header.result is None or header.max_tries != context["ti"].max_tries:
                step = _Stretch(campaign, context, hook, reader, header, is_stopped).run(resumed=resumed)
                if isinstance(step, Pause):
                    return step
                result = step
            else:  # all were sent to in an earlier stretch, which the follow-up is about
                result = header.result
            return follow(campaign, context, result, reader) if campaign.follow_up and not campaign.dry_run else result


class _Stretch:
    """The sending part: rows are read and checked anew in each stretch, and who is settled is passed over."""

    def __init__(
        self,
        campaign: Campaign,
        context: Context,
        hook: LinqHook,
        reader: LinqClient,
        header: Header | None,
        is_stopped: Callable[[], bool],
    ) -> None:
        self._campaign = campaign
        self._context = context
        self._hook = hook
        self._reader = reader
        self._header = header
        self._is_stopped = is_stopped
        self._trouble: LinqError | None = None
        self._render: Render = compiled(campaign.message, environment(context.get("dag")), context)

    def run(self, *, resumed: bool) -> CampaignResult | Pause:
        campaign, ti = self._campaign, self._context["ti"]
        self._key = key_in_force(self._header, campaign.campaign_key, ti)
        pool = campaign.pool(self._hook.settings.default_line)
        if not pool and campaign.line_pace.messages_per_minute is not None:
            raise InvalidRequestError(
                "line_pace: messages_per_minute needs lines, and the platform chooses them: give total_pace, got "
                f"{campaign.line_pace.messages_per_minute:g}"
            )
        lines = Lines(self._reader, pool)
        checked = self._checked(is_from_line=bool(lines.pool))
        if campaign.dry_run:
            return self._dry_run(checked, lines)
        self._refuse_invalid(checked)
        book = open_book(
            StateStore(self._context),
            self._header,
            self._key,
            ti,
            checked.recipients,
            Journal(campaign.outcomes_path, self._key) if campaign.outcomes_path else None,
            now=self._reader.server_time,
            unrecorded_since=self._unrecorded_since() if resumed or ti.try_number > 1 else None,
        )
        try:
            with self._hook.new_client(max_retries=0, pool_size=campaign.concurrency) as client:
                pause = self._send(book, checked, lines, client)
        except BaseException:
            try:
                self._write(book, checked)
            except Exception as error:  # it must not hide what ended the campaign
                log.warning("The outcomes could not be written: %s", type(error).__name__)
            raise
        if pause is not None:
            return pause
        return self._finish(book, checked)

    def _checked(self, *, is_from_line: bool) -> Checked:
        campaign = self._campaign
        rows = rows_from(
            campaign.rows,
            campaign.rows_path,
            campaign.sql,
            sql_conn_id=campaign.sql_conn_id,
            parameters=campaign.parameters,
        )
        return check_rows(
            rows,
            self._render,
            campaign_key=self._key,
            to_field=campaign.to_field,
            timezone=campaign.timezone,
            timezone_field=campaign.timezone_field,
            first_in_chat=is_from_line,
        )

    def _refuse_invalid(self, checked: Checked) -> None:
        if not checked.left_out:
            return
        text = report(checked.left_out, len(checked.left_out) + len(checked.recipients))
        if self._campaign.on_invalid == "fail":
            is_first = self._header is None and self._context["ti"].try_number == 1
            if self._campaign.outcomes_path and is_first:  # else it has more than these rows
                write_outcomes(self._campaign.outcomes_path, map(as_row, checked.left_out), COLUMNS)
            raise AirflowFailException(f"Nothing was sent in this try. {text}")
        log.warning("%s", text)

    def _send(self, book: Book, checked: Checked, lines: Lines, client: LinqClient) -> Pause | None:
        campaign = self._campaign
        errands_of = checked.recipients
        ceilings = (campaign.line_pace, campaign.total_pace)
        if len(lines.pool) > 1 or any(pace.new_chats_per_day is not None for pace in ceilings):
            lines.find_chats({recipient.to for recipient in errands_of})
        retention = self._hook.settings.retention_window
        courier = Courier(client, self._reader, lines, self._render, retention)
        sender = Sender(
            courier,
            lines,
            Meter(*ceilings, book.header.days),
            SendWindow.parse(*campaign.send_window) if campaign.send_window else None,
            ServerClock(self._reader.server_time),
            server_time=lambda: client.server_time,
            save=book.save,
            report=_ProgressLog(book, checked),
            is_stopped=self._is_stopped,
            is_ephemeral=retention is not None,
            concurrency=campaign.concurrency,
        )
        errands = sorted(book.errands(errands_of, lines), key=lambda errand: errand.in_doubt_since is None)
        book.write()
        if not errands:
            return None
        if not lines.usable:
            raise NoLineError(lines.left_out)
        if errands[0].in_doubt_since is None:
            courier.upload_files_of(errands[0].recipient)
        for errand in errands:
            sender.add(errand)
        del errands  # the sender lets go of each who is settled
        pause = sender.run()
        self._trouble = sender.trouble
        return pause

    def _write(self, book: Book, checked: Checked) -> None:
        if self._campaign.outcomes_path:
            write_outcomes(self._campaign.outcomes_path, map(as_row, book.outcomes(checked)), COLUMNS)

    def _finish(self, book: Book, checked: Checked) -> CampaignResult:
        """Decide the task's fate, now that all that can be sent is sent."""
        self._write(book, checked)
        result = self._counts(book, checked)
        log.info("Campaign: %s", _in_words(result))
        ti = self._context["ti"]
        if book.unsettled and ti.try_number <= ti.max_tries:  # in the last try they count as unknown
            raise AirflowException(
                f"{book.unsettled:,} recipients are not settled, the next try goes on with them. The last error: "
                f"{self._trouble}"
            )
        failures = result["failed"] + result["unknown"] + result["pending"]
        if failures > self._campaign.failures_allowed(len(checked.recipients)):
            raise AirflowFailException(
                f"{failures:,} of {len(checked.recipients):,} recipients failed or are not settled, and "
                f"max_failures is "
                f"{self._campaign.max_failures:g}" + (f". The last error: {self._trouble}" if self._trouble else "")
            )
        if self._campaign.follow_up is not None:
            book.header.result, book.header.deadline = result, None
            book.write()
        return result

    def _counts(self, book: Book, checked: Checked) -> CampaignResult:
        return counted(self._key, self._campaign.outcomes_path, book.tally(), checked)

    def _dry_run(self, checked: Checked, lines: Lines) -> CampaignResult:
        """Write what would be sent."""
        if len(lines.pool) > 1:
            lines.find_chats({recipient.to for recipient in checked.recipients})

        def rows() -> Iterator[dict[str, Any]]:
            for recipient in checked.recipients:
                yield {
                    "row": recipient.number,
                    "to": recipient.to,
                    "status": "pending",
                    "idempotency_key": recipient.key,
                    "line": lines.choose(recipient.to, recipient.key),
                    "message": self._render(recipient.row),
                }
            yield from map(as_row, checked.left_out)

        columns = ("row", "to", "status", "reason", "detail", "idempotency_key", "line", "message")
        write_outcomes(str(self._campaign.outcomes_path), rows(), columns)
        log.info("Dry run: %d would be sent to", len(checked.recipients))
        return counted(self._key, self._campaign.outcomes_path, Counter({PENDING: len(checked.recipients)}), checked)

    def _unrecorded_since(self) -> datetime | None:
        """Since when there may have been requests of which there is no record; None if there is of all."""
        is_emptied = conf.getboolean("state_store", "clear_on_success", fallback=False)
        if StateStore(self._context) and not is_emptied:
            return None
        run = self._context["dag_run"]
        # A clear sets the start anew. When the run was due stays; for a backfill that can be long ago, so only then.
        start = run.run_after if run.clear_number else run.start_date or run.run_after
        return start - CLOCKS


class _ProgressLog:
    """A line in the log every few seconds."""

    def __init__(self, book: Book, checked: Checked) -> None:
        self._book = book
        self._checked = checked
        self._started = self._logged = time.monotonic()
        self._before = book.settled

    def __call__(self) -> None:
        now = time.monotonic()
        if now - self._logged < LOG_EVERY:
            return
        self._logged = now
        settled, total = self._book.settled, len(self._checked.recipients)
        rate = (settled - self._before) / (now - self._started)
        left = f", about {(total - settled) / rate:.0f} s left" if rate else ""
        tally = self._book.tally()
        under_way = sum(tally.pop(mark) for mark in list(tally) if mark > UNKNOWN)
        words = _in_words(counted("", None, tally, self._checked))
        log.info("Campaign: %d of %d, %.1f a second%s; %s, %d under way", settled, total, rate, left, words, under_way)


def _in_words(counts: CampaignResult) -> str:
    skipped = ", ".join(f"{number:,} {reason}" for reason, number in counts["skipped"].items() if number)
    return (
        f"{counts['sent']:,} sent, {sum(counts['skipped'].values()):,} skipped{f' ({skipped})' if skipped else ''}, "
        f"{counts['failed']:,} failed, {counts['unknown']:,} unknown, {counts['pending']:,} pending"
    )
