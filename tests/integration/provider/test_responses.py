"""What a response proves: whose message it is about, and whether it is the API's at all."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from airflow_provider_linq._internal.destination import Accepted, Destination
from airflow_provider_linq._internal.key_lifetimes import KEY_TRUST, LATE_ACCEPTANCE
from airflow_provider_linq._internal.version_compat import AirflowFailException
from airflow_provider_linq.operators.chats import LinqRequestLocationOperator, LinqSendVoiceMemoOperator
from linq_client import InvalidRequestError, LinqClient, LinqError, models
from tests.support.airflow import Store, context
from tests.support.emulator_process import Emulator
from tests.support.gateway import Gateway, running_gateway
from tests.support.sends import ANN, BOB, CAT, cleared, retry, send, sent_to

pytestmark = pytest.mark.usefixtures("impatient")


@pytest.fixture
def emulator(emulator: Emulator, connect: Callable[..., None]) -> Emulator:
    """The emulator, to which `linq_default` is a connection."""
    return emulator


def test_a_given_key_for_several_recipients_loses_nobody_in_silence(emulator: Emulator) -> None:
    send(Store(), {"map_index": 0}, to=ANN, idempotency_key="soup-2026-03-01")
    store = Store()
    with pytest.raises(AirflowFailException, match="'soup-2026-03-01' stands for a message to somebody else") as raised:
        send(store, {"map_index": 1}, to=BOB, idempotency_key="soup-2026-03-01")
    assert ANN not in str(raised.value)
    (record,) = store.values.values()
    assert record["status"] == "not_sent"
    assert send(store, cleared(map_index=1), to=BOB, idempotency_key="soup-2026-03-01-bob")["message_id"]
    assert sent_to(emulator) == {ANN: 1, BOB: 1}


def test_a_given_key_for_several_chats(emulator: Emulator) -> None:
    chats = [send(None, {"task_id": to}, to=to)["chat_id"] for to in (ANN, BOB)]
    send(None, chat_id=chats[0], message="Soup", idempotency_key="soup")
    with pytest.raises(AirflowFailException, match="'soup' stands for a message to somebody else"):
        send(None, chat_id=chats[1], message="Soup", idempotency_key="soup")


def test_without_a_store_a_recipient_that_renders_differently_fails(emulator: Emulator) -> None:
    send(None)
    with pytest.raises(AirflowFailException, match="stands for a message to somebody else"):
        send(None, retry(), to=BOB)
    assert sent_to(emulator) == {ANN: 1}


@pytest.mark.parametrize(
    ("to", "shown", "is_group", "is_ours"),
    [
        (["+5215512345678"], ["+525512345678"], False, True),
        (["+5511987654321"], ["+551187654321"], False, True),
        (["Ann@Example.com"], ["ann@example.com"], False, True),
        ([ANN], [], False, True),
        ([ANN], [BOB], False, False),
        ([ANN], ["ann@example.com"], False, False),
        ([ANN], [ANN, BOB], True, False),
        ([ANN, BOB], [BOB, ANN], True, True),
        ([ANN, BOB], [ANN, BOB, CAT], True, True),
        ([ANN, BOB], [ANN], False, False),
        ([ANN, BOB], [ANN, CAT], True, False),
    ],
)
def test_whose_message_a_response_is_about(to: list[str], shown: list[str], is_group: bool, is_ours: bool) -> None:
    message = models.SentMessage.model_validate(
        {"id": "m", "created_at": "2026-03-01T12:00:00Z", "delivery_status": "pending"}
    )
    accepted = Accepted("c", message, "k", handles=tuple(shown), is_group=is_group)
    assert Destination(to=tuple(to), line="+12025550101").is_of(accepted) is is_ours


def test_own_lines_are_nobody_to_compare_with() -> None:
    """Whichever the message went from: the platform may show a line that a key was first used on."""
    handles = [{"id": "1", "handle": line, "is_me": True} for line in ("+12025550101", "+12025550102")]
    message = {"id": "m", "created_at": "2026-03-01T12:00:00Z", "delivery_status": "pending"}
    chat = models.CreatedChat.model_validate(
        {"id": "c", "message": message, "idempotency_key": "k", "handles": handles}
    )
    assert Destination(to=(ANN,), line="+12025550101").is_of(Accepted.of_chat(chat, "+12025550101"))


@pytest.fixture
def gateway(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gateway]:
    """A gateway in front of the emulator, to which `linq_default` is a connection."""
    with running_gateway(emulator.base_url) as started:
        connection = {
            "conn_type": "linq",
            "password": emulator.api_key,
            "host": started.base_url,
            "extra": {"default_line": emulator.lines[0]},
        }
        monkeypatch.setenv("AIRFLOW_CONN_LINQ_DEFAULT", json.dumps(connection))
        yield started


PAGES = [400, 401, 403, 404, 409, 429, 451, 502]


@pytest.mark.parametrize("status", PAGES)
def test_a_page_is_no_refusal_of_a_message(emulator: Emulator, gateway: Gateway, status: int) -> None:
    gateway.page = lambda method, path: status if method == "POST" else None
    store = Store()
    with pytest.raises(LinqError):
        send(store, on_opt_out="skip")
    assert store.values["linq_message"]["status"] == "in_progress"
    emulator.advance(KEY_TRUST.total_seconds() + 1)
    with pytest.raises(AirflowFailException, match="another recipient"):
        send(store, retry(), to=BOB)
    assert send(store, cleared(), from_=emulator.lines[1])["message_id"]
    assert sent_to(emulator) == {ANN: 1}


@pytest.mark.parametrize("status", PAGES)
def test_a_page_is_no_refusal_of_what_has_no_key(emulator: Emulator, gateway: Gateway, status: int) -> None:
    chat = send(None, {"task_id": "hello"}, message="Hello")["chat_id"]
    client = LinqClient(emulator.api_key, base_url=emulator.base_url)
    recording = client.attachments.upload(b"\x00\x00\x00\x20ftypM4A " + b"\x00" * 100, filename="hi.m4a")
    for path, operator in (
        ("/voicememo", LinqSendVoiceMemoOperator(task_id="t", chat_id=chat, attachment_id=recording)),
        ("/location/request", LinqRequestLocationOperator(task_id="t", chat_id=chat)),
    ):
        gateway.page = lambda method, path: status if method == "POST" else None
        store = Store()
        with pytest.raises(AirflowFailException, match="may have been sent now"):
            operator.execute(context(store))
        gateway.page = lambda method, path: None
        for instance in (retry(), cleared(3)):
            with pytest.raises(AirflowFailException, match="may have been sent in an earlier try"):
                operator.execute(context(store, **instance))
        assert sum(served.endswith(path) for _, served in gateway.served) == 1


def test_a_single_401_page_ends_nothing(emulator: Emulator, gateway: Gateway) -> None:
    pages = iter([401])
    gateway.page = lambda method, path: next(pages, None)
    with pytest.raises(LinqError) as raised:
        send(Store())
    assert not isinstance(raised.value, AirflowFailException)
    assert not raised.value.permanent


def test_a_destination_is_one() -> None:
    for arguments, refusal in (
        ((None, None, None), "chat_id: must be given, or to"),
        (("c", ANN, None), "chat_id: excludes to and from"),
        (("c", None, "+12025550101"), "chat_id: excludes to and from"),
        ((" ", None, None), "chat_id: must be an id"),
        (("None", None, None), "chat_id: must be an id"),
        ((None, ANN, "None"), "from: must be E.164"),
    ):
        with pytest.raises(InvalidRequestError, match=refusal):
            Destination.of(*arguments, None)
    assert Destination.of(None, ANN, None, "+12025550101").line == "+12025550101"
    assert timedelta(0) < LATE_ACCEPTANCE < KEY_TRUST, "else a look and a key together would leave a gap"
