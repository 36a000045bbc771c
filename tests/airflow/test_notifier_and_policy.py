"""The notifier, called as Airflow calls it, and the retry policy."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

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
from tests.emulator_process import Emulator

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


@pytest.mark.usefixtures("offline")
def test_a_notifier_sends_no_text_that_a_template_made_of_nothing() -> None:
    with pytest.raises(InvalidRequestError, match="must say something"):
        LinqNotifier(to=ANN, message="{{ missing }}")({**context(), "missing": None})


@pytest.mark.parametrize("name", ["from_", "chat_id"])
@pytest.mark.usefixtures("offline")
def test_what_renders_to_none_is_not_left_out(name: str) -> None:
    notifier = LinqNotifier(to=ANN, message="Failed", **{name: "+12025550101"})
    setattr(notifier, name, None)
    with pytest.raises(InvalidRequestError, match=f"{name}: must have a value, got None"):
        notifier.notify(context())


def test_a_key_of_another_alert_loses_none_in_silence(emulator: Emulator) -> None:
    message = {"parts": ["Failed"], "idempotency_key": "alert"}
    LinqNotifier(to=ANN, message=message)(context())
    with pytest.raises(InvalidRequestError, match="'alert' stands for a message to somebody else"):
        LinqNotifier(to=BOB, message=message).notify(context())


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


def test_a_notifier_that_cannot_send_says_so(emulator: Emulator) -> None:
    emulator.control("POST", "handles", {"handle": ANN, "opted_out": True})
    with pytest.raises(OptedOutError):
        LinqNotifier(to=ANN, message="Failed")(context())


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
