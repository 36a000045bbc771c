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
from airflow_provider_linq.campaigns._journal import OWNER_HEARTBEAT, Claim, Journal, key_of
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
    :raises LostOwnershipError: another try or task has begun to send the campaign.
    """
    known = {one.key: one for one in recipients if checkpoint.state(one.key) is RecipientState.SENT}
    latest, claimed = _latest(journal, known)
    assert checkpoint.header.try_began is not None
    began = parse_datetime(checkpoint.header.try_began)
    before = [one for one in latest.values() if one.created_at and parse_datetime(one.created_at) < began - CLOCK_SKEW]
    # What a line has sent that has left the account may not be there to be asked for.
    usable = {*lines.usable} if lines.pool else {*lines.own, None}
    earlier = [one for one in before if one.line in usable]
    if len(earlier) < len(before):
        log.warning(
            "%d messages are from lines that can't be used: those that have failed are not sent again",
            len(before) - len(earlier),
        )
    failed, confirmed_at = [], now
    with closing(poll(client, earlier, concurrency=concurrency)) as polled:
        for key, progress in polled:
            if progress == "failed":
                failed.append(latest[key])
            if client.server_time - confirmed_at > OWNER_HEARTBEAT:  # there may be many to ask for
                confirmed_at = client.server_time
                journal.owner.confirm(confirmed_at)
    if failed:
        log.warning("%d messages have failed: they are sent again, each with another key", len(failed))
    jobs = []
    for outcome in failed:
        key = str(outcome.idempotency_key)
        claim = claimed.get(key)
        until = None if claim is None else requests_until(journal, now)
        line = outcome.line if lines.pool else None
        is_line_certain = line is not None and (claim is None or claim.line == line)
        jobs.append(_job(known[key], outcome, line, until, now, is_line_certain=is_line_certain))
        checkpoint.update(jobs[-1])
    return jobs


def _latest(journal: Journal, known: Mapping[str, Recipient]) -> tuple[dict[str, Outcome], dict[str, Claim]]:
    """Return which message each recipient got last, and the claims of those to whom a try meant to send it again."""
    latest: dict[str, Outcome] = {}
    claimed: dict[str, Claim] = {}
    for _, entry in journal.read():
        key = key_of(entry)
        if key not in known:
            continue
        if isinstance(entry, Claim):
            claimed[key] = entry
        elif isinstance(entry, Outcome) and entry.status == "sent":
            latest[key] = entry
            claimed.pop(key, None)
    return latest, claimed


def _job(
    recipient: Recipient,
    outcome: Outcome,
    line: str | None,
    last_request_at: datetime | None,
    now: datetime,
    *,
    is_line_certain: bool,
) -> SendJob:
    failed = Sent(outcome.line, outcome.chat_id, outcome.message_id, outcome.created_at, replaces=outcome.replaces)
    made_at = parse_datetime(str(outcome.created_at))
    return SendJob(
        recipient,
        RecipientState.CLAIMED if is_line_certain else RecipientState.CLAIMED_ANYWHERE,
        line,
        is_line_certain=is_line_certain,
        claimed_at=now,
        in_doubt_since=made_at,
        last_request_at=last_request_at or made_at,
        replaces=failed,
    )
