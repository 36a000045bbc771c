"""`LinqAskOperator`: one task asks once, waits for one of the words, and branches."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from airflow.sdk import DAG, task_group

from airflow_provider_linq._internal.version_compat import (
    AirflowException,
    AirflowFailException,
    TaskDeferralTimeout,
    TaskDeferred,
)
from airflow_provider_linq.operators.ask import LinqAskOperator
from tests.support.airflow import Store, context
from tests.support.emulator_process import Emulator
from tests.support.sends import ANN, lost_answers, posts
from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.usefixtures("impatient")

ANSWERS = {"yes": "confirm", "No thanks": "cancel", "👍": "confirm"}


@pytest.fixture
def emulator(emulator: Emulator, connect: Callable[..., None]) -> Emulator:
    return emulator


class Branches(list[Any]):
    """The branches that tasks took."""


@pytest.fixture
def branches(monkeypatch: pytest.MonkeyPatch) -> Branches:
    """Airflow's own part of a branch needs a running DAG: the examples' tests run it."""
    taken = Branches()
    monkeypatch.setattr(LinqAskOperator, "do_branch", lambda task, context, task_ids: taken.append(task_ids))
    return taken


def question(**arguments: Any) -> LinqAskOperator:
    given = {"to": ANN, "message": "Does Friday suit you?", "answers": ANSWERS, "otherwise": "nobody"}
    return LinqAskOperator(task_id="t", **{**given, "poll_interval": 0.05, "timeout": 3_600, **arguments})


def answer(emulator: Emulator, text: str) -> str:
    chat_id = emulator.ledger()[-1]["chat_id"]
    return str(emulator.control("POST", "inbound", {"chat_id": chat_id, "from": ANN, "text": text})["id"])


@contextmanager
def answering(emulator: Emulator, *texts: str) -> Iterator[None]:
    """Answer as soon as the question is there."""

    def run() -> None:
        emulator.wait_for(1, timeout=PATIENCE)
        for text in texts:
            emulator.advance(1)
            answer(emulator, text)

    thread = threading.Thread(target=run)
    thread.start()
    yield
    thread.join()


@pytest.mark.parametrize(
    ("texts", "word", "branch"),
    [
        (["YES!"], "yes", "confirm"),
        (["Maybe", "yes please", "(no  THANKS)."], "No thanks", "cancel"),
        (["👍"], "👍", "confirm"),
        (["yes", "no thanks"], "yes", "confirm"),
        ([" \n yes\n"], "yes", "confirm"),
        (["“Yes…”"], "yes", "confirm"),
        (["\u200byes\xa0"], "yes", "confirm"),
        (["👍🏽"], "👍", "confirm"),
        (["YES!\nNo thanks", "no\u2028thanks —"], "No thanks", "cancel"),
    ],
)
def test_the_first_of_the_words_decides(
    emulator: Emulator, branches: Branches, texts: list[str], word: str, branch: str
) -> None:
    with answering(emulator, *texts):
        result = question(deferrable=False).execute(now := context(Store()))
    assert (result["answer"], branches) == (word, [branch])
    assert now["ti"].pushed["return_value"] == result
    assert now["ti"].pushed["answer"] == word
    assert "please" not in str(result)


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("I don't know", "I don\u2019t know."),
        ("hay\u0131r", "HAYIR"),
        ("sí", "¡si\u0301!"),
        ("❤️", "❤"),
        ("straße", "STRASSE"),
    ],
)
def test_a_word_is_what_a_telephone_makes_of_it(emulator: Emulator, branches: Branches, word: str, text: str) -> None:
    with answering(emulator, text):
        result = question(deferrable=False, answers={"other": "cancel", word: "confirm"}).execute(context(Store()))
    assert (result["answer"], branches) == (word, ["confirm"])


def test_nobody_answers_in_time(emulator: Emulator, branches: Branches) -> None:
    task = question(deferrable=False, timeout=0.2)
    result = task.execute(context(Store()))
    assert (result["answer"], branches) == (None, ["nobody"])


def test_it_defers_and_returns(emulator: Emulator, branches: Branches) -> None:
    store = Store()
    with pytest.raises(TaskDeferred) as deferred:
        question(deferrable=True).execute(context(store))
    assert deferred.value.trigger.chat_id == emulator.ledger()[-1]["chat_id"]
    event = {"chat_id": "c", "message_id": answer(emulator, "yes"), "polls": 2, "waited": 3.0}
    for kwargs in ({"sent": deferred.value.kwargs["sent"]}, {}):
        result = question().execute_complete(context(store), event, **kwargs)
        assert (result["answer"], branches.pop()) == ("yes", "confirm")
    with pytest.raises(AirflowFailException, match="nothing more is known"):
        question().execute_complete(context(Store()), event)


def test_the_time_is_over(emulator: Emulator, branches: Branches) -> None:
    store = Store()
    with pytest.raises(TaskDeferred) as deferred:
        question(deferrable=True).execute(context(store))
    over = {"timed_out": True, "waiting_for": "x", "polls": 2, "waited": 3.0}
    assert question().execute_complete(context(store), over)["answer"] is None
    task = question()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("airflow.sdk.BaseOperator.resume_execution", _times_out)
        assert task.resume_execution("execute_complete", deferred.value.kwargs, context(store))["answer"] is None
    assert branches == ["nobody", "nobody"]


def test_an_answer_that_no_trigger_was_there_to_see(emulator: Emulator, branches: Branches) -> None:
    store = Store()
    with pytest.raises(TaskDeferred) as deferred:
        question(deferrable=True).execute(context(store))
    answer(emulator, "yes")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("airflow.sdk.BaseOperator.resume_execution", _times_out)
        result = question().resume_execution("execute_complete", deferred.value.kwargs, context(store))
    assert (result["answer"], branches) == ("yes", ["confirm"])


def test_an_answer_that_was_edited_is_waited_for_again(emulator: Emulator, branches: Branches) -> None:
    store = Store()
    with pytest.raises(TaskDeferred) as deferred:
        question(deferrable=True).execute(context(store))
    event = {"chat_id": "c", "message_id": answer(emulator, "Wait"), "polls": 2, "waited": 3.0}
    with pytest.raises(TaskDeferred) as again:
        question(deferrable=True).execute_complete(context(store), event, sent=deferred.value.kwargs["sent"])
    assert again.value.trigger.chat_id == deferred.value.trigger.chat_id
    assert not branches


def _times_out(*_: Any) -> None:
    raise TaskDeferralTimeout("over")


def test_a_retry_asks_no_second_time(emulator: Emulator, branches: Branches) -> None:
    store = Store()
    with lost_answers(emulator), pytest.raises(Exception, match="no usable response"):
        question(deferrable=False).execute(context(store))
    answer(emulator, "yes")
    result = question(deferrable=False).execute(context(store, try_number=2))
    assert (result["answer"], branches) == ("yes", ["confirm"])
    assert [row["direction"] for row in emulator.ledger()] == ["outbound", "inbound"]


def test_the_time_to_answer_counts_from_the_question(emulator: Emulator, branches: Branches) -> None:
    store = Store()
    with pytest.raises(TaskDeferred):
        question(deferrable=True).execute(context(store))
    emulator.advance(3_000)
    with pytest.raises(TaskDeferred) as again:
        question(deferrable=True).execute(context(store, try_number=2))
    deadline = datetime.fromisoformat(again.value.trigger.deadline.replace("Z", "+00:00"))
    assert deadline - datetime.now(timezone.utc) < timedelta(seconds=601)
    assert posts(emulator) == 1


def test_who_opted_out_is_not_waited_for(emulator: Emulator, branches: Branches) -> None:
    emulator.control("POST", "handles", {"handle": ANN, "opted_out": True})
    result = question(on_opt_out="return").execute(context(Store()))
    assert (result["refused"], result["answer"], branches) == ("opted_out", None, ["nobody"])


def test_a_poll_that_fails_is_made_again(emulator: Emulator, branches: Branches) -> None:
    more_than_the_client_tries = {"path": "/messages", "method": "GET", "kind": "status", "status": 503, "count": 7}
    emulator.control("POST", "faults", more_than_the_client_tries)
    with answering(emulator, "yes"):
        assert question(deferrable=False).execute(context(Store()))["answer"] == "yes"


@pytest.mark.parametrize(
    ("fault", "end"), [({"status": 503}, AirflowException), ({"status": 401, "code": 2004}, AirflowFailException)]
)
def test_whoever_could_not_look_does_not_know_that_nobody_answered(
    emulator: Emulator, branches: Branches, fault: dict[str, Any], end: type[Exception]
) -> None:
    emulator.control("POST", "faults", {"path": "/messages", "method": "GET", "kind": "status", **fault})
    with pytest.raises(end) as ended:
        question(deferrable=False, timeout=0.1).execute(context(Store()))
    assert type(ended.value) is end
    assert not branches


def test_an_answer_that_is_gone(emulator: Emulator, branches: Branches) -> None:
    store = Store()
    with pytest.raises(TaskDeferred):
        question(deferrable=True).execute(context(store))
    event = {"chat_id": "c", "message_id": "0b8b3e53-7f2d-4a83-8a55-000000000000", "polls": 1, "waited": 1.0}
    with pytest.raises(AirflowFailException, match="came in chat c, and was deleted or has expired"):
        question().execute_complete(context(store), event)
    assert not branches


@pytest.mark.parametrize("answers", [{}, {"": "a"}, {"!": "a"}, {"Yes": "a", "yes!": "b"}, {"yes": "a", "“YES”": "b"}])
def test_words_that_are_none(answers: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="answers must have words"):
        question(answers=answers)


def test_an_answer_must_not_come_and_go_between_two_polls(emulator: Emulator, connect: Callable[..., None]) -> None:
    connect(retention_window_hours=1)
    rule = "poll_interval: must be shorter than the retention window of 1 hours"
    with pytest.raises(AirflowFailException, match=rule):
        question(poll_interval=timedelta(hours=1)).execute(context(Store()))
    assert emulator.ledger() == []


def test_a_connection_that_renders_to_nothing_is_named(emulator: Emulator) -> None:
    task = question(linq_conn_id="{{ params.connection }}")
    task.linq_conn_id = None  # type: ignore[assignment]
    with pytest.raises(AirflowFailException, match="^linq_conn_id: must have a value, got None from a template"):
        task.execute(context(Store()))


def test_answers_that_nobody_can_see_any_more_are_told_of(
    emulator: Emulator, connect: Callable[..., None], branches: Branches, capsys: pytest.CaptureFixture[str]
) -> None:
    connect(retention_window_hours=1)
    store, arguments = Store(), {"deferrable": True, "timeout": timedelta(days=1)}
    with pytest.raises(TaskDeferred):
        question(**arguments).execute(context(store))
    assert "have expired" not in capsys.readouterr().out
    emulator.advance(hours=2)
    with pytest.raises(TaskDeferred):
        question(**arguments).execute(context(store, try_number=2))
    assert "Answers from before 2026-03-01T13:0" in capsys.readouterr().out


def test_more_words_than_can_be_searched() -> None:
    with pytest.raises(ValueError, match="2,000 characters at most"):
        question(answers={f"word {number}": "confirm" for number in range(300)})


def test_no_branch_in_a_mapped_task(emulator: Emulator) -> None:
    with pytest.raises(AirflowFailException, match="can't branch"):
        question().execute(context(Store(), map_index=0))
    assert posts(emulator) == 0

    @task_group
    def each(who: str) -> None:
        question(to=who)

    with DAG("groups", schedule=None), pytest.raises(ValueError, match="can't branch"):
        each.expand(who=[ANN])
