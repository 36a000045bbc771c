"""The counts of a campaign's rows, for the log and for the result."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from airflow_provider_linq.campaigns._model import CampaignResult
from airflow_provider_linq.campaigns._state import OPEN, RecipientState


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
