"""A recipient, and what became of a row: the two records that pass through all rooms of a campaign."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any, Literal, TypeAlias, TypedDict

from airflow_provider_linq._internal.idempotency import derive_key
from linq_client import comparable_handle

#: Where a row ends. Only a campaign that stopped before its end has rows that are still pending.
Status: TypeAlias = Literal["sent", "skipped", "failed", "unknown", "pending"]

#: Why a row was skipped. The first two are the platform's word, and the others ours, before they were sent to.
SkipReason: TypeAlias = Literal["opted_out", "blocked", "invalid", "duplicate", "suppressed", "late"]


@dataclass(frozen=True, slots=True)
class Recipient:
    """
    Somebody, or a group, whom a row names.

    :param number: of the row in the input, from 1.
    :param to: handles, e-mail addresses in lower case, sorted; several make a group.
    :param key: idempotency key: a hash of the campaign key and `to`, see `recipient_key`.
    :param row: the values that the message is made of; None if the row is not valid now, and only was in an earlier
        try: nothing is sent then, but what was sent is reported.
    :param timezone: IANA name of the time zone that the send window is read in.
    :param is_suppressed: nothing is sent to them, though the row may tell what an earlier try has sent.
    """

    number: int
    to: tuple[str, ...]
    key: str
    row: Mapping[str, Any] | None
    timezone: str
    is_suppressed: bool = False

    @property
    def is_sendable(self) -> bool:
        """Whether a message may be sent to them now; else they are only looked for."""
        return self.row is not None and not self.is_suppressed


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    What became of one row.

    :param row: its number in the input, from 1.
    :param to: its handles, as far as they could be read.
    :param reason: one word for what is no success: a `SkipReason`, "refused" (see `code`), "no_answer" or "unsettled".
    :param detail: the same for people; never the text of the message.
    :param code: of the API's error.
    :param idempotency_key: to ask the platform again with.
    :param line: own line that the message went from, as far as known.
    :param created_at: RFC 3339, UTC, by the API's clock.
    :param replaces: id of the failed message whose place this one takes, None if it takes none; the platform knows it
        by another key then.
    """

    row: int
    to: tuple[str, ...]
    status: Status
    reason: str | None = None
    detail: str | None = None
    code: int | None = None
    idempotency_key: str | None = None
    line: str | None = None
    chat_id: str | None = None
    message_id: str | None = None
    created_at: str | None = None
    replaces: str | None = None


class CampaignResult(TypedDict):
    """
    What became of the rows, by number; each of them counts in one place.

    `skipped` is by reason: opted_out, blocked, invalid, duplicate, suppressed, late. `unknown` may have been sent to or
    not: the outcomes file has their keys. `pending` are those whom a dry run would send to, else 0. `report` has the
    counts of the delivery report, None without one.
    """

    campaign_key: str
    sent: int
    skipped: dict[str, int]
    failed: int
    unknown: int
    pending: int
    outcomes_path: str | None
    report: dict[str, int] | None


@dataclass(frozen=True)
class Deferral:
    """
    What is left has to wait, longer than a worker should; or, for 0 seconds, has to be prepared again.

    :param why: which limit that is, for whom and until when.
    """

    seconds: float
    why: str

    def __str__(self) -> str:
        until = datetime.now(timezone.utc) + timedelta(seconds=self.seconds)
        return f"{self.why}. Waiting until {until:%Y-%m-%d %H:%M:%S} UTC"


def compared(to: tuple[str, ...]) -> tuple[str, ...]:
    """Return recipients in the form to compare; nearly always the same object, of which there may be a million."""
    found = tuple(sorted(map(comparable_handle, to)))
    return to if found == to else found


def recipient_key(campaign_key: str, to: Sequence[str]) -> str:
    """
    Return the idempotency key of a recipient in a campaign: neither try, text nor position is in it (I6).

    All forms of a number have the same one, so that a person is the same in all tries, whichever form each reads first.
    """
    return derive_key(campaign_key, *compared(tuple(to)))
