"""Operators around a chat, and files in messages, against the emulator."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import BaseOperator

from airflow_provider_linq._internal.version_compat import AirflowFailException
from airflow_provider_linq.operators.chats import (
    LinqCheckCapabilityOperator,
    LinqRequestLocationOperator,
    LinqSendVoiceMemoOperator,
    LinqUpdateChatOperator,
)
from airflow_provider_linq.operators.messages import LinqCreateChatOperator, LinqSendMessageOperator
from linq_client import LinqClient, RateLimitedError, ServerError
from tests.support.airflow import Store, context
from tests.support.emulator_process import Emulator

ANN, BOB, CAT, DAN = "+12125550121", "+12125550122", "+12125550123", "+12125550124"


@pytest.fixture
def emulator(emulator: Emulator, connect: Callable[..., None]) -> Emulator:
    """The emulator, to which `linq_default` is a connection."""
    return emulator


@pytest.fixture
def client(emulator: Emulator) -> LinqClient:
    return LinqClient(emulator.api_key, base_url=emulator.base_url)


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    file = tmp_path / "greeting.m4a"
    file.write_bytes(b"\x00\x00\x00\x20ftypM4A " + b"\x00" * 100)
    return file


def run(operator: BaseOperator, store: Store | None = None, **instance: Any) -> Any:
    return operator.execute(context(store, **instance))


def chat_with(*handles: str) -> str:
    to = handles[0] if len(handles) == 1 else list(handles)
    sent = run(LinqCreateChatOperator(task_id="t", to=to, message="Hi"), task_id=str(handles))
    return str(sent["chat_id"])


def memos(emulator: Emulator) -> int:
    return sum(request["path"].endswith("/voicememo") for request in emulator.requests_served())


def lose_the_answer(emulator: Emulator, path: str) -> None:
    emulator.control("POST", "faults", {"kind": "reset", "method": "POST", "path": path, "when": "after", "count": 1})


def refuse_once(emulator: Emulator, path: str, status: int, code: int) -> None:
    fault = {"kind": "status", "path": path, "status": status, "code": code, "count": 1}
    emulator.control("POST", "faults", fault)


def test_a_file_is_uploaded_and_sent(emulator: Emulator, client: LinqClient, tmp_path: Path) -> None:
    (tmp_path / "map.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"\x00" * 50)
    parts = ["Here is how to find us", {"type": "media", "path": f"file://{tmp_path}/map.png"}]
    store = Store()
    sent = run(LinqSendMessageOperator(task_id="t", to=ANN, message=parts), store)
    (row,) = emulator.ledger()
    assert [part["type"] for part in row["parts"]] == ["text", "media"]
    assert client.messages.get(sent["message_id"]).parts[1].model_extra is not None
    uploads = [request for request in emulator.requests_served() if request["path"].endswith("/attachments")]
    run(LinqSendMessageOperator(task_id="t", to=ANN, message=parts), store)
    assert len(uploads) == 1


def test_a_voice_memo_is_sent_once(emulator: Emulator, recording: Path) -> None:
    chat, store = chat_with(ANN), Store()
    operator = LinqSendVoiceMemoOperator(task_id="t", chat_id=chat, path=str(recording))
    sent = run(operator, store)
    assert sent.keys() == {"chat_id", "message_id", "created_at", "delivery_status", "service"}
    assert run(operator, store) == sent
    recording.rename(recording.with_suffix(".moved"))
    assert run(operator, store, max_tries=1) == sent, "the file is not needed any more"
    recording.with_suffix(".moved").rename(recording)
    assert memos(emulator) == 1
    again = LinqSendVoiceMemoOperator(task_id="t", chat_id=chat, path=str(recording), on_clear="resend")
    assert run(again, store, max_tries=1) == sent, "a retry, whose DAG has changed meanwhile"
    assert run(again, store, max_tries=2)["message_id"] != sent["message_id"]
    assert memos(emulator) == 2


def test_a_voice_memo_of_unknown_outcome_is_not_repeated(emulator: Emulator, recording: Path) -> None:
    chat, store = chat_with(ANN), Store()
    operator = LinqSendVoiceMemoOperator(task_id="t", chat_id=chat, path=str(recording))
    lose_the_answer(emulator, "/voicememo")
    with pytest.raises(AirflowFailException, match=r"may have been sent now, .*no usable response"):
        run(operator, store)
    for tries in (0, 1):  # another try, and a cleared task that keeps what it has
        with pytest.raises(AirflowFailException, match="may have been sent in an earlier try"):
            run(operator, store, try_number=2, max_tries=tries)
    assert memos(emulator) == 1
    again = LinqSendVoiceMemoOperator(task_id="t", chat_id=chat, path=str(recording), on_clear="resend")
    assert run(again, store, try_number=3, max_tries=2)["message_id"]


def test_a_voice_memo_that_was_refused_may_be_tried_again(emulator: Emulator, recording: Path) -> None:
    chat, store = chat_with(ANN), Store()
    operator = LinqSendVoiceMemoOperator(task_id="t", chat_id=chat, path=str(recording))
    refuse_once(emulator, "/voicememo", 429, 1007)
    with pytest.raises(RateLimitedError):
        run(operator, store)
    refuse_once(emulator, "/voicememo", 403, 2024)
    with pytest.raises(AirflowFailException, match="opted out"):
        run(operator, store)
    assert run(operator, store)["message_id"]


def test_a_worker_that_is_killed_while_it_uploads_leaves_word_that_nothing_was_sent(
    emulator: Emulator, recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(path: str, client: LinqClient) -> str:
        raise KeyboardInterrupt

    operator, store = LinqSendVoiceMemoOperator(task_id="t", chat_id=chat_with(ANN), path=str(recording)), Store()
    with monkeypatch.context() as patch:
        patch.setattr("airflow_provider_linq.operators.chats.upload", killed)
        with pytest.raises(KeyboardInterrupt):
            run(operator, store)
    assert run(operator, store, try_number=2)["message_id"]


def test_without_a_store_only_the_first_try_sends_a_voice_memo(emulator: Emulator, recording: Path) -> None:
    operator = LinqSendVoiceMemoOperator(task_id="t", chat_id=chat_with(ANN), path=str(recording))
    assert run(operator)["message_id"]
    with pytest.raises(AirflowFailException, match="may have been sent in an earlier try"):
        run(operator, try_number=2)


def test_a_voice_memo_is_not_repeated_where_the_store_is_emptied(emulator: Emulator, recording: Path) -> None:
    """[state_store] clear_on_success: what a cleared task finds is a store without a record."""
    chat = chat_with(ANN)
    operator = LinqSendVoiceMemoOperator(task_id="t", chat_id=chat, path=str(recording))
    assert run(operator, Store())["message_id"]
    with pytest.raises(AirflowFailException, match="may have been sent in an earlier try"):
        run(operator, Store(), try_number=2, max_tries=1)
    again = LinqSendVoiceMemoOperator(task_id="t", chat_id=chat, path=str(recording), on_clear="resend")
    assert run(again, Store(), try_number=2, max_tries=1)["message_id"]
    assert memos(emulator) == 2


def test_the_voice_memo_of_another_chat_is_not_returned(emulator: Emulator, recording: Path) -> None:
    store = Store()
    run(LinqSendVoiceMemoOperator(task_id="t", chat_id=chat_with(ANN), path=str(recording)), store)
    other = LinqSendVoiceMemoOperator(task_id="t", chat_id=chat_with(BOB), path=str(recording))
    with pytest.raises(AirflowFailException, match="was for another chat"):
        run(other, store, try_number=2, max_tries=1)
    assert memos(emulator) == 1


def test_what_was_not_sent_yet_is_sent_by_a_later_try(emulator: Emulator, recording: Path) -> None:
    chat, store = chat_with(ANN), Store()
    operator = LinqSendVoiceMemoOperator(task_id="t", chat_id=chat, path=str(recording))
    refuse_once(emulator, "/attachments", 400, 1002)
    with pytest.raises(AirflowFailException):
        run(operator, store)
    refuse_once(emulator, "/voicememo", 429, 1007)
    with pytest.raises(RateLimitedError):
        run(operator, store, try_number=2)
    assert run(operator, store, try_number=3)["message_id"]


def test_a_group_gets_a_name_and_other_members(emulator: Emulator, client: LinqClient) -> None:
    chat = chat_with(ANN, BOB, CAT)
    operator = LinqUpdateChatOperator(task_id="t", chat_id=chat, display_name="Friday", add=[DAN, ANN], remove=BOB)
    assert run(operator) == {"chat_id": chat, "display_name": "Friday", "added": [DAN], "removed": [BOB]}
    emulator.advance(10)
    found = client.chats.get(chat)
    assert found.display_name == "Friday"
    assert {handle.handle for handle in found.handles if handle.status == "active"} >= {ANN, CAT, DAN}
    assert run(operator)["added"] == run(operator)["removed"] == []


def test_a_member_is_known_in_either_form_of_their_number(emulator: Emulator, client: LinqClient) -> None:
    shown, given = "+525550100134", "+5215550100134"
    chat = chat_with(ANN, BOB, CAT, shown)
    assert run(LinqUpdateChatOperator(task_id="t", chat_id=chat, display_name="Friday", add=given))["added"] == []
    assert run(LinqUpdateChatOperator(task_id="u", chat_id=chat, remove=[given, given]))["removed"] == [given]
    emulator.advance(10)
    assert shown not in {handle.handle for handle in client.chats.get(chat).handles if handle.status == "active"}


def test_a_direct_chat_has_no_name_and_no_retry_gives_it_one(emulator: Emulator) -> None:
    with pytest.raises(AirflowFailException, match="direct chat"):
        run(LinqUpdateChatOperator(task_id="t", chat_id=chat_with(ANN), display_name="Ann"))


def test_capabilities(emulator: Emulator) -> None:
    emulator.control("POST", "handles", {"handle": ANN, "services": ["SMS"]})
    check = LinqCheckCapabilityOperator(task_id="t", address=ANN)
    assert run(check) == {"address": ANN, "service": "iMessage", "available": False, "reason": "not_supported"}
    emulator.advance(10)
    assert run(LinqCheckCapabilityOperator(task_id="t", address=BOB, service="RCS"))["available"]
    emulator.control("POST", "faults", {"kind": "status", "path": "/check_rcs", "status": 503, "code": 4009})
    with pytest.raises(ServerError):
        run(LinqCheckCapabilityOperator(task_id="t", address=BOB, service="RCS"))


def test_a_location_is_asked_for_once(emulator: Emulator) -> None:
    chat, store = chat_with(ANN), Store()
    operator = LinqRequestLocationOperator(task_id="t", chat_id=chat)
    asked = run(operator, store)
    assert asked["requested_at"] == "2026-03-01T12:00:00Z"
    assert run(operator, store) == asked
    asks = [request for request in emulator.requests_served() if request["path"].endswith("/location/request")]
    assert len(asks) == 1


def test_a_group_is_not_asked_where_it_is(emulator: Emulator) -> None:
    with pytest.raises(AirflowFailException, match="not possible in a group"):
        run(LinqRequestLocationOperator(task_id="t", chat_id=chat_with(ANN, BOB)), Store())


@pytest.mark.parametrize("is_stopped", [True, False])
def test_a_memo_whose_task_is_cleared_while_it_runs(emulator: Emulator, recording: Path, is_stopped: bool) -> None:
    """Airflow raises `max_tries` then too, but nothing has ended that could be cleared."""
    chat, store = chat_with(ANN), Store()
    operator = LinqSendVoiceMemoOperator(task_id="t", chat_id=chat, path=str(recording), on_clear="resend")
    if is_stopped:
        operator.on_kill()
    first = run(operator, store)
    again = LinqSendVoiceMemoOperator(task_id="t", chat_id=chat, path=str(recording), on_clear="resend")
    assert (run(again, store, try_number=2, max_tries=1) == first) is is_stopped
    assert memos(emulator) == 1 + (not is_stopped)
