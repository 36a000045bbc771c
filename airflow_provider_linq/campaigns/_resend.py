"""Messages that were sent in an earlier try and have failed: which are sent again, and how that stays safe.

Which message a recipient got is known from the journal alone, and all else follows from that message: the key of the
next one is made of its id, and the next one counts as in doubt since the failed one was made. So a try that was killed
on the way leaves nothing to continue with. The next one finds the failed message again, asks with the same key, and
looks into the chat wherever the key may be forgotten.
"""

from __future__ import annotations

import logging
from collections.abc import Container, Iterator, Sequence
from contextlib import closing
from datetime import datetime
from tempfile import TemporaryFile
from typing import IO

from airflow_provider_linq._internal.key_lifetimes import CLOCK_SKEW
from airflow_provider_linq.campaigns._checkpoint import Checkpoint, requests_until
from airflow_provider_linq.campaigns._delivery import poll
from airflow_provider_linq.campaigns._journal import Claim, Journal, Latest, key_of
from airflow_provider_linq.campaigns._lines import Lines
from airflow_provider_linq.campaigns._model import Outcome, Recipient
from airflow_provider_linq.campaigns._owner import OWNER_HEARTBEAT
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
    assert checkpoint.header.try_began is not None
    before = parse_datetime(checkpoint.header.try_began) - CLOCK_SKEW
    # What a line has sent that has left the account may not be there to be asked for.
    usable = {*lines.usable} if lines.pool else {*lines.own, None}
    failed: list[Outcome] = []
    with TemporaryFile() as file:
        history = _History(journal, known, file)
        confirmed_at = now
        with closing(poll(client, history.sent(before, usable), concurrency=concurrency)) as polled:
            for outcome, progress in polled:
                if progress == "failed":
                    failed.append(outcome)
                elif progress != "gone" and outcome.idempotency_key in history.unclear:
                    checkpoint.restate(outcome)  # whatever came of the second message, this one has arrived
                if client.server_time - confirmed_at > OWNER_HEARTBEAT:  # there may be many to ask for
                    confirmed_at = client.server_time
                    journal.owner.confirm(confirmed_at)
    if history.unusable:
        log.warning(
            "%d messages are from lines that can't be used: those that have failed are not sent again", history.unusable
        )
    if failed:
        log.warning("%d messages have failed: they are sent again, each with another key", len(failed))
    jobs = []
    for outcome in failed:
        key = str(outcome.idempotency_key)
        claim = history.claimed.get(key)
        until = None if claim is None else requests_until(journal, now)
        line = outcome.line if lines.pool else None
        is_line_certain = line is not None and (claim is None or claim.line == line)
        job = _job(known[key], outcome, line, until, now, is_line_certain=is_line_certain)
        jobs.append(job._replace(failed_before=tuple(history.replaced.get(key, ()))))
        checkpoint.update(jobs[-1])
    return jobs


class _History:
    """
    What the journal tells of those who were sent to: their latest message, and what came before and after it.

    :param known: whose.
    :param file: an empty one, for the messages.
    """

    def __init__(self, journal: Journal, known: Container[str], file: IO[bytes]) -> None:
        #: The claims of those to whom a try meant to send their latest message again.
        self.claimed: dict[str, Claim] = {}
        #: To whom such a try may have sent it: the outcomes name no message of theirs.
        self.unclear: set[str] = set()
        #: Ids of the messages before the latest one, which had failed; the oldest first.
        self.replaced: dict[str, dict[str, None]] = {}
        #: How many messages are from lines that can't be used; known when all were read.
        self.unusable = 0
        self._latest = Latest(file, self._read(journal, known))

    def sent(self, before: datetime, usable: Container[str | None]) -> Iterator[Outcome]:
        """Yield the latest messages that were made before a moment, from lines that can be used."""
        for outcome in self._latest.rest():
            if outcome.created_at and parse_datetime(outcome.created_at) < before:
                if outcome.line in usable:
                    yield outcome
                else:
                    self.unusable += 1

    def _read(self, journal: Journal, known: Container[str]) -> Iterator[Outcome]:
        for _, entry in journal.read():
            key = key_of(entry)
            if key not in known:
                continue
            if isinstance(entry, Claim):
                self.claimed[key] = entry
            elif isinstance(entry, Outcome) and entry.status == "sent":
                self.claimed.pop(key, None)
                self.unclear.discard(key)
                if entry.replaces is not None:
                    self.replaced.setdefault(key, {})[entry.replaces] = None
                yield entry
            elif isinstance(entry, Outcome):
                self.unclear.add(key)


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
