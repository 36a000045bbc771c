"""What comes after the sending: the wait for deliveries, and the delivery report."""

from __future__ import annotations

import logging
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, fields
from datetime import datetime, timedelta, timezone
from typing import Any, Final

from airflow_provider_linq._internal import durable
from airflow_provider_linq._internal.arguments import as_timedelta
from airflow_provider_linq._internal.durable import StateStore
from airflow_provider_linq.campaigns._delivery import ReportCounts, ReportRow, poll, report
from airflow_provider_linq.campaigns._files import is_page, write_rows, write_text
from airflow_provider_linq.campaigns._header import Header
from airflow_provider_linq.campaigns._journal import Journal
from airflow_provider_linq.campaigns._model import CampaignResult, Deferral, Outcome
from airflow_provider_linq.campaigns._packed_states import PackedStates, shards_for
from airflow_provider_linq.campaigns._report_page import report_page
from airflow_provider_linq.campaigns.config import Campaign, DeliveryReport
from linq_client import LinqClient
from linq_client.times import format_datetime, parse_datetime

log = logging.getLogger(__name__)

_STATES: Final = {"waiting": 0, "delivered": 1, "failed": 2, "gone": 3}

COLUMNS: Final = tuple(field.name for field in fields(ReportRow))


def report_deliveries(
    campaign: Campaign,
    settings: DeliveryReport,
    store: StateStore,
    journal: Journal,
    result: CampaignResult,
    client: LinqClient,
) -> CampaignResult | Deferral:
    """
    Poll once how far the messages have come; report when enough are delivered, or it has taken too long.

    Where Airflow has no store (before 3.3) nothing would be known after a deferral, so there it waits here.

    :param result: of the sending.
    """
    latest = {
        entry.idempotency_key: entry
        for writer, entry in journal.read()
        if isinstance(entry, Outcome) and writer.task == journal.writer.task and journal.shard.has(entry.to)
    }
    sent = sorted((row for row in latest.values() if row.status == "sent"), key=lambda row: row.row)
    unseen = max(0, result["sent"] - len(sent))
    if unseen:
        log.warning("Of %d sent messages this machine does not see the details: they are beside outcomes_path", unseen)
    watch = _Watch(settings, sent, store, campaign.concurrency)
    while (wait := watch.poll(client)) is not None:
        if store:
            return Deferral(wait, f"{watch.delivered:,} of {len(sent):,} messages are delivered")
        time.sleep(wait)
    counts = ReportCounts()
    counts.add_unseen(unseen)
    lines: defaultdict[str, ReportCounts] = defaultdict(ReportCounts)
    rows = _counted(client, sent, counts, lines, campaign.concurrency)
    if campaign.report_path and not is_page(campaign.report_path):
        write_rows(campaign.report_path, rows, COLUMNS)
    else:
        for _ in rows:
            pass
    found = counts.as_dict()
    if campaign.report_path and is_page(campaign.report_path):
        refusals = Counter(row.code for row in latest.values() if row.status == "failed" and row.code is not None)
        of_lines = {line: each.as_dict() for line, each in lines.items()}
        made_at = client.server_time or datetime.now(timezone.utc)
        write_text(campaign.report_path, report_page(result, found, of_lines, refusals, made_at))
    log.info("Report: %s", _in_words(found, campaign.report_path))
    return {**result, "report": found}


def _in_words(counts: dict[str, int], path: str | None) -> str:
    sent, others = counts["sent"], {name: number for name, number in counts.items() if name != "sent" and number}
    words = ", ".join(f"{number:,} {name.replace('_', ' ')}" for name, number in others.items())
    where = "" if not path else f"; the page is {path}" if is_page(path) else f"; each is in {path}"
    return f"of {sent:,} messages {words or 'nothing is known yet'}{where}"


def _counted(
    client: LinqClient,
    sent: list[Outcome],
    counts: ReportCounts,
    lines: Mapping[str, ReportCounts],
    concurrency: int,
) -> Iterator[dict[str, Any]]:
    with closing(report(client, sent, concurrency=concurrency)) as rows:
        for row in rows:
            counts.add(row)
            lines[row.line or ""].add(row)
            yield asdict(row)


class _Watch:
    """Asks for messages until they are delivered, and remembers of which it need not ask again."""

    def __init__(self, settings: DeliveryReport, sent: list[Outcome], store: StateStore, concurrency: int) -> None:
        self._settings = settings
        self._sent = sent
        self._store = store
        self._concurrency = concurrency
        self._header = Header.load(store)
        self._deadline = self._header.deadline if self._header else None
        keys = [str(row.idempotency_key) for row in sent]
        self._states = PackedStates(keys, shards_for(len(sent)), durable.CAMPAIGN_DELIVERY, lost=_STATES["waiting"])
        self._states.load(store)

    @property
    def delivered(self) -> int:
        return self._states.counts()[_STATES["delivered"]]

    def poll(self, client: LinqClient) -> float | None:
        """Return the seconds until the next poll, or None if the wait is over."""
        # What is known of a message that was sent again may be about the one that had failed.
        waiting = [
            row
            for row in self._sent
            if (state := self._states[str(row.idempotency_key)]) == _STATES["waiting"]
            or (row.replaces is not None and state != _STATES["delivered"])
        ]
        with closing(poll(client, waiting, concurrency=self._concurrency)) as found:
            for row, how_far in found:
                self._states[str(row.idempotency_key)] = _STATES[how_far]
        self._states.save(self._store)
        now = client.server_time
        if self._deadline is None:
            self._deadline = format_datetime(now + as_timedelta(self._settings.timeout, "timeout"))
            if self._header is not None:
                self._header.deadline = self._deadline
                self._header.save(self._store)
        is_enough = self.delivered >= self._settings.delivered_share * len(self._sent)
        left = parse_datetime(self._deadline) - now
        if is_enough or left <= timedelta(0) or self._states.counts()[_STATES["waiting"]] == 0:
            return None
        return min(left, as_timedelta(self._settings.poll_interval, "poll_interval")).total_seconds()
