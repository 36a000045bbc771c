"""The sending part of a run: from prepared rows and the checkpoint to a result, a deferral, or a failure."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from itertools import chain
from tempfile import TemporaryFile
from typing import TYPE_CHECKING

from airflow_provider_linq._internal.durable import StateStore
from airflow_provider_linq._internal.in_doubt import ChatLookup
from airflow_provider_linq._internal.not_after import latest_moment, why_late
from airflow_provider_linq._internal.run_start import earliest_request
from airflow_provider_linq._internal.version_compat import (
    AirflowException,
    AirflowFailException,
    AirflowSkipException,
    conf,
)
from airflow_provider_linq.campaigns._checkpoint import Checkpoint
from airflow_provider_linq.campaigns._dispatcher import Dispatcher
from airflow_provider_linq.campaigns._files import write_rows
from airflow_provider_linq.campaigns._header import Header
from airflow_provider_linq.campaigns._journal import COLUMNS, Journal, Latest, as_row
from airflow_provider_linq.campaigns._limits import Limits, Quota, SendWindow
from airflow_provider_linq.campaigns._model import CampaignResult, Deferral, Outcome
from airflow_provider_linq.campaigns._outcomes import late, noting_left, outcomes_in_journal
from airflow_provider_linq.campaigns._prepare import Prepared
from airflow_provider_linq.campaigns._progress import Progress
from airflow_provider_linq.campaigns._resend import jobs_to_resend
from airflow_provider_linq.campaigns._resume import open_checkpoint
from airflow_provider_linq.campaigns._sender import Sender
from airflow_provider_linq.campaigns._state import RecipientState
from airflow_provider_linq.campaigns._summary import count_rows, in_words
from airflow_provider_linq.campaigns._suppression import SuppressionReader
from airflow_provider_linq.campaigns._takers import Takers
from airflow_provider_linq.campaigns.config import share_of
from linq_client import LinqClient
from linq_client.times import ServerClock

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_linq.hooks.linq import LinqHook

log = logging.getLogger(__name__)


class Sending:
    """
    Sends to all who were not sent to yet.

    :param reader: client for reads and uploads.
    :param clock: the API's.
    :param resumed: this try was deferred before.
    """

    def __init__(
        self,
        prepared: Prepared,
        context: Context,
        store: StateStore,
        journal: Journal | None,
        hook: LinqHook,
        reader: LinqClient,
        clock: ServerClock,
        *,
        resumed: bool,
    ) -> None:
        self._prepared = prepared
        self._context = context
        self._store = store
        self._journal = journal
        self._hook = hook
        self._reader = reader
        self._clock = clock
        self._resumed = resumed
        self._not_after = latest_moment(prepared.campaign.not_after, context)
        self._progress: Progress | None = None
        self._last_error: BaseException | None = None

    def run(self, header: Header | None, is_stopped: Callable[[], bool]) -> CampaignResult | Deferral:
        """
        Send until it is done, or all that is left has to wait.

        :param header: of an earlier try, or None.
        :raises AirflowException: some recipients are not settled, and another try may settle them.
        :raises AirflowFailException: more recipients failed than may.
        :raises AirflowSkipException: it is too late, and nothing was ever sent.
        """
        campaign, ti = self._prepared.campaign, self._context["ti"]
        earlier = header.recipients if header is not None and header.campaign_key == self._prepared.key else 0
        rows = self._prepared.rows.of_all_shards
        if earlier and not rows.recipients and not rows.suppressed:
            raise AirflowException(f"rows: there are none in this try, and were {earlier:,} in an earlier one")
        checkpoint = open_checkpoint(
            self._store,
            header,
            self._prepared.key,
            ti,
            self._prepared.rows,
            self._journal,
            now=self._clock.now(),
            unrecorded_since=self._unrecorded_since() if self._resumed or ti.try_number > 1 else None,
        )
        try:
            with self._hook.new_client(max_retries=0, pool_size=campaign.concurrency) as client:
                deferral = self._send(checkpoint, client, is_stopped)
            if deferral is not None:
                log.info("Campaign: %s", self._progress_in_words)
                self._write_outcomes(checkpoint)
            if self._progress is not None:
                self._progress.record("ended" if deferral is None else "waiting", deferral)
        except BaseException:
            try:
                log.info("Campaign: %s", self._progress_in_words)
                self._write_outcomes(checkpoint)
                if self._progress is not None:
                    self._progress.record("ended")
            except Exception as error:  # it must not hide what ended the campaign
                log.warning("The outcomes could not be written: %s", type(error).__name__)
            raise
        return self._finish(checkpoint) if deferral is None else deferral

    def _send(self, checkpoint: Checkpoint, client: LinqClient, is_stopped: Callable[[], bool]) -> Deferral | None:
        campaign, lines, rows = self._prepared.campaign, self._prepared.lines, self._prepared.rows
        retention = self._hook.settings.retention_window
        known = {recipient.to for recipient in rows.of_all_shards.recipients}
        replaced: set[str | None] = set()  # failed messages, which are no sign of those that take their places
        sender = Sender(
            client,
            self._reader,
            ChatLookup(
                self._reader,
                lambda: lines.own,
                retention,
                self._clock.now,
                passes_over=lambda sent: sent.id in replaced,
            ),
            self._prepared.render,
            self._clock,
            files=campaign.files,
            not_after=self._not_after,
            is_known=known.__contains__,
        )
        self._progress = Progress(checkpoint, rows, self._clock, self._store, campaign, lines)
        window = SendWindow.of(campaign.send_window) if campaign.send_window else None
        quota = Quota(campaign.line_limits, campaign.total_limits, checkpoint.header.days)
        dispatcher = Dispatcher(
            sender,
            lines,
            Limits(quota, window),
            checkpoint,
            suppression=SuppressionReader.of(campaign),
            on_tick=partial(_tick, self._progress, is_stopped),
            not_after=self._not_after,
            is_ephemeral=retention is not None,
            concurrency=campaign.concurrency,
        )
        in_doubt = checkpoint.jobs_in_doubt((*rows.recipients, *rows.unsendable), lines)
        if campaign.resend_failed and self._journal is not None and not self._is_late:
            in_doubt += jobs_to_resend(
                rows.recipients, checkpoint, self._journal, lines, self._reader, self._clock.now(), campaign.concurrency
            )
            for job in in_doubt:
                if job.replaces is not None:
                    replaced.update((job.replaces.message_id, *job.failed_before))
                    self._progress.sent_before -= 1
        checkpoint.save(self._clock.now())
        first = next(checkpoint.pending(rows.recipients), None)
        if first is None and not in_doubt:
            return None
        self._progress.begin(self._prepared.key, self._settings_in_words())
        checkpoint.header.deadline = None  # what is sent now has its time to be delivered
        lines.check_usable()
        if first is not None and not self._is_late:
            sender.upload_files_of(first)
        deferral = dispatcher.run(in_doubt, checkpoint.pending(rows.recipients))
        self._last_error = dispatcher.last_error
        return deferral

    def _finish(self, checkpoint: Checkpoint) -> CampaignResult:
        """Decide the task's fate, now that all that can be sent is sent."""
        campaign, rows, ti = self._prepared.campaign, self._prepared.rows, self._context["ti"]
        takers = None
        if self._journal is not None and not campaign.part.is_whole:
            has_key = campaign.campaign_key is not None
            takers = Takers.look(self._journal.owner, campaign.part, self._context, self._clock.now(), has_key=has_key)
        left = self._write_outcomes(checkpoint)
        states = checkpoint.counts(rows)
        result = count_rows(
            self._prepared.key, campaign.outcomes_path, states, checkpoint.excluded(rows), is_late=self._is_late
        )
        sent_before = 0 if self._progress is None else self._progress.sent_before
        where = f". What became of each is in {campaign.outcomes_path}" if campaign.outcomes_path else ""
        log.info("Campaign: %s%s", in_words(result, sent_before=sent_before), where)
        too_late = why_late(self._not_after, self._clock.now())
        if too_late and states[RecipientState.PENDING] == states.total():
            raise AirflowSkipException(f"{too_late}. Nothing was sent")
        error = f". The last error: {self._last_error}" if self._last_error else ""
        unsettled = len(checkpoint.open_jobs) + result["pending"]
        if unsettled and ti.try_number <= ti.max_tries:  # in the last try they count as unknown
            raise AirflowException(f"{unsettled:,} recipients are not settled, the next try continues with them{error}")
        failures = result["failed"] + states[RecipientState.UNKNOWN] + unsettled
        if failures > share_of(campaign.max_failures, len(rows.recipients)):
            raise AirflowFailException(
                f"{failures:,} of {len(rows.recipients):,} recipients failed or are not settled, and max_failures is "
                f"{campaign.max_failures:g}{'' if campaign.part.is_whole else f' for shard {campaign.part}'}{error}"
            )
        if takers is not None:
            takers.check(left)
        if campaign.delivery_report is not None:
            checkpoint.header.result = result
            checkpoint.save(self._clock.now())
        return result

    def _write_outcomes(self, checkpoint: Checkpoint) -> Counter[int]:
        """
        Write what became of each; return how many are left, pending or in doubt, by shard if there are several.

        :raises LostOwnershipError: another try or task has taken over: it writes them.
        """
        path, rows, journal = self._prepared.campaign.outcomes_path, self._prepared.rows, self._journal
        if not path or journal is None:
            return Counter()
        journal.owner.complete(self._clock.now())
        # Who still adds to the journal writes the outcomes of all after that. But what another shard or the next owner
        # has added and written meanwhile may be missing in what this one wrote over it.
        parts = journal.parts
        left = self._write_rows(path, checkpoint.outcomes(rows))
        while journal.parts != parts and not journal.owner.is_anybody_sending(self._clock.now()):
            parts = journal.parts
            with TemporaryFile() as file:
                details = Latest(file, (entry for _, entry in journal.read()))
                left = self._write_rows(path, chain(outcomes_in_journal(rows.of_all_shards, details), details.rest()))
        return left

    def _write_rows(self, path: str, found: Iterator[Outcome]) -> Counter[int]:
        left: Counter[int] = Counter()
        part = self._prepared.campaign.part
        rows = map(late, found) if self._is_late else found
        write_rows(path, map(as_row, rows if part.is_whole else noting_left(rows, part.of, left)), COLUMNS)
        return left

    @property
    def _is_late(self) -> bool:
        return why_late(self._not_after, self._clock.now()) is not None

    @property
    def _progress_in_words(self) -> str:
        return "nothing was requested" if self._progress is None else self._progress.in_words()

    def _settings_in_words(self) -> str:
        """Say what the campaign keeps to."""
        campaign, pool = self._prepared.campaign, self._prepared.lines.pool
        words = [] if campaign.part.is_whole else [f"shard {campaign.part}"]
        words += [
            f"from {len(pool):,} line{'s' * (len(pool) != 1)}" if pool else "from lines that the platform chooses"
        ]
        words += [f"each line {limits}" for limits in [campaign.line_limits.in_words()] if limits]
        words += [f"in all {limits}" for limits in [campaign.total_limits.in_words()] if limits]
        if campaign.send_window is not None:
            window = SendWindow.of(campaign.send_window)
            zone = f" or the recipient's {campaign.timezone_field}" if campaign.timezone_field else ""
            words.append(f"between {window.opens:%H:%M} and {window.closes:%H:%M} {campaign.timezone}{zone}")
        if self._not_after is not None:
            words.append(f"not after {self._not_after:%Y-%m-%d %H:%M:%S} UTC")
        return ", ".join(words)

    def _unrecorded_since(self) -> datetime | None:
        """Since when there may have been requests of which there is no record; None if there is of all."""
        is_emptied = conf.getboolean("state_store", "clear_on_success", fallback=False)
        if self._store and not is_emptied:
            return None
        return earliest_request(self._context, self._clock.now())


def _tick(progress: Progress, is_stopped: Callable[[], bool], under_way: int) -> None:
    if is_stopped():
        raise AirflowException(
            "The task was stopped: no more requests are begun. To go on with those who are left, clear the task"
        )
    progress.tick(under_way)
