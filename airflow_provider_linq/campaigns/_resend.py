"""Messages that were sent in an earlier try and have failed: which are sent again, and how that stays safe.

Which message a recipient got is known from the journal alone, and all else follows from that message: the key of the
next one is made of its id, and the next one counts as in doubt since the failed one was made. So a try that was killed
on the way leaves nothing to continue with. The next one finds the failed message again, asks with the same key, and
looks into the chat wherever the key may be forgotten.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import datetime

from airflow_provider_linq._internal.key_lifetimes import CLOCK_SKEW
from airflow_provider_linq.campaigns._checkpoint import Checkpoint, requests_until
from airflow_provider_linq.campaigns._delivery import poll
from airflow_provider_linq.campaigns._journal import Claim, Journal, key_of
from airflow_provider_linq.campaigns._lines import Lines
from airflow_provider_linq.campaigns._model import Outcome, Recipient
from airflow_provider_linq.campaigns._state import RecipientState, SendJob, Sent
from linq_client import LinqClient
from linq_client.times import parse_datetime

log = logging.getLogger(__name__)


def jobs_to_resend(
    recipients: Sequence[Recipient],
    checkpoint: Checkpoint,
    journal: Journal,
    lines: Lines,
    client: LinqClient,
    now: datetime,
    concurrency: int,
) -> list[SendJob]:
    """
    Return those whose message was sent before this try, and has failed for good, as far as anybody can know.

    Their jobs are claimed, which becomes durable with the next `save`.

    :param now: by the API's clock.
    :param concurrency: requests under way at once.
    :raises LinqError: it can't be asked how far a message has come.
    """
    known = {one.key: one for one in recipients if checkpoint.state(one.key) is RecipientState.SENT}
    latest, claimed = _latest(journal, known)
    assert checkpoint.header.try_began is not None
    began = parse_datetime(checkpoint.header.try_began)
    earlier = [one for one in latest.values() if one.created_at and parse_datetime(one.created_at) < began - CLOCK_SKEW]
    with closing(poll(client, earlier, concurrency=concurrency)) as found:
        failed = [latest[key] for key, progress in found if progress == "failed"]
    usable = [one for one in failed if not lines.pool or one.line in lines.usable]
    if len(usable) < len(failed):
        log.warning(
            "%d messages have failed whose line can't be used: they are not sent again", len(failed) - len(usable)
        )
    if usable:
        log.warning("%d messages have failed: they are sent again, each with another key", len(usable))
    jobs = []
    for outcome in usable:
        key = str(outcome.idempotency_key)
        until = _latest_request(checkpoint, journal, now) if key in claimed else None
        jobs.append(_job(known[key], outcome, until, now, is_line_certain=bool(lines.pool)))
        checkpoint.update(jobs[-1])
    return jobs


def _latest(journal: Journal, known: Mapping[str, Recipient]) -> tuple[dict[str, Outcome], set[str]]:
    """Return which message each recipient got last, and the keys of those to whom a try meant to send it again."""
    latest: dict[str, Outcome] = {}
    claimed: set[str] = set()
    for _, entry in journal.read():
        key = key_of(entry)
        if key not in known:
            continue
        if isinstance(entry, Claim):
            claimed.add(key)
        elif isinstance(entry, Outcome) and entry.status == "sent":
            latest[key] = entry
            claimed.discard(key)
    return latest, claimed


def _latest_request(checkpoint: Checkpoint, journal: Journal, now: datetime) -> datetime:
    """Return a moment not before any request of an earlier try or of another task."""
    known = checkpoint.header.open_until
    until = requests_until(journal, now)
    return until if known is None else min(now, max(until, parse_datetime(known)))


def _job(
    recipient: Recipient, outcome: Outcome, last_request_at: datetime | None, now: datetime, *, is_line_certain: bool
) -> SendJob:
    failed = Sent(outcome.line, outcome.chat_id, outcome.message_id, outcome.created_at, replaces=outcome.replaces)
    made_at = parse_datetime(str(outcome.created_at))
    return SendJob(
        recipient,
        RecipientState.CLAIMED if is_line_certain else RecipientState.CLAIMED_ANYWHERE,
        outcome.line if is_line_certain else None,
        is_line_certain=is_line_certain,
        claimed_at=now,
        in_doubt_since=made_at,
        last_request_at=last_request_at or made_at,
        replaces=failed,
    )
