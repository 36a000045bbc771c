"""What comes after the sending: the wait for deliveries, and the report on them."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, fields
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_linq._internal.arguments import as_timedelta
from airflow_provider_linq._internal.durable import StateStore
from airflow_provider_linq.campaigns.campaign import Campaign
from airflow_provider_linq.campaigns.follow_up import FollowUp, ReportCounts, ReportRow, look, report
from airflow_provider_linq.campaigns.model import CampaignResult, Outcome
from airflow_provider_linq.campaigns.outcomes import Journal, write_outcomes
from airflow_provider_linq.campaigns.progress import Header, Progress, shards_for
from airflow_provider_linq.campaigns.sending import Pause
from linq_client import LinqClient
from linq_client.times import format_datetime, parse_datetime

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)

#: Under this name it is on record how far the messages have come that need not be asked for again.
DELIVERY: Final = "linq_campaign_delivery"
_MARKS: Final = {"waiting": 0, "delivered": 1, "failed": 2, "gone": 3}

COLUMNS: Final = tuple(field.name for field in fields(ReportRow))


def follow(campaign: Campaign, context: Context, result: CampaignResult, client: LinqClient) -> CampaignResult | Pause:
    """
    Look once how far the messages have come; report when enough are delivered, or it has taken too long.

    Where Airflow has no store (3.2) nothing would be known after a pause, so there it waits here.

    :param result: of the sending.
    """
    assert campaign.follow_up is not None
    assert campaign.outcomes_path is not None
    store = StateStore(context)
    latest = {row.idempotency_key: row for row in Journal(campaign.outcomes_path, result["campaign_key"]).read()}
    sent = sorted((row for row in latest.values() if row.status == "sent"), key=lambda row: row.row)
    unseen = max(0, result["sent"] - len(sent))
    if unseen:
        log.warning("Of %d sent messages this machine does not see the details: they are beside outcomes_path", unseen)
    watch = _Watch(campaign.follow_up, sent, store, campaign.concurrency)
    while (wait := watch.look(client)) is not None:
        if store:
            return Pause(wait, f"{watch.delivered:,} of {len(sent):,} messages are delivered")
        time.sleep(wait)
    counts = ReportCounts()
    counts.add_unseen(unseen)
    rows = _counted(client, sent, counts, campaign.concurrency)
    if campaign.report_path:
        write_outcomes(campaign.report_path, rows, COLUMNS)
    else:
        for _ in rows:
            pass
    log.info("Report: %s", counts.as_dict())
    return {**result, "report": counts.as_dict()}


def _counted(
    client: LinqClient, sent: list[Outcome], counts: ReportCounts, concurrency: int
) -> Iterator[dict[str, Any]]:
    with closing(report(client, sent, concurrency=concurrency)) as rows:
        for row in rows:
            counts.add(row)
            yield asdict(row)


class _Watch:
    """Asks for messages until they are delivered, and remembers of which it need not ask again."""

    def __init__(self, settings: FollowUp, sent: list[Outcome], store: StateStore, concurrency: int) -> None:
        self._settings = settings
        self._sent = sent
        self._store = store
        self._concurrency = concurrency
        self._header = Header.load(store)
        self._deadline = self._header.deadline if self._header else None
        keys = [str(row.idempotency_key) for row in sent]
        self._progress = Progress(keys, shards_for(len(sent)), DELIVERY, lost=_MARKS["waiting"])
        self._progress.load(store)

    @property
    def delivered(self) -> int:
        return self._progress.counts()[_MARKS["delivered"]]

    def look(self, client: LinqClient) -> float | None:
        """Return the seconds until the next look, or None if the wait is over."""
        waiting = [row for row in self._sent if not self._progress[str(row.idempotency_key)]]
        with closing(look(client, waiting, concurrency=self._concurrency)) as found:
            for key, how_far in found:
                self._progress[key] = _MARKS[how_far]
        self._progress.save(self._store)
        now = client.server_time
        if self._deadline is None:
            self._deadline = format_datetime(now + as_timedelta(self._settings.timeout))
            if self._header is not None:
                self._header.deadline = self._deadline
                self._header.save(self._store)
        is_enough = self.delivered >= self._settings.delivered_share * len(self._sent)
        left = parse_datetime(self._deadline) - now
        if is_enough or left <= timedelta(0) or self._progress.counts()[_MARKS["waiting"]] == 0:
            return None
        return min(left, as_timedelta(self._settings.poll_interval)).total_seconds()
