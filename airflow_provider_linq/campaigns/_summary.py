"""How far a campaign is: the counts of its rows, for the log and for the result."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from airflow_provider_linq.campaigns._checkpoint import Checkpoint
from airflow_provider_linq.campaigns._model import CampaignResult
from airflow_provider_linq.campaigns._state import OPEN, RecipientState
from airflow_provider_linq.campaigns._validate import ValidatedRows
from linq_client.times import ServerClock

log = logging.getLogger(__name__)

#: Seconds between two lines in the log in the first minute; then a twelfth of the time so far, up to ten minutes.
LOG_EVERY: Final = 5.0
LOG_SELDOM: Final = 600.0


def count_rows(
    campaign_key: str,
    outcomes_path: str | None,
    states: Counter[RecipientState],
    excluded: Mapping[str, int],
    *,
    is_late: bool = False,
) -> CampaignResult:
    """
    Count the rows by what became of them.

    :param states: of the recipients, and of those of excluded rows to whom an earlier try may have sent.
    :param excluded: how many other rows are excluded, by reason.
    :param is_late: whether those who are pending come too late.
    """
    pending = states[RecipientState.PENDING]
    return CampaignResult(
        campaign_key=campaign_key,
        sent=states[RecipientState.SENT],
        skipped={
            "opted_out": states[RecipientState.OPTED_OUT],
            "blocked": states[RecipientState.BLOCKED],
            "invalid": excluded.get("invalid", 0),
            "duplicate": excluded.get("duplicate", 0),
            "suppressed": excluded.get("suppressed", 0),
            "late": pending if is_late else 0,
        },
        failed=states[RecipientState.FAILED],
        unknown=sum(states[state] for state in (RecipientState.UNKNOWN, *OPEN)),
        pending=0 if is_late else pending,
        outcomes_path=outcomes_path,
        report=None,
    )


def in_words(counts: CampaignResult, *, sent_before: int = 0) -> str:
    """
    Return the counts as a line of the log: only what there is.

    :param sent_before: how many of the sent were sent to in earlier tries.
    """
    sent = counts["sent"]
    if not sent_before:
        words = [f"{sent:,} sent"]
    elif sent == sent_before:
        words = [f"{sent:,} were sent in earlier tries, nothing in this one"]
    else:
        words = [f"{sent:,} sent, {sent_before:,} of them in earlier tries"]
    words += skipped_in_words(counts)
    others = {"failed": counts["failed"], "unknown": counts["unknown"], "pending": counts["pending"]}
    return ", ".join([*words, *(f"{number:,} {name}" for name, number in others.items() if number)])


def skipped_in_words(counts: CampaignResult) -> list[str]:
    """Return how many were skipped and why, in one phrase, or none if nobody was."""
    reasons = [f"{number:,} {reason}" for reason, number in counts["skipped"].items() if number]
    if not reasons:
        return []
    return [f"{sum(counts['skipped'].values()):,} skipped ({', '.join(reasons).replace('_', ' ')})"]


class ProgressLog:
    """
    Lines in the log: how far a campaign is, when that has changed, and ever more seldom.

    :param clock: the API's.
    """

    def __init__(self, checkpoint: Checkpoint, rows: ValidatedRows, clock: ServerClock) -> None:
        self._checkpoint = checkpoint
        self._rows = rows
        self._clock = clock
        self._started = self._logged = time.monotonic()
        self._before = self._latest = checkpoint.settled
        self.sent_before = self._counts["sent"]

    def begin(self, campaign_key: str, settings: str) -> None:
        """
        Log what is about to be sent.

        :param settings: lines, limits and hours, in words.
        """
        total, counts = len(self._rows.recipients), self._counts
        known = f", {self._before:,} of them settled in earlier runs" if self._before else ""
        doubt = f", {counts['unknown']:,} in doubt" if counts["unknown"] else ""
        log.info("Campaign %s: %s recipients%s%s, %s", campaign_key, f"{total:,}", known, doubt, settings)

    def tick(self, under_way: int) -> None:
        """
        Log, if it is time and there is news.

        :param under_way: how many requests are.
        """
        elapsed = time.monotonic() - self._started
        interval = min(LOG_SELDOM, max(LOG_EVERY, elapsed / 12))
        settled = self._checkpoint.settled
        if time.monotonic() - self._logged >= interval and settled != self._latest:
            self._logged, self._latest = time.monotonic(), settled
            log.info("Campaign: %s", self.in_words(under_way))

    def in_words(self, under_way: int = 0) -> str:
        """Return how far it is: settled, what came of them, requests under way, rate, and when it is done."""
        settled, total = self._checkpoint.settled, len(self._rows.recipients)
        elapsed = time.monotonic() - self._started
        counts = self._counts
        counts["unknown"] = self._checkpoint.counts(self._rows)[RecipientState.UNKNOWN]
        counts["pending"] = 0
        counts["skipped"] = {**counts["skipped"], "invalid": 0, "duplicate": 0, "suppressed": 0}
        words = [f"{settled:,} of {total:,} settled: {in_words(counts)}"]
        if under_way:
            words.append(f"{under_way:,} requests under way")
        if (done := settled - self._before) and elapsed > 1:
            words.append(f"{done / elapsed:.1f} a second")
            if total > settled:
                at = self._clock.now() + timedelta(seconds=(total - settled) * elapsed / done)
                words.append(f"done about {at:%Y-%m-%d %H:%M} UTC at this rate")
        return "; ".join(words)

    @property
    def _counts(self) -> CampaignResult:
        return count_rows("", None, self._checkpoint.counts(self._rows), self._checkpoint.excluded(self._rows))
