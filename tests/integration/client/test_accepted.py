"""What was accepted does not fail because of the answer: ids are needed, and anything else may be odd."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from linq_client import APIConnectionError, Effect, LinqClient
from tests.support.scripted_server import ANN, OK, Server, client_of, serving

LINE = "+12025550101"
NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
HANDLE = {"id": "h", "handle": ANN, "service": "iMessage", "joined_at": "2026-03-01T12:00:00Z", "left_at": None}
MESSAGE = {
    "id": "m",
    "created_at": "2026-03-01T11:59:59Z",
    "delivery_status": "pending",
    "parts": [{"type": "text", "value": "Hi", "reactions": None}],
    "sent_at": None,
    "delivered_at": None,
    "service": "iMessage",
    "from_handle": HANDLE,
    "effect": {"type": "screen", "name": "love"},
    "reply_to": {"message_id": "m0", "part_index": 0},
    "preferred_service": None,
}
CHAT = {"id": "c", "display_name": None, "handles": [HANDLE, HANDLE], "is_group": False, "service": "iMessage"}
ROUTED = {"chat_id": "c", "from": LINE, "created_new_chat": True, "from_selection": {"reason": "x"}, "is_group": False}
MEMO = {"id": "m", "status": "pending", "created_at": "2026-03-01T11:59:59Z", "from": LINE, "to": [ANN], "chat": {}}

#: answer, where the ids are in it, call, ids of the result
CALLS: dict[str, tuple[dict[str, Any], set[tuple[str, ...]], Callable[[LinqClient], Any], Callable[[Any], object]]] = {
    "send": (
        {"chat_id": "c", "message": MESSAGE},
        {("chat_id",), ("message",), ("message", "id")},
        lambda client: client.messages.send("c", "Hi"),
        lambda sent: (sent.chat_id, sent.message.id),
    ),
    "send_from_any_line": (
        {**ROUTED, "handles": [HANDLE], "service": "iMessage", "message": MESSAGE},
        {("chat_id",), ("message",), ("message", "id")},
        lambda client: client.messages.send_from_any_line(ANN, "Hi"),
        lambda sent: (sent.chat_id, sent.message.id),
    ),
    "create": (
        {"chat": {**CHAT, "health_status": {"status": "HEALTHY", "updated_at": None}, "message": MESSAGE}},
        {("chat",), ("chat", "id"), ("chat", "message"), ("chat", "message", "id")},
        lambda client: client.chats.create(LINE, ANN, "Hi"),
        lambda chat: (chat.id, chat.message.id),
    ),
    "voice memo": (
        {"voice_memo": {**MEMO, "service": "iMessage", "voice_memo": {"id": "a"}}},
        {("voice_memo",), ("voice_memo", "id")},
        lambda client: client.chats.send_voice_memo("c", attachment_id="a"),
        lambda memo: ("c", memo.id),
    ),
    "react": (
        {"status": "accepted", "message": "Reaction processed", "trace_id": "t", "success": True, "chat_id": "c"},
        set(),
        lambda client: client.messages.react("m", "love"),
        lambda accepted: ("c", "m"),
    ),
}
ODD_TIMES = [
    "9999-12-31T23:59:59-05:00",
    "0001-01-01T00:00:00+01:00",
    "",
    "soon",
    1e300,
    -(2**70),
    "2026-03-01T12:00:60Z",
]
ODD = [*ODD_TIMES, None, {}, [], [None], ["x"], [{}], {"id": 7}, "x", "true", 2**70, 1.5, ...]


def paths_of(value: object, at: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    fields = value.items() if isinstance(value, dict) else ()
    return [found for name, inner in fields for found in [(*at, name), *paths_of(inner, (*at, name))]]


def changed(answer: dict[str, Any], changes: dict[tuple[str, ...], object]) -> dict[str, Any]:
    answer = copy.deepcopy(answer)
    for path, value in changes.items():
        node: Any = answer
        for name in path[:-1]:
            node = node.get(name) if isinstance(node, dict) else None
        if isinstance(node, dict):
            if value is ...:
                node.pop(path[-1], None)
            else:
                node[path[-1]] = copy.deepcopy(value)
    return answer


class Answers:
    """A client, and the answer that it gets next."""

    def __init__(self, server: Server, client: LinqClient) -> None:
        self._server = server
        self.client = client

    def to(self, call: Callable[[LinqClient], Any], answer: object) -> Any:
        date = format_datetime(NOON, usegmt=True)
        self._server.responses[:] = [(200, {"Date": date}, json.dumps(answer).encode())]
        return call(self.client)


@pytest.fixture(scope="module")
def answers() -> Iterator[Answers]:
    with serving(OK) as server, client_of(server) as client:
        yield Answers(server, client)


@pytest.mark.parametrize("name", CALLS)
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_odd_values_in_the_answer_to_a_send_are_none(answers: Answers, name: str, data: st.DataObject) -> None:
    answer, needed, call, ids = CALLS[name]
    free = [path for path in paths_of(answer) if path not in needed and not (name == "react" and path == ("success",))]
    changes = data.draw(st.dictionaries(st.sampled_from(free), st.sampled_from(ODD), max_size=4))
    assert ids(answers.to(call, changed(answer, changes))) == ("c", "m")


@pytest.mark.parametrize("odd", ODD_TIMES)
@pytest.mark.parametrize("name", ["send", "send_from_any_line", "create", "voice memo"])
def test_the_server_s_time_stands_for_one_that_can_t_be_read(answers: Answers, name: str, odd: object) -> None:
    answer, _, call, _ = CALLS[name]
    (at,) = (path for path in paths_of(answer) if path[-1] == "created_at")
    good = answers.to(call, answer)
    sent = answers.to(call, changed(answer, {at: odd, (*at[:-1], "delivered_at"): odd}))
    assert getattr(good, "message", good).created_at == NOON - timedelta(seconds=1)
    assert getattr(sent, "message", sent).created_at == NOON
    assert name == "voice memo" or sent.message.delivered_at is None


@pytest.mark.parametrize("name", ["send", "send_from_any_line", "create", "voice memo"])
def test_without_its_ids_it_is_not_known_what_a_send_has_done(answers: Answers, name: str) -> None:
    answer, needed, call, _ = CALLS[name]
    for path in needed:
        with pytest.raises(APIConnectionError, match="wrong or missing") as caught:
            answers.to(call, changed(answer, {path: None}))
        assert (caught.value.effect, caught.value.retryable) == (Effect.UNKNOWN, False)


def test_a_list_is_as_strict_about_what_a_message_is_recognized_by_as_it_was(answers: Answers) -> None:
    row = {**MESSAGE, "chat_id": "c", "updated_at": "2026-03-01T12:00:00Z", "is_from_me": True}

    def read(odd: dict[str, Any]) -> list[Any]:
        page = {"messages": [{**row, **odd}], "next_cursor": None}
        return answers.to(lambda client: list(client.messages.list("c")), page)  # type: ignore[no-any-return]

    for odd in ({"parts": {}}, {"created_at": "9999-12-31T23:59:59-05:00"}, {"created_at": None}, {"is_from_me": None}):
        with pytest.raises(APIConnectionError, match="wrong or missing"):
            read(odd)
    assert [message.delivered_at for message in read({"delivered_at": ""})] == [None]
