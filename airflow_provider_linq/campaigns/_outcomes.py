"""What became of a recipient, as the outcomes file says it; and the state that an outcome stands for."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Final

from airflow_provider_linq.campaigns._journal import Latest
from airflow_provider_linq.campaigns._model import Outcome, Recipient, Status
from airflow_provider_linq.campaigns._shards import shard_number
from airflow_provider_linq.campaigns._state import RecipientState, Refused, SendJob, Sent
from airflow_provider_linq.campaigns._validate import ValidatedRows

#: Status and reason of an outcome, for a recipient of whom only the state is known.
_MEANING: Final[Mapping[RecipientState, tuple[Status, str | None]]] = {
    RecipientState.PENDING: ("pending", None),
    RecipientState.SENT: ("sent", None),
    RecipientState.OPTED_OUT: ("skipped", "opted_out"),
    RecipientState.BLOCKED: ("skipped", "blocked"),
    RecipientState.FAILED: ("failed", "refused"),
    RecipientState.UNKNOWN: ("unknown", "unsettled"),
    RecipientState.CLAIMED_ANYWHERE: ("unknown", "no_answer"),
    RecipientState.CLAIMED: ("unknown", "no_answer"),
}


class FailureCodes:
    """The API's codes with which recipients have failed, as far as they are on record."""

    def __init__(self) -> None:
        self._codes: dict[str, int] = {}

    def note(self, key: str, outcome: Outcome) -> None:
        """Take over the code of an outcome, in place of that of an earlier one."""
        if outcome.status == "failed" and outcome.code is not None:
            self._codes[key] = outcome.code
        else:
            self._codes.pop(key, None)

    def counts(self, has_failed: Callable[[str], bool]) -> Counter[int]:
        """
        Count the recipients by code.

        :param has_failed: whether the state of a recipient says so now, who may have been sent to since.
        """
        return Counter(code for key, code in self._codes.items() if has_failed(key))


def outcome_of_state(state: RecipientState, number: int, to: tuple[str, ...], key: str) -> Outcome:
    """Return what became of a recipient of whom only the state is known."""
    status, reason = _MEANING[state]
    return Outcome(number, to, status, reason, idempotency_key=key)


def late(outcome: Outcome) -> Outcome:
    """Return the outcome of a recipient who was not sent to before `not_after`; that of any other stays."""
    if outcome.status != "pending":
        return outcome
    return replace(outcome, status="skipped", reason="late", detail="not_after was over before their turn came")


def noting_left(outcomes: Iterator[Outcome], of: int, left: Counter[int]) -> Iterator[Outcome]:
    """
    Pass outcomes on, and count those who are pending or in doubt by the shard that they are in.

    :param of: how many shards there are.
    """
    for outcome in outcomes:
        if outcome.status == "pending" or outcome.reason == "no_answer":
            left[shard_number(outcome.to, of)] += 1
        yield outcome


def outcome_of(job: SendJob) -> Outcome:
    """Return what became of a recipient, with the details that its last event brought."""
    recipient, result = job.recipient, job.result
    status, reason = _MEANING[job.state]
    if isinstance(result, Sent):
        reason = None if result.message_id else "gone"
        sent = (result.chat_id, result.message_id, result.created_at, result.replaces)
        return Outcome(recipient.number, recipient.to, status, reason, None, None, recipient.key, job.line, *sent)
    code = result.code if isinstance(result, Refused) else None
    detail = None if result is None else result.detail
    return Outcome(recipient.number, recipient.to, status, reason, detail, code, recipient.key, job.line)


def state_of(outcome: Outcome) -> RecipientState:
    """Return the state that an outcome stands for."""
    by_name = outcome.reason if outcome.status == "skipped" else outcome.status
    return RecipientState[str(by_name).upper()]


def outcomes_in_journal(rows: ValidatedRows, details: Latest) -> Iterator[Outcome]:
    """
    Yield what became of each row as far as the journal tells, in the order of the rows.

    :param details: what the journal has of them, which is taken out.
    """

    def of(recipient: Recipient) -> Outcome:
        kept = details.pop(recipient.key)
        if isinstance(kept, Outcome):
            return replace(kept, row=recipient.number)
        state = RecipientState.PENDING if kept is None else RecipientState.CLAIMED
        return outcome_of_state(state, recipient.number, recipient.to, recipient.key)

    earlier = {one.number: one for one in rows.unsendable if one.key in details}
    excluded = (of(earlier[one.row]) if one.row in earlier else one for one in rows.excluded)
    yield from heapq.merge(map(of, rows.recipients), excluded, key=lambda outcome: outcome.row)
