"""The state machine of a campaign, without HTTP: what may follow from what, and that nobody ever gets two messages."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from airflow_provider_linq._internal.delivery import FAILURE_GRACE
from airflow_provider_linq._internal.key_lifetimes import CLOCK_SKEW, KEY_TRUST, LATE_ACCEPTANCE, LIST_LAG
from airflow_provider_linq.campaigns._model import Recipient, recipient_key
from airflow_provider_linq.campaigns._outcomes import outcome_of, outcome_of_state, state_of
from airflow_provider_linq.campaigns._state import (
    OPEN,
    SETTLED,
    TERMINAL,
    Claimed,
    Event,
    LineLost,
    NoAnswer,
    Postponed,
    RateLimited,
    RecipientState,
    Refused,
    Released,
    Requested,
    Resolved,
    SendJob,
    Sent,
    Step,
    TooLate,
    TransitionError,
    next_step,
    transition,
)
from linq_client import LinqError
from linq_client.times import format_datetime, parse_datetime

T0 = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
LINE, OTHER = "+12025550101", "+12025550102"
ANN = Recipient(1, ("ann@example.com",), recipient_key("k", ["ann@example.com"]), {"to": "ann@example.com"}, "UTC")
ERROR = LinqError("no answer")
SENT = Sent(LINE, "chat", "message", "2026-03-01T12:00:00Z")
OPTED_OUT = Refused(RecipientState.OPTED_OUT, 2024)


def after(*events: Event, job: SendJob | None = None) -> SendJob:
    job = job or SendJob(ANN)
    for event in events:
        job = transition(job, event)
    return job


def claimed(line: str | None = LINE) -> SendJob:
    return after(Claimed(line, starts_chat=True, at=T0))


def in_doubt(line: str | None = LINE) -> SendJob:
    return after(Requested(T0), NoAnswer(ERROR, is_open=True, at=T0), job=claimed(line))


def test_i5_a_claimed_recipient_keeps_its_line_while_a_request_is_unresolved() -> None:
    job = after(Requested(T0), LineLost(ERROR), job=in_doubt())
    assert (job.state, job.line) == (RecipientState.CLAIMED, LINE)
    with pytest.raises(TransitionError):
        transition(job, Claimed(OTHER, starts_chat=True, at=T0))
    resolved = transition(job, Resolved(True, T0 + LATE_ACCEPTANCE + timedelta(seconds=1)))
    assert (resolved.state, resolved.line) == (RecipientState.PENDING, None)


def test_i7_an_old_key_or_an_uncertain_line_is_looked_up_before_a_send() -> None:
    job = in_doubt()
    assert next_step(job, T0 + KEY_TRUST) is Step.SEND
    assert next_step(job, T0 + KEY_TRUST + timedelta(seconds=1)) is Step.LOOK
    assert next_step(job._replace(is_line_certain=False), T0) is Step.LOOK
    assert next_step(in_doubt(None), T0) is Step.LOOK


def test_i7_where_the_platform_chooses_the_line_lists_get_time_to_show_the_message() -> None:
    job = transition(in_doubt(None), Resolved(True, T0))
    assert next_step(job, T0 + LIST_LAG / 2) is Step.WAIT
    assert next_step(job, T0 + LIST_LAG) is Step.LOOK
    again = transition(job, Resolved(True, T0 + LIST_LAG))
    assert next_step(again, T0 + LIST_LAG) is Step.SEND
    assert again.in_doubt_since is not None


def test_i7_a_look_is_worth_nothing_when_the_key_may_be_forgotten_again() -> None:
    young = transition(in_doubt(), Resolved(True, T0))
    assert next_step(young, T0 + KEY_TRUST + timedelta(seconds=1)) is Step.LOOK
    looked_up = transition(in_doubt(None), Resolved(True, T0 + LIST_LAG))
    assert next_step(looked_up, T0 + LIST_LAG + KEY_TRUST) is Step.LOOK


def test_i8_a_refusal_settles_nobody_who_is_in_doubt() -> None:
    job = after(Requested(T0), OPTED_OUT, job=in_doubt())
    assert job.state in OPEN
    assert next_step(job, T0) is Step.LOOK
    young = transition(job, Resolved(True, T0))
    assert young.state in OPEN
    assert next_step(young, T0 + timedelta(seconds=1)) is Step.WAIT
    assert next_step(young, T0 + LATE_ACCEPTANCE) is Step.LOOK
    assert transition(young, Resolved(True, T0 + LATE_ACCEPTANCE)).state is RecipientState.OPTED_OUT
    assert transition(young, SENT).state is RecipientState.SENT
    assert transition(young, Resolved(False, T0)).state is RecipientState.UNKNOWN


def test_a_refusal_without_doubt_settles() -> None:
    assert after(Requested(T0), OPTED_OUT, job=claimed()).state is RecipientState.OPTED_OUT


def test_i9_only_what_is_old_enough_is_absent() -> None:
    horizon = T0 + LATE_ACCEPTANCE
    assert transition(in_doubt(), Resolved(True, horizon)).in_doubt_since is None
    young = transition(in_doubt(), Resolved(True, horizon - timedelta(seconds=1)))
    assert young.in_doubt_since == T0


def test_a_claim_that_was_not_used_is_released_and_one_that_was_is_not() -> None:
    assert transition(claimed(), Released()).state is RecipientState.PENDING
    assert transition(in_doubt(), Released()).state in OPEN
    assert after(Requested(T0), Released(), job=claimed()).state in OPEN


@pytest.mark.parametrize("event", [RateLimited(ERROR, True), NoAnswer(ERROR, True, T0 + timedelta(hours=3))])
def test_a_doubt_counts_from_the_request_and_not_from_the_claim(event: Event) -> None:
    """Who is claimed may wait for a turn for long; what was asked to wait may have been accepted, too."""
    asked_at = T0 + timedelta(hours=2)
    job = transition(transition(claimed(), Requested(asked_at)), event)
    assert job.in_doubt_since == asked_at
    assert job.last_request_at == (event.at if isinstance(event, NoAnswer) else asked_at)


@pytest.mark.parametrize("state", sorted(SETTLED))
def test_nothing_follows_on_a_settled_state(state: RecipientState) -> None:
    job = claimed()._replace(state=state)
    for event in (SENT, OPTED_OUT, Released(), Requested(T0), Postponed(), RateLimited(ERROR, False)):
        with pytest.raises(TransitionError):
            transition(job, event)


@pytest.mark.parametrize("event", [Requested(T0), SENT, OPTED_OUT, LineLost(ERROR), Resolved(True, T0), Released()])
def test_i1_nothing_happens_to_a_recipient_without_a_claim(event: Event) -> None:
    with pytest.raises(TransitionError):
        transition(SendJob(ANN), event)


def test_outcomes_and_states_say_the_same() -> None:
    for state in TERMINAL | {RecipientState.UNKNOWN}:
        assert state_of(outcome_of_state(state, 1, ANN.to, ANN.key)) is state
    job = after(Requested(T0), SENT, job=claimed())
    assert (outcome_of(job).status, outcome_of(job).message_id, outcome_of(job).line) == ("sent", "message", LINE)
    assert outcome_of(after(Requested(T0), Sent(None), job=claimed())).reason == "gone"


def resent() -> SendJob:
    """A message that has failed is to be sent again."""
    job = SendJob(ANN, RecipientState.CLAIMED, LINE, claimed_at=T0 + LATE_ACCEPTANCE, replaces=SENT)
    return job._replace(in_doubt_since=T0, last_request_at=T0)


def test_i6_the_key_of_another_message_is_made_of_the_failed_one_alone() -> None:
    job = resent()
    assert job.key not in (ANN.key, job._replace(replaces=Sent(LINE, "chat", "other")).key)
    assert job.key == resent()._replace(attempts=3, line=OTHER, claimed_at=None).key


@pytest.mark.parametrize(
    "event", [OPTED_OUT, LineLost(ERROR), Released(), TooLate(), Resolved(False, T0 + 2 * LATE_ACCEPTANCE)]
)
def test_a_message_that_is_not_replaced_stays_sent(event: Event) -> None:
    job = transition(resent(), event)
    if job.state in OPEN:  # the second message may have been sent by a try that was killed
        assert next_step(job, T0 + 2 * LATE_ACCEPTANCE) in (Step.LOOK, Step.SEND)
        job = transition(job, Resolved(True, T0 + 2 * LATE_ACCEPTANCE))
    if job.state in OPEN:
        job = transition(job, event)
    assert (job.state, job.result, job.line) == (RecipientState.SENT, SENT, LINE)


def test_what_takes_the_place_of_a_failed_message_says_so() -> None:
    job = after(Requested(T0), Sent(LINE, "chat", "second"), job=resent())
    assert (outcome_of(job).message_id, outcome_of(job).replaces) == ("second", "message")


@dataclass
class Platform:
    """
    The least that the platform is believed to keep to, and the worst that it may do beyond.

    It knows a key on one line only, and forgets it as soon as it may; it accepts requests as late as it may, and shows
    messages as late as it may.

    :param messages: when each was made, by its number.
    :param failed: numbers of those that have failed, and since when.
    """

    messages: list[datetime] = field(default_factory=list)
    failed: dict[int, datetime] = field(default_factory=dict)
    keys: dict[tuple[str, str], int] = field(default_factory=dict)
    held: list[tuple[datetime, str, str]] = field(default_factory=list)

    def accept(self, line: str, key: str, now: datetime) -> int:
        known = self.keys.get((line, key))
        if known is None or now - self.messages[known] > KEY_TRUST + LATE_ACCEPTANCE:
            self.messages.append(now)
            self.keys[line, key] = len(self.messages) - 1
        return self.keys[line, key]

    def catch_up(self, now: datetime) -> None:
        for at, line, key in [one for one in self.held if one[0] <= now]:
            self.accept(line, key, at)
        self.held = [one for one in self.held if one[0] > now]

    def shown(self, now: datetime, since: datetime, without: int | None) -> int | None:
        """The number of a message that a look finds."""
        found = [
            number
            for number, at in enumerate(self.messages)
            if at + LIST_LAG <= now and at >= since - CLOCK_SKEW and number != without
        ]
        return found[0] if found else None

    @property
    def alive(self) -> list[int]:
        return [number for number in range(len(self.messages)) if number not in self.failed]


class OneRecipient(RuleBasedStateMachine):
    """One recipient, several tries, and a platform that does its worst: never two messages, and no false report.

    What the journal says of the message that was sent last is durable as soon as the states are.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = T0
        self.platform = Platform()
        self.job = SendJob(ANN)
        self.saved = self.job
        self.saved_at = T0
        self.lines = [LINE, OTHER]
        self.began = T0
        self.reopened_until: datetime | None = None
        self.is_late = False

    def apply(self, event: Event) -> None:
        self.job = transition(self.job, event)
        if isinstance(event, Claimed):
            self.save()

    @rule()
    def save(self) -> None:
        self.saved, self.saved_at = self.job, self.now
        if self.job.state is RecipientState.SENT:
            self.reopened_until = None

    @rule(seconds=st.sampled_from([1, 9, 11, 59, 120, 299, 301, 1000, 1795, 1805, 4000, 40_000]))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)
        self.platform.catch_up(self.now)

    @precondition(lambda self: self.job.state is RecipientState.PENDING)
    @rule()
    def claim(self) -> None:
        self.job = SendJob(ANN)
        self.apply(Claimed(self.lines[0], starts_chat=True, at=self.now))

    def step(self) -> Step | None:
        return next_step(self.job, self.now) if self.job.state in OPEN else None

    def request(self) -> str:
        if self.now - self.saved_at > timedelta(seconds=60):  # a claim is used only while it is confirmed
            self.save()
        self.apply(Requested(self.now))
        assert self.job.line is not None
        return self.job.line

    @precondition(lambda self: self.step() is Step.SEND)
    @rule()
    def is_sent(self) -> None:
        self.apply(self.sent(self.platform.accept(self.request(), self.job.key, self.now)))

    def sent(self, number: int) -> Sent:
        """What the platform says of a message."""
        return Sent(self.job.line, "chat", str(number), format_datetime(self.platform.messages[number]))

    @precondition(lambda self: self.step() is Step.SEND)
    @rule(
        delay=st.one_of(st.none(), st.sampled_from([0, 4, 60, 299])),
        took=st.sampled_from([0, 60]),
        dies=st.booleans(),
    )
    def gets_no_answer(self, delay: int | None, took: int, dies: bool) -> None:
        line = self.request()
        if delay is not None:
            self.platform.held.append((self.now + timedelta(seconds=delay), line, self.job.key))
            self.platform.catch_up(self.now)
        if dies:
            self.dies()
        else:
            self.time_passes(took)
            self.apply(NoAnswer(ERROR, is_open=True, at=self.now))

    @precondition(lambda self: self.step() is Step.SEND)
    @rule(refused=st.sampled_from([OPTED_OUT, LineLost(ERROR), RateLimited(ERROR, False)]))
    def is_refused(self, refused: Event) -> None:
        self.request()
        self.apply(refused)
        if isinstance(refused, LineLost):
            self.lines.reverse()

    @precondition(lambda self: self.step() is Step.LOOK)
    @rule()
    def is_looked_up(self) -> None:
        failed = self.job.replaces
        without = None if failed is None else int(str(failed.message_id))
        assert self.job.in_doubt_since is not None
        found = self.platform.shown(self.now, self.job.in_doubt_since, without)
        self.apply(Resolved(True, self.now) if found is None else self.sent(found))

    @precondition(lambda self: self.job.state in OPEN)
    @rule()
    def it_becomes_too_late(self) -> None:
        self.is_late = True
        self.apply(TooLate())
        self.save()

    @precondition(lambda self: len(self.platform.alive) == 1)
    @rule()
    def a_message_fails(self) -> None:
        self.platform.failed[self.platform.alive[0]] = self.now

    @precondition(lambda self: self.job.state is RecipientState.SENT and self.saved.state is RecipientState.SENT)
    @rule()
    def another_try_sends_again_what_has_failed(self) -> None:
        """As `jobs_to_resend` does."""
        self.dies()
        sent = self.job.result
        assert isinstance(sent, Sent)
        failed_at = self.platform.failed.get(int(str(sent.message_id)))
        made_at = parse_datetime(str(sent.created_at))
        if failed_at is None or self.now - failed_at < FAILURE_GRACE or made_at >= self.began - CLOCK_SKEW:
            return
        job = SendJob(ANN, RecipientState.CLAIMED, sent.line, claimed_at=self.now, in_doubt_since=made_at)
        self.job = job._replace(last_request_at=self.reopened_until or made_at, replaces=sent)
        self.save()

    @precondition(lambda self: self.job.state in OPEN)
    @rule()
    def the_try_ends(self) -> None:
        self.apply(Released())
        self.save()

    @rule()
    def dies(self) -> None:
        """Another try begins with what is durable, as the checkpoint reads it."""
        saved = self.saved
        if saved.state in OPEN:
            since = saved.in_doubt_since or saved.in_flight_since or saved.claimed_at
            until = min(self.now, self.saved_at + timedelta(seconds=60))
            if saved.replaces is None:
                saved = SendJob(ANN, saved.state, saved.line, claimed_at=since, in_doubt_since=since)
                saved = saved._replace(last_request_at=until)
            else:
                self.reopened_until = until
                saved = self.saved = SendJob(ANN, RecipientState.SENT, saved.replaces.line, result=saved.replaces)
        self.job = saved
        self.began = self.now
        self.is_late = False

    @invariant()
    def never_two_messages(self) -> None:
        assert len(self.platform.alive) <= 1

    @invariant()
    def reports_are_true(self) -> None:
        if self.job.state is RecipientState.SENT:
            assert self.platform.messages
        if self.job.state in TERMINAL - {RecipientState.SENT} or self.job.state is RecipientState.PENDING:
            assert not self.platform.messages
            assert not self.platform.held

    @invariant()
    def a_message_that_arrives_is_never_doubled(self) -> None:
        """Also those that are on their way would be one too many."""
        new = {key for _, line, key in self.platform.held if (line, key) not in self.platform.keys}
        assert len(self.platform.alive) + len(new) <= 1


class OneResend(OneRecipient):
    """The same, after a message that has failed: most runs of the other machine never come that far."""

    def __init__(self) -> None:
        super().__init__()
        self.apply(Claimed(LINE, starts_chat=True, at=self.now))
        self.is_sent()
        self.a_message_fails()
        self.save()
        self.time_passes(301)
        self.another_try_sends_again_what_has_failed()


EXAMPLES = 4_000 if os.environ.get("LINQ_DRILLS") == "full" else 100
for machine in (OneRecipient, OneResend):
    machine.TestCase.settings = settings(max_examples=EXAMPLES, stateful_step_count=40, deadline=None)
TestOneRecipient = OneRecipient.TestCase
TestOneResend = OneResend.TestCase
