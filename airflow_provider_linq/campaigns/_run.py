"""A run of a campaign: from the rows to the result, or to the moment when what is left has to wait."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, cast

from airflow.sdk import get_current_context

from airflow_provider_linq._internal.durable import StateStore
from airflow_provider_linq._internal.fail_fast import fail_fast
from airflow_provider_linq._internal.not_after import latest_moment, why_late
from airflow_provider_linq._internal.version_compat import AirflowFailException, AirflowSkipException
from airflow_provider_linq.campaigns._header import Header, key_in_force, note_end
from airflow_provider_linq.campaigns._journal import Journal, Writer
from airflow_provider_linq.campaigns._model import CampaignResult, Deferral
from airflow_provider_linq.campaigns._owner import LostOwnershipError
from airflow_provider_linq.campaigns._prepare import check_identity, dry_run, prepare, reject_invalid
from airflow_provider_linq.campaigns._report import report_deliveries
from airflow_provider_linq.campaigns._sending import Sending
from airflow_provider_linq.campaigns.config import Campaign
from airflow_provider_linq.hooks.linq import LinqHook
from linq_client.times import ServerClock

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)

#: In the context of a task that has started its campaign.
_STARTED: Final = "linq_campaign"
#: Seconds until the next look whether another task has finished the campaign.
OWNED_WAIT: Final = 30.0


def send_campaign(campaign: Campaign) -> CampaignResult:
    """
    Send a campaign from within a task, as :class:`LinqSendCampaignOperator` does.

    A function can't be deferred: while the send window is closed, and until the delivery report, it keeps its worker.

    :raises AirflowFailException: a row or an argument is invalid, or more recipients failed than may.
    :raises AirflowException: some recipients are not settled, and another try may settle them.
    :raises AirflowSkipException: `not_after` is over, and nothing was ever sent.
    """
    context = get_current_context()
    # The checkpoint is the task's: recipients of a second campaign would be taken for those of the first (I11).
    if _STARTED in context:
        raise AirflowFailException("A task sends one campaign: make another task for the other one")
    cast(dict[str, Any], context)[_STARTED] = True
    if campaign.rows is not None:
        campaign = replace(campaign, rows=list(campaign.rows))  # they are read again after each wait
    campaign.check_arguments()
    return run_to_end(campaign, context)


def run_to_end(
    campaign: Campaign, context: Context, is_stopped: Callable[[], bool] = lambda: False, *, resumed: bool = False
) -> CampaignResult:
    """Run a campaign, and wait here for whatever it has to wait for; arguments and errors as of `run_or_resume`."""
    while True:
        step = run_or_resume(campaign, context, resumed=resumed, is_stopped=is_stopped)
        if not isinstance(step, Deferral):
            return step
        time.sleep(step.seconds)
        resumed = True


def run_or_resume(
    campaign: Campaign, context: Context, *, resumed: bool, is_stopped: Callable[[], bool] = lambda: False
) -> CampaignResult | Deferral:
    """
    Send to all who were not sent to yet, and report, until it is done or all that is left has to wait.

    :param resumed: this try was deferred before.
    :param is_stopped: whether somebody stops the task.
    :raises AirflowFailException: as `send_campaign`, and AirflowException.
    """
    store = StateStore(context)
    try:
        with fail_fast():
            step = _step(campaign, context, store, resumed=resumed, is_stopped=is_stopped)
            while isinstance(step, Deferral) and step.seconds == 0:  # all that is read has to be read again
                log.info("%s. The campaign is prepared again", step.why)
                step = _step(campaign, context, store, resumed=True, is_stopped=is_stopped)
    except LostOwnershipError:  # what the record says now is the new owner's
        raise
    except Exception:  # what is no Exception is a signal: the task is stopped, or cleared while it runs
        if not is_stopped():
            note_end(store, is_failure=True)
        raise
    if isinstance(step, Deferral):
        log.info("%s", step)
    else:
        note_end(store)
    return step


def _step(
    campaign: Campaign, context: Context, store: StateStore, *, resumed: bool, is_stopped: Callable[[], bool]
) -> CampaignResult | Deferral:
    campaign.check_rendered()
    campaign = campaign.of_shard()
    check_identity(campaign, context, has_store=bool(store))
    hook = LinqHook(campaign.linq_conn_id)
    header = Header.load(store)
    with hook.new_client(pool_size=campaign.concurrency) as reader:
        if resumed and header is not None and header.result is not None and header.shard == campaign.part.name:
            return _report(campaign, context, store, header.result, reader)
        clock = ServerClock(reader.server_time)
        is_first = header is None and context["ti"].try_number == 1 and not resumed
        key = key_in_force(header, campaign.campaign_key, context["ti"], is_shard=campaign.shard is not None)
        journal = _journal(campaign, context, key)
        if journal is not None and not campaign.dry_run and journal.owner.is_other_task(clock.now()):
            return _wait_for_owner(header, store)
        too_late = why_late(latest_moment(campaign.not_after, context), clock.now())
        if too_late and is_first and not campaign.dry_run and (journal is None or journal.is_empty):
            raise AirflowSkipException(f"{too_late}. Nothing was sent")
        prepared = prepare(campaign, context, key, hook.settings.default_line, reader)
        if campaign.dry_run:
            return dry_run(prepared)
        reject_invalid(prepared, journal, is_first=is_first)
        if journal is not None and not journal.owner.take(clock.now()):
            return _wait_for_owner(header, store)
        try:
            sending = Sending(prepared, context, store, journal, hook, reader, clock, resumed=resumed)
            step = sending.run(header, is_stopped)
        finally:
            if journal is not None:
                journal.owner.give_up(clock.now())
        return step if isinstance(step, Deferral) else _report(campaign, context, store, step, reader)


def _wait_for_owner(header: Header | None, store: StateStore) -> Deferral:
    if header is not None and header.result is not None:  # of an earlier try: the deferral must not resume its report
        header.result = None
        header.save(store)
    return Deferral(OWNED_WAIT, "Another task sends this campaign")


def _report(
    campaign: Campaign, context: Context, store: StateStore, result: CampaignResult, reader: Any
) -> CampaignResult | Deferral:
    if campaign.delivery_report is None:
        return result
    journal = _journal(campaign, context, result["campaign_key"])
    assert journal is not None
    return report_deliveries(campaign, campaign.delivery_report, store, journal, result, reader)


def _journal(campaign: Campaign, context: Context, key: str) -> Journal | None:
    path = campaign.outcomes_path
    return Journal(path, key, Writer.of(context["ti"]), campaign.part) if path else None
