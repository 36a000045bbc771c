"""The state machine of a campaign: what is known of a recipient, what can happen, and what follows from it.

Everything here is pure. Workers make requests and return events, the dispatcher applies them with `transition`, and the
checkpoint stores the result. What has to be done next follows from the state alone (`next_step`), so a try that resumes
and a first try are one path.

    PENDING -- Claimed --> CLAIMED -- Sent --> SENT
                              |------ Refused --> OPTED_OUT, BLOCKED, FAILED
                              |------ LineLost, Released, TooLate --> PENDING
                              |------ NoAnswer --> CLAIMED, in doubt -- Resolved --> CLAIMED, UNKNOWN

A message that has failed can be sent again in a later try (`_resend`). Its recipient is CLAIMED, in doubt since that
message was made, and ends as SENT in any case: the second message takes the place of the first, or the first stays.

The invariants; each has a test of its name in test_campaign_state.py or test_campaign_invariants.py:

I1   A claim, with its line, is durable before a request is made.
I2   Details (the journal) are written before states (the checkpoint).
I3   The header is written before the states that refer to it; its `lines` only ever grow.
I4   The durable `in_doubt_since` is never later than the oldest request whose outcome is not on record.
I5   A claimed recipient keeps its line for as long as any request of it is unresolved.
I6   The idempotency key holds no number of a try, no text and no position.
I7   Where the key is older than it is assumed to be known, or the line is not certain, the chat is read before a send.
I8   Only a verdict of the API settles a recipient; a refusal settles nobody who is in doubt.
I9   A resolution counts only if everything was read that could hold the message, and nothing can have expired unseen.
I10  UNKNOWN is opened again in every try, FAILED after a clear.
I11  A task sends one campaign.
I12  On a signal no request is begun, what is under way is waited for in bounds, and what is known becomes durable.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum, IntEnum
from typing import Final, NamedTuple, TypeAlias

from airflow_provider_linq._internal.idempotency import successor_key
from airflow_provider_linq._internal.key_lifetimes import KEY_TRUST, LATE_ACCEPTANCE, LIST_LAG
from airflow_provider_linq.campaigns._model import Recipient
from linq_client import LinqError

#: How often a recipient without a usable answer is tried in a try of the task; the next try continues with it.
MAX_ATTEMPTS: Final = 6
#: How often a recipient is told to wait (429) in a try: its line may be at a limit for it alone.
MAX_WAITS: Final = 20


class RecipientState(IntEnum):
    """
    What is known of a recipient, as the checkpoint stores it.

    Values from `CLAIMED` on also name a line: ``CLAIMED + n`` is the n-th line of the header.
    """

    #: Nothing was ever requested.
    PENDING = 0
    #: The platform has taken the message.
    SENT = 1
    #: The platform refuses this recipient: they have opted out, or this account has blocked them.
    OPTED_OUT = 2
    BLOCKED = 3
    #: The API has refused the message for good.
    FAILED = 4
    #: There may have been a request, and the chat does not tell.
    UNKNOWN = 5
    #: A request may have been made, from a line that is not on record.
    CLAIMED_ANYWHERE = 6
    #: A request may have been made, from the line that is on record.
    CLAIMED = 7


#: Settled for good, as far as this campaign is concerned.
TERMINAL: Final = frozenset(
    {RecipientState.SENT, RecipientState.OPTED_OUT, RecipientState.BLOCKED, RecipientState.FAILED}
)
#: Nothing more is done about them in this try.
SETTLED: Final = TERMINAL | {RecipientState.UNKNOWN}
#: A request may have been made whose outcome is not on record.
OPEN: Final = frozenset({RecipientState.CLAIMED_ANYWHERE, RecipientState.CLAIMED})


@dataclass(frozen=True, slots=True)
class Claimed:
    """The recipient's turn is near: from now on a request may be made, from this line (None: the platform chooses)."""

    line: str | None
    starts_chat: bool
    at: datetime


@dataclass(frozen=True, slots=True)
class Requested:
    """A request is about to be made, at `at` by the API's clock or later."""

    at: datetime


@dataclass(frozen=True, slots=True)
class Sent:
    """
    The platform has taken the message; without ids if it is gone since (deleted, or expired).

    :param replaces: id of the failed message whose place it takes.
    """

    line: str | None
    chat_id: str | None = None
    message_id: str | None = None
    created_at: str | None = None
    starts_chat: bool = False
    replaces: str | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """The API, or a check before the request, refuses this recipient or message for good."""

    state: RecipientState
    code: int | None = None
    detail: str | None = None
    error: LinqError | None = None


@dataclass(frozen=True, slots=True)
class LineLost:
    """The API refuses the line, not the recipient: it is ineligible, or no longer the account's."""

    error: LinqError


@dataclass(frozen=True, slots=True)
class RateLimited:
    """The API asks to wait."""

    error: LinqError
    is_open: bool


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """
    Nothing was settled.

    :param is_open: the request may have been accepted, or still be.
    :param at: by the API's clock, not before the request was given up.
    """

    error: BaseException
    is_open: bool
    at: datetime


@dataclass(frozen=True, slots=True)
class Resolved:
    """
    The chats were read, and the message was not found in them.

    :param is_absent: it is in none of them; else something may be the message, or it may have expired.
    :param at: when the look began, by the API's clock.
    """

    is_absent: bool
    at: datetime
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Postponed:
    """No request was made: the claim was not confirmed in time."""


@dataclass(frozen=True, slots=True)
class Released:
    """The try ends, or gives this recipient up."""


@dataclass(frozen=True, slots=True)
class TooLate:
    """`not_after` is over: whoever is in doubt is looked for, and nothing is sent any more."""


Event: TypeAlias = (
    Claimed | Requested | Sent | Refused | LineLost | RateLimited | NoAnswer | Resolved | Postponed | Released | TooLate
)


class SendJob(NamedTuple):
    """
    A recipient whose turn has come, and everything that is known of their message.

    A named tuple, since each recipient has half a dozen of them one after the other, and a copy of a data class takes
    five times as long.

    :param line: own line to send from; None if the platform chooses.
    :param starts_chat: whether the message will begin a chat, as far as known.
    :param is_line_certain: whether every request that is open was made from `line`.
    :param claimed_at: since when the claim is durable, by the API's clock, as are all times here.
    :param in_doubt_since: when the oldest request was made whose outcome is unknown; None if there is none.
    :param last_request_at: not before the latest request was made.
    :param absent_at: when a look last did not find the message; None after another request.
    :param in_flight_since: when the request was begun that is under way, None if none is.
    :param refusal: of a recipient who is in doubt: it stands once the doubt is resolved.
    :param attempts: how often there was no usable answer in this try.
    :param waits: how often the API asked to wait in this try.
    :param is_late: nothing may be sent any more.
    :param replaces: the failed message that is to be sent again; None if this is the first.
    :param failed_before: ids of the messages that had failed before that one.
    :param last_error: the latest error that settled nothing.
    :param result: the event that settled the recipient.
    """

    recipient: Recipient
    state: RecipientState = RecipientState.PENDING
    line: str | None = None
    starts_chat: bool = False
    is_line_certain: bool = True
    claimed_at: datetime | None = None
    in_doubt_since: datetime | None = None
    last_request_at: datetime | None = None
    absent_at: datetime | None = None
    in_flight_since: datetime | None = None
    refusal: Refused | LineLost | None = None
    attempts: int = 0
    waits: int = 0
    is_late: bool = False
    replaces: Sent | None = None
    failed_before: tuple[str, ...] = ()
    last_error: BaseException | None = None
    result: Sent | Refused | Resolved | None = None

    @property
    def key(self) -> str:
        """The idempotency key of the message (I6)."""
        if self.replaces is None:
            return self.recipient.key
        return successor_key(self.recipient.key, str(self.replaces.message_id))

    @property
    def is_open(self) -> bool:
        """Whether a request may have been made, or be under way, whose outcome is not known."""
        may_be_made = self.in_doubt_since is not None and not self.is_untried_resend
        return may_be_made or self.in_flight_since is not None

    @property
    def is_untried_resend(self) -> bool:
        """
        Whether no request to send a failed message again is on record.

        It counts as in doubt since the failed message was made, as if the record were lost: a look tells.
        """
        return self.replaces is not None and self.last_request_at == self.in_doubt_since

    @property
    def is_look_only(self) -> bool:
        """Whether all that is left to do is to find out whether an earlier request came through."""
        return self.refusal is not None or not self.recipient.is_sendable or self.is_late

    @property
    def may_try_again(self) -> bool:
        """Whether this try of the task has patience left."""
        return self.attempts < MAX_ATTEMPTS and self.waits < MAX_WAITS


class Step(Enum):
    """What has to be done about a claimed recipient next."""

    SEND = "send"
    LOOK = "look"
    WAIT = "wait"


class TransitionError(RuntimeError):
    """An event can't happen in this state: a bug, and not a fault of the world."""


def next_step(job: SendJob, now: datetime) -> Step:
    """Decide what a claimed recipient needs (I7): the message, a look at the chats, or time before the next look."""
    if job.in_doubt_since is None:
        return Step.SEND
    is_trusted = now - job.in_doubt_since <= KEY_TRUST
    if is_trusted and not job.is_look_only and job.line is not None and job.is_line_certain:
        return Step.SEND
    if job.absent_at is None:
        return Step.LOOK
    if job.is_look_only or job.absent_at < absence_counts_at(job):
        return Step.LOOK if now >= absence_counts_at(job) else Step.WAIT
    # A look says what was so when it was made: later, the key alone has to keep a message from being sent twice.
    return Step.SEND if is_trusted else Step.LOOK


def absence_counts_at(job: SendJob) -> datetime:
    """
    Return the earliest moment at which a look that finds nothing counts.

    A refusal stands only if no request can be accepted any more. To send again, where the line is not certain to be
    that of the request before, it is enough that lists show what was accepted: the key keeps the platform from sending
    twice, if it knows it there.
    """
    assert job.last_request_at is not None
    return job.last_request_at + (LATE_ACCEPTANCE if job.is_look_only else LIST_LAG)


def transition(job: SendJob, event: Event) -> SendJob:
    """
    Return the job after an event.

    :raises TransitionError: the event can't happen in this state.
    """
    if job.state in SETTLED:
        raise TransitionError(f"{type(event).__name__} after {job.state.name}")
    if isinstance(event, Claimed):
        return _claimed(job, event)
    if job.state not in OPEN:
        raise TransitionError(f"{type(event).__name__} without a claim")
    if isinstance(event, Requested):
        return job._replace(in_flight_since=event.at, absent_at=None)
    if isinstance(event, TooLate):
        return job._replace(is_late=True) if job.is_open else _released(job)
    if isinstance(event, Released):
        return job if job.is_open else _released(job)
    job, was_in_flight_since = job._replace(in_flight_since=None), job.in_flight_since
    if isinstance(event, Sent):
        if job.replaces is not None:
            event = replace(event, replaces=job.replaces.message_id)
        return job._replace(state=RecipientState.SENT, line=event.line or job.line, result=event, refusal=None)
    if isinstance(event, Refused):
        return _refused(job, event)
    if isinstance(event, LineLost):
        if job.in_doubt_since is not None:
            return job._replace(refusal=event, last_error=event.error)
        if job.line is None:  # there is no other to choose
            return job._replace(attempts=job.attempts + 1, last_error=event.error)
        return _released(job._replace(line=None, last_error=event.error))
    if isinstance(event, Resolved):
        return _resolved(job, event)
    if isinstance(event, RateLimited | NoAnswer):
        return _unanswered(job, event, was_in_flight_since)
    return job  # Postponed


def _claimed(job: SendJob, event: Claimed) -> SendJob:
    if job.state is not RecipientState.PENDING:
        raise TransitionError(f"a second claim of a recipient that is {job.state.name}")
    state = RecipientState.CLAIMED_ANYWHERE if event.line is None else RecipientState.CLAIMED
    return job._replace(state=state, line=event.line, starts_chat=event.starts_chat, claimed_at=event.at)


def _released(job: SendJob) -> SendJob:
    if job.replaces is not None:
        return _as_before(job)
    return job._replace(state=RecipientState.PENDING, claimed_at=None, refusal=None)


def _as_before(job: SendJob) -> SendJob:
    """Return the job of a recipient whose failed message is not replaced: it was sent, whatever became of it."""
    assert job.replaces is not None
    return job._replace(state=RecipientState.SENT, line=job.replaces.line, result=job.replaces, refusal=None)


def _refused(job: SendJob, event: Refused) -> SendJob:
    if event.state not in TERMINAL - {RecipientState.SENT}:
        raise TransitionError(f"no refusal: {event.state.name}")
    if job.in_doubt_since is not None:  # an earlier request may have come through before the refusal
        return job._replace(refusal=event, last_error=event.error)
    if job.replaces is not None:
        return _as_before(job)
    return job._replace(state=event.state, result=event, refusal=None)


def _resolved(job: SendJob, event: Resolved) -> SendJob:
    if not event.is_absent:
        # Without a request after the failed message, none can have taken its place.
        if job.is_untried_resend:
            return _as_before(job)  # the next try looks again, since it finds the failed message again
        return job._replace(state=RecipientState.UNKNOWN, result=event)
    # Requests that are older than this came to nothing: had they been accepted, the message would be there.
    horizon = event.at - LATE_ACCEPTANCE
    if job.last_request_at is not None and job.last_request_at > horizon:
        since = job.in_doubt_since and max(job.in_doubt_since, horizon)
        return job._replace(absent_at=event.at, in_doubt_since=since)
    job = job._replace(in_doubt_since=None, last_request_at=None, absent_at=None, is_line_certain=True)
    if not job.recipient.is_sendable:
        return _released(job)
    refusal, job = job.refusal, job._replace(refusal=None)
    if refusal is not None:
        return transition(job, refusal)
    return _released(job) if job.is_late else job


def _unanswered(job: SendJob, event: RateLimited | NoAnswer, in_flight_since: datetime | None) -> SendJob:
    if isinstance(event, NoAnswer):
        job = job._replace(attempts=job.attempts + 1, last_error=event.error)
        at = event.at
    else:
        job = job._replace(waits=job.waits + 1, last_error=event.error)
        at = in_flight_since or job.claimed_at  # type: ignore[assignment]
    if not event.is_open:
        return job
    since = job.in_doubt_since or in_flight_since or job.claimed_at
    return job._replace(in_doubt_since=since, last_request_at=max(filter(None, (job.last_request_at, at))))


def backoff(attempts: int) -> timedelta:
    """Return how long to wait after so many attempts without a usable answer: doubling from 1 to 30 seconds."""
    return timedelta(seconds=min(30.0, 0.5 * 2.0 ** min(attempts, 10)))
