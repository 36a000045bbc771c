"""`LinqClient.request`, by which everything is reached that has no method: keys, errors, models, empty successes."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from linq_client import APIConnectionError, ConflictError, Effect, LinqClient, ServerError
from linq_client.models import APIModel
from tests.support.scripted_server import client_of, envelope, serving

PATH = "/v3/payment_requests"


class Payment(APIModel):
    id: str
    amount: int


def made(body: dict[str, object]) -> tuple[int, dict[str, str], bytes]:
    return 201, {"X-Trace-ID": "t1"}, json.dumps(body).encode()


def test_a_response_is_read_as_a_model_of_ones_own() -> None:
    with serving(made({"id": "p", "amount": 5, "rail": "stripe"})) as server, client_of(server) as client:
        payment = client.request("post", PATH, json={"amount": 5}).parse(Payment)
    assert (payment.id, payment.amount, payment.model_extra) == ("p", 5, {"rail": "stripe"})
    assert server.seen[0][0] == "POST"


def test_another_response_is_an_error_that_says_what_is_wrong() -> None:
    with serving(made({"id": "p"})) as server, client_of(server) as client:
        response = client.request("POST", PATH, json={"amount": 5})
        with pytest.raises(APIConnectionError, match=r"not a Payment: wrong or missing amount") as caught:
            response.parse(Payment)
    assert (caught.value.effect, caught.value.retryable, caught.value.trace_id) == (Effect.UNKNOWN, False, "t1")


def test_with_a_key_a_request_is_made_again_with_the_same_key() -> None:
    with serving(envelope(503, 4004), envelope(409, 2009), made({"id": "p", "amount": 5})) as server:
        with client_of(server) as client:
            client.request("POST", PATH, json={"amount": 5}, idempotency_key="order-1")
    assert [headers["idempotency-key"] for _, _, headers in server.seen] == ["order-1"] * 3


def test_without_a_key_a_post_is_made_once() -> None:
    with serving(envelope(503, 4004)) as server, client_of(server) as client:
        with pytest.raises(ServerError) as caught:
            client.request("POST", PATH, json={"amount": 5})
    assert (len(server.seen), caught.value.effect, caught.value.idempotency_key) == (1, Effect.UNKNOWN, None)
    assert "idempotency-key" not in server.seen[0][2]


def test_an_error_names_the_key() -> None:
    with serving(envelope(409, 2015)) as server, client_of(server) as client:
        with pytest.raises(ConflictError) as caught:
            client.request("POST", PATH, idempotency_key="order-1")
    # A conflict may be one with an earlier request of this key, which is still under way.
    assert (caught.value.idempotency_key, caught.value.effect) == ("order-1", Effect.UNKNOWN)


#: Calls whose success has nothing to say.
SILENT: list[Callable[[LinqClient], None]] = [
    lambda client: client.background.set("c", "color", variant="ice"),
    lambda client: client.background.remove("c"),
    lambda client: client.blocked_handles.unblock("+12025550121"),
    lambda client: client.chats.mark_read("c"),
    lambda client: client.typing.stop("c"),
    lambda client: client.messages.delete("m"),
]


@pytest.mark.parametrize("call", SILENT)
@pytest.mark.parametrize("status", [200, 202, 204])
def test_a_success_without_a_body_is_one_where_nothing_is_expected(
    call: Callable[[LinqClient], None], status: int
) -> None:
    with serving((status, {"X-Trace-ID": "t1"}, b"")) as server, client_of(server) as client:
        call(client)
    assert len(server.seen) == 1


@pytest.mark.parametrize("call", SILENT)
def test_an_empty_page_of_a_proxy_is_none(call: Callable[[LinqClient], None]) -> None:
    with serving((200, {}, b"")) as server, client_of(server, 0.01) as client:
        with pytest.raises(APIConnectionError, match="not a JSON object"):
            call(client)


def test_a_poll_is_sent_once_for_its_key() -> None:
    answer = made({"message_id": "m", "chat_id": "c", "poll": "odd", "created_at": "never"})
    with serving(envelope(503, 4004), answer) as server, client_of(server) as client:
        poll = client.polls.create("c", ["a", "b"])
    keys = {json.loads(body)["poll"]["idempotency_key"] for body in server.bodies}
    assert keys == {poll.idempotency_key}
    assert len(server.bodies) == 2
    assert (poll.poll, poll.created_at, poll.trace_id) == (None, None, "t1")


@pytest.mark.parametrize(
    ("call", "tries"),
    [
        # Nothing happens twice to what is so already, and an audit that runs is the one that is meant.
        (lambda client: client.background.set("c", "color", variant="ice"), 2),
        (lambda client: client.blocked_handles.block("+12025550121"), 2),
        (lambda client: client.phone_numbers.start_reputation_audit("+12025550101"), 2),
        # These would.
        (lambda client: client.polls.add_options("m", ["c"]), 1),
        (lambda client: client.messages.update_card("m", {"caption": "a"}), 1),
        (lambda client: client.messages.react("m", "sticker", emoji="a"), 1),
    ],
)
def test_what_does_no_harm_twice_is_repeated(call: Callable[[LinqClient], object], tries: int) -> None:
    with serving(envelope(503, 4004), envelope(400, 1005)) as server, client_of(server) as client:
        with pytest.raises(Exception, match="503" if tries == 1 else "400"):
            call(client)
    assert len(server.seen) == tries
