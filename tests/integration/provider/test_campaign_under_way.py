"""What may change while a campaign is under way, and all was checked: files, templates, time, lines, the owner."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG

from airflow_provider_linq._internal.version_compat import AirflowException, AirflowSkipException, TaskDeferred
from airflow_provider_linq.campaigns import DeliveryReport, RateLimits, _dispatcher, _run, _state
from airflow_provider_linq.campaigns._journal import Journal, Writer
from airflow_provider_linq.campaigns._owner import OWNER_TIMEOUT, LostOwnershipError
from airflow_provider_linq.campaigns._sender import Sender
from airflow_provider_linq.campaigns._state import SendJob
from linq_client import APIConnectionError, Effect, LinqClient, RateLimitedError
from linq_client.resources.chats import Chats
from tests.support.airflow import Store
from tests.support.campaigns import A, B, campaign, context, fault, lines_of, once, outcomes, people, posts, sent_to
from tests.support.emulator_process import Emulator

pytestmark = pytest.mark.usefixtures("connect")

NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)  # by the emulator's clock
PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 100


def entries(path: Path) -> list[dict[str, Any]]:
    """What the journal of a campaign says so far, without the heads of its parts."""
    parts = sorted(path.with_name(f"{path.name}.parts").glob("*.jsonl"))
    return [json.loads(line) for part in parts for line in part.read_text().splitlines()[1:]]


def before_each_send(patch: pytest.MonkeyPatch, look: Callable[[int, SendJob], None]) -> None:
    """Let a test do something before each request, whose number it gets, from 0."""
    send, number = Sender.send, count()

    def sent(self: Sender, job: SendJob, *rest: Any) -> Any:
        look(next(number), job)
        return send(self, job, *rest)

    patch.setattr(Sender, "send", sent)


class TestFilesAndTemplates:
    def test_a_file_that_is_not_there_fails_one_row(self, emulator: Emulator, tmp_path: Path) -> None:
        rows = [{**row, "file": str(tmp_path / f"{number}.png")} for number, row in enumerate(people(3))]
        (tmp_path / "0.png").write_bytes(PNG)
        (tmp_path / "2.png").write_bytes(PNG)
        path = tmp_path / "outcomes.jsonl"
        message = [{"type": "media", "path": "{{ row.file }}"}]
        told = {"rows": rows, "message": message, "files_under": str(tmp_path), "outcomes_path": str(path)}
        result = campaign(**told, max_failures=1).execute(context(Store()))
        assert (result["sent"], result["failed"]) == (2, 1)
        assert "must be a file that can be read" in outcomes(path)["person1@example.com"]["detail"]

    @pytest.mark.usefixtures("impatient")
    def test_an_upload_that_fails_is_tried_again_with_its_message(self, emulator: Emulator, tmp_path: Path) -> None:
        rows = [{**row, "file": str(tmp_path / f"{number}.png")} for number, row in enumerate(people(2))]
        for row in rows:
            Path(row["file"]).write_bytes(PNG)
        with pytest.MonkeyPatch.context() as patch:
            more_than_the_client_tries = {"path": "^/v3/attachments", "kind": "status", "status": 503, "count": 6}
            before_each_send(
                patch,
                lambda number, _: (
                    emulator.control("POST", "faults", more_than_the_client_tries) if not number else None
                ),
            )
            message = [{"type": "media", "path": "{{ row.file }}"}]
            task = campaign(rows=rows, message=message, files_under=str(tmp_path), concurrency=1)
            assert task.execute(context(Store()))["sent"] == 2
        assert sent_to(emulator) == once(rows)
        assert posts(emulator) > 6

    def test_what_a_template_makes_at_last_may_be_refused(self, emulator: Emulator, tmp_path: Path) -> None:
        calls, path = count(), tmp_path / "outcomes.jsonl"
        with DAG("dag", user_defined_macros={"word": lambda: "Hello" if next(calls) < 4 else ""}):
            task = campaign(
                rows=people(3), message="{{ word() }}", concurrency=1, outcomes_path=str(path), max_failures=3
            )
        result = task.execute({**context(Store()), "dag": task.dag})
        assert (result["sent"], result["failed"]) == (0, 3)
        assert {row["status"] for row in outcomes(path).values()} == {"failed"}

    def test_a_macro_that_exits_in_the_middle_leaves_one_in_doubt(self, emulator: Emulator, tmp_path: Path) -> None:
        calls, rows, store, path = count(), people(5), Store(), tmp_path / "outcomes.jsonl"

        def word() -> str:
            if next(calls) == 8:  # 5 of the check, one of the files, two of messages
                sys.exit(1)
            return "Hello"

        with DAG("dag", user_defined_macros={"word": word}):
            task = campaign(rows=rows, message="{{ word() }}", concurrency=1, outcomes_path=str(path))
        with pytest.raises(SystemExit):
            task.execute({**context(store), "dag": task.dag})
        statuses = sorted(row["status"] for row in outcomes(path).values())
        assert statuses == ["pending", "pending", "sent", "sent", "unknown"]
        assert task.execute({**context(store, try_number=2), "dag": task.dag})["sent"] == 5
        assert sent_to(emulator) == once(rows)


class TestDoubts:
    """Of a recipient whose first request may have come through."""

    @pytest.fixture
    def doubted(self, emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Store]:
        def doubted(number: int = 1, *, when: str = "after", **arguments: Any) -> Store:
            """One try, whose requests all got no answer."""
            store = Store()
            fault(emulator, kind="reset", when=when)
            with monkeypatch.context() as patch:
                patch.setattr(_state, "MAX_ATTEMPTS", 1)
                with pytest.raises(AirflowException, match=f"{number} recipients are not settled"):
                    campaign(rows=people(number), **arguments).execute(context(store))
            emulator.control("DELETE", "faults")
            return store

        return doubted

    @pytest.mark.usefixtures("impatient")
    def test_a_look_that_fails_is_made_again(self, emulator: Emulator, doubted: Callable[..., Store]) -> None:
        store = doubted()
        emulator.control("PATCH", "switches", {"idempotency_hours": 1})
        emulator.advance(12 * 3600)
        more_than_the_client_tries = {
            "path": "^/v3/chats$",
            "method": "GET",
            "kind": "status",
            "status": 503,
            "count": 6,
        }
        emulator.control("POST", "faults", more_than_the_client_tries)
        assert campaign(rows=people(1)).execute(context(store, try_number=2))["sent"] == 1
        assert sent_to(emulator) == once(people(1))

    @pytest.mark.parametrize(("when", "status"), [("after", "unknown"), ("before", "skipped")])
    def test_a_row_that_is_invalid_now_is_looked_for_and_not_sent_to(
        self, emulator: Emulator, doubted: Callable[..., Store], tmp_path: Path, when: str, status: str
    ) -> None:
        """Its row does not tell any more what the message was."""
        path, (ann, bob) = tmp_path / "outcomes.jsonl", people(2)
        store = doubted(when=when, outcomes_path=str(path))
        emulator.advance(3600)
        before = sent_to(emulator)
        rows = [{"to": ann["to"]}, bob]
        task = campaign(rows=rows, outcomes_path=str(path), on_invalid="skip", max_failures=1)
        result = task.execute(context(store, try_number=2))
        assert (result["sent"], result["unknown"], result["skipped"]["invalid"]) == (
            (1, 1, 0) if status == "unknown" else (1, 0, 1)
        )
        assert outcomes(path)[ann["to"]]["status"] == status
        assert sent_to(emulator) == before + once([bob])

    def test_a_message_that_can_not_be_made_any_more_is_not_recognized(
        self, emulator: Emulator, doubted: Callable[..., Store]
    ) -> None:
        store, calls = doubted(message="Hello"), count()
        emulator.advance(3600)
        with DAG("dag", user_defined_macros={"word": lambda: "Hello" if next(calls) < 1 else ""}):
            task = campaign(rows=people(1), message="{{ word() }}", max_failures=1)
        result = task.execute({**context(store, try_number=2), "dag": task.dag})
        assert (result["sent"], result["unknown"]) == (0, 1)
        assert sent_to(emulator) == once(people(1))

    def test_whether_it_or_what_it_replies_to_is_gone_nobody_knows(
        self, emulator: Emulator, doubted: Callable[..., Store]
    ) -> None:
        emulator.control("POST", "inbound", {"line": A, "from": "person0@example.com", "text": "Hi"})
        with LinqClient(emulator.api_key, base_url=emulator.base_url) as client:
            (chat,) = client.chats.list()
            (asked,) = client.messages.list(chat.id)
        message = {"parts": ["Hello"], "reply_to": {"message_id": asked.id}}
        store = doubted(message=message, from_="any", when="before")
        emulator.advance(60)
        fault(emulator, kind="status", status=404, code=2002)
        task = campaign(rows=people(1), message=message, from_="any", max_failures=1)
        result = task.execute(context(store, try_number=2))
        assert (result["sent"], result["failed"], result["unknown"]) == (0, 0, 1)

    def test_i7_a_key_that_grows_old_while_its_turn_is_waited_for_is_not_trusted(
        self, emulator: Emulator, doubted: Callable[..., Store], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """At a rate of one a second, the first of five is asked for with its key, and the last is looked for."""
        store, asked = doubted(5), set()
        monkeypatch.setattr(_state, "KEY_TRUST", timedelta(seconds=2))
        before_each_send(monkeypatch, lambda _, job: asked.add(job.recipient.number))
        task = campaign(rows=people(5), total_limits=RateLimits(messages_per_minute=60), concurrency=1)
        assert task.execute(context(store, try_number=2))["sent"] == 5
        assert 5 not in asked
        assert sent_to(emulator) == once(people(5))

    def test_who_waits_for_a_turn_when_it_is_too_late_is_looked_for(
        self, emulator: Emulator, doubted: Callable[..., Store]
    ) -> None:
        store, limits = doubted(5), RateLimits(messages_per_minute=60)
        before = posts(emulator)
        task = campaign(rows=people(5), total_limits=limits, concurrency=1, not_after=NOON + timedelta(seconds=2))
        result = task.execute(context(store, try_number=2))
        assert (result["sent"], result["skipped"]["late"], result["unknown"]) == (5, 0, 0)
        assert posts(emulator) < before + 5
        assert sent_to(emulator) == once(people(5))

    def test_a_request_that_was_certainly_not_made_leaves_none(
        self, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As where nobody listened: the refusal that comes next settles, without a look."""
        create, number = Chats.create, count()

        def refused(self: Chats, *arguments: Any, **options: Any) -> Any:
            if next(number) == 0:
                raise APIConnectionError("connection refused", effect=Effect.NONE)
            return create(self, *arguments, **options)

        monkeypatch.setattr(Chats, "create", refused)
        emulator.control("POST", "handles", {"handle": "person0@example.com", "opted_out": True})
        result = campaign(rows=people(1)).execute(context(Store()))
        assert result["skipped"]["opted_out"] == 1
        assert next(number) == 2


class TestTime:
    def test_who_waits_for_a_turn_when_it_is_too_late_is_late(self, emulator: Emulator, tmp_path: Path) -> None:
        """They are claimed, and no request was made for them."""
        rows, path = people(6), tmp_path / "outcomes.jsonl"
        told = {"rows": rows, "outcomes_path": str(path), "total_limits": RateLimits(messages_per_minute=60)}
        with pytest.MonkeyPatch.context() as patch:
            before_each_send(patch, lambda number, _: emulator.advance(3600) if not number else None)
            task = campaign(**told, concurrency=1, not_after=NOON + timedelta(minutes=1))
            result = task.execute(context(Store()))
        sent = sent_to(emulator).total()
        assert 1 <= sent <= 2  # the clock counts when two answers agree
        assert (result["sent"], result["skipped"]["late"], result["unknown"]) == (sent, 6 - sent, 0)
        reasons = [row["reason"] for row in outcomes(path).values()]
        assert reasons.count("late") == 6 - sent
        released = {entry["released"] for entry in entries(path) if "released" in entry}
        assert len(released) == 6 - sent

    def test_a_later_try_that_is_too_late_is_skipped_if_nobody_was_sent_to(self, emulator: Emulator) -> None:
        late = campaign(rows=people(2), not_after=NOON - timedelta(hours=1))
        with pytest.raises(AirflowSkipException, match="Nothing was sent"):
            late.execute(context(Store(), try_number=2))
        assert posts(emulator) == 0

    def test_nothing_but_waits_ends_the_try(self, emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(_dispatcher, "LIMITED", 0.5)
        rows, store = people(4), Store()
        fault(emulator, kind="status", status=429, code=1007, retry_after=1)
        with pytest.raises(RateLimitedError):
            campaign(rows=rows, concurrency=1).execute(context(store))
        assert posts(emulator) <= 3
        emulator.control("DELETE", "faults")
        assert campaign(rows=rows).execute(context(store, try_number=2))["sent"] == 4
        assert sent_to(emulator) == once(rows)

    def test_who_is_told_to_wait_too_often_is_left_to_the_next_try(
        self, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Their line may be at a limit for them alone: the others are sent to."""
        monkeypatch.setattr(_state, "MAX_WAITS", 1)
        rows, store = people(3), Store()
        fault(emulator, kind="status", status=429, code=1007, retry_after=1, count=1)
        with pytest.raises(AirflowException, match="1 recipients are not settled"):
            campaign(rows=rows, concurrency=1).execute(context(store))
        assert sent_to(emulator).total() == 2
        assert campaign(rows=rows).execute(context(store, try_number=2))["sent"] == 3
        assert sent_to(emulator) == once(rows)

    def test_no_more_are_claimed_than_are_under_way_where_messages_expire(
        self, emulator: Emulator, connect: Callable[..., None], tmp_path: Path
    ) -> None:
        connect(retention_window_hours=1)
        path, claimed = tmp_path / "outcomes.jsonl", []

        def look(number: int, job: SendJob) -> None:
            claimed.append(sum("claim" in entry for entry in entries(path)))

        with pytest.MonkeyPatch.context() as patch:
            before_each_send(patch, look)
            task = campaign(rows=people(5), concurrency=1, outcomes_path=str(path))
            assert task.execute(context(Store()))["sent"] == 5
        assert claimed == [1, 2, 3, 4, 5]


class TestStandstill:
    """A process that stood still may have lost its claims: nobody has confirmed them since."""

    def test_a_claim_that_is_too_old_is_confirmed_before_it_is_used(
        self, emulator: Emulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        path, rows = str(tmp_path / "outcomes.jsonl"), people(4)
        other = Journal(path, "spring", Writer("other", 0)).owner
        clock, ahead = _dispatcher.time.time, [0.0]
        monkeypatch.setattr(_dispatcher.time, "time", lambda: clock() + ahead[0])

        def stand_still(number: int, job: SendJob) -> None:
            if number == 1:  # after this request nothing happens for an hour, and another task takes over
                emulator.advance(3600)
                assert other.take(NOON + timedelta(hours=1))

        send = Sender.send

        def sent(self: Sender, job: SendJob, *rest: Any) -> Any:
            event = send(self, job, *rest)
            ahead[0] += 3600 * (sent_to(emulator).total() == 2)
            return event

        monkeypatch.setattr(Sender, "send", sent)
        before_each_send(monkeypatch, stand_still)
        task = campaign(rows=rows, concurrency=1, campaign_key="spring", outcomes_path=path)
        with pytest.raises(LostOwnershipError):
            task.execute(context(Store()))
        assert sent_to(emulator).total() == 2

    def test_a_request_whose_claim_grows_too_old_on_the_way_is_not_made(
        self, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        send, seen = Sender.send, []

        def sent(self: Sender, job: SendJob, exclude: Any, usable_until: float) -> Any:
            is_first = job.recipient.key not in seen
            seen.append(job.recipient.key)
            before = posts(emulator)
            event = send(self, job, exclude, 0.0 if is_first else usable_until)
            assert posts(emulator) == before + (not is_first)
            return event

        monkeypatch.setattr(Sender, "send", sent)
        rows = people(3)
        assert campaign(rows=rows, concurrency=1).execute(context(Store()))["sent"] == 3
        assert len(seen) == 6
        assert sent_to(emulator) == once(rows)


class TestOwners:
    def test_who_has_lost_the_campaign_sends_no_more_and_writes_no_outcomes(
        self, emulator: Emulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setattr(_dispatcher, "SAVE_EVERY", 0.0)
        path, rows = tmp_path / "outcomes.jsonl", people(50)
        other = Journal(str(path), "spring", Writer("other", 0)).owner
        taken: list[bool] = []

        def look(number: int, job: SendJob) -> None:
            if number == 3:
                taken.append(other.take(NOON + 2 * OWNER_TIMEOUT))

        before_each_send(monkeypatch, look)
        task = campaign(rows=rows, concurrency=1, campaign_key="spring", outcomes_path=str(path))
        with pytest.raises(LostOwnershipError):
            task.execute(context(Store()))
        assert taken == [True]
        assert sent_to(emulator).total() == 4
        assert not path.exists()
        # A claim that it takes back now may be one that the other has used.
        assert not any("released" in entry for entry in entries(path))

    def test_whoever_takes_the_campaign_while_it_is_prepared_sends_it(
        self, emulator: Emulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        path, prepare = str(tmp_path / "outcomes.jsonl"), _run.prepare
        other = Journal(path, "spring", Writer("other", 0)).owner

        def prepared(*arguments: Any) -> Any:
            assert other.take(NOON)
            return prepare(*arguments)

        monkeypatch.setattr(_run, "prepare", prepared)
        with pytest.raises(TaskDeferred):
            campaign(rows=people(3), campaign_key="spring", outcomes_path=path).execute(context(Store()))
        assert posts(emulator) == 0

    def test_a_cleared_task_that_waits_for_another_one_does_not_report_instead(
        self, emulator: Emulator, tmp_path: Path
    ) -> None:
        path, store = str(tmp_path / "outcomes.jsonl"), Store()
        told = {"campaign_key": "spring", "outcomes_path": path, "delivery_report": DeliveryReport(timeout=1)}
        with pytest.raises(TaskDeferred):
            campaign(rows=people(2), **told).execute(context(store))
        other = Journal(path, "spring", Writer("other", 0)).owner
        assert other.take(NOON)
        rows, cleared = people(3), {"try_number": 2, "max_tries": 11}
        with pytest.raises(TaskDeferred):
            campaign(rows=rows, **told).execute(context(store, **cleared))
        other.give_up(NOON)
        with pytest.raises(TaskDeferred):  # for the report
            campaign(rows=rows, **told).execute_complete(context(store, **cleared))
        assert sent_to(emulator) == once(rows)


class TestLines:
    def test_i5_who_is_in_doubt_keeps_a_line_that_is_not_to_be_used_any_more(
        self, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rows, store = people(8), Store()
        asked: set[tuple[str, str | None]] = set()
        before_each_send(monkeypatch, lambda _, job: asked.add((job.recipient.to[0], job.line)))
        fault(emulator, kind="reset", when="after", count=8)
        with monkeypatch.context() as patch:
            patch.setattr(_state, "MAX_ATTEMPTS", 1)
            with pytest.raises(AirflowException, match="8 recipients are not settled"):
                campaign(rows=rows, from_=[A, B]).execute(context(store))
        assert set(lines_of(emulator)) == {A, B}
        emulator.control("POST", "lines", {"phone_number": A, "reputation": "CRITICAL"})
        assert campaign(rows=rows, from_=[A, B]).execute(context(store, try_number=2))["sent"] == 8
        assert sent_to(emulator) == once(rows)
        assert len(asked) == 8  # nobody was asked for from two lines

    def test_i1_who_is_claimed_again_for_another_line_stays_claimed(
        self, emulator: Emulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """The claim for the first line is taken back, and not after the second one was made."""
        path, latest = tmp_path / "outcomes.jsonl", []

        def look(number: int, job: SendJob) -> None:
            latest.append((job.line, [*entries(path)[-1]]))

        before_each_send(monkeypatch, look)
        fault(emulator, kind="status", status=403, code=2027, count=1)
        task = campaign(rows=people(1), from_=[A, B], concurrency=1, outcomes_path=str(path))
        assert task.execute(context(Store()))["sent"] == 1
        assert sorted(latest) == [(A, ["claim"]), (B, ["claim"])]

    def test_a_line_that_the_platform_chose_and_refuses_is_tried_again(
        self, emulator: Emulator, tmp_path: Path
    ) -> None:
        rows, path = people(2), tmp_path / "outcomes.jsonl"
        fault(emulator, kind="status", status=403, code=2027, count=3)
        result = campaign(rows=rows, from_="any", concurrency=1, outcomes_path=str(path)).execute(context(Store()))
        assert (result["sent"], result["failed"]) == (2, 0)
        assert sent_to(emulator) == once(rows)

    @pytest.mark.usefixtures("impatient")
    def test_a_reputation_that_can_not_be_read_holds_up_nobody(
        self, emulator: Emulator, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(_dispatcher, "REFRESH_EVERY", 0.0)
        outage = {"path": "^/v3/phone_numbers", "kind": "status", "status": 503}
        before_each_send(
            monkeypatch, lambda number, _: emulator.control("POST", "faults", outage) if not number else None
        )
        assert campaign(rows=people(20), from_=[A, B], concurrency=1).execute(context(Store()))["sent"] == 20
        assert "The lines' reputation could not be read" in caplog.text
