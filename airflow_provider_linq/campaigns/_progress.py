"""How far a campaign is while it runs: for people, in the log and in the task state store. No retry reads either."""

from __future__ import annotations

import logging
import time
from datetime import datetime, timedelta, timezone
from typing import Any, Final

from airflow_provider_linq._internal import durable
from airflow_provider_linq._internal.durable import StateStore
from airflow_provider_linq.campaigns._checkpoint import Checkpoint
from airflow_provider_linq.campaigns._lines import LineHealth, Lines
from airflow_provider_linq.campaigns._model import CampaignResult, Deferral
from airflow_provider_linq.campaigns._state import OPEN, RecipientState
from airflow_provider_linq.campaigns._summary import count_rows, in_words
from airflow_provider_linq.campaigns._validate import ValidatedRows
from airflow_provider_linq.campaigns.config import Campaign
from linq_client.times import ServerClock, format_datetime

log = logging.getLogger(__name__)

#: Seconds between two lines in the log in the first minute; then a twelfth of the time so far, up to ten minutes.
LOG_EVERY: Final = 5.0
LOG_SELDOM: Final = 600.0

#: Seconds between two records in the task state store. The page of a campaign asks as often.
RECORD_EVERY: Final = 5.0


class Progress:
    """
    Says how far a campaign is, when that has changed: in the log ever more seldom, in the store every few seconds.

    :param clock: the API's.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        rows: ValidatedRows,
        clock: ServerClock,
        store: StateStore,
        campaign: Campaign,
        lines: Lines,
    ) -> None:
        self._checkpoint = checkpoint
        self._rows = rows
        self._clock = clock
        self._store = store
        self._campaign = campaign
        self._lines = lines
        self._started = self._logged = self._recorded = time.monotonic()
        self._before = self._latest = checkpoint.settled
        self.sent_before = self._counts["sent"]

    def begin(self, campaign_key: str, settings: str) -> None:
        """
        Say what is about to be sent.

        :param settings: lines, limits and hours, in words.
        """
        total, counts = len(self._rows.recipients), self._counts
        known = f", {self._before:,} of them settled in earlier runs" if self._before else ""
        doubt = f", {counts['unknown']:,} in doubt" if counts["unknown"] else ""
        log.info("Campaign %s: %s recipients%s%s, %s", campaign_key, f"{total:,}", known, doubt, settings)
        self.record("sending")

    def tick(self, under_way: int) -> None:
        """
        Say how far it is, if it is time and there is news.

        :param under_way: how many requests are.
        """
        now, settled = time.monotonic(), self._checkpoint.settled
        interval = min(LOG_SELDOM, max(LOG_EVERY, (now - self._started) / 12))
        if now - self._logged >= interval and settled != self._latest:
            self._logged, self._latest = now, settled
            log.info("Campaign: %s", self.in_words(under_way))
        if now - self._recorded >= RECORD_EVERY:
            self.record("sending")

    def in_words(self, under_way: int = 0) -> str:
        """Return how far it is: settled, what came of them, requests under way, rate, and when it is done."""
        settled, total = self._checkpoint.settled, len(self._rows.recipients)
        counts = self._counts
        counts["unknown"] = self._checkpoint.counts(self._rows)[RecipientState.UNKNOWN]
        counts["pending"] = 0
        counts["skipped"] = {**counts["skipped"], "invalid": 0, "duplicate": 0, "suppressed": 0}
        words = [f"{settled:,} of {total:,} settled: {in_words(counts)}"]
        if under_way:
            words.append(f"{under_way:,} requests under way")
        per_second, done_at = self._pace()
        if per_second is not None:
            words.append(f"{per_second:.1f} a second")
        if done_at is not None:
            words.append(f"done about {done_at:%Y-%m-%d %H:%M} UTC at this rate")
        return "; ".join(words)

    def record(self, state: str, deferral: Deferral | None = None) -> None:
        """
        Write how far it is to the task state store, for the page of the campaign; a failure is only logged.

        :param state: "sending", "waiting" or "ended".
        :param deferral: what it waits for.
        """
        self._recorded = time.monotonic()
        try:
            self._store.set(durable.CAMPAIGN_PROGRESS, durable.write(self._as_record(state, deferral)))
        except Exception as error:  # nobody is sent to, or not, because of a picture
            log.warning("The progress of the campaign could not be recorded: %s", type(error).__name__)

    def _as_record(self, state: str, deferral: Deferral | None) -> dict[str, Any]:
        states = self._checkpoint.counts(self._rows)
        per_second, done_at = self._pace()
        until = datetime.now(timezone.utc) + timedelta(seconds=deferral.seconds) if deferral is not None else None
        return {
            "state": state,
            **({} if self._campaign.shard is None else {"shard": self._campaign.shard}),
            "recipients": len(self._rows.recipients),
            "sent": states[RecipientState.SENT],
            "opted_out": states[RecipientState.OPTED_OUT],
            "blocked": states[RecipientState.BLOCKED],
            "failed": states[RecipientState.FAILED],
            "failed_by_code": {str(code): number for code, number in self._checkpoint.failure_codes.items()},
            "unknown": states[RecipientState.UNKNOWN],
            "under_way": sum(states[each] for each in OPEN),
            "per_second": round(per_second, 2) if per_second is not None and state == "sending" else None,
            "done_at": format_datetime(done_at) if done_at is not None and state == "sending" else None,
            "waits_for": deferral.why if deferral is not None else None,
            "waits_until": format_datetime(until) if until is not None else None,
            "messages_per_day": self._campaign.line_limits.messages_per_day,
            "new_chats_per_day": self._campaign.line_limits.new_chats_per_day,
            "days": self._checkpoint.header.days,
            "lines": self._health,
            "at": format_datetime(self._clock.now()),
        }

    @property
    def _health(self) -> dict[str, LineHealth]:
        """Of a pool, or of the lines that have sent or are not used: an account may have thousands more."""
        days = self._checkpoint.header.days.values()
        return {
            line: one
            for line, one in self._lines.health.items()
            if one["share"] is not None or one["excluded"] or any(line in day for day in days)
        }

    def _pace(self) -> tuple[float | None, datetime | None]:
        """Return how many were settled in a second in this run, and when all are at that rate."""
        settled, total = self._checkpoint.settled, len(self._rows.recipients)
        elapsed, done = time.monotonic() - self._started, settled - self._before
        if done <= 0 or elapsed <= 1:
            return None, None
        left = (total - settled) * elapsed / done
        return done / elapsed, self._clock.now() + timedelta(seconds=left) if left > 0 else None

    @property
    def _counts(self) -> CampaignResult:
        return count_rows("", None, self._checkpoint.counts(self._rows), self._checkpoint.excluded(self._rows))
