"""The notifier, called as Airflow calls it, and the retry policy."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG

from airflow_provider_linq.hooks.linq import LinqAsyncHook
from airflow_provider_linq.notifications.linq import LinqNotifier
from linq_client import (
    InvalidRequestError,
    LastingConflictError,
    LineIneligibleError,
    LinqError,
    OptedOutError,
    RateLimitedError,
    ServerError,
)
from tests.support.emulator_process import Emulator
from tests.support.gateway import silent_server

ANN, BOB = "+12125550121", "+12125550122"


@pytest.fixture
def emulator(emulator: Emulator, connect: Callable[..., None]) -> Emulator:
    """The emulator, to which `linq_default` is a connection."""
    return emulator


def context(**instance: Any) -> Any:
    ids = {"dag_id": "dag", "run_id": "run", "task_id": "load", "map_index": -1, "try_number": 1, **instance}
    return {"ti": SimpleNamespace(**ids), "reason": "out of disk"}


def texts(emulator: Emulator) -> list[tuple[str, str]]:
    return [(row["to"][0], row["text"]) for row in emulator.ledger()]


def test_a_callback_sends_once_a_try(emulator: Emulator) -> None:
    def call(**instance: Any) -> None:
        LinqNotifier(to=ANN, message="{{ ti.task_id }} failed: {{ reason }}")(context(**instance))

    call()
    call()
    assert texts(emulator) == [(ANN, "load failed: out of disk")]
    call(try_number=2)
    assert len(emulator.ledger()) == 2


def test_two_notifiers_of_a_try_both_send(emulator: Emulator) -> None:
    for to, message in ((ANN, "Started"), (ANN, "Done"), (BOB, "Done")):
        LinqNotifier(to=to, message=message)(context())
    assert texts(emulator) == [(ANN, "Started"), (ANN, "Done"), (BOB, "Done")]


def test_in_an_event_loop(emulator: Emulator) -> None:
    """As the triggerer does for a deadline alert, which knows no task."""

    async def notify() -> None:
        notifier = LinqNotifier(to=ANN, message="Late: {{ dag_run.dag_id }}")
        notifier.context = {"dag_run": SimpleNamespace(dag_id="nightly")}  # type: ignore[typeddict-item]
        await notifier

    asyncio.run(notify())
    assert texts(emulator) == [(ANN, "Late: nightly")]


def test_a_callback_without_a_task_sends_once_an_occasion(emulator: Emulator) -> None:
    """A restarted triggerer calls a deadline alert again."""
    run = {"dag_id": "nightly", "run_id": "run", "start_date": "2026-03-01T00:00:00Z"}

    async def alert(context: Any) -> None:
        notifier = LinqNotifier(to=ANN, message="Late")
        notifier.context = context
        await notifier

    for context in ({"dag_run": run, "deadline": {"id": "d"}}, {"dag_run": run}, {"dag_run": SimpleNamespace(**run)}):
        for _ in range(2):
            asyncio.run(alert(dict(context)))
    assert len(emulator.ledger()) == 2, "one of the deadline and one of the run"
    asyncio.run(alert({"dag_run": run, "deadline": {"id": "another"}}))
    asyncio.run(alert({"dag_run": {**run, "start_date": "2026-03-02T00:00:00Z"}}))
    assert len(emulator.ledger()) == 4


@pytest.mark.parametrize(
    "known",
    [
        {"deadline": {}},
        {"deadline": {"deadline_time": "2026-03-01T00:00:00Z"}},
        {"ti": SimpleNamespace(dag_id="nightly", run_id="run", task_id="load", map_index=-1)},
        {"ti": {"dag_id": "nightly"}},
    ],
    ids=str,
)
def test_an_alert_needs_no_occasion_that_is_known(emulator: Emulator, known: Any) -> None:
    """What a callback is told differs between the versions of Airflow."""
    LinqNotifier(to=ANN, message="Late")(dict(known))
    asyncio.run(_await(LinqNotifier(to=BOB, message="Late"), dict(known)))
    assert texts(emulator) == [(ANN, "Late"), (BOB, "Late")]


@pytest.mark.parametrize("run", [{}, {"dag_id": "nightly"}, SimpleNamespace(run_id=None, dag_id="nightly")], ids=str)
def test_a_run_without_a_name_is_not_the_one_before(emulator: Emulator, run: Any) -> None:
    for _ in range(2):
        LinqNotifier(to=ANN, message="Late")({"dag_run": run})
    assert texts(emulator) == [(ANN, "Late")] * 2


def test_white_space_around_a_handle_loses_no_alert(emulator: Emulator) -> None:
    known = {**context(), "on_call": f" {ANN}\n", "line": f"{emulator.lines[1]}\n"}
    LinqNotifier(to="{{ on_call }}", from_="{{ line }}", message="Late")(dict(known))
    LinqNotifier(to=[f"{ANN} "], message="Still late")(dict(known))
    assert texts(emulator) == [(ANN, "Late"), (ANN, "Still late")]


@pytest.mark.parametrize("to", ["on call", "12125550121", [ANN, "+1 212 555 0122"]])
def test_a_handle_that_is_none_is_not_found_out_when_the_alert_is_needed(to: Any) -> None:
    with pytest.raises(ValueError, match="^to: must be an E.164 number"):
        LinqNotifier(to=to, message="Late")


def test_nobody_to_alert_is_no_import_error(emulator: Emulator, capfd: pytest.CaptureFixture[str]) -> None:
    """A Variable that is not set yet must not keep the DAG, with all that it does, from being imported."""
    LinqNotifier(to="", message="Late")(context())
    assert texts(emulator) == []
    assert "The alert could not be sent: to[0]: must be" in "".join(capfd.readouterr())


def test_a_dag_may_have_delimiters_of_its_own(emulator: Emulator) -> None:
    syntax = {"variable_start_string": "[[", "variable_end_string": "]]"}
    known = {**context(), "dag": DAG("d", jinja_environment_kwargs=syntax), "on_call": ANN}
    LinqNotifier(to="[[ on_call ]]", message="Late")(known)
    assert texts(emulator) == [(ANN, "Late")]


SUBSTITUTE = "Alert from Airflow: DAG dag, task load, run run. Its own text could not be sent, see the log."


@pytest.mark.parametrize(
    "message",
    [
        "{{ missing }}",
        "{{ missing.too }}",
        "{{ reason ",
        "",
        None,
        {"parts": [{"type": "text"}]},
        {"text": "Failed"},
        [],
        ["one", "two"],
        {"parts": "Failed", "effect": {"type": "screen", "name": "no such effect"}},
    ],
    ids=str,
)
def test_an_alert_whose_own_text_cannot_be_sent_is_sent_all_the_same(emulator: Emulator, message: Any) -> None:
    LinqNotifier(to=ANN, message=message)({**context(), "missing": None})
    assert texts(emulator) == [(ANN, SUBSTITUTE)]


def test_what_is_no_text_is_sent_as_text(emulator: Emulator) -> None:
    LinqNotifier(to=ANN, message=20260301)(context())  # type: ignore[arg-type]
    LinqNotifier(to=ANN, message=ValueError("out of disk"))(context())  # type: ignore[arg-type]
    assert texts(emulator) == [(ANN, "20260301"), (ANN, "out of disk")]


def test_a_line_that_renders_to_nothing_is_the_usual_one(emulator: Emulator) -> None:
    LinqNotifier(to=ANN, message="Failed", from_="{{ missing }}")({**context(), "missing": None})
    assert emulator.ledger()[0]["from"] == emulator.lines[0]


@pytest.mark.parametrize("text", ["x" * 20_000, "\N{PILE OF POO}" * 10_001, "a\0b", "half \ud83d"], ids=ascii)
def test_a_text_that_the_api_does_not_take_is_cut_and_cleaned(emulator: Emulator, text: str) -> None:
    LinqNotifier(to=ANN, message="{{ reason }}")({**context(), "reason": text})
    LinqNotifier(to=ANN, message=[{"type": "text", "value": "{{ reason }}"}])({**context(), "reason": text})
    for _, sent in texts(emulator):
        assert sent.endswith(" … [cut]") == (len(text) > 10_000)
        assert len(sent) <= 10_000
        assert sent[:2] == text[:2].replace("\0", "\ufffd")
        assert not {"\0", "\ud83d"} & set(sent)


URL = "404 Client Error: Not Found for url: https://api.example.com/v1/x?y=1 (see WWW.example.org)"


def test_a_url_goes_into_the_chat_that_there_is_and_is_left_out_of_a_new_one(emulator: Emulator) -> None:
    LinqNotifier(to=[ANN, BOB], message="A group")(context())
    for _ in range(2):  # as the DAG processor may do: the second time there is a chat
        LinqNotifier(to=ANN, message=URL)(context())
    cut = "404 Client Error: Not Found for url: [link removed] (see [link removed]"
    assert texts(emulator)[1:] == [(ANN, cut)]
    LinqNotifier(to=ANN, message=URL)(context(try_number=2))
    LinqNotifier(to=ANN, message={"parts": [{"type": "link", "value": "https://example.com"}]})(context())
    LinqNotifier(to=BOB, message={"parts": [{"type": "link", "value": "https://example.com"}]})(context())
    assert texts(emulator)[2] == (ANN, URL)
    ledger = emulator.ledger()
    assert ledger[3]["chat_id"] == ledger[2]["chat_id"] == ledger[1]["chat_id"]
    assert texts(emulator)[4] == (BOB, "[link removed]")


def test_where_no_chat_can_be_looked_for_the_alert_is_sent_without_the_url(emulator: Emulator) -> None:
    fault = {"kind": "status", "method": "GET", "path": "/v3/chats", "status": 403, "code": 2005}
    emulator.control("POST", "faults", fault)
    LinqNotifier(to=ANN, message="See https://example.com")(context())
    assert texts(emulator) == [(ANN, "See [link removed]")]


def test_a_shared_notifier_says_each_time_what_it_is_called_for(emulator: Emulator) -> None:
    shared = LinqNotifier(to="{{ oncall }}", message="{{ ti.task_id }} {{ ti.map_index }} failed")
    for instance in ({"task_id": "one"}, {"task_id": "two"}, {"task_id": "m", "map_index": 0}, {"task_id": "m"}):
        shared({**context(**instance), "oncall": ANN if instance["task_id"] == "one" else BOB})
    asyncio.run(_await(shared, {**context(task_id="three"), "oncall": ANN}))
    assert [text.split()[0] for _, text in texts(emulator)] == ["one", "two", "m", "m", "three"]
    assert [to for to, _ in texts(emulator)] == [ANN, BOB, BOB, BOB, ANN]
    assert shared.message == "{{ ti.task_id }} {{ ti.map_index }} failed"


async def _await(notifier: LinqNotifier, context: Any) -> None:
    notifier.context = context
    await notifier


@pytest.mark.parametrize("is_async", [False, True])
def test_an_alert_has_a_time_limit_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], is_async: bool
) -> None:
    with silent_server() as (url, _):
        monkeypatch.setenv("AIRFLOW_CONN_LINQ_DEFAULT", json.dumps({"conn_type": "linq", "password": "k", "host": url}))
        notifier = LinqNotifier(to=ANN, from_="+12025550101", message="A secret", timeout=1)
        asyncio.run(_await(notifier, context())) if is_async else notifier(context())
    out = capsys.readouterr().out
    (line,) = [line for line in out.splitlines() if "[error" in line]
    assert "The alert could not be sent: no response within 1 seconds" in line
    assert "A secret" not in out


@pytest.mark.parametrize(
    "message",
    [[{"type": "media", "path": "/etc/hostname"}], {"parts": ["x", {"path": "{{ file }}"}]}, ("x", {"path": "p"})],
    ids=["list", "mapping", "tuple"],
)
def test_a_notifier_that_names_a_file_is_not_imported(message: Any) -> None:
    with pytest.raises(ValueError, match="message: must name no file"):
        LinqNotifier(to=ANN, message=message)


def test_a_message_of_somebody_else_for_the_same_key_is_not_the_alert(emulator: Emulator) -> None:
    message = {"parts": ["Failed"], "idempotency_key": "alert"}
    LinqNotifier(to=ANN, message=message)(context())
    LinqNotifier(to=BOB, message=message)(context())
    assert texts(emulator) == [(ANN, "Failed"), (BOB, SUBSTITUTE)]


def test_a_key_that_was_renewed_while_the_triggerer_ran(
    emulator: Emulator, connect: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(password="expired")
    has_other_key = LinqAsyncHook.has_other_key

    async def renewed(hook: LinqAsyncHook) -> bool:
        connect()
        return await has_other_key(hook)

    async def notify() -> None:
        notifier = LinqNotifier(to=ANN, message="Late")
        notifier.context = {"dag_run": SimpleNamespace(dag_id="nightly")}  # type: ignore[typeddict-item]
        await notifier

    monkeypatch.setattr(LinqAsyncHook, "has_other_key", renewed)
    asyncio.run(notify())
    assert texts(emulator) == [(ANN, "Late")]


def test_in_a_chat_any_text_will_do(emulator: Emulator) -> None:
    LinqNotifier(to=ANN, message="Hello")(context())
    chat_id = emulator.ledger()[0]["chat_id"]
    LinqNotifier(chat_id=chat_id, message="See https://example.com/log")(context())
    assert texts(emulator)[-1] == (ANN, "See https://example.com/log")


def test_what_tells_of_no_occasion_is_said_each_time(emulator: Emulator) -> None:
    for _ in range(2):
        LinqNotifier(to=ANN, message="Hello")({})
    assert texts(emulator) == [(ANN, "Hello")] * 2


def test_where_the_substitute_is_refused_too_the_log_says_so(
    emulator: Emulator, capsys: pytest.CaptureFixture[str]
) -> None:
    refusal = {"path": "^/v3/chats$", "method": "POST", "kind": "status", "status": 400, "code": 1002}
    emulator.control("POST", "faults", refusal)
    LinqNotifier(to=ANN, message="A secret")(context())
    out = capsys.readouterr().out
    assert "The message was refused, another is sent in its place: " in out
    assert "The alert could not be sent: " in out
    assert "A secret" not in out


def test_in_an_event_loop_a_refusal_is_one_line_too(emulator: Emulator, capsys: pytest.CaptureFixture[str]) -> None:
    emulator.control("POST", "handles", {"handle": ANN, "opted_out": True})

    async def notify() -> None:
        notifier = LinqNotifier(to=ANN, message="A secret")
        notifier.context = {"dag_run": SimpleNamespace(dag_id="nightly")}  # type: ignore[typeddict-item]
        await notifier

    asyncio.run(notify())
    assert "The alert could not be sent: " in capsys.readouterr().out


def test_an_alert_that_cannot_be_sent_is_one_line_in_the_log(
    emulator: Emulator, capsys: pytest.CaptureFixture[str]
) -> None:
    emulator.control("POST", "handles", {"handle": ANN, "opted_out": True})
    LinqNotifier(to=ANN, message="A secret")(context())
    LinqNotifier(message="A secret")(context())
    LinqNotifier(to=ANN, message="A secret", linq_conn_id="no_such_connection")(context())
    out = capsys.readouterr().out
    said = [line for line in out.splitlines() if "[error" in line]
    assert len(said) == 3
    assert all("The alert could not be sent: " in line for line in said)
    assert "the recipient has opted out" in said[0]
    assert "chat_id: must be given, or to" in said[1]
    assert "A secret" not in out


policy = pytest.importorskip("airflow.sdk.definitions.retry_policy", reason="Airflow 3.2 has no retry policies")


def decide(error: BaseException, **arguments: Any) -> Any:
    from airflow_provider_linq.retry_policies.linq import LinqRetryPolicy

    made = LinqRetryPolicy.deserialize(LinqRetryPolicy(**arguments).serialize())
    return made.evaluate(error, try_number=1, max_tries=3)


@pytest.mark.parametrize("error", [InvalidRequestError("x"), OptedOutError("x"), LastingConflictError("x")])
def test_what_no_retry_can_fix_is_not_retried(error: LinqError) -> None:
    assert decide(error).action is policy.RetryAction.FAIL


def test_the_api_says_how_long_to_wait() -> None:
    error = RateLimitedError("x", code=1007, retry_after=90)
    decision = decide(error)
    assert (decision.action, decision.retry_delay) == (policy.RetryAction.RETRY, timedelta(seconds=90))
    wrapped = RuntimeError("the call failed")
    wrapped.__cause__ = error
    assert decide(wrapped).retry_delay == timedelta(seconds=90)
    assert decide(error, max_delay=60).action is policy.RetryAction.DEFAULT


@pytest.mark.parametrize("error", [ServerError("x"), LineIneligibleError("x", code=2027), KeyError("x")])
def test_the_rest_is_left_to_the_task(error: BaseException) -> None:
    assert decide(error).action is policy.RetryAction.DEFAULT
