"""The delivery report of a campaign: polls while it waits, and the rows of the report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from itertools import count, product
from typing import Any

import pytest

from airflow_provider_linq.campaigns._delivery import ReportCounts, ReportRow, poll, report
from airflow_provider_linq.campaigns._model import Outcome
from airflow_provider_linq.campaigns.config import DeliveryReport
from linq_client import APIResponse, LinqClient, NotFoundError, ServerError
from linq_client.times import format_datetime
from tests.support.emulator_process import Emulator

ANN, BOB, CAT, DAN, EVE = (f"+1212555012{number}" for number in range(1, 6))
TEXT = "Words that nobody else may read"
NOWHERE = "00000000-0000-4000-8000-000000000000"
ORDERS = list(product(("newest", "oldest", "unordered"), ("offset", "key")))

Send = Callable[..., Outcome]


@pytest.fixture
def client(emulator: Emulator) -> Iterator[LinqClient]:
    with LinqClient(emulator.api_key, base_url=emulator.base_url, max_retries=0) as opened:
        yield opened


@pytest.fixture
def send(emulator: Emulator, client: LinqClient) -> Send:
    """Send one message of a campaign, from the first line, and return its outcome."""
    numbers = count(1)

    def send(*to: str, **options: Any) -> Outcome:
        line = emulator.lines[0]
        made = client.chats.create(line, to, TEXT, **options)
        return Outcome(
            row=next(numbers),
            to=to,
            status="sent",
            idempotency_key=made.idempotency_key,
            line=line,
            chat_id=made.id,
            message_id=made.message.id,
            created_at=format_datetime(made.message.created_at),
        )

    return send


def write(emulator: Emulator, sender: str, text: str = TEXT, **more: Any) -> None:
    place = {} if "chat_id" in more else {"line": emulator.lines[0]}
    emulator.control("POST", "inbound", {"from": sender, "text": text, **place, **more})


def receipt(emulator: Emulator, outcome: Outcome, status: str) -> None:
    code = {"code": 4001} if status == "failed" else {}
    emulator.control("POST", "receipts", {"message_id": outcome.message_id, "status": status, **code})


def gets(emulator: Emulator) -> Counter[str]:
    """How many reads there were: of messages, of lists of messages, and of chats."""
    kinds: Counter[str] = Counter()
    for request in emulator.requests_served():
        if request["method"] == "GET":
            parts = request["path"].strip("/").split("/")
            kinds["list" if len(parts) == 4 else parts[1]] += 1
    return kinds


@pytest.mark.parametrize(
    "wrong",
    [
        {"delivered_share": 0},
        {"delivered_share": 1.01},
        {"delivered_share": "0.5"},
        {"timeout": 0},
        {"timeout": timedelta(hours=-1)},
        {"timeout": "1h"},
        {"timeout": float("inf")},
        {"poll_interval": 0.0},
        {"poll_interval": float("nan")},
    ],
)
def test_a_delivery_report_that_can_not_be_is_refused_by_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"^{next(iter(wrong))} must be .*, got "):
        DeliveryReport(**wrong)


def test_spans_may_be_given_in_seconds() -> None:
    assert DeliveryReport(1, timeout=60, poll_interval=0.5).timeout == 60
    assert DeliveryReport().timeout == timedelta(hours=6)


def test_a_poll_says_how_far_each_message_has_come(emulator: Emulator, client: LinqClient, send: Send) -> None:
    emulator.control("PATCH", "switches", {"automatic_delivery": False})
    emulator.control("POST", "handles", {"handle": EVE, "services": ["SMS"]})
    waiting, sent, delivered, read, failed = (send(to) for to in (ANN, BOB, CAT, DAN, "+12125550126"))
    sms, group, deleted = send(EVE), send(ANN, BOB), send("+12125550127")
    for outcome, status in ((delivered, "delivered"), (read, "read"), (failed, "failed")):
        receipt(emulator, outcome, status)
    for outcome in (sent, sms, group):
        receipt(emulator, outcome, "sent")
    assert deleted.message_id is not None
    client.messages.delete(deleted.message_id)
    without_id = Outcome(row=9, to=(ANN,), status="sent", idempotency_key="k")
    outcomes = [waiting, sent, delivered, read, failed, sms, group, deleted, without_id]
    expected = ["waiting", "waiting", "delivered", "delivered", "waiting", "delivered", "delivered", "gone", "gone"]

    before = gets(emulator)
    assert list(poll(client, outcomes, concurrency=3)) == list(zip(outcomes, expected, strict=True))
    assert gets(emulator) - before == {"messages": 8}

    # A failure is believed once the grace is over, and a delivery that comes after it all the same.
    emulator.advance(301)
    client.phone_numbers.list()  # a clock that has moved so far is believed when a second response says the same
    assert list(poll(client, [failed], concurrency=1)) == [(failed, "failed")]
    assert [state for _, state in poll(client, [failed], concurrency=1, failure_grace=timedelta(hours=1))] == [
        "waiting"
    ]
    receipt(emulator, failed, "delivered")
    assert [state for _, state in poll(client, [failed], concurrency=1)] == ["delivered"]


@pytest.mark.parametrize("empty_pages", [False, True])
@pytest.mark.parametrize(("order", "cursor"), ORDERS)
def test_a_report_whatever_the_order_of_the_lists(
    emulator: Emulator, client: LinqClient, send: Send, order: str, cursor: str, empty_pages: bool
) -> None:
    emulator.control("PATCH", "switches", {"message_order": order, "cursor": cursor, "empty_pages": empty_pages})
    # A chat of three pages, with messages of theirs before ours.
    emulator.control("POST", "seed", {"chats": 1, "messages": 250, "groups_share": 0, "lines": emulator.lines[:1]})
    (chat,) = client.chats.list()
    (old_friend,) = (handle.handle for handle in chat.handles if not handle.is_me)
    outcomes = [send(old_friend), send(ANN), send(BOB), send(CAT, DAN), send(EVE)]
    assert outcomes[0].chat_id == chat.id
    emulator.advance(60)
    for _ in range(3):
        write(emulator, old_friend)
        emulator.advance(60)
    receipt(emulator, outcomes[1], "read")
    send(ANN)  # a later message of ours is no reply
    write(emulator, BOB, "STOP")
    write(emulator, CAT, chat_id=outcomes[3].chat_id)
    receipt(emulator, outcomes[4], "failed")

    rows = list(report(client, outcomes, concurrency=3))

    for row, outcome in zip(rows, outcomes, strict=True):
        for field in ("row", "to", "idempotency_key", "line", "chat_id", "message_id"):
            assert getattr(row, field) == getattr(outcome, field)
    delivered, later = "2026-03-01T12:00:02Z", "2026-03-01T12:04:00Z"
    assert [
        (row.delivery_status, row.delivered_at, row.read_at, row.replied, row.replied_at, row.opted_out) for row in rows
    ] == [
        ("delivered", delivered, None, True, "2026-03-01T12:01:00Z", False),
        ("read", delivered, later, False, None, False),
        ("delivered", delivered, None, True, later, True),
        ("sent", None, None, True, later, False),
        ("failed", delivered, None, False, None, False),
    ]
    assert TEXT not in repr(rows)


def test_a_report_costs_a_read_for_each_recipient_and_one_more_for_those_who_replied(
    emulator: Emulator, client: LinqClient, send: Send
) -> None:
    outcomes = [send(f"+121255501{number}") for number in range(30, 50)]
    emulator.advance(60)
    for outcome in outcomes[:3]:
        write(emulator, *outcome.to)
    before = gets(emulator)
    list(report(client, outcomes, concurrency=4))
    assert gets(emulator) - before == {"list": 20, "chats": 3}


@pytest.mark.parametrize("created_at", ["ingested", "sent"])
def test_what_was_written_before_our_message_is_no_reply_when_it_is_recovered_later(
    emulator: Emulator, client: LinqClient, send: Send, created_at: str
) -> None:
    emulator.control("PATCH", "switches", {"reconciled_created_at": created_at})
    early, late = send(ANN), send(BOB)
    emulator.advance(600)
    write(emulator, ANN, sent_at="2026-03-01T11:59:00Z", reconciled=True)
    write(emulator, BOB, sent_at="2026-03-01T12:05:00Z", reconciled=True)
    first, second = report(client, [early, late], concurrency=1)
    assert (first.replied, first.replied_at) == (False, None)
    assert (second.replied, second.replied_at) == (True, "2026-03-01T12:05:00Z")


def test_who_has_changed_their_mind_or_opted_out_before_has_not_opted_out_since(
    emulator: Emulator, client: LinqClient, send: Send
) -> None:
    write(emulator, ANN, "STOP")
    emulator.advance(1)
    before, since = send(ANN, override_optout=True), send(BOB)
    emulator.advance(60)
    write(emulator, BOB, "STOP")
    emulator.advance(60)
    write(emulator, BOB, "Go on, please")
    first, second = report(client, [before, since], concurrency=2)
    assert (first.replied, first.opted_out) == (False, False)
    assert (second.replied, second.replied_at, second.opted_out) == (True, "2026-03-01T12:01:01Z", False)


def test_what_the_platform_no_longer_has(emulator: Emulator, client: LinqClient, send: Send) -> None:
    deleted, expired = send(ANN), send(BOB)
    assert deleted.message_id is not None
    client.messages.delete(deleted.message_id)
    emulator.control("POST", "lines", {"phone_number": emulator.lines[0], "retention_hours": 1})
    emulator.advance(30 * 60)
    write(emulator, BOB, "STOP")
    emulator.advance(45 * 60)
    lost_chat = Outcome(5, (CAT,), "sent", None, None, None, "k", None, NOWHERE, NOWHERE, "2026-03-01T12:00:00Z")
    no_id = Outcome(6, (DAN,), "sent", idempotency_key="k2")
    before = gets(emulator)
    rows = list(report(client, [deleted, expired, lost_chat, no_id], concurrency=2))
    assert [row.delivery_status for row in rows] == ["gone", "gone", "gone", "unknown"]
    assert [row.replied_at for row in rows] == [None, "2026-03-01T12:30:00Z", None, None]
    assert [row.opted_out for row in rows] == [False, True, False, False]
    assert gets(emulator) - before == {"list": 3, "messages": 2, "chats": 1}


def test_a_message_that_slips_through_between_two_pages_is_not_gone(
    emulator: Emulator, client: LinqClient, send: Send
) -> None:
    """
    The first page holds 100 older messages; when one of them goes, ours moves to where has been read already.

    Lists of more than one page are read until they hold still.
    """
    emulator.control("PATCH", "switches", {"message_order": "oldest", "cursor": "offset"})
    emulator.control("POST", "seed", {"chats": 1, "messages": 100, "groups_share": 0, "lines": emulator.lines[:1]})
    (chat,) = client.chats.list()
    (friend,) = (handle.handle for handle in chat.handles if not handle.is_me)
    outcome = send(friend)
    emulator.advance(60)
    write(emulator, friend)
    to_delete = [next(client.messages.list(chat.id)).id]

    class WhileSomebodyDeletes(LinqClient):
        def request(self, method: str, path: str, **request: Any) -> APIResponse:
            response = super().request(method, path, **request)
            if path.endswith("/messages") and len(response.body["messages"]) == 100 and to_delete:
                client.messages.delete(to_delete.pop())
            return response

    with WhileSomebodyDeletes(emulator.api_key, base_url=emulator.base_url) as shaken:
        before = gets(emulator)
        (row,) = report(shaken, [outcome], concurrency=1)
        # Two pages; those and the front once more, where ours turns up; and again, until nothing does.
        assert gets(emulator) - before == {"list": 2 + 3 + 3, "chats": 1}
    assert (row.delivery_status, row.delivered_at, row.replied) == ("delivered", "2026-03-01T12:00:02Z", True)


def test_a_message_that_is_listed_later_than_it_can_be_read_is_not_gone(
    emulator: Emulator, client: LinqClient, send: Send
) -> None:
    outcome = send(ANN)
    emulator.advance(60)
    write(emulator, ANN)

    class Lagging(LinqClient):
        def request(self, method: str, path: str, **request: Any) -> APIResponse:
            response = super().request(method, path, **request)
            if path.endswith("/messages"):
                response.body["messages"] = [
                    one for one in response.body["messages"] if one["id"] != outcome.message_id
                ]
            return response

    with Lagging(emulator.api_key, base_url=emulator.base_url) as lagging:
        before = gets(emulator)
        (row,) = report(lagging, [outcome], concurrency=1)
        assert gets(emulator) - before == {"list": 1, "messages": 1, "chats": 1}
    assert (row.delivery_status, row.delivered_at, row.replied) == ("delivered", "2026-03-01T12:00:02Z", True)


@pytest.mark.parametrize(("status", "code", "error"), [(503, 4004, ServerError), (404, 1005, NotFoundError)])
def test_what_is_no_word_on_the_message_is_not_taken_for_one(
    emulator: Emulator, client: LinqClient, send: Send, status: int, code: int, error: type[Exception]
) -> None:
    outcomes = [send(ANN), send(BOB)]
    emulator.control("POST", "faults", {"kind": "status", "path": "messages", "status": status, "code": code})
    for found in (poll(client, outcomes, concurrency=2), report(client, outcomes, concurrency=2)):
        with pytest.raises(error) as raised:
            list(found)
        assert TEXT not in str(raised.value)


def test_a_report_reads_only_a_little_ahead_and_stops_when_it_is_left(
    emulator: Emulator, client: LinqClient, send: Send
) -> None:
    outcome = send(ANN)
    taken = count()

    def endless() -> Iterator[Outcome]:
        while True:
            next(taken)
            yield outcome

    emulator.control("POST", "faults", {"kind": "latency", "seconds": 0.1})
    with closing(report(client, endless(), concurrency=2)) as rows:
        next(rows)
        next(rows)
    ahead = next(taken)
    assert ahead < 12
    assert gets(emulator)["list"] < ahead


def test_the_counts_of_a_report() -> None:
    def row(status: str, **more: Any) -> ReportRow:
        return ReportRow(1, (ANN,), "k", None, None, None, status, **more)

    rows = [
        row("queued"),
        row("sent"),
        row("delivered", replied=True),
        row("read", replied=True, opted_out=True),
        row("failed"),
        row("gone", replied=True),
        row("unknown"),
    ]
    expected = {
        "sent": 7, "delivered": 2, "read": 1, "failed": 1, "gone": 1, "unknown": 1, "replied": 3, "opted_out": 1,
    }  # fmt: skip
    assert ReportCounts().as_dict() == dict.fromkeys(expected, 0)
    counted = ReportCounts()
    for each in rows:
        counted.add(each)
    assert counted.as_dict() == expected
