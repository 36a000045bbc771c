"""`resend_failed` of campaigns: a message that has failed is sent again, once a try, and never beside another one."""

from __future__ import annotations

import contextlib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import ObjectStoragePath
from airflow.sdk.exceptions import AirflowException, AirflowFailException, TaskDeferred

from airflow_provider_linq.campaigns import DeliveryReport, _resend, _sending, _state
from airflow_provider_linq.campaigns._checkpoint import Checkpoint
from airflow_provider_linq.campaigns._journal import Journal
from airflow_provider_linq.campaigns._owner import Owner
from airflow_provider_linq.campaigns._packed_states import PackedStates
from linq_client import LinqClient
from tests.support.airflow import Store
from tests.support.campaigns import A, B, campaign, context, fault, once, outcomes, people, posts, sent_to
from tests.support.emulator_process import Emulator

pytestmark = pytest.mark.usefixtures("connect")

ROWS = people(6)


class Campaign:
    """A campaign whose tries a test makes."""

    def __init__(self, emulator: Emulator, folder: Path, **arguments: Any) -> None:
        self.emulator = emulator
        self.store = Store()
        self.path = folder / "outcomes.jsonl"
        self.arguments = {"rows": ROWS, "from_": A, "outcomes_path": str(self.path), "resend_failed": True, **arguments}
        self.tries = 0

    def run(self, *, resumed: bool = False, **arguments: Any) -> Any:
        """Another try, or the same one after a deferral."""
        self.tries += not resumed
        operator = campaign(**{**self.arguments, **arguments})
        where = context(self.store, try_number=self.tries)
        return operator.execute_complete(where) if resumed else operator.execute(where)

    def fail(self, *people: str, status: str = "failed", seconds: float = 600) -> None:
        """The latest messages of these people fail, and the platform has had its time to think again."""
        for person in people:
            message = self.messages(person)[-1]
            self.emulator.control("POST", "receipts", {"message_id": message, "status": status})
        self.emulator.advance(seconds)

    def messages(self, person: str) -> list[str]:
        """Ids of the messages that somebody was sent."""
        return [entry["id"] for entry in self.emulator.ledger() if entry["to"] == [person]]

    def alive(self, person: str) -> int:
        """How many messages to somebody have not failed."""
        with LinqClient(self.emulator.api_key, base_url=self.emulator.base_url) as client:
            found = [client.messages.get(message) for message in self.messages(person)]
        return sum(message.delivery_status != "failed" for message in found)

    @property
    def outcomes(self) -> dict[str, dict[str, Any]]:
        return outcomes(self.path)


@pytest.fixture
def sent(emulator: Emulator, tmp_path: Path) -> Campaign:
    """A campaign that has sent to everybody; two of the messages have failed."""
    emulator.control("PATCH", "switches", {"automatic_delivery": False})
    made = Campaign(emulator, tmp_path)
    assert made.run()["sent"] == len(ROWS)
    made.fail(ANN, BOB)
    return made


ANN, BOB, CAT = (row["to"] for row in ROWS[:3])
TWICE = Counter({**once(ROWS), ANN: 2, BOB: 2})


def test_a_later_try_sends_again_what_has_failed(emulator: Emulator, sent: Campaign) -> None:
    first = sent.messages(ANN)[0]
    result = sent.run()
    assert (result["sent"], result["failed"], result["unknown"]) == (len(ROWS), 0, 0)
    assert sent_to(emulator) == TWICE
    assert sent.outcomes[ANN]["message_id"] == sent.messages(ANN)[1]
    assert sent.outcomes[ANN]["replaces"] == first
    assert sent.outcomes[CAT]["replaces"] is None
    sent.run()
    assert sent_to(emulator) == TWICE


def test_without_the_argument_nothing_is_sent_again(emulator: Emulator, sent: Campaign) -> None:
    sent.run(resend_failed=False)
    assert sent_to(emulator) == once(ROWS)


def test_each_failed_message_is_replaced_once(emulator: Emulator, sent: Campaign) -> None:
    for number in (2, 3, 4):
        sent.run()
        assert len(set(sent.messages(ANN))) == number
        sent.fail(ANN)
    assert len(sent.messages(BOB)) == 2


def test_a_try_makes_one_message_at_most(emulator: Emulator, sent: Campaign) -> None:
    sent.run()
    sent.fail(ANN, BOB)
    sent.run(resumed=True)
    sent.run(resumed=True)
    assert sent_to(emulator) == TWICE


def test_a_failure_is_not_believed_at_first(emulator: Emulator, sent: Campaign) -> None:
    sent.fail(CAT, seconds=240)
    sent.run()
    assert sent.messages(CAT) == sent.messages(CAT)[:1]
    emulator.advance(120)
    sent.run()
    assert len(sent.messages(CAT)) == 2


def test_what_was_delivered_after_all_is_kept(emulator: Emulator, sent: Campaign) -> None:
    sent.fail(ANN, status="delivered")
    sent.run()
    assert len(sent.messages(ANN)) == 1
    assert sent.outcomes[ANN]["message_id"] == sent.messages(ANN)[0]


def test_what_is_gone_is_not_sent_again(emulator: Emulator, sent: Campaign) -> None:
    with LinqClient(emulator.api_key, base_url=emulator.base_url) as client:
        client.messages.delete(sent.messages(ANN)[0])
    sent.run()
    assert len(sent.messages(ANN)) == 1
    assert len(sent.messages(BOB)) == 2


@pytest.mark.parametrize(("keys", "minutes"), [("known", 1), ("known", 20), ("known", 70), ("forgotten", 70)])
def test_a_lost_answer_makes_no_third_message(
    emulator: Emulator, sent: Campaign, monkeypatch: pytest.MonkeyPatch, keys: str, minutes: int
) -> None:
    emulator.control("PATCH", "switches", {"idempotency_hours": 0 if keys == "known" else 1})
    monkeypatch.setattr(_state, "MAX_ATTEMPTS", 1)
    fault(emulator, kind="reset", when="after", count=2)
    with pytest.raises(AirflowException, match="2 recipients are not settled"):
        sent.run()
    emulator.advance(60 * minutes)
    assert sent.run()["sent"] == len(ROWS)
    assert sent_to(emulator) == TWICE
    assert sent.outcomes[ANN]["message_id"] == sent.messages(ANN)[1]


def test_the_failed_message_may_arrive_while_its_successor_is_in_doubt(
    emulator: Emulator, sent: Campaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_state, "MAX_ATTEMPTS", 1)
    fault(emulator, kind="reset", when="before", count=2)
    with pytest.raises(AirflowException, match="2 recipients are not settled"):
        sent.run()
    sent.fail(ANN, status="delivered")
    assert sent.run()["sent"] == len(ROWS)
    assert len(sent.messages(ANN)) == 1
    assert len(sent.messages(BOB)) == 2


def test_the_failed_message_may_arrive_before_its_successor_is_sent(
    emulator: Emulator, sent: Campaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = _sending.jobs_to_resend

    def found_too_early(*arguments: Any) -> Any:
        jobs = found(*arguments)
        sent.fail(ANN, status="delivered", seconds=0)
        return jobs

    monkeypatch.setattr(_sending, "jobs_to_resend", found_too_early)
    assert sent.run()["sent"] == len(ROWS)
    assert len(sent.messages(ANN)) == 1
    assert len(sent.messages(BOB)) == 2


def test_one_who_has_opted_out_since_keeps_the_message(emulator: Emulator, sent: Campaign) -> None:
    emulator.control("POST", "handles", {"handle": ANN, "opted_out": True})
    result = sent.run()
    assert (result["sent"], result["skipped"]["opted_out"]) == (len(ROWS), 0)
    assert sent.outcomes[ANN]["message_id"] == sent.messages(ANN)[0]


def test_a_lost_line_keeps_the_message(emulator: Emulator, sent: Campaign) -> None:
    emulator.control("POST", "lines", {"phone_number": A, "ineligible": True})
    with contextlib.suppress(AirflowException):
        sent.run()
    assert sent_to(emulator) == once(ROWS)
    emulator.control("POST", "lines", {"phone_number": A, "ineligible": False})
    assert sent.run()["sent"] == len(ROWS)
    assert sent_to(emulator) == TWICE


def test_the_platform_may_choose_the_line(emulator: Emulator, tmp_path: Path) -> None:
    emulator.control("PATCH", "switches", {"automatic_delivery": False})
    made = Campaign(emulator, tmp_path, from_="any")
    made.run()
    made.fail(ANN, BOB)
    made.run()
    assert sent_to(emulator) == TWICE


def test_a_conversation_that_went_on_is_not_interrupted(emulator: Emulator, sent: Campaign) -> None:
    """Whether the second message was sent can't be told from others, where the key may be forgotten."""
    emulator.advance(3600)
    with LinqClient(emulator.api_key, base_url=emulator.base_url) as client:
        client.messages.send(sent.outcomes[ANN]["chat_id"], "Something else")
    assert sent.run()["sent"] == len(ROWS)
    assert len(sent.messages(ANN)) == 2
    assert sent.outcomes[ANN]["message_id"] == sent.messages(ANN)[0]
    assert len(sent.messages(BOB)) == 2


@pytest.mark.parametrize("dies_before", ["journal", "states", "request", "outcome"])
def test_a_try_that_dies_between_two_writes_makes_no_third_message(
    emulator: Emulator, sent: Campaign, monkeypatch: pytest.MonkeyPatch, dies_before: str
) -> None:
    class Death(BaseException):
        pass

    def die(*args: Any, **more: Any) -> Any:
        raise Death

    with monkeypatch.context() as patch:
        if dies_before == "journal":
            patch.setattr(Journal, "append", die)
        elif dies_before == "states":
            patch.setattr(PackedStates, "save", die)
        elif dies_before == "request":
            fault(emulator, kind="reset", when="before")
            patch.setattr(_state, "MAX_ATTEMPTS", 1)
        else:
            append = Journal.append
            calls = iter(range(10))
            patch.setattr(Journal, "append", lambda *args: die() if next(calls) > 3 else append(*args))
        with contextlib.suppress(Death, AirflowException):
            sent.run()
    emulator.control("DELETE", "faults")
    emulator.advance(3600)
    assert sent.run()["sent"] == len(ROWS)
    assert sent_to(emulator) == TWICE
    assert sent.outcomes[ANN]["message_id"] == sent.messages(ANN)[1]


@pytest.mark.parametrize("lost", ["store", "journal"])
def test_a_lost_record_makes_no_third_message(emulator: Emulator, sent: Campaign, lost: str, tmp_path: Path) -> None:
    sent.run()
    if lost == "store":
        sent.store.values.clear()
    else:
        for part in Path(f"{sent.path}.parts").iterdir():
            part.unlink()
    emulator.advance(3600)
    assert sent.run()["sent"] == len(ROWS)
    assert sent_to(emulator) == TWICE


def test_more_rows_and_other_ranges_make_no_third_message(emulator: Emulator, sent: Campaign) -> None:
    sent.run()
    emulator.advance(3600)
    more = people(30)
    assert sent.run(rows=more[1:])["sent"] == 29
    assert sent_to(emulator) == once(more) + Counter({ANN: 1, BOB: 1})


def test_nothing_is_sent_again_after_not_after(emulator: Emulator, sent: Campaign) -> None:
    sent.run(not_after="2026-03-01T12:00:01+00:00")
    assert sent_to(emulator) == once(ROWS)


def test_the_report_is_about_the_message_that_counts(emulator: Emulator, tmp_path: Path) -> None:
    emulator.control("PATCH", "switches", {"automatic_delivery": False})
    made = Campaign(emulator, tmp_path, delivery_report=DeliveryReport(timeout=600, poll_interval=60))
    with pytest.raises(TaskDeferred):
        made.run()
    for row in ROWS[1:]:
        made.fail(row["to"], status="delivered", seconds=0)
    made.fail(ANN)
    report = made.run(resumed=True)["report"]
    assert (report["failed"], report["delivered"]) == (1, len(ROWS) - 1)
    with pytest.raises(TaskDeferred):  # it waits for the second message, whatever became of the first
        made.run()
    made.fail(ANN, status="delivered", seconds=0)
    report = made.run(resumed=True)["report"]
    assert (report["failed"], report["delivered"]) == (0, len(ROWS))


def test_it_needs_a_place_for_what_was_sent(emulator: Emulator, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="resend_failed needs outcomes_path"):
        campaign(rows=ROWS, resend_failed=True)
    operator = campaign(rows=ROWS, resend_failed=True, outcomes_path=str(tmp_path / "outcomes.jsonl"))
    with pytest.raises(Exception, match="resend_failed: must be false where Airflow has no task state store"):
        operator.execute(context())


def test_a_claim_does_not_hide_the_message_that_counts(
    emulator: Emulator, sent: Campaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A try claims its second message and dies; the first is delivered after all: it is the one of the outcomes."""
    first = sent.messages(ANN)[0]
    fault(emulator, kind="reset", when="before", count=2)
    monkeypatch.setattr(_state, "MAX_ATTEMPTS", 1)
    with pytest.raises(AirflowException, match="2 recipients are not settled"):
        sent.run()
    sent.fail(ANN, status="delivered")
    sent.run()
    assert len(sent.messages(ANN)) == 1
    assert (sent.outcomes[ANN]["status"], sent.outcomes[ANN]["message_id"]) == ("sent", first)


def test_a_doubt_fails_the_last_try(emulator: Emulator, sent: Campaign, monkeypatch: pytest.MonkeyPatch) -> None:
    """A report would call the message failed while another may be under way."""
    first = sent.messages(ANN)[0]
    fault(emulator, kind="reset", when="after", count=2)
    monkeypatch.setattr(_state, "MAX_ATTEMPTS", 1)
    sent.tries = 10
    with pytest.raises(AirflowFailException, match="2 of 6 recipients"):
        sent.run()
    assert (sent.outcomes[ANN]["status"], sent.outcomes[ANN]["message_id"]) == ("sent", first)
    assert sent.run()["sent"] == len(ROWS)
    assert sent_to(emulator) == TWICE


def test_a_line_that_can_not_be_used_stops_nobody_else(emulator: Emulator, sent: Campaign) -> None:
    message = sent.messages(ANN)[0]
    emulator.control("POST", "lines", {"phone_number": A, "reputation": "CRITICAL"})
    fault(emulator, kind="status", status=403, code=2006, path=f"^/v3/messages/{message}$", method="GET", count=9)
    more = people(8)
    assert sent.run(rows=more, from_=[A, B])["sent"] == len(more)
    assert sent_to(emulator) == once(more)


def test_a_first_message_that_arrives_late_needs_no_third(emulator: Emulator, sent: Campaign) -> None:
    first = sent.messages(ANN)[0]
    sent.run()
    emulator.control("POST", "receipts", {"message_id": first, "status": "delivered"})
    sent.fail(ANN)  # the second one
    sent.run()
    assert len(sent.messages(ANN)) == 2


@pytest.mark.parametrize("arrives", [0, 1, 2])
def test_any_message_of_a_chain_that_arrives_late_needs_no_other(
    emulator: Emulator, sent: Campaign, arrives: int
) -> None:
    for _ in range(2):
        sent.run()
        sent.fail(ANN)
    chain = sent.messages(ANN)
    assert len(chain) == 3
    emulator.control("POST", "receipts", {"message_id": chain[arrives], "status": "delivered"})
    sent.run()
    sent.run()
    assert sent.messages(ANN) == chain


def test_a_message_that_arrives_after_a_doubt_about_its_successor_stands_in_the_outcomes(
    emulator: Emulator, sent: Campaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Something else was written in the chat, so nobody can tell whether a killed try has sent a second message."""
    first = sent.messages(ANN)[0]
    fault(emulator, kind="reset", when="before", count=2)
    with monkeypatch.context() as patch:
        patch.setattr(_state, "MAX_ATTEMPTS", 1)
        with pytest.raises(AirflowException, match="2 recipients are not settled"):
            sent.run()
    with LinqClient(emulator.api_key, base_url=emulator.base_url) as client:
        client.messages.send(sent.outcomes[ANN]["chat_id"], "Something else")
    emulator.advance(3600)
    sent.run()
    assert (sent.outcomes[ANN]["status"], sent.outcomes[ANN]["message_id"]) == ("sent", None)
    emulator.control("POST", "receipts", {"message_id": first, "status": "delivered"})
    sent.run()
    assert (sent.outcomes[ANN]["status"], sent.outcomes[ANN]["message_id"]) == ("sent", first)
    assert len(sent.messages(BOB)) == 2


def test_a_line_that_is_lost_leaves_no_doubt_about_what_was_not_requested(emulator: Emulator, tmp_path: Path) -> None:
    emulator.control("PATCH", "switches", {"automatic_delivery": False})
    made = Campaign(emulator, tmp_path, rows=people(20), concurrency=1)
    made.run()
    made.fail(*(row["to"] for row in people(20)))
    emulator.control("POST", "lines", {"phone_number": A, "ineligible": True})
    before = posts(emulator)
    made.run(from_=[A, B])
    assert posts(emulator) - before == 1
    assert {row["message_id"] for row in made.outcomes.values()} == {made.messages(row["to"])[0] for row in people(20)}


@pytest.mark.parametrize("scope", ["account", "line"])
def test_another_way_to_choose_lines_makes_no_third_message(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scope: str
) -> None:
    emulator.control("PATCH", "switches", {"automatic_delivery": False, "idempotency_scope": scope})
    made = Campaign(emulator, tmp_path, from_=A)
    made.run()
    made.fail(ANN)
    fault(emulator, kind="reset", when="after", count=1)
    emulator.control("POST", "lines", {"phone_number": A, "ineligible": True})
    with monkeypatch.context() as patch, contextlib.suppress(AirflowException):
        patch.setattr(_state, "MAX_ATTEMPTS", 1)
        made.run(from_="any")
    assert len(made.messages(ANN)) == 2
    emulator.control("POST", "lines", {"phone_number": A, "ineligible": False})
    emulator.advance(60)
    made.run(from_=A)
    assert len(made.messages(ANN)) == 2


def test_the_log_counts_what_this_try_has_sent(sent: Campaign, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    caplog.clear()
    sent.run()
    said = [record.getMessage() for record in caplog.records if record.getMessage().startswith("Campaign")]
    assert not [words for words in said if "nothing in this one" in words], said


def test_a_closed_window_leaves_them_sent_in_the_outcomes(emulator: Emulator, sent: Campaign) -> None:
    first = sent.messages(ANN)[0]
    with pytest.raises(TaskDeferred):
        sent.run(send_window=("01:00", "02:00"))
    assert (sent.outcomes[ANN]["status"], sent.outcomes[ANN]["message_id"]) == ("sent", first)


@pytest.mark.parametrize("resends", [False, True])
def test_others_who_are_in_doubt_are_not_in_doubt_for_longer(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, resends: bool
) -> None:
    """A try dies with claims of old failures and of new people, who have talked to us in the meantime."""

    class Death(BaseException):
        pass

    emulator.control("PATCH", "switches", {"automatic_delivery": False})
    made = Campaign(emulator, tmp_path, rows=ROWS[:2], resend_failed=resends)
    made.run()
    made.fail(ANN, BOB)
    emulator.advance(86_400)
    with LinqClient(emulator.api_key, base_url=emulator.base_url) as client:
        client.chats.create(A, [CAT], "How are you?")
    emulator.advance(3600)
    save = Checkpoint.save
    calls = iter(range(100))

    def save_and_die(*args: Any, **more: Any) -> None:
        if (call := next(calls)) < 2:
            save(*args, **more)
        if call:
            raise Death

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "save", save_and_die)
        with pytest.raises(Death):
            made.run(rows=ROWS)
    emulator.advance(3600)
    assert made.run(rows=ROWS)["unknown"] == 0
    assert len(made.messages(CAT)) == 2


def test_the_ownership_is_confirmed_while_many_messages_are_asked_for(
    emulator: Emulator, sent: Campaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = _resend.poll
    (file,) = ObjectStoragePath(f"{sent.path}.parts").glob("*.owner.json")
    owner = Owner(file, "another")
    taken = []

    def slow(client: LinqClient, *args: Any, **more: Any) -> Any:
        # First all answers: one that another thread takes after the clock has moved would set the client's back.
        for one in list(found(client, *args, **more)):
            emulator.advance(100)
            yield one
            client.phone_numbers.list()
            taken.append(not owner.is_other_task(client.server_time))

    monkeypatch.setattr(_resend, "poll", slow)
    sent.run()
    assert taken
    assert not any(taken)


def test_what_a_killed_try_has_sent_and_the_chat_does_not_tell(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulator.control("PATCH", "switches", {"automatic_delivery": False})
    made = Campaign(emulator, tmp_path, delivery_report=DeliveryReport(timeout=60, poll_interval=60))
    made.run(delivery_report=None)
    made.fail(ANN)
    fault(emulator, kind="reset", when="after", count=1)
    with monkeypatch.context() as patch:
        patch.setattr(_state, "MAX_ATTEMPTS", 1)
        with pytest.raises(AirflowException):
            made.run()
    for row in ROWS:
        made.fail(row["to"], status="delivered", seconds=0)
    emulator.advance(3600)
    result = made.run(message="Another text")  # the second message of the try before can't be told by its text
    assert (result["sent"], result["report"]["failed"], result["report"]["unknown"]) == (6, 0, 1)
