"""The state machine of a campaign, without HTTP: what may follow from what, and that nobody ever gets two messages."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from airflow_provider_linq._internal.key_lifetimes import KEY_TRUST, LATE_ACCEPTANCE, LIST_LAG
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
    TransitionError,
    next_step,
    transition,
)
from linq_client import LinqError

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


@dataclass
class Platform:
    """
    The least that the platform is believed to keep to, and the worst that it may do beyond.

    It knows a key on one line only, and forgets it as soon as it may; it accepts requests as late as it may, and shows
    messages as late as it may.
    """

    messages: list[datetime] = field(default_factory=list)
    keys: dict[str, datetime] = field(default_factory=dict)
    held: list[tuple[datetime, str]] = field(default_factory=list)

    def accept(self, line: str, now: datetime) -> None:
        known = self.keys.get(line)
        if known is None or now - known > KEY_TRUST + LATE_ACCEPTANCE:
            self.messages.append(now)
            self.keys[line] = now

    def catch_up(self, now: datetime) -> None:
        for at, line in [one for one in self.held if one[0] <= now]:
            self.accept(line, at)
        self.held = [one for one in self.held if one[0] > now]

    def shows(self, now: datetime) -> bool:
        return any(at + LIST_LAG <= now for at in self.messages)


class OneRecipient(RuleBasedStateMachine):
    """One recipient, several tries, and a platform that does its worst: never two messages, and no false report."""

    def __init__(self) -> None:
        super().__init__()
        self.now = T0
        self.platform = Platform()
        self.job = SendJob(ANN)
        self.saved = self.job
        self.saved_at = T0
        self.lines = [LINE, OTHER]

    def apply(self, event: Event) -> None:
        self.job = transition(self.job, event)
        if isinstance(event, Claimed):
            self.save()

    @rule()
    def save(self) -> None:
        self.saved, self.saved_at = self.job, self.now

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
        self.platform.accept(self.request(), self.now)
        self.apply(Sent(self.job.line, "chat", "message", "2026-03-01T12:00:00Z"))

    @precondition(lambda self: self.step() is Step.SEND)
    @rule(
        delay=st.one_of(st.none(), st.sampled_from([0, 4, 60, 299])),
        took=st.sampled_from([0, 60]),
        dies=st.booleans(),
    )
    def gets_no_answer(self, delay: int | None, took: int, dies: bool) -> None:
        line = self.request()
        if delay is not None:
            self.platform.held.append((self.now + timedelta(seconds=delay), line))
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
        self.apply(SENT if self.platform.shows(self.now) else Resolved(True, self.now))

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
            saved = SendJob(ANN, saved.state, saved.line, claimed_at=since, in_doubt_since=since, last_request_at=until)
        self.job = saved

    @invariant()
    def never_two_messages(self) -> None:
        assert len(self.platform.messages) <= 1

    @invariant()
    def reports_are_true(self) -> None:
        if self.job.state is RecipientState.SENT:
            assert self.platform.messages
        if self.job.state in TERMINAL - {RecipientState.SENT} or self.job.state is RecipientState.PENDING:
            assert not self.platform.messages
            assert not self.platform.held


EXAMPLES = 4_000 if os.environ.get("LINQ_DRILLS") == "full" else 200
OneRecipient.TestCase.settings = settings(max_examples=EXAMPLES, stateful_step_count=40, deadline=None)
TestOneRecipient = OneRecipient.TestCase
