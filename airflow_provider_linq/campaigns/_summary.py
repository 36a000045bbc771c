"""How far a campaign is: the counts of its rows, for the log and for the result."""

from __future__ import annotations

import logging
import time
from collections import Counter
from typing import Final

from airflow_provider_linq.campaigns._checkpoint import Checkpoint
from airflow_provider_linq.campaigns._model import CampaignResult
from airflow_provider_linq.campaigns._state import OPEN, RecipientState
from airflow_provider_linq.campaigns._validate import ValidatedRows

log = logging.getLogger(__name__)

#: Seconds between two lines in the log.
LOG_EVERY: Final = 5.0


def count_rows(
    campaign_key: str, outcomes_path: str | None, states: Counter[RecipientState], rows: ValidatedRows
) -> CampaignResult:
    """
    Count the rows by what became of them.

    :param states: of the recipients, and of those of invalid rows to whom an earlier try may have sent.
    """
    excluded = Counter(outcome.reason for outcome in rows.excluded)
    return CampaignResult(
        campaign_key=campaign_key,
        sent=states[RecipientState.SENT],
        skipped={
            "opted_out": states[RecipientState.OPTED_OUT],
            "blocked": states[RecipientState.BLOCKED],
            "invalid": excluded["invalid"] - (states.total() - len(rows.recipients)),
            "duplicate": excluded["duplicate"],
        },
        failed=states[RecipientState.FAILED],
        unknown=sum(states[state] for state in (RecipientState.UNKNOWN, *OPEN)),
        pending=states[RecipientState.PENDING],
        outcomes_path=outcomes_path,
        report=None,
    )


def in_words(counts: CampaignResult) -> str:
    """Return the counts as a line of the log."""
    skipped = ", ".join(f"{number:,} {reason}" for reason, number in counts["skipped"].items() if number)
    return (
        f"{counts['sent']:,} sent, {sum(counts['skipped'].values()):,} skipped{f' ({skipped})' if skipped else ''}, "
        f"{counts['failed']:,} failed, {counts['unknown']:,} unknown, {counts['pending']:,} pending"
    )


class ProgressLog:
    """A line in the log every few seconds."""

    def __init__(self, checkpoint: Checkpoint, rows: ValidatedRows) -> None:
        self._checkpoint = checkpoint
        self._rows = rows
        self._started = self._logged = time.monotonic()
        self._before = checkpoint.settled

    def tick(self) -> None:
        """Log, if it is time."""
        now = time.monotonic()
        if now - self._logged < LOG_EVERY:
            return
        self._logged = now
        settled, total = self._checkpoint.settled, len(self._rows.recipients)
        rate = (settled - self._before) / (now - self._started)
        left = f", about {(total - settled) / rate:.0f} s left" if rate else ""
        states = self._checkpoint.counts(self._rows)
        under_way = sum(states[state] for state in OPEN)
        counts = count_rows("", None, states, self._rows)
        counts["unknown"] -= under_way
        words = in_words(counts)
        log.info("Campaign: %d of %d, %.1f a second%s; %s, %d under way", settled, total, rate, left, words, under_way)
