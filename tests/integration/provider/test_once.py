"""Once, and only once: what retries, clears and killed tries make of one message, against the emulator."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_linq._internal.version_compat import (
    AirflowException,
    AirflowFailException,
    AirflowSkipException,
    AirflowTaskTimeout,
    TaskDeferred,
)
from airflow_provider_linq.operators.messages import LinqCreateChatOperator, LinqSendMessageOperator
from linq_client import APIConnectionError, LineIneligibleError, LinqClient
from tests.support.airflow import Store, context
from tests.support.emulator_process import Emulator
from tests.support.sends import ANN, BOB, cleared, fault, lost_answers, posts, retry, send, sent_to

pytestmark = pytest.mark.usefixtures("impatient")


@pytest.fixture
def emulator(emulator: Emulator, connect: Callable[..., None]) -> Emulator:
    """The emulator, to which `linq_default` is a connection."""
    return emulator


@pytest.mark.parametrize("rendered", [7, None])
@pytest.mark.usefixtures("offline")
def test_a_key_that_renders_to_something_else_than_a_string_fails_fast(rendered: Any) -> None:
    task = LinqSendMessageOperator(task_id="t", to=ANN, message="Hi", idempotency_key="{{ native }}")
    task.idempotency_key = rendered
    with pytest.raises(AirflowFailException, match="idempotency_key: must"):
        task.execute(context())


@pytest.mark.parametrize("key", ["", "None"])
@pytest.mark.usefixtures("offline")
def test_a_key_in_the_message_is_checked_too(key: str) -> None:
    with pytest.raises(AirflowFailException, match="idempotency_key"):
        send(None, message={"parts": ["Hi"], "idempotency_key": key})


@pytest.mark.parametrize("name", ["from_", "chat_id", "linq_conn_id", "idempotency_key"])
@pytest.mark.usefixtures("offline")
def test_what_another_task_has_made_none_is_not_left_out(name: str) -> None:
    """Another line would send, or another recipient would get it."""
    task = LinqSendMessageOperator(task_id="t", to=ANN, message="Hi", **{name: "{{ ti.xcom_pull('upstream') }}"})
    setattr(task, name, None)
    with pytest.raises(AirflowFailException, match=f"{name}: must have a value, got None"):
        task.execute(context())


@pytest.mark.parametrize("to", [12125550121, {"a": 1}, None, []])
@pytest.mark.usefixtures("offline")
def test_recipients_of_another_type_fail_fast(to: Any) -> None:
    """Native rendering makes a number of what looks like one."""
    with pytest.raises(AirflowFailException, match=r"to: must|chat_id: must be given, or to"):
        send(None, to=to)
    with pytest.raises(AirflowFailException, match=r"to: must|chat_id: must be given, or to"):
        LinqCreateChatOperator(task_id="t", to=to, message="Hi").execute(context())


@pytest.mark.parametrize("text", ["None", "null", " ", "\n"])
@pytest.mark.usefixtures("offline")
def test_a_text_that_a_template_made_of_nothing_is_not_sent(text: str) -> None:
    for message in (
        text,
        [{"type": "media", "url": "https://a.example/a.png"}, text],
        {"parts": [{"type": "text", "value": text}]},
    ):
        with pytest.raises(AirflowFailException, match=r"message\.parts\[.\]\.value: must say something"):
            send(None, message=message)


@pytest.mark.parametrize("wrong", [{"on_opt_out": "ignore"}, {"on_clear": "never"}, {"wait_for_delivery": "queued"}])
def test_a_wrong_choice_is_an_error_of_the_dag(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be one of"):
        LinqSendMessageOperator(task_id="t", to=ANN, message="Hi", **wrong)


def test_the_record_is_written_before_the_request_and_the_result_after(emulator: Emulator) -> None:
    store = Store()
    with lost_answers(emulator), pytest.raises(APIConnectionError):
        send(store)
    record = store.values["linq_message"]
    assert (record["status"], record["result"], record["line"]) == ("in_progress", None, emulator.lines[0])
    assert record["started_at"].startswith("2026-03-01T12:00:0"), "by the API's clock"

    result = send(store, retry())
    record = store.values["linq_message"]
    assert (record["status"], record["result"]) == ("completed", result)
    assert record["key"] == result["idempotency_key"]
    asked = posts(emulator)
    assert send(store, retry(3)) == result
    assert posts(emulator) == asked
    assert len(emulator.ledger()) == 1


def test_the_record_holds_nothing_of_the_text(emulator: Emulator) -> None:
    store = Store()
    send(store, message="Your code is 1234")
    assert "1234" not in json.dumps(store.values)


@pytest.mark.parametrize("message", ["Good evening", {"parts": ["Hi"], "idempotency_key": "k"}])
def test_what_renders_differently_in_a_retry_sends_nothing_more(emulator: Emulator, message: Any) -> None:
    store = Store()
    with lost_answers(emulator), pytest.raises(APIConnectionError):
        send(store)
    result = send(store, retry(), message=message)
    assert [row["id"] for row in emulator.ledger()] == [result["message_id"]]


def test_a_known_key_whose_message_is_gone_fails_and_sends_nothing(emulator: Emulator) -> None:
    sent = send(None)
    LinqClient(emulator.api_key, base_url=emulator.base_url).messages.delete(sent["message_id"])
    with pytest.raises(AirflowFailException, match="was sent before and is gone since"):
        send(None, retry())
    assert len(emulator.ledger()) == 1


@pytest.mark.parametrize("waits", [False, True])
def test_a_known_key_whose_message_has_failed_is_no_success(
    emulator: Emulator, caplog: pytest.LogCaptureFixture, waits: bool
) -> None:
    sent = send(None, idempotency_key="order-7")
    emulator.control("POST", "receipts", {"message_id": sent["message_id"], "status": "failed", "code": 4006})
    if waits:
        with pytest.raises(AirflowFailException, match="could not be delivered"):
            send(None, retry(), idempotency_key="order-7", wait_for_delivery="delivered", failure_grace=0)
    else:
        again = send(None, retry(), idempotency_key="order-7")
        assert (again["message_id"], again["delivery_status"]) == (sent["message_id"], "failed")
    assert "has failed, and is not sent again" in caplog.text
    assert len(emulator.ledger()) == 1
    assert send(None, idempotency_key="order-7b")["delivery_status"] == "pending"


def test_a_recorded_result_needs_no_message_that_is_still_there(emulator: Emulator) -> None:
    store = Store()
    sent = send(store)
    LinqClient(emulator.api_key, base_url=emulator.base_url).messages.delete(sent["message_id"])
    assert send(store, retry()) == sent


@pytest.mark.parametrize(("order", "reason"), [("opted_out", "opted_out"), ("blocked", "blocked")])
def test_who_cannot_be_written_to(emulator: Emulator, order: str, reason: str) -> None:
    emulator.control("POST", "handles", {"handle": ANN, order: True})
    with pytest.raises(AirflowFailException, match=r"opted out|blocked"):
        send(None)
    with pytest.raises(AirflowSkipException, match=r"Not sent: .*(opted out|blocked)"):
        send(None, on_opt_out="skip")
    store = Store()
    result = send(store, on_opt_out="return", wait_for_delivery="sent")
    assert result["refused"] == reason
    assert result["message_id"] is None
    assert result["trace_id"]

    # The refusal is not the end: once they may be written to, the cleared task does it, under the same key.
    emulator.control("POST", "handles", {"handle": ANN, order: False})
    sent = send(store, cleared(), on_opt_out="return")
    assert (sent["refused"], sent["idempotency_key"]) == (None, result["idempotency_key"])


@pytest.mark.parametrize("has_store", [True, False], ids=["with a record", "without"])
def test_a_clear_keeps_the_message(emulator: Emulator, has_store: bool) -> None:
    store = Store() if has_store else None
    results = [send(store, instance) for instance in ({}, retry(), cleared(3), cleared(4))]
    assert len({result["message_id"] for result in results}) == 1
    assert len(emulator.ledger()) == 1


@pytest.mark.parametrize("has_store", [True, False], ids=["with a record", "without"])
def test_a_clear_sends_another_message(emulator: Emulator, has_store: bool) -> None:
    store = Store() if has_store else None
    tries = [{}, retry(), cleared(3), retry(4, max_tries=2)]
    sent = [send(store, instance, on_clear="resend")["message_id"] for instance in tries]
    assert sent[0] == sent[1] != sent[2] == sent[3]
    assert len(emulator.ledger()) == 2


class Stopped(LinqSendMessageOperator):
    """A task that Airflow stops while it waits for the delivery."""

    def _await_delivery(self, *args: Any) -> Any:
        self.on_kill()
        raise AirflowException("what a stopped task still comes to")


@pytest.mark.parametrize("before", [None, "no response", "no delivery"])
@pytest.mark.parametrize("ends", ["killed", "stopped", "deferred"])
def test_a_task_that_is_cleared_while_it_runs_sends_nothing_more(
    emulator: Emulator, ends: str, before: str | None
) -> None:
    """Airflow raises `max_tries` then, as it does when an ended task is cleared."""
    store = Store()
    arguments: dict[str, Any] = {"task_id": "t", "to": ANN, "message": "Hi", "on_clear": "resend"}
    number = 1 if before is None else 2
    if before == "no response":
        with lost_answers(emulator), pytest.raises(APIConnectionError):
            send(store, on_clear="resend")
    elif before == "no delivery":
        with pytest.raises(AirflowException, match="is pending, and not read"):
            send(store, on_clear="resend", wait_for_delivery="read", delivery_timeout=0)
    if before is not None:
        assert store.values["linq_message"]["ended"], "the first try has, the second has not"
    this = context(store, try_number=number)
    if ends == "killed":
        with lost_answers(emulator), pytest.raises(KeyboardInterrupt):
            Killed(**arguments, wait_for_delivery="read").execute(this)
    elif ends == "stopped":
        with pytest.raises(AirflowException, match="still comes to"):
            Stopped(**arguments, wait_for_delivery="read").execute(this)
    else:
        with pytest.raises(TaskDeferred):
            LinqSendMessageOperator(**arguments, wait_for_delivery="read", deferrable=True).execute(this)
    assert not store.values["linq_message"]["ended"]
    assert send(store, cleared(number + 1), on_clear="resend")["message_id"]
    assert sent_to(emulator) == {ANN: 1}

    # This time it has ended by itself.
    assert send(store, cleared(number + 2), on_clear="resend")["message_id"]
    assert sent_to(emulator) == {ANN: 2}


class Killed(LinqSendMessageOperator):
    """A task whose worker dies when the response is lost, or else while it waits."""

    def _send_once(self, *args: Any) -> Any:
        try:
            return super()._send_once(*args)
        except APIConnectionError:
            raise KeyboardInterrupt from None

    def _await_delivery(self, *args: Any) -> Any:
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("error", "sends"),
    [
        (AirflowException("no delivery"), 2),
        (AirflowSkipException("later"), 2),
        # A signal can be that of a clear while the task runs: only the next clear, after the try that follows, resends.
        (AirflowTaskTimeout(), 1),
    ],
)
def test_a_task_that_has_failed_by_itself_can_be_cleared(emulator: Emulator, error: BaseException, sends: int) -> None:
    class Fails(LinqSendMessageOperator):
        def _await_delivery(self, *args: Any) -> Any:
            raise error

    arguments: dict[str, Any] = {"task_id": "t", "to": ANN, "message": "Hi", "on_clear": "resend"}
    store = Store()
    for instance in ({}, retry()):
        with pytest.raises(type(error)):
            Fails(**arguments, wait_for_delivery="read").execute(context(store, **instance))
    assert sent_to(emulator) == {ANN: 1}
    send(store, cleared(3), on_clear="resend")
    assert sent_to(emulator) == {ANN: sends}


def test_a_wait_that_ends_in_the_triggerer_is_an_end(emulator: Emulator) -> None:
    operator = LinqSendMessageOperator(
        task_id="t", to=ANN, message="Hi", wait_for_delivery="sent", deferrable=True, on_clear="resend"
    )
    for number, (method, kwargs) in enumerate(
        [
            ("execute_complete", {"event": {"error": "the API is down", "permanent": False}}),
            ("__fail__", {"error": "Trigger timeout"}),
        ],
        start=1,
    ):
        store = Store()
        ids = {"task_id": method}
        with pytest.raises(TaskDeferred):
            operator.execute(context(store, **ids))
        with pytest.raises(Exception, match=r"the API is down|Trigger timeout|timeout"):
            operator.resume_execution(method, kwargs, context(store, **ids))
        assert store.values["linq_message"]["ended"]
        assert store.values["linq_message"]["status"] == "completed"
        send(store, cleared(**ids), on_clear="resend")
        assert sent_to(emulator) == {ANN: 2 * number}


def test_an_end_that_cannot_be_noted_hides_no_error(emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Store):
        def set(self, key: str, value: Any, *, retention: Any = None) -> None:
            if value["ended"]:
                raise ConnectionError
            super().set(key, value)

    store = Broken()
    with fault(emulator, kind="status", status=503, code=4004), pytest.raises(Exception, match="code 4004"):
        send(store)
    assert "The end of this try could not be noted: ConnectionError" in caplog.text
    assert send(store, retry())["message_id"]


def test_the_line_of_the_first_request_stays_in_force(emulator: Emulator, connect: Callable[..., None]) -> None:
    """How far a key reaches is not documented: on another line the platform may not know it."""
    emulator.control("PATCH", "switches", {"idempotency_scope": "line"})
    lines = emulator.lines
    for number, (first, later) in enumerate([(lines[0], lines[1]), (lines[0], None), (None, lines[0])], start=1):
        store, ids = Store(), {"task_id": f"{first} {later}"}
        connect(default_line=first)
        with lost_answers(emulator), pytest.raises(APIConnectionError):
            send(store, ids, message=f"Hi {number}")
        connect(default_line=later)
        assert send(store, retry(**ids), message=f"Hi {number}")["message_id"]
        assert sent_to(emulator) == {ANN: number}


def test_what_was_refused_binds_no_later_try(emulator: Emulator) -> None:
    store = Store()
    with fault(emulator, kind="status", status=403, code=2027), pytest.raises(LineIneligibleError):
        send(store)
    assert store.values["linq_message"]["status"] == "not_sent"
    sent = send(store, retry(), to=BOB, from_=emulator.lines[1], idempotency_key="another")
    assert sent["idempotency_key"] == "another"
    assert sent_to(emulator) == {BOB: 1}


@pytest.mark.parametrize("status", [400, 403, 404, 409, 429])
def test_a_refusal_of_the_api_is_certain(emulator: Emulator, status: int) -> None:
    code = {400: 1004, 403: 2008, 404: 2003, 409: 2016, 429: 1007}[status]
    store = Store()
    order = {"kind": "status", "status": status, "code": code, "count": 1, "retry_after": 999}
    with fault(emulator, **order), pytest.raises(Exception, match=f"code {code}"):
        send(store)
    assert store.values["linq_message"]["status"] == "not_sent"
    assert send(store, retry())["message_id"]


def test_a_key_that_was_renewed_in_the_connection_is_taken_up(emulator: Emulator, connect: Callable[..., None]) -> None:
    connect(password="expired")
    operator = LinqSendMessageOperator(task_id="t", to=ANN, message="Hi")
    assert operator.hook.settings.api_key == "expired"
    connect()
    assert operator.execute(context(Store()))["message_id"]

    connect(password="expired")
    with pytest.raises(AirflowFailException, match="the API key is missing or wrong"):
        send(Store(), {"task_id": "another"})
